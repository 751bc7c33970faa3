//! Environments and their deployments.

use super::labels::{EnvironmentInfoLabels, EnvironmentLabels, EnvironmentStatusLabels};
use super::{Buckets, Collector, CollectorDesc, Counter, Desc, Gauge, Histogram, Merge, Spec};
use crate::types::Tier;

/// A gauge by environment.
pub type EnvironmentGauge = Gauge<EnvironmentLabels>;

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Environments",
    about: "\
GitLab creates a deployment together with the pipeline of its job. Until the job starts it is
waiting (`created`, or `blocked` by a manual job); deployments that never start (`skipped`, or
canceled before) are not counted: counts, durations and status are of started deployments. A
deployment without a job (by the API) starts when it is created. *Behind* compares the commit of the
last successful deployment with the head of the default branch.",
    role: "Reporter",
    tier: "Free",
    requests: "after pipeline changes, deployments and branch heads in batched queries; hourly where environments exist; REST: two lists every hour after changes, otherwise every six hours; one request after a change of the branch or a deployment",
    queries: &[],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Environments,
        tier: Tier::Free,
        plan,
    }
}

/// Finished deployments, by duration.
pub static DEPLOYMENT_DURATION: Histogram<EnvironmentLabels> = Histogram::new(
    spec(
        "age_environment_deployment_duration_seconds",
        "s",
        true,
        "Duration of deployments that succeeded, failed or were canceled after they started: of the \
         deployment job, or from creation to end if there is no job.",
    ),
    Buckets::Fixed(&[5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]),
);

/// Status of the newest deployment.
pub static DEPLOYMENT_STATUS: Gauge<EnvironmentStatusLabels> = Gauge::new(spec(
    "age_environment_deployment_status",
    "",
    true,
    "Status of the last started deployment to the environment (running, success, failed or \
     canceled): 1 for the current status; the other statuses are absent, or 0 with \
     output_sparse_status_metrics off.",
))
.merged(Merge::Worst);

/// Deployments that wait.
pub static DEPLOYMENTS_WAITING: Gauge<EnvironmentStatusLabels> = Gauge::new(spec(
    "age_environment_deployments_waiting",
    "",
    false,
    "Deployments created after the last started one that have not started, by status: created and \
     blocked wait for their job, skipped do not start any more. Absent if there are none, at most 100 \
     per environment.",
))
.merged(Merge::Sum);

/// Deployments.
pub static DEPLOYMENT_COUNT: Counter<EnvironmentLabels> = Counter::new(spec(
    "age_environment_deployment_count",
    "",
    true,
    "Started deployments to the environment, each counted once at its start, whatever the result.",
));

/// Commits not deployed.
pub static BEHIND_COMMITS: Gauge<EnvironmentLabels> = Gauge::new(spec(
    "age_environment_behind_commits",
    "",
    true,
    "Commits of the default branch that are not in the last successful deployment to the environment; \
     absent if the deployed commit no longer exists. Updated after pipeline activity in the project, \
     at least hourly.",
))
.merged(Merge::Largest);

/// Age of the last successful deployment.
pub static BEHIND_DURATION: Gauge<EnvironmentLabels> = Gauge::new(spec(
    "age_environment_behind_duration_seconds",
    "s",
    true,
    "Time since the last successful deployment to the environment ended.",
))
.merged(Merge::Smallest);

/// End of the last successful deployment.
pub static LAST_DEPLOYMENT_TIMESTAMP: Gauge<EnvironmentLabels> = Gauge::new(spec(
    "age_environment_last_deployment_timestamp",
    "s",
    false,
    "When the last successful deployment to the environment ended, in seconds since the Unix \
     epoch.",
))
.merged(Merge::Largest);

/// Duration of the last successful deployment.
pub static LAST_DEPLOYMENT_DURATION: Gauge<EnvironmentLabels> = Gauge::new(spec(
    "age_environment_last_deployment_duration_seconds",
    "s",
    false,
    "Duration of the last successful deployment to the environment; for percentiles see \
     age_environment_deployment_duration_seconds.",
))
.merged(Merge::Largest);

/// What GitLab knows about an environment.
pub static INFO: Gauge<EnvironmentInfoLabels> = Gauge::new(spec(
    "age_environment_info",
    "",
    false,
    "Always 1; the labels carry the environment's id, tier, state and address; commit, ref, kind, job_id and user \
     of its last successful deployment, empty if unknown; and the newest commit of the default branch \
     (latest_commit, empty without GraphQL). Commits are shortened to 8 digits; user follows labels.people.",
))
.merged(Merge::Largest);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &DEPLOYMENT_DURATION.desc,
    &DEPLOYMENT_STATUS.desc,
    &DEPLOYMENTS_WAITING.desc,
    &DEPLOYMENT_COUNT.desc,
    &BEHIND_COMMITS.desc,
    &BEHIND_DURATION.desc,
    &LAST_DEPLOYMENT_TIMESTAMP.desc,
    &LAST_DEPLOYMENT_DURATION.desc,
    &INFO.desc,
];
