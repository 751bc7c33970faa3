//! OTLP messages, filled point by point until they are large enough.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as NumberValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_sdk::Resource as SdkResource;
use prost::Message as _;

use crate::catalogue::{Desc, Kind};
use crate::clock::UnixSeconds;
use crate::series::{RemovedRow, RowValue, RowView};
use crate::telemetry::resource;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Key and length of a data point within its metric, at most.
const POINT_HEADER: usize = 6;

/// Keys and lengths of a metric's fields, temporality and the like included, at most.
const METRIC_HEADER: usize = 48;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A message that is being filled.
pub(super) struct Chunk {
    resource: Resource,
    scope: InstrumentationScope,
    limit: usize,
    /// Of the time of all points, in nanoseconds since the epoch.
    time: u64,
    metrics: Vec<Metric>,
    /// Whether the last metric takes no more points.
    closed: bool,
    points: usize,
    /// Never less than the encoded size of `metrics`.
    size: usize,
}

/// An encoded message.
pub(super) struct Encoded {
    /// The message.
    pub(super) bytes: Bytes,
    /// Data points in it.
    pub(super) points: usize,
}

impl Chunk {
    /// An empty message that is full at `limit` bytes, for points of `time`.
    pub(super) fn new(resource: &SdkResource, limit: usize, time: u64) -> Self {
        let resource: Resource = resource.into();
        let scope: InstrumentationScope = (&resource::scope(), None).into();
        let size = 2 * METRIC_HEADER + resource.encoded_len() + scope.encoded_len();
        Self {
            resource,
            scope,
            limit: limit.saturating_sub(size),
            time,
            metrics: Vec::new(),
            closed: false,
            points: 0,
            size: 0,
        }
    }

    /// Whether the message should be taken before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.size >= self.limit
    }

    /// Adds a row of the table.
    pub(super) fn add_row(&mut self, row: &RowView<'_>) {
        let attributes = row.labels.iter().map(attribute).collect();
        let start = self.start(row.start);
        match row.value {
            RowValue::Counter(value) => self.add_number(row.desc, attributes, start, Some(value)),
            // What a gauge shows has no beginning.
            RowValue::Gauge(value) => self.add_number(row.desc, attributes, 0, Some(value)),
            RowValue::Histogram {
                bounds,
                buckets,
                sum,
                count,
            } => self.add_histogram(
                row.desc,
                HistogramDataPoint {
                    attributes,
                    start_time_unix_nano: start,
                    time_unix_nano: self.time,
                    count,
                    sum: Some(sum),
                    bucket_counts: buckets.to_vec(),
                    explicit_bounds: bounds.to_vec(),
                    ..HistogramDataPoint::default()
                },
            ),
        }
    }

    /// Adds the last point of a removed series, in a metric of its own: the Collector's Prometheus
    /// exporter reads no point of a metric that comes after such a one.
    pub(super) fn add_removed(&mut self, row: &RemovedRow) {
        self.closed = true;
        let desc = row.family.desc();
        let labels = desc.labels.iter().copied();
        let values = row.labels.iter().map(AsRef::as_ref);
        let attributes = labels.zip(values).map(attribute).collect();
        if desc.kind == Kind::Histogram {
            // Without sum, buckets and bounds some receivers do not recognize the histogram's series.
            self.add_histogram(
                desc,
                HistogramDataPoint {
                    attributes,
                    time_unix_nano: self.time,
                    sum: Some(0.0),
                    bucket_counts: vec![0; row.bounds.len() + 1],
                    explicit_bounds: row.bounds.to_vec(),
                    flags: DataPointFlags::NoRecordedValueMask as u32,
                    ..HistogramDataPoint::default()
                },
            );
        } else {
            self.add_number(desc, attributes, 0, None);
        }
        self.closed = true;
    }

    /// Adds a metric as the SDK has collected it. The exporter's own have so few series that they
    /// need no cut within.
    pub(super) fn add_collected(&mut self, metric: Metric) {
        self.points += match &metric.data {
            Some(Data::Gauge(gauge)) => gauge.data_points.len(),
            Some(Data::Sum(sum)) => sum.data_points.len(),
            Some(Data::Histogram(histogram)) => histogram.data_points.len(),
            // Not made by any instrument of ours.
            Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => 0,
        };
        self.size += metric.encoded_len() + METRIC_HEADER;
        self.metrics.push(metric);
    }

    /// The message so far, encoded, and an empty one in its place; `None` when it is empty.
    pub(super) fn take(&mut self) -> Option<Encoded> {
        let points = std::mem::take(&mut self.points);
        self.size = 0;
        if points == 0 {
            self.metrics.clear();
            return None;
        }
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(self.scope.clone()),
                    metrics: std::mem::take(&mut self.metrics),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        let bytes = request.encode_to_vec().into();
        Some(Encoded { bytes, points })
    }

    /// Start times lie before the time of the point, also where a clock was set back.
    fn start(&self, start: UnixSeconds) -> u64 {
        let start = u64::try_from(start.0).unwrap_or(0);
        start
            .saturating_mul(NANOS_PER_SECOND)
            .min(self.time.saturating_sub(1))
    }

    fn add_number(
        &mut self,
        desc: &'static Desc,
        attributes: Vec<KeyValue>,
        start: u64,
        value: Option<f64>,
    ) {
        let flags = match value {
            Some(_) => DataPointFlags::DoNotUse,
            None => DataPointFlags::NoRecordedValueMask,
        };
        let point = NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: self.time,
            value: value.map(NumberValue::AsDouble),
            flags: flags as u32,
            ..NumberDataPoint::default()
        };
        self.count(point.encoded_len());
        match self.data(desc) {
            Some(Data::Gauge(gauge)) => gauge.data_points.push(point),
            Some(Data::Sum(sum)) => sum.data_points.push(point),
            _ => {}
        }
    }

    fn add_histogram(&mut self, desc: &'static Desc, point: HistogramDataPoint) {
        self.count(point.encoded_len());
        if let Some(Data::Histogram(histogram)) = self.data(desc) {
            histogram.data_points.push(point);
        }
    }

    fn count(&mut self, encoded_len: usize) {
        self.size += encoded_len + POINT_HEADER;
        self.points += 1;
    }

    /// The points of `desc` in this message: rows come metric by metric.
    fn data(&mut self, desc: &'static Desc) -> Option<&mut Data> {
        let closed = std::mem::take(&mut self.closed);
        if self
            .metrics
            .last()
            .is_none_or(|last| closed || last.name != desc.name)
        {
            let metric = empty_metric(desc);
            self.size += metric.encoded_len() + METRIC_HEADER;
            self.metrics.push(metric);
        }
        self.metrics.last_mut().and_then(|last| last.data.as_mut())
    }
}

fn empty_metric(desc: &'static Desc) -> Metric {
    let data = match desc.kind {
        Kind::Gauge => Data::Gauge(Gauge::default()),
        Kind::Counter => Data::Sum(Sum {
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
            ..Sum::default()
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            aggregation_temporality: CUMULATIVE,
            ..Histogram::default()
        }),
    };
    Metric {
        name: desc.name.to_owned(),
        description: desc.help.to_owned(),
        unit: desc.unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn attribute((key, value): (&str, &str)) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalogue::FamilyId;

    const TIME: u64 = 1_800_000_000_000_000_000;

    fn chunk(limit: usize) -> Chunk {
        let attributes = BTreeMap::from([("team".to_owned(), "x".repeat(300))]);
        Chunk::new(&resource::resource("instance", &attributes), limit, TIME)
    }

    fn removed(metric: &str, label: &str) -> RemovedRow {
        let family = FamilyId::by_name(metric).unwrap();
        let labels = family.desc().labels.iter().map(|_| label.into()).collect();
        RemovedRow {
            family,
            labels,
            bounds: [1.0, 2.0].into(),
        }
    }

    #[test]
    fn the_size_is_never_less_than_what_is_encoded() {
        for metric in ["age_pipeline_duration_seconds", "age_pipeline_run_count"] {
            for count in [1, 2, 7, 100, 1_000] {
                let mut chunk = chunk(usize::MAX);
                for i in 0..count {
                    chunk.add_removed(&removed(metric, &"y".repeat(i % 300)));
                    chunk.add_removed(&removed("age_pipeline_status", ""));
                }
                let size = chunk.size
                    + 2 * METRIC_HEADER
                    + chunk.resource.encoded_len()
                    + chunk.scope.encoded_len();
                let encoded = chunk.take().unwrap();
                assert_eq!(encoded.points, 2 * count);
                assert!(
                    encoded.bytes.len() <= size,
                    "{} > {size}",
                    encoded.bytes.len()
                );
            }
        }
    }

    #[test]
    fn a_message_exceeds_its_limit_by_less_than_its_last_point() {
        let mut chunk = chunk(10_000);
        let mut taken = Vec::new();
        for _ in 0..200 {
            chunk.add_removed(&removed("age_pipeline_run_count", &"z".repeat(100)));
            if chunk.is_full() {
                taken.push(chunk.take().unwrap());
            }
        }
        taken.extend(chunk.take());
        assert!(taken.len() > 5, "{}", taken.len());
        assert!(
            taken
                .iter()
                .all(|message| message.bytes.len() < 10_000 + 1_000)
        );
        assert_eq!(
            taken.iter().map(|message| message.points).sum::<usize>(),
            200
        );
        assert!(chunk.take().is_none(), "nothing is left");
    }

    #[test]
    fn a_start_lies_before_the_time() {
        let chunk = chunk(1_000);
        assert_eq!(
            chunk.start(UnixSeconds(1_700_000_000)),
            1_700_000_000_000_000_000
        );
        assert_eq!(chunk.start(UnixSeconds(1_800_000_000)), TIME - 1);
        assert_eq!(chunk.start(UnixSeconds(i64::MAX)), TIME - 1);
        assert_eq!(chunk.start(UnixSeconds(-1)), 0);
    }
}
