//! A look at the series table that tests can compare.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use amazing_gitlab_exporter::clock::UnixSeconds;
use amazing_gitlab_exporter::series::{RowValue, Table};

/// Labels in order of their names.
pub type Labels = BTreeMap<String, String>;

/// Values by metric and labels. A histogram is its count and its sum.
#[derive(Debug, Default, PartialEq)]
pub struct Series(pub BTreeMap<(String, Labels), Value>);

/// The value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Histogram { count: u64, sum: f64 },
}

impl Series {
    /// What a delivery at `now` would show.
    pub fn of(table: &Arc<Table>, now: UnixSeconds) -> Self {
        let mut all = BTreeMap::new();
        let mut walk = table.walk(now);
        while walk.next_chunk(1000, |row| {
            let labels = row
                .labels
                .iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let value = match row.value {
                RowValue::Counter(value) | RowValue::Gauge(value) => Value::Number(value),
                RowValue::Histogram { sum, count, .. } => Value::Histogram { count, sum },
            };
            all.insert((row.desc.name.to_owned(), labels), value);
            ControlFlow::Continue(())
        }) {}
        Self(all)
    }

    /// The values of a metric by their labels.
    pub fn metric(&self, name: &str) -> BTreeMap<&Labels, Value> {
        self.0
            .iter()
            .filter(|((metric, _), _)| metric == name)
            .map(|((_, labels), value)| (labels, *value))
            .collect()
    }

    /// The values of a metric's series whose labels have these values.
    pub fn select(&self, name: &str, labels: &[(&str, &str)]) -> BTreeMap<&Labels, Value> {
        let mut found = self.metric(name);
        found.retain(|has, _| {
            labels
                .iter()
                .all(|(key, value)| has.get(*key).is_some_and(|has| has == value))
        });
        found
    }

    /// The one value of a metric whose labels have these values; none when there is no such series.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<Value> {
        let found = self.select(name, labels);
        assert!(
            found.len() < 2,
            "more than one {name} with {labels:?}: {found:?}"
        );
        found.into_values().next()
    }
}

impl Value {
    /// A counter's or gauge's number, or a histogram's count.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    pub fn count(self) -> f64 {
        match self {
            Self::Number(value) => value,
            Self::Histogram { count, .. } => count as f64,
        }
    }
}
