//! What is behind the table's lock: the rows of all metrics, and what they share.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::block::Blocks;
use super::clock::StartTimes;
use super::family::Family;
use super::labels::LabelSets;
use super::projects::Projects;
use super::record::{RecordedValue, RowRecord, record, time};
use super::walk::RemovedRow;
use super::window::BirthWindows;
use crate::catalogue::instruments::{Change, Delta};
use crate::catalogue::{FamilyId, Kind};
use crate::clock::UnixSeconds;
use crate::shards::Shard;
use crate::types::{ProjectId, Text};

/// Removals noted for the next push at most; beyond, receivers see the series fade by themselves.
const MAX_REMOVED: usize = 100_000;

/// All series; the table has it behind a lock.
#[derive(Debug)]
pub(super) struct TableState {
    pub(super) labels: LabelSets,
    /// In the order of the catalogue.
    pub(super) families: Vec<Family>,
    pub(super) blocks: Blocks,
    pub(super) projects: Projects,
    /// Counters and histograms whose subject was removed, if their row still says so.
    pub(super) retiring: Vec<(FamilyId, u32)>,
    /// Removals for the next push, with their label sets in use; `None` without push.
    pub(super) removed: Option<VecDeque<(FamilyId, u32)>>,
    /// When the youngest counter or histogram of each shard was initialized.
    pub(super) last_initialized: [u32; Shard::COUNT],
    /// How long they show 0.
    pub(super) windows: BirthWindows,
    pub(super) starts: StartTimes,
    pub(super) epoch: u32,
}

impl TableState {
    /// The total of a counter or histogram after a change, and its start and project if it exists;
    /// `None` for a gauge, and for a change that does not fit its metric.
    pub(super) fn total(
        &self,
        delta: &Delta,
    ) -> Option<(RecordedValue, Option<(UnixSeconds, ProjectId)>)> {
        let family = &self.families[delta.family.index()];
        let set = self.labels.find(family.desc.labels, &delta.labels);
        let slot = set.and_then(|set| family.find(set));
        let row = slot.map(|slot| &family.rows()[slot]);
        let before = row.map_or(0.0, |row| row.value);
        let value = match (family.desc.kind, &delta.change) {
            (Kind::Counter, Change::Rise(rise)) => RecordedValue::Counter(before + rise),
            (Kind::Histogram, Change::Histogram { sum, buckets, .. })
                if buckets.len() == family.width() =>
            {
                let before_buckets = slot.map_or(family.zeros(), |slot| family.buckets(slot));
                let totals = before_buckets.iter().zip(buckets);
                RecordedValue::Histogram {
                    bounds: Arc::clone(&family.bounds),
                    buckets: totals.map(|(before, new)| before + new).collect(),
                    sum: before + sum,
                }
            }
            _ => return None,
        };
        let known = slot.map(|slot| {
            let initialized_at = time(family.rows()[slot].initialized_at);
            (initialized_at, self.projects.id(family.project(slot)))
        });
        Some((value, known))
    }

    /// The shard that a row belongs to.
    pub(super) fn shard(&self, family: &Family, slot: usize) -> Shard {
        match family.project(slot) {
            Some(project) => self.projects.shard(project),
            None => Blocks::shard_of(family.rows()[slot].owner()),
        }
    }

    /// What a store shall remember of a living row.
    pub(super) fn record(&self, family: &Family, slot: usize, retiring: bool) -> RowRecord {
        let of = (&self.labels, &self.projects, &self.windows);
        record(family, of, slot, retiring)
    }

    /// The living row of a series.
    pub(super) fn find(&self, family: FamilyId, labels: &[Text]) -> Option<usize> {
        let family = &self.families[family.index()];
        family.find(self.labels.find(family.desc.labels, labels)?)
    }

    /// Notes that a series was removed, for the next push.
    pub(super) fn note_removed(&mut self, family: FamilyId, set: u32) {
        if let Some(removed) = &mut self.removed
            && removed.len() < MAX_REMOVED
        {
            self.labels.retain(set);
            removed.push_back((family, set));
        }
    }

    /// The removed series that have not come back.
    pub(super) fn take_removed(&mut self) -> Vec<RemovedRow> {
        let noted = self.removed.replace(VecDeque::new()).unwrap_or_default();
        let mut rows = Vec::with_capacity(noted.len());
        let mut listed = HashSet::new();
        for (id, set) in noted {
            let family = &self.families[id.index()];
            // One that was added and removed twice is noted twice.
            if family.find(set).is_none() && listed.insert((id, set)) {
                rows.push(RemovedRow {
                    family: id,
                    labels: self.labels.values(set),
                    bounds: Arc::clone(&family.bounds),
                });
            }
            self.labels.release(set);
        }
        rows
    }

    /// Frees the memory of dead rows. Only while no walk is under way.
    pub(super) fn compact(&mut self) {
        for family in &mut self.families {
            if family.has_dead() {
                family.compact(&mut self.labels);
            }
        }
        self.labels.shrink();
    }
}
