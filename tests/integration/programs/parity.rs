//! `/metrics` and OTLP say the same: some thousand series, compared name by name, label by label
//! and number by number, after births, after status flips and after deletions, by gRPC and by
//! http/protobuf. Both are decoded by a program that shares no code with the exporter.

use std::time::Duration;

use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::core::now;
use crate::support::exporter::{Exporter, configuration};
use crate::support::foreign::{Foreign, ReceivedSeries};
use crate::support::samples::Samples;
use crate::support::until;

/// Metrics of GitLab's facts, all of which are born at zero.
const FACTS: &[&str] = &["age_pipeline", "age_child_pipeline_", "age_job"];

/// Metrics whose values move by themselves between a scrape and a push: only their labels are
/// compared.
pub(super) fn moves_by_itself(name: &str) -> bool {
    // Each push counts itself, and time, memory and open files go their ways.
    name == "age_otlp_exports_total" || name.starts_with("process_")
}

/// Two exporters on one world and one clock, each with a receiver of its own.
struct Rig {
    simulator: Simulator,
    clock: Clock,
    sides: [Side; 2],
}

/// An exporter and who receives its pushes.
struct Side {
    way: &'static str,
    exporter: Exporter,
    receiver: Foreign,
}

impl Side {
    async fn start(
        way: &'static str,
        simulator: &Simulator,
        clock: &Clock,
        receiver: Foreign,
    ) -> Self {
        let target = match way {
            "grpc" => format!(
                "{{endpoint: '{}', protocol: grpc, compression: gzip, interval: 2s}}",
                receiver.grpc()
            ),
            _ => format!(
                "{{endpoint: '{}', protocol: http/protobuf, interval: 2s}}",
                receiver.http()
            ),
        };
        let yaml = configuration(
            simulator,
            &format!("server: {{listen_address: '127.0.0.1:0'}}\notel: {{metrics: {target}}}"),
        );
        let exporter = Exporter::start(clock, &yaml).await;
        Self {
            way,
            exporter,
            receiver,
        }
    }

    /// What a scrape shows.
    async fn scraped(&self) -> Samples {
        self.receiver.read_text(self.exporter.metrics().await).await
    }

    /// Waits until a scrape shows what `is_so` looks for, and until the receiver has the very
    /// same. Gives both ways of seeing it.
    async fn agrees(
        &self,
        what: &str,
        is_so: impl Fn(&Samples) -> bool,
    ) -> (Samples, Vec<ReceivedSeries>) {
        until(&format!("by {}: {what}", self.way), async || {
            let scraped = self.scraped().await.without_values_of(moves_by_itself);
            if !is_so(&scraped) {
                return Err("a scrape does not show it".to_owned());
            }
            let received = self.receiver.received().await;
            let mut pushed = Samples::default();
            for series in &received {
                series.add_to(&mut pushed);
            }
            let pushed = pushed.without_values_of(moves_by_itself);
            match scraped.differences(&pushed) {
                none if none.is_empty() => Ok((scraped, received)),
                some => Err(format!("scraped and pushed differ:\n{some}")),
            }
        })
        .await
    }
}

impl Rig {
    async fn start(world: World) -> Option<Self> {
        let (one, two) = (Foreign::start().await?, Foreign::start().await?);
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        let clock = Clock::manual(now(&simulator));
        let sides = [
            Side::start("grpc", &simulator, &clock, one).await,
            Side::start("http/protobuf", &simulator, &clock, two).await,
        ];
        Some(Self {
            simulator,
            clock,
            sides,
        })
    }

    /// Lets time pass: for GitLab first, so that nothing that the exporters see lies ahead.
    fn pass(&self, span: Duration) {
        self.simulator.advance(span);
        self.clock.set(now(&self.simulator));
    }

    /// See [`Side::agrees`]; gives what the first side saw.
    async fn agree(
        &self,
        what: &str,
        is_so: impl Fn(&Samples) -> bool,
    ) -> (Samples, Vec<ReceivedSeries>) {
        let [one, two] = &self.sides;
        let (one, _) = tokio::join!(one.agrees(what, &is_so), two.agrees(what, &is_so));
        one
    }
}

/// Names that need care in every format.
pub(super) fn awkward_pipeline() -> PipelineSpec {
    PipelineSpec::branch("feature/\u{fc}ml\u{e4}ut-\u{1f680}").job(JobSpec::new(
        "te\"st",
        "quotes \" back\\slashes \\n and\nline breaks, {braces}=\"1\"",
    ))
}

pub(super) fn world() -> World {
    let mut world = World::generate(WorldConfig {
        seed: 7,
        projects: 22,
        pipelines_per_project: 5,
        ..WorldConfig::default()
    });
    for project in projects(&world) {
        world
            .push(project, "feature/\u{fc}ml\u{e4}ut-\u{1f680}")
            .expect("a branch");
    }
    world
}

pub(super) fn projects(world: &World) -> Vec<u64> {
    world.projects().map(|project| project.id).collect()
}

/// How many pipelines were counted, by the pipelines' own metric.
pub(super) fn counted(samples: &Samples, source: &str) -> f64 {
    let name = "age_pipeline_run_count";
    samples.sum(name, &[("source", source)]).unwrap_or(-1.0)
}

/// How many branches show this status.
pub(super) fn with_status(samples: &Samples, status: &str) -> f64 {
    let name = "age_pipeline_status";
    samples.sum(name, &[("status", status)]).unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn scrape_and_push_say_the_same_after_births_flips_and_deletions() {
    let Some(rig) = Rig::start(world()).await else {
        return;
    };
    let ids = projects(&rig.simulator.world());
    let all = 22.0;

    // History: thousands of states at once, and nothing that counts.
    let (samples, received) = rig
        .agree("the first look", |samples| {
            samples.sum("age_initial_sync_progress_ratio", &[]) == Some(1.0)
                && samples.sum("age_tasks_running", &[]) == Some(0.0)
        })
        .await;
    assert!(received.len() > 4000, "{} series only", received.len());
    assert_eq!(counted(&samples, "push"), -1.0, "history has no series");

    // Births: shown as 0, then with their value.
    for id in &ids {
        let mut world = rig.simulator.world();
        let source = awkward_pipeline().source("web");
        let pipeline = world.create_pipeline(*id, &source).expect("a pipeline");
        world
            .finish_pipeline(pipeline, &Finish::success().after(20_000))
            .expect("it ends");
    }
    rig.pass(Duration::from_secs(60));
    rig.agree("births at zero", |samples| counted(samples, "web") == 0.0)
        .await;
    rig.pass(Duration::from_secs(180));
    let (_, received) = rig
        .agree("births at their value", |samples| {
            counted(samples, "web") == all
        })
        .await;
    assert_born_at_zero(&received);

    // Flips: one series goes, another comes.
    let mut running = Vec::new();
    for id in &ids {
        let mut world = rig.simulator.world();
        let spec = PipelineSpec::branch("main").stage("build", &["compile"]);
        let pipeline = world.create_pipeline(*id, &spec).expect("a pipeline");
        let job = world.job_named(pipeline, "compile").expect("a job").id;
        world.start_job(job, None).expect("it starts");
        running.push(pipeline);
    }
    rig.pass(Duration::from_secs(60));
    rig.agree("running", |samples| with_status(samples, "running") == all)
        .await;
    for pipeline in running {
        let mut world = rig.simulator.world();
        world
            .finish_pipeline(pipeline, &Finish::failed("script_failure"))
            .expect("it ends");
    }
    rig.pass(Duration::from_secs(60));
    rig.agree("failed", |samples| {
        with_status(samples, "running") == 0.0 && with_status(samples, "failed") >= all
    })
    .await;

    // Deletions: a branch of each project, and some projects.
    for id in &ids {
        let mut world = rig.simulator.world();
        world.advance(3_600_000);
        world.delete_branch(*id, "develop").expect("it was there");
    }
    for id in ids.iter().take(5) {
        rig.simulator.world().delete_project(*id).expect("it was");
    }
    // So many projects leave only with a complete list, and when they are missing again after the grace.
    crate::support::until("the projects left", async || {
        rig.pass(Duration::from_secs(60));
        for side in &rig.sides {
            let text = side.exporter.metrics().await;
            let mut ids = text
                .lines()
                .filter(|line| line.starts_with("age_pipeline_id{"));
            if let Some(left) = ids.find(|line| line.contains("ref=\"develop\"")) {
                return Err(left.to_owned());
            }
        }
        Ok(())
    })
    .await;
    let is_gone = |samples: &Samples| {
        samples
            .sum("age_pipeline_id", &[("ref", "develop")])
            .is_none()
    };
    rig.agree("deleted", is_gone).await;
    rig.pass(Duration::from_secs(7200));
    let (_, received) = rig
        .agree("retired", |samples| {
            is_gone(samples)
                && samples
                    .sum("age_pipeline_run_count", &[("ref", "develop")])
                    .is_none()
        })
        .await;
    for kind in ["gauge", "sum", "histogram"] {
        let is_told = |series: &ReceivedSeries| series.kind == kind && series.gone;
        assert!(
            received.iter().any(is_told),
            "no {kind} was told to be gone"
        );
    }
    assert_sound(&received);

    let openmetrics = crate::support::http::get_as(
        &format!("http://{}/metrics", rig.sides[0].exporter.address()),
        "application/openmetrics-text; version=1.0.0",
    )
    .await;
    assert!(
        openmetrics.content_type.contains("openmetrics"),
        "{openmetrics:?}"
    );
    let openmetrics = rig.sides[0].receiver.read_openmetrics(openmetrics.body);
    assert!(openmetrics.await.0.len() > 5000);
    for side in rig.sides {
        side.exporter.stop().await;
    }
}

/// Every counter and histogram of GitLab's facts was first received as 0, in each of its lives.
fn assert_born_at_zero(received: &[ReceivedSeries]) {
    let facts = received.iter().filter(|series| {
        series.kind != "gauge" && FACTS.iter().any(|prefix| series.name.starts_with(prefix))
    });
    let mut seen = 0;
    for series in facts {
        assert!(
            series.births.iter().all(|birth| *birth == 0.0),
            "{series:?}"
        );
        seen += 1;
    }
    assert!(seen > 150, "{seen} series only");
}

/// No point was received that OTLP does not allow, and a start time lasts as long as its series.
fn assert_sound(received: &[ReceivedSeries]) {
    for series in received {
        assert!(series.faults.is_empty(), "{series:?}");
        assert!(series.time > 0, "{series:?}");
        if series.kind != "gauge" {
            assert!(series.starts.len() <= series.births.len(), "{series:?}");
        }
    }
}
