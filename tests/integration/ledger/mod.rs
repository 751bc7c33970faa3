//! The ledger test: a random world evolves, the exporter follows it, and at the end every counter
//! and every histogram count equals what happened.

mod expected;

use std::time::Duration;

use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::{MINUTE, Millis};
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::core::{Core, client_settings, watch_everything};
use crate::support::series::Series;
use expected::Counts;

/// Metrics that count events. Their sums and buckets are the business of other tests.
const COUNTED: &[&str] = &[
    "age_pipeline_run_count",
    "age_pipeline_duration_seconds",
    "age_pipeline_queued_duration_seconds",
    "age_child_pipeline_run_count",
    "age_child_pipeline_duration_seconds",
    "age_child_pipeline_queued_duration_seconds",
    "age_job_run_count",
    "age_job_duration_seconds",
    "age_job_queued_duration_seconds",
    "age_job_failures_total",
    "age_job_retries_total",
    "age_job_flaky_total",
];

fn world(seed: u64) -> World {
    World::generate(WorldConfig {
        seed,
        projects: 8,
        pipelines_per_project: 6,
        active_ratio: 0.8,
        pushes_per_hour: 6.0,
        // Settling takes a quarter of an hour in which nobody looks.
        min_refinish_gap: 30 * MINUTE,
        ..WorldConfig::default()
    })
}

fn counted(series: &Series) -> Counts {
    series
        .0
        .iter()
        .filter(|((metric, _), _)| COUNTED.contains(&metric.as_str()))
        .map(|(key, value)| (key.clone(), value.count()))
        .filter(|(_, count)| *count != 0.0)
        .collect()
}

/// Fails with a table of what differs.
fn assert_equal(got: &Counts, want: &Counts, seed: u64) {
    let keys: std::collections::BTreeSet<_> = got.keys().chain(want.keys()).collect();
    let wrong: Vec<String> = keys
        .into_iter()
        .filter_map(|key| {
            let (got, want) = (got.get(key).unwrap_or(&0.0), want.get(key).unwrap_or(&0.0));
            (got != want).then(|| format!("{} {:?}: {got} instead of {want}", key.0, key.1))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {} series differ from the ledger\n{}",
        wrong.len(),
        want.len(),
        wrong
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
}

/// How an exporter follows a world.
struct Follow {
    seed: u64,
    steps: usize,
    /// Whether GraphQL is read; else REST.
    graphql: bool,
    /// Items per GraphQL page: few make listings of several pages.
    page_size: u32,
    /// Whether pages behind the first fail now and then.
    late_pages_fail: bool,
    /// Whether GraphQL is refused now and then, so that REST stands in for a while.
    graphql_goes: bool,
    /// Whether the exporter is restarted now and then, without memory.
    restarts: bool,
}

impl Follow {
    fn graphql(seed: u64) -> Self {
        Self {
            seed,
            steps: 240,
            graphql: true,
            page_size: 100,
            late_pages_fail: false,
            graphql_goes: false,
            restarts: true,
        }
    }

    fn start(&self, simulator: &Simulator) -> Core {
        let mut client = client_settings(simulator);
        client.use_graphql = self.graphql;
        client.graphql_page_size = self.page_size;
        Core::with_client(simulator, &watch_everything(), &client)
    }

    /// Follows the world and compares now and then; gives the number of events compared.
    async fn to_the_end(&self) -> f64 {
        let world = world(self.seed);
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut exporter = self.start(&simulator);
        let mut first_look = simulator.world().now();
        exporter.round(&simulator).await;
        let mut compared = 0.0;
        for step in 0..self.steps {
            // Mostly in rhythm; now and then a pause of minutes, as when GitLab is down.
            let pause = if random.random_ratio(1, 20) {
                random.random_range(60..600)
            } else {
                30
            };
            simulator.advance(Duration::from_secs(pause));
            if self.restarts && random.random_ratio(1, 80) {
                // Nothing is remembered, and what happened meanwhile is history.
                exporter = self.start(&simulator);
                first_look = simulator.world().now();
            }
            if self.late_pages_fail && random.random_ratio(1, 3) {
                let broken = Rule::new(Fault::Status { status: 500 });
                simulator
                    .faults()
                    .add(broken.on("ProjectChanges").page(2).times(4));
            }
            if self.graphql_goes && random.random_ratio(1, 15) {
                let refused = Rule::new(Fault::Status { status: 403 });
                simulator.faults().add(refused.on("/api/graphql").times(1));
            }
            exporter.round(&simulator).await;
            if step % 40 == 39 {
                simulator.faults().clear();
                exporter.settle().await;
                compared += compare(&simulator, &exporter, first_look, self.seed);
            }
        }
        compared
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger() {
    for seed in 1..=3 {
        let events = Follow::graphql(seed).to_the_end().await;
        assert!(
            events > 1000.0,
            "the world was too quiet to tell: {events} events"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_though_late_pages_fail() {
    let follow = Follow {
        page_size: 2,
        late_pages_fail: true,
        restarts: false,
        ..Follow::graphql(4)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// Without restarts: REST tells what started a downstream pipeline only on the upstream side, which
/// an exporter that has just started does not read again when it is settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_by_rest() {
    let follow = Follow {
        graphql: false,
        restarts: false,
        steps: 160,
        ..Follow::graphql(5)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// GraphQL cuts times to seconds, REST does not: the same end must not look like another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_while_graphql_comes_and_goes() {
    let follow = Follow {
        graphql_goes: true,
        restarts: false,
        steps: 160,
        ..Follow::graphql(6)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// A blocked pipeline waits for a person, perhaps for days: it is not read again until it moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_pipeline_is_left_alone_until_it_moves() {
    let mut world = World::new(WorldConfig::default());
    let project = world.add_project("group/project").expect("a project");
    let gate = JobSpec::new("deploy", "approve").manual();
    let spec = PipelineSpec::branch("main")
        .stage("test", &["unit"])
        .job(gate);
    let pipeline = world.create_pipeline(project, &spec).expect("a pipeline");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it runs up to the gate");
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let mut exporter = Follow::graphql(0).start(&simulator);
    for _ in 0..3 {
        exporter.round(&simulator).await;
        simulator.advance(Duration::from_secs(30));
    }
    simulator.requests().reset();
    for _ in 0..20 {
        simulator.advance(Duration::from_secs(30));
        exporter.round(&simulator).await;
    }
    assert!(simulator.requests().count("ProjectChanges") >= 20);
    assert_eq!(simulator.requests().count("PipelineJobs"), 0);
}

/// Holds the exporter's counts against the ledger; gives the number of events.
fn compare(simulator: &Simulator, exporter: &Core, first_look: Millis, seed: u64) -> f64 {
    let want = expected::counts(simulator.world().ledger().entries(), first_look);
    let got = counted(&exporter.series());
    assert_equal(&got, &want, seed);
    let events = want.values().sum();
    println!(
        "seed {seed}: {events} events in {} series equal the ledger",
        want.len()
    );
    events
}
