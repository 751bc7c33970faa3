//! Every metric as data, one file per subject: the single source of truth.
//!
//! Instruments, views, text, push, `docs/metrics.md`, the `metrics` command and the dashboard
//! checks all derive from it.

pub mod child_pipelines;
mod entry;
pub mod exporter;
mod family;
pub mod jobs;
pub mod labels;
pub mod pipelines;

pub use entry::{
    Buckets, Collector, Counter, Desc, Gauge, Histogram, Kind, Measurement, SeriesKey, Spec, Tier,
};
pub use family::{FamilyId, all};
pub use labels::{LabelValues, Labels};

/// The files, in the order of `/metrics`.
static SUBJECTS: &[&[&Desc]] = &[
    pipelines::ENTRIES,
    child_pipelines::ENTRIES,
    jobs::ENTRIES,
    exporter::ENTRIES,
];
