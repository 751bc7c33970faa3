//! The metrics of gitlab-ci-pipelines-exporter next to ours.

use std::collections::BTreeSet;

use amazing_gitlab_exporter::catalogue::Collector;
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::{Finish, PipelineSpec, World};

use super::retire::BIRTH_WINDOW;
use super::{Story, main_pipeline};
use crate::support::core::{Core, watch_everything};

const RUNS: &str = "gitlab_ci_pipeline_run_count";
const STATUS: &str = "gitlab_ci_pipeline_status";
const JOB_RUNS: &str = "gitlab_ci_pipeline_job_run_count";

async fn story(compat: bool, before: impl FnOnce(&mut World, u64)) -> Story {
    let mut settings = watch_everything();
    settings.collectors.environments.enabled = true;
    settings.compat.gitlab_ci_metrics = compat;
    Story::with(settings, before).await
}

/// The metrics of the other program that have series.
fn others(story: &Story) -> BTreeSet<&'static str> {
    let series = story.series();
    let entries = Collector::Compat.entries().iter();
    let names = entries.map(|desc| desc.name);
    names
        .filter(|name| !series.metric(name).is_empty())
        .collect()
}

#[tokio::test]
async fn they_are_shown_next_to_ours_with_all_labels_and_the_same_numbers() {
    let mut production = 0;
    let mut story = story(true, |world, app| {
        production = world
            .add_environment(app, "production", None)
            .expect("an environment");
        world.deploy(app, production, 60 * SECOND).expect("history");
    })
    .await;
    for source in ["push", "web"] {
        let pipeline = story.create(&main_pipeline().source(source));
        story.wait(20);
        let ended = story.world().finish_pipeline(pipeline, &Finish::success());
        ended.expect("it ends");
        story.look_for(300).await;
    }
    let labels: BTreeSet<String> = story
        .labels_of(STATUS)
        .into_iter()
        .flat_map(|one| one.into_keys())
        .collect();
    let expected = [
        "kind",
        "project",
        "ref",
        "source",
        "status",
        "topics",
        "variables",
    ];
    assert_eq!(labels, expected.map(str::to_owned).into());
    // The newest pipeline alone, and every pipeline counted once.
    assert_eq!(story.values_of(STATUS, "source"), ["web"]);
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
    assert_eq!(story.count(RUNS, &[]), 2.0);
    assert_eq!(
        story.count(RUNS, &[]),
        story.count("age_pipeline_run_count", &[])
    );
    assert_eq!(
        story.count(JOB_RUNS, &[]),
        story.count("age_job_run_count", &[])
    );
    for (theirs, ours) in [
        ("gitlab_ci_pipeline_id", "age_pipeline_id"),
        ("gitlab_ci_pipeline_job_id", "age_job_id"),
        (
            "gitlab_ci_pipeline_duration_seconds",
            "age_pipeline_last_run_duration_seconds",
        ),
    ] {
        assert_eq!(story.value(theirs, &[]), story.value(ours, &[]), "{theirs}");
    }
    assert_eq!(story.value("gitlab_ci_pipeline_coverage", &[]), Some(0.0));
    assert_eq!(story.value("age_pipeline_coverage", &[]), None);
    let of = [("environment", "production")];
    assert_eq!(
        story.value("gitlab_ci_environment_information", &of),
        Some(1.0)
    );
    let without: BTreeSet<&str> = Collector::Compat
        .entries()
        .iter()
        .map(|desc| desc.name)
        .filter(|name| !name.contains("_test_"))
        .collect();
    assert_eq!(others(&story), without);
}

#[tokio::test]
async fn merge_requests_are_numbers_and_leave_with_their_counters() {
    let mut settings = watch_everything();
    settings.compat.gitlab_ci_metrics = true;
    settings.wildcards[0]
        .settings
        .refs
        .merge_requests
        .max_age_days = 1;
    let mut story = Story::with(settings, |_, _| {}).await;
    let request = {
        let mut world = story.world();
        let request = world.create_merge_request(story.app, "feature", "main");
        request.expect("a merge request")
    };
    let pipeline = story.create(&PipelineSpec::merge_request(request).stage("test", &["unit"]));
    story.wait(20);
    let ended = story.world().finish_pipeline(pipeline, &Finish::success());
    ended.expect("it ends");
    story.look_for(300).await;
    let number = request.to_string();
    let of = [("kind", "merge-request"), ("ref", number.as_str())];
    assert_eq!(story.value(RUNS, &of), Some(1.0));
    assert_eq!(story.value(JOB_RUNS, &of), Some(1.0));
    assert_eq!(story.value(STATUS, &of), Some(1.0));
    story.wait(2 * 86_400);
    story.look_for(900).await;
    assert_eq!(others(&story), BTreeSet::new());
}

#[tokio::test]
async fn without_the_setting_there_are_none() {
    let mut story = story(false, |_, _| {}).await;
    let pipeline = story.create(&main_pipeline());
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look_for(300).await;
    assert_eq!(others(&story), BTreeSet::new());
    assert_eq!(story.count("age_pipeline_run_count", &[]), 1.0);
}

/// What an earlier process counted under the other names would never move again.
#[tokio::test]
async fn their_counters_survive_a_restart_and_leave_when_they_are_switched_off() {
    let mut story = story(true, |_, _| {}).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    story.exporter = Core::with_state(&story.gitlab, &story.settings, &story.client, &path).await;
    story.look_now().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(20);
    let ended = story.world().finish_pipeline(pipeline, &Finish::success());
    ended.expect("it ends");
    story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
    for (compat, after) in [(true, Some(1.0)), (false, None)] {
        story.settings.compat.gitlab_ci_metrics = compat;
        // The state file is let go before it is opened again.
        story.restart();
        story.exporter =
            Core::with_state(&story.gitlab, &story.settings, &story.client, &path).await;
        story.look_for(2 * BIRTH_WINDOW).await;
        assert_eq!(story.value(RUNS, &[]), after);
        assert_eq!(story.value("age_pipeline_run_count", &[]), Some(1.0));
    }
    assert_eq!(others(&story), BTreeSet::new());
}
