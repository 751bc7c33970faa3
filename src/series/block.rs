//! State blocks: the gauges of one collector about one project, replaced as a whole.

use std::collections::HashMap;

use crate::catalogue::{Collector, FamilyId};
use crate::types::ProjectId;

/// Which states belong together: what one collector says about one project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// The project the states are about.
    pub project: ProjectId,
    /// Who measured them.
    pub collector: Collector,
}

/// A gauge's metric and label set.
pub(super) type GaugeKey = (FamilyId, u32);

/// The blocks and the gauges each brought. A gauge that another block has claimed since is still
/// listed here; its row says whose it is.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    ids: HashMap<Block, u32>,
    gauges: HashMap<u32, Vec<GaugeKey>>,
    /// Numbers given so far; they start at 1.
    last: u32,
}

impl Blocks {
    /// The block's number, and the gauges it brought last time, which it forgets.
    pub(super) fn take(&mut self, block: Block) -> (u32, Vec<GaugeKey>) {
        let last = &mut self.last;
        let id = *self.ids.entry(block).or_insert_with(|| {
            *last = last.wrapping_add(1);
            *last
        });
        (id, self.gauges.remove(&id).unwrap_or_default())
    }

    /// Remembers the gauges of a block; without any, the block is forgotten.
    pub(super) fn put(&mut self, block: Block, id: u32, gauges: Vec<GaugeKey>) {
        if gauges.is_empty() {
            self.ids.remove(&block);
        } else {
            self.gauges.insert(id, gauges);
        }
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
