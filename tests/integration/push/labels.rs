//! Any label value at every label of every metric, read back from both texts and from both pushes
//! by programs that share no code with the exporter.
//!
//! The reader is prometheus-client's, not the crate prometheus-parse: that one cuts labels at every
//! comma, equals sign and closing brace and keeps escapes as they are. Prometheus's own parser,
//! by way of promtool, says of the same text that it is one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::{self, Collector, Desc, Kind, Measurement};
use amazing_gitlab_exporter::delivery::text::Format;
use amazing_gitlab_exporter::telemetry::otlp::Protocol;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::rig::{self, Rig};
use crate::support::foreign::Foreign;
use crate::support::otlp::Receiver;
use crate::support::samples::Samples;
use crate::support::series::Labels;
use crate::support::tools::tool;

/// Series per metric.
const SERIES: usize = 6;

fn label_value() -> impl Strategy<Value = String> {
    let awkward = [
        "",
        " ",
        " a ",
        "\\",
        "\\\\",
        "\\n",
        "\"",
        "\\\"",
        "\n",
        "\r\n",
        "\t",
        "a,b=\"c\"} 1",
        "{le=\"+Inf\"}",
        "# TYPE x counter",
        "# EOF",
        "\u{0}",
        "\u{85}\u{2028}\u{2029}\u{b}\u{c}\u{1c}",
        "\u{feff}\u{200f}\u{202e}",
        "e\u{301}",
        "🦊👩‍👩‍👧",
        "\u{fffd}\u{ffff}\u{10ffff}",
    ];
    let one = prop_oneof![
        2 => prop::sample::select(awkward.to_vec()).prop_map(str::to_owned),
        2 => any::<String>(),
        1 => "[\\\\\"\n{},= a]{0,12}",
        1 => Just("x\"\\\n🦊".repeat(50)),
    ];
    prop::collection::vec(one, 1..3).prop_map(|parts| parts.concat())
}

fn facts() -> impl Iterator<Item = &'static Desc> {
    let own = catalogue::all().filter(|desc| desc.collector != Collector::Exporter);
    own.chain(Collector::Compat.entries().iter().copied())
}

/// Some series of every metric, each label with a value of its own.
fn measurements() -> Vec<Measurement> {
    let mut runner = TestRunner::deterministic();
    let mut any = |desc: &'static Desc| {
        let labels = prop::collection::vec(label_value(), desc.labels.len());
        let gauge = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
        let value = match desc.kind {
            Kind::Gauge => gauge.boxed(),
            _ => (0_u32..80_000).prop_map(|n| f64::from(n) / 8.0).boxed(),
        };
        let tree = (labels, value).new_tree(&mut runner).expect("a value");
        let (labels, value) = tree.current();
        Measurement {
            desc,
            labels: labels.into_iter().map(Into::into).collect(),
            value,
        }
    };
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for desc in facts() {
        for _ in 0..SERIES {
            let measurement = any(desc);
            let labels: Vec<String> = measurement.labels.iter().map(|l| l.to_string()).collect();
            if seen.insert((desc.name, labels)) {
                all.push(measurement);
            }
        }
    }
    all
}

/// What every reader is to find.
fn expected(measurements: &[Measurement]) -> Samples {
    let buckets = BucketSettings::default();
    let mut samples = Samples::default();
    for Measurement {
        desc,
        labels,
        value,
    } in measurements
    {
        let names = desc.labels.iter().map(ToString::to_string);
        let labels: Labels = names.zip(labels.iter().map(|l| l.to_string())).collect();
        if desc.kind == Kind::Histogram {
            let bounds = buckets.bounds(desc);
            let mut counts = vec![0; bounds.len() + 1];
            counts[bounds.partition_point(|bound| bound < value)] = 1;
            samples.add_histogram(desc.name, &labels, &bounds, &counts, *value);
        } else {
            samples.add(desc.name, labels, *value);
        }
    }
    samples
}

/// Whether Prometheus's own parser takes the text; lints about names do not count.
fn promtool_parses(text: &str) {
    let Some(promtool) = tool("bin/promtool") else {
        return;
    };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_label_value_reads_back_as_it_was_from_every_delivery() {
    let measurements = measurements();
    assert!(measurements.len() > 500, "{}", measurements.len());
    let expected = expected(&measurements);
    let (gauges, others): (Vec<_>, Vec<_>) = measurements
        .into_iter()
        .partition(|measurement| measurement.desc.kind == Kind::Gauge);
    let facts: BTreeMap<&str, &Desc> = facts().map(|desc| (desc.name, desc)).collect();
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let Some(foreign) = Foreign::start().await else {
            return;
        };
        let receiver = Receiver::start().await;
        let mut rig = Rig::new(&receiver, protocol);
        rig.target.endpoint = match protocol {
            Protocol::Grpc => foreign.grpc(),
            Protocol::HttpProtobuf => format!("{}/v1/metrics", foreign.http()),
        }
        .parse()
        .expect("an address");
        rig.record(&others);
        rig.show(&gauges);
        rig.pass(rig::BIRTH_WINDOW);

        let text = rig.text(Format::Text, Vec::new());
        promtool_parses(&text);
        let read = foreign.read_text(text).await;
        assert_eq!(read.differences(&expected), "", "text 0.0.4");
        let text = rig.text(Format::OpenMetrics, Vec::new());
        let read = foreign.read_openmetrics(text).await;
        assert_eq!(read.differences(&expected), "", "OpenMetrics");

        let pushed = rig.start_pushing().push_now().await;
        assert!(pushed.complete, "{pushed:?}");
        let mut received = Samples::default();
        for series in foreign.received().await {
            if facts.contains_key(series.name.as_str()) {
                assert_eq!(series.faults, [""; 0], "{}", series.name);
                series.add_to(&mut received);
            }
        }
        assert_eq!(received.differences(&expected), "", "{protocol:?}");
    }
}
