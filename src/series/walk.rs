//! Reading the table: a row at a time, the lock held for a chunk of rows only.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Table;
use super::family::{Family, Row};
use super::labels::LabelsView;
use super::record::{seconds, time};
use super::window::Delivery;
use crate::catalogue::{Desc, FamilyId, Kind, LabelValues};
use crate::clock::UnixSeconds;
use crate::shards::Shard;

/// One series as a delivery shows it.
#[derive(Clone, Copy, Debug)]
pub struct RowView<'a> {
    /// The metric's place in the catalogue.
    pub family: FamilyId,
    /// The metric.
    pub desc: &'static Desc,
    /// Its labels.
    pub labels: LabelsView<'a>,
    /// Its value.
    pub value: RowValue<'a>,
    /// Start time: the second before its initialization, which lies before every delivery, as OTLP
    /// requires of a start time. It never moves, which would mean a reset.
    pub start: UnixSeconds,
}

/// A series' value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowValue<'a> {
    /// A counter's total.
    Counter(f64),
    /// A gauge.
    Gauge(f64),
    /// A histogram.
    Histogram {
        /// Upper bounds, without the last, infinite one.
        bounds: &'a [f64],
        /// Observations per bucket, not cumulated; one more than there are bounds.
        buckets: &'a [u64],
        /// Sum of the observed values.
        sum: f64,
        /// Number of observations.
        count: u64,
    },
}

/// A removed series.
#[derive(Clone, Debug, PartialEq)]
pub struct RemovedRow {
    /// The metric's place in the catalogue.
    pub family: FamilyId,
    /// Label values, in the order of the metric's labels.
    pub labels: LabelValues,
    /// A histogram's upper bounds; empty for others.
    pub bounds: Arc<[f64]>,
}

/// All series as they are at one moment, metrics in the order of the catalogue.
///
/// Rows added later are not seen, rows removed later still are. Totals of counters and
/// histograms may be newer than the moment.
#[derive(Debug)]
pub struct Walk {
    pub(super) table: Arc<Table>,
    pub(super) epoch: u32,
    pub(super) now: u32,
    pub(super) delivery: Delivery,
    pub(super) family: usize,
    pub(super) slot: usize,
}

impl Walk {
    /// Visits at most `rows` places of the table, showing each series to `visit` until that breaks
    /// (the series it broke at counts as seen). False when the walk is over.
    ///
    /// `visit` runs under the table's read lock: it must not wait for anything.
    pub fn next_chunk(
        &mut self,
        rows: usize,
        mut visit: impl FnMut(&RowView<'_>) -> ControlFlow<()>,
    ) -> bool {
        let table = Arc::clone(&self.table);
        let state = table.read();
        let shown = table.leases.shown();
        let committed_at = table.committed_at();
        let first = committed_at.iter().copied().min().unwrap_or(u32::MAX);
        let is_at_zero = |row: &Row, shard: Shard| {
            // Most rows are older than any window.
            shows_zero(row, self.now, first, state.windows.widest()) && {
                let window = state.windows.of(self.delivery, shard, row.initialized_at);
                shows_zero(row, self.now, committed_at[shard.index()], window)
            }
        };
        for _ in 0..rows {
            let Some(family) = state.families.get(self.family) else {
                return false;
            };
            let Some(row) = family.rows().get(self.slot) else {
                self.family += 1;
                self.slot = 0;
                continue;
            };
            let slot = self.slot;
            self.slot += 1;
            if !row.is_visible(self.epoch) {
                continue;
            }
            let shard = state.shard(family, slot);
            // Its lease is over: another replica may show it.
            if !shown.contains(shard) {
                continue;
            }
            let start = state.starts.of(row.initialized_at).min(self.now);
            let view = RowView {
                family: family.id,
                desc: family.desc,
                labels: state.labels.view(row.set),
                value: value(family, slot, row, is_at_zero(row, shard)),
                start: time(start.saturating_sub(1)),
            };
            if visit(&view).is_break() {
                break;
            }
        }
        self.family < state.families.len()
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.table.forget_walk(self.epoch);
    }
}

/// Whether a counter or histogram shows its initial zero: until its birth window is over, by the
/// clock and for the store. One that was restored with its value has no window, though it was
/// restored after the walk took its time.
fn shows_zero(row: &Row, now: u32, committed_at: u32, birth_window: u32) -> bool {
    birth_window > 0 && now.min(committed_at) < row.initialized_at.saturating_add(birth_window)
}

fn value<'a>(family: &'a Family, slot: usize, row: &Row, at_zero: bool) -> RowValue<'a> {
    let shown = if at_zero { 0.0 } else { row.value };
    match family.desc.kind {
        Kind::Gauge => RowValue::Gauge(row.value),
        Kind::Counter => RowValue::Counter(shown),
        Kind::Histogram => {
            let buckets = if at_zero {
                family.zeros()
            } else {
                family.buckets(slot)
            };
            RowValue::Histogram {
                bounds: &family.bounds,
                buckets,
                sum: shown,
                count: buckets.iter().sum(),
            }
        }
    }
}

impl Table {
    /// Walks all series as they are now, for a scrape.
    #[must_use]
    pub fn walk(self: &Arc<Self>, now: UnixSeconds) -> Walk {
        let now = self.follow_clock(seconds(now));
        // Under the lock, so that no writer removes what this walk is about to see.
        let state = self.read();
        self.begin_walk(state.epoch, now, Delivery::Scrape)
    }

    /// Walks all series for a push, and returns the series that were removed since the last one. A
    /// series that came back meanwhile was not removed.
    ///
    /// Removals are noted from the first call on; what is handed out is forgotten here, see
    /// [`Table::put_back_removed`].
    #[must_use]
    pub fn push_walk(self: &Arc<Self>, now: UnixSeconds) -> (Walk, Vec<RemovedRow>) {
        let now = self.follow_clock(seconds(now));
        let mut state = self.write();
        let removed = state.take_removed();
        state.windows.pushes = true;
        (self.begin_walk(state.epoch, now, Delivery::Push), removed)
    }

    /// Notes removals again that a failed push did not report.
    pub fn put_back_removed(&self, removed: Vec<RemovedRow>) {
        let mut state = self.write();
        for row in removed {
            let set = state.labels.acquire(row.family.desc().labels, &row.labels);
            state.note_removed(row.family, set);
            state.labels.release(set);
        }
    }

    fn begin_walk(self: &Arc<Self>, epoch: u32, now: u32, delivery: Delivery) -> Walk {
        self.note_walk(epoch);
        Walk {
            table: Arc::clone(self),
            epoch,
            now,
            delivery,
            family: 0,
            slot: 0,
        }
    }
}
