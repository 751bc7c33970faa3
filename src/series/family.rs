//! The rows of one metric.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;

use super::labels::LabelSets;
use crate::catalogue::{Desc, FamilyId, Kind};

/// [`Row::removed`] of a row that lives.
const ALIVE: u32 = u32::MAX;

/// One version of one series: 32 bytes; of a counter or histogram 4 more, and of a histogram
/// that has counted 8 per bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// A counter's total, a gauge's value, or the sum of a histogram.
    pub(super) value: f64,
    /// First epoch that sees it.
    added: u32,
    /// First epoch that does not see it any more.
    removed: u32,
    /// Its labels.
    pub(super) set: u32,
    /// When it was first shown, in seconds since the Unix epoch.
    pub(super) initialized_at: u32,
    /// When its total last changed, in seconds since the Unix epoch.
    pub(super) changed: u32,
    /// Of a gauge: the state block it belongs to. Else: in the lowest bit, whether its subject was
    /// removed; above, of a histogram that has counted, the place of its buckets, from 1 on.
    tag: u32,
}

const _: () = assert!(size_of::<Row>() == 32);

impl Row {
    /// Whether a walk at `epoch` sees it.
    pub(super) const fn is_visible(&self, epoch: u32) -> bool {
        self.added <= epoch && epoch < self.removed
    }

    /// The block a gauge belongs to.
    pub(super) const fn owner(&self) -> u32 {
        self.tag
    }

    /// Gives a gauge to a block.
    pub(super) const fn set_owner(&mut self, block: u32) {
        self.tag = block;
    }

    /// Whether a counter's or histogram's subject was removed.
    pub(super) const fn is_retiring(&self) -> bool {
        self.tag & 1 != 0
    }

    /// Marks a counter or histogram as having lost its subject, or as alive again.
    pub(super) const fn set_retiring(&mut self, retiring: bool) {
        self.tag = self.tag & !1 | retiring as u32;
    }

    /// Where a histogram's buckets are, once it has counted.
    const fn place(&self) -> Option<usize> {
        match self.tag >> 1 {
            0 => None,
            place => Some(place as usize - 1),
        }
    }

    /// Notes where a histogram's buckets are.
    const fn set_place(&mut self, place: Option<u32>) {
        let place = match place {
            Some(place) => place + 1,
            None => 0,
        };
        self.tag = place << 1 | self.tag & 1;
    }
}

/// What a new row starts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewRow {
    pub(super) set: u32,
    pub(super) value: f64,
    pub(super) initialized_at: u32,
    pub(super) changed: u32,
    /// Of a gauge: the state block it belongs to.
    pub(super) owner: u32,
    /// Of a counter or histogram: the number of its project.
    pub(super) project: u32,
}

/// When a change happens, and which walks are under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    /// The first epoch that sees the change.
    pub(super) number: u32,
    /// Epochs of the oldest and the newest walk under way.
    pub(super) walks: Option<(u32, u32)>,
}

/// All rows of one metric. Rows do not move while a walk is under way.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) id: FamilyId,
    pub(super) desc: &'static Desc,
    pub(super) bounds: Arc<[f64]>,
    rows: Vec<Row>,
    /// Numbers of the projects that counters and histograms belong to, row by row; empty for gauges,
    /// whose block knows.
    projects: Vec<u32>,
    /// Bucket counts, not cumulated, [`Family::width`] per histogram that has counted: most of what
    /// history names has not.
    buckets: Vec<u64>,
    /// Free places in `buckets`.
    free: Vec<u32>,
    /// Living rows by label set.
    index: HashTable<u32>,
    /// Rows that no new walk sees, oldest removal first.
    dead: VecDeque<u32>,
    zeros: Box<[u64]>,
    /// Changes that were dropped because the family is full.
    pub(super) overflow: u64,
}

fn hash(set: u32) -> u64 {
    u64::from(set).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Family {
    pub(super) fn new(id: FamilyId, bounds: Arc<[f64]>) -> Self {
        let desc = id.desc();
        let width = match desc.kind {
            Kind::Histogram => bounds.len() + 1,
            Kind::Counter | Kind::Gauge => 0,
        };
        Self {
            id,
            desc,
            bounds,
            rows: Vec::new(),
            projects: Vec::new(),
            buckets: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            dead: VecDeque::new(),
            zeros: vec![0; width].into(),
            overflow: 0,
        }
    }

    /// Buckets per row.
    pub(super) fn width(&self) -> usize {
        self.zeros.len()
    }

    /// As many empty buckets as a row has.
    pub(super) fn zeros(&self) -> &[u64] {
        &self.zeros
    }

    /// Living rows.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Every version, living and dead.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Living rows and their places.
    pub(super) fn living(&self) -> impl Iterator<Item = (usize, &Row)> {
        let rows = self.rows.iter().enumerate();
        rows.filter(|(_, row)| row.removed == ALIVE)
    }

    /// Whether there are rows to be compacted.
    pub(super) fn has_dead(&self) -> bool {
        !self.dead.is_empty()
    }

    /// The living row with a label set.
    pub(super) fn find(&self, set: u32) -> Option<usize> {
        self.index
            .find(hash(set), |slot| self.rows[*slot as usize].set == set)
            .map(|slot| *slot as usize)
    }

    /// Whether a counter or histogram has counted anything: what has not is not remembered.
    pub(super) fn has_counted(&self, slot: usize) -> bool {
        let row = &self.rows[slot];
        row.value != 0.0 || (self.desc.kind == Kind::Histogram && row.place().is_some())
    }

    /// The number of the project that a counter or histogram belongs to.
    pub(super) fn project(&self, slot: usize) -> Option<u32> {
        self.projects.get(slot).copied()
    }

    pub(super) fn row_mut(&mut self, slot: usize) -> &mut Row {
        &mut self.rows[slot]
    }

    /// A histogram's buckets.
    pub(super) fn buckets(&self, slot: usize) -> &[u64] {
        match self.rows[slot].place() {
            Some(place) => &self.buckets[place * self.width()..][..self.width()],
            None => &self.zeros,
        }
    }

    /// Sets a histogram's buckets, as many as there are.
    pub(super) fn set_buckets(&mut self, slot: usize, buckets: &[u64]) {
        let width = self.width();
        let place = match self.rows[slot].place() {
            Some(place) => place,
            None if buckets.iter().all(|count| *count == 0) => return,
            None => self.take_place(slot),
        };
        self.buckets[place * width..][..width].copy_from_slice(buckets);
    }

    fn take_place(&mut self, slot: usize) -> usize {
        let width = self.width();
        let place = self.free.pop().unwrap_or_else(|| {
            let places = self.buckets.len() / width;
            reserve(&mut self.buckets, width);
            self.buckets.resize((places + 1) * width, 0);
            places as u32
        });
        self.rows[slot].set_place(Some(place));
        place as usize
    }

    /// Frees the buckets of a row that no walk sees any more.
    fn free_place(&mut self, slot: usize) {
        if self.desc.kind == Kind::Histogram
            && let Some(place) = self.rows[slot].place()
        {
            self.free.push(place as u32);
            self.rows[slot].set_place(None);
        }
    }

    /// Adds a row, its buckets at 0. Its set's user is counted by the caller.
    pub(super) fn insert(&mut self, new: NewRow, epoch: Epoch, labels: &mut LabelSets) -> usize {
        let row = Row {
            value: new.value,
            added: epoch.number,
            removed: ALIVE,
            set: new.set,
            initialized_at: new.initialized_at,
            changed: new.changed,
            tag: new.owner,
        };
        let slot = match self.reusable(epoch) {
            Some(slot) => {
                labels.release(self.rows[slot].set);
                self.free_place(slot);
                self.rows[slot] = row;
                if let Some(project) = self.projects.get_mut(slot) {
                    *project = new.project;
                }
                slot
            }
            None => {
                reserve(&mut self.rows, 1);
                self.rows.push(row);
                if self.desc.kind != Kind::Gauge {
                    reserve(&mut self.projects, 1);
                    self.projects.push(new.project);
                }
                self.rows.len() - 1
            }
        };
        let rows = &self.rows;
        self.index
            .insert_unique(hash(new.set), slot as u32, |slot| {
                hash(rows[*slot as usize].set)
            });
        slot
    }

    /// A dead row that no walk under way can see.
    fn reusable(&mut self, epoch: Epoch) -> Option<usize> {
        let oldest = epoch.walks.map_or(epoch.number, |(oldest, _)| oldest);
        let slot = *self.dead.front()? as usize;
        if self.rows[slot].removed > oldest {
            return None;
        }
        self.dead.pop_front();
        Some(slot)
    }

    /// Hides a row from `epoch` on. It keeps its label set until it is reused or compacted.
    pub(super) fn remove(&mut self, slot: usize, epoch: Epoch) {
        let row = &mut self.rows[slot];
        row.removed = epoch.number;
        let found = self
            .index
            .find_entry(hash(row.set), |found| *found as usize == slot);
        if let Ok(found) = found {
            found.remove();
        }
        self.dead.push_back(slot as u32);
    }

    /// Sets a gauge. A walk under way still sees the old value, so that it never sees one state's 0
    /// and another's 1 mixed.
    pub(super) fn set_gauge(
        &mut self,
        slot: usize,
        value: f64,
        epoch: Epoch,
        labels: &mut LabelSets,
    ) {
        let row = self.rows[slot];
        let is_seen = epoch.walks.is_some_and(|(_, newest)| row.added <= newest);
        if !is_seen || row.value.to_bits() == value.to_bits() {
            self.rows[slot].value = value;
            return;
        }
        self.remove(slot, epoch);
        labels.retain(row.set);
        let new = NewRow {
            set: row.set,
            value,
            initialized_at: row.initialized_at,
            changed: row.changed,
            owner: row.owner(),
            project: 0,
        };
        self.insert(new, epoch, labels);
    }

    /// Moves living rows into the places of dead ones. Only while no walk is under way.
    pub(super) fn compact(&mut self, labels: &mut LabelSets) {
        let mut dead: Vec<u32> = std::mem::take(&mut self.dead).into();
        dead.sort_unstable();
        // From the end, so that the row that moves is never a dead one.
        for slot in dead.into_iter().rev() {
            let slot = slot as usize;
            let last = self.rows.len() - 1;
            labels.release(self.rows[slot].set);
            self.free_place(slot);
            if slot != last {
                let moved = self.rows[last].set;
                let found = self
                    .index
                    .find_mut(hash(moved), |found| *found as usize == last);
                if let Some(found) = found {
                    *found = slot as u32;
                }
            }
            self.rows.swap_remove(slot);
            if slot < self.projects.len() {
                self.projects.swap_remove(slot);
            }
        }
        self.shrink();
    }

    /// Gives memory back after a peak.
    fn shrink(&mut self) {
        self.shrink_buckets();
        let len = self.rows.len();
        if self.rows.capacity() < 1024 || self.rows.capacity() / 4 < len {
            return;
        }
        self.rows.shrink_to(2 * len);
        self.projects.shrink_to(2 * len);
        let rows = &self.rows;
        self.index
            .shrink_to(2 * len, |slot| hash(rows[*slot as usize].set));
    }

    /// Moves buckets together when most places are free.
    fn shrink_buckets(&mut self) {
        let used = self.buckets.len() / self.width().max(1) - self.free.len();
        if self.free.len() < 1024 || self.free.len() < used {
            return;
        }
        let mut buckets = Vec::with_capacity(used * self.width());
        for slot in 0..self.rows.len() {
            if self.rows[slot].place().is_some() {
                let place = (buckets.len() / self.width()) as u32;
                buckets.extend_from_slice(self.buckets(slot));
                self.rows[slot].set_place(Some(place));
            }
        }
        self.buckets = buckets;
        self.free = Vec::new();
    }
}

/// Makes room for some more, by a quarter at a time: twice the size, as a vector grows by itself,
/// is much memory for nothing in a table of millions of rows.
pub(super) fn reserve<T>(vec: &mut Vec<T>, more: usize) {
    if vec.capacity() - vec.len() < more {
        vec.reserve_exact((vec.len() / 4).max(more).max(64));
    }
}
