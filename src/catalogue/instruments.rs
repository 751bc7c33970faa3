//! OpenTelemetry instruments for every metric of GitLab's facts, and the one reader that collects
//! what was recorded on them.
//!
//! The SDK aggregates, the series table ([`crate::series`]) remembers: the reader's temporality is
//! delta, so each collect yields only what changed since the one before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument as SdkInstrument, InstrumentKind, ManualReader, Pipeline,
    SdkMeterProvider, Stream, Temporality,
};

use super::buckets::BucketSettings;
use super::family::all_with_compat;
use super::{Collector, Desc, FamilyId, Kind, LabelValues, Measurement};
use crate::types::Text;

/// Measurements between two collects, over all instruments. The SDK keeps room for twice as many
/// sets per instrument, because it forgets a set one collect after its last report; it takes that
/// room at once, for each of more than a hundred instruments, so it is small.
pub const MAX_BATCH: usize = 250;

/// The attribute of the point into which the SDK folds what exceeds its limit.
const OVERFLOW: &str = "otel.metric.overflow";

/// The label values of a batch, to find the shared text of what the SDK returns.
type Texts<'a> = HashMap<&'a str, &'a Text>;

/// What changed in one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// The metric.
    pub family: FamilyId,
    /// Label values, in the order of the metric's labels.
    pub labels: LabelValues,
    /// The change.
    pub change: Change,
}

/// How a series changed since the last collect.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A counter rose by this.
    Rise(f64),
    /// A gauge is now this.
    Level(f64),
    /// A histogram's new observations.
    Histogram {
        /// How many.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Per bucket, not cumulated; one more than there are bounds.
        buckets: Vec<u64>,
    },
}

impl Change {
    /// Adds a later change of the same series.
    fn merge(&mut self, later: Self) {
        match (self, later) {
            (Self::Rise(rise), Self::Rise(more)) => *rise += more,
            (
                Self::Histogram {
                    count,
                    sum,
                    buckets,
                },
                Self::Histogram {
                    count: more,
                    sum: more_sum,
                    buckets: more_buckets,
                },
            ) => {
                *count += more;
                *sum += more_sum;
                for (bucket, more) in buckets.iter_mut().zip(more_buckets) {
                    *bucket += more;
                }
            }
            (this, later) => *this = later,
        }
    }
}

/// Why instruments cannot be built or read.
#[derive(Debug, thiserror::Error)]
pub enum InstrumentsError {
    /// The SDK refuses a metric's view: bad bucket bounds.
    #[error("the buckets of {metric} are not usable: {reason}")]
    View {
        /// The metric's name.
        metric: &'static str,
        /// The SDK's words.
        reason: String,
    },
    /// Collecting failed; what was recorded since the last collect is lost.
    #[error("cannot collect recorded measurements: {0}")]
    Collect(#[from] OTelSdkError),
    /// More label sets than the SDK keeps room for, which the batch bound excludes.
    #[error("{0} overflowed between two collects: a fault in this program")]
    Overflow(String),
}

enum Instrument {
    Counter(Counter<f64>),
    Gauge(Gauge<f64>),
    Histogram(Histogram<f64>),
    /// The exporter's own metric: recorded on another provider.
    Elsewhere,
}

/// The instruments and their reader.
///
/// One task records and collects: a gauge recorded from a second thread during a collect can read
/// a false 0. `&mut self` holds that.
pub struct Instruments {
    reader: Arc<ManualReader>,
    instruments: Vec<Instrument>,
    collected: ResourceMetrics,
    refused: u64,
    /// A collect failed, so the SDK may still hold a batch that was given up.
    stale: bool,
    // Last: the reader only holds a weak pipeline, the provider keeps it alive.
    _provider: SdkMeterProvider,
}

impl Instruments {
    /// Builds an instrument for every entry of the catalogue but the exporter's own.
    ///
    /// # Errors
    /// [`InstrumentsError::View`] when bucket bounds are not finite and strictly increasing.
    pub fn new(buckets: &BucketSettings) -> Result<Self, InstrumentsError> {
        Self::build(buckets, false)
    }

    /// The same, and an instrument for every metric of `compat`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_compat(buckets: &BucketSettings) -> Result<Self, InstrumentsError> {
        Self::build(buckets, true)
    }

    fn build(buckets: &BucketSettings, compat: bool) -> Result<Self, InstrumentsError> {
        let is_built =
            |desc: &Desc| is_fact(desc) && (compat || desc.collector != Collector::Compat);
        let mut views = HashMap::new();
        for desc in all_with_compat().filter(|desc| is_built(desc)) {
            let bounds = (desc.kind == Kind::Histogram).then(|| buckets.bounds(desc));
            // Built here once, because a view that fails later is silently left out.
            stream(bounds.as_deref()).map_err(|reason| InstrumentsError::View {
                metric: desc.name,
                reason,
            })?;
            views.insert(desc.name, bounds);
        }
        let reader = Arc::new(
            ManualReader::builder()
                .with_temporality(Temporality::Delta)
                .build(),
        );
        let provider = SdkMeterProvider::builder()
            .with_resource(Resource::builder_empty().build())
            .with_reader(SharedReader(reader.clone()))
            .with_view(move |instrument: &SdkInstrument| {
                let bounds = views.get(instrument.name())?;
                stream(bounds.as_deref()).ok()
            })
            .build();
        let meter = provider.meter(env!("CARGO_PKG_NAME"));
        Ok(Self {
            reader,
            instruments: all_with_compat()
                .map(|desc| match is_built(desc) {
                    true => build(&meter, desc),
                    false => Instrument::Elsewhere,
                })
                .collect(),
            collected: ResourceMetrics::default(),
            refused: 0,
            stale: false,
            _provider: provider,
        })
    }

    /// Records measurements and yields what they changed, each series once.
    ///
    /// # Errors
    /// [`InstrumentsError::Collect`] or [`InstrumentsError::Overflow`]: nothing of the batch
    /// counts then, and nothing of it is left behind.
    pub fn record(&mut self, batch: &[Measurement]) -> Result<Vec<Delta>, InstrumentsError> {
        if self.stale {
            self.reader.collect(&mut self.collected)?;
        }
        self.stale = true;
        let mut changes = Changes::default();
        for chunk in batch.chunks(MAX_BATCH) {
            let texts = self.measure(chunk);
            self.reader.collect(&mut self.collected)?;
            changes.read(&self.collected, &texts)?;
        }
        self.stale = false;
        Ok(changes.list)
    }

    /// Measurements that were not recorded since the start: not finite, a counter's fall, or of a
    /// metric that is recorded elsewhere.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Records a chunk; yields its label values, to be found again in what is collected.
    fn measure<'a>(&mut self, chunk: &'a [Measurement]) -> Texts<'a> {
        let mut texts = Texts::new();
        let mut attributes = Vec::new();
        for measurement in chunk {
            let Some(instrument) = self.instrument(measurement) else {
                self.refused += 1;
                continue;
            };
            attributes.clear();
            // The catalogue's label names are sorted; unsorted ones would be kept twice.
            attributes.extend(
                measurement
                    .desc
                    .labels
                    .iter()
                    .zip(&measurement.labels)
                    .map(|(key, value)| KeyValue::new(*key, value.clone())),
            );
            match instrument {
                Instrument::Counter(counter) => counter.add(measurement.value, &attributes),
                Instrument::Gauge(gauge) => gauge.record(measurement.value, &attributes),
                Instrument::Histogram(histogram) => {
                    histogram.record(measurement.value, &attributes);
                }
                Instrument::Elsewhere => {}
            }
            texts.extend(measurement.labels.iter().map(|text| (&**text, text)));
        }
        texts
    }

    /// The instrument for a measurement; `None` when it is refused.
    fn instrument(&self, measurement: &Measurement) -> Option<&Instrument> {
        let Measurement {
            desc,
            labels,
            value,
        } = measurement;
        if !value.is_finite() || labels.len() != desc.labels.len() {
            return None;
        }
        match self.instruments.get(FamilyId::of(desc)?.index())? {
            Instrument::Elsewhere => None,
            Instrument::Counter(_) if *value < 0.0 => None,
            instrument => Some(instrument),
        }
    }
}

impl std::fmt::Debug for Instruments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instruments")
            .field("instruments", &self.instruments.len())
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// Whether a metric is one of GitLab's facts, not the exporter's own.
fn is_fact(desc: &Desc) -> bool {
    desc.collector != Collector::Exporter
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that builds instruments of GitLab's facts"
)]
fn build(meter: &Meter, desc: &'static Desc) -> Instrument {
    macro_rules! instrument {
        ($builder:ident) => {
            meter
                .$builder(desc.name)
                .with_unit(desc.unit)
                .with_description(desc.help)
                .build()
        };
    }
    match desc.kind {
        Kind::Counter => Instrument::Counter(instrument!(f64_counter)),
        Kind::Gauge => Instrument::Gauge(instrument!(f64_gauge)),
        Kind::Histogram => Instrument::Histogram(instrument!(f64_histogram)),
    }
}

/// The SDK's stream of a metric, a histogram when there are bounds.
fn stream(bounds: Option<&[f64]>) -> Result<Stream, String> {
    let mut stream = Stream::builder().with_cardinality_limit(2 * MAX_BATCH);
    if let Some(bounds) = bounds {
        stream = stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries: bounds.to_vec(),
            record_min_max: false,
        });
    }
    stream.build().map_err(|reason| reason.to_string())
}

/// Collected changes, each series once.
#[derive(Default)]
struct Changes {
    list: Vec<Delta>,
    places: HashMap<(FamilyId, LabelValues), usize>,
}

impl Changes {
    /// Reads one collect; `texts` holds every label value that can occur in it.
    fn read(
        &mut self,
        collected: &ResourceMetrics,
        texts: &Texts<'_>,
    ) -> Result<(), InstrumentsError> {
        let metrics = collected.scope_metrics().flat_map(|scope| scope.metrics());
        for metric in metrics {
            let Some(family) = FamilyId::by_name(metric.name()) else {
                continue;
            };
            let AggregatedMetrics::F64(data) = metric.data() else {
                continue;
            };
            match data {
                MetricData::Sum(sum) => {
                    for point in sum.data_points() {
                        let labels = label_values(metric.name(), point.attributes(), texts)?;
                        self.add(family, labels, Change::Rise(point.value()));
                    }
                }
                MetricData::Gauge(gauge) => {
                    for point in gauge.data_points() {
                        let labels = label_values(metric.name(), point.attributes(), texts)?;
                        self.add(family, labels, Change::Level(point.value()));
                    }
                }
                MetricData::Histogram(histogram) => {
                    for point in histogram.data_points() {
                        let labels = label_values(metric.name(), point.attributes(), texts)?;
                        let change = Change::Histogram {
                            count: point.count(),
                            sum: point.sum(),
                            buckets: point.bucket_counts().collect(),
                        };
                        self.add(family, labels, change);
                    }
                }
                MetricData::ExponentialHistogram(_) => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, family: FamilyId, labels: LabelValues, change: Change) {
        match self.places.entry((family, labels.clone())) {
            Entry::Occupied(place) => {
                self.list[*place.get()].change.merge(change);
            }
            Entry::Vacant(place) => {
                place.insert(self.list.len());
                self.list.push(Delta {
                    family,
                    labels,
                    change,
                });
            }
        }
    }
}

/// A point's label values, in the order of the sorted names.
fn label_values<'a>(
    metric: &str,
    attributes: impl Iterator<Item = &'a KeyValue>,
    texts: &Texts<'_>,
) -> Result<LabelValues, InstrumentsError> {
    attributes
        .map(|attribute| {
            if attribute.key.as_str() == OVERFLOW {
                return Err(InstrumentsError::Overflow(metric.to_owned()));
            }
            let value = attribute.value.as_str();
            // The SDK does not give the shared text back; the batch still has it.
            Ok(texts
                .get(&*value)
                .map_or_else(|| Text::from(&*value), |text| Text::clone(text)))
        })
        .collect()
}

/// A reader that the provider owns and this module keeps.
#[derive(Debug)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, collected: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(collected)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

#[cfg(test)]
mod tests;
