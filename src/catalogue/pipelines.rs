//! Pipelines of branches, tags and merge requests.

use super::labels::{
    ProjectLabels, ProjectStatusLabels, RefLabels, RefSourceLabels, RefSourceStatusLabels,
};
use super::{Buckets, Collector, CollectorDesc, Counter, Desc, Gauge, Histogram, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Pipelines",
    about: r#"`age_pipeline_run_count` counts a pipeline when it is created,
`age_pipeline_finished_total` when a run of it ends, and again after a retry, also if no job
started: an invalid configuration fails, `[skip ci]` is skipped. `age_pipeline_duration_seconds` and
`age_pipeline_queued_duration_seconds` include the runs with a duration in GitLab. The success rate
is the share of successful runs among those that succeeded or failed, without canceled and skipped
ones:

```promql
sum by (project) (increase(age_pipeline_finished_total{status="success"}[1d]))
/ sum by (project) (increase(age_pipeline_finished_total{status=~"success|failed"}[1d]))
```

The duration is computed by GitLab: the time in which jobs of the pipeline or of its downstream
pipelines ran, without waiting, for example for a manual job. The queued time is from the creation
of the pipeline to the start of its first job; a run without started job has none. A run that ends,
is retried and ends again between two polls is counted once, with its last end.

The gauges describe the newest pipeline of a ref that was not skipped, of any source; a skipped one
if there is no other, or with `states.include_skipped`. With `states.by_source` there is a status
for each source. Child pipelines are counted here with `source="parent_pipeline"`, but are not part
of these gauges."#,
    role: "Reporter",
    tier: "Free",
    requests: "one query per 100 projects, per 20 with running pipelines",
    queries: &[Query::Changes, Query::Permissions],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Pipelines,
        tier: Tier::Free,
        plan,
    }
}

/// Finished runs, by duration.
pub static DURATION: Histogram<RefSourceStatusLabels> = Histogram::new(
    spec(
        "age_pipeline_duration_seconds",
        "s",
        true,
        "Duration of finished pipeline runs as computed by GitLab: running time of the jobs of the \
         pipeline and its downstream pipelines, without waiting. One observation per finished run \
         with a duration.",
    ),
    Buckets::Configured,
);

/// Finished runs, by time from creation to start.
pub static QUEUED_DURATION: Histogram<RefSourceLabels> = Histogram::new(
    spec(
        "age_pipeline_queued_duration_seconds",
        "s",
        true,
        "Time from creation to start of finished pipeline runs; runs that never started are excluded.",
    ),
    Buckets::Configured,
);

/// Status of the newest pipeline.
pub static STATUS: Gauge<RefSourceStatusLabels> = Gauge::new(spec(
    "age_pipeline_status",
    "",
    true,
    "Status of the newest pipeline of the ref: 1 for the current status; the other statuses are \
     absent, or 0 with output_sparse_status_metrics off. Child pipelines are in \
     age_child_pipeline_status.",
))
.merged(Merge::Worst);

/// Pipelines created.
pub static RUN_COUNT: Counter<RefSourceLabels> = Counter::new(spec(
    "age_pipeline_run_count",
    "",
    true,
    "Pipelines created, each counted once; a retry of a pipeline does not count again. For success \
     rates see age_pipeline_finished_total.",
));

/// Pipelines that ended.
pub static FINISHED: Counter<RefSourceStatusLabels> = Counter::new(spec(
    "age_pipeline_finished_total",
    "",
    false,
    "Finished pipeline runs by status, each counted once, whether or not a job started. The success \
     rate is success divided by the sum of success and failed; both series are initialized together.",
));

/// Coverage of the newest pipeline.
pub static COVERAGE: Gauge<RefLabels> = Gauge::new(spec(
    "age_pipeline_coverage",
    "%",
    true,
    "Code coverage of the newest pipeline of the ref, in percent; absent when no job reports one.",
))
.merged(Merge::Smallest);

/// Id of the newest pipeline.
pub static ID: Gauge<RefLabels> = Gauge::new(spec(
    "age_pipeline_id",
    "",
    true,
    "Id of the newest pipeline of the ref.",
))
.merged(Merge::Largest);

/// Creation of the newest pipeline.
pub static CREATED_TIMESTAMP: Gauge<RefLabels> = Gauge::new(spec(
    "age_pipeline_created_timestamp",
    "s",
    true,
    "When the newest pipeline of the ref was created, in seconds since the Unix epoch.",
))
.merged(Merge::Largest);

/// Last change of the newest pipeline.
pub static UPDATED_TIMESTAMP: Gauge<RefLabels> = Gauge::new(spec(
    "age_pipeline_updated_timestamp",
    "s",
    false,
    "When the newest pipeline of the ref last changed its status, in seconds since the Unix epoch.",
))
.merged(Merge::Largest);

/// Duration of the newest pipeline's last run.
pub static LAST_RUN_DURATION: Gauge<RefSourceLabels> = Gauge::new(spec(
    "age_pipeline_last_run_duration_seconds",
    "s",
    false,
    "Duration of the newest pipeline of the ref, once it has ended; for percentiles see \
     age_pipeline_duration_seconds.",
))
.merged(Merge::Largest);

/// Queue time of the newest pipeline's last run.
pub static LAST_RUN_QUEUED_DURATION: Gauge<RefSourceLabels> = Gauge::new(spec(
    "age_pipeline_last_run_queued_duration_seconds",
    "s",
    false,
    "Time from creation to start of the newest pipeline of the ref, once it has started.",
))
.merged(Merge::Largest);

/// End of the newest pipeline.
pub static FINISHED_TIMESTAMP: Gauge<RefLabels> = Gauge::new(spec(
    "age_pipeline_finished_timestamp",
    "s",
    false,
    "When the newest pipeline of the ref last ended, in seconds since the Unix epoch; absent while \
     it runs.",
))
.merged(Merge::Largest);

/// Start of the newest pipeline, while it runs.
pub static RUNNING_SINCE: Gauge<RefLabels> = Gauge::new(spec(
    "age_pipeline_running_since_timestamp",
    "s",
    false,
    "Start time of the newest pipeline of the ref, in seconds since the Unix epoch; absent unless its \
     status is running.",
))
.merged(Merge::Smallest);

/// Pipelines that have not ended.
pub static ACTIVE: Gauge<ProjectStatusLabels> = Gauge::new(spec(
    "age_pipelines_active",
    "",
    false,
    "Unfinished pipelines of the selected refs that are not blocked, by status.",
))
.merged(Merge::Sum);

/// When a project was last read.
pub static PROJECT_LAST_SUCCESS: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_project_last_success_timestamp",
    "s",
    false,
    "When the pipelines of the project were last read successfully, in seconds since the Unix epoch; \
     absent until the first successful read since the start.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &DURATION.desc,
    &QUEUED_DURATION.desc,
    &STATUS.desc,
    &RUN_COUNT.desc,
    &COVERAGE.desc,
    &ID.desc,
    &CREATED_TIMESTAMP.desc,
    &UPDATED_TIMESTAMP.desc,
    &LAST_RUN_DURATION.desc,
    &LAST_RUN_QUEUED_DURATION.desc,
    &FINISHED_TIMESTAMP.desc,
    &FINISHED.desc,
    &RUNNING_SINCE.desc,
    &ACTIVE.desc,
    &PROJECT_LAST_SUCCESS.desc,
];
