//! What is remembered for the metrics of gitlab-ci-pipelines-exporter alone; nothing where they are off.

use std::collections::BTreeSet;

use crate::types::JobId;

/// What only these metrics need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompatMemory {
    /// Jobs that failed though they may.
    pub(crate) allowed_failures: BTreeSet<JobId>,
}
