//! GitLab's own subscriptions: the client against each refusal and ending, and the exporter with them.

mod client;
mod exporter;
mod ledger;

use gitlab_simulator::world::{JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::exporter::configuration;

/// The first release that has subscriptions.
const RELEASE: &str = "18.6.0-ee";

/// A pipeline that waits for a runner.
fn one_job() -> PipelineSpec {
    PipelineSpec::branch("main").job(JobSpec::new("test", "unit"))
}

/// A GitLab with some projects.
fn gitlab(projects: u64, config: WorldConfig) -> (Simulator, Vec<u64>) {
    let mut world = World::new(config);
    world.version = RELEASE.to_owned();
    let ids = (1..=projects).map(|number| {
        let path = format!("group/project-{number}");
        world.add_project(&path).expect("a project")
    });
    let ids = ids.collect();
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    (simulator, ids)
}

/// An exporter's configuration with subscriptions, and polls of pipelines this many seconds apart.
fn subscribing(simulator: &Simulator, interval: u32) -> String {
    let yaml = configuration(simulator, "");
    let yaml = yaml.replace("gitlab:\n", "gitlab:\n  subscriptions: {enabled: true}\n");
    yaml.replace(
        "interval_seconds: 1",
        &format!("interval_seconds: {interval}"),
    )
}
