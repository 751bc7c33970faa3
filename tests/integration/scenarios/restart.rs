//! What changes in GitLab while the exporter is down, with a state file.

use std::path::PathBuf;
use std::time::Duration;

use amazing_gitlab_exporter::config::{ProjectEntry, Settings};
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::world::{DEFAULT_TOKEN, PipelineSpec, ProjectId};
use tempfile::TempDir;

use super::life::watch_existing;
use super::retire::BIRTH_WINDOW;
use super::{Story, main_pipeline};
use crate::support::core::Core;

const RUNS: &str = "age_pipeline_run_count";
const STATUS: &str = "age_pipeline_status";
const DURATION: &str = "age_pipeline_duration_seconds";

/// A story with a state file.
struct Kept {
    story: Story,
    folder: TempDir,
    /// Projects `group/app`, which has branches `feature` and `main` and the tag `v1`,
    /// `group/gone` and `group/moved`, each with a run on each ref that was counted.
    gone: ProjectId,
    moved: ProjectId,
}

impl Kept {
    async fn begin(settings: Settings) -> Self {
        let (mut gone, mut moved) = (0, 0);
        let before = |world: &mut gitlab_simulator::World, app| {
            world.quirks.activity_throttled = false;
            world.push(app, "feature").expect("a branch");
            world.create_tag(app, "v1").expect("a tag");
            gone = world.add_project("group/gone").expect("a project");
            moved = world.add_project("group/moved").expect("a project");
        };
        let story = Story::unseen(settings, before, |_| {});
        let folder = tempfile::tempdir().expect("a folder");
        let mut kept = Self {
            story,
            folder,
            gone,
            moved,
        };
        kept.start().await;
        kept.story.look_now().await;
        for spec in [
            PipelineSpec::branch("feature"),
            PipelineSpec::branch("main"),
            PipelineSpec::tag("v1"),
        ] {
            let pipeline = kept.story.running(spec);
            kept.story.succeeds(pipeline);
        }
        for project in [gone, moved] {
            kept.run(project);
        }
        kept.story.look_for(2 * BIRTH_WINDOW).await;
        assert_eq!(kept.story.count(RUNS, &[]), 5.0);
        kept
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.redb")
    }

    /// A pipeline of `main` runs in a project.
    fn run(&self, project: ProjectId) {
        let mut world = self.story.world();
        let pipeline = world
            .create_pipeline(project, &main_pipeline())
            .expect("a pipeline");
        drop(world);
        self.story.succeeds(pipeline);
    }

    /// The process is killed: nothing is put in order.
    fn kill(&mut self) {
        self.story.restart();
    }

    async fn start(&mut self) {
        let Story {
            gitlab,
            settings,
            client,
            ..
        } = &self.story;
        let exporter = Core::with_state(gitlab, settings, client, &self.path()).await;
        self.story.exporter = exporter;
    }

    /// Killed, and back after a while in which something happens.
    async fn killed_while(&mut self, happens: impl FnOnce(&Self)) {
        self.kill();
        self.story.wait(600);
        happens(self);
        self.story.wait(600);
        self.start().await;
    }

    /// `project ref` of each state.
    fn states(&self) -> Vec<String> {
        let all = self.story.labels_of(STATUS);
        let mut states: Vec<String> = all
            .into_iter()
            .map(|labels| format!("{} {}", labels["project"], labels["ref"]))
            .collect();
        states.sort();
        states
    }
}

/// All projects by their names.
fn by_name() -> Settings {
    let mut settings = watch_existing();
    let wildcard = settings.wildcards.remove(0);
    let entry = |name: &str| ProjectEntry {
        name: name.to_owned(),
        settings: wildcard.settings.clone(),
    };
    settings.projects = ["group/app", "group/gone", "group/moved"].map(entry).into();
    settings
}

#[tokio::test]
async fn what_went_while_it_was_down_is_gone_and_what_was_renamed_goes_on() {
    for settings in [watch_existing(), by_name()] {
        let mut kept = Kept::begin(settings).await;
        kept.killed_while(|kept| {
            let mut world = kept.story.world();
            world.delete_branch(kept.story.app, "feature").expect("it");
            world.delete_tag(kept.story.app, "v1").expect("it");
            world.delete_project(kept.gone).expect("it");
            world
                .move_project(kept.moved, "group/renamed")
                .expect("a rename");
            drop(world);
            // Something happens on what is renamed, and on what stays.
            kept.run(kept.moved);
            kept.run(kept.story.app);
        })
        .await;
        assert_eq!(kept.states(), [""; 0], "nothing was looked at yet");
        kept.story.look_now().await;
        let now = ["group/app main", "group/renamed main"];
        assert_eq!(kept.states(), now);
        let runs = |kept: &Kept, project| {
            let labels = [("project", project), ("ref", "main")];
            (
                kept.story.shown(RUNS, &labels),
                kept.story.shown(DURATION, &labels),
            )
        };
        let shown = |value| (Some(value), Some(value));
        assert_eq!(runs(&kept, "group/app"), shown(2.0));
        assert_eq!(runs(&kept, "group/renamed"), shown(0.0), "it is born");
        assert_eq!(runs(&kept, "group/moved"), shown(1.0), "for all to see");
        assert_eq!(runs(&kept, "group/gone"), (None, None), "after its grace");
        kept.story.look_for(BIRTH_WINDOW).await;
        assert_eq!(runs(&kept, "group/renamed"), shown(1.0));
        kept.story.look_for(2 * BIRTH_WINDOW).await;
        for gone in [
            ("project", "group/moved"),
            ("project", "group/gone"),
            ("ref", "feature"),
            ("ref", "v1"),
        ] {
            assert_eq!(kept.story.left(&[gone]), [""; 0]);
        }
        assert_eq!(kept.states(), now);
        assert_eq!(kept.story.count(RUNS, &[]), 3.0, "nothing twice");
        // The next process has nothing of them either.
        kept.killed_while(|_| {}).await;
        kept.story.look_for(60).await;
        assert_eq!(kept.states(), now);
        assert_eq!(kept.story.count(RUNS, &[]), 3.0);
        assert_eq!(kept.story.left(&[("project", "group/moved")]), [""; 0]);
    }
}

#[tokio::test]
async fn an_end_that_nobody_saw_before_the_kill_is_seen_after_it() {
    let mut kept = Kept::begin(watch_existing()).await;
    let feature = [("ref", "feature")];
    let pipeline = kept.story.running(PipelineSpec::branch("feature"));
    kept.story.look().await;
    kept.story.succeeds(pipeline);
    kept.story.delete_branch("feature");
    kept.story.look().await;
    assert_eq!(kept.story.shown(DURATION, &feature), Some(2.0));
    assert_eq!(kept.states().len(), 4, "{:?}", kept.states());
    kept.killed_while(|_| {}).await;
    let mut seen = Vec::new();
    for _ in 0..12 {
        kept.story.look().await;
        seen.push(kept.story.shown(DURATION, &feature));
        assert_eq!(kept.states().len(), 4, "{:?}", kept.states());
    }
    seen.dedup();
    assert_eq!(seen, [Some(2.0), None]);
    kept.killed_while(|_| {}).await;
    kept.story.look_for(60).await;
    assert_eq!(kept.story.left(&feature), [""; 0]);
}

#[tokio::test]
async fn rules_that_changed_while_it_was_down_let_go_of_what_they_leave_out() {
    let mut kept = Kept::begin(watch_existing()).await;
    kept.kill();
    let branches = &mut kept.story.settings.wildcards[0].settings.refs.branches;
    branches.regexp = "^main$".parse().expect("a regexp");
    kept.story.wait(600);
    kept.start().await;
    kept.story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(
        kept.states(),
        [
            "group/app main",
            "group/app v1",
            "group/gone main",
            "group/moved main"
        ]
    );
    assert_eq!(kept.story.left(&[("ref", "feature")]), [""; 0]);
}

#[tokio::test]
async fn a_role_that_was_lost_while_it_was_down_takes_everything_along() {
    let mut kept = Kept::begin(watch_existing()).await;
    kept.killed_while(|kept| {
        let mut world = kept.story.world();
        world
            .set_role(DEFAULT_TOKEN, kept.gone, AccessLevel::Guest)
            .expect("a token");
        world
            .change_settings(kept.gone, |settings| settings.public_jobs = false)
            .expect("it");
        world.set_archived(kept.moved, true).expect("it");
    })
    .await;
    kept.story.look_now().await;
    // Once GitLab has said what the token may read.
    kept.story.look_for(60).await;
    let now = ["group/app feature", "group/app main", "group/app v1"];
    assert_eq!(kept.states(), now);
    kept.story.look_for(2 * BIRTH_WINDOW).await;
    for gone in ["group/gone", "group/moved"] {
        let left = kept.story.left(&[("project", gone)]);
        let left = left.iter().filter(|left| {
            // A Guest still sees the project.
            !["age_jobs_", "age_project_last_success"]
                .iter()
                .any(|shown| left.starts_with(shown))
        });
        assert_eq!(left.count(), 0, "{gone}");
    }
    assert_eq!(kept.states(), now);
}

/// A clock is set back within a birth window: the value that was shown after it stays.
#[tokio::test]
async fn no_value_falls_over_a_restart_after_the_clock_was_set_back() {
    let mut kept = Kept::begin(watch_existing()).await;
    kept.story
        .create(&PipelineSpec::branch("main").source("web"));
    kept.story.look().await;
    let shown = |kept: &Kept| {
        let shown = kept.story.exporter.shown();
        let value = shown.value(RUNS, &[("source", "web")]);
        value.map(|value| value.count())
    };
    assert_eq!(shown(&kept), Some(0.0));
    let clock = kept.story.exporter.clock.clone();
    clock.set(clock.now().minus(Duration::from_secs(BIRTH_WINDOW / 2)));
    kept.story.exporter.settle_for(Duration::ZERO).await;
    let start = kept.story.exporter.latest_start();
    assert!(start < clock.now(), "a series starts at {start}");
    for _ in 0..4 {
        let third = Duration::from_secs(BIRTH_WINDOW / 3);
        kept.story.exporter.settle_for(third).await;
    }
    assert_eq!(shown(&kept), Some(1.0));
    kept.kill();
    kept.start().await;
    assert_eq!(shown(&kept), Some(1.0));
}

const DAY: u64 = 86_400;

#[tokio::test]
async fn a_name_that_no_pipeline_had_for_30_days_leaves_though_the_program_was_restarted() {
    let mut kept = Kept::begin(watch_existing()).await;
    let jobs = PipelineSpec::branch("main").stage("test", &["renamed"]);
    let pipeline = kept.story.create(&jobs);
    kept.story.succeeds(pipeline);
    kept.story.look_for(2 * BIRTH_WINDOW).await;
    let renamed = [("job_name", "renamed"), ("ref", "main")];
    for days in [11, 22, 33] {
        assert!(!kept.story.left(&renamed).is_empty(), "after {days} days");
        kept.kill();
        kept.story.wait(11 * DAY);
        kept.run(kept.story.app);
        kept.start().await;
        kept.story.look_for(2 * BIRTH_WINDOW).await;
    }
    assert_eq!(kept.story.left(&renamed), [""; 0]);
    let unit = [("job_name", "unit"), ("project", "group/app")];
    assert!(!kept.story.left(&unit).is_empty());
    // What is shown stays, though its branch had no pipeline for long.
    kept.kill();
    kept.story.wait(60 * DAY);
    kept.start().await;
    kept.story.look_for(2 * BIRTH_WINDOW).await;
    let main = [
        ("job_name", "unit"),
        ("project", "group/app"),
        ("ref", "main"),
    ];
    assert!(!kept.story.left(&main).is_empty());
}
