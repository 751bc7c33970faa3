//! Every metric as data, one file per subject: the single source of truth.
//!
//! Instruments, views, text, push, `docs/metrics.md`, the `metrics` command and the dashboard
//! checks all derive from it.

mod activity;
pub mod buckets;
pub mod child_pipelines;
pub mod code_review;
mod collector;
pub mod compat;
pub mod contributors;
pub mod dora;
mod entry;
pub mod environments;
pub mod exporter;
mod family;
pub mod instruments;
pub mod jobs;
pub mod labels;
pub mod merge_requests;
pub mod pipelines;
mod render;
pub mod repository;
pub mod runners;
pub mod schedules;
pub mod security;
pub mod test_reports;
pub mod value_stream;
pub mod variables;

pub use activity::Activity;
pub use collector::CollectorDesc;
pub use entry::{
    Buckets, Counter, Desc, Gauge, Histogram, Kind, MAX_LABELS, Measurement, Merge, SeriesKey, Spec,
};
pub use family::{FamilyId, all};
pub use labels::{LabelValues, Labels};
pub use render::{json, markdown, table};

// Every collector with the file of its metrics, in the order of `/metrics`. Enum, names, tables of
// the documents, rows of `check` and of the status page follow from here; that a collector has
// settings, the compiler asks for in `config`.
collector::collectors! {
    Pipelines => pipelines,
    ChildPipelines => child_pipelines,
    Jobs => jobs,
    TestReports => test_reports,
    Environments => environments,
    MergeRequests => merge_requests,
    CodeReview => code_review,
    Dora => dora,
    ValueStream => value_stream,
    Repository => repository,
    Contributors => contributors,
    Schedules => schedules,
    Runners => runners,
    Security => security,
    Variables => variables,
}

#[cfg(test)]
mod tests;
