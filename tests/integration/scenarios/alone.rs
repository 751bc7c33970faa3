//! One endpoint that refuses or fails, or one invalid object, takes nothing else along. By REST, where
//! each thing is a call.

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::MergeRequestState::Merged;
use gitlab_simulator::world::reviews::ReviewAct::Comment;
use gitlab_simulator::world::{Finish, PipelineSpec, World};

use super::Story;
use crate::support::core::watch_everything;

const PIPELINES: &str = "age_pipeline_run_count";
const JOBS: &str = "age_job_run_count";
const PIPELINE: &str = "/api/v4/projects/:id/pipelines/:pipeline_id";
const NOTES: &str = "/api/v4/projects/:id/merge_requests/:merge_request_iid/notes";

fn status(status: u16, on: &str) -> Rule {
    Rule::new(Fault::Status { status }).on(on)
}

/// An answer that is no JSON, once: it is not asked for again at once.
fn nonsense(on: &str) -> Rule {
    Rule::new(Fault::InvalidJson).on(on).times(1)
}

async fn by_rest(on: fn(&mut Settings), before: fn(&mut World, u64)) -> Story {
    let mut settings = watch_everything();
    on(&mut settings);
    let mut story = Story::unseen(settings, before, |client| client.use_graphql = false);
    for _ in 0..3 {
        story.look_now().await;
    }
    story
}

fn run(story: &Story) {
    let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
    let pipeline = story.create(&spec);
    let finished = story.world().finish_pipeline(pipeline, &Finish::success());
    finished.expect("it ends");
}

fn merge(story: &Story, name: &str) {
    let mut world = story.world();
    let iid = world.create_merge_request(story.app, name, "main");
    let iid = iid.expect("one");
    world.review(story.app, iid, "ben", Comment).expect("it");
    let merged = world.set_merge_request_state(story.app, iid, Merged);
    merged.expect("it");
}

fn nothing(_: &mut World, _: u64) {}

/// CI/CD may be off: then GitLab refuses the project's pipelines.
#[tokio::test]
async fn a_project_without_pipelines_has_merge_requests() {
    let mut settings = watch_everything();
    settings.collectors.merge_requests.enabled = true;
    let before = |world: &mut World, app| {
        world.create_merge_request(app, "one", "main").expect("it");
    };
    let mut story = Story::unseen(settings, before, |client| client.use_graphql = false);
    let lists = status(403, "/api/v4/projects/:id/pipelines");
    story.gitlab.faults().add(lists);
    story.look_now().await;
    story.look_after(300).await;
    story.look_after(300).await;
    assert_eq!(story.value("age_mr_open_count", &[]), Some(1.0));
}

#[tokio::test]
async fn a_pipeline_that_cannot_be_read_is_read_later_and_the_others_at_once() {
    let mut story = by_rest(|_| {}, nothing).await;
    run(&story);
    run(&story);
    story.gitlab.faults().add(nonsense(PIPELINE));
    story.look().await;
    assert_eq!(story.count(PIPELINES, &[]), 1.0);
    assert_eq!(story.count(JOBS, &[]), 1.0);
    story.look_for(120).await;
    assert_eq!(story.count(PIPELINES, &[]), 2.0);
    assert_eq!(story.count(JOBS, &[]), 2.0);
}

#[tokio::test]
async fn jobs_count_though_trigger_jobs_cannot_be_read() {
    let mut story = by_rest(|_| {}, nothing).await;
    let bridges = format!("{PIPELINE}/bridges");
    story.gitlab.faults().add(status(500, &bridges));
    run(&story);
    story.look_for(90).await;
    assert_eq!(story.count(JOBS, &[]), 1.0);
}

#[tokio::test]
async fn a_merge_request_whose_notes_cannot_be_read_is_read_later_and_the_others_at_once() {
    let on = |settings: &mut Settings| {
        settings.collectors.merge_requests.enabled = true;
        settings.collectors.code_review.enabled = true;
    };
    let mut story = by_rest(on, nothing).await;
    story.wait(60);
    merge(&story, "one");
    merge(&story, "two");
    story.gitlab.faults().add(nonsense(NOTES));
    story.look_after(300).await;
    let merged = "age_mr_throughput_count";
    assert_eq!(story.count(merged, &[]), 1.0);
    // Longer than what moved is read again in any case.
    story.look_after(500).await;
    story.look_after(500).await;
    assert_eq!(story.count(merged, &[]), 2.0);
    assert_eq!(story.count("age_review_comments_total", &[]), 2.0);
    // Notes that can never be read do not keep their merge request back permanently.
    story.gitlab.faults().add(status(500, NOTES));
    merge(&story, "three");
    for _ in 0..16 {
        story.look_after(300).await;
    }
    assert_eq!(story.count(merged, &[]), 3.0);
}

#[tokio::test]
async fn a_schedule_that_cannot_be_read_is_shown_as_the_list_has_it() {
    let on = |settings: &mut Settings| settings.collectors.schedules.enabled = true;
    let single = "/api/v4/projects/:id/pipeline_schedules/:pipeline_schedule_id";
    let mut settings = watch_everything();
    on(&mut settings);
    let before = |world: &mut World, app| {
        for name in ["nightly", "weekly"] {
            world.add_schedule(app, name, "main").expect("made");
        }
    };
    for fault in [nonsense(single), status(403, single)] {
        let settings = settings.clone();
        let mut story = Story::unseen(settings, before, |client| client.use_graphql = false);
        story.gitlab.faults().add(fault);
        story.look_now().await;
        for _ in 0..3 {
            story.look().await;
        }
        let active = "age_pipeline_schedule_active";
        assert_eq!(story.values_of(active, "schedule"), ["nightly", "weekly"]);
    }
}

#[tokio::test]
async fn a_runner_whose_managers_cannot_be_read_is_shown_without() {
    let mut settings = watch_everything();
    settings.collectors.runners.enabled = true;
    let mut story = Story::unseen(settings, nothing, |client| client.use_graphql = false);
    let managers = status(500, "/api/v4/runners/:id/managers");
    story.gitlab.faults().add(managers);
    story.look_now().await;
    for _ in 0..3 {
        story.look().await;
    }
    assert!(!story.values_of("age_runner_online", "runner_id").is_empty());
}

/// A project that is scheduled for deletion, or was restored without one.
#[tokio::test]
async fn a_project_whose_repository_is_gone_is_no_failure() {
    let on = |settings: &mut Settings| {
        settings.collectors.contributors.enabled = true;
        let refs = &mut settings.wildcards[0].settings.refs;
        (refs.branches.exclude_deleted, refs.tags.exclude_deleted) = (true, true);
    };
    let mut settings = watch_everything();
    on(&mut settings);
    let mut story = Story::unseen(settings, nothing, |client| client.use_graphql = false);
    let repository = "/api/v4/projects/:id/repository";
    for (code, what) in [(404, "branches"), (500, "tags"), (500, "commits")] {
        let rule = status(code, &format!("{repository}/{what}"));
        story.gitlab.faults().add(rule);
    }
    story.look_now().await;
    for _ in 0..3 {
        story.look_after(3_700).await;
    }
    let failures = story.exporter.heard.all_failures();
    assert!(failures.is_empty(), "{failures:?}");
    run(&story);
    story.look_for(90).await;
    assert_eq!(story.count(PIPELINES, &[]), 1.0);
}
