//! The life of a series as scrapes and pushes see it: birth, change, rename, end.

use std::collections::BTreeSet;

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};

use super::{LOOK, Story, main_pipeline};
use crate::support::core::watch_everything;

const RUNS: &str = "age_pipeline_run_count";
const DURATION: &str = "age_pipeline_duration_seconds";
const STATUS: &str = "age_pipeline_status";

/// The birth window of the settings.
const BIRTH_WINDOW: u64 = 120;

/// Every ref, until it is deleted.
pub fn watch_existing() -> Settings {
    let mut settings = watch_everything();
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.branches.exclude_deleted = true;
    refs.tags.exclude_deleted = true;
    settings
}

#[tokio::test]
async fn a_first_event_shows_as_0_and_then_as_1() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    story.wait(3);
    story
        .world()
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
    story.look().await;
    let families = [
        RUNS,
        DURATION,
        "age_job_run_count",
        "age_job_duration_seconds",
    ];
    for _ in 0..BIRTH_WINDOW / LOOK {
        for family in families {
            assert_eq!(story.shown(family, &[]), Some(0.0), "{family}");
        }
        story.look().await;
    }
    for family in families {
        assert_eq!(story.shown(family, &[]), Some(1.0), "{family}");
    }
    // States have no birth: they are true at once.
    story.create(&main_pipeline());
    story.look().await;
    assert_eq!(story.shown(STATUS, &[("status", "pending")]), Some(1.0));
    assert_eq!(
        story.shown(RUNS, &[]),
        Some(2.0),
        "an old series shows at once"
    );
}

#[tokio::test]
async fn history_has_states_and_is_never_counted() {
    let story = Story::with(watch_everything(), |world, app| {
        for finish in [Finish::success(), Finish::failed("script_failure")] {
            let pipeline = world.create_pipeline(app, &main_pipeline()).expect("one");
            world.advance(5000);
            world.finish_pipeline(pipeline, &finish).expect("it ends");
            world.advance(600_000);
        }
    })
    .await;
    for metric in [RUNS, DURATION, "age_job_run_count"] {
        assert_eq!(story.value(metric, &[]), None, "{metric}");
    }
    assert_eq!(story.values_of(STATUS, "status"), ["failed"]);
}

#[tokio::test]
async fn what_happened_while_nobody_looked_is_history() {
    for use_graphql in [true, false] {
        let mut story = Story::unseen(
            watch_everything(),
            |_, _| {},
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        let run = |story: &Story, times: usize| {
            for _ in 0..times {
                let pipeline = story.create(&main_pipeline());
                story.wait(5);
                story
                    .world()
                    .finish_pipeline(pipeline, &Finish::success())
                    .expect("it ends");
            }
        };
        run(&story, 2);
        story.look().await;
        assert_eq!(story.value(RUNS, &[]), Some(2.0));
        // The process is gone for an hour, in which five more run; one goes on meanwhile.
        run(&story, 5);
        let going_on = story.create(&main_pipeline());
        story.wait(3600);
        story.restart();
        story.look_now().await;
        assert_eq!(story.count(RUNS, &[]), 0.0);
        assert_eq!(story.count(DURATION, &[]), 0.0);
        story
            .world()
            .finish_pipeline(going_on, &Finish::success())
            .expect("it ends");
        run(&story, 3);
        story.look_for(300).await;
        let what = format!("GraphQL {use_graphql}");
        assert_eq!(story.value(RUNS, &[]), Some(3.0), "created since, {what}");
        assert_eq!(story.value(DURATION, &[]), Some(4.0), "ended since, {what}");
        assert_eq!(story.value("age_job_run_count", &[]), Some(4.0), "{what}");
    }
}

#[tokio::test]
async fn a_deleted_branch_leaves() {
    for use_graphql in [true, false] {
        let mut story = Story::unseen(
            watch_existing(),
            |world, app| {
                world.push(app, "feature").expect("a branch");
            },
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        // GitLab moves the activity of a project at most once an hour.
        story.look_for(2 * 3600).await;
        for branch in ["feature", "main"] {
            let pipeline = story.create(&PipelineSpec::branch(branch).stage("test", &["unit"]));
            story.wait(3);
            story
                .world()
                .finish_pipeline(pipeline, &Finish::success())
                .expect("it ends");
        }
        story.look_for(2 * BIRTH_WINDOW).await;
        let what = format!("GraphQL {use_graphql}");
        let refs = story.values_of(STATUS, "ref");
        assert_eq!(refs, ["feature", "main"], "{what}");
        story
            .world()
            .delete_branch(story.app, "feature")
            .expect("it is gone");
        // By REST the activity is looked at every five minutes.
        story
            .look_for(if use_graphql { 2 * LOOK } else { 330 })
            .await;
        for metric in [STATUS, "age_job_status", "age_pipeline_id", "age_job_id"] {
            assert_eq!(story.values_of(metric, "ref"), ["main"], "{metric}, {what}");
        }
        story.look_for(BIRTH_WINDOW + LOOK).await;
        for metric in [
            RUNS,
            DURATION,
            "age_job_run_count",
            "age_job_duration_seconds",
        ] {
            assert_eq!(story.values_of(metric, "ref"), ["main"], "{metric}, {what}");
            assert_eq!(story.value(metric, &[]), Some(1.0), "{metric}, {what}");
        }
    }
}

#[tokio::test]
async fn a_deletion_within_the_hour_is_seen_at_its_end() {
    let mut story = Story::with(watch_existing(), |_, _| {}).await;
    story.look_for(2 * 3600).await;
    story.world().push(story.app, "feature").expect("a branch");
    story.create(&PipelineSpec::branch("feature").skipped());
    story.look_for(300).await;
    assert_eq!(story.values_of(STATUS, "ref"), ["feature"]);
    // The push has moved the activity a moment ago: the deletion does not.
    story
        .world()
        .delete_branch(story.app, "feature")
        .expect("it is gone");
    story.look_for(4200).await;
    assert_eq!(story.values_of(STATUS, "ref"), [""; 0]);
}

#[tokio::test]
async fn a_status_flip_leaves_one_series() {
    let mut story = Story::begin().await;
    let pipeline = story.create(&main_pipeline());
    let job = story.world().job_named(pipeline, "unit").expect("unit").id;
    let mut seen = Vec::new();
    for step in 0..4 {
        story.look().await;
        for metric in [STATUS, "age_job_status"] {
            let all = story.exporter.shown();
            assert_eq!(all.metric(metric).len(), 1, "{metric}");
        }
        seen.extend(story.values_of("age_job_status", "status"));
        let mut world = story.world();
        match step {
            0 => world.start_job(job, Some(1)).expect("it starts"),
            1 => world
                .finish_job(job, &Finish::failed("script_failure"))
                .expect("it fails"),
            2 => drop(world.retry_job(job).expect("a retry")),
            _ => {}
        }
    }
    assert_eq!(seen, ["pending", "running", "failed", "pending"]);
}

/// Every path that a series bears.
fn paths(story: &Story) -> BTreeSet<String> {
    let shown = story.exporter.shown();
    let labels = shown.0.keys().flat_map(|(_, labels)| labels.iter());
    labels
        .filter(|(key, _)| ["project", "parent_project"].contains(&key.as_str()))
        .map(|(_, value)| value.clone())
        .collect()
}

/// Paths that states bear.
fn state_paths(story: &Story) -> BTreeSet<String> {
    let shown = story.exporter.shown();
    let states = [
        STATUS,
        "age_job_status",
        "age_child_pipeline_status",
        "age_jobs_running",
    ];
    shown
        .0
        .keys()
        .filter(|(metric, _)| states.contains(&metric.as_str()))
        .flat_map(|(_, labels)| {
            let own = labels.get("project").into_iter();
            own.chain(labels.get("parent_project")).cloned()
        })
        .collect()
}

#[tokio::test]
async fn a_renamed_project_goes_on_under_its_new_path() {
    for use_graphql in [true, false] {
        let mut story = Story::unseen(
            watch_everything(),
            |world, _| {
                world.add_project("group/lib").expect("a project");
            },
            |client| client.use_graphql = use_graphql,
        );
        let what = format!("GraphQL {use_graphql}");
        let lib = story.world().project_by_path("group/lib").expect("it").id;
        story.look_now().await;
        let child = vec![JobSpec::new("test", "lint")];
        let spec = main_pipeline()
            .job(JobSpec::child_bridge(
                "trigger",
                "child",
                false,
                child.clone(),
            ))
            .job(JobSpec::multi_project_bridge(
                "trigger", "to lib", lib, false, child,
            ));
        let parent = story.create(&spec);
        story.wait(5);
        let finish = Finish::success();
        story
            .world()
            .finish_pipeline(parent, &finish)
            .expect("the parent ends");
        // A downstream pipeline of each kind goes on while the project is renamed.
        story.look_for(2 * BIRTH_WINDOW).await;
        assert_eq!(
            story.value(RUNS, &[("source", "push")]),
            Some(1.0),
            "{what}"
        );
        assert_eq!(
            story.count("age_child_pipeline_run_count", &[]),
            2.0,
            "{what}"
        );
        let before = story.series();
        story
            .world()
            .move_project(story.app, "group/renamed")
            .expect("a rename");
        story
            .look_for(if use_graphql { 2 * LOOK } else { 330 })
            .await;
        let now = BTreeSet::from(["group/renamed".to_owned(), "group/lib".to_owned()]);
        assert_eq!(
            state_paths(&story),
            now,
            "the old path's states are gone, {what}"
        );
        // What the old path had counted is named by the new one, at 0.
        for ((metric, labels), value) in before.0 {
            let counts = metric.ends_with("_count") || metric.ends_with("_seconds");
            let own = labels.values().any(|value| value == "group/app");
            if !own || !counts || metric.contains("last_run") {
                continue;
            }
            let renamed: Vec<(&str, &str)> = labels
                .iter()
                .map(|(key, value)| match value.as_str() {
                    "group/app" => (key.as_str(), "group/renamed"),
                    other => (key.as_str(), other),
                })
                .collect();
            let shown = story.value(&metric, &renamed);
            assert_eq!(
                shown,
                Some(0.0),
                "{metric} {labels:?} was {value:?}, {what}"
            );
        }
        story.look_for(2 * BIRTH_WINDOW).await;
        assert_eq!(paths(&story), now, "the old path is gone, {what}");
        // What goes on ends, and something new happens.
        let open: Vec<u64> = {
            let world = story.world();
            let all = world.pipelines_of(story.app).chain(world.pipelines_of(lib));
            all.filter(|pipeline| !pipeline.status.is_complete())
                .map(|pipeline| pipeline.id)
                .collect()
        };
        assert_eq!(open.len(), 2);
        for pipeline in open {
            story
                .world()
                .finish_pipeline(pipeline, &finish)
                .expect("it ends");
        }
        let another = story.create(&main_pipeline());
        story.wait(5);
        story
            .world()
            .finish_pipeline(another, &finish)
            .expect("it ends");
        story.look_for(2 * BIRTH_WINDOW).await;
        assert_eq!(paths(&story), now, "{what}");
        let pushed = [("project", "group/renamed"), ("source", "push")];
        assert_eq!(story.value(RUNS, &pushed), Some(1.0), "{what}");
        assert_eq!(story.value(DURATION, &pushed), Some(1.0), "{what}");
        for bridge in ["child", "to lib"] {
            let labels = [("bridge_name", bridge), ("parent_project", "group/renamed")];
            let runs = story.value("age_child_pipeline_run_count", &labels);
            assert_eq!(runs, Some(0.0), "{bridge} was made before, {what}");
            let ended = story.value("age_child_pipeline_duration_seconds", &labels);
            assert_eq!(ended, Some(1.0), "{bridge}, {what}");
        }
        assert_eq!(story.count("age_job_run_count", &[]), 3.0, "{what}");
    }
}

#[tokio::test]
async fn the_old_path_can_be_taken_by_another_project() {
    let mut story = Story::begin().await;
    story.create(&main_pipeline().skipped());
    story.look_for(300).await;
    let other = {
        let mut world = story.world();
        world
            .move_project(story.app, "group/legacy")
            .expect("a rename");
        world.add_project("group/app").expect("a project")
    };
    story.look_for(600).await;
    {
        let mut world = story.world();
        for _ in 0..2 {
            world
                .create_pipeline(other, &main_pipeline().skipped())
                .expect("a pipeline");
        }
    }
    story.create(&main_pipeline().skipped());
    story.look_for(600).await;
    assert_eq!(story.value(RUNS, &[("project", "group/app")]), Some(2.0));
    assert_eq!(story.value(RUNS, &[("project", "group/legacy")]), Some(1.0));
    assert_eq!(story.labels_of(STATUS).len(), 2);
}
