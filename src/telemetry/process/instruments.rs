//! Instruments of the exporter's own metrics, with labels as typed as the catalogue's, and their
//! one reader.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider as _};
use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, Pipeline, SdkMeterProvider, Stream, Temporality,
};

use crate::catalogue::{self, Buckets, Collector, Desc, LabelValues, Labels};
use crate::telemetry::resource;

/// Series per metric. Every label here has few values; this holds if one should not.
pub(super) const CARDINALITY_LIMIT: usize = 500;

/// The provider of the exporter's own metrics and its one reader, which is
/// opentelemetry-prometheus's exporter: two readers would show each other's ghosts.
pub(super) struct Meters {
    reader: Arc<PrometheusExporter>,
    registry: prometheus::Registry,
    meter: Meter,
    // The reader only holds a weak pipeline, the provider keeps it alive.
    _provider: SdkMeterProvider,
}

#[expect(
    clippy::disallowed_methods,
    reason = "here telemetry builds the exporter's own instruments"
)]
impl Meters {
    /// # Errors
    /// When the SDK refuses the reader, or the bounds of a histogram of the catalogue.
    pub(super) fn new() -> Result<Self, OTelSdkError> {
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .without_target_info()
            .scope_info_enabled(false)
            .build()?;
        let reader = Arc::new(exporter);
        for desc in own() {
            // Tried here, because a view that fails later is silently left out.
            stream(desc).map_err(|reason| {
                OTelSdkError::InternalFailure(format!("{}: {reason}", desc.name))
            })?;
        }
        let streams: HashMap<_, _> = own().map(|desc| (desc.name, desc)).collect();
        let provider = SdkMeterProvider::builder()
            // Deliveries say where metrics come from; a resource here would only be copied.
            .with_resource(Resource::builder_empty().build())
            .with_reader(SharedReader(reader.clone()))
            .with_view(move |instrument: &Instrument| {
                streams
                    .get(instrument.name())
                    .and_then(|desc| stream(desc).ok())
            })
            .build();
        let meter = provider.meter_with_scope(resource::scope());
        Ok(Self {
            reader,
            registry,
            meter,
            _provider: provider,
        })
    }

    pub(super) fn counter<L: Labels>(&self, entry: &'static catalogue::Counter<L>) -> Counter<L> {
        let desc = &entry.desc;
        let counter = self.meter.f64_counter(desc.name);
        let instrument = counter
            .with_description(desc.help)
            .with_unit(desc.unit)
            .build();
        Counter {
            desc,
            labels: PhantomData,
            instrument,
        }
    }

    pub(super) fn histogram<L: Labels>(
        &self,
        entry: &'static catalogue::Histogram<L>,
    ) -> Histogram<L> {
        let desc = &entry.desc;
        let histogram = self.meter.f64_histogram(desc.name);
        let instrument = histogram
            .with_description(desc.help)
            .with_unit(desc.unit)
            .build();
        Histogram {
            desc,
            labels: PhantomData,
            instrument,
        }
    }

    pub(super) fn gauge<L: Labels>(&self, entry: &'static catalogue::Gauge<L>) -> Gauge<L> {
        let desc = &entry.desc;
        let values = Arc::<Values>::default();
        let observed = values.clone();
        self.meter
            .f64_observable_gauge(desc.name)
            .with_description(desc.help)
            .with_unit(desc.unit)
            .with_callback(move |observer| observed.show(desc, observer))
            .build();
        Gauge {
            labels: PhantomData,
            values,
        }
    }

    /// A counter whose totals are computed elsewhere.
    pub(super) fn total<L: Labels>(&self, entry: &'static catalogue::Counter<L>) -> Total<L> {
        let desc = &entry.desc;
        let values = Arc::<Values>::default();
        let observed = values.clone();
        self.meter
            .f64_observable_counter(desc.name)
            .with_description(desc.help)
            .with_unit(desc.unit)
            .with_callback(move |observer| observed.show(desc, observer))
            .build();
        Total {
            labels: PhantomData,
            values,
        }
    }

    /// For a scrape.
    pub(super) fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    /// For a push.
    pub(super) fn collect(&self) -> Vec<Metric> {
        let mut collected = ResourceMetrics::default();
        if let Err(error) = self.reader.collect(&mut collected) {
            tracing::error!(%error, "cannot collect the exporter's own metrics");
            return Vec::new();
        }
        ExportMetricsServiceRequest::from(&collected)
            .resource_metrics
            .into_iter()
            .flat_map(|resource| resource.scope_metrics)
            .flat_map(|scope| scope.metrics)
            .collect()
    }
}

/// The exporter's own entries of the catalogue.
fn own() -> impl Iterator<Item = &'static Desc> {
    catalogue::all().filter(|desc| desc.collector == Collector::Exporter)
}

fn stream(desc: &Desc) -> Result<Stream, Box<dyn std::error::Error>> {
    let stream = Stream::builder().with_cardinality_limit(CARDINALITY_LIMIT);
    let stream = match desc.buckets {
        Buckets::Fixed(bounds) => stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries: bounds.to_vec(),
            record_min_max: false,
        }),
        Buckets::None | Buckets::Configured => stream,
    };
    stream.build()
}

fn attributes(desc: &Desc, labels: &LabelValues) -> Vec<KeyValue> {
    let keys = desc.labels.iter().copied();
    keys.zip(labels)
        .map(|(key, value)| KeyValue::new(key, value.clone()))
        .collect()
}

/// A counter of this process.
pub(super) struct Counter<L> {
    desc: &'static Desc,
    labels: PhantomData<fn(L)>,
    instrument: opentelemetry::metrics::Counter<f64>,
}

impl<L: Labels> Counter<L> {
    /// Counts `value` more; 0 shows the series at 0.
    pub(super) fn add(&self, labels: L, value: f64) {
        let labels = attributes(self.desc, &labels.into_values());
        self.instrument.add(value, &labels);
    }
}

/// A histogram of this process.
pub(super) struct Histogram<L> {
    desc: &'static Desc,
    labels: PhantomData<fn(L)>,
    instrument: opentelemetry::metrics::Histogram<f64>,
}

impl<L: Labels> Histogram<L> {
    pub(super) fn observe(&self, labels: L, value: f64) {
        self.record(&labels.into_values(), value);
    }

    /// The same with labels as their values.
    pub(super) fn record(&self, labels: &LabelValues, value: f64) {
        self.instrument
            .record(value, &attributes(self.desc, labels));
    }

    pub(super) const fn name(&self) -> &'static str {
        self.desc.name
    }

    /// The upper bounds of its buckets.
    pub(super) const fn bounds(&self) -> &'static [f64] {
        match self.desc.buckets {
            Buckets::Fixed(bounds) => bounds,
            Buckets::None | Buckets::Configured => &[],
        }
    }
}

/// A gauge of this process. What is not set, or no longer, is not shown: an instrument that records
/// would show it permanently.
pub(super) struct Gauge<L> {
    labels: PhantomData<fn(L)>,
    values: Arc<Values>,
}

impl<L: Labels> Gauge<L> {
    pub(super) fn set(&self, labels: L, value: f64) {
        self.values.lock().insert(labels.into_values(), value);
    }

    /// Sets these series and takes all others away.
    pub(super) fn replace(&self, series: impl IntoIterator<Item = (L, f64)>) {
        self.values.replace(series);
    }
}

/// A counter of totals that are read elsewhere.
pub(super) struct Total<L> {
    labels: PhantomData<fn(L)>,
    values: Arc<Values>,
}

impl<L: Labels> Total<L> {
    pub(super) fn replace(&self, series: impl IntoIterator<Item = (L, f64)>) {
        self.values.replace(series);
    }
}

/// What a callback shows.
#[derive(Default)]
struct Values(Mutex<BTreeMap<LabelValues, f64>>);

impl Values {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<LabelValues, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace<L: Labels>(&self, series: impl IntoIterator<Item = (L, f64)>) {
        let series = series.into_iter();
        *self.lock() = series
            .map(|(labels, value)| (labels.into_values(), value))
            .collect();
    }

    fn show(&self, desc: &Desc, observer: &dyn AsyncInstrument<f64>) {
        for (labels, value) in self.lock().iter() {
            observer.observe(*value, &attributes(desc, labels));
        }
    }
}

/// A reader is moved into its provider; this one is kept.
#[derive(Debug)]
struct SharedReader(Arc<PrometheusExporter>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
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
