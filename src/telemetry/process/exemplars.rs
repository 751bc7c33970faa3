//! Exemplars: for a duration, the trace that it was measured in.
//!
//! opentelemetry-rust records none. So the last value of each bucket is kept here, next to the
//! instrument, with the span that was current. Spans that are not recorded leave nothing: their
//! ids lead nowhere.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::{SpanId, TraceContextExt as _, TraceId};

use super::instruments::{CARDINALITY_LIMIT, Histogram};
use crate::catalogue::{LabelValues, Labels};
use crate::clock::Clock;

/// A value and the span that it was measured in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// The value.
    pub value: f64,
    /// The trace.
    pub trace_id: TraceId,
    /// The span within it.
    pub span_id: SpanId,
    /// When it was recorded, in nanoseconds since the Unix epoch.
    pub unix_nanos: u64,
}

/// The exemplars of a series: one place per bucket, the last for the bucket without a bound.
type Places = Box<[Option<Exemplar>]>;

/// Exemplars of some metrics, as they are at one moment.
#[derive(Clone, Debug, Default)]
pub struct Exemplars(BTreeMap<&'static str, BTreeMap<LabelValues, Places>>);

impl Exemplars {
    /// The exemplars of a series, by bucket; none where there are none. `labels` are the values of
    /// its labels, in the order of the labels' names.
    #[must_use]
    pub fn of<'a>(
        &self,
        metric: &str,
        labels: impl Iterator<Item = &'a str>,
    ) -> &[Option<Exemplar>] {
        let Some(series) = self.0.get(metric) else {
            return &[];
        };
        let labels: LabelValues = labels.map(Into::into).collect();
        series.get(&labels).map_or(&[], |places| places)
    }
}

/// A histogram that keeps exemplars.
pub(super) struct Traced<L> {
    histogram: Histogram<L>,
    clock: Clock,
    series: Mutex<BTreeMap<LabelValues, Places>>,
}

impl<L: Labels> Traced<L> {
    pub(super) fn new(histogram: Histogram<L>, clock: Clock) -> Self {
        Self {
            histogram,
            clock,
            series: Mutex::default(),
        }
    }

    /// Records a value, and that it belongs to the current span.
    pub(super) fn observe(&self, labels: L, value: f64) {
        let labels = labels.into_values();
        self.histogram.record(&labels, value);
        let Some((trace_id, span_id)) = recorded_span() else {
            return;
        };
        self.keep(
            labels,
            Exemplar {
                value,
                trace_id,
                span_id,
                unix_nanos: self.clock.unix_nanos(),
            },
        );
    }

    /// The latest of a bucket stays. There are no more series than the instrument has.
    fn keep(&self, labels: LabelValues, exemplar: Exemplar) {
        let bounds = self.histogram.bounds();
        let bucket = bounds.partition_point(|bound| *bound < exemplar.value);
        let mut series = self.lock();
        if series.len() >= CARDINALITY_LIMIT && !series.contains_key(&labels) {
            return;
        }
        let places = series
            .entry(labels)
            .or_insert_with(|| vec![None; bounds.len() + 1].into());
        places[bucket] = Some(exemplar);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LabelValues, Places>> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what is kept now to those of other metrics.
    pub(super) fn show(&self, exemplars: &mut Exemplars) {
        let series = self.lock().clone();
        exemplars.0.insert(self.histogram.name(), series);
    }
}

/// The current span, if it is recorded.
fn recorded_span() -> Option<(TraceId, SpanId)> {
    opentelemetry::Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        let is_recorded = span.is_valid() && span.is_sampled();
        is_recorded.then(|| (span.trace_id(), span.span_id()))
    })
}

#[cfg(test)]
mod tests;
