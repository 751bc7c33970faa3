//! What is stored for the metrics of gitlab-ci-pipelines-exporter.

use super::keep::{Map, stored_struct};
use crate::memory::compat::CompatMemory;

stored_struct! {
    StoredCompat of CompatMemory {
        updated: Map<u64, i64>,
        allowed_failures: Vec<u64>,
        deployments: Map<u64, (u64, i64)>,
    }
}
