//! The table itself: reading, changing, and what one change does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::block::{Block, Blocks};
use super::change::Changing;
use super::clock::StartTimes;
use super::family::{Epoch, Family};
use super::labels::{LabelSets, Redaction};
use super::projects::Projects;
use super::record::{Restored, RowKey, RowRecord, StagedRow, StagedRows, seconds};
use super::retire::{self, Retirement};
use super::state::TableState;
use super::window::{BirthWindows, Delivery};
use crate::catalogue::buckets::BucketSettings;
use crate::catalogue::instruments::Delta;
use crate::catalogue::{Collector, Desc, FamilyId, Kind, SeriesKey};
use crate::clock::UnixSeconds;
use crate::shards::{Leases, Shard, ShardSet};
use crate::types::{ProjectId, Text};

/// What the table is built with.
#[derive(Clone, Debug)]
pub struct TableSettings {
    /// How long a new counter or histogram shows 0, unless [`Table::set_birth_window`] says less: at
    /// least twice the longest scrape or push interval.
    pub birth_window: Duration,
    /// Series per metric at most.
    pub cardinality_limit: usize,
    /// Histogram buckets, the same as the instruments'.
    pub buckets: BucketSettings,
}

/// Everything that becomes visible together.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Changed counters and histograms, remembered by the store.
    pub rows: StagedRows,
    /// Counters and histograms to be shown at 0, unless they are there already, with the project
    /// that they then belong to.
    pub initializations: Vec<(ProjectId, SeriesKey)>,
    /// State blocks with their gauges, each replacing what the block had. Changes that are not
    /// [`Change::Level`] are passed over.
    pub blocks: Vec<(Block, Vec<Delta>)>,
    /// What was removed.
    pub retirements: Vec<Retirement>,
}

/// The table of all series.
#[derive(Debug)]
pub struct Table {
    pub(super) cardinality_limit: usize,
    state: RwLock<TableState>,
    /// Initial zeros are over only as far as this time: the latest commit that a store that outlives
    /// the process has noted. The end of an initial zero is shown after it was committed, like every
    /// change. By shard.
    committed_at: [AtomicU32; Shard::COUNT],
    /// What may be shown: everything, unless there are replicas.
    pub(super) leases: Arc<Leases>,
    /// The latest time by which something was shown.
    pub(super) shown_at: AtomicU32,
    /// When a store's rows were restored: nothing was delivered by this process before.
    restored: AtomicU32,
    /// Walks under way, by epoch.
    walks: Mutex<BTreeMap<u32, usize>>,
}

impl Table {
    /// An empty table that shows label values as they come.
    #[must_use]
    pub fn new(settings: &TableSettings) -> Arc<Self> {
        Self::redacting(settings, Redaction::default())
    }

    /// An empty table that shows no label value which `redaction` finds something in.
    #[must_use]
    pub fn redacting(settings: &TableSettings, redaction: Redaction) -> Arc<Self> {
        let families = FamilyId::all()
            .map(|id| Family::new(id, settings.buckets.bounds(id.desc())))
            .collect();
        Arc::new(Self {
            cardinality_limit: settings.cardinality_limit,
            state: RwLock::new(TableState {
                labels: LabelSets::new(redaction),
                families,
                blocks: Blocks::default(),
                projects: Projects::default(),
                retiring: Vec::new(),
                removed: None,
                last_initialized: [0; Shard::COUNT],
                windows: BirthWindows::new(settings),
                starts: StartTimes::default(),
                epoch: 0,
            }),
            committed_at: [const { AtomicU32::new(u32::MAX) }; Shard::COUNT],
            leases: Arc::default(),
            shown_at: AtomicU32::new(0),
            restored: AtomicU32::new(0),
            walks: Mutex::default(),
        })
    }

    /// New totals of the counters and histograms in `deltas`, shown nowhere yet. Gauges are passed
    /// over, they belong into a block. A new series belongs to the project that `project` names; one
    /// that is there already stays with its own.
    ///
    /// Totals are absolute: apply what was staged (or drop it) before staging again.
    #[must_use]
    pub fn stage(
        &self,
        deltas: &[Delta],
        project: impl Fn(&Delta) -> ProjectId,
        now: UnixSeconds,
    ) -> StagedRows {
        let state = self.read();
        let mut staged = StagedRows {
            now,
            ..StagedRows::default()
        };
        let mut new: BTreeMap<FamilyId, usize> = BTreeMap::new();
        let mut dropped: BTreeMap<FamilyId, u64> = BTreeMap::new();
        for delta in deltas {
            let Some((value, known)) = state.total(delta) else {
                continue;
            };
            if known.is_none() {
                let new = new.entry(delta.family).or_default();
                let family = &state.families[delta.family.index()];
                if family.len() + *new >= self.cardinality_limit {
                    *dropped.entry(delta.family).or_default() += 1;
                    continue;
                }
                *new += 1;
            }
            let (start, project) = match known {
                Some((start, project)) => (Some(start), project),
                None => (None, project(delta)),
            };
            let initialized_at = seconds(start.unwrap_or(now));
            staged.rows.push(StagedRow {
                window: state.windows.shortest(Shard::of(project), initialized_at),
                project,
                family: delta.family,
                labels: state.labels.redacted(&delta.labels),
                start,
                value,
            });
        }
        staged.dropped = dropped.into_iter().collect();
        staged
    }

    /// Shows an update, all at once.
    pub fn apply(&self, update: Update, now: UnixSeconds) {
        self.change(now, |change| {
            for row in &update.rows.rows {
                change.show(row);
            }
            for (family, count) in &update.rows.dropped {
                change.drop_new(*family, *count);
            }
            for (project, key) in &update.initializations {
                change.initialize(*project, key);
            }
            for (block, gauges) in &update.blocks {
                change.replace(*block, gauges);
            }
            change.retire(&update.retirements);
        });
    }

    /// Marks series with these label values as removed; see [`Retirement::Labels`].
    pub fn retire(&self, labels: Vec<(&'static str, Text)>, now: UnixSeconds) {
        self.change(now, |change| change.retire(&[Retirement::Labels(labels)]));
    }

    /// Marks all that a collector counts as removed; see [`Retirement::Collector`].
    pub fn retire_collector(&self, collector: Collector, now: UnixSeconds) {
        self.change(now, |change| {
            change.retire(&[Retirement::Collector(collector, None)])
        });
    }

    /// Marks a project as removed; see [`Retirement::Project`].
    pub fn retire_project(&self, id: ProjectId, path: Text, now: UnixSeconds) {
        self.change(now, |change| {
            change.retire(&[Retirement::Project { id, path }])
        });
    }

    /// The series that [`Table::sweep`] would remove at `now`, which the store has to forget first.
    #[must_use]
    pub fn due(&self, now: UnixSeconds) -> Vec<RowKey> {
        let state = self.read();
        let due = state.retiring.iter().filter_map(|(id, set)| {
            let family = &state.families[id.index()];
            let slot = family.find(*set)?;
            let shard = state.shard(family, slot);
            self.is_due((&state.windows, shard), family, slot, seconds(now))
                .then(|| RowKey {
                    project: state.projects.id(family.project(slot)),
                    name: Cow::Borrowed(family.desc.name),
                    labels: state.labels.values(*set).into_vec(),
                })
        });
        due.collect()
    }

    /// Removes counters and histograms whose subject was removed and whose last change was delivered:
    /// a birth window has passed since it, since the end of their initial zero, and since they were
    /// restored. Returns how many.
    pub fn sweep(&self, now: UnixSeconds) -> usize {
        self.change(now, |change| change.sweep())
    }

    /// Restores what a store remembers, whose latest commit was at `committed_at`. Series continue
    /// from their totals; those whose initial zero was over at `committed_at` show their value at
    /// once, others were never shown above 0 and are initialized again. From now on initial zeros end
    /// by [`Table::note_commit`].
    pub fn restore(
        &self,
        records: impl IntoIterator<Item = RowRecord>,
        committed_at: UnixSeconds,
        now: UnixSeconds,
    ) -> Restored {
        self.adopt(ShardSet::ALL, records, committed_at, now)
    }

    /// The same for some shards, which this replica has taken over: see [`Table::restore`].
    pub fn adopt(
        &self,
        shards: ShardSet,
        records: impl IntoIterator<Item = RowRecord>,
        committed_at: UnixSeconds,
        now: UnixSeconds,
    ) -> Restored {
        for shard in shards.iter() {
            self.committed_at[shard.index()].store(seconds(committed_at), Ordering::Release);
        }
        self.restored.store(seconds(now), Ordering::Release);
        self.change(now, |change| {
            let mut restored = Restored::default();
            change.begin_restoring(shards);
            for record in records {
                match change.restore(&record, committed_at) {
                    Ok(reinitialized) => {
                        restored.rows += 1;
                        restored.reinitialized.extend(reinitialized);
                    }
                    Err(refusal) => restored.refused.push((record.key(), refusal)),
                }
            }
            restored
        })
    }

    /// Takes everything of some shards away, which another replica goes on with.
    pub fn release(&self, shards: ShardSet, now: UnixSeconds) {
        self.change(now, |change| change.release(shards));
        for shard in shards.iter() {
            self.committed_at[shard.index()].store(u32::MAX, Ordering::Release);
        }
    }

    /// What may be shown: until when, by shard.
    #[must_use]
    pub fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// Ends initial zeros of some shards as far as `at`, which the store has noted. A clock that is set
    /// back changes nothing.
    pub fn note_commit(&self, shards: ShardSet, at: UnixSeconds) {
        for shard in shards.iter() {
            self.committed_at[shard.index()].fetch_max(seconds(at), Ordering::AcqRel);
        }
    }

    /// The shards in which an initial zero may be over at `now` whose end is not committed.
    #[must_use]
    pub fn uncommitted_zeros(&self, now: UnixSeconds) -> ShardSet {
        let state = self.read();
        let due = self.open_zeros(&state).filter(|(_, at)| *at < seconds(now));
        due.map(|(shard, _)| shard).collect()
    }

    /// The shards in which an initial zero may not be over for the store, with the last commit that it noted.
    fn open_zeros<'a>(
        &self,
        state: &'a TableState,
    ) -> impl Iterator<Item = (Shard, u32)> + use<'a> {
        let committed_at = self.committed_at();
        let shards = Shard::all().map(move |shard| (shard, committed_at[shard.index()]));
        shards.filter(|(shard, at)| {
            let last = state.last_initialized[shard.index()];
            *at < last.saturating_add(state.windows.widest())
        })
    }

    /// Everything that some shards have counted.
    #[must_use]
    pub fn records(&self, shards: ShardSet) -> Vec<RowRecord> {
        let state = self.read();
        let mut records = Vec::new();
        for family in &state.families {
            if family.desc.kind == Kind::Gauge {
                continue;
            }
            for (slot, row) in family.living() {
                if family.has_counted(slot) && shards.contains(state.shard(family, slot)) {
                    records.push(state.record(family, slot, row.is_retiring()));
                }
            }
        }
        records
    }

    pub(super) fn committed_at(&self) -> [u32; Shard::COUNT] {
        self.committed_at
            .each_ref()
            .map(|at| at.load(Ordering::Acquire))
    }

    /// What a store has to remember of rows that an update changes only in whether their subject was
    /// removed.
    #[must_use]
    pub fn turned(&self, update: &Update) -> Vec<RowRecord> {
        let is_removed = |desc: &Desc, values: &[Text]| {
            let mut retirements = update.retirements.iter();
            retirements.any(|retirement| retirement.means(desc, values))
        };
        let state = self.read();
        let mut turned = Vec::new();
        for (_, key) in &update.initializations {
            let slot =
                FamilyId::of(key.desc).and_then(|id| Some((id, state.find(id, &key.labels)?)));
            if let Some((id, slot)) = slot {
                let family = &state.families[id.index()];
                let is_back =
                    family.rows()[slot].is_retiring() && !is_removed(key.desc, &key.labels);
                if is_back && family.has_counted(slot) {
                    turned.push(state.record(family, slot, false));
                }
            }
        }
        if update.retirements.is_empty() {
            return turned;
        }
        for family in &state.families {
            let meant = retire::meant(family, &state.labels, &update.retirements);
            let counted = meant.into_iter().filter(|slot| family.has_counted(*slot));
            turned.extend(counted.map(|slot| state.record(family, slot, true)));
        }
        for row in &update.rows.rows {
            if is_removed(row.family.desc(), &row.labels) {
                turned.push(RowRecord {
                    retiring: true,
                    ..row.record(update.rows.now)
                });
            }
        }
        turned
    }

    /// Samples that a scrape shows of each metric, metrics without any left out: a histogram has its buckets,
    /// its sum and its count.
    #[must_use]
    pub fn sample_counts(&self) -> Vec<(FamilyId, usize)> {
        let samples = |family: &Family| match family.desc.kind {
            Kind::Counter | Kind::Gauge => family.len(),
            // One bucket more than bounds.
            Kind::Histogram => family.len() * (family.bounds.len() + 3),
        };
        self.per_family(samples, |count| *count > 0)
    }

    /// Changes dropped since the start because a metric is full, per metric that dropped any.
    #[must_use]
    pub fn overflow(&self) -> Vec<(FamilyId, u64)> {
        self.per_family(|family| family.overflow, |count| *count > 0)
    }

    fn per_family<T>(
        &self,
        value: impl Fn(&Family) -> T,
        keep: impl Fn(&T) -> bool,
    ) -> Vec<(FamilyId, T)> {
        let state = self.read();
        let families = state.families.iter();
        let values = families.map(|family| (family.id, value(family)));
        values.filter(|(_, value)| keep(value)).collect()
    }

    /// Has counters and histograms that are initialized after `now` show 0 for so long on one way of
    /// delivery, at most as long as [`TableSettings::birth_window`] says.
    pub fn set_birth_window(&self, delivery: Delivery, window: Duration, now: UnixSeconds) {
        let window = u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
        // Each scrape says it, and it changes seldom: nobody is to wait for that.
        if !self.read().windows.is(delivery, window) {
            let now = seconds(now);
            let mut state = self.write();
            let committed = self.open_zeros(&state).map(|(_, at)| at).min();
            let settled = committed.map_or(now, |committed| now.min(committed));
            let settled = settled.saturating_sub(state.windows.widest());
            state.windows.set(delivery, window, now, settled);
        }
    }

    /// How long a counter or histogram that is initialized at `now` shows 0 on one way of delivery.
    #[must_use]
    pub fn birth_window(&self, delivery: Delivery, now: UnixSeconds) -> Duration {
        let windows = &self.read().windows;
        let window = windows.of(delivery, Shard::INSTANCE, seconds(now));
        Duration::from_secs(window.into())
    }

    /// Whether a row is to leave at `now`.
    pub(super) fn is_due(
        &self,
        (windows, shard): (&BirthWindows, Shard),
        family: &Family,
        slot: usize,
        now: u32,
    ) -> bool {
        let row = &family.rows()[slot];
        let window = windows.longest(shard, row.initialized_at);
        let last = row
            .changed
            .max(row.initialized_at.saturating_add(window))
            .max(self.restored.load(Ordering::Acquire));
        row.is_retiring() && last.saturating_add(windows.longest(shard, now)) <= now
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, TableState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, TableState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn walks(&self) -> MutexGuard<'_, BTreeMap<u32, usize>> {
        self.walks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_walk(&self, epoch: u32) {
        *self.walks().entry(epoch).or_default() += 1;
    }

    pub(super) fn forget_walk(&self, epoch: u32) {
        let mut walks = self.walks();
        if let Some(count) = walks.get_mut(&epoch) {
            *count -= 1;
            if *count == 0 {
                walks.remove(&epoch);
            }
        }
    }

    /// Changes the table in one epoch, then tidies up and reports metrics that became full.
    pub(super) fn change<T>(
        &self,
        now: UnixSeconds,
        change: impl FnOnce(&mut Changing<'_>) -> T,
    ) -> T {
        let now = seconds(now);
        let mut state = self.write();
        // Walks begin under the read lock, so none begins meanwhile.
        let walks = {
            let walks = self.walks();
            let ends = walks.keys().next().zip(walks.keys().next_back());
            ends.map(|(oldest, newest)| (*oldest, *newest))
        };
        let epoch = Epoch {
            number: state.epoch + 1,
            walks,
        };
        let mut changing = Changing::new(self, &mut state, epoch, now);
        let result = change(&mut changing);
        let full = changing.into_full();
        state.epoch = epoch.number;
        if walks.is_none() {
            state.compact();
        }
        drop(state);
        for family in full {
            tracing::warn!(
                metric = family.desc().name,
                limit = self.cardinality_limit,
                "telemetry.cardinality_limit reached, dropping new series"
            );
        }
        result
    }
}

/// What the table holds, for those who watch its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Rows of every metric, those that only walks under way see included.
    pub rows: usize,
    /// Different label sets.
    pub label_sets: usize,
    /// Different label values.
    pub texts: usize,
    /// State blocks.
    pub blocks: usize,
}

impl Table {
    /// What the table holds.
    #[must_use]
    pub fn size(&self) -> TableSize {
        let state = self.read();
        let (label_sets, texts) = state.labels.len();
        TableSize {
            rows: state
                .families
                .iter()
                .map(|family| family.rows().len())
                .sum(),
            label_sets,
            texts,
            blocks: state.blocks.len(),
        }
    }
}
