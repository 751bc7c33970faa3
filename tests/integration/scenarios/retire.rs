//! Counters and histograms of what is gone leave, whatever happens last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amazing_gitlab_exporter::config::Settings;
use amazing_gitlab_exporter::store::{Commit, MemoryStore, Remembered, Store, StoreError};
use async_trait::async_trait;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{Finish, JobSpec, PipelineId, PipelineSpec};

use super::life::watch_existing;
use super::{LOOK, Story};
use crate::support::core::Core;

/// The birth window of the settings.
pub const BIRTH_WINDOW: u64 = 120;

const RUNS: &str = "age_pipeline_run_count";
const DURATION: &str = "age_pipeline_duration_seconds";
const JOB_RUNS: &str = "age_job_run_count";

impl Story {
    /// A story in which deletions are noticed at once, with the branch `feature`.
    pub async fn with_feature(settings: Settings) -> Self {
        Self::with(settings, |world, app| {
            world.quirks.activity_throttled = false;
            world.push(app, "feature").expect("a branch");
        })
        .await
    }

    /// A pipeline with a job that runs.
    pub fn running(&self, spec: PipelineSpec) -> PipelineId {
        let pipeline = self.create(&spec.stage("test", &["unit"]));
        let mut world = self.world();
        let job = world.job_named(pipeline, "unit").expect("unit").id;
        world.start_job(job, Some(1)).expect("it starts");
        pipeline
    }

    pub fn succeeds(&self, pipeline: PipelineId) {
        let mut world = self.world();
        world
            .finish_pipeline(pipeline, &Finish::success())
            .expect("it ends");
    }

    pub fn delete_branch(&self, name: &str) {
        let mut world = self.world();
        world.delete_branch(self.app, name).expect("it is gone");
    }

    /// Series of counters and histograms that have these labels, as a delivery shows them now.
    pub fn left(&self, labels: super::Select<'_>) -> Vec<String> {
        let shown = self.exporter.shown();
        let left = shown.0.keys().filter(|(_, has)| {
            let mut labels = labels.iter();
            labels.all(|(key, value)| has.get(*key).is_some_and(|has| has == value))
        });
        left.map(|(metric, labels)| format!("{metric} {labels:?}"))
            .collect()
    }
}

const FEATURE: super::Select<'static> = &[("ref", "feature")];

#[tokio::test]
async fn a_branch_that_is_deleted_while_its_pipeline_runs_leaves_when_that_has_ended() {
    let mut story = Story::with_feature(watch_existing()).await;
    let pipeline = story.running(PipelineSpec::branch("feature"));
    story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(RUNS, FEATURE), Some(1.0));
    story.delete_branch("feature");
    // Longer than counters of something that is gone stay.
    story.look_for(3 * BIRTH_WINDOW).await;
    assert_eq!(story.left(FEATURE), [""; 0], "its counters left meanwhile");
    story.succeeds(pipeline);
    story.look().await;
    for metric in [DURATION, JOB_RUNS] {
        assert_eq!(story.shown(metric, FEATURE), Some(0.0), "{metric} is born");
    }
    story.look_for(BIRTH_WINDOW).await;
    for metric in [DURATION, JOB_RUNS] {
        assert_eq!(story.shown(metric, FEATURE), Some(1.0), "{metric} is seen");
    }
    story.look_for(BIRTH_WINDOW + LOOK).await;
    assert_eq!(story.left(FEATURE), [""; 0]);
}

#[tokio::test]
async fn what_a_deleted_branch_started_in_another_project_leaves_with_it() {
    let mut lib = 0;
    let mut story = Story::with(watch_existing(), |world, app| {
        world.quirks.activity_throttled = false;
        world.push(app, "feature").expect("a branch");
        lib = world.add_project("group/lib").expect("a project");
    })
    .await;
    let jobs = vec![JobSpec::new("test", "lint")];
    let bridge = JobSpec::multi_project_bridge("trigger", "to lib", lib, false, jobs);
    for branch in ["feature", "main"] {
        let spec = PipelineSpec::branch(branch).job(bridge.clone());
        let pipeline = story.create(&spec);
        story.succeeds(pipeline);
    }
    story.look().await;
    let child = {
        let world = story.world();
        world.pipelines_of(lib).map(|it| it.id).collect::<Vec<_>>()
    };
    for pipeline in child {
        story.succeeds(pipeline);
    }
    story.look_for(2 * BIRTH_WINDOW).await;
    let runs = "age_child_pipeline_run_count";
    let of = |branch| [("parent_project", "group/app"), ("parent_ref", branch)];
    assert_eq!(story.shown(runs, &of("feature")), Some(1.0));
    story.delete_branch("feature");
    story.look_for(3 * BIRTH_WINDOW).await;
    for counted in [
        runs,
        "age_child_pipeline_duration_seconds",
        "age_child_pipeline_queued_duration_seconds",
    ] {
        assert_eq!(story.shown(counted, &of("feature")), None, "{counted}");
        assert_eq!(story.shown(counted, &of("main")), Some(1.0), "{counted}");
    }
}

#[tokio::test]
async fn counters_leave_with_their_branch_where_jobs_alone_are_collected() {
    let mut settings = watch_existing();
    settings.collectors.pipelines.enabled = false;
    let mut story = Story::with_feature(settings).await;
    for branch in ["feature", "main"] {
        let pipeline = story.running(PipelineSpec::branch(branch));
        story.succeeds(pipeline);
    }
    story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(JOB_RUNS, FEATURE), Some(1.0));
    story.delete_branch("feature");
    story.look_for(3 * BIRTH_WINDOW).await;
    assert_eq!(story.left(FEATURE), [""; 0]);
    assert_eq!(story.shown(JOB_RUNS, &[("ref", "main")]), Some(1.0));
}

#[tokio::test]
async fn a_deletion_is_seen_though_branches_cannot_be_listed_at_first() {
    let mut story = Story::with_feature(watch_existing()).await;
    for branch in ["feature", "main"] {
        let pipeline = story.running(PipelineSpec::branch(branch));
        story.succeeds(pipeline);
    }
    story.look_for(2 * BIRTH_WINDOW).await;
    let branches = "/api/v4/projects/:id/repository/branches";
    let broken = Rule::new(Fault::Status { status: 500 }).on(branches);
    let broken = story.gitlab.faults().add(broken);
    story.delete_branch("feature");
    story.look_for(2 * LOOK).await;
    assert!(story.gitlab.faults().hits(broken) > 0);
    story.gitlab.faults().clear();
    story.look_for(360).await;
    assert_eq!(story.values_of("age_pipeline_status", "ref"), ["main"]);
}

#[tokio::test]
async fn an_end_that_comes_with_the_deletion_is_seen_before_the_branch_leaves() {
    let mut story = Story::with_feature(watch_existing()).await;
    let pipeline = story.running(PipelineSpec::branch("feature"));
    story.look_for(2 * BIRTH_WINDOW).await;
    story.succeeds(pipeline);
    story.delete_branch("feature");
    story.look().await;
    assert_eq!(story.values_of("age_pipeline_status", "ref"), [""; 0]);
    let mut seen = Vec::new();
    for _ in 0..12 {
        seen.push(story.shown(DURATION, FEATURE));
        story.look().await;
    }
    seen.dedup();
    assert_eq!(seen, [Some(0.0), Some(1.0), None]);
    assert_eq!(story.left(FEATURE), [""; 0]);
    // The branch comes back: it begins at 0.
    story.world().push(story.app, "feature").expect("a branch");
    let pipeline = story.running(PipelineSpec::branch("feature"));
    story.succeeds(pipeline);
    story.look().await;
    assert_eq!(story.shown(DURATION, FEATURE), Some(0.0));
    story.look_for(BIRTH_WINDOW).await;
    assert_eq!(story.shown(DURATION, FEATURE), Some(1.0));
}

/// A store that is out of order at times.
#[derive(Debug, Default)]
struct Shaky {
    broken: AtomicBool,
    store: MemoryStore,
}

#[async_trait]
impl Store for Shaky {
    async fn load(&self) -> Result<Remembered, StoreError> {
        self.store.load().await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the disk is full".to_owned()));
        }
        self.store.commit(commit).await
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_project_that_is_deleted_while_the_store_fails_leaves_when_it_works_again() {
    let mut story = Story::unseen(watch_existing(), |_, _| {}, |_| {});
    let store = Arc::<Shaky>::default();
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    story.exporter = Core::over(shared, &story.gitlab, &story.settings, &story.client);
    story.look_now().await;
    let pipeline = story.running(PipelineSpec::branch("main"));
    story.succeeds(pipeline);
    story.look_for(2 * BIRTH_WINDOW).await;
    let app = [("project", "group/app")];
    assert_eq!(story.shown(DURATION, &app), Some(1.0));
    store.broken.store(true, Ordering::SeqCst);
    story.world().delete_project(story.app).expect("it is gone");
    story.look_for(2 * LOOK).await;
    assert_eq!(story.values_of("age_pipeline_status", "ref"), ["main"]);
    store.broken.store(false, Ordering::SeqCst);
    story.look().await;
    assert_eq!(story.values_of("age_pipeline_status", "ref"), [""; 0]);
    story.look_for(3 * BIRTH_WINDOW).await;
    assert_eq!(story.left(&app), [""; 0]);
}

#[tokio::test]
async fn counters_of_tags_leave_with_their_states_and_what_happens_later_still_counts() {
    let mut settings = watch_existing();
    let tags = &mut settings.wildcards[0].settings.refs.tags;
    tags.most_recent = 1;
    let mut story = Story::with(settings, |world, app| {
        for tag in ["v1", "v2", "v3", "v4"] {
            world.create_tag(app, tag).expect("a tag");
        }
    })
    .await;
    let late = story.running(PipelineSpec::tag("v1"));
    story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(RUNS, OLD), Some(1.0));
    for tag in ["v2", "v3", "v4"] {
        let pipeline = story.running(PipelineSpec::tag(tag));
        story.succeeds(pipeline);
        story.look_for(LOOK).await;
    }
    story.look_for(3 * BIRTH_WINDOW).await;
    assert_eq!(story.left(OLD), [""; 0], "three newer ones have come");
    assert_eq!(story.shown(RUNS, &[("ref", "v4")]), Some(1.0));

    story.succeeds(late);
    story.look().await;
    assert_eq!(story.shown(DURATION, OLD), Some(0.0), "its end is born");
    story.look_for(BIRTH_WINDOW).await;
    assert_eq!(story.shown(DURATION, OLD), Some(1.0), "and seen");
    story.look_for(BIRTH_WINDOW + LOOK).await;
    assert_eq!(story.left(OLD), [""; 0]);
}

const OLD: super::Select<'static> = &[("ref", "v1")];

#[tokio::test]
async fn the_jobs_of_a_branch_leave_with_it_though_a_tag_has_its_name() {
    let mut story = Story::with(watch_existing(), |world, app| {
        world.quirks.activity_throttled = false;
        world.push(app, "v1").expect("a branch");
        world.create_tag(app, "v1").expect("a tag");
    })
    .await;
    for spec in [PipelineSpec::branch("v1"), PipelineSpec::tag("v1")] {
        let pipeline = story.running(spec);
        story.succeeds(pipeline);
    }
    story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(JOB_RUNS, OLD), Some(1.0));
    story.delete_branch("v1");
    story.look_for(3 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(JOB_RUNS, OLD), None);
    assert_eq!(story.shown(JOB_RUNS, &[("ref", "tags/v1")]), Some(1.0));
    assert_eq!(story.shown(RUNS, &[("kind", "tag")]), Some(1.0));
    assert_eq!(story.shown(RUNS, &[("kind", "branch")]), None);
}
