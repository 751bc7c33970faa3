//! Every metric as data, one file per subject: the single source of truth.
//!
//! Instruments, views, text, push, `docs/metrics.md`, the `metrics` command and the dashboard
//! checks all derive from it.

pub mod child_pipelines;
mod entry;
pub mod jobs;
pub mod labels;
pub mod pipelines;

pub use entry::{
    Buckets, Collector, Counter, Desc, Gauge, Histogram, Kind, Measurement, SeriesKey, Spec, Tier,
};
pub use labels::{LabelValues, Labels};

/// Every entry, in the order of `/metrics`.
pub fn all() -> impl Iterator<Item = &'static Desc> {
    [pipelines::ENTRIES, child_pipelines::ENTRIES, jobs::ENTRIES]
        .into_iter()
        .flat_map(|entries| entries.iter().copied())
}
