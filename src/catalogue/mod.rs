//! Every metric as data, one file per subject: the single source of truth.
//!
//! Instruments, views, text, push, `docs/metrics.md`, the `metrics` command and the dashboard
//! checks all derive from it.

mod activity;
pub mod buckets;
pub mod child_pipelines;
pub mod code_review;
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
pub use entry::{
    Buckets, Collector, Counter, Desc, Gauge, Histogram, Kind, MAX_LABELS, Measurement, SeriesKey,
    Spec,
};
pub use family::{FamilyId, all};
pub use labels::{LabelValues, Labels};
pub use render::{json, markdown, table};

/// The files, in the order of `/metrics`.
static SUBJECTS: &[&[&Desc]] = &[
    pipelines::ENTRIES,
    child_pipelines::ENTRIES,
    jobs::ENTRIES,
    test_reports::ENTRIES,
    environments::ENTRIES,
    merge_requests::ENTRIES,
    code_review::ENTRIES,
    dora::ENTRIES,
    value_stream::ENTRIES,
    repository::ENTRIES,
    contributors::ENTRIES,
    schedules::ENTRIES,
    runners::ENTRIES,
    security::ENTRIES,
    variables::ENTRIES,
    exporter::ENTRIES,
];

#[cfg(test)]
mod tests;
