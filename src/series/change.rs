//! One change of the table: everything in it becomes visible in one epoch.

use super::block::{Block, Blocks, GaugeKey};
use super::family::{Epoch, Family, NewRow};
use super::labels::LabelSets;
use super::record::{self, RecordedValue, Refusal, RowRecord, StagedRow};
use super::retire::{self, Retirement};
use super::state::TableState;
use super::table::Table;
use crate::catalogue::instruments::{Change, Delta};
use crate::catalogue::{FamilyId, Kind, LabelValues, SeriesKey};
use crate::clock::UnixSeconds;
use crate::shards::{Shard, ShardSet};
use crate::types::ProjectId;

/// What a new row belongs to.
#[derive(Clone, Copy)]
enum Whose {
    /// A gauge: a state block.
    Block(u32),
    /// A counter or histogram: a project.
    Project(ProjectId),
}

/// A change under way.
pub(super) struct Changing<'a> {
    table: &'a Table,
    state: &'a mut TableState,
    epoch: Epoch,
    now: u32,
    /// Metrics that dropped something for the first time.
    full: Vec<FamilyId>,
}

impl<'a> Changing<'a> {
    pub(super) const fn new(
        table: &'a Table,
        state: &'a mut TableState,
        epoch: Epoch,
        now: u32,
    ) -> Self {
        Self {
            table,
            state,
            epoch,
            now,
            full: Vec::new(),
        }
    }

    /// Metrics that dropped something for the first time.
    pub(super) fn into_full(self) -> Vec<FamilyId> {
        self.full
    }

    /// Counts changes that do not fit.
    pub(super) fn drop_new(&mut self, id: FamilyId, count: u64) {
        let family = &mut self.state.families[id.index()];
        if family.overflow == 0 {
            self.full.push(id);
        }
        family.overflow += count;
    }

    /// Adds a series, if the limit allows it.
    fn insert(
        &mut self,
        id: FamilyId,
        labels: &LabelValues,
        value: f64,
        whose: Whose,
    ) -> Option<usize> {
        let TableState {
            families,
            labels: sets,
            last_initialized,
            projects,
            ..
        } = &mut *self.state;
        let family = &mut families[id.index()];
        if family.len() >= self.table.cardinality_limit {
            self.drop_new(id, 1);
            return None;
        }
        if family.desc.kind != Kind::Gauge {
            let shard = match whose {
                Whose::Project(id) => Shard::of(id),
                Whose::Block(block) => Blocks::shard_of(block),
            };
            let last = &mut last_initialized[shard.index()];
            *last = self.now.max(*last);
        }
        let (owner, project) = match whose {
            Whose::Block(block) => (block, 0),
            Whose::Project(id) => (0, projects.number(id)),
        };
        let new = NewRow {
            set: sets.acquire(family.desc.labels, labels),
            value,
            initialized_at: self.now,
            changed: self.now,
            owner,
            project,
        };
        Some(family.insert(new, self.epoch, sets))
    }

    /// Sets a counter or histogram to its staged total.
    pub(super) fn show(&mut self, staged: &StagedRow) {
        let id = staged.family;
        let slot = match self.state.find(id, &staged.labels) {
            Some(slot) => slot,
            None => match self.insert(id, &staged.labels, 0.0, Whose::Project(staged.project)) {
                Some(slot) => slot,
                None => return,
            },
        };
        let family = &mut self.state.families[id.index()];
        let row = family.row_mut(slot);
        row.changed = self.now;
        row.set_retiring(false);
        match &staged.value {
            RecordedValue::Counter(total) => row.value = *total,
            RecordedValue::Histogram { buckets, sum, .. } => {
                row.value = *sum;
                family.set_buckets(slot, buckets);
            }
        }
    }

    /// Shows a counter or histogram at 0, unless it is there.
    pub(super) fn initialize(&mut self, project: ProjectId, key: &SeriesKey) {
        let Some(id) = FamilyId::of(key.desc) else {
            return;
        };
        match self.state.find(id, &key.labels) {
            Some(slot) => self.state.families[id.index()]
                .row_mut(slot)
                .set_retiring(false),
            None => {
                self.insert(id, &key.labels, 0.0, Whose::Project(project));
            }
        }
    }

    /// Replaces a block's gauges.
    pub(super) fn replace(&mut self, block: Block, gauges: &[Delta]) {
        let (owner, before) = self.state.blocks.take(block);
        let mut after: Vec<GaugeKey> = Vec::with_capacity(gauges.len());
        for delta in gauges {
            let Change::Level(value) = delta.change else {
                continue;
            };
            if delta.family.desc().kind != Kind::Gauge {
                continue;
            }
            if let Some(set) = self.set_gauge(delta, value, owner) {
                after.push((delta.family, set));
            }
        }
        after.sort_unstable();
        after.dedup();
        for key in before {
            if after.binary_search(&key).is_err() {
                self.remove_gauge(key, owner);
            }
        }
        self.state.blocks.put(block, owner, after);
    }

    /// Sets one gauge for a block; yields its label set.
    fn set_gauge(&mut self, delta: &Delta, value: f64, owner: u32) -> Option<u32> {
        let slot = match self.state.find(delta.family, &delta.labels) {
            Some(slot) => slot,
            None => self.insert(delta.family, &delta.labels, value, Whose::Block(owner))?,
        };
        let TableState {
            families, labels, ..
        } = &mut *self.state;
        let family = &mut families[delta.family.index()];
        family.row_mut(slot).set_owner(owner);
        let set = family.rows()[slot].set;
        family.set_gauge(slot, value, self.epoch, labels);
        Some(set)
    }

    /// Takes a gauge away, unless another block has claimed it since.
    fn remove_gauge(&mut self, (id, set): GaugeKey, owner: u32) {
        let family = &self.state.families[id.index()];
        if let Some(slot) = family.find(set)
            && family.rows()[slot].owner() == owner
        {
            self.remove(id, slot);
        }
    }

    /// Takes a series away.
    pub(super) fn remove(&mut self, id: FamilyId, slot: usize) {
        let family = &mut self.state.families[id.index()];
        let set = family.rows()[slot].set;
        family.remove(slot, self.epoch);
        self.state.note_removed(id, set);
    }

    /// Takes everything of some shards away. Nobody is told that it was removed: another replica goes
    /// on with it.
    pub(super) fn release(&mut self, shards: ShardSet) {
        let noted = self.state.removed.take();
        for block in self.state.blocks.of_shards(shards) {
            self.replace(block, &[]);
        }
        for place in 0..self.state.families.len() {
            let family = &self.state.families[place];
            let is_of = |slot: &usize| shards.contains(self.state.shard(family, *slot));
            let slots = family.living().map(|(slot, _)| slot).filter(is_of);
            let (id, slots) = (family.id, slots.collect::<Vec<usize>>());
            for slot in slots {
                self.remove(id, slot);
            }
        }
        self.state.removed = noted;
    }

    /// Marks what was removed, and removes the states of removed projects.
    pub(super) fn retire(&mut self, retirements: &[Retirement]) {
        self.clear_states(retirements);
        if retirements.is_empty() {
            return;
        }
        let TableState {
            families,
            labels,
            retiring,
            ..
        } = &mut *self.state;
        for family in families {
            let id = family.id;
            let marked = retire::mark(family, labels, retirements);
            retiring.extend(marked.into_iter().map(|set| (id, set)));
        }
    }

    /// Takes the states of projects away.
    pub(super) fn clear_states(&mut self, retirements: &[Retirement]) {
        for retirement in retirements {
            if let Retirement::Project { id, .. } = retirement {
                for block in self.state.blocks.of_project(*id) {
                    self.replace(block, &[]);
                }
            }
        }
    }

    pub(super) fn families(&self) -> &[Family] {
        &self.state.families
    }

    pub(super) fn labels(&self) -> &LabelSets {
        &self.state.labels
    }

    pub(super) fn find(&self, id: FamilyId, labels: &LabelValues) -> Option<usize> {
        self.state.find(id, labels)
    }

    /// Removes what is due.
    pub(super) fn sweep(&mut self) -> usize {
        let mut swept = 0;
        let retiring = std::mem::take(&mut self.state.retiring);
        for (id, set) in retiring {
            let family = &self.state.families[id.index()];
            let Some(slot) = family.find(set) else {
                continue;
            };
            let of = (&self.state.windows, self.state.shard(family, slot));
            if self.table.is_due(of, family, slot, self.now) {
                self.remove(id, slot);
                swept += 1;
            } else if family.rows()[slot].is_retiring() {
                self.state.retiring.push((id, set));
            }
        }
        swept
    }

    /// What was initialized before now in these shards is restored.
    pub(super) fn begin_restoring(&mut self, shards: ShardSet) {
        self.state.windows.restored(shards, self.now);
    }

    /// Restores a remembered series. If its initial zero was not over at `committed_at`, no delivery
    /// showed its value: it is initialized again, and returned as it is now.
    pub(super) fn restore(
        &mut self,
        record: &RowRecord,
        committed_at: UnixSeconds,
    ) -> Result<Option<RowRecord>, Refusal> {
        let id = FamilyId::by_name(&record.name).ok_or(Refusal::UnknownMetric)?;
        let TableState {
            families,
            labels,
            retiring,
            last_initialized,
            projects,
            windows,
            ..
        } = &mut *self.state;
        let family = &mut families[id.index()];
        if family.len() >= self.table.cardinality_limit {
            return Err(Refusal::Full);
        }
        let slot = record::restore(family, labels, projects, record, self.epoch)?;
        let set = family.rows()[slot].set;
        if record.retiring {
            retiring.push((id, set));
        }
        let over = family.rows()[slot]
            .initialized_at
            .saturating_add(record.window.unwrap_or_else(|| windows.widest()));
        if over <= record::seconds(committed_at) {
            // By a clock that was ahead: it is not at zero when this one comes there.
            let row = family.row_mut(slot);
            row.initialized_at = row.initialized_at.min(self.now.saturating_sub(1));
            return Ok(None);
        }
        family.row_mut(slot).initialized_at = self.now;
        last_initialized[Shard::of(record.project).index()] = self.now;
        let retiring = record.retiring;
        let reinitialized = record::record(family, (labels, projects, windows), slot, retiring);
        Ok(Some(reinitialized))
    }
}
