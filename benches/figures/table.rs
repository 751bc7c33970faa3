//! The series table with 365,000 series and its two deliveries: bytes and nanoseconds per series
//! and record, `/metrics` by the real server, pushes by the real pusher.
//!
//! `AGE_BENCH_SCALE=0.1` takes a tenth of the series.

use std::hint::black_box;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::instruments::Instruments;
use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use amazing_gitlab_exporter::config::{Config, LiveConfig};
use amazing_gitlab_exporter::delivery::push::{MAX_MESSAGE_BYTES, PushSettings, Pusher};
use amazing_gitlab_exporter::delivery::text::{Format, TextStream};
use amazing_gitlab_exporter::series::{Block, Table, TableSettings, Update};
use amazing_gitlab_exporter::server::status::{ProjectQuery, Readiness, Status, StatusSource};
use amazing_gitlab_exporter::server::web::Web;
use amazing_gitlab_exporter::server::{self, Context, Listener, Routes};
use amazing_gitlab_exporter::telemetry::otlp::{
    CountExports, OtlpTarget, Outcome as Export, Protocol, Signal,
};
use amazing_gitlab_exporter::telemetry::process::OwnMetrics;
use amazing_gitlab_exporter::telemetry::resource::resource;
use amazing_gitlab_exporter::telemetry::secrets::Secrets;
use amazing_gitlab_exporter::types::ProjectId;
use tokio::runtime::Runtime;

use crate::http;
use crate::jobs::World;
use crate::report::{figure, longest, megabytes, memory, note};
use crate::role::{Outcome, Role};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
/// Births are over.
pub const LATER: UnixSeconds = UnixSeconds(1_800_001_000);
const TIMES: usize = 5;

/// Everything about the table.
pub fn measure() -> Outcome {
    let world = World::new();
    let buckets = BucketSettings::default();
    let table = Table::new(&TableSettings {
        birth_window: Duration::from_secs(120),
        cardinality_limit: 1_000_000,
        buckets: buckets.clone(),
    });
    let (before, _) = memory();
    let mut instruments = Instruments::new(&buckets)?;
    fill(&world, &mut instruments, &table, before)?;
    let own = OwnMetrics::new(Arc::clone(&table), &Clock::System, &[], &[])?;
    let runtime = Runtime::new()?;
    text(&table);
    scrape(&runtime, &table, &own)?;
    push(&runtime, &table, &own)?;
    figure(
        "resident memory of the whole",
        megabytes(memory().0),
        "MB",
        Some(160.0),
    );
    Ok(())
}

/// Records everything once and once again.
fn fill(world: &World, instruments: &mut Instruments, table: &Arc<Table>, before: u64) -> Outcome {
    let series = world.series() as f64;
    note(&format!("{series} series"));
    let first = record(world, instruments, table)?;
    let bytes = (memory().0 - before) as f64;
    let again = record(world, instruments, table)?;
    let nanoseconds = |time: Duration| time.as_nanos() as f64 / series;
    figure("first record of a series", nanoseconds(first), "ns", None);
    figure("record of a known series", nanoseconds(again), "ns", None);
    figure(
        "series with labels, instruments included",
        bytes / series,
        "B",
        None,
    );
    Ok(())
}

/// Records every project as a run of the exporter does; only that is timed, not the making of
/// measurements.
pub fn record(
    world: &World,
    instruments: &mut Instruments,
    table: &Arc<Table>,
) -> Outcome<Duration> {
    let mut time = Duration::ZERO;
    for (number, project) in world.projects().enumerate() {
        let start = Instant::now();
        let events = instruments.record(&project.events)?;
        let states = instruments.record(&project.states)?;
        let block = Block {
            project: ProjectId(number as u64),
            collector: Collector::Jobs,
        };
        let update = Update {
            rows: table.stage(&events, |_| block.project, NOW),
            blocks: vec![(block, states)],
            ..Update::default()
        };
        table.apply(update, NOW);
        time += start.elapsed();
    }
    Ok(time)
}

/// The text alone, thrown away chunk by chunk.
fn text(table: &Arc<Table>) {
    for (name, gzip) in [("text alone, plain", false), ("text alone, gzip", true)] {
        let (time, _) = longest(TIMES, || {
            let stream = TextStream::new(table.walk(LATER), Vec::new(), Format::Text, gzip);
            let sizes = stream.map(|chunk| chunk.map_or(0, |chunk| chunk.len()));
            black_box(sizes.sum::<usize>());
        });
        figure(name, time.as_secs_f64(), "s", None);
    }
}

/// `/metrics` by the real server, over HTTP.
fn scrape(runtime: &Runtime, table: &Arc<Table>, own: &Arc<OwnMetrics>) -> Outcome {
    let (address, handle) = serve(runtime, table, own)?;
    let openmetrics = ("Accept", "application/openmetrics-text;version=1.0.0");
    let gzip = ("Accept-Encoding", "gzip");
    let ways: [(&str, &[(&str, &str)]); 3] = [
        ("/metrics, plain", &[]),
        ("/metrics, gzip", &[gzip]),
        ("/metrics, OpenMetrics, gzip", &[openmetrics, gzip]),
    ];
    for (name, headers) in ways {
        let mut answer = Ok(0);
        let (time, added) = longest(TIMES, || {
            let size = http::get(address, "/metrics", headers, &mut io::sink());
            if answer.is_ok() {
                answer = size;
            }
        });
        let size = answer?;
        figure(name, time.as_secs_f64(), "s", Some(0.4));
        figure(
            &format!("{name}: memory added"),
            megabytes(added),
            "MB",
            Some(20.0),
        );
        note(&format!("{:.1} MB on the wire", megabytes(size)));
    }
    runtime.block_on(handle.stop(false));
    Ok(())
}

fn serve(
    runtime: &Runtime,
    table: &Arc<Table>,
    own: &Arc<OwnMetrics>,
) -> Outcome<(SocketAddr, actix_web::dev::ServerHandle)> {
    let yaml = "gitlab: {url: 'https://gitlab.example.com', token: t}\nprojects: [{name: g/p}]";
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let context = Context {
        table: Arc::clone(table),
        own: Arc::clone(own) as _,
        web: Web::open(None)?,
        intervals: None,
        config: LiveConfig::new(Config::from_yaml(yaml)?),
        reload: None,
        status: Arc::new(OnlyMetrics),
        secrets: Secrets::new(),
        clock: Clock::manual(LATER),
    };
    let _inside = runtime.enter();
    let pages = Listener::new(
        vec![listener.into()],
        Routes::pages(&context.config.now().server),
    );
    let (server, handle) = server::serve(vec![pages], context)?;
    runtime.spawn(server);
    Ok((address, handle))
}

/// Nobody asks for the status here.
struct OnlyMetrics;

impl StatusSource for OnlyMetrics {
    fn poll_now(&self, _: &str) -> bool {
        false
    }

    fn status(&self, _: &ProjectQuery) -> Status {
        unreachable!("only /metrics is asked for")
    }

    fn readiness(&self) -> Readiness {
        unreachable!("only /metrics is asked for")
    }
}

/// A push of everything by the real pusher, to a receiver in a process of its own.
fn push(runtime: &Runtime, table: &Arc<Table>, own: &Arc<OwnMetrics>) -> Outcome {
    let receiver = Role::start(&["receiver"])?;
    let http = format!("{}/v1/metrics", receiver.line);
    let ways = [
        (
            "OTLP push, gRPC, gzip",
            Protocol::Grpc,
            receiver.line.as_str(),
        ),
        (
            "OTLP push, http/protobuf, gzip",
            Protocol::HttpProtobuf,
            &http,
        ),
    ];
    for (name, protocol, endpoint) in ways {
        let settings = PushSettings {
            otlp: OtlpTarget {
                endpoint: endpoint.parse()?,
                protocol,
                headers: Vec::new(),
                timeout: Duration::from_secs(30),
                gzip: true,
                ca_cert_path: None,
            },
            interval: Duration::from_secs(3600),
            resource: resource("bench", &Default::default()),
            gitlab_resource: None,
            max_message_bytes: MAX_MESSAGE_BYTES,
            intervals: None,
        };
        let _inside = runtime.enter();
        let pusher = Pusher::start(
            &settings,
            Arc::clone(table),
            Arc::clone(own),
            Arc::new(Uncounted),
            Clock::manual(LATER),
        )?;
        let mut pushed = Vec::new();
        let (time, added) = longest(TIMES, || pushed.push(runtime.block_on(pusher.push_now())));
        if let Some(broken) = pushed.iter().find(|pushed| !pushed.complete) {
            return Err(format!("{name}: {broken:?}").into());
        }
        figure(name, time.as_secs_f64(), "s", Some(2.0));
        figure(
            &format!("{name}: memory added"),
            megabytes(added),
            "MB",
            Some(40.0),
        );
        let last = pushed.last().copied().unwrap_or_default();
        note(&format!(
            "{} data points in {} messages",
            last.points, last.messages
        ));
    }
    Ok(())
}

struct Uncounted;

impl CountExports for Uncounted {
    fn count_export(&self, _: Signal, _: Export) {}
}
