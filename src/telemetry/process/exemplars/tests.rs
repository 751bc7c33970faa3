use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceFlags, TraceState};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::*;
use crate::catalogue::buckets::BucketSettings;
use crate::clock::UnixSeconds;
use crate::delivery::text::{Format, TextStream};
use crate::series::{Table, TableSettings};
use crate::telemetry::process::OwnMetrics;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const DURATION: &str = "age_api_request_duration_seconds";
const PROJECT: &str = "/projects/:id";
/// What OpenMetrics allows: characters of names and values together.
const MAX_LABELS: usize = 128;

struct Rig {
    own: Arc<OwnMetrics>,
    table: Arc<Table>,
}

impl Rig {
    fn new() -> Self {
        let table = Table::new(&TableSettings {
            birth_window: Duration::ZERO,
            cardinality_limit: 10,
            buckets: BucketSettings::default(),
        });
        let clock = Clock::manual(NOW);
        let own = OwnMetrics::new(table.clone(), &clock, &["jobs"], &["timeout"]).unwrap();
        Self { own, table }
    }

    /// `/metrics` as a scrape has it.
    fn text(&self, format: Format) -> String {
        let exemplars = self.own.exemplars();
        let walk = self.table.walk(NOW);
        let stream = TextStream::new(walk, self.own.gather(), format, false);
        let chunks = stream.with_exemplars(exemplars);
        let text: Vec<u8> = chunks.flat_map(|chunk| chunk.unwrap()).collect();
        String::from_utf8(text).unwrap()
    }

    fn call(&self, seconds: f64) {
        self.own.api_request("GET", PROJECT, "200", seconds);
    }

    fn of_call(&self) -> Vec<Option<Exemplar>> {
        let exemplars = self.own.exemplars();
        exemplars.of(DURATION, [PROJECT, "GET"].into_iter()).into()
    }
}

/// Does something within a span with this id.
fn within<T>(id: u64, flags: TraceFlags, work: impl FnOnce() -> T) -> T {
    let trace = TraceId::from(u128::from(id) << 64);
    let span = SpanContext::new(trace, SpanId::from(id), flags, false, TraceState::NONE);
    let _guard = Context::new().with_remote_span_context(span).attach();
    work()
}

fn exemplar(value: f64, id: u64) -> Option<Exemplar> {
    Some(Exemplar {
        value,
        trace_id: TraceId::from(u128::from(id) << 64),
        span_id: SpanId::from(id),
        unix_nanos: 1_800_000_000_000_000_000,
    })
}

#[test]
fn each_bucket_keeps_its_last_value_with_the_span_it_was_measured_in() {
    let rig = Rig::new();
    let calls = [
        (0.25, 1),
        (0.26, 2),
        (0.3, 3),
        (500.0, 4),
        (0.2, 5),
        (0.05, 6),
    ];
    for (seconds, id) in calls {
        within(id, TraceFlags::SAMPLED, || rig.call(seconds));
    }
    // Bounds: 0.05, 0.1, 0.25, 0.5, …, and none for the last.
    let mut expected = vec![None; 12];
    expected[0] = exemplar(0.05, 6);
    expected[2] = exemplar(0.2, 5);
    expected[3] = exemplar(0.3, 3);
    expected[11] = exemplar(500.0, 4);
    assert_eq!(rig.of_call(), expected);
}

#[test]
fn a_value_on_a_bound_lies_where_the_instrument_counts_it() {
    let rig = Rig::new();
    within(1, TraceFlags::SAMPLED, || rig.call(0.25));
    let text = rig.text(Format::OpenMetrics);
    let line = text.lines().find(|line| line.contains(" # {")).unwrap();
    assert!(line.contains("le=\"0.25\"} 1 # {"), "{line}");
}

#[test]
fn without_a_recorded_span_there_is_no_exemplar() {
    let rig = Rig::new();
    rig.call(0.1);
    within(1, TraceFlags::default(), || rig.call(0.1));
    within(0, TraceFlags::SAMPLED, || rig.call(0.1));
    assert_eq!(rig.of_call(), []);
    assert!(!rig.text(Format::OpenMetrics).contains(" # {"));
    // A later value without a trace leaves what is known of an earlier one.
    within(1, TraceFlags::SAMPLED, || rig.call(0.1));
    rig.call(0.1);
    assert_eq!(rig.of_call()[1], exemplar(0.1, 1));
}

#[test]
fn only_open_metrics_carries_them() {
    let rig = Rig::new();
    let plain = rig.text(Format::Text);
    assert!(!plain.contains(DURATION), "{plain}");
    within(0xabc, TraceFlags::SAMPLED, || {
        rig.call(0.3);
        rig.own.scrape_duration("jobs", Duration::from_millis(1500));
    });
    let ids = "trace_id=\"0000000000000abc0000000000000000\",span_id=\"0000000000000abc\"";
    let text = rig.text(Format::OpenMetrics);
    let exemplars: Vec<&str> = text.lines().filter(|line| line.contains(" # {")).collect();
    let expected = [
        format!(
            "{DURATION}_bucket{{endpoint=\"{PROJECT}\",method=\"GET\",le=\"0.5\"}} 1 \
             # {{{ids}}} 0.3 1800000000.000"
        ),
        format!(
            "age_scrape_duration_seconds_bucket{{collector_type=\"jobs\",le=\"2.5\"}} 1 \
             # {{{ids}}} 1.5 1800000000.000"
        ),
    ];
    assert_eq!(exemplars, expected);
    let characters = ids.chars().filter(|c| !"=\",".contains(*c)).count();
    assert!(characters <= MAX_LABELS, "{characters}");

    assert!(!rig.text(Format::Text).contains(" # "));
    for metric in rig.own.collect() {
        if let Some(Data::Histogram(histogram)) = metric.data {
            let mut points = histogram.data_points.iter();
            assert!(points.all(|point| point.exemplars.is_empty()));
        }
    }
}

#[test]
fn memory_is_bounded() {
    let rig = Rig::new();
    within(1, TraceFlags::SAMPLED, || {
        for i in 0..2 * CARDINALITY_LIMIT {
            let endpoint = format!("/endpoint/{i}");
            rig.own.api_request("GET", &endpoint, "200", 0.1);
        }
    });
    let exemplars = rig.own.exemplars();
    let kept = |i: usize| {
        let endpoint = format!("/endpoint/{i}");
        !exemplars
            .of(DURATION, [endpoint.as_str(), "GET"].into_iter())
            .is_empty()
    };
    let kept = (0..2 * CARDINALITY_LIMIT).filter(|i| kept(*i)).count();
    assert_eq!(kept, CARDINALITY_LIMIT);
}
