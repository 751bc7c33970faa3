//! One file per collector: a pure function from what a source read to measurements.
//!
//! A collector gets facts, settings, what it remembered and *now*; it returns events,
//! initializations, states and what to remember. It does no I/O, reads no clock and keeps no globals.
//!
//! # When an event counts
//! [`PipelineFacts::counts`](crate::facts::feed::PipelineFacts::counts) is the one rule. An event counts when its time is not before the
//! pipeline's floor and it is not claimed yet. The floor is the later of the project's first poll
//! and the watermark less the overlap, as they were when the pipeline began to be followed: what
//! is older has been counted already or is history. While a pipeline is followed its claims are
//! kept and its floor stands, so an event may wait for its labels as long as it must; once it is
//! settled and can only come again by moving, both are forgotten.

pub mod child_pipelines;
pub mod code_review;
pub mod compat;
pub mod contributors;
pub mod dora;
pub mod environments;
pub mod jobs;
mod measured;
pub mod merge_requests;
pub mod pipelines;
#[cfg(test)]
mod properties;
pub mod repository;
pub mod runners;
pub mod schedules;
pub mod security;
pub mod test_reports;
#[cfg(test)]
pub(crate) mod testing;
pub mod value_stream;
pub mod variables;

use crate::catalogue::Collector;
use crate::config::{Pattern, Settings};
use crate::facts::Facts;
use crate::facts::feed::Feed;
use crate::facts::merge_requests::MergeRequestsRead;
use crate::memory::{ProjectMemory, Subject};
use crate::people::People;
use child_pipelines::ChildPipelines;
use jobs::{Jobs, RunnerLabels};
use pipelines::Pipelines;
use test_reports::TestReports;

pub use measured::{FeedCollector, Measured, Measures};

/// All collectors, with their settings. Which of them measure a project, its settings say.
#[derive(Clone, Debug)]
pub struct Collectors {
    /// `collectors.pipelines.include_child_pipelines`, where pipelines are off and jobs are on.
    include_children: bool,
    /// `collectors.jobs.include_runner_details`.
    runner_details: bool,
    runners: RunnerLabels,
    test_reports: TestReports,
    /// Keys of the variables that are shown.
    variables: Option<Pattern>,
    people: People,
    /// `compat.gitlab_ci_metrics`.
    compat: bool,
}

impl Collectors {
    /// By the settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let collectors = &settings.collectors;
        Self {
            include_children: collectors.pipelines.include_child_pipelines,
            runner_details: collectors.jobs.include_runner_details,
            runners: RunnerLabels::new(&collectors.jobs),
            test_reports: TestReports {
                include_cases: collectors.test_reports.include_test_cases,
            },
            variables: collectors.variables.regexp.clone(),
            people: People::new(&settings.labels),
            compat: settings.compat.gitlab_ci_metrics,
        }
    }

    /// Lets each collector of what was read take it in and give its states: pure. How far the
    /// project was read is in `memory` already; `feed` is what [`Facts::note_progress`] gave.
    pub fn measure(
        &self,
        subject: Subject<'_>,
        facts: &Facts,
        feed: Option<&Feed>,
        memory: &mut ProjectMemory,
    ) -> Vec<Measures> {
        let is_shown = self.compat && compat::concerns(facts, feed);
        let claims = is_shown.then(|| compat::Claims::of(memory));
        let mut all = self.measure_own(subject, facts, feed, memory);
        if let Some(claims) = claims {
            let read = compat::Read {
                feed,
                deployments: match facts {
                    Facts::Environments(read) => Some(&read.read),
                    _ => None,
                },
                claims,
                jobs: self.jobs(subject),
                runners: &self.runners,
            };
            let measured = compat::measure(subject, read, memory);
            all.push(Measures::new(Collector::Compat, measured));
        }
        all
    }

    fn measure_own(
        &self,
        subject: Subject<'_>,
        facts: &Facts,
        feed: Option<&Feed>,
        memory: &mut ProjectMemory,
    ) -> Vec<Measures> {
        if let Some(feed) = feed {
            return self.measure_feed(subject, feed, memory);
        }
        let one = |collector, measured| vec![Measures::new(collector, measured)];
        match facts {
            // They have a feed, unless the project was never read.
            Facts::Feed(_) | Facts::Backfill(_) | Facts::Refs(_) => Vec::new(),
            Facts::MergeRequests(read) => self.measure_merge_requests(subject, read, memory),
            Facts::Environments(read) => {
                vec![environments::measure(
                    subject,
                    &self.people,
                    &read.read,
                    &mut memory.environments,
                )]
            }
            Facts::TestReports(read) => {
                let (known, own) = (&memory.pipelines, &mut memory.test_reports);
                let reports = &self.test_reports;
                let measured = reports.measure(subject, known, &read.reports, read.at, own);
                one(Collector::TestReports, measured)
            }
            Facts::Dora(read) => {
                let measured = dora::collect(subject, read, &mut memory.dora);
                one(Collector::Dora, measured)
            }
            Facts::ValueStream(read) => {
                let measured = value_stream::measure(subject, &read.found);
                one(Collector::ValueStream, measured)
            }
            Facts::Repository(read) => one(
                Collector::Repository,
                repository::collect(subject, read, memory),
            ),
            Facts::Contributors(read) => {
                let own = &mut memory.contributors;
                vec![contributors::measure(
                    subject,
                    &self.people,
                    &read.read,
                    own,
                )]
            }
            Facts::Schedules(read) => {
                let measured = schedules::measure(subject, &read.schedules);
                one(Collector::Schedules, measured)
            }
            Facts::Runners(read) => one(Collector::Runners, runners::measure(&read.runners)),
            Facts::Security(counts) => {
                one(Collector::Security, security::measure(subject, *counts))
            }
            Facts::Variables(read) => {
                let (known, own) = (&memory.pipelines, &mut memory.variables);
                let measured = self
                    .variables
                    .as_ref()
                    .map(|regexp| variables::measure(subject, known, &read.pipelines, regexp, own));
                one(Collector::Variables, measured.unwrap_or_default())
            }
        }
    }

    fn measure_feed(
        &self,
        subject: Subject<'_>,
        feed: &Feed,
        memory: &mut ProjectMemory,
    ) -> Vec<Measures> {
        let is_on = |collector| subject.settings.interval(collector).is_some();
        let mut all = Vec::new();
        if is_on(Collector::Pipelines) {
            let collector = Pipelines {
                include_children: is_on(Collector::ChildPipelines),
            };
            let measured = take_in(&collector, subject, feed, &mut memory.pipelines);
            all.push(Measures::new(Collector::Pipelines, measured));
        }
        if is_on(Collector::Jobs) {
            let collector = self.jobs(subject);
            let mut measured = take_in(&collector, subject, feed, &mut memory.jobs);
            let states = &mut measured.states;
            self.runners.states(subject, &memory.jobs, states);
            all.push(Measures::new(Collector::Jobs, measured));
        }
        if is_on(Collector::ChildPipelines) {
            let measured = take_in(&ChildPipelines, subject, feed, &mut memory.child_pipelines);
            all.push(Measures::new(Collector::ChildPipelines, measured));
        }
        all
    }

    fn jobs(&self, subject: Subject<'_>) -> Jobs {
        let is_on = |collector| subject.settings.interval(collector).is_some();
        let without_pipelines = !is_on(Collector::Pipelines) && self.include_children;
        Jobs {
            include_children: is_on(Collector::ChildPipelines) || without_pipelines,
            runner_details: self.runner_details,
        }
    }

    /// Reviews are measured by what merge requests brought.
    fn measure_merge_requests(
        &self,
        subject: Subject<'_>,
        read: &MergeRequestsRead,
        memory: &mut ProjectMemory,
    ) -> Vec<Measures> {
        let is_on = |collector| subject.settings.interval(collector).is_some();
        let events = merge_requests::absorb(&read.read, &mut memory.merge_requests);
        let mut all = Vec::new();
        if is_on(Collector::MergeRequests) {
            let (measured, retirements) =
                merge_requests::measure(subject, &events, &mut memory.merge_requests);
            all.push(Measures {
                retirements,
                ..Measures::new(Collector::MergeRequests, measured)
            });
        }
        if is_on(Collector::CodeReview) {
            let (measured, retirements) = code_review::measure(
                subject,
                &self.people,
                &events,
                memory.merge_requests.pending(),
                &mut memory.code_review,
            );
            all.push(Measures {
                retirements,
                ..Measures::new(Collector::CodeReview, measured)
            });
        }
        all
    }
}

fn take_in<C: FeedCollector>(
    collector: &C,
    subject: Subject<'_>,
    feed: &Feed,
    memory: &mut C::Memory,
) -> Measured {
    let mut measured = Measured::default();
    collector.absorb(subject, feed, memory, &mut measured);
    collector.states(subject, memory, &mut measured.states);
    measured
}
