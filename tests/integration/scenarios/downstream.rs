//! Child pipelines and pipelines of other projects, to any depth.

use amazing_gitlab_exporter::gitlab;
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::world::{Finish, JobSpec, PipelineId, PipelineSpec, ProjectId};

use super::{Story, main_pipeline, tracking};
use crate::support::core::watch_everything;

const RUNS: &str = "age_child_pipeline_run_count";
const DURATION: &str = "age_child_pipeline_duration_seconds";
const STATUS: &str = "age_child_pipeline_status";

fn plain(name: &str) -> Vec<JobSpec> {
    vec![JobSpec::new("test", name)]
}

/// A pipeline of `main` whose bridge starts a child, whose bridge starts a grandchild.
fn family(depend: bool) -> PipelineSpec {
    let mut child = plain("unit");
    child.push(JobSpec::child_bridge(
        "trigger",
        "grandchild",
        depend,
        plain("lint"),
    ));
    main_pipeline().job(JobSpec::child_bridge("trigger", "child", depend, child))
}

impl Story {
    /// Runs everything that can run, downstream too, a few seconds between the steps.
    fn run_all(&self) {
        for _ in 0..6 {
            self.wait(2);
            let mut world = self.world();
            let projects: Vec<ProjectId> = world.projects().map(|project| project.id).collect();
            let open: Vec<PipelineId> = projects
                .iter()
                .flat_map(|project| world.pipelines_of(*project))
                .filter(|pipeline| !pipeline.status.is_complete())
                .map(|pipeline| pipeline.id)
                .collect();
            for pipeline in open {
                world
                    .finish_pipeline(pipeline, &Finish::success())
                    .expect("it goes on");
            }
        }
    }

    fn project(&self, path: &str) -> ProjectId {
        self.world().add_project(path).expect("a project")
    }
}

#[tokio::test]
async fn children_and_grandchildren_count_by_what_started_them() {
    for depend in [true, false] {
        let mut story = Story::begin().await;
        story.create(&family(depend));
        story.run_all();
        story.look_for(300).await;
        for bridge in ["child", "grandchild"] {
            let labels = [
                ("bridge_name", bridge),
                ("parent_project", "group/app"),
                ("parent_ref", "main"),
                ("project", "group/app"),
                ("ref", "main"),
            ];
            assert_eq!(story.value(RUNS, &labels), Some(1.0), "{bridge}");
            assert_eq!(story.value(DURATION, &labels), Some(1.0), "{bridge}");
            let status = story.value(STATUS, &labels);
            assert_eq!(status, Some(1.0), "{bridge}");
        }
        // Children have their states there, and only there.
        assert_eq!(story.values_of("age_pipeline_status", "source"), ["push"]);
        let children = story.value("age_pipeline_run_count", &[("source", "parent_pipeline")]);
        assert_eq!(children, Some(2.0));
        assert_eq!(story.count(RUNS, &[]), 2.0);
        assert_eq!(story.count("age_job_run_count", &[]), 3.0);
    }
}

#[tokio::test]
async fn a_child_that_outlives_its_parent_counts_when_it_ends() {
    let mut story = Story::begin().await;
    let parent = story.create(&family(false));
    story.wait(2);
    story
        .world()
        .finish_pipeline(parent, &Finish::success())
        .expect("the parent ends");
    story.look_for(3600).await;
    assert_eq!(story.value(RUNS, &[("bridge_name", "child")]), Some(1.0));
    assert_eq!(story.values_of(STATUS, "status"), ["pending"]);
    assert_eq!(story.count(DURATION, &[]), 0.0);
    story.run_all();
    story.look_for(300).await;
    assert_eq!(
        story.value(DURATION, &[("bridge_name", "child")]),
        Some(1.0)
    );
    assert_eq!(
        story.value(RUNS, &[("bridge_name", "grandchild")]),
        Some(1.0)
    );
}

#[tokio::test]
async fn without_children_neither_family_has_any() {
    let mut settings = watch_everything();
    settings.collectors.pipelines.include_child_pipelines = false;
    let mut story = Story::with(settings, |_, _| {}).await;
    story.create(&family(true));
    story.run_all();
    story.look_for(300).await;
    assert_eq!(story.labels_of(RUNS).len(), 0);
    assert_eq!(story.labels_of(STATUS).len(), 0);
    assert_eq!(
        story.values_of("age_pipeline_run_count", "source"),
        ["push"]
    );
    assert_eq!(
        story.count("age_job_run_count", &[]),
        1.0,
        "unit of the parent"
    );
}

/// `group/app` starts a pipeline in `group/lib`, and that one in `other/tool`.
fn chain(story: &Story) -> PipelineSpec {
    let (lib, tool) = {
        let world = story.world();
        let id = |path| world.project_by_path(path).expect("a project").id;
        (id("group/lib"), id("other/tool"))
    };
    let mut jobs = plain("unit");
    jobs.push(JobSpec::multi_project_bridge(
        "trigger",
        "to tool",
        tool,
        true,
        plain("build"),
    ));
    main_pipeline().job(JobSpec::multi_project_bridge(
        "trigger", "to lib", lib, true, jobs,
    ))
}

fn assert_chain(story: &Story, what: &str) {
    for (bridge, parent, project) in [
        ("to lib", "group/app", "group/lib"),
        ("to tool", "group/lib", "other/tool"),
    ] {
        let labels = [
            ("bridge_name", bridge),
            ("parent_project", parent),
            ("parent_ref", "main"),
            ("project", project),
            ("ref", "main"),
        ];
        assert_eq!(story.value(RUNS, &labels), Some(1.0), "{what}: {bridge}");
        let duration = story.value(DURATION, &labels);
        assert_eq!(duration, Some(1.0), "{what}: {bridge}");
        let status = story.value(STATUS, &labels);
        assert_eq!(status, Some(1.0), "{what}: {bridge}");
    }
    assert_eq!(story.count(RUNS, &[]), 2.0, "{what}");
}

#[tokio::test]
async fn a_chain_of_three_projects_is_the_same_whoever_is_tracked() {
    for tracked in [
        &["group/app", "group/lib", "other/tool"][..],
        &["group/app", "group/lib"],
        &["group/app", "other/tool"],
        &["group/app"],
    ] {
        for use_graphql in [true, false] {
            let mut story = Story::unseen(
                tracking(tracked),
                |world, _| {
                    for path in ["group/lib", "other/tool"] {
                        world.add_project(path).expect("a project");
                    }
                },
                |client| client.use_graphql = use_graphql,
            );
            story.look_now().await;
            story.create(&chain(&story));
            for _ in 0..4 {
                story.run_all();
                story.look().await;
            }
            story.look_for(300).await;
            assert_chain(&story, &format!("{tracked:?}, GraphQL {use_graphql}"));
            let own = story.count("age_pipeline_run_count", &[]);
            #[expect(clippy::cast_precision_loss, reason = "up to 3")]
            let want = tracked.len() as f64;
            assert_eq!(own, want, "pipelines of tracked projects");
        }
    }
}

#[tokio::test]
async fn a_downstream_project_that_is_hidden_leaves_the_rest_alone() {
    for use_graphql in [true, false] {
        let mut story = Story::unseen(
            watch_everything(),
            |world, _| {
                for path in ["group/lib", "other/tool"] {
                    world.add_project(path).expect("a project");
                }
                let tool = world.project_by_path("other/tool").expect("it").id;
                let token = gitlab_simulator::world::DEFAULT_TOKEN;
                world
                    .set_role(token, tool, AccessLevel::None)
                    .expect("a token");
            },
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        story.create(&chain(&story));
        for _ in 0..4 {
            story.run_all();
            story.look().await;
        }
        story.look_for(300).await;
        let bridges = story.values_of(RUNS, "bridge_name");
        assert_eq!(bridges, ["to lib"], "GraphQL {use_graphql}");
        assert_eq!(story.count("age_pipeline_run_count", &[]), 2.0);
        assert_eq!(
            story
                .exporter
                .heard
                .failures("child_pipelines", "not_found"),
            0
        );
    }
}

#[tokio::test]
async fn a_cycle_is_followed_once() {
    for tracked in [&["group/app", "group/lib"][..], &["group/app"]] {
        for use_graphql in [true, false] {
            let mut story = Story::unseen(
                tracking(tracked),
                |world, _| {
                    world.add_project("group/lib").expect("a project");
                },
                |client| client.use_graphql = use_graphql,
            );
            let lib = story.world().project_by_path("group/lib").expect("it").id;
            story.look_now().await;
            // App starts lib, which starts app again, which would go on for ever in GitLab.
            let back =
                JobSpec::multi_project_bridge("trigger", "back", story.app, false, plain("last"));
            let there = JobSpec::multi_project_bridge("trigger", "there", lib, false, vec![back]);
            let first = story.create(&main_pipeline().job(there));
            for _ in 0..4 {
                story.run_all();
                story.look().await;
            }
            // The last pipeline claims to have started the first.
            let last = {
                let world = story.world();
                world.pipelines_of(story.app).next().expect("the last").id
            };
            assert_ne!(last, first);
            {
                let mut world = story.world();
                let back = JobSpec::child_bridge("loop", "loop", false, plain("unit"));
                let bridge = world.add_job(last, &back).expect("a bridge");
                world
                    .edit_job(bridge, |bridge| bridge.downstream_id = Some(first))
                    .expect("a bridge");
            }
            story.look_for(300).await;
            let what = format!("{tracked:?}, GraphQL {use_graphql}");
            assert_eq!(
                story.value(RUNS, &[("bridge_name", "there")]),
                Some(1.0),
                "{what}"
            );
            assert_eq!(
                story.value(RUNS, &[("bridge_name", "back")]),
                Some(1.0),
                "{what}"
            );
            assert_eq!(story.count(RUNS, &[]), 2.0, "{what}");
        }
    }
}

#[tokio::test]
async fn children_of_merge_requests_belong_to_them() {
    let mut story = Story::begin().await;
    let number = story
        .world()
        .create_merge_request(story.app, "feature", "main")
        .expect("a merge request");
    let spec = PipelineSpec::merge_request(number).job(JobSpec::child_bridge(
        "trigger",
        "child",
        true,
        plain("unit"),
    ));
    story.create(&spec);
    story.run_all();
    story.look_for(300).await;
    let counted = [
        ("parent_ref", "merge-requests/main"),
        ("ref", "merge-requests/main"),
    ];
    assert_eq!(story.value(RUNS, &counted), Some(1.0));
    let shown = [
        ("parent_ref", "merge-requests/1"),
        ("ref", "merge-requests/1"),
    ];
    assert_eq!(story.value(STATUS, &shown), Some(1.0));
}

#[tokio::test]
async fn an_untracked_project_is_seen_only_from_upstream() {
    let mut story = Story::with(tracking(&["group/app"]), |_, _| {}).await;
    let lib = story.project("group/lib");
    let bridge = JobSpec::multi_project_bridge("trigger", "to lib", lib, false, plain("unit"));
    story.create(&main_pipeline().job(bridge));
    story.wait(2);
    let parent = {
        let world = story.world();
        world.pipelines_of(story.app).next().expect("it").id
    };
    story
        .world()
        .finish_pipeline(parent, &Finish::success())
        .expect("the parent ends");
    story.look_for(600).await;
    assert_eq!(story.value(RUNS, &[]), Some(1.0));
    assert_eq!(story.values_of(STATUS, "status"), ["pending"]);
    story.run_all();
    story.look_for(120).await;
    assert_eq!(story.value(DURATION, &[]), Some(1.0));
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
    assert_eq!(story.values_of("age_job_run_count", "job_name"), ["unit"]);
}

const JOB_STATUS: &str = "age_job_status";
const CHILD_JOB_STATUS: &str = "age_child_pipeline_job_status";
const FAILURES: &str = "age_job_failures_total";

impl Story {
    fn trigger(&self, pipeline: PipelineId, name: &str) -> Option<PipelineId> {
        let mut world = self.world();
        let bridge = world.job_named(pipeline, name).expect("a trigger job").id;
        world.trigger_bridge(bridge).ok()
    }
}

#[tokio::test]
async fn a_trigger_job_that_starts_nothing_says_why() {
    for by_graphql in [true, false] {
        let ways = |client: &mut gitlab::Settings| client.use_graphql = by_graphql;
        let mut story = Story::unseen(watch_everything(), |_, _| {}, ways);
        story.look_now().await;
        let bridge = JobSpec::multi_project_bridge("test", "deploy", 999, true, plain("ship"));
        let pipeline = story.create(&main_pipeline().job(bridge));
        story.wait(2);
        assert_eq!(
            story.trigger(pipeline, "deploy"),
            None,
            "there is no such project"
        );
        story.look_for(60).await;
        let why = [
            ("failure_reason", "downstream_bridge_project_not_found"),
            ("job_name", "deploy"),
            ("ref", "main"),
            ("stage", "test"),
        ];
        assert_eq!(story.value(JOB_STATUS, &why), Some(1.0), "{by_graphql}");
        assert_eq!(story.value(FAILURES, &why), Some(1.0));
        story.run_all();
        story.look_for(600).await;
        assert_eq!(story.value(FAILURES, &why), Some(1.0), "once");
        let runs = story.count("age_job_run_count", &[("job_name", "deploy")]);
        assert_eq!(runs, 0.0, "no runner ran it");
    }
}

#[tokio::test]
async fn a_red_pipeline_names_the_job_of_its_child_that_failed() {
    let mut story = Story::begin().await;
    // Its parent goes on: what became of the trigger job moves no pipeline.
    let child = JobSpec::child_bridge("test", "child", true, plain("lint"));
    let parent = story.create(&main_pipeline().job(child));
    story.wait(2);
    let child = story.trigger(parent, "child").expect("a child");
    story.look_for(120).await;
    let bridge = [("job_name", "child")];
    assert_eq!(
        story.value(JOB_STATUS, &[("job_name", "child"), ("status", "running")]),
        Some(1.0)
    );
    assert_eq!(story.values_of(CHILD_JOB_STATUS, "status"), ["pending"]);
    story
        .world()
        .finish_pipeline(child, &Finish::failed("script_failure"))
        .expect("it fails");
    story.look().await;
    let lint = [
        ("bridge_name", "child"),
        ("failure_reason", "script_failure"),
        ("job_name", "lint"),
        ("project", "group/app"),
        ("ref", "main"),
        ("stage", "test"),
        ("status", "failed"),
    ];
    assert_eq!(story.value(CHILD_JOB_STATUS, &lint), Some(1.0));
    assert_eq!(story.value(FAILURES, &[("job_name", "lint")]), Some(1.0));
    let failed = story.labels_of(JOB_STATUS);
    let failed: Vec<_> = failed
        .iter()
        .filter(|labels| bridge.iter().all(|(name, value)| labels[*name] == *value))
        .map(|labels| labels["status"].as_str())
        .collect();
    assert_eq!(failed, ["failed"]);
}

#[tokio::test]
async fn at_a_start_the_jobs_of_the_child_that_failed_are_shown() {
    let mut story = Story::unseen(watch_everything(), |_, _| {}, |_| {});
    let child = JobSpec::child_bridge("trigger", "child", true, plain("lint"));
    let parent = story.create(&main_pipeline().job(child));
    story
        .world()
        .finish_pipeline(parent, &Finish::success())
        .expect("its jobs");
    let child = {
        let world = story.world();
        let mut all = world.pipelines_of(story.app);
        all.find(|one| &*one.source == "parent_pipeline")
            .expect("a child")
            .id
    };
    let finish = Finish::failed("script_failure");
    story
        .world()
        .finish_pipeline(child, &finish)
        .expect("it fails");
    story.wait(7200);
    story.look_for(300).await;
    let failed = [("job_name", "lint"), ("status", "failed")];
    assert_eq!(story.value(CHILD_JOB_STATUS, &failed), Some(1.0));
    assert_eq!(story.count(FAILURES, &[]), 0.0, "it is history");
}
