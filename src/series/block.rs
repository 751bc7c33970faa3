//! State blocks: the gauges of one collector about one project, replaced as a whole.

use std::collections::HashMap;

use crate::catalogue::{Collector, FamilyId};
use crate::shards::{Shard, ShardSet};
use crate::types::ProjectId;

/// Which states belong together: what one collector says about one project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The project the states are about.
    pub project: ProjectId,
    /// Who measured them.
    pub collector: Collector,
}

impl Block {
    /// The shard that it belongs to: runners are no project's.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        match self.collector {
            Collector::Runners => Shard::INSTANCE,
            _ => Shard::of(self.project),
        }
    }
}

/// Bits of a block's number that are its shard.
const SHARD_BITS: u32 = usize::BITS - Shard::COUNT.leading_zeros();

/// A gauge's metric and label set.
pub(super) type GaugeKey = (FamilyId, u32);

/// The blocks and the gauges each brought. A gauge that another block has claimed since is still
/// listed here; its row says whose it is.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    ids: HashMap<Block, u32>,
    gauges: HashMap<u32, Vec<GaugeKey>>,
    /// The highest number given so far, without the shard; they start at 1.
    last: u32,
    /// Numbers that no block has any more.
    free: Vec<u32>,
}

impl Blocks {
    /// The block's number, and the gauges it brought last time, which it forgets.
    pub(super) fn take(&mut self, block: Block) -> (u32, Vec<GaugeKey>) {
        let (last, free) = (&mut self.last, &mut self.free);
        let id = *self.ids.entry(block).or_insert_with(|| {
            let number = free.pop().unwrap_or_else(|| {
                *last += 1;
                *last
            });
            number << SHARD_BITS | block.shard().index() as u32
        });
        (id, self.gauges.remove(&id).unwrap_or_default())
    }

    /// Remembers the gauges of a block; without any, the block is forgotten.
    pub(super) fn put(&mut self, block: Block, id: u32, gauges: Vec<GaugeKey>) {
        if gauges.is_empty() {
            self.ids.remove(&block);
            // Its gauges are gone, or another block's: none carries the number.
            self.free.push(id >> SHARD_BITS);
        } else {
            self.gauges.insert(id, gauges);
        }
    }

    /// The shard of the block with a number.
    pub(super) fn shard_of(id: u32) -> Shard {
        let index = id & ((1 << SHARD_BITS) - 1);
        Shard::by_index(index as usize).unwrap_or(Shard::INSTANCE)
    }

    /// The blocks of some shards.
    pub(super) fn of_shards(&self, shards: ShardSet) -> Vec<Block> {
        let blocks = self.ids.keys().copied();
        blocks
            .filter(|block| shards.contains(block.shard()))
            .collect()
    }

    /// The blocks about a project.
    pub(super) fn of_project(&self, project: ProjectId) -> Vec<Block> {
        let blocks = self.ids.keys().copied();
        blocks.filter(|block| block.project == project).collect()
    }

    /// How many blocks there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}
