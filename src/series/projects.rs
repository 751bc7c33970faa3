//! The projects that counters and histograms belong to, each with a number that a row keeps.

use std::collections::HashMap;

use crate::shards::Shard;
use crate::types::ProjectId;

/// Projects by number: half the bytes of an id, in each of millions of rows.
#[derive(Debug, Default)]
pub(super) struct Projects {
    ids: Vec<ProjectId>,
    shards: Vec<Shard>,
    numbers: HashMap<ProjectId, u32>,
}

impl Projects {
    /// The number of a project.
    pub(super) fn number(&mut self, id: ProjectId) -> u32 {
        let (ids, shards) = (&mut self.ids, &mut self.shards);
        *self.numbers.entry(id).or_insert_with(|| {
            ids.push(id);
            shards.push(Shard::of(id));
            u32::try_from(ids.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// The shard of a project.
    pub(super) fn shard(&self, number: u32) -> Shard {
        let shard = self.shards.get(number as usize);
        shard.copied().unwrap_or(Shard::INSTANCE)
    }

    /// The project of a number; 0, which no project has, when there is none.
    pub(super) fn id(&self, number: Option<u32>) -> ProjectId {
        let id = number.and_then(|number| self.ids.get(number as usize));
        id.copied().unwrap_or_default()
    }
}
