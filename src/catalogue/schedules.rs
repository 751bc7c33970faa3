//! Pipeline schedules.

use super::labels::{ScheduleLabels, ScheduleStatusLabels};
use super::{Collector, CollectorDesc, Desc, Gauge, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Schedules",
    about: "`schedule` is the schedule's description.",
    role: "Reporter",
    tier: "Free",
    requests: "one query per 50 projects",
    queries: &[Query::Schedules],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Schedules,
        tier: Tier::Free,
        plan,
    }
}

/// Whether a schedule is switched on.
pub static ACTIVE: Gauge<ScheduleLabels> = Gauge::new(spec(
    "age_pipeline_schedule_active",
    "",
    false,
    "Whether the pipeline schedule is active: 1 yes, 0 no. The label schedule is its description; if \
     several schedules of a ref share one, all but the oldest have their id appended. Needs Reporter \
     in private projects.",
))
.merged(Merge::Largest);

/// Next run.
pub static NEXT_RUN_TIMESTAMP: Gauge<ScheduleLabels> = Gauge::new(spec(
    "age_pipeline_schedule_next_run_timestamp",
    "s",
    false,
    "Next run of the pipeline schedule, in seconds since the Unix epoch, as computed by GitLab from \
     the time zone of the schedule; absent if it is inactive.",
))
.merged(Merge::Smallest);

/// Status of the last run.
pub static LAST_RUN_STATUS: Gauge<ScheduleStatusLabels> = Gauge::new(spec(
    "age_pipeline_schedule_last_run_status",
    "",
    false,
    "Status of the newest pipeline of the schedule: 1 for the current status; the other statuses \
     are absent, or 0 with output_sparse_status_metrics off.",
))
.merged(Merge::Worst);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &ACTIVE.desc,
    &NEXT_RUN_TIMESTAMP.desc,
    &LAST_RUN_STATUS.desc,
];
