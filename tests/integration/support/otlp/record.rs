//! What is remembered of received messages, in a form that is simple to compare.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as NumberValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, HistogramDataPoint, Metric, NumberDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::Received;

/// What a data point says.
#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    /// Nothing: the series is gone.
    None,
    /// The value of a gauge or counter.
    Value(f64),
    /// A histogram.
    Histogram {
        /// Number of observations.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Upper bounds.
        bounds: Vec<f64>,
        /// Observations by bucket, not cumulative; one more than bounds.
        buckets: Vec<u64>,
    },
}

/// A data point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What it says.
    pub number: Number,
    /// Whether it says that the series is gone.
    pub gone: bool,
    /// When counting began, in nanoseconds since the epoch; 0 for gauges.
    pub start: u64,
    /// When it was so, in nanoseconds since the epoch.
    pub time: u64,
}

impl Point {
    /// Adds the samples that Prometheus would show.
    pub fn samples(&self, series: &str, samples: &mut BTreeMap<String, f64>) {
        if self.gone {
            return;
        }
        match &self.number {
            Number::None => {}
            Number::Value(value) => {
                samples.insert(series.to_owned(), *value);
            }
            Number::Histogram {
                count,
                sum,
                bounds,
                buckets,
            } => {
                let (name, labels) = series.split_once('{').expect("series have braces");
                let labels = labels.trim_end_matches('}');
                samples.insert(format!("{name}_count{{{labels}}}"), *count as f64);
                samples.insert(format!("{name}_sum{{{labels}}}"), *sum);
                let mut cumulative = 0;
                let edges = bounds.iter().copied().chain([f64::INFINITY]);
                for (bound, bucket) in edges.zip(buckets) {
                    cumulative += bucket;
                    let comma = if labels.is_empty() { "" } else { "," };
                    let le = if bound.is_infinite() {
                        "+Inf".to_owned()
                    } else {
                        bound.to_string()
                    };
                    let sample = format!("{name}_bucket{{{labels}{comma}le=\"{le}\"}}");
                    samples.insert(sample, cumulative as f64);
                }
            }
        }
    }
}

/// A span.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Its trace, in hexadecimal.
    pub trace_id: String,
    /// Its id, in hexadecimal.
    pub span_id: String,
    /// Its parent's id, empty for a root.
    pub parent_span_id: String,
    /// The number of its kind in the protocol.
    pub kind: i32,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Names of its events.
    pub events: Vec<String>,
    /// Code of its status in the protocol and the description.
    pub status: (i32, String),
}

/// A log record.
#[derive(Clone, Debug)]
pub struct Log {
    /// `INFO` and so on.
    pub severity: String,
    /// The message.
    pub body: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// The trace in which it was said, in hexadecimal; empty outside.
    pub trace_id: String,
    /// The span in which it was said, in hexadecimal; empty outside.
    pub span_id: String,
}

impl Received {
    pub(super) fn take_metrics(&mut self, request: ExportMetricsServiceRequest) {
        for resource in request.resource_metrics {
            self.take_resource(resource.resource);
            for scope in resource.scope_metrics {
                self.take_scope(scope.scope);
                for metric in scope.metrics {
                    self.take_metric(metric);
                }
            }
        }
    }

    fn take_metric(&mut self, metric: Metric) {
        let name = metric.name;
        let kind = match metric.data.expect("a metric has data") {
            Data::Gauge(gauge) => {
                for point in gauge.data_points {
                    self.take_number(&name, point);
                }
                "gauge"
            }
            Data::Sum(sum) => {
                assert!(sum.is_monotonic, "{name}");
                assert_cumulative(&name, sum.aggregation_temporality);
                for point in sum.data_points {
                    self.take_number(&name, point);
                }
                "counter"
            }
            Data::Histogram(histogram) => {
                assert_cumulative(&name, histogram.aggregation_temporality);
                for point in histogram.data_points {
                    self.take_histogram(&name, point);
                }
                "histogram"
            }
            other => panic!("{name} is no gauge, sum or histogram: {other:?}"),
        };
        let instance = self.resource.get("service.instance.id").cloned();
        let instances = self.instances.entry(name.clone()).or_default();
        instances.extend(instance);
        self.metrics
            .insert(name, (kind, metric.unit, metric.description));
    }

    fn take_number(&mut self, name: &str, point: NumberDataPoint) {
        let number = match point.value {
            None => Number::None,
            Some(NumberValue::AsDouble(value)) => Number::Value(value),
            Some(NumberValue::AsInt(value)) => Number::Value(value as f64),
        };
        self.points.push((
            series(name, &point.attributes),
            Point {
                number,
                gone: is_gone(point.flags),
                start: point.start_time_unix_nano,
                time: point.time_unix_nano,
            },
        ));
    }

    fn take_histogram(&mut self, name: &str, point: HistogramDataPoint) {
        self.points.push((
            series(name, &point.attributes),
            Point {
                number: Number::Histogram {
                    count: point.count,
                    sum: point.sum.expect("ours always have a sum"),
                    bounds: point.explicit_bounds,
                    buckets: point.bucket_counts,
                },
                gone: is_gone(point.flags),
                start: point.start_time_unix_nano,
                time: point.time_unix_nano,
            },
        ));
    }

    pub(super) fn take_traces(&mut self, request: ExportTraceServiceRequest) {
        for resource in request.resource_spans {
            self.take_resource(resource.resource);
            for scope in resource.scope_spans {
                self.take_scope(scope.scope);
                self.spans.extend(scope.spans.into_iter().map(|span| {
                    let status = span.status.unwrap_or_default();
                    Span {
                        name: span.name,
                        trace_id: hex(&span.trace_id),
                        span_id: hex(&span.span_id),
                        parent_span_id: hex(&span.parent_span_id),
                        kind: span.kind,
                        attributes: attributes(span.attributes),
                        events: span.events.into_iter().map(|event| event.name).collect(),
                        status: (status.code, status.message),
                    }
                }));
            }
        }
    }

    pub(super) fn take_logs(&mut self, request: ExportLogsServiceRequest) {
        for resource in request.resource_logs {
            self.take_resource(resource.resource);
            for scope in resource.scope_logs {
                self.take_scope(scope.scope);
                self.logs
                    .extend(scope.log_records.into_iter().map(|record| Log {
                        severity: record.severity_text,
                        body: record.body.map(text).unwrap_or_default(),
                        attributes: attributes(record.attributes),
                        trace_id: hex(&record.trace_id),
                        span_id: hex(&record.span_id),
                    }));
            }
        }
    }

    fn take_resource(&mut self, resource: Option<Resource>) {
        self.resource = attributes(resource.expect("a resource is sent").attributes);
    }

    fn take_scope(&mut self, scope: Option<InstrumentationScope>) {
        let scope = scope.expect("a scope is sent");
        self.scope = (scope.name, scope.version);
    }
}

fn assert_cumulative(name: &str, temporality: i32) {
    let cumulative = AggregationTemporality::Cumulative as i32;
    assert_eq!(temporality, cumulative, "{name} is cumulative");
}

fn is_gone(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 != 0
}

/// `name{key="value",…}` with sorted keys and values escaped as in the Prometheus text format.
fn series(name: &str, labels: &[KeyValue]) -> String {
    let mut labels: Vec<(String, String)> = labels
        .iter()
        .map(|label| {
            let value = label.value.clone().map(text).unwrap_or_default();
            (label.key.clone(), value)
        })
        .collect();
    labels.sort();
    let mut series = format!("{name}{{");
    for (i, (key, value)) in labels.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let value = value
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('\n', r"\n");
        write!(series, "{comma}{key}=\"{value}\"").expect("strings take all");
    }
    series.push('}');
    series
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let attributes = attributes.into_iter();
    attributes
        .map(|attribute| (attribute.key, attribute.value.map(text).unwrap_or_default()))
        .collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        None => String::new(),
        Some(Value::StringValue(value)) => value,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
