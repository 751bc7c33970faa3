//! The exporter's own metrics, gathered from their Prometheus registry, behind the table's.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::lines::{Lines, Meta, Number};
use crate::catalogue::{Collector, FamilyId};
use crate::telemetry::process::{Exemplar, Exemplars};

/// Puts gathered metrics into the order of the catalogue, unknown ones (`process_*`) last, and
/// leaves out what the table writes or the formats cannot say.
pub(super) fn arrange(mut families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    families.retain(|family| {
        let id = FamilyId::by_name(family.name());
        let is_own = id.is_none_or(|id| id.desc().collector == Collector::Exporter);
        is_own && kind(family).is_some() && !family.get_metric().is_empty()
    });
    let place = |family: &MetricFamily| {
        FamilyId::by_name(family.name()).map_or(usize::MAX, FamilyId::index)
    };
    families.sort_by(|a, b| {
        let (a, b) = ((place(a), a.name()), (place(b), b.name()));
        a.cmp(&b)
    });
    families.dedup_by(|later, first| {
        let same = later.name() == first.name();
        if same {
            first.mut_metric().append(later.mut_metric());
        }
        same
    });
    families
}

fn kind(family: &MetricFamily) -> Option<&'static str> {
    match family.get_field_type() {
        MetricType::COUNTER => Some("counter"),
        MetricType::GAUGE => Some("gauge"),
        MetricType::HISTOGRAM => Some("histogram"),
        MetricType::SUMMARY => Some("summary"),
        MetricType::UNTYPED => None,
    }
}

/// Writes one gathered metric, with the exemplars that belong to it.
pub(super) fn write(lines: &mut Lines, family: &MetricFamily, exemplars: &Exemplars) {
    let Some(kind) = kind(family) else {
        return;
    };
    lines.begin(Meta {
        name: family.name(),
        kind,
        unit: FamilyId::by_name(family.name()).map_or("", |id| id.desc().unit),
        help: family.help(),
    });
    for metric in family.get_metric() {
        let pairs = metric.get_label().iter();
        lines.labels(pairs.map(|pair| (pair.name(), pair.value())));
        let values = metric.get_label().iter().map(|pair| pair.value());
        let exemplars = exemplars.of(family.name(), values);
        write_metric(lines, family.get_field_type(), metric, exemplars);
    }
}

fn write_metric(
    lines: &mut Lines,
    kind: MetricType,
    metric: &Metric,
    exemplars: &[Option<Exemplar>],
) {
    match kind {
        MetricType::COUNTER => {
            lines.sample("", None, Number::Value(metric.get_counter().get_value()));
        }
        MetricType::GAUGE => lines.sample("", None, Number::Value(metric.get_gauge().get_value())),
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            let buckets = histogram.get_bucket().iter();
            let finite = buckets.filter(|bucket| bucket.upper_bound().is_finite());
            let bounds: Vec<f64> = finite.clone().map(|bucket| bucket.upper_bound()).collect();
            let counts = finite.map(|bucket| bucket.cumulative_count());
            let (sum, count) = (histogram.get_sample_sum(), histogram.get_sample_count());
            lines.histogram(&bounds, counts, sum, count, exemplars);
        }
        MetricType::SUMMARY => {
            let summary = metric.get_summary();
            for quantile in summary.get_quantile() {
                let label = quantile.quantile().to_string();
                let more = Some(("quantile", label.as_str()));
                lines.sample("", more, Number::Value(quantile.value()));
            }
            lines.sample("_sum", None, Number::Value(summary.sample_sum()));
            lines.sample("_count", None, Number::Count(summary.sample_count()));
        }
        MetricType::UNTYPED => {}
    }
}
