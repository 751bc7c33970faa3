//! The exporter's own gauges as the receiver has them. The end of a series that is no longer shown
//! (the version of a GitLab that was upgraded) has to be reported, as for the table's.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{DataPointFlags, Gauge, Metric, NumberDataPoint};

/// The gauges that the receiver may have, by name.
#[derive(Default)]
pub(super) struct ExportedGauges(BTreeMap<String, Metric>);

impl ExportedGauges {
    /// Adds to `metrics`, which have just been collected, the last point of every series that was
    /// exported and is not among them. Returns the gauges among them, to be [kept](Self::keep).
    pub(super) fn add_ends(&mut self, metrics: &mut Vec<Metric>, time: u64) -> Self {
        let gauges = metrics.iter().filter(|metric| is_gauge(metric));
        let shown: BTreeMap<String, Metric> = gauges
            .map(|metric| (metric.name.clone(), metric.clone()))
            .collect();
        // The SDK has a clock of its own.
        let collected = shown.values().flat_map(points);
        let time = collected
            .map(|point| point.time_unix_nano)
            .fold(time, u64::max);
        // Until the push has arrived whole, the receiver may have what was before or what is now.
        let before = std::mem::replace(&mut self.0, shown.clone());
        for (name, metric) in before {
            let now = self
                .0
                .entry(name)
                .or_insert_with(|| with_points(&metric, []));
            let ended = points(&metric).iter().filter(|exported| {
                !points(now)
                    .iter()
                    .any(|now| now.attributes == exported.attributes)
            });
            let ended: Vec<NumberDataPoint> = ended.cloned().collect();
            if ended.is_empty() {
                continue;
            }
            // One metric each, as in `Chunk::add_removed`.
            let ends = ended.iter().map(|exported| end(exported, time));
            metrics.extend(ends.map(|end| with_points(&metric, [end])));
            let all = points(now).iter().cloned().chain(ended);
            *now = with_points(now, all);
        }
        Self(shown)
    }

    /// The push has arrived whole: this is what the receiver has.
    pub(super) fn keep(&mut self, shown: Self) {
        *self = shown;
    }
}

fn is_gauge(metric: &Metric) -> bool {
    matches!(metric.data, Some(Data::Gauge(_)))
}

fn points(metric: &Metric) -> &[NumberDataPoint] {
    match &metric.data {
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        _ => &[],
    }
}

fn with_points(metric: &Metric, points: impl IntoIterator<Item = NumberDataPoint>) -> Metric {
    let data_points = points.into_iter().collect();
    Metric {
        data: Some(Data::Gauge(Gauge { data_points })),
        name: metric.name.clone(),
        description: metric.description.clone(),
        unit: metric.unit.clone(),
        ..Metric::default()
    }
}

fn end(point: &NumberDataPoint, time: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: point.attributes.clone(),
        time_unix_nano: time,
        flags: DataPointFlags::NoRecordedValueMask as u32,
        ..NumberDataPoint::default()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

    use super::*;

    fn gauge(name: &str, series: &[&str]) -> Metric {
        let point = |label: &&str| NumberDataPoint {
            attributes: vec![KeyValue {
                key: "label".into(),
                value: Some(AnyValue {
                    value: Some(Value::StringValue((*label).to_owned())),
                }),
                ..KeyValue::default()
            }],
            time_unix_nano: 1,
            ..NumberDataPoint::default()
        };
        let metric = Metric {
            name: name.into(),
            ..Metric::default()
        };
        with_points(&metric, series.iter().map(point))
    }

    /// How many series of a metric are reported as removed, each in a metric of its own.
    fn removed(metrics: &[Metric]) -> Vec<(&str, usize)> {
        let mut removed = BTreeMap::<&str, usize>::new();
        for metric in metrics {
            let ended = |point: &NumberDataPoint| point.flags == 1 && point.value.is_none();
            if points(metric).iter().any(ended) {
                assert_eq!(points(metric).len(), 1, "{metric:?}");
                *removed.entry(&metric.name).or_default() += 1;
            }
        }
        removed.into_iter().collect()
    }

    #[test]
    fn a_removed_gauge_is_reported_until_a_push_succeeds() {
        let mut exported = ExportedGauges::default();
        let mut first = vec![gauge("a", &["x", "y"]), gauge("b", &["x"])];
        let shown = exported.add_ends(&mut first, 2);
        assert!(removed(&first).is_empty());
        exported.keep(shown);

        // This push does not arrive, or only its first message.
        let mut second = vec![gauge("a", &["y", "z"])];
        exported.add_ends(&mut second, 3);
        assert_eq!(removed(&second), [("a", 1), ("b", 1)]);

        let mut third = vec![gauge("a", &["y"])];
        let shown = exported.add_ends(&mut third, 4);
        assert_eq!(removed(&third), [("a", 2), ("b", 1)]);
        exported.keep(shown);

        let mut fourth = vec![gauge("a", &["y"])];
        exported.add_ends(&mut fourth, 5);
        assert!(removed(&fourth).is_empty());
    }
}
