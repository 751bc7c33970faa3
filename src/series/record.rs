//! What a store remembers of a series, and rows on their way there.

use std::borrow::Cow;
use std::sync::Arc;

use super::family::{Epoch, Family, NewRow};
use super::labels::LabelSets;
use super::projects::Projects;
use super::window::BirthWindows;
use crate::catalogue::{FamilyId, Kind, LabelValues};
use crate::clock::UnixSeconds;
use crate::shards::Shard;
use crate::types::{ProjectId, Text};

/// A counter or histogram series as a store remembers it.
#[derive(Clone, Debug, PartialEq)]
pub struct RowRecord {
    /// The project that it belongs to: the one whose run first recorded or initialised it.
    pub project: ProjectId,
    /// The metric's name.
    pub name: Cow<'static, str>,
    /// Label names and values, sorted by name.
    pub labels: Vec<(Cow<'static, str>, Text)>,
    /// When the series was first shown; what it has counted, it has counted since then.
    pub start: UnixSeconds,
    /// Seconds for which it shows 0 from then on, on the way of delivery that shows its value first; none
    /// where an earlier version did not note it.
    pub window: Option<u32>,
    /// When its total last changed.
    pub changed: UnixSeconds,
    /// The total.
    pub value: RecordedValue,
    /// Whether its subject was removed: the series is removed when its last change was delivered.
    pub retiring: bool,
    /// Whether it is kept and not shown: GitLab stopped showing its subject.
    pub withdrawn: bool,
}

/// What a store finds a series by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// The project that it belongs to.
    pub project: ProjectId,
    /// The metric's name.
    pub name: Cow<'static, str>,
    /// Label values, in the order of the metric's labels.
    pub labels: Vec<Text>,
}

impl RowRecord {
    /// What a store finds it by.
    #[must_use]
    pub fn key(&self) -> RowKey {
        RowKey {
            project: self.project,
            name: self.name.clone(),
            labels: self.labels.iter().map(|(_, value)| value.clone()).collect(),
        }
    }
}

/// The total of a remembered series.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordedValue {
    /// A counter.
    Counter(f64),
    /// A histogram; its count is the sum of its buckets.
    Histogram {
        /// Upper bounds, without the last, infinite one.
        bounds: Arc<[f64]>,
        /// Observations per bucket, not cumulated; one more than there are bounds.
        buckets: Vec<u64>,
        /// Sum of the observed values.
        sum: f64,
    },
}

/// What became of remembered series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Series that continue.
    pub rows: usize,
    /// Those whose initial zero was not over: they are initialized again, and the store has to
    /// remember that.
    pub reinitialized: Vec<RowRecord>,
    /// Series that are reset, with the reason, in the order given: a store is to remove them.
    pub refused: Vec<(RowKey, Refusal)>,
}

/// Why a remembered series cannot continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No counter or histogram of this name.
    #[error("there is no such counter or histogram")]
    UnknownMetric,
    /// The metric has other labels now.
    #[error("the metric has other labels now")]
    OtherLabels,
    /// The settings have other buckets now.
    #[error("its buckets were changed in the settings")]
    OtherBuckets,
    /// The value is invalid.
    #[error("its value is damaged")]
    Damaged,
    /// The series is there already.
    #[error("the series is there already")]
    Present,
    /// The metric's cardinality limit is reached.
    #[error("the metric's cardinality limit is reached")]
    Full,
}

/// Changed counters and histograms with their new totals: computed, not shown yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StagedRows {
    pub(super) rows: Vec<StagedRow>,
    /// Changes that do not fit, per metric.
    pub(super) dropped: Vec<(FamilyId, u64)>,
    pub(super) now: UnixSeconds,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StagedRow {
    pub(super) project: ProjectId,
    pub(super) family: FamilyId,
    pub(super) labels: LabelValues,
    /// See [`RowRecord::window`].
    pub(super) window: u32,
    /// When the series was initialized; `None` for one that will be.
    pub(super) start: Option<UnixSeconds>,
    pub(super) value: RecordedValue,
}

/// What a store has to remember of a living row.
pub(super) fn record(
    family: &Family,
    (labels, projects, windows): (&LabelSets, &Projects, &BirthWindows),
    slot: usize,
    retiring: bool,
) -> RowRecord {
    let row = &family.rows()[slot];
    let project = family.project(slot);
    let shard = project.map_or(Shard::INSTANCE, |project| projects.shard(project));
    let keys = family.desc.labels.iter().copied().map(Cow::Borrowed);
    let value = match family.desc.kind {
        Kind::Histogram => RecordedValue::Histogram {
            bounds: Arc::clone(&family.bounds),
            buckets: family.buckets(slot).to_vec(),
            sum: row.value,
        },
        Kind::Counter | Kind::Gauge => RecordedValue::Counter(row.value),
    };
    RowRecord {
        project: projects.id(project),
        name: Cow::Borrowed(family.desc.name),
        labels: keys.zip(labels.values(row.set)).collect(),
        start: time(row.initialized_at),
        changed: time(row.changed),
        window: Some(windows.shortest(shard, row.initialized_at)),
        value,
        retiring,
        withdrawn: false,
    }
}

impl StagedRows {
    /// Whether no counter or histogram changed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What a store has to remember, before it is shown.
    pub fn records(&self) -> impl ExactSizeIterator<Item = RowRecord> {
        self.rows.iter().map(|row| row.record(self.now))
    }
}

impl StagedRow {
    /// What a store has to remember of it.
    pub(super) fn record(&self, now: UnixSeconds) -> RowRecord {
        let desc = self.family.desc();
        let keys = desc.labels.iter().copied().map(Cow::Borrowed);
        RowRecord {
            project: self.project,
            name: Cow::Borrowed(desc.name),
            labels: keys.zip(self.labels.iter().cloned()).collect(),
            start: self.start.unwrap_or(now),
            window: Some(self.window),
            changed: now,
            value: self.value.clone(),
            retiring: false,
            withdrawn: false,
        }
    }
}

/// A time as rows keep it: good from 1970 to 2106.
pub(super) fn seconds(time: UnixSeconds) -> u32 {
    u32::try_from(time.0.max(0)).unwrap_or(u32::MAX)
}

/// A time as others see it.
pub(super) fn time(seconds: u32) -> UnixSeconds {
    UnixSeconds(seconds.into())
}

/// Whether the count of all buckets is a number that can keep growing.
fn adds_up(buckets: &[u64]) -> bool {
    let count = buckets
        .iter()
        .try_fold(0_u64, |count, bucket| count.checked_add(*bucket));
    count.is_some_and(|count| count <= u64::MAX / 2)
}

/// Puts a remembered series back; yields its place.
pub(super) fn restore(
    family: &mut Family,
    labels: &mut LabelSets,
    projects: &mut Projects,
    record: &RowRecord,
    epoch: Epoch,
) -> Result<usize, Refusal> {
    let desc = family.desc;
    let names = record.labels.iter().map(|(name, _)| &**name);
    if !names.eq(desc.labels.iter().copied()) {
        return Err(Refusal::OtherLabels);
    }
    let value = match (desc.kind, &record.value) {
        (Kind::Counter, RecordedValue::Counter(total)) => *total,
        (
            Kind::Histogram,
            RecordedValue::Histogram {
                bounds,
                buckets,
                sum,
            },
        ) => {
            if *bounds != family.bounds {
                return Err(Refusal::OtherBuckets);
            }
            if buckets.len() != family.width() || !adds_up(buckets) {
                return Err(Refusal::Damaged);
            }
            *sum
        }
        _ => return Err(Refusal::UnknownMetric),
    };
    if !value.is_finite() || (desc.kind == Kind::Counter && value < 0.0) {
        return Err(Refusal::Damaged);
    }
    let values: LabelValues = record
        .labels
        .iter()
        .map(|(_, value)| value.clone())
        .collect();
    let present = labels.find(desc.labels, &values);
    if present.is_some_and(|set| family.find(set).is_some()) {
        return Err(Refusal::Present);
    }
    let new = NewRow {
        set: labels.acquire(desc.labels, &values),
        value,
        initialized_at: seconds(record.start),
        changed: seconds(record.changed),
        owner: 0,
        project: projects.number(record.project),
    };
    let slot = family.insert(new, epoch, labels);
    if let RecordedValue::Histogram { buckets, .. } = &record.value {
        family.set_buckets(slot, buckets);
    }
    family.row_mut(slot).set_retiring(record.retiring);
    Ok(slot)
}
