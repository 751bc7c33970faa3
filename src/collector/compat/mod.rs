//! The metrics of gitlab-ci-pipelines-exporter, of what other collectors remember: pure functions, one file
//! per subject. All labels are always there, empty where nothing is known; values that GitLab does not give are
//! 0; a ref shows its newest pipeline alone.

mod environments;
mod jobs;
mod pipelines;
mod reports;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Measured;
use super::jobs::{Jobs, RunnerLabels};
use crate::catalogue::Collector;
use crate::catalogue::compat::STATUSES;
use crate::catalogue::labels::OldPipelineLabels;
use crate::clock::UnixSeconds;
use crate::facts::Facts;
use crate::facts::environments::Deployments;
use crate::facts::feed::Feed;
use crate::memory::environments::DeploymentEvent;
use crate::memory::jobs::JobClaims;
use crate::memory::pipelines::RunClaim;
use crate::memory::refs::{MERGE_REQUESTS, RefName};
use crate::memory::{ProjectMemory, Subject};
use crate::types::{JobId, PipelineId, Text};

/// The status of what succeeded though jobs failed that may.
const WITH_WARNINGS: &str = "success_with_warnings";

/// The claims of other collectors before they took in what was read: what they count now is new here too.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    pipelines: BTreeMap<PipelineId, RunClaim>,
    jobs: BTreeMap<PipelineId, BTreeMap<JobId, JobClaims>>,
    deployments: BTreeMap<(u64, DeploymentEvent), UnixSeconds>,
}

impl Claims {
    /// As they are in `memory`.
    #[must_use]
    pub fn of(memory: &ProjectMemory) -> Self {
        Self {
            pipelines: memory.pipelines.claims.clone(),
            jobs: memory.jobs.claims.clone(),
            deployments: memory.environments.claims.clone(),
        }
    }
}

/// What was read, and the claims before.
pub struct Read<'a> {
    /// Of the change feed.
    pub feed: Option<&'a Feed>,
    /// Of environments.
    pub deployments: Option<&'a Deployments>,
    /// The claims of other collectors before.
    pub claims: Claims,
    /// The collector of jobs.
    pub jobs: Jobs,
    /// Which runners and tags are shown.
    pub runners: &'a RunnerLabels,
}

/// Whether these metrics follow from what was read; else they stay as they are.
#[must_use]
pub fn concerns(facts: &Facts, feed: Option<&Feed>) -> bool {
    let others = matches!(
        facts,
        Facts::Environments(_) | Facts::TestReports(_) | Facts::Variables(_)
    );
    feed.is_some() || others
}

/// Counts what is new, and gives all states as they are now, after other collectors took in what was read.
#[must_use]
pub fn measure(subject: Subject<'_>, mut read: Read<'_>, memory: &mut ProjectMemory) -> Measured {
    let mut measured = Measured::default();
    let is_on = |collector| subject.settings.interval(collector).is_some();
    if let Some(feed) = read.feed {
        if is_on(Collector::Pipelines) {
            pipelines::count(subject, feed, &mut read.claims, &mut measured);
        }
        if is_on(Collector::Jobs) {
            jobs::count(subject, feed, &read, &mut measured);
        }
        jobs::remember(feed, memory);
    }
    if let Some(deployments) = read.deployments {
        environments::count(subject, deployments, &mut read.claims, &mut measured);
    }
    if is_on(Collector::Pipelines) {
        let newest = pipelines::states(subject, memory, &mut measured);
        if is_on(Collector::Jobs) {
            jobs::states((subject, read.runners), memory, &newest, &mut measured);
        }
        if is_on(Collector::TestReports) {
            reports::states(subject, memory, &newest, &mut measured.states);
        }
    }
    if is_on(Collector::Environments) {
        environments::states(subject, memory, &mut measured);
    }
    measured
}

/// The labels of the newest pipeline of each ref that is shown.
type Newest = BTreeMap<RefName, (PipelineId, OldPipelineLabels)>;

/// The label `ref` there: a merge request is its number alone.
fn old_ref(name: &RefName) -> Text {
    match name.name.strip_prefix(MERGE_REQUESTS) {
        Some(number) if name.merge_request().is_some() => number.into(),
        _ => name.name.clone(),
    }
}

fn pipeline_labels(
    subject: Subject<'_>,
    name: &RefName,
    source: &Text,
    variables: Text,
) -> OldPipelineLabels {
    OldPipelineLabels {
        kind: name.kind.as_str().into(),
        project: subject.project.clone(),
        git_ref: old_ref(name),
        source: source.clone(),
        topics: Text::default(),
        variables,
    }
}

/// The values of a status metric: 1 for the current one, which may be none of the known; with
/// `output_sparse_status_metrics` off also 0 for every other.
fn status_values(subject: Subject<'_>, current: &str) -> impl Iterator<Item = (Text, f64)> + use<> {
    let sparse = subject.settings.output_sparse_status_metrics;
    let current = current.to_owned();
    STATUSES
        .into_iter()
        .filter_map(move |status| match status == current {
            true => Some((status.into(), 1.0)),
            false if sparse => None,
            false => Some((status.into(), 0.0)),
        })
}
