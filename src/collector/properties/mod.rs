//! What holds for every world: totals are true at every poll, and nothing counts twice.

mod feed;
mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::FeedCollector;
use super::child_pipelines::ChildPipelines;
use super::jobs::Jobs;
use super::pipelines::Pipelines;
use super::testing::{ANY, Watched};
use crate::catalogue::pipelines as metric;
use crate::catalogue::{child_pipelines as child_metric, jobs as job_metric};
use crate::facts::feed::{Feed, PipelineFacts};
use crate::gitlab::model::Status;
use crate::store::{self, Keep};
use world::{Life, NAMES, world};

const PIPELINES: Pipelines = Pipelines {
    include_children: true,
};
const JOBS: Jobs = Jobs {
    runner_details: true,
    include_children: true,
};

/// Times of polls: the first, some more, and one when all is over.
fn polls(world: &[Life], times: Vec<i64>) -> Vec<i64> {
    let mut polls = times;
    polls.sort_unstable();
    polls.dedup();
    let end = world.iter().map(Life::end).max().unwrap_or_default();
    let last = polls.last().copied().unwrap_or_default();
    polls.push(end.max(last) + 1);
    polls
}

fn world_and_polls() -> impl Strategy<Value = (Vec<Life>, Vec<i64>)> {
    (world(), prop::collection::vec(0..12_000_i64, 1..40)).prop_map(|(world, times)| {
        let polls = polls(&world, times);
        (world, polls)
    })
}

/// What the change feed asks GitLab for at a time.
fn seen<C: FeedCollector>(project: &Watched<C>, world: &[Life], now: i64) -> Vec<PipelineFacts> {
    let all = world.iter().filter_map(|life| life.at(now));
    all.filter(|facts| project.asks_for(facts)).collect()
}

fn follow<C: FeedCollector>(collector: C, world: &[Life], polls: &[i64]) -> Watched<C> {
    let mut project = Watched::new(collector);
    for now in polls {
        let seen = seen(&project, world, *now);
        project.poll(*now, seen);
    }
    project
}

/// What happened after the first poll, by what distinguishes the series; never through a collector.
#[derive(Debug, Default, PartialEq)]
struct Ledger(BTreeMap<String, f64>);

impl Ledger {
    fn add(&mut self, what: &str, life: &Life, more: &str) {
        if let Some(git_ref) = life.place.counted() {
            *self
                .0
                .entry(format!("{what} {git_ref} {more}"))
                .or_default() += 1.0;
        }
    }
}

fn pipelines_ledger(world: &[Life], polls: &[i64]) -> Ledger {
    let mut ledger = Ledger::default();
    for life in world {
        let source = if life.parent.is_some() {
            "child"
        } else {
            "own"
        };
        if life.created > polls[0] {
            ledger.add("created", life, source);
        }
        for (nth, run) in life.runs.iter().enumerate() {
            let until = life.runs.get(nth + 1).map_or(i64::MAX, |next| next.started);
            let is_seen = polls.iter().any(|now| (run.ended..until).contains(now));
            if run.status.is_terminal() && run.ended > polls[0] && is_seen {
                ledger.add("finished", life, &format!("{source} {}", run.status));
            }
        }
    }
    ledger
}

fn jobs_ledger(world: &[Life], polls: &[i64]) -> Ledger {
    let mut ledger = Ledger::default();
    for life in world {
        for (attempts, name) in life.jobs.iter().zip(NAMES) {
            for attempt in attempts {
                if attempt.ended > polls[0] {
                    ledger.add("run", life, &format!("{name} {}", attempt.status));
                    if attempt.status == Status::Failed {
                        ledger.add("failure", life, name);
                    }
                }
                if attempt.replaced.is_some_and(|at| at > polls[0]) {
                    ledger.add("retry", life, name);
                }
                if attempt.bettered.is_some_and(|at| at > polls[0]) {
                    ledger.add("flake", life, name);
                }
            }
        }
    }
    ledger
}

/// Downstream pipelines in another project: created and ended.
fn elsewhere_ledger(world: &[Life], first_poll: i64) -> (usize, usize) {
    let watched = world.iter().filter(|life| life.place.counted().is_some());
    let (created, ended): (Vec<_>, Vec<_>) = watched.filter_map(|life| life.foreign).unzip();
    let after = |times: Vec<i64>| times.into_iter().filter(|at| *at > first_poll).count();
    (after(created), after(ended))
}

fn elsewhere_counted(project: &Watched<ChildPipelines>) -> (usize, usize) {
    let elsewhere = [("project", "b")];
    let created = project.observed(&child_metric::RUN_COUNT, &elsewhere);
    let ended = project.observed(&child_metric::DURATION, &elsewhere);
    (created.len(), ended.len())
}

/// Reads a project's events as a ledger; `name` says what a series is called there.
fn read<C: FeedCollector>(
    project: &Watched<C>,
    name: impl Fn(&BTreeMap<&str, &str>, &str) -> Option<String>,
) -> Ledger {
    let mut ledger = Ledger::default();
    for event in &project.measured.events {
        let labels = event.desc.labels.iter().copied();
        let labels = labels
            .zip(event.labels.iter().map(|value| &**value))
            .collect();
        if let Some(line) = name(&labels, event.desc.name) {
            *ledger.0.entry(line).or_default() += 1.0;
        }
    }
    ledger
}

fn pipelines_counted(project: &Watched<Pipelines>) -> Ledger {
    read(project, |labels, name| {
        let git_ref = labels["ref"];
        let source = if labels["source"] == "parent_pipeline" {
            "child"
        } else {
            "own"
        };
        match name {
            "age_pipeline_run_count" => Some(format!("created {git_ref} {source}")),
            "age_pipeline_finished_total" => {
                Some(format!("finished {git_ref} {source} {}", labels["status"]))
            }
            _ => None,
        }
    })
}

fn jobs_counted(project: &Watched<Jobs>) -> Ledger {
    read(project, |labels, name| {
        let what = match name {
            "age_job_duration_seconds" => "run",
            "age_job_failures_total" => "failure",
            "age_job_retries_total" => "retry",
            "age_job_flaky_total" => "flake",
            _ => return None,
        };
        let status = labels
            .get("status")
            .map(|status| format!(" {status}"))
            .unwrap_or_default();
        // Without `kind` tags are written otherwise.
        let git_ref = labels["ref"].trim_start_matches("tags/");
        Some(format!("{what} {git_ref} {}{status}", labels["job_name"]))
    })
}

/// A memory as the store keeps it, and back.
fn stored<M: Keep>(memory: &M) -> M {
    store::read(&store::content(memory))
}

fn twice_is_once<C>(collector: C, world: &[Life], polls: &[i64]) -> Result<(), TestCaseError>
where
    C: FeedCollector + Copy + std::fmt::Debug,
    C::Memory: PartialEq + std::fmt::Debug,
{
    let mut project = Watched::new(collector);
    for now in polls {
        let seen = seen(&project, world, *now);
        let feed = project.feed(*now, seen);
        // A feed that comes again finds its own pipelines still followed.
        let ids = feed.pipelines.iter().map(|facts| facts.pipeline.id);
        project.absorb(&Feed {
            followed: ids.chain(feed.followed.iter().copied()).collect(),
            ..feed.clone()
        });
        let once = project.clone();
        project.absorb(&feed);
        prop_assert_eq!(project.totals(), once.totals());
        prop_assert_eq!(project.states(), once.states());
    }
    Ok(())
}

/// Polling again at once, with what is then asked for.
fn polled_twice_is_once<C>(collector: C, world: &[Life], polls: &[i64]) -> Result<(), TestCaseError>
where
    C: FeedCollector + Copy + std::fmt::Debug,
    C::Memory: PartialEq + std::fmt::Debug,
{
    let mut project = Watched::new(collector);
    for now in polls {
        let first = seen(&project, world, *now);
        project.poll(*now, first);
        let once = project.clone();
        let second = seen(&project, world, *now);
        project.poll(*now, second);
        prop_assert_eq!(&project.memory, &once.memory);
        prop_assert_eq!(project.totals(), once.totals());
        prop_assert_eq!(project.states(), once.states());
    }
    Ok(())
}

fn pieces_are_the_whole<C>(collector: C, world: &[Life], polls: &[i64]) -> Result<(), TestCaseError>
where
    C: FeedCollector + Copy + std::fmt::Debug,
    C::Memory: PartialEq + std::fmt::Debug + Keep,
{
    let mut whole = Watched::new(collector);
    let mut pieces = whole.clone();
    for now in polls {
        let seen = seen(&whole, world, *now);
        let feed = whole.feed(*now, seen.clone());
        whole.absorb(&feed);
        let last = pieces.feed(*now, seen);
        for facts in feed.pipelines.iter().rev() {
            let ids = feed.pipelines.iter().map(|facts| facts.pipeline.id);
            let piece = Feed {
                pipelines: vec![facts.clone()],
                followed: ids.chain(feed.followed.iter().copied()).collect(),
                deleted: Vec::new(),
            };
            pieces.absorb(&piece);
            pieces.memory = stored(&pieces.memory);
        }
        pieces.absorb(&Feed {
            pipelines: Vec::new(),
            ..last
        });
        prop_assert_eq!(&pieces.memory, &whole.memory);
        prop_assert_eq!(pieces.totals(), whole.totals());
        prop_assert_eq!(pieces.states(), whole.states());
    }
    Ok(())
}

proptest! {
    #[test]
    fn pipelines_are_counted_as_they_happened((world, polls) in world_and_polls()) {
        for project in [follow(PIPELINES, &world, &polls), feed::follow(PIPELINES, &world, &polls)] {
            prop_assert_eq!(pipelines_counted(&project), pipelines_ledger(&world, &polls));
        }
    }

    #[test]
    fn jobs_are_counted_as_they_happened((world, polls) in world_and_polls()) {
        let ways = [
            ("directly", follow(JOBS, &world, &polls)),
            ("by the change feed", feed::follow(JOBS, &world, &polls)),
        ];
        for (way, project) in ways {
            prop_assert_eq!(jobs_counted(&project), jobs_ledger(&world, &polls), "{}", way);
            let runs = project.observed(&job_metric::DURATION, ANY).len();
            prop_assert_eq!(project.observed(&job_metric::RUN_COUNT, ANY).len(), runs);
            prop_assert_eq!(project.shown(&job_metric::RUNNING, ANY), [0.0]);
            prop_assert_eq!(project.shown(&job_metric::PENDING, ANY), [0.0]);
        }
    }

    #[test]
    fn downstream_pipelines_elsewhere_are_counted_as_they_happened(
        (world, polls) in world_and_polls()
    ) {
        let project = follow(ChildPipelines, &world, &polls);
        prop_assert_eq!(elsewhere_counted(&project), elsewhere_ledger(&world, polls[0]));
    }

    #[test]
    fn downstream_pipelines_elsewhere_are_counted_by_way_of_the_change_feed(
        (world, mut polls) in world_and_polls()
    ) {
        // Of history the feed reads no details, and so misses what that has started.
        polls.insert(0, -1);
        let project = feed::follow(ChildPipelines, &world, &polls);
        prop_assert_eq!(elsewhere_counted(&project), elsewhere_ledger(&world, polls[0]));
    }

    #[test]
    fn children_count_as_often_here_as_among_pipelines((mut world, polls) in world_and_polls()) {
        // What started them is known at once: only then is every one of their ends seen here.
        for life in &mut world {
            life.parent = life.parent.map(|_| life.created);
        }
        let children = follow(ChildPipelines, &world, &polls);
        let pipelines = follow(PIPELINES, &world, &polls);
        let (here, there) = ([("project", "group/project")], [("source", "parent_pipeline")]);
        prop_assert_eq!(
            children.total(&child_metric::RUN_COUNT, &here),
            pipelines.total(&metric::RUN_COUNT, &there)
        );
        prop_assert_eq!(
            children.observed(&child_metric::DURATION, &here),
            pipelines.observed(&metric::DURATION, &there)
        );
    }

    #[test]
    fn children_are_counted_though_what_started_them_is_found_late(
        (world, polls) in world_and_polls()
    ) {
        let children = follow(ChildPipelines, &world, &polls);
        let pipelines = follow(PIPELINES, &world, &polls);
        prop_assert_eq!(
            children.total(&child_metric::RUN_COUNT, &[("project", "group/project")]),
            pipelines.total(&metric::RUN_COUNT, &[("source", "parent_pipeline")])
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_feed_twice_changes_nothing((world, polls) in world_and_polls()) {
        twice_is_once(PIPELINES, &world, &polls)?;
        twice_is_once(JOBS, &world, &polls)?;
        twice_is_once(ChildPipelines, &world, &polls)?;
    }

    #[test]
    fn polling_again_at_once_changes_nothing((world, polls) in world_and_polls()) {
        polled_twice_is_once(PIPELINES, &world, &polls)?;
        polled_twice_is_once(JOBS, &world, &polls)?;
        polled_twice_is_once(ChildPipelines, &world, &polls)?;
    }

    #[test]
    fn a_feed_may_come_in_pieces_in_any_order_with_restarts((world, polls) in world_and_polls()) {
        pieces_are_the_whole(PIPELINES, &world, &polls)?;
        pieces_are_the_whole(JOBS, &world, &polls)?;
        pieces_are_the_whole(ChildPipelines, &world, &polls)?;
    }
}

/// The backfill reads a job that was just retried; then the change feed shows its pipeline as moved.
#[test]
fn a_retry_that_the_backfill_read_first_counts_once() {
    let attempt = |id: u64, created: i64, ended: i64, replaced: Option<i64>| world::Attempt {
        id,
        created,
        started: created,
        ended,
        known: ended,
        status: Status::Failed,
        replaced,
        bettered: None,
    };
    let run = |started: i64, ended: i64| world::Run {
        started,
        ended,
        status: Status::Success,
        keeps_end: false,
    };
    let retried = Life {
        id: 1,
        created: 269,
        place: world::Place::Main,
        parent: None,
        runs: vec![run(284, 400), run(1254, 1313)],
        jobs: [
            Vec::new(),
            vec![
                attempt(1001, 284, 320, Some(321)),
                attempt(1003, 321, 399, Some(1254)),
                attempt(1005, 1254, 1312, None),
            ],
        ],
        foreign: None,
    };
    let quiet = Life {
        id: 2,
        created: 468,
        parent: Some(468),
        runs: Vec::new(),
        jobs: [Vec::new(), Vec::new()],
        ..retried.clone()
    };
    let (world, polls) = ([retried, quiet], [468, 1254, 1314]);
    let project = feed::follow(JOBS, &world, &polls);
    assert_eq!(jobs_counted(&project), jobs_ledger(&world, &polls));
}
