//! Shards that come and go: what is recorded, shown and remembered of them moves as one.

use std::collections::BTreeMap;

use super::{Ingest, Part};
use crate::registry::{Reason, Removed};
use crate::shards::{Shard, ShardSet};
use crate::store::{Remembered, StoreError};
use crate::types::ProjectId;

impl Ingest {
    /// Takes over shards with what their replica before committed: all in one turn, for what is recorded
    /// meanwhile would come between any two. What came of each.
    pub async fn adopt(
        &self,
        shards: Vec<(Shard, Remembered)>,
    ) -> Vec<(Shard, Result<(), StoreError>)> {
        let mut results = Vec::with_capacity(shards.len());
        let mut recorder = self.recorder.lock().await;
        for (shard, remembered) in shards {
            let now = self.clock.now();
            let adopted = recorder.adopt(shard, remembered, self.clock.steady()).await;
            let result = match adopted {
                Ok(memories) => {
                    let mut projects = self.registry.lock();
                    projects.adopt_shard(shard, memories, now);
                    Ok(())
                }
                Err(error) => {
                    recorder.release([shard].into_iter().collect(), self.clock.steady());
                    Err(error)
                }
            };
            results.push((shard, result));
        }
        results
    }

    /// Gives shards away. What is being recorded is recorded first.
    pub async fn release(&self, shards: ShardSet) {
        let now = self.clock.now();
        // No run begins from here on.
        self.registry.lock().release_shards(shards, now);
        let mut recorder = self.recorder.lock().await;
        recorder.release(shards, self.clock.steady());
    }

    /// The store may have lost what it had of some shards: writes it again.
    pub async fn write_again(&self, shards: ShardSet) {
        let mut recorder = self.recorder.lock().await;
        let written = recorder.write_again(shards, self.clock.steady()).await;
        if let Err(error) = written {
            tracing::debug!(%error, "state will be written again with the next commit");
        }
    }

    /// Takes in that another replica no longer tracks projects.
    pub async fn removed_elsewhere(&self, removed: Vec<(ProjectId, Reason)>) {
        let now = self.clock.now();
        let own: Vec<Removed> = {
            let mut projects = self.registry.lock();
            let removed = removed.into_iter();
            let removed = removed.filter_map(|(id, why)| projects.removed_elsewhere(id, why, now));
            removed.collect()
        };
        if !own.is_empty() {
            self.remove(own).await;
        }
    }
}

impl Part {
    /// By shards, where each is stored for itself.
    pub(super) fn by_shard(self, is_sharded: bool) -> Vec<Self> {
        if !is_sharded {
            return vec![self];
        }
        let mut parts = BTreeMap::<Shard, Self>::new();
        for run in self.runs {
            let part = parts.entry(Shard::of(run.project)).or_default();
            part.push(Some(run));
        }
        for ended in self.ended {
            let part = parts.entry(Shard::of(ended.id)).or_default();
            part.ended.push(ended);
        }
        parts.into_values().collect()
    }
}
