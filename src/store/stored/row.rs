//! A counter or histogram.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::series::{RecordedValue, RowRecord};
use crate::types::ProjectId;

/// A series; its project is part of its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Row {
    pub(in crate::store) name: Cow<'static, str>,
    /// Names and values, sorted by name.
    pub(in crate::store) labels: Vec<(Cow<'static, str>, Arc<str>)>,
    /// Seconds since the Unix epoch, as below.
    pub(in crate::store) start: i64,
    pub(in crate::store) changed: i64,
    /// Seconds for which it shows 0 from the start on.
    pub(in crate::store) window: Option<u32>,
    pub(in crate::store) value: Value,
    pub(in crate::store) retiring: bool,
    pub(in crate::store) withdrawn: bool,
}

/// Its total.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::store) enum Value {
    Counter(f64),
    Histogram {
        bounds: Arc<[f64]>,
        buckets: Vec<u64>,
        sum: f64,
    },
}

impl From<&RowRecord> for Row {
    fn from(record: &RowRecord) -> Self {
        let RowRecord {
            project: _,
            name,
            labels,
            start,
            window,
            changed,
            value,
            retiring,
            withdrawn,
        } = record.clone();
        Self {
            name,
            labels,
            start: start.0,
            changed: changed.0,
            window,
            value: match value {
                RecordedValue::Counter(total) => Value::Counter(total),
                RecordedValue::Histogram {
                    bounds,
                    buckets,
                    sum,
                } => Value::Histogram {
                    bounds,
                    buckets,
                    sum,
                },
            },
            retiring,
            withdrawn,
        }
    }
}

impl Row {
    /// The series as a project's.
    pub(in crate::store) fn of(self, project: ProjectId) -> RowRecord {
        RowRecord {
            project,
            name: self.name,
            labels: self.labels,
            start: UnixSeconds(self.start),
            window: self.window,
            changed: UnixSeconds(self.changed),
            value: match self.value {
                Value::Counter(total) => RecordedValue::Counter(total),
                Value::Histogram {
                    bounds,
                    buckets,
                    sum,
                } => RecordedValue::Histogram {
                    bounds,
                    buckets,
                    sum,
                },
            },
            retiring: self.retiring,
            withdrawn: self.withdrawn,
        }
    }
}

/// As version 1 stored it.
pub(in crate::store) mod v1 {
    use super::{Arc, Cow, Deserialize, Serialize, Value, v2};

    #[derive(Debug, Serialize, Deserialize)]
    pub(in crate::store) struct Row {
        name: Cow<'static, str>,
        labels: Vec<(Cow<'static, str>, Arc<str>)>,
        start: i64,
        changed: i64,
        value: Value,
        retiring: bool,
    }

    impl From<Row> for v2::Row {
        fn from(row: Row) -> Self {
            Self {
                name: row.name,
                labels: row.labels,
                start: row.start,
                changed: row.changed,
                value: row.value,
                retiring: row.retiring,
                withdrawn: false,
            }
        }
    }
}

/// As version 2 stored it: how long it showed 0 was a setting.
pub(in crate::store) mod v2 {
    use super::{Arc, Cow, Deserialize, Serialize, Value};

    #[derive(Debug, Serialize, Deserialize)]
    pub(in crate::store) struct Row {
        pub(in crate::store) name: Cow<'static, str>,
        pub(in crate::store) labels: Vec<(Cow<'static, str>, Arc<str>)>,
        pub(in crate::store) start: i64,
        pub(in crate::store) changed: i64,
        pub(in crate::store) value: Value,
        pub(in crate::store) retiring: bool,
        pub(in crate::store) withdrawn: bool,
    }

    impl From<Row> for super::Row {
        fn from(row: Row) -> Self {
            Self {
                name: row.name,
                labels: row.labels,
                start: row.start,
                changed: row.changed,
                window: None,
                value: row.value,
                retiring: row.retiring,
                withdrawn: row.withdrawn,
            }
        }
    }
}
