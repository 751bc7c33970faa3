//! What the first look shows.

use std::time::Duration;

use gitlab_simulator::time::MINUTE;
use gitlab_simulator::world::{Finish, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::core::Core;
use crate::support::series::Value;
use amazing_gitlab_exporter::config::Settings;

/// A quiet branch shows its newest pipeline, though many newer pipelines of another branch stand
/// between; all of it is history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_branch_shows_its_newest_pipeline() {
    let mut world = World::new(WorldConfig::default());
    let project = world.add_project("group/project").expect("a project");
    world.push(project, "release/1.0").expect("a branch");
    for branch in std::iter::once("release/1.0").chain(std::iter::repeat_n("main", 70)) {
        let spec = PipelineSpec::branch(branch).stage("test", &["unit"]);
        let pipeline = world.create_pipeline(project, &spec).expect("a pipeline");
        world
            .finish_pipeline(pipeline, &Finish::success())
            .expect("it can run");
        world.advance(MINUTE);
    }
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let settings = Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    };
    let mut exporter = Core::start(&simulator, &settings);
    for _ in 0..3 {
        exporter.round(&simulator).await;
        simulator.advance(Duration::from_secs(30));
    }
    let series = exporter.series();
    for branch in ["main", "release/1.0"] {
        let status = [("ref", branch), ("status", "success")];
        assert_eq!(
            series.value("age_pipeline_status", &status),
            Some(Value::Number(1.0))
        );
        assert_eq!(
            series.value("age_job_status", &status),
            Some(Value::Number(1.0))
        );
        let runs = series.value("age_pipeline_run_count", &[("ref", branch)]);
        assert_eq!(runs, None, "history is not counted");
    }
    let asked =
        |simulator: &Simulator| simulator.requests().count("/api/v4/projects/:id/pipelines");
    let before = asked(&simulator);
    simulator.advance(Duration::from_secs(2 * 3600));
    exporter.round(&simulator).await;
    assert_eq!(asked(&simulator), before, "each ref is asked for once");
}
