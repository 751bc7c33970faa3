//! When projects are read, for what, and by how many at once.

use async_trait::async_trait;

use super::timer::{Rhythm, Slot, Timer};
use super::*;
use crate::config::ProjectSettings;
use crate::gitlab::model::{Known, Permissions, Project};
use crate::memory::feed::{Depth, FeedProgress};
use crate::source::{Context, Fetched, Grouping, Needs, Source, Target};

const INTERVAL: Duration = Duration::from_secs(30);
const BATCH: usize = 100;
const DEEPER: usize = 25;
const START: UnixSeconds = UnixSeconds(1_000);
pub(crate) const FREE_SLOTS: FreeSlots = FreeSlots {
    runs: 100,
    feed: 0,
    others: 100,
    backfill: 100,
};

/// A source that reads nothing.
pub(crate) struct Idle(pub(crate) Reading);

#[async_trait]
impl Source for Idle {
    fn reading(&self) -> Reading {
        self.0
    }

    fn collectors(&self) -> &[Collector] {
        &[]
    }

    fn interval(&self, _: &ProjectSettings) -> Option<Duration> {
        Some(INTERVAL)
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn grouping(&self, memory: &ProjectMemory) -> Grouping {
        let depth = memory.feed.as_ref().map(|feed| feed.depth);
        let (group, size) = match depth {
            None => (0, BATCH),
            Some(Depth::Pipelines) => (1, DEEPER),
            Some(Depth::Jobs) => (2, DEEPER),
            Some(Depth::Everything) => (3, BATCH),
        };
        let turn = match self.0 {
            Reading::Backfill => u8::from(depth > Some(Depth::Pipelines)),
            _ => 0,
        };
        let near = UnixSeconds::default();
        Grouping {
            turn,
            group,
            near,
            size,
        }
    }

    fn runs_at_once(&self) -> usize {
        match self.0 {
            Reading::ChangeFeed => usize::MAX,
            _ => 1,
        }
    }

    fn needs(&self) -> Needs {
        match self.0 {
            Reading::ChangeFeed => Needs::Nothing,
            Reading::Backfill => Needs::FirstRead,
            Reading::Refs => Needs::Pipelines,
            _ => Needs::Tier,
        }
    }

    async fn fetch(&self, _: &[Target], _: &Context) -> Fetched {
        Vec::new()
    }
}

fn sources(readings: &[Reading]) -> Vec<Arc<dyn Source>> {
    let idle = |reading: &Reading| Arc::new(Idle(*reading)) as Arc<dyn Source>;
    readings.iter().map(idle).collect()
}

fn feed() -> Vec<Arc<dyn Source>> {
    sources(&[Reading::ChangeFeed])
}

fn at(seconds: i64) -> UnixSeconds {
    UnixSeconds(START.0 + seconds)
}

pub(crate) fn project(id: u64) -> Project {
    Project {
        id: ProjectId(id),
        full_path: format!("group/p{id}").into(),
        default_branch: Known::Unread,
        archived: false,
        is_scheduled_for_deletion: false,
        last_activity_at: None,
        role: Known::Unread,
        features: crate::gitlab::model::Features::default(),
        attributes: crate::gitlab::model::Attributes::default(),
    }
}

pub(crate) fn found(ids: impl IntoIterator<Item = u64>) -> Found {
    ids.into_iter()
        .map(|id| (ProjectId(id), (project(id), Arc::default())))
        .collect()
}

fn tracking(ids: impl IntoIterator<Item = u64>) -> Projects {
    let mut projects = Projects::default();
    projects.update(found(ids), START);
    projects
}

pub(crate) fn taken(projects: &mut Projects, now: UnixSeconds) -> Vec<u64> {
    let batches = projects.take(&feed(), now, FREE_SLOTS).batches;
    let targets = batches.iter().flat_map(|batch| &batch.targets);
    targets.map(|target| target.id().0).collect()
}

/// What a run holds of a project.
fn holding(projects: &Projects, reading: Reading, id: u64) -> BTreeMap<ProjectId, Holding> {
    let target = projects.get(ProjectId(id)).unwrap().target(None);
    BTreeMap::from([(ProjectId(id), projects.holding(reading, &target))])
}

/// Ends a run of the change feed that went well.
fn succeed(projects: &mut Projects, id: u64, now: UnixSeconds) {
    let source = Idle(Reading::ChangeFeed);
    let held = holding(projects, Reading::ChangeFeed, id);
    let ended = Ended {
        id: ProjectId(id),
        memory: None,
        facts: None,
        unavailable: Vec::new(),
    };
    projects.end(&source, vec![Outcome::Recorded(Box::new(ended))], now);
    projects.release(&source, &held, now);
}

/// Ends a run that went well and brought the project to this depth.
fn deepen(projects: &mut Projects, id: u64, depth: Depth, now: UnixSeconds) {
    let source = Idle(Reading::ChangeFeed);
    let held = holding(projects, Reading::ChangeFeed, id);
    let entry = projects.entries.get_mut(&ProjectId(id)).unwrap();
    let mut feed = FeedProgress::new(now);
    feed.depth = depth;
    entry.memory = Arc::new(ProjectMemory {
        feed: Some(feed),
        ..ProjectMemory::default()
    });
    entry.timer_mut(Reading::ChangeFeed).go_on(now);
    projects.release(&source, &held, now);
}

#[test]
fn the_first_polls_follow_each_other_at_once_and_those_of_one_depth_share_a_batch() {
    let mut projects = tracking(1..=60);
    let batches = projects.take(&feed(), START, FREE_SLOTS).batches;
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.targets.len()).collect();
    assert_eq!(sizes, [60], "the newest pipelines of many share a query");
    for id in 1..=30 {
        deepen(&mut projects, id, Depth::Pipelines, START);
    }
    for id in 31..=60 {
        deepen(&mut projects, id, Depth::Jobs, START);
    }
    let both = sources(&[Reading::ChangeFeed, Reading::Refs]);
    let batches = projects.take(&both, START, FREE_SLOTS).batches;
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.targets.len()).collect();
    assert_eq!(sizes, [25, 5, 25, 5], "refs come last");
    let depths = |batch: &Batch| -> BTreeSet<Depth> {
        let feeds = batch.targets.iter();
        let feeds = feeds.filter_map(|target| target.memory.feed.as_ref());
        feeds.map(|feed| feed.depth).collect()
    };
    for batch in &batches {
        assert_eq!(depths(batch).len(), 1);
    }
}

/// What is new goes first, then what moves now, and what happened before last, if there is room.
#[test]
fn the_first_poll_of_a_project_goes_before_all_and_first_readings_after_all() {
    let mut projects = tracking([1, 2]);
    assert_eq!(taken(&mut projects, START), [1, 2]);
    for id in [1, 2] {
        deepen(&mut projects, id, Depth::Everything, START);
        projects.set_tier(ProjectId(id), Known::Value(Tier::Free), at(9999), START);
    }
    projects.update(found([1, 2, 3]), START);
    let all = sources(&[Reading::Repository, Reading::Refs, Reading::ChangeFeed]);
    let taken = projects.take(&all, START, FREE_SLOTS).batches;
    let order: Vec<(Priority, Reading, usize)> = taken
        .iter()
        .map(|batch| (batch.priority, batch.source.reading(), batch.targets.len()))
        .collect();
    let want = [
        (Priority::Urgent, Reading::ChangeFeed, 1),
        (Priority::Current, Reading::ChangeFeed, 2),
        (Priority::Backfill, Reading::Refs, 2),
        (Priority::Backfill, Reading::Repository, 2),
    ];
    assert_eq!(order, want);
    // Without room for it, backfill waits, and its lag shows.
    let mut projects = tracking([1]);
    deepen(&mut projects, 1, Depth::Everything, START);
    let free = FreeSlots {
        backfill: 0,
        ..FREE_SLOTS
    };
    let taken = projects.take(&sources(&[Reading::Refs]), at(7), free);
    assert!(taken.batches.is_empty());
    let taken = projects.take(&sources(&[Reading::Refs]), at(12), free);
    assert_eq!(taken.lag, [0, 0, 5].map(Duration::from_secs));
}

/// The past of a project may take GitLab half a minute: who waits for the newest pipelines does not wait for it.
#[test]
fn the_newest_of_all_projects_comes_before_the_past_of_any() {
    let mut projects = tracking([1, 2]);
    assert_eq!(taken(&mut projects, START), [1, 2]);
    deepen(&mut projects, 1, Depth::Jobs, START);
    let backfill = sources(&[Reading::Backfill]);
    let none = FreeSlots {
        runs: 0,
        ..FREE_SLOTS
    };
    assert_eq!(
        projects.take(&backfill, at(10), none).batches.len(),
        0,
        "its past waits"
    );
    deepen(&mut projects, 2, Depth::Pipelines, at(20));
    for id in [1, 2] {
        succeed(&mut projects, id, at(20));
    }
    let mut one_run = || {
        let batches = projects.take(&backfill, at(60), FREE_SLOTS).batches;
        let targets = batches.iter().flat_map(|batch| &batch.targets);
        let ids: Vec<u64> = targets.map(|target| target.id().0).collect();
        for id in &ids {
            let held = holding(&projects, Reading::Backfill, *id);
            projects.release(&Idle(Reading::Backfill), &held, at(60));
        }
        ids
    };
    assert_eq!(one_run(), [2]);
    assert_eq!(one_run(), [1]);
}

/// Its projects wait for GitLab's time, which is no delay of what is new.
#[test]
fn backfill_is_not_late() {
    let mut projects = tracking([1]);
    assert_eq!(taken(&mut projects, START), [1]);
    deepen(&mut projects, 1, Depth::Jobs, START);
    succeed(&mut projects, 1, START);
    let (feed, backfill) = (Idle(Reading::ChangeFeed), Idle(Reading::Backfill));
    assert_eq!(
        projects
            .take(&sources(&[Reading::Backfill]), at(60), FREE_SLOTS)
            .batches
            .len(),
        1
    );
    let lag = |source: &Idle| projects.lag(source, ProjectId(1), at(600));
    assert_eq!(lag(&backfill), None);
    assert!(
        lag(&feed) > Some(Duration::from_secs(500)),
        "{:?}",
        lag(&feed)
    );
}

/// Slow readings of every other kind, first ones too, hold all the runs that they can get.
#[test]
fn the_change_feed_never_waits_for_other_sources() {
    let mut projects = tracking([1, 2]);
    assert_eq!(taken(&mut projects, START), [1, 2]);
    for id in [1, 2] {
        deepen(&mut projects, id, Depth::Everything, START);
        projects.set_tier(ProjectId(id), Known::Value(Tier::Free), at(9999), START);
    }
    let others = [Reading::Refs, Reading::Repository, Reading::Environments];
    let mut runs = 3;
    for reading in others {
        let free = FreeSlots {
            runs,
            feed: 2,
            ..FREE_SLOTS
        };
        runs -= projects
            .take(&sources(&[reading]), at(60), free)
            .batches
            .len();
    }
    assert_eq!(runs, 2, "others took what is not the change feed's");
    let free = FreeSlots {
        runs,
        feed: 2,
        ..FREE_SLOTS
    };
    let all = sources(&[Reading::Contributors, Reading::ChangeFeed]);
    let batches = projects.take(&all, at(60), free).batches;
    let readings = batches.iter().map(|batch| batch.source.reading());
    assert_eq!(readings.collect::<Vec<_>>(), [Reading::ChangeFeed]);
}

#[test]
fn a_storm_of_events_leaves_a_slot_to_the_steady_work() {
    let mut projects = tracking([1, 2]);
    assert_eq!(taken(&mut projects, START), [1, 2]);
    for id in [1, 2] {
        deepen(&mut projects, id, Depth::Everything, START);
        succeed(&mut projects, id, START);
    }
    projects.hint(ProjectId(1), Reading::ChangeFeed, Vec::new(), at(600));
    let one = FreeSlots {
        runs: 1,
        ..FREE_SLOTS
    };
    let batches = projects.take(&feed(), at(600), one).batches;
    let ids = batches.iter().flat_map(|batch| &batch.targets);
    let ids: Vec<u64> = ids.map(|target| target.id().0).collect();
    assert_eq!(ids, [2], "the last slot is not for what is urgent");
    let batches = projects.take(&feed(), at(600), one).batches;
    assert_eq!(batches.len(), 1, "unless nothing else waits");
}

#[test]
fn a_poll_is_late_after_three_intervals() {
    let mut projects = tracking([1]);
    assert_eq!(taken(&mut projects, START), [1]);
    deepen(&mut projects, 1, Depth::Everything, START);
    succeed(&mut projects, 1, START);
    let entry = projects.get(ProjectId(1)).unwrap();
    let interval = i64::try_from(entry.feed_interval(START).unwrap().as_secs()).unwrap();
    let due = entry.timer(Reading::ChangeFeed).due;
    let lag = |seconds| entry.feed_lag(UnixSeconds(due.0 + seconds)).as_secs();
    assert_eq!(lag(3 * interval), 0);
    assert_eq!(
        lag(3 * interval + 1),
        u64::try_from(3 * interval + 1).unwrap()
    );
}

/// It may wait long for its share of GitLab's time, and what is current waits for none of it.
#[test]
fn backfill_leaves_a_run_to_what_is_current() {
    let mut projects = tracking([1]);
    assert_eq!(taken(&mut projects, START), [1]);
    deepen(&mut projects, 1, Depth::Everything, START);
    projects.set_tier(ProjectId(1), Known::Value(Tier::Free), at(9999), START);
    let repository = sources(&[Reading::Repository]);
    let mut take = |others| {
        let free = FreeSlots {
            others,
            ..FREE_SLOTS
        };
        projects.take(&repository, at(60), free).batches.len()
    };
    assert_eq!([take(1), take(2)], [0, 1]);
}

#[test]
fn a_held_project_is_never_taken_again() {
    let mut projects = tracking([1, 2]);
    assert_eq!(taken(&mut projects, START), [1, 2]);
    assert_eq!(taken(&mut projects, at(600)), [0; 0], "both are held");
    succeed(&mut projects, 1, at(600));
    assert_eq!(taken(&mut projects, at(630)), [1]);
    let left = projects.take(&feed(), at(630), FREE_SLOTS);
    assert_eq!(left.queued, 0, "nothing waits for a run");
}

/// What the token may read changed while a run was under way, which began without knowing it.
#[test]
fn what_is_asked_for_during_a_run_follows_it_at_once() {
    let mut projects = tracking([1]);
    let may_not = |value| Permissions {
        code: Known::Value(value),
        ..Permissions::default()
    };
    projects.set_permissions(ProjectId(1), may_not(true), at(900), START);
    assert_eq!(taken(&mut projects, START), [1]);
    projects.set_permissions(ProjectId(1), may_not(false), at(900), at(5));
    succeed(&mut projects, 1, at(10));
    assert_eq!(taken(&mut projects, at(10)), [1]);
    succeed(&mut projects, 1, at(15));
    assert_eq!(taken(&mut projects, at(15)), [0; 0], "once");
}

#[test]
fn one_that_went_and_came_back_waits_for_the_run_that_holds_it() {
    let mut projects = tracking([1]);
    let first = projects.take(&feed(), START, FREE_SLOTS).batches;
    let first = first[0].targets[0].clone();
    assert!(
        projects
            .remove(ProjectId(1), Reason::NotSelected, START)
            .is_some()
    );
    projects.update(found([1]), at(10));
    assert_eq!(
        taken(&mut projects, at(10)),
        [0; 0],
        "the first run goes on"
    );
    let holding = Holding {
        tracking: first.tracking,
        ended: 0,
        began: tokio::time::Instant::now(),
    };
    let held = BTreeMap::from([(first.id(), holding)]);
    projects.release(&Idle(Reading::ChangeFeed), &held, at(20));
    let second = projects.take(&feed(), at(20), FREE_SLOTS).batches;
    assert_ne!(
        first.tracking, second[0].targets[0].tracking,
        "what it brings is of the first"
    );
}

#[test]
fn a_run_that_says_nothing_counts_as_a_failure() {
    let mut projects = tracking([1]);
    assert_eq!(taken(&mut projects, START), [1]);
    let held = holding(&projects, Reading::ChangeFeed, 1);
    projects.release(&Idle(Reading::ChangeFeed), &held, at(5));
    assert_eq!(taken(&mut projects, at(6)), [0; 0], "not at once");
    assert_eq!(taken(&mut projects, at(5 + 60)), [1]);
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
    timer.succeeded(START, Rhythm::new(INTERVAL, BATCH), Slot::default());
    assert!(timer.due <= at(30), "{timer:?}");
    timer.failed(START, INTERVAL);
    assert_eq!(timer.due, at(60));
}

#[test]
fn batches_spread_over_the_interval_and_keep_their_rhythm() {
    let mut projects = tracking(0..250);
    assert_eq!(
        taken(&mut projects, START).len(),
        250,
        "all at once at first"
    );
    for id in 0..250 {
        succeed(&mut projects, id, at(2));
    }
    let mut starts = Vec::new();
    for second in 3..=92 {
        let ids = taken(&mut projects, at(second));
        if !ids.is_empty() {
            starts.push((second, ids.len()));
        }
        for id in ids {
            succeed(&mut projects, id, at(second));
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
    let mut projects = tracking([1]);
    taken(&mut projects, START);
    succeed(&mut projects, 1, at(47));
    assert_eq!(taken(&mut projects, at(59)), [0; 0]);
    assert_eq!(
        taken(&mut projects, at(60)),
        [1],
        "one is left out, none is made up for"
    );
}

#[test]
fn a_project_in_which_nothing_moves_is_polled_less_often() {
    let mut projects = tracking([1]);
    let entry = projects.entries.get_mut(&ProjectId(1)).unwrap();
    let hour = 3600;
    let mut interval = |feed: FeedProgress, now: i64| {
        entry.memory = Arc::new(ProjectMemory {
            feed: Some(feed),
            ..ProjectMemory::default()
        });
        entry
            .interval(Reading::ChangeFeed, INTERVAL, at(now))
            .as_secs()
    };
    let moved = FeedProgress {
        depth: Depth::Everything,
        watermark: START,
        ..FeedProgress::new(START)
    };
    let cases = [
        (hour - 1, 30),
        (hour, 120),
        (24 * hour - 1, 120),
        (24 * hour, 300),
    ];
    for (now, seconds) in cases {
        assert_eq!(interval(moved.clone(), now), seconds, "after {now} s");
    }
    let never = FeedProgress {
        watermark: UnixSeconds::default(),
        ..moved.clone()
    };
    assert_eq!(interval(never, 24 * hour), 300, "no pipeline ever");
    let first = FeedProgress {
        depth: Depth::Pipelines,
        ..moved
    };
    assert_eq!(
        interval(first, 24 * hour),
        300,
        "its history is read for itself"
    );
}

#[test]
fn what_waits_because_nothing_moved_is_woken() {
    let rhythm = Rhythm::new(INTERVAL, BATCH);
    let mut timer = Timer::starting(START);
    timer.succeeded(START, rhythm, Slot::default());
    let due = timer.due;
    timer.wake(START);
    assert_eq!(timer.due, due, "it keeps its interval");
    let slowed = rhythm.slowed(Duration::from_secs(3600));
    timer.succeeded(START, slowed, Slot::default());
    assert!(timer.due > due);
    timer.wake(at(7));
    assert_eq!(timer.due, at(7));
}

#[test]
fn a_project_that_a_person_asks_for_is_polled_at_once() {
    let mut projects = tracking([1, 2]);
    let path = projects.path(ProjectId(1)).unwrap();
    assert_eq!(projects.id_of(&path.to_uppercase()), Some(ProjectId(1)));
    assert_eq!(projects.id_of("nothing"), None);
    let slowed = Rhythm::new(INTERVAL, BATCH).slowed(Duration::from_secs(3600));
    for entry in projects.entries.values_mut() {
        entry.timer_mut(Reading::ChangeFeed).is_urgent = false;
        let timer = entry.timer_mut(Reading::ChangeFeed);
        timer.succeeded(START, slowed, Slot::default());
    }
    assert!(!projects.poll_now(ProjectId(3), at(5)), "it is not tracked");
    assert!(projects.poll_now(ProjectId(1), at(5)));
    let timer = |id| projects.entries[&ProjectId(id)].timer(Reading::ChangeFeed);
    assert_eq!(timer(1).due, at(5));
    assert!(timer(1).is_urgent && timer(1).is_asked_for);
    assert!(timer(2).due > at(5) && !timer(2).is_urgent);
}

#[test]
fn the_first_sync_is_over_when_everything_due_was_read_once() {
    let mut none = Projects::default();
    assert_eq!(none.first_sync(START).ratio(), 0.0, "nothing is tracked");
    let mut projects = tracking(1..=2);
    projects.set_sources(&sources(&[
        Reading::ChangeFeed,
        Reading::Refs,
        Reading::Dora,
    ]));
    let sync = |projects: &mut Projects| {
        let FirstSync {
            done,
            due,
            projects,
        } = projects.first_sync(START);
        (done, due, projects)
    };
    assert_eq!(sync(&mut projects), (0, 4, 0));
    for id in 1..=2 {
        let entry = projects.entries.get_mut(&ProjectId(id)).unwrap();
        entry.succeeded_at = Some(START);
    }
    assert_eq!(
        sync(&mut projects),
        (2, 4, 0),
        "pipelines alone are not everything"
    );
    let interval = Rhythm::new(INTERVAL, BATCH);
    let timer = |projects: &mut Projects, id, end: &dyn Fn(&mut Timer)| {
        let entry = projects.entries.get_mut(&ProjectId(id)).unwrap();
        end(entry.timer_mut(Reading::Dora));
    };
    timer(&mut projects, 1, &|timer| {
        timer.succeeded(START, interval, Slot::default())
    });
    timer(&mut projects, 2, &|timer| timer.failed(START, INTERVAL));
    assert_eq!(sync(&mut projects), (3, 4, 1), "what failed was not read");
    timer(&mut projects, 2, &|timer| {
        timer.succeeded(START, interval, Slot::default())
    });
    assert_eq!(sync(&mut projects), (4, 4, 2));
    assert_eq!(projects.first_sync(START).ratio(), 1.0);
    // What fails later is not the first sync any more.
    timer(&mut projects, 2, &|timer| timer.failed(START, INTERVAL));
    assert_eq!(sync(&mut projects), (4, 4, 2));
}
