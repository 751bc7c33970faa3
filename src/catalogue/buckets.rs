//! Bucket bounds of histograms: the settings' where the catalogue says so, else the catalogue's.

use std::sync::Arc;

use super::{Buckets, Collector, Desc};

/// `collectors.*.histogram_buckets` of the settings: upper bounds in seconds, finite and strictly
/// increasing.
#[derive(Clone, Debug, PartialEq)]
pub struct BucketSettings {
    /// Of pipelines and downstream pipelines.
    pub pipelines: Arc<[f64]>,
    /// Of jobs.
    pub jobs: Arc<[f64]>,
    /// Of merge requests.
    pub merge_requests: Arc<[f64]>,
}

impl Default for BucketSettings {
    /// The bounds of the settings' defaults.
    fn default() -> Self {
        Self {
            pipelines: [5., 10., 30., 60., 120., 300., 600., 1800., 3600.].into(),
            jobs: [5., 10., 30., 60., 120., 300., 600., 1800.].into(),
            merge_requests: [3600., 7200., 14400., 28800., 86400., 172_800., 604_800.].into(),
        }
    }
}

impl BucketSettings {
    /// The upper bounds of `desc`'s buckets, without the last, infinite one; empty for what is no
    /// histogram.
    #[must_use]
    pub fn bounds(&self, desc: &Desc) -> Arc<[f64]> {
        match (desc.buckets, desc.collector) {
            (Buckets::None, _) => Arc::new([]),
            (Buckets::Fixed(bounds), _) => bounds.into(),
            (Buckets::Configured, Collector::Jobs) => self.jobs.clone(),
            (Buckets::Configured, Collector::MergeRequests) => self.merge_requests.clone(),
            (Buckets::Configured, _) => self.pipelines.clone(),
        }
    }
}
