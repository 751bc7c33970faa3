//! What can become of a job, told as stories.

use gitlab_simulator::World;
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::{Finish, JobSpec, PipelineId, PipelineSpec, When};

use super::{Story, main_pipeline};
use crate::support::core::watch_everything;

const RUNS: &str = "age_job_run_count";
const DURATION: &str = "age_job_duration_seconds";
const FAILURES: &str = "age_job_failures_total";
const STATUS: &str = "age_job_status";

/// The simulator's runners.
const INSTANCE_RUNNER: u64 = 1;
const GROUP_RUNNER: u64 = 2;
const PROJECT_RUNNER: u64 = 3;

impl Story {
    fn job(&self, pipeline: PipelineId, name: &str) -> u64 {
        self.world().job_named(pipeline, name).expect("a job").id
    }

    fn finish_job(&self, pipeline: PipelineId, name: &str, finish: &Finish) {
        let job = self.job(pipeline, name);
        self.world().finish_job(job, finish).expect("it ends");
    }
}

#[tokio::test]
async fn a_retried_job_is_two_runs_a_retry_and_a_flake() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(7);
    story.finish_job(
        pipeline,
        "unit",
        &Finish::failed("script_failure").on(INSTANCE_RUNNER),
    );
    story.look().await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
    let failures = [("failure_reason", "script_failure"), ("job_name", "unit")];
    assert_eq!(story.value(FAILURES, &failures), Some(1.0));
    assert_eq!(story.value(STATUS, &failures), Some(1.0));
    let failed = story.job(pipeline, "unit");
    story.world().retry_job(failed).expect("a retry");
    story.look().await;
    assert_eq!(story.value("age_job_retries_total", &[]), Some(1.0));
    assert_eq!(story.count("age_job_flaky_total", &[]), 0.0, "not yet");
    story.finish_job(pipeline, "unit", &Finish::success().on(INSTANCE_RUNNER));
    story.look_for(300).await;
    assert_eq!(story.value(RUNS, &[]), Some(2.0));
    assert_eq!(story.value(DURATION, &[("status", "failed")]), Some(1.0));
    assert_eq!(story.value(DURATION, &[("status", "success")]), Some(1.0));
    assert_eq!(story.value("age_job_flaky_total", &[]), Some(1.0));
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
}

#[tokio::test]
async fn a_job_in_an_active_pipeline_counts_when_it_ends() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&PipelineSpec::branch("main").stage("test", &["quick", "slow"]));
    let slow = story.job(pipeline, "slow");
    story
        .world()
        .start_job(slow, Some(INSTANCE_RUNNER))
        .expect("it starts");
    story.wait(5);
    let quick = Finish::success().on(INSTANCE_RUNNER);
    story.finish_job(pipeline, "quick", &quick);
    story.look().await;
    assert_eq!(story.value(RUNS, &[("job_name", "quick")]), Some(1.0));
    assert_eq!(story.count("age_jobs_running", &[]), 1.0);
    assert_eq!(story.count("age_pipeline_duration_seconds", &[]), 0.0);
    story.look_for(1800).await;
    story.finish_job(pipeline, "slow", &Finish::success());
    story.look_for(60).await;
    assert_eq!(story.count(RUNS, &[]), 2.0);
    assert_eq!(story.count("age_jobs_running", &[]), 0.0);
}

#[tokio::test]
async fn what_never_started_has_a_state_and_no_run() {
    let mut story = Story::begin().await;
    let spec = main_pipeline()
        .job(JobSpec::new("deploy", "ship"))
        .job(JobSpec::new("cleanup", "tidy").when(When::OnFailure))
        .job(JobSpec::new("review", "look").manual().allow_failure());
    let pipeline = story.create(&spec);
    story.wait(5);
    story.finish_job(pipeline, "unit", &Finish::failed("script_failure"));
    let tidy = story.job(pipeline, "tidy");
    story
        .world()
        .cancel_job(tidy)
        .expect("canceled in the queue");
    story.look_for(120).await;
    assert_eq!(story.count(RUNS, &[]), 1.0, "only unit ran");
    assert_eq!(story.count(DURATION, &[]), 1.0);
    for (job, status) in [
        ("ship", "skipped"),
        ("tidy", "canceled"),
        ("unit", "failed"),
    ] {
        let state = story.value(STATUS, &[("job_name", job), ("status", status)]);
        assert_eq!(state, Some(1.0), "{job}");
    }
}

#[tokio::test]
async fn a_job_that_fails_in_the_queue_is_a_failure_without_a_run() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    let job = story.job(pipeline, "unit");
    story.wait(20);
    story.finish_job(
        pipeline,
        "unit",
        &Finish::failed("stuck_or_timeout_failure"),
    );
    story
        .world()
        .edit_job(job, |job| {
            job.started_at = None;
            job.runner_id = None;
        })
        .expect("a job");
    story.look_for(120).await;
    assert_eq!(story.count(RUNS, &[]), 0.0);
    let failure = [("failure_reason", "stuck_or_timeout_failure")];
    assert_eq!(story.value(FAILURES, &failure), Some(1.0));
}

#[tokio::test]
async fn a_run_without_runner_is_of_unknown_type() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(5);
    story.finish_job(pipeline, "unit", &Finish::success());
    story.look_for(120).await;
    assert_eq!(story.values_of(DURATION, "runner_type"), ["unknown"]);
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
}

/// One job on each kind of runner.
fn three_runners(story: &Story) -> PipelineId {
    let spec = PipelineSpec::branch("main").stage("test", &["instance", "group", "project"]);
    let pipeline = story.create(&spec);
    story.wait(5);
    for (job, runner) in [
        ("instance", INSTANCE_RUNNER),
        ("group", GROUP_RUNNER),
        ("project", PROJECT_RUNNER),
    ] {
        story.finish_job(
            pipeline,
            job,
            &Finish::success().after(3 * SECOND).on(runner),
        );
    }
    pipeline
}

fn assert_runner_types(story: &Story) {
    for kind in ["instance", "group", "project"] {
        let labels = [("job_name", kind), ("runner_type", kind)];
        assert_eq!(story.value(DURATION, &labels), Some(1.0), "{kind}");
        let compute = [("runner_type", kind)];
        let seconds = story.value("age_job_compute_seconds_total", &compute);
        assert_eq!(seconds, Some(3.0), "{kind}");
    }
    assert_eq!(story.count(DURATION, &[]), 3.0);
}

#[tokio::test]
async fn a_maintainer_sees_every_runner_by_graphql_alone() {
    let mut story = Story::begin().await;
    story.gitlab.requests().reset();
    three_runners(&story);
    story.look_for(120).await;
    assert_runner_types(&story);
    let rest = story.gitlab.requests().count(JOBS_BY_REST);
    assert_eq!(rest, 0, "GraphQL has told it all");
}

const JOBS_BY_REST: &str = "/api/v4/projects/:id/jobs";

#[tokio::test]
async fn a_reporter_learns_the_hidden_runners_by_rest() {
    let mut story = Story::with(watch_everything(), |world, _| {
        let token = gitlab_simulator::world::DEFAULT_TOKEN;
        world
            .set_default_role(token, AccessLevel::Reporter)
            .expect("a token");
    })
    .await;
    story.gitlab.requests().reset();
    three_runners(&story);
    story.look_for(300).await;
    assert_runner_types(&story);
    let rest = story.gitlab.requests().count(JOBS_BY_REST);
    assert!(
        (1..=3).contains(&rest),
        "one list where a job ended: {rest}"
    );
}

/// GitLab's limit of the list of a project's jobs, 600 a minute, delays no job.
#[tokio::test]
async fn where_gitlab_gives_no_more_lists_of_jobs_pipelines_are_asked_for_theirs() {
    let mut story = Story::with(watch_everything(), |world, _| {
        let token = gitlab_simulator::world::DEFAULT_TOKEN;
        world
            .set_default_role(token, AccessLevel::Reporter)
            .expect("a token");
    })
    .await;
    let limit = Fault::ApplicationLimit { retry_after: 3600 };
    story.gitlab.faults().add(Rule::new(limit).on(JOBS_BY_REST));
    story.gitlab.requests().reset();
    three_runners(&story);
    story.look_for(60).await;
    assert_runner_types(&story);
    for _ in 0..3 {
        three_runners(&story);
        story.look_for(60).await;
    }
    assert_eq!(story.count(DURATION, &[("runner_type", "unknown")]), 0.0);
    assert_eq!(story.count(RUNS, &[]), 12.0);
    let lists = story.gitlab.requests().count(JOBS_BY_REST);
    assert_eq!(lists, 1, "it is not asked again meanwhile");
}

#[tokio::test]
async fn without_runner_details_nobody_asks_for_runners() {
    let mut settings = watch_everything();
    settings.collectors.jobs.include_runner_details = false;
    let mut story = Story::with(settings, |world, _| {
        let token = gitlab_simulator::world::DEFAULT_TOKEN;
        world
            .set_default_role(token, AccessLevel::Reporter)
            .expect("a token");
    })
    .await;
    story.gitlab.requests().reset();
    three_runners(&story);
    story.look_for(300).await;
    assert_eq!(story.count(DURATION, &[("runner_type", "unknown")]), 3.0);
    assert_eq!(story.count(RUNS, &[]), 3.0);
    assert_eq!(story.gitlab.requests().count(JOBS_BY_REST), 0);
}

#[tokio::test]
async fn an_event_waits_for_its_labels_and_counts_once() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(5);
    story.finish_job(
        pipeline,
        "unit",
        &Finish::failed("runner_system_failure").on(INSTANCE_RUNNER),
    );
    // REST, which alone knows why a job failed, is down for a quarter of an hour.
    let down = story.gitlab.faults().add(
        gitlab_simulator::faults::Rule::new(gitlab_simulator::faults::Fault::Status {
            status: 502,
        })
        .on(JOBS_BY_REST),
    );
    story.look_for(900).await;
    assert_eq!(story.count(FAILURES, &[]), 0.0, "the reason is not known");
    assert_eq!(story.count(RUNS, &[]), 0.0);
    assert!(story.gitlab.faults().hits(down) > 0);
    story.gitlab.faults().clear();
    story.look_for(120).await;
    let failure = [("failure_reason", "runner_system_failure")];
    assert_eq!(story.value(FAILURES, &failure), Some(1.0));
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
}

#[tokio::test]
async fn a_long_pipeline_asks_for_labels_when_a_job_ended() {
    let mut story = Story::begin().await;
    let spec = PipelineSpec::branch("main").stage("test", &["bad", "slow"]);
    let pipeline = story.create(&spec);
    let slow = story.job(pipeline, "slow");
    story
        .world()
        .start_job(slow, Some(INSTANCE_RUNNER))
        .expect("it starts");
    story.look().await;
    story.gitlab.requests().reset();
    for _ in 0..6 {
        story.finish_job(
            pipeline,
            "bad",
            &Finish::failed("script_failure").on(INSTANCE_RUNNER),
        );
        story.look_for(300).await;
        let bad = story.job(pipeline, "bad");
        story.world().retry_job(bad).expect("a retry");
    }
    let rest = story.gitlab.requests().count(JOBS_BY_REST);
    assert!((5..=7).contains(&rest), "{rest} calls in half an hour");
    let runs = story.value(RUNS, &[("job_name", "bad")]);
    assert!(runs >= Some(5.0), "{runs:?}: they do not wait for the end");
}

#[tokio::test]
async fn files_that_a_job_leaves_are_weighed_together() {
    let mut story = Story::begin().await;
    let job = JobSpec::new("test", "unit")
        .artifact("archive", "a.zip", 1000)
        .artifact("trace", "job.log", 24);
    let pipeline = story.create(&PipelineSpec::branch("main").job(job));
    story.wait(5);
    story.finish_job(pipeline, "unit", &Finish::success());
    story.look_for(60).await;
    let bytes = story.value("age_job_artifact_size_bytes", &[]);
    assert_eq!(bytes, Some(1000.0), "the log is no artifact");
}

#[tokio::test]
async fn statuses_of_a_newer_gitlab_are_kept() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    let job = story.job(pipeline, "unit");
    story
        .world()
        .edit_job(job, |job| {
            job.status = gitlab_simulator::world::Status::parse("napping");
        })
        .expect("a job");
    story.look().await;
    assert_eq!(story.values_of(STATUS, "status"), ["napping"]);
}

/// Artifacts cost GitLab a query for each job: those of a running pipeline are read every five minutes, and all
/// when it ended; stages, which never change, once.
#[tokio::test]
async fn artifacts_and_stages_are_asked_for_when_they_can_have_changed() {
    let mut story = Story::begin().await;
    let build = JobSpec::new("build", "compile").artifact("archive", "a.zip", 1000);
    let test = JobSpec::new("test", "unit").artifact("archive", "b.zip", 500);
    let pipeline = story.create(&PipelineSpec::branch("main").job(build).job(test));
    story.look().await;
    let jobs: Vec<_> = story.world().jobs_of(pipeline).map(|job| job.id).collect();
    let ends = |story: &Story, id| {
        // A runner that is shown: no other list is read for it.
        let finish = Finish::success().on(INSTANCE_RUNNER);
        let done = story.world().finish_job(id, &finish);
        done.expect("it runs");
    };
    let size =
        |story: &Story, job| story.value("age_job_artifact_size_bytes", &[("job_name", job)]);
    let asked = |story: &Story, what: &str| {
        let all = story.gitlab.requests().all().into_iter();
        let asked = all.filter(|one| one.operation.as_deref() == Some("PipelineJobs"));
        let asked = asked.filter(|one| one.variables.as_ref().is_some_and(|v| v[what] == true));
        asked.count()
    };
    story.gitlab.requests().reset();
    ends(&story, jobs[0]);
    story.look_for(60).await;
    assert_eq!(
        story.count("age_job_run_count", &[("job_name", "compile")]),
        1.0
    );
    story.look_for(300).await;
    assert_eq!(size(&story, "compile"), Some(1000.0));
    story.look_for(900).await;
    assert_eq!(asked(&story, "artifacts"), 1, "nothing ended since");
    ends(&story, jobs[1]);
    story.look().await;
    assert_eq!(size(&story, "unit"), Some(500.0), "at once at the end");
    assert_eq!(size(&story, "compile"), Some(1000.0));
    assert_eq!(
        (asked(&story, "artifacts"), asked(&story, "stages")),
        (2, 0)
    );
}

/// GitLab has a fixed cost for each query, so jobs of running pipelines are read with the change feed.
#[tokio::test]
async fn jobs_of_running_pipelines_come_with_the_change_feed() {
    let newest = |world: &mut World, _| world.version = "19.3.0-ee".to_owned();
    let mut story = Story::with(watch_everything(), newest).await;
    let spec = PipelineSpec::branch("main").stage("test", &["unit", "lint"]);
    let pipeline = story.create(&spec);
    let job = story.job(pipeline, "unit");
    let started = story.world().start_job(job, Some(INSTANCE_RUNNER));
    started.expect("it starts");
    story.look_for(60).await;
    story.gitlab.requests().reset();
    let lint = story.job(pipeline, "lint");
    let started = story.world().start_job(lint, Some(INSTANCE_RUNNER));
    started.expect("it starts");
    story.look().await;
    let running = [("job_name", "lint"), ("status", "running")];
    assert_eq!(story.value(STATUS, &running), Some(1.0));
    story.finish_job(pipeline, "lint", &Finish::success().on(INSTANCE_RUNNER));
    story.look().await;
    assert_eq!(story.value(RUNS, &[("job_name", "lint")]), Some(1.0));
    let counts = story.gitlab.requests().counts();
    assert_eq!(counts.get("PipelineJobs"), None, "{counts:?}");
    assert_eq!(counts.get("ProjectChanges"), Some(&2), "{counts:?}");
    let runs_on = |story: &Story| story.value("age_jobs_running", &[]);
    assert_eq!(runs_on(&story), Some(1.0));
    let ended = story
        .world()
        .finish_pipeline(pipeline, &Finish::success().on(INSTANCE_RUNNER));
    ended.expect("it ends");
    story.look().await;
    assert_eq!(story.value(RUNS, &[("job_name", "unit")]), Some(1.0));
    assert_eq!(runs_on(&story), Some(0.0));
}

/// The list that has the labels of ended jobs has their artifacts, too: no query is spent on them.
#[tokio::test]
async fn artifacts_come_with_labels() {
    let newest = |world: &mut World, _| world.version = "19.3.0-ee".to_owned();
    let mut story = Story::with(watch_everything(), newest).await;
    let build = JobSpec::new("build", "compile").artifact("archive", "a.zip", 1000);
    let spec = PipelineSpec::branch("main").job(build);
    let pipeline = story.create(&spec.stage("test", &["unit"]));
    story.look().await;
    story.gitlab.requests().reset();
    // GraphQL shows no runner, so its type is looked for by REST.
    story.finish_job(pipeline, "compile", &Finish::success());
    story.look().await;
    let size = story.value("age_job_artifact_size_bytes", &[("job_name", "compile")]);
    assert_eq!(size, Some(1000.0), "with the poll that saw its end");
    story.look_for(900).await;
    let counts = story.gitlab.requests().counts();
    assert_eq!(counts.get("PipelineJobs"), None, "{counts:?}");
    assert_eq!(counts.get(JOBS_BY_REST), Some(&1), "{counts:?}");
}
