//! Samples as Prometheus has them, to be compared.

use std::collections::{BTreeMap, BTreeSet};

use super::series::Labels;

/// Values by name and labels. Bounds (`le`) are written as Rust writes numbers, so that two
/// spellings of one bound are equal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(pub BTreeMap<(String, Labels), f64>);

impl Samples {
    /// The samples of a Prometheus text whose label values need no escapes.
    pub fn of_plain_text(text: &str) -> Self {
        let mut samples = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split_terminator("\",");
            let labels = labels.map(|label| {
                let (key, value) = label.split_once("=\"").expect("a label has a value");
                (key.to_owned(), value.trim_end_matches('"').to_owned())
            });
            let value = value.parse().expect("a value is a number");
            samples.add(name, labels.collect(), value);
        }
        samples
    }

    /// Adds a sample that was not there.
    pub fn add(&mut self, name: &str, mut labels: Labels, value: f64) {
        if let Some(bound) = labels.get_mut("le") {
            let number: f64 = bound.parse().expect("a bound is a number");
            *bound = number.to_string();
        }
        let before = self.0.insert((name.to_owned(), labels.clone()), value);
        assert!(before.is_none(), "{name}{labels:?} is there twice");
    }

    /// Adds the samples of a histogram; `buckets` are not cumulative.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    pub fn add_histogram(
        &mut self,
        name: &str,
        labels: &Labels,
        bounds: &[f64],
        buckets: &[u64],
        sum: f64,
    ) {
        assert_eq!(buckets.len(), bounds.len() + 1, "{name}{labels:?}");
        let mut count = 0;
        for (bound, bucket) in bounds.iter().chain([&f64::INFINITY]).zip(buckets) {
            count += bucket;
            let mut labels = labels.clone();
            labels.insert("le".to_owned(), bound.to_string());
            self.add(&format!("{name}_bucket"), labels, count as f64);
        }
        self.add(&format!("{name}_count"), labels.clone(), count as f64);
        self.add(&format!("{name}_sum"), labels.clone(), sum);
    }

    /// Sums up the samples of a name whose labels have these values; none where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &Labels| {
            let mut wanted = labels.iter();
            wanted.all(|(key, value)| sample.get(*key).is_some_and(|has| has == value))
        };
        let found = self.0.iter();
        found
            .filter(|((sample, labels), _)| sample == name && has(labels))
            .map(|(_, value)| *value)
            .reduce(|sum, value| sum + value)
    }

    /// What was counted of metrics that count events: counters, and how many values histograms have;
    /// zeros are left out.
    pub fn counts(&self, metrics: &[&str]) -> BTreeMap<(String, Labels), f64> {
        let counts = self.0.iter().filter_map(|((name, labels), value)| {
            let is_of =
                |metric: &&&str| name == **metric || name.strip_suffix("_count") == Some(**metric);
            let metric = metrics.iter().find(is_of).filter(|_| *value != 0.0)?;
            Some((((*metric).to_owned(), labels.clone()), *value))
        });
        counts.collect()
    }

    /// How many projects have samples of a name.
    pub fn projects(&self, name: &str) -> usize {
        let found = self.0.keys().filter(|(sample, _)| sample == name);
        let projects = found.filter_map(|(_, labels)| labels.get("project"));
        projects.collect::<BTreeSet<_>>().len()
    }

    /// The same samples without labels that are empty: to Prometheus an empty label is none.
    #[must_use]
    pub fn without_empty_labels(self) -> Self {
        let mut all = Self::default();
        for ((name, mut labels), value) in self.0 {
            labels.retain(|_, value| !value.is_empty());
            all.add(&name, labels, value);
        }
        all
    }

    /// The same samples, those of the named metrics without their values.
    #[must_use]
    pub fn without_values_of(mut self, is_named: impl Fn(&str) -> bool) -> Self {
        for ((name, _), value) in &mut self.0 {
            if is_named(name) {
                *value = 0.0;
            }
        }
        self
    }

    /// The first differences from other samples, one a line; empty where there is none.
    #[must_use]
    pub fn differences(&self, other: &Self) -> String {
        let keys: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let lines = keys.into_iter().filter_map(|key| {
            let (one, two) = (self.0.get(key), other.0.get(key));
            (one != two).then(|| format!("{}{:?}: {one:?} and {two:?}\n", key.0, key.1))
        });
        lines.take(20).collect()
    }
}
