//! What can become of a pipeline, told as stories.

use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};

use super::{Story, gate, main_pipeline};
use crate::support::core::watch_everything;

const RUNS: &str = "age_pipeline_run_count";
const DURATION: &str = "age_pipeline_duration_seconds";
const QUEUED: &str = "age_pipeline_queued_duration_seconds";
const STATUS: &str = "age_pipeline_status";

#[tokio::test]
async fn a_pipeline_counts_once_from_push_to_end() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.look().await;
    assert_eq!(story.values_of(STATUS, "status"), ["pending"]);
    assert_eq!(story.count("age_pipelines_active", &[]), 1.0);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success().after(20 * SECOND))
        .expect("it ends");
    story.look_for(300).await;
    assert_eq!(story.value(RUNS, &[("ref", "main")]), Some(1.0));
    assert_eq!(story.value(DURATION, &[("status", "success")]), Some(1.0));
    assert_eq!(story.value(QUEUED, &[]), Some(1.0));
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
    assert_eq!(story.count("age_pipelines_active", &[]), 0.0);
    let last_run = story.value("age_pipeline_last_run_duration_seconds", &[]);
    assert_eq!(last_run, Some(20.0));
}

#[tokio::test]
async fn a_retried_pipeline_is_one_creation_and_two_runs() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(10);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::failed("script_failure"))
        .expect("it fails");
    story.look().await;
    assert_eq!(story.value(DURATION, &[("status", "failed")]), Some(1.0));
    story.look_for(600).await;
    story.world().retry_pipeline(pipeline).expect("a retry");
    story.look().await;
    let ended = story.value("age_pipeline_finished_timestamp", &[]);
    assert_eq!(ended, None, "it runs again");
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(300).await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0), "the same pipeline");
    assert_eq!(story.value(DURATION, &[("status", "failed")]), Some(1.0));
    assert_eq!(story.value(DURATION, &[("status", "success")]), Some(1.0));
    assert_eq!(story.value(QUEUED, &[]), Some(2.0));
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
}

#[tokio::test]
async fn a_job_retried_in_an_ended_pipeline_makes_another_run_of_it() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(5);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(300).await;
    let first = story.value("age_pipeline_finished_timestamp", &[]);
    // GitLab keeps the end of the run before while the next one runs.
    let job = story.world().job_named(pipeline, "unit").expect("unit").id;
    story.world().retry_job(job).expect("a retry");
    story.look().await;
    assert_eq!(story.value(DURATION, &[]), Some(1.0), "it runs");
    assert_eq!(story.value("age_pipeline_finished_timestamp", &[]), None);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(300).await;
    assert_eq!(story.value(DURATION, &[]), Some(2.0));
    let second = story.value("age_pipeline_finished_timestamp", &[]);
    assert!(second > first, "{second:?} after {first:?}");
}

#[tokio::test]
async fn a_pipeline_that_ends_twice_between_two_looks_shows_its_last_end() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(5);
    let job = story.world().job_named(pipeline, "unit").expect("unit").id;
    for finish in [Finish::failed("script_failure"), Finish::success()] {
        story
            .world()
            .finish_pipeline(pipeline, &finish)
            .expect("it ends");
        story.wait(5);
        if finish.failure_reason.is_some() {
            story.world().retry_job(job).expect("a retry");
        }
    }
    story.look_for(120).await;
    // Nobody can see the first end of the pipeline; both jobs are there for all to see.
    assert_eq!(story.value(DURATION, &[]), Some(1.0));
    assert_eq!(story.value("age_job_run_count", &[]), Some(2.0));
}

#[tokio::test]
async fn blocked_for_days_then_played() {
    let mut story = Story::begin().await;
    let spec = main_pipeline()
        .job(gate())
        .stage("production", &["release"]);
    let pipeline = story.create(&spec);
    story.wait(5);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it comes to the gate");
    story.look_for(300).await;
    assert_eq!(story.values_of(STATUS, "status"), ["manual"]);
    assert_eq!(story.value("age_job_run_count", &[]), Some(1.0));
    story.gitlab.requests().reset();
    for _ in 0..3 * 24 {
        story.wait(3600);
        story.look_now().await;
    }
    let counts = story.gitlab.requests().counts();
    assert_eq!(
        counts.get("PipelineJobs"),
        None,
        "a blocked pipeline is not read again: {counts:?}"
    );
    assert_eq!(story.values_of(STATUS, "status"), ["manual"]);
    let gate = story.world().job_named(pipeline, "approve").expect("it").id;
    story.world().play_manual(gate).expect("it is played");
    story.wait(10);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(300).await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
    assert_eq!(story.value(DURATION, &[("status", "success")]), Some(1.0));
    for job in ["unit", "approve", "release"] {
        let runs = story.value("age_job_run_count", &[("job_name", job)]);
        assert_eq!(runs, Some(1.0), "{job}");
    }
}

#[tokio::test]
async fn a_skipped_pipeline_has_a_state_and_no_run() {
    let mut story = Story::begin().await;
    story.create(&main_pipeline().skipped());
    story.look_for(300).await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
    assert_eq!(story.count(DURATION, &[]), 0.0);
    assert_eq!(story.count(QUEUED, &[]), 0.0);
    assert_eq!(story.values_of(STATUS, "status"), ["skipped"]);
    assert_eq!(story.value("age_pipeline_finished_timestamp", &[]), None);
}

#[tokio::test]
async fn a_broken_configuration_fails_without_having_started() {
    let mut story = Story::begin().await;
    story.create(&PipelineSpec::branch("main").config_error("unknown keys: scripts"));
    story.look_for(300).await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
    assert_eq!(story.count(QUEUED, &[]), 0.0, "it never started");
    assert_eq!(story.count(DURATION, &[]), 0.0, "GitLab has no duration");
    assert_eq!(story.values_of(STATUS, "status"), ["failed"]);
}

#[tokio::test]
async fn an_end_without_duration_waits_observed_only_in_the_queue() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(5);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    let edit = |world: &mut gitlab_simulator::World| {
        world.edit_pipeline(pipeline, |pipeline| pipeline.duration = None)
    };
    edit(&mut story.world()).expect("a pipeline");
    story.look_for(120).await;
    assert_eq!(story.count(DURATION, &[]), 0.0);
    assert_eq!(story.value(QUEUED, &[]), Some(1.0));
    let last_run = story.value("age_pipeline_last_run_duration_seconds", &[]);
    assert_eq!(last_run, None);
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
}

#[tokio::test]
async fn a_null_queue_time_with_a_start_is_no_wait_at_all() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    // It starts in the second in which it was made: GitLab writes null for 0.
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(120).await;
    assert_eq!(story.value(QUEUED, &[]), Some(1.0));
    let queued = story.value("age_pipeline_last_run_queued_duration_seconds", &[]);
    assert_eq!(queued, Some(0.0));
}

#[tokio::test]
async fn coverage_comes_with_a_job_and_its_absence_is_no_zero() {
    let mut story = Story::begin().await;
    let coverage = "age_pipeline_coverage";
    let pipeline = story.create(&main_pipeline());
    story.wait(5);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(60).await;
    assert_eq!(story.value(coverage, &[]), None);
    assert_eq!(story.value("age_job_coverage", &[]), None);
    let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit").coverage(81.5));
    let pipeline = story.create(&spec);
    story.wait(5);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(60).await;
    assert_eq!(story.value(coverage, &[]), Some(81.5));
    assert_eq!(story.value("age_job_coverage", &[]), Some(81.5));
}

#[tokio::test]
async fn statuses_and_sources_of_a_newer_gitlab_are_kept() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline().source("telepathy"));
    story
        .world()
        .set_pipeline_status(pipeline, "hibernating")
        .expect("a pipeline");
    story.look().await;
    assert_eq!(story.values_of(STATUS, "status"), ["hibernating"]);
    assert_eq!(story.value(RUNS, &[("source", "telepathy")]), Some(1.0));
    let active = story.value("age_pipelines_active", &[("status", "hibernating")]);
    assert_eq!(active, Some(1.0), "it is looked at again");
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(60).await;
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
    assert_eq!(story.value(DURATION, &[]), Some(1.0));
}

#[tokio::test]
async fn a_deleted_pipeline_gives_its_place_to_the_one_before() {
    let mut story = Story::begin().await;
    let mut newest = 0;
    for _ in 0..2 {
        newest = story.create(&main_pipeline());
        story.wait(5);
        story
            .world()
            .finish_pipeline(newest, &Finish::success())
            .expect("it ends");
        story.look_for(300).await;
    }
    let shown = |story: &Story| story.value("age_pipeline_id", &[]);
    #[expect(clippy::cast_precision_loss, reason = "a small id")]
    let (newest_id, before) = (newest as f64, (newest - 1) as f64);
    assert_eq!(shown(&story), Some(newest_id));
    story.world().delete_pipeline(newest).expect("it is gone");
    // Nothing tells of a deletion: what is shown is asked for once a day.
    story.wait(25 * 3600);
    story.look_now().await;
    story.look().await;
    assert_eq!(shown(&story), Some(before));
    assert_eq!(story.value(RUNS, &[]), Some(2.0), "they did happen");
}

/// The newest pipelines of a project in which something moved are listed every five minutes.
#[tokio::test]
async fn pipelines_that_are_deleted_soon_give_their_places_to_those_before() {
    for graphql in [true, false] {
        let mut story = Story::unseen(
            watch_everything(),
            |_, _| {},
            |client| client.use_graphql = graphql,
        );
        story.look_now().await;
        let mut pipelines = Vec::new();
        for git_ref in ["main", "topic", "topic", "main", "main"] {
            let spec = PipelineSpec::branch(git_ref).stage("test", &["unit"]);
            let pipeline = story.create(&spec);
            story.wait(5);
            let done = story.world().finish_pipeline(pipeline, &Finish::success());
            done.expect("it ends");
            pipelines.push(pipeline);
            story.look_for(60).await;
        }
        let shown =
            |story: &Story, git_ref: &str| story.value("age_pipeline_id", &[("ref", git_ref)]);
        #[expect(clippy::cast_precision_loss, reason = "a small id")]
        let id = |place: usize| Some(pipelines[place] as f64);
        assert_eq!(
            (shown(&story, "main"), shown(&story, "topic")),
            (id(4), id(2))
        );
        story.look_for(600).await;
        // The two newest of the project, and the newest of a ref.
        for place in [4, 3, 2] {
            let gone = story.world().delete_pipeline(pipelines[place]);
            gone.expect("it is there");
        }
        story.look_for(330).await;
        let left = (shown(&story, "main"), shown(&story, "topic"));
        assert_eq!(left, (id(0), id(1)), "GraphQL: {graphql}");
        assert_eq!(story.count(RUNS, &[]), 5.0, "they did happen");
        story.gitlab.requests().reset();
        story.look_for(1800).await;
        let asked = story.gitlab.requests();
        let asked = asked.count("/api/v4/projects/:id/pipelines/:pipeline_id");
        assert_eq!(
            asked, 0,
            "what is there is not asked for, GraphQL: {graphql}"
        );
    }
}
