//! What is stored for the metrics of gitlab-ci-pipelines-exporter.

use super::keep::stored_struct;
use crate::memory::compat::CompatMemory;

stored_struct! {
    StoredCompat of CompatMemory { allowed_failures: Vec<u64> }
}

/// As version 1 stored it: with times that other parts have now.
pub(in crate::store) mod v1 {
    use serde::{Deserialize, Serialize};

    use super::StoredCompat;
    use crate::store::stored::keep::Map;

    #[derive(Debug, Serialize, Deserialize)]
    pub(in crate::store) struct Compat {
        updated: Map<u64, i64>,
        allowed_failures: Vec<u64>,
        deployments: Map<u64, (u64, i64)>,
    }

    impl From<Compat> for StoredCompat {
        fn from(stored: Compat) -> Self {
            Self {
                allowed_failures: stored.allowed_failures,
            }
        }
    }
}
