//! What each delivery has of some series.

use std::collections::BTreeMap;

use amazing_gitlab_exporter::catalogue::{FamilyId, Kind};

use crate::crash::reading::{self, Rise};
use crate::support::exporter::Exporter;
use crate::support::otlp::{Number, Point, Receiver};
use crate::support::promql::PromQl;
use crate::support::until;

/// Labels that select series.
pub type Select<'a> = &'a [(&'a str, &'a str)];

/// The exporter, and who looks at it.
pub struct Seen {
    pub exporter: Exporter,
    pub promql: PromQl,
    pub receiver: Receiver,
}

impl Seen {
    /// Lines of the exporter's text with these labels, of the metrics that are `wanted`.
    async fn text(&self, labels: Select<'_>, wanted: impl Fn(Kind) -> bool) -> Vec<String> {
        let text = self.exporter.metrics().await;
        let lines = text.lines().filter(|line| {
            !line.starts_with('#') && has(line, labels) && kind_of(line).is_some_and(&wanted)
        });
        lines.map(str::to_owned).collect()
    }

    /// What Prometheus has now.
    async fn prometheus(&self, labels: Select<'_>, wanted: impl Fn(Kind) -> bool) -> Vec<String> {
        let selector = format!("{{__name__=~'age_.+', {}}}", promql_labels(labels));
        let found = self.promql.query(&selector, None).await.into_iter();
        let found =
            found.map(|(labels, value)| format!("{} {labels:?} {value}", labels["__name__"]));
        found
            .filter(|series| kind_of(series).is_some_and(&wanted))
            .collect()
    }

    /// What the receiver has now.
    fn received(&self, labels: Select<'_>, wanted: impl Fn(Kind) -> bool) -> Vec<String> {
        let received = self.receiver.received();
        let latest = received.latest().into_iter();
        latest
            .filter(|(series, point)| !point.gone && has(series, labels))
            .filter(|(series, _)| kind_of(series).is_some_and(&wanted))
            .map(|(series, _)| series.to_owned())
            .collect()
    }

    /// Waits until all three have what is looked for.
    async fn all(
        &self,
        what: &str,
        labels: Select<'_>,
        wanted: impl Fn(Kind) -> bool + Copy,
        is_so: impl Fn(&[String]) -> bool,
    ) {
        until(what, async || {
            for (who, series) in [
                ("the text", self.text(labels, wanted).await),
                ("Prometheus", self.prometheus(labels, wanted).await),
                ("the receiver", self.received(labels, wanted)),
            ] {
                if !is_so(&series) {
                    return Err(format!("{who} has {series:?}"));
                }
            }
            Ok(())
        })
        .await;
    }

    /// Waits until everybody has a series of a metric.
    pub async fn shows(&self, what: &str, metric: &str, labels: Select<'_>) {
        let is_there = |series: &[String]| series.iter().any(|series| series.starts_with(metric));
        self.all(&format!("{what} is shown"), labels, is_state, is_there)
            .await;
    }

    /// Waits until nobody has any state with these labels. A project without a role has no jobs,
    /// and that is told.
    pub async fn has_no_states(&self, what: &str, labels: Select<'_>) {
        let is_gone = |series: &[String]| {
            let mut series = series.iter();
            series.all(|series| is_shown(series, labels))
        };
        let what = format!("states of {what} are gone");
        self.all(&what, labels, is_state, is_gone).await;
    }

    /// Waits until nobody has anything with these labels.
    pub async fn has_nothing(&self, what: &str, labels: Select<'_>) {
        let is_gone = |series: &[String]| {
            let mut series = series.iter();
            series.all(|series| is_shown(series, labels))
        };
        let what = format!("all series of {what} are gone");
        self.all(&what, labels, |_| true, is_gone).await;
    }

    /// Waits until everybody has counted so much.
    pub async fn counts(&self, what: &str, metric: &str, labels: Select<'_>, count: f64) {
        let promql = format!("sum({metric}_count{{{}}})", promql_labels(labels));
        until(&format!("{what} counts {count}"), async || {
            let prometheus = self.promql.value(&promql, None).await;
            let received = self.receiver.received();
            let samples = received.samples();
            let pushed = samples.iter().filter(|(sample, _)| {
                sample.starts_with(&format!("{metric}_count{{")) && has(sample, labels)
            });
            let pushed = pushed
                .map(|(_, value)| *value)
                .reduce(|sum, value| sum + value);
            match (prometheus, pushed) == (Some(count), Some(count)) {
                true => Ok(()),
                false => Err(format!("{prometheus:?} scraped, {pushed:?} pushed")),
            }
        })
        .await;
    }

    /// Everybody saw it rise from 0 to this.
    pub async fn saw_rise(&self, what: &str, metric: &str, labels: Select<'_>, to: f64) {
        let right = Rise {
            first: 0.0,
            rises: to,
            falls: 0,
        };
        let selector = format!("{metric}_count{{{}}}[1h]", promql_labels(labels));
        let [series] = &self.promql.raw(&selector).await[..] else {
            panic!("one series of {what}");
        };
        assert_eq!(reading::rise(series), right, "{what}, scraped");
        let received = self.receiver.received();
        let points = received.points.iter().filter(|(series, point)| {
            series.starts_with(&format!("{metric}{{")) && has(series, labels) && !point.gone
        });
        let counts = points.filter_map(|(_, point)| match &point.number {
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            Number::Histogram { count, .. } => Some(*count as f64),
            _ => None,
        });
        assert_eq!(reading::rise_of(counts), right, "{what}, pushed");
    }

    /// Every end was told once: no two in a row, but for what may have come and gone between two
    /// pushes, and never two in one push.
    pub fn told_once(&self, may_come_and_go: &[Select<'_>]) {
        let received = self.receiver.received();
        let mut last: BTreeMap<&str, &Point> = BTreeMap::new();
        let mut ends = 0;
        for (series, point) in &received.points {
            let before = last.insert(series, point);
            if !point.gone {
                continue;
            }
            ends += 1;
            let mut brief = may_come_and_go.iter();
            let brief = brief.any(|labels| has(series, labels));
            let right = match before {
                Some(before) => !before.gone || (brief && before.time < point.time),
                None => brief,
            };
            assert!(right, "the end of {series} comes after {before:?}");
        }
        assert!(ends > 50, "{ends} ends");
    }
}

fn is_state(kind: Kind) -> bool {
    kind == Kind::Gauge
}

/// The kind of the metric that a sample or series belongs to; none for the exporter's own.
fn kind_of(series: &str) -> Option<Kind> {
    let name = series.split(['{', ' ']).next()?;
    let parts = ["", "_bucket", "_count", "_sum"].into_iter();
    let mut metrics = parts.filter_map(|part| FamilyId::by_name(name.strip_suffix(part)?));
    metrics.next().map(|family| family.desc().kind)
}

fn has(series: &str, labels: Select<'_>) -> bool {
    let mut labels = labels.iter();
    labels.all(|(key, value)| {
        let label = format!("{key}=\"{value}\"");
        [format!("{{{label}"), format!(",{label}")]
            .iter()
            .any(|label| series.contains(label))
    })
}

fn promql_labels(labels: Select<'_>) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}='{value}'"))
        .collect();
    labels.join(", ")
}

/// Whether a series stays: counts of jobs that are 0, and what a Guest reads.
fn is_shown(series: &str, labels: Select<'_>) -> bool {
    let read_by_guests = [
        "age_project_last_success",
        "age_repository_",
        "age_release_",
    ];
    let is_guest = labels.contains(&("project", "group/lost"));
    series.starts_with("age_jobs_")
        || (is_guest
            && read_by_guests
                .iter()
                .any(|family| series.starts_with(family)))
}
