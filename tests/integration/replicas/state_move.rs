//! `state move`: from a state file to Redis and back.

use std::path::{Path, PathBuf};
use std::slice;
use std::time::Duration;

use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use amazing_gitlab_exporter::shards::Shard;
use amazing_gitlab_exporter::store::{Commit, FileSettings, FileStore, Keys, Remembered, Store};

use super::handover::{equals_the_ledger, fallen, live, live_and_rest};
use super::rig::{Replica, Rig, busy, counts, read};
use super::store::{PROJECT, memory, row};
use crate::ledger::Counts;
use crate::support::exporter::binary;
use crate::support::program::Program;
use crate::support::redis::RedisServer;

const GITLAB: &str = "https://gitlab.example.com";

/// Runs `state move`; what it printed, or the error that it ended with.
async fn run(to: &str, file: &Path, settings: &[String]) -> Result<String, String> {
    let mut command = binary(&["state", "move", "--to", to, "--gitlab-token", "t", "--file"]);
    command.arg(file);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let mut program = Program::start(command);
    match program.ended().await.code() {
        Some(0) => Ok(program.stdout()),
        Some(1) => Err(program.stderr()),
        code => panic!("{code:?}: {}", program.stderr()),
    }
}

/// The settings for the world of a rig.
fn settings(rig: &Rig) -> Vec<String> {
    let url = format!("gitlab.url={}", rig.simulator.url());
    vec![url, "wildcards=[{}]".to_owned(), rig.redis_setting()]
}

/// Keys of Redis with state of projects.
fn keys(redis: &RedisServer) -> Vec<String> {
    let all: Vec<String> = redis.command(&["KEYS", "*"]);
    let of_projects = |key: &String| key.ends_with(":memory") || key.ends_with(":rows");
    all.into_iter().filter(of_projects).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_go_on_in_redis_and_in_a_file_again() {
    let Some(rig) = Rig::start(busy(9, 12), &[]).await else {
        return;
    };
    let settings = settings(&rig);
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.redb");
    let mut single = rig.single(&state);
    single.start().await;
    read(slice::from_ref(&single)).await;
    let first_read = rig.simulator.world().now();
    let first = lived(&rig, slice::from_ref(&single)).await;
    let error = run("redis", &state, &settings).await.unwrap_err();
    assert!(error.contains("is held by process"), "{error}");
    single.end("TERM").await;

    let said = run("redis", &state, &settings).await.unwrap();
    assert!(said.starts_with("moved 12 projects and "), "{said}");
    assert!(!state.exists() && !keys(&rig.redis).is_empty());
    let mut replicas = rig.replicas(2).await;
    let second = lived(&rig, &replicas).await;
    assert_eq!(fallen(&first, &second), Vec::<String>::new());
    let error = run("file", &state, &settings).await.unwrap_err();
    assert!(error.contains("replicas are running"), "{error}");
    assert!(!state.exists());
    for replica in &mut replicas {
        replica.end("TERM").await;
    }

    let said = run("file", &state, &settings).await.unwrap();
    assert!(said.starts_with("moved 12 projects and "), "{said}");
    assert_eq!(keys(&rig.redis), Vec::<String>::new());
    single.start().await;
    read(slice::from_ref(&single)).await;
    drop(live_and_rest(&rig, slice::from_ref(&single)).await);
    equals_the_ledger(&rig, slice::from_ref(&single), first_read).await;
    // With what the ledger does not have.
    let third = counts(slice::from_ref(&single)).await;
    assert_eq!(fallen(&second, &third), Vec::<String>::new());
}

/// Lets the world live for a while; what was counted until then.
async fn lived(rig: &Rig, replicas: &[Replica]) -> Counts {
    drop(live(rig, replicas).await);
    counts(replicas).await
}

/// A file, and a Redis beside it.
struct Places {
    redis: RedisServer,
    folder: tempfile::TempDir,
}

impl Places {
    async fn new() -> Option<Self> {
        let redis = RedisServer::start().await?;
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { redis, folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self, name: &str) -> FileStore {
        let settings = FileSettings {
            path: self.path(name),
            reset: false,
            patience: Duration::ZERO,
            gitlab: GITLAB.parse().expect("an address"),
            accept_instance: false,
        };
        FileStore::open(&settings, &Clock::System, |_| {}).expect("it opens")
    }

    /// A state file with one project and two counters, of which the second is new.
    async fn file(&self, name: &str) -> Remembered {
        let mut new = row("new", 2.0);
        new.start = UnixSeconds(950);
        let commit = Commit {
            projects: vec![(PROJECT, Some(memory("group/app")))],
            rows: vec![row("old", 5.0), new],
            committed_at: UnixSeconds(1000),
            ..Commit::default()
        };
        let store = self.open(name);
        store.commit(commit).await.expect("it can be kept");
        store.load().await.expect("it can be read")
    }

    async fn run(&self, to: &str, name: &str) -> Result<String, String> {
        let settings = [
            format!("gitlab.url={GITLAB}"),
            "wildcards=[{}]".to_owned(),
            format!(
                "redis={{url: '{}', lease_ttl: 5s, key_prefix: test}}",
                self.redis.url()
            ),
        ];
        run(to, &self.path(name), &settings).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_moved_is_gone_where_it_was_and_comes_back_the_same() {
    let Some(places) = Places::new().await else {
        return;
    };
    let before = places.file("state").await;
    let said = places.run("redis", "state").await.unwrap();
    let address = places.redis.address();
    let kept = said
        .strip_prefix(&format!(
            "moved 1 projects and 2 counters and histograms from {} (kept as ",
            places.path("state").display()
        ))
        .and_then(|rest| {
            rest.trim_end()
                .strip_suffix(&format!(") to Redis at {address}"))
        });
    let kept = Path::new(kept.unwrap_or_else(|| panic!("{said}")));
    assert!(kept.exists() && !places.path("state").exists());

    // A second time, and nothing is changed by it.
    std::fs::copy(kept, places.path("copy")).expect("it can be copied");
    let error = places.run("redis", "copy").await.unwrap_err();
    assert!(error.contains("under test already"), "{error}");
    assert!(places.path("copy").exists());
    let error = places.run("file", "copy").await.unwrap_err();
    assert!(error.contains("exists already"), "{error}");
    let error = places.run("redis", "missing").await.unwrap_err();
    assert!(error.contains("does not exist"), "{error}");

    places.run("file", "state").await.unwrap();
    let after = places.open("state").load().await.expect("it can be read");
    assert_eq!(after.projects, before.projects);
    assert_eq!(after.rows, before.rows);
    assert_eq!(after.committed_at, before.committed_at);
    assert_eq!(keys(&places.redis), Vec::<String>::new());
    let error = places.run("file", "again").await.unwrap_err();
    assert!(error.contains("there is no state in"), "{error}");
    assert!(!places.path("again").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_moved_while_a_shard_is_leased() {
    let Some(places) = Places::new().await else {
        return;
    };
    places.file("state").await;
    let lease = Keys::new("test").of_shard(Shard::of(PROJECT), "lease");
    let words = ["HSET", &lease, "instance", "other", "fence", "5"];
    let _: i64 = places.redis.command(&words);
    let error = places.run("redis", "state").await.unwrap_err();
    let sentence = "1 shards are leased by another program; stop all replicas";
    assert!(error.contains(sentence), "{error}");
    assert!(places.path("state").exists());
    assert_eq!(keys(&places.redis), Vec::<String>::new());
    // What was leased meanwhile was given back.
    let leases: Vec<String> = places.redis.command(&["KEYS", "*:lease"]);
    assert_eq!(leases, [lease]);
}
