//! Jobs: their runs, waits, failures and states.

use super::labels::{
    JobFailureLabels, JobLabels, JobRunLabels, JobRunnerInfoLabels, JobStatusLabels, ProjectLabels,
    RefLabels, RunnerTypeLabels,
};
use super::{Buckets, Collector, CollectorDesc, Counter, Desc, Gauge, Histogram, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Jobs",
    about: "\
A *run* is a job that started and ended; each retry is a separate run. Jobs that were skipped, are
waiting for a manual start, or were canceled before they started have a status but no run. The
queued time is only the wait for a runner, since the job was able to start. The gauges describe the
newest job of a name in the newest pipeline of the ref that was not skipped.

Trigger jobs (bridges) have states, and failures are counted with their reason; they have no runs, durations and
queued times. Without GraphQL, GitLab lists only the newest trigger job of a name: a failed one that was retried
before the next poll is not counted. Jobs of child pipelines are counted here, with the ref of the child pipeline; their
states are `age_child_pipeline_job_status`.

A run is *flaky* when it failed, was retried, and a newer run of the same name in the same pipeline
succeeded.",
    role: "Reporter, better Maintainer",
    tier: "Free",
    requests: "running pipelines in the query of `pipelines`; one query per 19 projects with new or finished pipelines; one REST request per project with finished jobs that GraphQL shows incompletely",
    queries: &[Query::Jobs],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Jobs,
        tier: Tier::Free,
        plan,
    }
}

/// Runs, by duration.
pub static DURATION: Histogram<JobRunLabels> = Histogram::new(
    spec(
        "age_job_duration_seconds",
        "s",
        true,
        "Duration of finished job runs; each retry is a separate run. GraphQL reports start and end \
         in whole seconds, so single values can be up to a second off; sums and averages are correct.",
    ),
    Buckets::Configured,
);

/// Runs, by wait for a runner.
pub static QUEUED_DURATION: Histogram<JobLabels> = Histogram::new(
    spec(
        "age_job_queued_duration_seconds",
        "s",
        true,
        "Time that job runs waited for a runner, without the wait for earlier stages.",
    ),
    Buckets::Configured,
);

/// Runs, by wait for the runners of a type.
pub static RUNNER_QUEUED_DURATION: Histogram<RunnerTypeLabels> = Histogram::new(
    spec(
        "age_job_runner_queued_duration_seconds",
        "s",
        false,
        "Time that job runs waited for a runner, by the type of the runner that took them.",
    ),
    Buckets::Configured,
);

/// Status of the newest job.
pub static STATUS: Gauge<JobStatusLabels> = Gauge::new(spec(
    "age_job_status",
    "",
    true,
    "Status of the newest job of the name in the newest pipeline of the ref: 1 for the current \
     status; the other statuses are absent, or 0 with output_sparse_status_metrics off. \
     failure_reason is empty unless the job failed. Trigger jobs are jobs here.",
))
.merged(Merge::Worst);

/// Runs.
pub static RUN_COUNT: Counter<JobLabels> = Counter::new(spec(
    "age_job_run_count",
    "",
    true,
    "Finished job runs, retries included; skipped and never-started jobs are excluded.",
));

/// Size of artifacts.
pub static ARTIFACT_SIZE: Gauge<JobLabels> = Gauge::new(spec(
    "age_job_artifact_size_bytes",
    "By",
    true,
    "Size of all artifacts of the newest job of the name in the newest pipeline of the ref, without its log.",
))
.merged(Merge::Sum);

/// Duration of the newest job.
pub static LAST_RUN_DURATION: Gauge<JobLabels> = Gauge::new(spec(
    "age_job_last_run_duration_seconds",
    "s",
    false,
    "Duration of the newest job of the name in the newest pipeline of the ref, once it has ended.",
))
.merged(Merge::Largest);

/// Wait of the newest job.
pub static LAST_RUN_QUEUED_DURATION: Gauge<JobLabels> = Gauge::new(spec(
    "age_job_last_run_queued_duration_seconds",
    "s",
    false,
    "Time that the newest job of the name in the newest pipeline of the ref waited for a runner.",
))
.merged(Merge::Largest);

/// Creation of the newest job.
pub static CREATED_TIMESTAMP: Gauge<JobLabels> = Gauge::new(spec(
    "age_job_created_timestamp",
    "s",
    false,
    "When the newest job of the name in the newest pipeline of the ref was created, in seconds \
     since the Unix epoch.",
))
.merged(Merge::Largest);

/// Id of the newest job.
pub static ID: Gauge<JobLabels> = Gauge::new(spec(
    "age_job_id",
    "",
    false,
    "Id of the newest job of the name in the newest pipeline of the ref.",
))
.merged(Merge::Largest);

/// Coverage of the newest job.
pub static COVERAGE: Gauge<JobLabels> = Gauge::new(spec(
    "age_job_coverage",
    "%",
    false,
    "Code coverage that the newest job of the name in the newest pipeline of the ref reports, in \
     percent.",
))
.merged(Merge::Smallest);

/// Failed runs.
pub static FAILURES: Counter<JobFailureLabels> = Counter::new(spec(
    "age_job_failures_total",
    "",
    false,
    "Failed jobs and trigger jobs, by GitLab's failure reason; jobs with allow_failure are counted in \
     age_job_allowed_failures_total.",
));

/// Failed runs that may fail.
pub static ALLOWED_FAILURES: Counter<JobFailureLabels> = Counter::new(spec(
    "age_job_allowed_failures_total",
    "",
    false,
    "Failed jobs and trigger jobs with allow_failure, by GitLab's failure reason.",
));

/// Success of the newest pipeline in spite of failed jobs.
pub static PIPELINE_WARNINGS: Gauge<RefLabels> = Gauge::new(spec(
    "age_pipeline_warnings",
    "",
    false,
    "Success in spite of failed jobs: 1 where the newest pipeline of the ref succeeded though jobs with \
     allow_failure failed; absent otherwise.",
))
.merged(Merge::Largest);

/// Start of the newest job, while it runs.
pub static RUNNING_SINCE: Gauge<JobLabels> = Gauge::new(spec(
    "age_job_running_since_timestamp",
    "s",
    false,
    "Start time of the newest job of the name in the newest pipeline of the ref, in seconds since the \
     Unix epoch; absent unless its status is running.",
))
.merged(Merge::Smallest);

/// Runner and tags of the newest job.
pub static RUNNER_INFO: Gauge<JobRunnerInfoLabels> = Gauge::new(spec(
    "age_job_runner_info",
    "",
    false,
    "Always 1; the labels carry the description of the runner and the tags of the newest job of the name in \
     the newest pipeline of the ref. Only with collectors.jobs.runner_description_regexp or tags_regexp.",
))
.merged(Merge::Largest);

/// Retries.
pub static RETRIES: Counter<JobLabels> = Counter::new(spec(
    "age_job_retries_total",
    "",
    false,
    "Job runs replaced by a newer run of the same job.",
));

/// Flaky runs.
pub static FLAKY: Counter<JobLabels> = Counter::new(spec(
    "age_job_flaky_total",
    "",
    false,
    "Failed job runs that were retried while a newer run of the same name in the same pipeline \
     succeeded.",
));

/// Time on runners.
pub static COMPUTE_SECONDS: Counter<RunnerTypeLabels> = Counter::new(spec(
    "age_job_compute_seconds_total",
    "s",
    false,
    "Seconds that finished job runs spent on runners, by runner type.",
));

/// Jobs that wait.
pub static PENDING: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_jobs_pending",
    "",
    false,
    "Jobs of the selected refs that are waiting for a runner.",
));

/// Jobs that run.
pub static RUNNING: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_jobs_running",
    "",
    false,
    "Running jobs of the selected refs.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &DURATION.desc,
    &QUEUED_DURATION.desc,
    &STATUS.desc,
    &RUN_COUNT.desc,
    &ARTIFACT_SIZE.desc,
    &LAST_RUN_DURATION.desc,
    &LAST_RUN_QUEUED_DURATION.desc,
    &CREATED_TIMESTAMP.desc,
    &ID.desc,
    &COVERAGE.desc,
    &RUNNER_QUEUED_DURATION.desc,
    &FAILURES.desc,
    &ALLOWED_FAILURES.desc,
    &PIPELINE_WARNINGS.desc,
    &RUNNING_SINCE.desc,
    &RUNNER_INFO.desc,
    &RETRIES.desc,
    &FLAKY.desc,
    &COMPUTE_SECONDS.desc,
    &PENDING.desc,
    &RUNNING.desc,
];
