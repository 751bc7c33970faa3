//! Which collectors a run ended well for.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::{Facts, Problem};
use crate::registry::Projects;

/// How a run went for each of its collectors. It went well when GitLab answered what a collector
/// asked in at least one project: what waits for the calls of one collector does not make the data
/// of another old, and is not made new by it.
pub(super) struct Successes {
    collectors: Vec<Collector>,
    /// Those that were answered.
    answered: BTreeSet<Collector>,
    /// Those that had nothing to ask somewhere.
    idle: BTreeSet<Collector>,
    lag: Option<Duration>,
}

impl Successes {
    /// Of a run for these collectors that has recorded nothing yet.
    pub(super) fn of(collectors: &[Collector]) -> Self {
        Self {
            collectors: collectors.to_vec(),
            answered: BTreeSet::new(),
            idle: BTreeSet::new(),
            lag: None,
        }
    }

    /// Takes in a project that was recorded: what was read of it, the calls that failed, and how
    /// much later than due it was, unless it is backfill.
    pub(super) fn add(
        &mut self,
        facts: Option<&Facts>,
        failures: &[Problem],
        lag: Option<Duration>,
    ) {
        self.lag = self.lag.max(lag);
        for collector in &self.collectors {
            let of_collector = |problem: &Problem| problem.activity == (*collector).into();
            if failures.iter().any(of_collector) {
                continue;
            }
            if asks(*collector, facts) {
                self.answered.insert(*collector);
            } else {
                self.idle.insert(*collector);
            }
        }
    }

    /// How late the latest project was; nothing where all was backfill.
    pub(super) fn lag(&self) -> Option<Duration> {
        self.lag
    }

    /// The collectors that the run ended well for. One that had nothing to ask is up to date,
    /// unless it waits for an answer somewhere and has had none anywhere since.
    pub(super) fn collectors(&self, projects: &mut Projects, now: UnixSeconds) -> Vec<Collector> {
        for collector in &self.answered {
            projects.answered(*collector, now);
        }
        let went_well = |collector: &&Collector| {
            self.answered.contains(collector)
                || (self.idle.contains(collector) && !projects.waits_for_answer(**collector))
        };
        self.collectors.iter().filter(went_well).copied().collect()
    }
}

/// Whether a collector asked GitLab for something: in a poll of the change feed, jobs and
/// downstream pipelines are only asked for where a pipeline moved.
fn asks(collector: Collector, facts: Option<&Facts>) -> bool {
    match (collector, facts) {
        (Collector::Jobs | Collector::ChildPipelines, Some(Facts::Feed(read))) => {
            let mut pipelines = read.feed.pipelines.iter();
            pipelines.any(|pipeline| pipeline.jobs.is_some())
        }
        _ => true,
    }
}
