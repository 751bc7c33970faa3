//! Withdrawal: the series of what GitLab stopped showing leave at once. Their totals are kept, and
//! go on when it is shown again.

use super::change::Changing;
use super::record::{RecordedValue, RowRecord};
use super::retire::{self, Retirement};
use super::table::Table;
use crate::catalogue::{FamilyId, LabelValues};
use crate::clock::UnixSeconds;

impl Table {
    /// The counters and histograms that [`Table::withdraw`] would take away and that have counted
    /// something, for a store to keep first.
    #[must_use]
    pub fn withdrawable(&self, withdrawn: &[Retirement]) -> Vec<RowRecord> {
        let state = self.read();
        let mut records = Vec::new();
        for family in &state.families {
            let meant = retire::meant(family, &state.labels, withdrawn);
            let counted = meant.into_iter().filter(|slot| family.has_counted(*slot));
            records.extend(counted.map(|slot| RowRecord {
                withdrawn: true,
                ..state.record(family, slot, false)
            }));
        }
        records
    }

    /// Takes series away at once: counters and histograms, and the states of projects.
    pub fn withdraw(&self, withdrawn: &[Retirement], now: UnixSeconds) {
        self.change(now, |change| change.withdraw(withdrawn));
    }

    /// What withdrawn series have counted when they are back: a series of the same labels may have
    /// counted something meanwhile.
    #[must_use]
    pub fn returning(&self, records: &[RowRecord]) -> Vec<RowRecord> {
        let state = self.read();
        let total = |record: &RowRecord| {
            let mut total = RowRecord {
                withdrawn: false,
                ..record.clone()
            };
            let id = FamilyId::by_name(&record.name);
            let values: LabelValues = record.labels.iter().map(|(_, text)| text.clone()).collect();
            let present = id.and_then(|id| Some((id, state.find(id, &values)?)));
            if let Some((id, slot)) = present {
                let family = &state.families[id.index()];
                let present = state.record(family, slot, false);
                total.project = present.project;
                total.changed = present.changed.max(record.changed);
                total.value = sum(&record.value, &present.value);
            }
            total
        };
        records.iter().map(total).collect()
    }

    /// Puts withdrawn series back, with the totals of [`Table::returning`]. They are old: their initial
    /// zero is over.
    pub fn bring_back(&self, records: &[RowRecord], now: UnixSeconds) {
        self.change(now, |change| {
            for record in records {
                change.bring_back(record);
            }
        });
    }
}

impl Changing<'_> {
    fn withdraw(&mut self, withdrawn: &[Retirement]) {
        self.clear_states(withdrawn);
        for place in 0..self.families().len() {
            let meant = retire::meant(&self.families()[place], self.labels(), withdrawn);
            let id = self.families()[place].id;
            for slot in meant {
                self.remove(id, slot);
            }
        }
    }

    fn bring_back(&mut self, record: &RowRecord) {
        let Some(id) = FamilyId::by_name(&record.name) else {
            return;
        };
        let values: LabelValues = record.labels.iter().map(|(_, text)| text.clone()).collect();
        if let Some(slot) = self.find(id, &values) {
            self.remove(id, slot);
        }
        // What cannot go on counts from 0 again, as after a restart.
        let _ = self.restore(record, UnixSeconds(i64::MAX));
    }
}

/// Both totals together; other buckets than now cannot be added.
fn sum(one: &RecordedValue, other: &RecordedValue) -> RecordedValue {
    match (one, other) {
        (RecordedValue::Counter(one), RecordedValue::Counter(other)) => {
            RecordedValue::Counter(one + other)
        }
        (
            RecordedValue::Histogram {
                bounds,
                buckets,
                sum,
            },
            RecordedValue::Histogram {
                bounds: now,
                buckets: more,
                sum: and,
            },
        ) if bounds == now => RecordedValue::Histogram {
            bounds: bounds.clone(),
            buckets: buckets
                .iter()
                .zip(more)
                .map(|(one, more)| one + more)
                .collect(),
            sum: sum + and,
        },
        (_, present) => present.clone(),
    }
}
