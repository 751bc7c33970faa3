//! What every store must do, as one suite: an implementation's tests call [`run`].

use std::sync::Arc;

use super::{Commit, Remembered, Store};
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::memory::feed::FeedProgress;
use crate::series::{RecordedValue, RowRecord};
use crate::types::ProjectId;

/// Runs the suite; `open` makes an empty store.
pub async fn run<S: Store>(open: impl AsyncFn() -> S) {
    an_empty_store_remembers_nothing(open().await).await;
    what_was_committed_is_remembered(open().await).await;
    the_last_commit_wins(open().await).await;
    the_latest_commit_time_counts(open().await).await;
    what_is_forgotten_is_removed(open().await).await;
}

fn memory(watermark: i64) -> Arc<ProjectMemory> {
    let mut feed = FeedProgress::new(UnixSeconds(1));
    feed.watermark = UnixSeconds(watermark);
    Arc::new(ProjectMemory {
        feed: Some(feed),
        ..ProjectMemory::default()
    })
}

fn row(project: &str, total: f64) -> RowRecord {
    RowRecord {
        project: ProjectId(1),
        name: "age_test_total".into(),
        labels: vec![("project".into(), project.into())],
        start: UnixSeconds(1),
        window: Some(120),
        changed: UnixSeconds(2),
        value: RecordedValue::Counter(total),
        retiring: false,
        withdrawn: false,
    }
}

async fn keep(store: &impl Store, commit: Commit) -> Remembered {
    store.commit(commit).await.expect("it can be kept");
    store.load().await.expect("it can be read")
}

async fn an_empty_store_remembers_nothing(store: impl Store) {
    let remembered = store.load().await.expect("it can be read");
    assert!(remembered.projects.is_empty() && remembered.rows.is_empty());
}

async fn what_was_committed_is_remembered(store: impl Store) {
    let commit = Commit {
        projects: vec![
            (ProjectId(1), Some(memory(10))),
            (ProjectId(2), Some(memory(20))),
        ],
        rows: vec![row("a", 1.0), row("b", 2.0)],
        ..Commit::default()
    };
    let remembered = keep(&store, commit).await;
    assert_eq!(
        remembered.projects,
        vec![(ProjectId(1), memory(10)), (ProjectId(2), memory(20))]
    );
    assert_eq!(remembered.rows, vec![row("a", 1.0), row("b", 2.0)]);
}

async fn the_last_commit_wins(store: impl Store) {
    let commit = |watermark, total| Commit {
        projects: vec![(ProjectId(1), Some(memory(watermark)))],
        rows: vec![row("a", total)],
        ..Commit::default()
    };
    keep(&store, commit(10, 1.0)).await;
    let remembered = keep(&store, commit(11, 5.0)).await;
    assert_eq!(remembered.projects, vec![(ProjectId(1), memory(11))]);
    assert_eq!(remembered.rows, vec![row("a", 5.0)]);
}

async fn the_latest_commit_time_counts(store: impl Store) {
    let committed_at = |seconds| Commit {
        committed_at: UnixSeconds(seconds),
        ..Commit::default()
    };
    assert_eq!(
        keep(&store, committed_at(100)).await.committed_at,
        UnixSeconds(100)
    );
    let back = keep(&store, committed_at(50)).await;
    assert_eq!(back.committed_at, UnixSeconds(100), "a clock was set back");
}

async fn what_is_forgotten_is_removed(store: impl Store) {
    let first = row("a", 1.0);
    let elsewhere = RowRecord {
        project: ProjectId(2),
        ..first.clone()
    };
    let removed = vec![first.key()];
    keep(
        &store,
        Commit {
            projects: vec![(ProjectId(1), Some(memory(10)))],
            rows: vec![first, row("b", 2.0), elsewhere.clone()],
            ..Commit::default()
        },
    )
    .await;
    let remembered = keep(
        &store,
        Commit {
            projects: vec![(ProjectId(1), None)],
            removed,
            ..Commit::default()
        },
    )
    .await;
    assert!(remembered.projects.is_empty());
    assert_eq!(remembered.rows, vec![row("b", 2.0), elsewhere]);
}
