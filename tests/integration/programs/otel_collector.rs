//! A real OpenTelemetry Collector, configured as `otel/collector/config.yaml` has it, receives what
//! is pushed, by gRPC and by http/protobuf, and shows it in Prometheus' text format: name by name, label by label and number by number what the
//! exporter's own `/metrics` shows.

use std::process::Command;
use std::time::Duration;

use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::world::{Finish, PipelineSpec};
use gitlab_simulator::{Options, Simulator};

use super::parity::{awkward_pipeline, counted, moves_by_itself, projects, with_status, world};
use super::stack;
use crate::support::core::now;
use crate::support::exporter::{Exporter, configuration, write};
use crate::support::foreign::Foreign;
use crate::support::http;
use crate::support::program::{Program, free_address};
use crate::support::samples::Samples;
use crate::support::tools::tool;
use crate::support::until;

/// A running Collector.
struct Collector {
    _program: Program,
    grpc: String,
    http: String,
    metrics: String,
}

impl Collector {
    /// Starts one; none where it cannot be had.
    async fn start() -> Option<Self> {
        let mut command = Command::new(tool("bin/otel-collector")?);
        command.args(["--config", "collector.yml"]);
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free_address());
        let yaml = stack::collector_config(&address);
        write(&folder, "collector.yml", &yaml);
        let mut program = Program::start_in(folder, command);
        let (grpc, http) = program.tells("where it listens", endpoints).await;
        Some(Self {
            _program: program,
            grpc,
            http,
            metrics: format!("http://{address}/metrics"),
        })
    }

    /// Everything it shows of what it received.
    async fn shown(&self, reader: &Foreign) -> Samples {
        let text = http::get(&self.metrics).await.body;
        let mut shown = Samples::default();
        for ((name, mut labels), value) in reader.read_text(text).await.0 {
            // The resource, which a scrape gets from Prometheus' own configuration.
            if name != "target_info" {
                labels.remove("job");
                labels.remove("instance");
                shown.add(&name, labels, value);
            }
        }
        shown
    }
}

/// Where it receives, by gRPC and by HTTP, once it is ready.
fn endpoints(output: &str) -> Option<(String, String)> {
    output.contains("Everything is ready").then_some(())?;
    let of = |server: &str| {
        let line = output.lines().find(|line| line.contains(server))?;
        let (_, rest) = line.split_once(r#""endpoint": ""#)?;
        let (address, _) = rest.split_once('"')?;
        Some(format!("http://{address}"))
    };
    Some((of("Starting GRPC server")?, of("Starting HTTP server")?))
}

/// An exporter and the Collector that it pushes to.
struct Side {
    protocol: &'static str,
    exporter: Exporter,
    collector: Collector,
}

impl Side {
    async fn start(
        protocol: &'static str,
        simulator: &Simulator,
        clock: &Clock,
        collector: Collector,
    ) -> Self {
        let endpoint = match protocol {
            "grpc" => &collector.grpc,
            _ => &collector.http,
        };
        let yaml = configuration(
            simulator,
            &format!(
                "server: {{listen_address: '127.0.0.1:0'}}
otel: {{metrics: {{endpoint: '{endpoint}', protocol: {protocol}, interval: 1s}}}}"
            ),
        );
        Self {
            protocol,
            exporter: Exporter::start(clock, &yaml).await,
            collector,
        }
    }

    /// Waits until a scrape shows what `is_so` looks for, and the Collector the very same.
    async fn agrees(&self, reader: &Foreign, what: &str, is_so: impl Fn(&Samples) -> bool) {
        until(&format!("by {}: {what}", self.protocol), async || {
            let scraped = reader.read_text(self.exporter.metrics().await).await;
            if !is_so(&scraped) {
                return Err("a scrape does not show it".to_owned());
            }
            let scraped = scraped.without_values_of(moves_by_itself);
            let shown = self.collector.shown(reader).await;
            let shown = shown.without_values_of(moves_by_itself);
            match scraped.differences(&shown) {
                none if none.is_empty() => Ok(()),
                some => Err(format!(
                    "scraped and shown by the Collector differ:\n{some}"
                )),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_collector_shows_what_a_scrape_shows() {
    let (Some(one), Some(two)) = (Collector::start().await, Collector::start().await) else {
        return;
    };
    let Some(reader) = Foreign::start().await else {
        return;
    };
    let simulator = Simulator::start(world(), &Options::default()).expect("a simulator");
    let clock = Clock::manual(now(&simulator));
    let sides = [
        Side::start("grpc", &simulator, &clock, one).await,
        Side::start("http/protobuf", &simulator, &clock, two).await,
    ];
    let agree = async |what: &str, is_so: fn(&Samples) -> bool| {
        for side in &sides {
            side.agrees(&reader, what, is_so).await;
        }
    };
    // For GitLab first, so that nothing that the exporters see lies ahead.
    let pass = |seconds| {
        simulator.advance(Duration::from_secs(seconds));
        clock.set(now(&simulator));
    };
    agree("the first look", |samples| {
        samples.sum("age_initial_sync_progress_ratio", &[]) == Some(1.0)
            && samples.sum("age_tasks_running", &[]) == Some(0.0)
            && samples.0.len() > 2500
    })
    .await;

    let ids = projects(&simulator.world());
    for id in &ids {
        let mut world = simulator.world();
        let spec = awkward_pipeline().source("web");
        let pipeline = world.create_pipeline(*id, &spec).expect("a pipeline");
        let success = Finish::success().after(20_000);
        world.finish_pipeline(pipeline, &success).expect("it ends");
        let spec = PipelineSpec::branch("main").stage("build", &["compile"]);
        let pipeline = world.create_pipeline(*id, &spec).expect("a pipeline");
        let job = world.job_named(pipeline, "compile").expect("a job").id;
        world.start_job(job, None).expect("it starts");
    }
    pass(60);
    agree("births at zero, and a flip", |samples| {
        counted(samples, "web") == 0.0 && with_status(samples, "running") == 22.0
    })
    .await;
    pass(180);
    agree("births at their value", |samples| {
        counted(samples, "web") == 22.0
    })
    .await;

    for id in &ids {
        let mut world = simulator.world();
        world.advance(3_600_000);
        world.delete_branch(*id, "develop").expect("it was there");
    }
    pass(60);
    agree("states of deleted branches are gone", |samples| {
        samples
            .sum("age_pipeline_id", &[("ref", "develop")])
            .is_none()
    })
    .await;
    pass(7200);
    agree("their counters are gone", |samples| {
        samples
            .sum("age_pipeline_run_count", &[("ref", "develop")])
            .is_none()
    })
    .await;
    for side in sides {
        side.exporter.stop().await;
    }
}
