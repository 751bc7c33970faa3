//! Those who look, each in its rhythm, and what each saw of every series.

use std::collections::{BTreeMap, BTreeSet};

use crate::crash::program::looks;
use crate::crash::reading::{self, Rise};
use crate::ledger::{Counts, all_counted};
use crate::support::otlp::{Number, Receiver};
use crate::support::promql::PromQl;
use crate::support::series::Labels;
use crate::support::until;

/// A counted series: its metric and labels.
pub type Series = (String, Labels);

/// Who looks from the beginning.
pub struct Looks {
    pub every_second: PromQl,
    pub every_five: PromQl,
    pub receiver: Receiver,
}

impl Looks {
    /// Waits until each has looked once.
    pub async fn have_begun(&self) {
        looks(&self.every_second).await;
        looks(&self.every_five).await;
        until("a push arrives", async || {
            let seen = self.receiver.received().points.len();
            (seen > 0).then_some(()).ok_or(format!("{seen}"))
        })
        .await;
    }

    /// What each saw of every series.
    async fn seen(&self) -> [(&'static str, BTreeMap<Series, Rise>); 3] {
        let of = async |promql| reading::of_prometheus(promql).await.into_iter().collect();
        [
            ("every second", of(&self.every_second).await),
            ("every five seconds", of(&self.every_five).await),
            ("by push", self.pushed()),
        ]
    }

    /// Waits until each has seen as many events of each series as there were, after 0.
    pub async fn agree(&self, want: &Counts) {
        until("all three agree with the ledger", async || {
            for (who, seen) in self.seen().await {
                differences(&seen, want).map_err(|wrong| format!("{who}: {wrong}"))?;
            }
            Ok(())
        })
        .await;
    }

    /// How the receiver saw each series rise.
    fn pushed(&self) -> BTreeMap<Series, Rise> {
        let received = self.receiver.received();
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (series, point) in &received.points {
            let value = match &point.number {
                _ if point.gone => continue,
                Number::Value(value) => *value,
                Number::Histogram { count, .. } => *count as f64,
                Number::None => continue,
            };
            values.entry(series).or_default().push(value);
        }
        let counted = values.into_iter().filter_map(|(series, values)| {
            let series = parse(series);
            let is_counted = all_counted().any(|metric| metric == series.0);
            is_counted.then(|| (series, reading::rise_of(values.into_iter())))
        });
        counted.collect()
    }
}

/// What a series is called, taken apart.
fn parse(series: &str) -> Series {
    let (name, labels) = series.split_once('{').expect("a brace");
    let labels = labels.trim_end_matches('}');
    let labels = labels.split("\",").filter(|label| !label.is_empty());
    let labels = labels.map(|label| {
        let (key, value) = label.split_once("=\"").expect("a label");
        (key.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect())
}

/// Whether everything that happened was seen, and every series at 0 first.
fn differences(seen: &BTreeMap<Series, Rise>, want: &Counts) -> Result<(), String> {
    let keys: BTreeSet<&Series> = seen.keys().chain(want.keys()).collect();
    let wrong: Vec<String> = keys
        .into_iter()
        .filter_map(|key| {
            let right = Rise {
                first: 0.0,
                rises: want.get(key).copied().unwrap_or_default(),
                falls: 0,
            };
            let rise = seen.get(key);
            (rise != Some(&right)).then(|| format!("{key:?}: {rise:?} instead of {right:?}"))
        })
        .collect();
    match wrong.len() {
        0 => Ok(()),
        some => Err(format!(
            "{some} of {} series are wrong:\n{}",
            seen.len(),
            wrong[..some.min(10)].join("\n")
        )),
    }
}

/// All counted series of a text, whatever their values.
pub fn born(text: &str) -> BTreeSet<Series> {
    reading::all_of_text(text).into_keys().collect()
}
