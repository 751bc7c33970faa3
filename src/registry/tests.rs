//! When projects are read, and by how many at once.

use super::*;
use crate::gitlab::model::Known;
use crate::memory::feed::FeedProgress;

const INTERVAL: Duration = Duration::from_secs(30);
const RHYTHM: Rhythm = Rhythm {
    interval: INTERVAL,
    batch: crate::scheduler::FEED_BATCH,
};
const START: UnixSeconds = UnixSeconds(1_000);

fn at(seconds: i64) -> UnixSeconds {
    UnixSeconds(START.0 + seconds)
}

fn found(ids: impl IntoIterator<Item = u64>) -> Found {
    let project = |id: u64| Project {
        id: ProjectId(id),
        full_path: format!("group/p{id}").into(),
        default_branch: Known::Unread,
        archived: false,
        last_activity_at: None,
        role: Known::Unread,
    };
    ids.into_iter()
        .map(|id| (ProjectId(id), (project(id), Arc::default())))
        .collect()
}

fn tracking(ids: impl IntoIterator<Item = u64>) -> Registry {
    let mut registry = Registry::default();
    registry.update(found(ids), true, START);
    registry
}

fn taken(registry: &mut Registry, now: UnixSeconds) -> Vec<u64> {
    let batches = registry.take_feed(now, 100);
    batches
        .iter()
        .flatten()
        .map(|target| target.id().0)
        .collect()
}

/// Ends a run that went well.
fn succeed(registry: &mut Registry, id: u64, now: UnixSeconds) {
    let (id, holding) = holding(registry, id);
    let entry = registry.get_mut(id).unwrap();
    let slot = entry.slot;
    entry.feed.succeeded(now, RHYTHM, slot);
    registry.release(Reading::ChangeFeed, id, holding, now, INTERVAL);
}

/// What a run holds of a project.
fn holding(registry: &mut Registry, id: u64) -> (ProjectId, Holding) {
    let id = ProjectId(id);
    let entry = registry.get_mut(id).unwrap();
    let holding = Holding {
        tracking: entry.tracking,
        ended: entry.feed.ended,
    };
    (id, holding)
}

/// Ends a look that went well and brought the project to this depth.
fn deepen(registry: &mut Registry, id: u64, depth: Depth, now: UnixSeconds) {
    let (id, holding) = holding(registry, id);
    let entry = registry.get_mut(id).unwrap();
    let mut feed = FeedProgress::new(now);
    feed.depth = depth;
    let feed = Some(feed);
    entry.memory = Arc::new(ProjectMemory {
        feed,
        ..ProjectMemory::default()
    });
    entry.feed.go_on(now);
    registry.release(Reading::ChangeFeed, id, holding, now, INTERVAL);
}

#[test]
fn the_first_looks_follow_each_other_at_once_and_those_of_one_depth_go_together() {
    let mut registry = tracking(1..=60);
    for batch in registry.take_feed(START, 100) {
        assert_eq!(
            batch.len(),
            60,
            "the newest pipelines of many share a query"
        );
    }
    for id in 1..=30 {
        deepen(&mut registry, id, Depth::Pipelines, START);
    }
    for id in 31..=60 {
        deepen(&mut registry, id, Depth::Jobs, START);
    }
    let batches = registry.take_feed(START, 100);
    let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [25, 5, 25, 5]);
    let depths = |batch: &Vec<Target>| -> BTreeSet<Depth> {
        let feeds = batch
            .iter()
            .filter_map(|target| target.memory.feed.as_ref());
        feeds.map(|feed| feed.depth).collect()
    };
    for batch in &batches {
        assert_eq!(depths(batch).len(), 1);
    }
    assert!(registry.take_refs(START, 100).is_empty(), "refs come last");
}

#[test]
fn a_held_project_is_never_taken_again() {
    let mut registry = tracking([1, 2]);
    assert_eq!(taken(&mut registry, START), [1, 2]);
    assert_eq!(taken(&mut registry, at(600)), [0; 0], "both are held");
    succeed(&mut registry, 1, at(600));
    assert_eq!(taken(&mut registry, at(630)), [1]);
    assert_eq!(registry.due(at(630)), 0, "nothing waits for a run");
}

#[test]
fn one_that_went_and_came_back_waits_for_the_run_that_holds_it() {
    let mut registry = tracking([1]);
    let first = registry.take_feed(START, 1).remove(0).remove(0);
    assert!(registry.remove(ProjectId(1)).is_some());
    registry.update(found([1]), true, at(10));
    assert_eq!(
        taken(&mut registry, at(10)),
        [0; 0],
        "the first run goes on"
    );
    let holding = Holding {
        tracking: first.tracking,
        ended: 0,
    };
    registry.release(Reading::ChangeFeed, first.id(), holding, at(20), INTERVAL);
    let second = registry.take_feed(at(20), 1).remove(0).remove(0);
    assert_ne!(
        first.tracking, second.tracking,
        "what it brings is of the first"
    );
}

#[test]
fn a_run_that_tells_nothing_counts_as_a_failure() {
    let mut registry = tracking([1]);
    assert_eq!(taken(&mut registry, START), [1]);
    let (id, holding) = holding(&mut registry, 1);
    registry.release(Reading::ChangeFeed, id, holding, at(5), INTERVAL);
    assert_eq!(taken(&mut registry, at(6)), [0; 0], "not at once");
    assert_eq!(taken(&mut registry, at(5 + 60)), [1]);
}

#[test]
fn failures_in_a_row_wait_longer_and_longer_and_a_success_ends_that() {
    let mut timer = Timer::default();
    let mut waits = Vec::new();
    for _ in 0..6 {
        timer.failed(START, INTERVAL);
        waits.push(timer.due.since(START).as_secs());
    }
    assert_eq!(waits, [60, 120, 240, 300, 300, 300]);
    timer.succeeded(START, RHYTHM, Slot::default());
    assert!(timer.due <= at(30), "{timer:?}");
    timer.failed(START, INTERVAL);
    assert_eq!(timer.due, at(60));
}

#[test]
fn batches_spread_over_the_interval_and_keep_their_rhythm() {
    let mut registry = tracking(0..250);
    assert_eq!(
        taken(&mut registry, START).len(),
        250,
        "all at once at first"
    );
    for id in 0..250 {
        succeed(&mut registry, id, at(2));
    }
    let mut starts = Vec::new();
    for second in 3..=92 {
        let ids = taken(&mut registry, at(second));
        if !ids.is_empty() {
            starts.push((second, ids.len()));
        }
        for id in ids {
            succeed(&mut registry, id, at(second));
        }
    }
    let round = |start: i64| [(start, 100), (start + 10, 100), (start + 20, 50)];
    let [_, second, third] = round(0);
    let want: Vec<_> = [second, third]
        .into_iter()
        .chain(round(30))
        .chain(round(60))
        .chain([(90, 100)])
        .collect();
    assert_eq!(starts, want);
}

#[test]
fn a_long_run_does_not_shift_the_next() {
    let mut registry = tracking([1]);
    taken(&mut registry, START);
    succeed(&mut registry, 1, at(47));
    assert_eq!(taken(&mut registry, at(59)), [0; 0]);
    assert_eq!(
        taken(&mut registry, at(60)),
        [1],
        "one is left out, none is made up for"
    );
}
