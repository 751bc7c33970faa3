//! Very many pipelines of one project at once, and pipelines that come by an import.

use gitlab_simulator::time::DAY;
use gitlab_simulator::world::{Finish, PipelineSpec, World};

use super::{Story, tracking};

const JOBS: &str = "age_job_run_count";
const PIPELINES: &str = "age_pipeline_run_count";
const STATUS: &str = "age_pipeline_status";
/// Pipelines of the burst.
const BURST: usize = 250;

fn finish(world: &mut World, project: u64, git_ref: &str) -> u64 {
    let spec = PipelineSpec::branch(git_ref).stage("test", &["unit"]);
    let pipeline = world.create_pipeline(project, &spec).expect("a pipeline");
    let finished = world.finish_pipeline(pipeline, &Finish::success());
    finished.expect("it ends");
    pipeline
}

/// The neighbour waits for a share of the burst, not for all of it.
#[tokio::test]
async fn a_burst_of_one_project_keeps_its_neighbours_waiting_for_a_few_calls() {
    for (graphql, few, all) in [(true, 60, 500), (false, 200, 1_500)] {
        let settings = tracking(&["group/app", "group/lib"]);
        let mut lib = 0;
        let before = |world: &mut World, _| lib = world.add_project("group/lib").expect("it");
        let mut story = Story::unseen(settings, before, |client| client.use_graphql = graphql);
        story.look_now().await;
        for _ in 0..BURST {
            finish(&mut story.world(), story.app, "main");
        }
        finish(&mut story.world(), lib, "main");
        story.gitlab.requests().reset();
        story.look().await;
        let calls = story.gitlab.requests().all().len();
        assert!(calls <= few, "{calls} calls (GraphQL: {graphql})");
        assert_eq!(story.value(JOBS, &[("project", "group/lib")]), Some(1.0));
        story.gitlab.requests().reset();
        for _ in 0..14 {
            story.look().await;
        }
        let calls = story.gitlab.requests().all().len();
        let app = [("project", "group/app")];
        let burst = Some(250.0);
        assert_eq!(story.value(PIPELINES, &app), burst, "GraphQL: {graphql}");
        assert_eq!(story.value(JOBS, &app), burst, "GraphQL: {graphql}");
        assert!(
            calls <= all,
            "{calls} calls for the rest (GraphQL: {graphql})"
        );
    }
}

/// An import gives pipelines new ids, and the times that they had: they are history, and the newest of
/// their refs.
#[tokio::test]
async fn an_imported_pipeline_is_shown_and_not_counted() {
    let settings = tracking(&["group/app"]);
    let mut story = Story::with(settings, |world, app| {
        finish(world, app, "main");
    })
    .await;
    story.look().await;
    story.wait(3600);
    let imported = {
        let mut world = story.world();
        let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
        let pipeline = world.create_pipeline(story.app, &spec).expect("it");
        let failed = world.finish_pipeline(pipeline, &Finish::failed("script_failure"));
        failed.expect("it ends");
        let backdated = world.backdate_pipeline(pipeline, DAY);
        backdated.expect("it is there");
        pipeline
    };
    for _ in 0..3 {
        story.look_after(86_400).await;
    }
    assert_eq!(story.value("age_pipeline_id", &[]), Some(imported as f64));
    assert_eq!(story.values_of(STATUS, "status"), ["failed"]);
    assert_eq!(story.value(PIPELINES, &[]), None);
    assert_eq!(story.value(JOBS, &[]).unwrap_or_default(), 0.0);
}
