//! The same records through the SDK's cumulative aggregation and opentelemetry-prometheus.

use std::collections::HashMap;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};
use proptest::prelude::*;

use super::*;
use crate::catalogue::{self, Desc, MAX_LABELS};
use crate::types::Text;

struct Oracle {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl Oracle {
    fn new(buckets: &BucketSettings) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .unwrap();
        let bounds: HashMap<_, _> = catalogue::all()
            .map(|desc| (desc.name, buckets.bounds(desc)))
            .collect();
        let provider = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_view(move |instrument: &Instrument| {
                let boundaries = bounds.get(instrument.name())?.to_vec();
                if boundaries.is_empty() {
                    return None;
                }
                let aggregation = Aggregation::ExplicitBucketHistogram {
                    boundaries,
                    record_min_max: false,
                };
                Stream::builder().with_aggregation(aggregation).build().ok()
            })
            .build();
        Self { provider, registry }
    }

    fn record(&self, measurement: &Measurement) {
        let meter = self.provider.meter("oracle");
        let Measurement {
            desc,
            labels,
            value,
        } = measurement;
        let attributes: Vec<_> = desc
            .labels
            .iter()
            .zip(labels)
            .map(|(key, value)| KeyValue::new(*key, Text::clone(value)))
            .collect();
        // The SDK returns the same stream for the same name.
        let (name, help) = (desc.name, desc.help);
        match desc.kind {
            Kind::Counter => {
                let counter = meter.f64_counter(name).with_description(help).build();
                counter.add(*value, &attributes);
            }
            Kind::Gauge => {
                let gauge = meter.f64_gauge(name).with_description(help).build();
                gauge.record(*value, &attributes);
            }
            Kind::Histogram => {
                let histogram = meter.f64_histogram(name).with_description(help).build();
                histogram.record(*value, &attributes);
            }
        }
    }

    fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap()
    }
}

fn facts() -> Vec<&'static Desc> {
    let facts = catalogue::all().filter(|desc| desc.collector != Collector::Exporter);
    facts.collect()
}

fn label_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]",
        1 => Just(String::new()),
        1 => Just("say \"hi\"".to_owned()),
        1 => Just("back\\slash\\".to_owned()),
        1 => Just("line\nfeed\r\n".to_owned()),
        1 => Just("\u{0}\u{1}\u{7f}\u{2028}\t".to_owned()),
        1 => Just("🦊 héllo 日本".to_owned()),
        1 => Just("x\"\\\n".repeat(2500)),
        1 => any::<String>(),
    ]
}

/// A record of any metric; sums stay exact, so that the order of addition does not show.
fn measurement() -> impl Strategy<Value = Measurement> {
    let facts = facts();
    let labels = prop::collection::vec(label_value(), MAX_LABELS);
    let gauge = prop_oneof![
        Just(-0.0),
        (0_u32..10).prop_map(f64::from),
        prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO,
    ];
    let eighths = (0_u32..80_000).prop_map(|n| f64::from(n) / 8.0);
    (prop::sample::select(facts), labels, gauge, eighths).prop_map(
        |(desc, labels, gauge, total)| Measurement {
            desc,
            labels: labels
                .into_iter()
                .take(desc.labels.len())
                .map(Text::from)
                .collect(),
            value: if desc.kind == Kind::Gauge {
                gauge
            } else {
                total
            },
        },
    )
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.split('\n').collect();
    lines.sort_unstable();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn our_text_is_that_of_opentelemetry_prometheus(
        batches in prop::collection::vec(prop::collection::vec(measurement(), 0..40), 1..4),
    ) {
        let buckets = BucketSettings::default();
        let oracle = Oracle::new(&buckets);
        let mut ours = Ours::new(&buckets);
        for batch in &batches {
            batch.iter().for_each(|measurement| oracle.record(measurement));
            ours.record(batch);
        }
        let (ours, theirs) = (ours.text(Format::Text, vec![]), oracle.text());
        prop_assert_eq!(sorted(&ours), sorted(&theirs));
    }
}

/// Every metric of GitLab's facts once, compared line by line.
#[test]
fn every_metric_is_written_as_opentelemetry_prometheus_writes_it() {
    let buckets = BucketSettings::default();
    let oracle = Oracle::new(&buckets);
    let mut ours = Ours::new(&buckets);
    let batch: Vec<_> = facts()
        .into_iter()
        .map(|desc| Measurement {
            desc,
            labels: desc.labels.iter().map(|label| Text::from(*label)).collect(),
            value: 90.5,
        })
        .collect();
    batch
        .iter()
        .for_each(|measurement| oracle.record(measurement));
    ours.record(&batch);
    let text = ours.text(Format::Text, vec![]);
    assert_eq!(sorted(&text), sorted(&oracle.text()));
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("# TYPE "))
            .count(),
        batch.len()
    );
}
