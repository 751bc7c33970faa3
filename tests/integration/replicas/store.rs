//! The store in Redis: what is kept under which lease.

use std::sync::Arc;
use std::time::Duration;

use amazing_gitlab_exporter::clock::UnixSeconds;
use amazing_gitlab_exporter::memory::ProjectMemory;
use amazing_gitlab_exporter::series::{RecordedValue, RowRecord};
use amazing_gitlab_exporter::shards::{Leases, Moment, Shard};
use amazing_gitlab_exporter::store::{
    Commit, Keys, LoadError, RedisStore, Remembered, Store, StoreError,
};
use amazing_gitlab_exporter::types::ProjectId;

use crate::support::redis::RedisServer;

/// The project of [`row`].
pub const PROJECT: ProjectId = ProjectId(7);
const HOUR: Duration = Duration::from_secs(3600);

/// A store that holds the shard of [`PROJECT`] as `instance`, by its own word.
pub struct Replica {
    pub store: RedisStore,
    leases: Arc<Leases>,
}

fn shard() -> Shard {
    Shard::of(PROJECT)
}

/// A key of the shard of [`PROJECT`].
pub fn key(name: &str) -> String {
    Keys::new("test").of_shard(shard(), name)
}

/// Has Redis say who holds the shard.
pub fn lease(redis: &RedisServer, instance: &str, fence: u64) {
    let fence = fence.to_string();
    let words = ["HSET", &key("lease"), "instance", instance, "fence", &fence];
    let _: i64 = redis.command(&words);
}

impl Replica {
    /// One that holds nothing yet.
    pub async fn new(redis: &RedisServer, instance: &str) -> Self {
        let leases = Arc::new(Leases::single());
        leases.clear();
        let redis = redis.connect().await;
        let store = RedisStore::new(redis, Keys::new("test"), instance, Arc::clone(&leases));
        Self { store, leases }
    }

    /// Takes the shard over.
    pub async fn load(&self, fence: u64) -> Result<Remembered, LoadError> {
        let until = Moment::now().plus(HOUR);
        self.leases.extend(shard(), fence, until, Duration::ZERO);
        let loaded = self.store.load_shard(shard(), fence).await?;
        Ok(loaded.remembered)
    }
}

/// What is remembered of a project at a path.
pub fn memory(path: &str) -> Arc<ProjectMemory> {
    Arc::new(ProjectMemory {
        path: path.into(),
        ..ProjectMemory::default()
    })
}

/// A counter of a ref.
pub fn row(name: &str, total: f64) -> RowRecord {
    RowRecord {
        project: PROJECT,
        name: "age_test_total".into(),
        labels: vec![("ref".into(), name.into())],
        start: UnixSeconds(1),
        window: Some(120),
        changed: UnixSeconds(2),
        value: RecordedValue::Counter(total),
        retiring: false,
        withdrawn: false,
    }
}

/// A commit of a project at a path.
pub fn commit(path: &str, rows: Vec<RowRecord>, at: i64) -> Commit {
    Commit {
        projects: vec![(PROJECT, Some(memory(path)))],
        rows,
        committed_at: UnixSeconds(at),
        shard: Some(shard()),
        ..Commit::default()
    }
}

/// Refs and totals, in their order.
fn totals(remembered: &Remembered) -> Vec<(String, f64)> {
    let rows = remembered.rows.iter().map(|row| match row.value {
        RecordedValue::Counter(total) => (row.labels[0].1.to_string(), total),
        ref value => panic!("{value:?}"),
    });
    let mut totals: Vec<(String, f64)> = rows.collect();
    totals.sort_by(|one, other| one.0.cmp(&other.0));
    totals
}

fn expected(totals: &[(&str, f64)]) -> Vec<(String, f64)> {
    let totals = totals.iter();
    totals
        .map(|(name, total)| ((*name).to_owned(), *total))
        .collect()
}

#[tokio::test]
async fn the_next_holder_finds_what_was_committed() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    assert!(one.load(5).await.unwrap().projects.is_empty());
    let first = commit("group/app", vec![row("a", 1.0), row("b", 2.0)], 100);
    one.store.commit(first).await.unwrap();
    let second = Commit {
        removed: vec![row("b", 2.0).key()],
        ..commit("group/app", vec![row("a", 3.0)], 90)
    };
    one.store.commit(second).await.unwrap();
    lease(&redis, "two", 6);
    let found = Replica::new(&redis, "two").await.load(6).await.unwrap();
    assert_eq!(totals(&found), expected(&[("a", 3.0)]));
    assert_eq!(found.projects, [(PROJECT, memory("group/app"))]);
    assert_eq!(found.committed_at, UnixSeconds(100), "a clock was set back");
}

/// A replica that stood still believes in its lease, which another has taken.
#[tokio::test]
async fn nothing_is_kept_under_the_lease_of_another() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    one.load(5).await.unwrap();
    for (holder, fence) in [("two", 6), ("one", 7)] {
        lease(&redis, holder, fence);
        let kept = one.store.commit(commit("late", vec![row("a", 9.0)], 100));
        let kept = kept.await;
        assert!(matches!(kept, Err(StoreError::Fenced(_))), "{kept:?}");
        let read = one.load(5).await;
        assert!(matches!(read, Err(LoadError::Store(_))), "{read:?}");
    }
    let found = Replica::new(&redis, "one").await.load(7).await.unwrap();
    assert!(found.projects.is_empty() && found.rows.is_empty());
}

#[tokio::test]
async fn nothing_is_sent_once_the_lease_is_over_by_the_own_clock() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    one.load(5).await.unwrap();
    one.leases.extend(shard(), 5, Moment::now(), HOUR);
    let kept = one.store.commit(commit("late", Vec::new(), 1)).await;
    assert!(matches!(kept, Err(StoreError::Fenced(_))), "{kept:?}");
    let memory: i64 = redis.command(&["EXISTS", &key("memory")]);
    assert_eq!(memory, 0);
}

/// One that was delayed on its way must not overwrite a later one.
#[tokio::test]
async fn a_commit_that_arrives_after_a_later_one_is_not_kept() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    one.load(5).await.unwrap();
    let first = commit("new", vec![row("a", 2.0)], 100);
    one.store.commit(first).await.unwrap();
    // As if further ones had been there.
    let _: i64 = redis.command(&["HSET", &key("state"), "sequence", "10"]);
    let late = one.store.commit(commit("old", vec![row("a", 1.0)], 100));
    let late = late.await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    let found = one.load(5).await.unwrap();
    assert_eq!(totals(&found), expected(&[("a", 2.0)]));
}

/// What Redis has beside it is not what this replica knows of.
#[tokio::test]
async fn a_whole_commit_replaces_everything() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    one.load(5).await.unwrap();
    let first = commit("group/app", vec![row("a", 1.0), row("b", 1.0)], 100);
    one.store.commit(first).await.unwrap();
    let whole = Commit {
        projects: Vec::new(),
        is_whole: true,
        ..commit("", vec![row("c", 5.0)], 100)
    };
    one.store.commit(whole).await.unwrap();
    let found = one.load(5).await.unwrap();
    assert_eq!(totals(&found), expected(&[("c", 5.0)]));
    let known = [(PROJECT, memory("group/app"))];
    assert_eq!(found.projects, known, "what is known is written, too");
}

/// Who takes the shard over must not find a part of it.
#[tokio::test]
async fn what_redis_may_have_lost_is_written_as_a_whole_before_anything_else() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    one.load(5).await.unwrap();
    let first = commit("group/app", vec![row("a", 1.0), row("b", 1.0)], 100);
    one.store.commit(first).await.unwrap();
    let _: String = redis.command(&["FLUSHALL"]);
    lease(&redis, "one", 6);
    one.store.may_lack(shard());
    one.store.continued(shard(), 6);
    let until = Moment::now().plus(HOUR);
    one.leases.extend(shard(), 6, until, Duration::ZERO);
    assert!(one.store.wants_whole(shard()));
    let part = one
        .store
        .commit(commit("group/app", vec![row("a", 2.0)], 100));
    let part = part.await;
    assert!(matches!(part, Err(StoreError::Unavailable(_))), "{part:?}");
    let whole = Commit {
        is_whole: true,
        ..commit("group/app", vec![row("a", 2.0), row("b", 1.0)], 100)
    };
    one.store.commit(whole).await.unwrap();
    assert!(!one.store.wants_whole(shard()));
    let part = commit("group/app", vec![row("b", 2.0)], 100);
    one.store.commit(part).await.unwrap();
    let found = one.load(6).await.unwrap();
    assert_eq!(totals(&found), expected(&[("a", 2.0), ("b", 2.0)]));
}

/// More than Lua passes to a command at once.
#[tokio::test]
async fn a_commit_of_thousands_of_rows_is_kept_whole() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    one.load(5).await.unwrap();
    let rows: Vec<RowRecord> = (0..20_000).map(|n| row(&format!("r{n}"), 1.0)).collect();
    let removed = rows.iter().skip(1).map(RowRecord::key).collect();
    let first = commit("group/app", rows.clone(), 100);
    one.store.commit(first).await.unwrap();
    assert_eq!(one.load(5).await.unwrap().rows.len(), rows.len());
    let last = Commit {
        removed,
        ..commit("group/app", Vec::new(), 100)
    };
    one.store.commit(last).await.unwrap();
    assert_eq!(one.load(5).await.unwrap().rows, rows[..1]);
}

#[tokio::test]
async fn a_record_that_was_changed_in_redis_is_refused() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    let words = ["HSET", &key("rows"), "12345678series", "no record at all"];
    let _: i64 = redis.command(&words);
    let read = one.load(5).await;
    let Err(LoadError::Damaged(why)) = &read else {
        panic!("{read:?}");
    };
    assert_eq!(why, "the checksum of a row is wrong");
}
