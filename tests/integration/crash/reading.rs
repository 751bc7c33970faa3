//! Two readings of what was counted: the exporter's own text, and what a Prometheus made of it.

use prometheus_parse::{Scrape, Value};

use amazing_gitlab_exporter::catalogue::{FamilyId, Kind};

use crate::ledger::{Counts, all_counted};
use crate::support::promql::{PromQl, RawSeries};
use crate::support::series::Labels;

/// The name under which a metric's events are found: a histogram's are in its count.
pub fn sample_name(metric: &str) -> String {
    let family = FamilyId::by_name(metric).expect("it is in the catalogue");
    match family.desc().kind == Kind::Histogram {
        true => format!("{metric}_count"),
        false => metric.to_owned(),
    }
}

/// What the exporter's own text says to have happened.
pub fn of_text(text: &str) -> Counts {
    let mut counts = all_of_text(text);
    counts.retain(|_, count| *count != 0.0);
    counts
}

/// What the exporter's own text says of all counted series.
pub fn all_of_text(text: &str) -> Counts {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = Scrape::parse(lines).expect("the text can be parsed");
    let mut counts = Counts::new();
    for sample in scrape.samples {
        // A histogram's parts stand under its own name, its count beside them.
        let metric = all_counted().find(|metric| sample_name(metric) == sample.metric);
        let value = match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
            Value::Histogram(_) | Value::Summary(_) => continue,
        };
        if let Some(metric) = metric {
            let labels = sample.labels.iter();
            let labels = labels.map(|(key, value)| (key.clone(), value.clone()));
            counts.insert((metric.to_owned(), labels.collect()), value);
        }
    }
    counts
}

/// How the samples of a series rose, without extrapolation.
#[derive(Debug, PartialEq)]
pub struct Rise {
    /// The first sample.
    pub first: f64,
    /// All rises, as `increase` sees them: a fall is a new start at 0.
    pub rises: f64,
    /// How often it fell.
    pub falls: usize,
}

/// The rise of a series.
pub fn rise(series: &RawSeries) -> Rise {
    rise_of(series.values())
}

/// The rise from value to value.
pub fn rise_of(mut values: impl Iterator<Item = f64>) -> Rise {
    let first = values.next().unwrap_or_default();
    let mut rise = Rise {
        first,
        rises: 0.0,
        falls: 0,
    };
    let mut before = first;
    for value in values {
        if value < before {
            rise.falls += 1;
            before = 0.0;
        }
        rise.rises += value - before;
        before = value;
    }
    rise
}

/// All counted series that a Prometheus has, with how they rose.
pub async fn of_prometheus(promql: &PromQl) -> Vec<((String, Labels), Rise)> {
    let mut all = Vec::new();
    for metric in all_counted() {
        let selector = format!("{}[1h]", sample_name(metric));
        for mut series in promql.raw(&selector).await {
            let rise = rise(&series);
            for foreign in ["__name__", "instance", "job"] {
                series.metric.remove(foreign);
            }
            all.push(((metric.to_owned(), series.metric), rise));
        }
    }
    all
}
