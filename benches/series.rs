//! The series table and its text: bytes and nanoseconds per series and record, and `/metrics` of
//! 365,000 series beside opentelemetry-prometheus's own encoder.
//!
//! `AGE_BENCH_SCALE=0.1` takes a tenth of the series.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench reads its scale and builds what the program's instruments are held against"
)]

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::clock::UnixSeconds;
use amazing_gitlab_exporter::gitlab::model::ProjectId;
use amazing_gitlab_exporter::series::{Block, Table, TableSettings, Update};
use amazing_gitlab_exporter::telemetry::buckets::BucketSettings;
use amazing_gitlab_exporter::telemetry::catalogue::labels::{
    JobLabels, JobRunLabels, JobStatusLabels,
};
use amazing_gitlab_exporter::telemetry::catalogue::{self, Collector, Kind, Measurement, jobs};
use amazing_gitlab_exporter::telemetry::instruments::Instruments;
use amazing_gitlab_exporter::telemetry::text::{Format, TextStream};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, SdkMeterProvider, Stream};
use support::{figure, memory, shortest};

const HISTOGRAMS: f64 = 115_000.0;
const COUNTERS: f64 = 50_000.0;
const GAUGES: f64 = 200_000.0;
const PROJECTS: usize = 1000;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const LATER: UnixSeconds = UnixSeconds(1_800_001_000);

fn main() {
    let scale = scale();
    println!("series table, at {scale} of 365,000 series");
    let world = World::new(scale);
    let table = fill(&world);
    text(&table);
    oracle(&world);
}

fn scale() -> f64 {
    let text = std::env::var("AGE_BENCH_SCALE").unwrap_or_default();
    text.parse().unwrap_or(1.0)
}

/// Jobs of many projects: events and states, by project.
struct World {
    projects: Vec<Project>,
}

struct Project {
    events: Vec<Measurement>,
    states: Vec<Measurement>,
}

impl World {
    fn new(scale: f64) -> Self {
        let per_project = |series: f64| (series * scale / PROJECTS as f64).ceil() as usize;
        let (histograms, counters) = (per_project(HISTOGRAMS), per_project(COUNTERS));
        // Five gauges per job.
        let subjects = per_project(GAUGES / 5.0);
        let project = |number: usize| {
            let path = format!("group-{}/subgroup/project-{number}", number % 20);
            let job = |n: usize| JobLabels {
                job_name: format!("job-{n}").into(),
                project: path.as_str().into(),
                git_ref: "main".into(),
                stage: "test".into(),
            };
            let run = |n: usize| JobRunLabels {
                job_name: format!("job-{}", n / 2).into(),
                project: path.as_str().into(),
                git_ref: "main".into(),
                runner_type: "instance".into(),
                stage: "test".into(),
                status: if n.is_multiple_of(2) {
                    "success"
                } else {
                    "failed"
                }
                .into(),
            };
            let status = |n: usize| JobStatusLabels {
                failure_reason: "".into(),
                job_name: format!("job-{n}").into(),
                project: path.as_str().into(),
                git_ref: "main".into(),
                stage: "test".into(),
                status: "success".into(),
            };
            let runs = (0..histograms).map(|n| jobs::DURATION.observe(run(n), n as f64 + 0.25));
            let counts = (0..counters).map(|n| jobs::RUN_COUNT.add(job(n), 1.0));
            let states = (0..subjects).flat_map(|n| {
                [
                    jobs::STATUS.set(status(n), 1.0),
                    jobs::ID.set(job(n), (number * 1000 + n) as f64),
                    jobs::CREATED_TIMESTAMP.set(job(n), 1.8e9),
                    jobs::LAST_RUN_DURATION.set(job(n), n as f64 * 1.5),
                    jobs::LAST_RUN_QUEUED_DURATION.set(job(n), 0.75),
                ]
            });
            Project {
                events: runs.chain(counts).collect(),
                states: states.collect(),
            }
        };
        Self {
            projects: (0..PROJECTS).map(project).collect(),
        }
    }

    fn measurements(&self) -> impl Iterator<Item = &Measurement> {
        self.projects
            .iter()
            .flat_map(|project| project.events.iter().chain(&project.states))
    }
}

/// Records everything once and once again.
fn fill(world: &World) -> Arc<Table> {
    let buckets = BucketSettings::default();
    let (before, _) = memory();
    let mut instruments = Instruments::new(&buckets).expect("the default buckets are right");
    let table = Table::new(&TableSettings {
        birth_window: Duration::from_secs(120),
        cardinality_limit: 1_000_000,
        buckets,
    });
    let series = world.measurements().count() as f64;
    let first = record(world, &mut instruments, &table);
    let (after, _) = memory();
    figure(
        "first record of a series",
        first.as_nanos() as f64 / series,
        "ns",
        None,
    );
    figure(
        "series with labels, instruments included",
        (after - before) as f64 / series,
        "B",
        None,
    );
    let again = record(world, &mut instruments, &table);
    figure(
        "record of a known series",
        again.as_nanos() as f64 / series,
        "ns",
        None,
    );
    table
}

fn record(world: &World, instruments: &mut Instruments, table: &Arc<Table>) -> Duration {
    let start = Instant::now();
    for (number, project) in world.projects.iter().enumerate() {
        let events = instruments
            .record(&project.events)
            .expect("the reader works");
        let states = instruments
            .record(&project.states)
            .expect("the reader works");
        let block = Block {
            project: ProjectId(number as u64),
            collector: Collector::Jobs,
        };
        let update = Update {
            rows: table.stage(&events, NOW),
            blocks: vec![(block, states)],
            ..Update::default()
        };
        table.apply(update, NOW);
    }
    start.elapsed()
}

/// The answer of `/metrics`, thrown away chunk by chunk.
fn text(table: &Arc<Table>) {
    let mut bytes = 0;
    let mut answer = |format, gzip| {
        bytes = 0;
        let stream = TextStream::new(table.walk(LATER), Vec::new(), format, gzip);
        for chunk in stream {
            bytes += black_box(chunk.expect("memory takes everything")).len();
        }
    };
    let ways = [
        ("/metrics, plain", Format::Text, false),
        ("/metrics, gzip", Format::Text, true),
        ("/metrics, OpenMetrics, gzip", Format::OpenMetrics, true),
    ];
    for (name, format, gzip) in ways {
        let (time, added) = shortest(3, || answer(format, gzip));
        figure(name, time.as_secs_f64(), "s", Some(0.4));
        figure(
            &format!("{name}: memory added"),
            added as f64 / 1e6,
            "MB",
            Some(20.0),
        );
    }
}

/// The same series in a cumulative provider, encoded by opentelemetry-prometheus.
fn oracle(world: &World) {
    let registry = prometheus::Registry::new();
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_units()
        .without_counter_suffixes()
        .without_target_info()
        .scope_info_enabled(false)
        .build()
        .expect("the registry is new");
    let provider = SdkMeterProvider::builder()
        .with_reader(exporter)
        .with_view(view)
        .build();
    aggregate(&provider, world);
    let (time, added) = shortest(1, || {
        let encoder = prometheus::TextEncoder::new();
        let text = encoder
            .encode_to_string(&registry.gather())
            .expect("families are right");
        black_box(text.len());
    });
    let name = "opentelemetry-prometheus's encoder";
    figure(name, time.as_secs_f64(), "s", None);
    figure(
        &format!("{name}: memory added"),
        added as f64 / 1e6,
        "MB",
        None,
    );
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
    for Measurement {
        desc,
        labels,
        value,
    } in world.measurements()
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
