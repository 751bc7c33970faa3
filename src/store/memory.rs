//! The store of an exporter without `state.path`: it remembers until the process ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Commit, Remembered, Store, StoreError};
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::series::{RowKey, RowRecord};
use crate::types::ProjectId;

/// Memories are shared with who committed them; rows are kept as they came.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    projects: BTreeMap<ProjectId, Arc<ProjectMemory>>,
    rows: BTreeMap<RowKey, RowRecord>,
    committed_at: UnixSeconds,
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Remembered, StoreError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Remembered {
            projects: kept
                .projects
                .iter()
                .map(|(id, memory)| (*id, Arc::clone(memory)))
                .collect(),
            rows: kept.rows.values().cloned().collect(),
            committed_at: kept.committed_at,
        })
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.committed_at = kept.committed_at.max(commit.committed_at);
        for (id, memory) in commit.projects {
            match memory {
                Some(memory) => kept.projects.insert(id, memory),
                None => kept.projects.remove(&id),
            };
        }
        for row in commit.rows {
            kept.rows.insert(row.key(), row);
        }
        for key in commit.removed {
            kept.rows.remove(&key);
        }
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test]
    async fn it_conforms() {
        conformance::run(async || MemoryStore::default()).await;
    }
}
