//! What is true: the exporter's own text at rest, whose counters are the ledger's.

use std::collections::BTreeMap;

use crate::support::samples::Samples;
use crate::support::series::Labels;

/// Values by labels.
pub type Answer = BTreeMap<Labels, f64>;

/// A bucket: more than the first, at most the second.
pub type Bucket = (f64, f64);

/// All samples of the exporter.
pub struct Facts(pub Samples);

impl Facts {
    /// The samples of a name whose labels have these values.
    fn of<'a>(
        &'a self,
        name: &'a str,
        only: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a Labels, f64)> {
        let samples = self.0.0.iter().filter(move |((sample, labels), _)| {
            let has = |(key, value): &(&str, &str)| labels.get(*key).is_some_and(|it| it == value);
            sample == name && only.iter().all(has)
        });
        samples.map(|((_, labels), value)| (labels, *value))
    }

    /// Samples under fewer labels, put together.
    fn by(
        &self,
        name: &str,
        only: &[(&str, &str)],
        by: &[&str],
        together: impl Fn(f64, f64) -> f64,
    ) -> Answer {
        let mut answer = Answer::new();
        for (labels, value) in self.of(name, only) {
            let place = answer.entry(fewer(labels, by));
            place
                .and_modify(|before| *before = together(*before, value))
                .or_insert(value);
        }
        answer
    }

    pub fn sum(&self, name: &str, by: &[&str]) -> Answer {
        self.by(name, &[], by, |one, other| one + other)
    }

    pub fn sum_of(&self, name: &str, only: &[(&str, &str)], by: &[&str]) -> Answer {
        self.by(name, only, by, |one, other| one + other)
    }

    pub fn max(&self, name: &str, by: &[&str]) -> Answer {
        self.by(name, &[], by, f64::max)
    }

    /// The bucket in which a quantile lies, by labels. A little leeway: what Prometheus reckons
    /// out of scrapes is not the whole count to the last digit.
    pub fn quantile(&self, share: f64, histogram: &str, by: &[&str]) -> BTreeMap<Labels, Bucket> {
        let mut with_bound = by.to_vec();
        with_bound.push("le");
        let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for (mut labels, count) in self.sum(&format!("{histogram}_bucket"), &with_bound) {
            let bound = labels.remove("le").expect("a bucket has a bound");
            let bound = bound.replace("+Inf", "inf").parse().expect("a number");
            buckets.entry(labels).or_default().push((bound, count));
        }
        let mut quantiles = BTreeMap::new();
        for (labels, mut buckets) in buckets {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            let all = buckets.last().map_or(0.0, |(_, count)| *count);
            if all > 0.0 {
                let low = bucket(&buckets, share * all * 0.97).0;
                let high = bucket(&buckets, share * all * 1.03).1;
                quantiles.insert(labels, (low, high));
            }
        }
        quantiles
    }
}

/// Bounds of the bucket that the observation of this rank is in. What is beyond the last finite
/// bound, Prometheus gives as that bound.
fn bucket(buckets: &[(f64, f64)], rank: f64) -> Bucket {
    let index = buckets.iter().position(|(_, count)| *count >= rank);
    let index = index.unwrap_or(buckets.len() - 1);
    let before = |index: usize| index.checked_sub(1).map_or(0.0, |it| buckets[it].0);
    let mut low = before(index);
    let mut high = buckets[index].0;
    if high.is_infinite() {
        high = before(index);
        low = before(index - 1);
    }
    (low, high)
}

/// Only these labels.
pub fn fewer(labels: &Labels, by: &[&str]) -> Labels {
    let kept = labels.iter().filter(|(key, _)| by.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// What is more than nothing.
pub fn above_zero(mut answer: Answer) -> Answer {
    answer.retain(|_, value| *value > 0.0);
    answer
}

/// Values under the same labels, put together; those of the first that the other lacks go.
pub fn joined(one: Answer, other: &Answer, together: impl Fn(f64, f64) -> f64) -> Answer {
    let both = one.into_iter().filter_map(|(labels, value)| {
        let second = *other.get(&labels)?;
        Some((labels, together(value, second)))
    });
    both.collect()
}

/// Each value by this much.
pub fn times(answer: Answer, by: f64) -> Answer {
    answer
        .into_iter()
        .map(|(labels, value)| (labels, value * by))
        .collect()
}

/// How many samples there are by labels.
pub fn counted(answer: &Answer, by: &[&str]) -> Answer {
    let mut counts = Answer::new();
    for labels in answer.keys() {
        *counts.entry(fewer(labels, by)).or_default() += 1.0;
    }
    counts
}

/// The greatest of them.
pub fn greatest(answer: Answer, how_many: usize) -> Answer {
    let mut all: Vec<_> = answer.into_iter().collect();
    all.sort_by(|one, other| other.1.total_cmp(&one.1));
    all.truncate(how_many);
    all.into_iter().collect()
}
