//! The same series in a cumulative provider, encoded by opentelemetry-prometheus: what the series
//! table is held against.

use std::hint::black_box;

use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::{self, Kind, Measurement, jobs};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, SdkMeterProvider, Stream};

use crate::jobs::World;
use crate::report::{figure, longest, megabytes, memory};
use crate::role::Outcome;

/// One scrape as the standard road would answer it.
pub fn measure() -> Outcome {
    let registry = prometheus::Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_units()
        .without_counter_suffixes()
        .without_target_info()
        .scope_info_enabled(false)
        .build()?;
    let provider = SdkMeterProvider::builder()
        .with_reader(exporter)
        .with_view(view)
        .build();
    aggregate(&provider, &World::new());
    let (time, added) = longest(3, || {
        let encoder = prometheus::TextEncoder::new();
        let text = encoder.encode_to_string(&registry.gather());
        black_box(text.map_or(0, |text| text.len()));
    });
    let name = "/metrics by opentelemetry-prometheus, plain";
    figure(name, time.as_secs_f64(), "s", None);
    figure(
        &format!("{name}: memory added"),
        megabytes(added),
        "MB",
        None,
    );
    figure(
        "resident memory of the whole, that way",
        megabytes(memory().0),
        "MB",
        None,
    );
    Ok(())
}

fn view(instrument: &Instrument) -> Option<Stream> {
    let desc = catalogue::FamilyId::by_name(instrument.name())?.desc();
    let stream = Stream::builder().with_cardinality_limit(1_000_000);
    let stream = match desc.kind {
        Kind::Counter | Kind::Gauge => stream,
        Kind::Histogram => stream.with_aggregation(Aggregation::ExplicitBucketHistogram {
            boundaries: BucketSettings::default().bounds(desc).to_vec(),
            record_min_max: false,
        }),
    };
    stream.build().ok()
}

fn aggregate(provider: &SdkMeterProvider, world: &World) {
    let meter = provider.meter("bench");
    let duration = meter.f64_histogram(jobs::DURATION.desc.name).build();
    let runs = meter.f64_counter(jobs::RUN_COUNT.desc.name).build();
    let gauges = [
        &jobs::STATUS.desc,
        &jobs::ID.desc,
        &jobs::CREATED_TIMESTAMP.desc,
        &jobs::LAST_RUN_DURATION.desc,
        &jobs::LAST_RUN_QUEUED_DURATION.desc,
    ];
    let gauges = gauges.map(|desc| (desc, meter.f64_gauge(desc.name).build()));
    for project in world.projects() {
        for Measurement {
            desc,
            labels,
            value,
        } in project.events.iter().chain(&project.states)
        {
            let attributes = desc.labels.iter().zip(labels);
            let attributes: Vec<_> = attributes
                .map(|(key, value)| KeyValue::new(*key, value.clone()))
                .collect();
            match desc.kind {
                Kind::Histogram => duration.record(*value, &attributes),
                Kind::Counter => runs.add(*value, &attributes),
                Kind::Gauge => {
                    let gauge = gauges.iter().find(|(known, _)| known == desc);
                    if let Some((_, gauge)) = gauge {
                        gauge.record(*value, &attributes);
                    }
                }
            }
        }
    }
}
