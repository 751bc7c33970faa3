//! The ledger test: a random world evolves, the exporter follows it, and at the end every counter
//! and every histogram count equals what happened.

mod expected;

use std::time::Duration;

use gitlab_simulator::time::{MINUTE, Millis};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::core::{Core, watch_everything};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger() {
    let seed = 1;
    let simulator = Simulator::start(world(seed), &Options::default()).expect("a simulator");
    let mut random = StdRng::seed_from_u64(seed);
    let mut exporter = Core::start(&simulator, &watch_everything());
    let mut first_look = simulator.world().now();
    exporter.round(&simulator).await;
    let mut compared = 0.0;
    for step in 0..240 {
        // Mostly in rhythm; now and then a pause of minutes, as when GitLab is down.
        let pause = if random.random_ratio(1, 20) {
            random.random_range(60..600)
        } else {
            30
        };
        simulator.advance(Duration::from_secs(pause));
        if random.random_ratio(1, 80) {
            // A restart: nothing is remembered, and what happened meanwhile is history.
            exporter = Core::start(&simulator, &watch_everything());
            first_look = simulator.world().now();
        }
        exporter.round(&simulator).await;
        if step % 40 == 39 {
            exporter.settle().await;
            compared += compare(&simulator, &exporter, first_look, seed);
        }
    }
    assert!(
        compared > 1000.0,
        "the world was too quiet to tell: {compared} events"
    );
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
