//! What is remembered for the metrics of gitlab-ci-pipelines-exporter alone; nothing where they are off.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::UnixSeconds;
use crate::types::{JobId, PipelineId};

/// What only these metrics need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompatMemory {
    /// When pipelines last changed.
    pub(crate) updated: BTreeMap<PipelineId, UnixSeconds>,
    /// Jobs that failed though they may.
    pub(crate) allowed_failures: BTreeSet<JobId>,
    /// The last successful deployment of each environment, and when it was created.
    pub(crate) deployments: BTreeMap<u64, (u64, UnixSeconds)>,
}
