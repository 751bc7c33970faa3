//! Downstream pipelines: children in the same project and multi-project pipelines, by what
//! started them.

use super::labels::{ChildJobStatusLabels, ChildLabels, ChildStatusLabels};
use super::{Buckets, Collector, CollectorDesc, Counter, Desc, Gauge, Histogram, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Downstream pipelines",
    about: "\
Child pipelines and multi-project pipelines by their trigger: the parent's project and ref, and the
name of the trigger job (the *bridge*). `project` and `ref` are the downstream pipeline's own. The
parent of a pipeline started by a downstream pipeline is that pipeline, at any depth. With
`include_child_pipelines: false` these metrics are absent, and child pipelines are excluded from the
others.

`age_child_pipeline_job_status` requires `collectors.jobs`; finished jobs of child pipelines are counted in the
metrics of jobs, with the ref of the child pipeline. Jobs of multi-project pipelines are jobs of their project.

These series are removed with the parent ref. If the parent ref is not selected or its project is
not tracked, they are removed after 30 days without a new pipeline from it, except for the newest
pipeline of a ref.",
    role: "Reporter",
    tier: "Free",
    requests: "in the same query; one request per downstream pipeline in an untracked project",
    queries: &[Query::Jobs],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::ChildPipelines,
        tier: Tier::Free,
        plan,
    }
}

/// Finished downstream runs, by duration.
pub static DURATION: Histogram<ChildLabels> = Histogram::new(
    spec(
        "age_child_pipeline_duration_seconds",
        "s",
        true,
        "Duration of finished downstream pipeline runs, by the pipeline and the bridge that \
         started them; to any depth, across projects.",
    ),
    Buckets::Configured,
);

/// Status of the newest downstream pipeline.
pub static STATUS: Gauge<ChildStatusLabels> = Gauge::new(spec(
    "age_child_pipeline_status",
    "",
    true,
    "Status of the newest downstream pipeline of the bridge: 1 for the current status; the other \
     statuses are absent, or 0 with output_sparse_status_metrics off.",
))
.merged(Merge::Worst);

/// Downstream pipelines created.
pub static RUN_COUNT: Counter<ChildLabels> = Counter::new(spec(
    "age_child_pipeline_run_count",
    "",
    true,
    "Downstream pipelines created, each counted once, by the pipeline and the bridge that started \
     them.",
));

/// Finished downstream runs, by time from creation to start.
pub static QUEUED_DURATION: Histogram<ChildLabels> = Histogram::new(
    spec(
        "age_child_pipeline_queued_duration_seconds",
        "s",
        true,
        "Time from creation to start of finished downstream pipeline runs; runs that never \
         started are left out.",
    ),
    Buckets::Configured,
);

/// Status of the newest child pipeline's jobs.
pub static JOB_STATUS: Gauge<ChildJobStatusLabels> = Gauge::new(spec(
    "age_child_pipeline_job_status",
    "",
    false,
    "Status of the newest job of the name in the newest child pipeline of the bridge: 1 for the current \
     status; the other statuses are absent, or 0 with output_sparse_status_metrics off. failure_reason is \
     empty unless the job failed.",
))
.merged(Merge::Worst);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &DURATION.desc,
    &STATUS.desc,
    &RUN_COUNT.desc,
    &QUEUED_DURATION.desc,
    &JOB_STATUS.desc,
];
