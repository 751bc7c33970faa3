//! A world evolves while polls are an hour apart and GitLab's processes are replaced: every count equals
//! what happened.

use std::time::Duration;

use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::world::{PipelineId, Status};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use super::{RELEASE, subscribing};
use crate::ledger::{COUNTED, counts, difference, events};
use crate::support::core::now;
use crate::support::exporter::Exporter;
use crate::support::samples::Samples;
use crate::support::{eventually, within};

const PROJECTS: usize = 6;
const STEPS: usize = 100;
const STEP: Duration = Duration::from_secs(20);
/// Between two steps, by the clock on the wall: events come while time passes.
const PAUSE: Duration = Duration::from_millis(100);

/// Pipelines that neither ended nor wait for somebody.
fn active(simulator: &Simulator) -> Vec<PipelineId> {
    let world = simulator.world();
    let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
    let pipelines = projects.iter().flat_map(|id| world.pipelines_of(*id));
    let blocked = [Status::Manual, Status::Scheduled];
    let active =
        pipelines.filter(|one| !one.status.is_complete() && !blocked.contains(&one.status));
    active.map(|one| one.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_with_subscriptions_and_hardly_a_poll() {
    let mut world = World::generate(WorldConfig {
        seed: 61,
        projects: PROJECTS,
        pipelines_per_project: 4,
        active_ratio: 0.8,
        pushes_per_hour: 20.0,
        ..WorldConfig::default()
    });
    world.version = RELEASE.to_owned();
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let first_look = simulator.world().now();
    let clock = Clock::manual(now(&simulator));
    let exporter = Exporter::start(&clock, &subscribing(&simulator, 3600)).await;
    let cable = simulator.cable();
    eventually("all stand", || cable.counts().standing == PROJECTS).await;
    simulator.requests().reset();

    let pass = || {
        simulator.advance(STEP);
        clock.set(now(&simulator));
    };
    for step in 0..STEPS {
        pass();
        if step % 40 == 39 {
            cable.restart();
        }
        tokio::time::sleep(PAUSE).await;
    }
    eventually("all stand again", || cable.counts().standing == PROJECTS).await;
    let mut left = active(&simulator);
    while !left.is_empty() {
        for pipeline in left {
            // A parent takes its children with it.
            let _ = simulator.world().cancel_pipeline(pipeline);
        }
        pass();
        left = active(&simulator);
    }

    // What was counted a moment ago is shown as 0 for a while.
    let want = counts(simulator.world().ledger().entries(), first_look);
    assert!(events(&want) > 400.0, "{} events", events(&want));
    let equal = within(
        Duration::from_secs(60),
        "every count is right",
        async || {
            clock.set(clock.now().plus(Duration::from_secs(5)));
            let samples = Samples::of_plain_text(&exporter.metrics().await);
            difference(&samples.counts(COUNTED), &want).map_or(Ok(()), Err)
        },
    );
    equal.await;
    let polls = simulator.requests().count("ProjectChanges");
    println!("{} events of GitLab, {polls} polls", cable.counts().events);
    assert_eq!(cable.counts().welcomed, 3);
    exporter.stop().await;
}
