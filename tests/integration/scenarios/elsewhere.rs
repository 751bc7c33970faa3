//! What is named by other refs than its own: a downstream pipeline by what started it in another
//! project, a merge request's counters by its source branch. It leaves with what names it.

use amazing_gitlab_exporter::config::{
    CountRef, MergeRequestState as Watched, ProjectEntry, Settings,
};
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::DAY;
use gitlab_simulator::world::{JobSpec, MergeRequestState, PipelineId, PipelineSpec, ProjectId};

use super::life::watch_existing;
use super::retire::BIRTH_WINDOW;
use super::{LOOK, Select, Story, tracking};
use crate::support::core::Core;

const RUNS: &str = "age_child_pipeline_run_count";
const DURATION: &str = "age_child_pipeline_duration_seconds";
const STATUS: &str = "age_child_pipeline_status";

/// `group/app`, whose pipelines start pipelines in `group/lib`.
struct Two {
    story: Story,
    lib: ProjectId,
}

impl Two {
    async fn begin(use_graphql: bool, settings: Settings) -> Self {
        let mut lib = 0;
        let mut story = Story::unseen(
            settings,
            |world, app| {
                world.quirks.activity_throttled = false;
                world.push(app, "feature").expect("a branch");
                world.create_tag(app, "v1").expect("a tag");
                lib = world.add_project("group/lib").expect("a project");
            },
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        Self { story, lib }
    }

    /// A pipeline that has ended, and the one that it started in `group/lib`, which runs.
    fn starts(&self, spec: PipelineSpec) -> PipelineId {
        self.starts_in(self.lib, spec)
    }

    /// The same in another project.
    fn starts_in(&self, project: ProjectId, spec: PipelineSpec) -> PipelineId {
        let jobs = vec![JobSpec::new("test", "lint")];
        let bridge = JobSpec::multi_project_bridge("trigger", "to lib", project, false, jobs);
        let parent = self.story.create(&spec.job(bridge));
        self.story.wait(2);
        self.story.succeeds(parent);
        let mut world = self.story.world();
        let child = world.pipelines_of(project).map(|it| it.id).max();
        let child = child.expect("it was started");
        let job = world.job_named(child, "lint").expect("a job").id;
        world.start_job(job, Some(1)).expect("it starts");
        child
    }

    fn shown(&self, metric: &str, parent_ref: &str) -> Option<f64> {
        let labels = [
            ("parent_project", "group/app"),
            ("parent_ref", parent_ref),
            ("project", "group/lib"),
        ];
        self.story.shown(metric, &labels)
    }

    fn left(&self, parent_ref: &str) -> Vec<String> {
        self.story.left(&[("parent_ref", parent_ref)])
    }
}

/// Lists do not name the trigger job of a multi-project pipeline. Until that is read, the pipeline is counted
/// under no name.
#[tokio::test]
async fn a_trigger_job_of_a_project_that_is_not_tracked_is_named_or_waited_for() {
    let mut two = Two::begin(true, tracking(&["group/lib"])).await;
    two.starts(PipelineSpec::branch("main"));
    let fails = Rule::new(Fault::Status { status: 500 }).on("PipelineJobs");
    let fails = two.story.gitlab.faults().add(fails);
    two.story.look().await;
    assert!(two.story.gitlab.faults().hits(fails) > 0);
    assert_eq!(two.story.count(RUNS, &[]), 0.0, "it is not known yet");
    two.story.gitlab.faults().clear();
    two.story.look().await;
    assert_eq!(two.story.count(RUNS, &[("bridge_name", "to lib")]), 1.0);
    assert_eq!(two.story.count(RUNS, &[]), 1.0);
}

/// What the token may not read is asked for once, not at each poll.
#[tokio::test]
async fn a_trigger_job_that_is_hidden_is_asked_for_once() {
    let mut two = Two::begin(true, tracking(&["group/lib"])).await;
    let hidden = Fault::Replace {
        pointer: "/data/projects/nodes/0/pipeline/sourceJob".to_owned(),
        value: serde_json::Value::Null,
    };
    let hidden = two
        .story
        .gitlab
        .faults()
        .add(Rule::new(hidden).on("PipelineJobs"));
    two.starts(PipelineSpec::branch("main"));
    two.story.look_for(300).await;
    assert!(two.story.gitlab.faults().hits(hidden) > 0);
    let asked = two.story.gitlab.requests().all().into_iter();
    let asked = asked.filter(|request| {
        let variables = request.variables.as_ref();
        variables.is_some_and(|variables| variables["origin"] == true)
    });
    assert_eq!(asked.count(), 1);
    assert_eq!(two.story.count(RUNS, &[]), 1.0);
}

#[tokio::test]
async fn what_a_deleted_ref_started_in_another_project_leaves_though_it_is_read_again() {
    for use_graphql in [true, false] {
        for (spec, name) in [
            (PipelineSpec::branch("feature"), "feature"),
            (PipelineSpec::tag("v1"), "v1"),
        ] {
            let mut two = Two::begin(use_graphql, watch_existing()).await;
            let child = two.starts(spec);
            two.starts(PipelineSpec::branch("main"));
            two.story.look_for(2 * BIRTH_WINDOW).await;
            assert_eq!(two.shown(RUNS, name), Some(1.0), "{name}");
            assert_eq!(two.shown(STATUS, name), Some(1.0), "{name}");
            {
                let (app, mut world) = (two.story.app, two.story.world());
                match name {
                    "v1" => world.delete_tag(app, name).expect("it is gone"),
                    _ => world.delete_branch(app, name).expect("it is gone"),
                }
            }
            // By REST, the project's activity is read every five minutes.
            let noticed = if use_graphql {
                2 * LOOK
            } else {
                300 + 2 * LOOK
            };
            two.story.look_for(noticed).await;
            assert_eq!(two.shown(STATUS, name), None, "GraphQL {use_graphql}");
            assert_eq!(two.shown(STATUS, "main"), Some(1.0), "{name}");
            // It runs on, and is read at each look.
            two.story.look_for(3 * BIRTH_WINDOW).await;
            assert_eq!(two.left(name), [""; 0], "GraphQL {use_graphql}");
            // What ends on it is seen, and leaves again.
            two.story.succeeds(child);
            let mut seen = Vec::new();
            for _ in 0..12 {
                two.story.look().await;
                seen.push(two.shown(DURATION, name));
            }
            seen.dedup();
            assert_eq!(seen, [Some(0.0), Some(1.0), None], "{name}");
            assert_eq!(two.left(name), [""; 0], "GraphQL {use_graphql}");
            assert_eq!(two.shown(RUNS, "main"), Some(1.0), "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_ref_that_is_back_starts_in_another_project_counts_again() {
    let mut two = Two::begin(true, watch_existing()).await;
    let child = two.starts(PipelineSpec::branch("feature"));
    two.story.succeeds(child);
    two.story.look_for(2 * BIRTH_WINDOW).await;
    two.story.delete_branch("feature");
    two.story.look_for(3 * BIRTH_WINDOW).await;
    assert_eq!(two.left("feature"), [""; 0]);
    let app = two.story.app;
    two.story.world().push(app, "feature").expect("a branch");
    let child = two.starts(PipelineSpec::branch("feature"));
    two.story.look().await;
    two.story.succeeds(child);
    two.story.look_for(4 * BIRTH_WINDOW).await;
    for metric in [RUNS, DURATION, STATUS] {
        assert_eq!(two.shown(metric, "feature"), Some(1.0), "{metric}");
    }
}

#[tokio::test]
async fn what_a_deleted_merge_request_started_in_another_project_leaves() {
    let mut settings = watch_existing();
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.merge_requests.count_ref = CountRef::Iid;
    let mut two = Two::begin(true, settings).await;
    let app = two.story.app;
    let create = |two: &Two| {
        two.story
            .world()
            .create_merge_request(app, "feature", "main")
    };
    let (gone, stays) = (create(&two).expect("one"), create(&two).expect("one"));
    for number in [gone, stays] {
        let child = two.starts(PipelineSpec::merge_request(number));
        two.story.succeeds(child);
    }
    two.story.look_for(2 * BIRTH_WINDOW).await;
    for name in ["merge-requests/1", "merge-requests/2"] {
        assert_eq!(two.shown(RUNS, name), Some(1.0), "{name}");
        assert_eq!(two.shown(STATUS, name), Some(1.0), "{name}");
    }
    two.story
        .world()
        .delete_merge_request(app, gone)
        .expect("it is gone");
    two.story.look_for(4 * BIRTH_WINDOW).await;
    for metric in [RUNS, DURATION, STATUS] {
        assert_eq!(two.shown(metric, "merge-requests/1"), None, "{metric}");
        assert_eq!(two.shown(metric, "merge-requests/2"), Some(1.0), "{metric}");
    }
    let own = two.story.values_of("age_pipeline_status", "ref");
    assert_eq!(own, ["main", "merge-requests/2"]);
}

/// Nobody says when a branch is gone that its project does not watch: what it started elsewhere
/// leaves a month after the last of it, but for what is the newest there.
#[tokio::test]
async fn what_an_unwatched_branch_started_in_another_project_leaves_after_a_month() {
    let mut settings = watch_existing();
    let mut of_app = settings.wildcards[0].settings.clone();
    of_app.refs.branches.regexp = "^main$".parse().expect("a regular expression");
    settings.projects.push(ProjectEntry {
        name: "group/app".to_owned(),
        settings: of_app,
    });
    let mut two = Two::begin(true, settings).await;
    let app = two.story.app;
    two.story.world().push(app, "other").expect("a branch");
    for name in ["feature", "main", "other"] {
        let child = two.starts(PipelineSpec::branch(name));
        two.story.look().await;
        two.story.succeeds(child);
    }
    let month = u64::try_from(30 * DAY / 1000).expect("days");
    two.story.look_for(2 * BIRTH_WINDOW).await;
    two.story.wait(month - 3600);
    two.story.look_for(2 * BIRTH_WINDOW).await;
    for name in ["feature", "main", "other"] {
        assert_eq!(two.shown(RUNS, name), Some(1.0), "{name}");
        assert_eq!(two.shown(STATUS, name), Some(1.0), "{name}");
    }
    // What it starts in another project keeps what it started there, and no more.
    let tool = {
        let mut world = two.story.world();
        world.add_project("group/tool").expect("a project")
    };
    two.story.look_for(600).await;
    let child = two.starts_in(tool, PipelineSpec::branch("feature"));
    two.story.look().await;
    two.story.succeeds(child);
    two.story.look_for(2 * BIRTH_WINDOW).await;
    two.story.wait(3600);
    two.story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(two.shown(RUNS, "feature"), None);
    assert_eq!(two.shown(STATUS, "feature"), None);
    let in_tool = [("parent_ref", "feature"), ("project", "group/tool")];
    for metric in [RUNS, STATUS] {
        assert_eq!(two.story.shown(metric, &in_tool), Some(1.0), "{metric}");
    }
    for name in ["main", "other"] {
        assert_eq!(two.shown(RUNS, name), Some(1.0), "{name}");
        assert_eq!(two.shown(STATUS, name), Some(1.0), "{name}");
    }
    // The next that it starts takes its place: nothing keeps what was the newest before.
    let child = two.starts(PipelineSpec::branch("main"));
    two.story.look().await;
    two.story.succeeds(child);
    two.story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(two.left("other"), [""; 0]);
    assert_eq!(two.shown(RUNS, "main"), Some(2.0));
}

/// What a project that is not tracked starts is shared by all that start pipelines there: it stays
/// as long as one of them does.
#[tokio::test]
async fn what_two_projects_started_by_another_stays_while_one_of_them_goes_on() {
    let named = |name: &str| ProjectEntry {
        name: name.to_owned(),
        settings: watch_existing().wildcards.remove(0).settings,
    };
    let settings = Settings {
        projects: ["group/app", "group/web"].map(named).to_vec(),
        wildcards: Vec::new(),
        ..watch_existing()
    };
    let mut ids = Vec::new();
    let mut story = Story::unseen(
        settings,
        |world, app| {
            world.quirks.activity_throttled = false;
            ids.push(app);
            for path in ["group/web", "group/deploy", "group/target", "group/other"] {
                ids.push(world.add_project(path).expect("a project"));
            }
        },
        |_| {},
    );
    let [app, web, deploy, target, other] = ids[..] else {
        panic!("five projects: {ids:?}")
    };
    story.look_now().await;
    let starts = |story: &Story, from: ProjectId, through: ProjectId| {
        let jobs = vec![JobSpec::new("test", "lint")];
        let inner = JobSpec::multi_project_bridge("trigger", "to target", target, false, jobs);
        let outer = JobSpec::multi_project_bridge("trigger", "on", through, false, vec![inner]);
        let spec = PipelineSpec::branch("main").job(outer);
        let mut pipelines = vec![{
            let mut world = story.world();
            world.create_pipeline(from, &spec).expect("a pipeline")
        }];
        for project in [through, target] {
            story.wait(2);
            let newest = pipelines[pipelines.len() - 1];
            story.succeeds(newest);
            let world = story.world();
            let child = world.pipelines_of(project).map(|it| it.id).max();
            pipelines.push(child.expect("it was started"));
        }
        story.succeeds(pipelines[2]);
    };
    const SHARED: Select<'static> = &[
        ("parent_project", "group/deploy"),
        ("project", "group/target"),
    ];
    for from in [app, web] {
        starts(&story, from, deploy);
    }
    story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(RUNS, SHARED), Some(2.0));
    // The newest pipeline of `group/app` goes another way.
    starts(&story, app, other);
    story.look_for(2 * BIRTH_WINDOW).await;
    let month = u64::try_from(30 * DAY / 1000).expect("days");
    story.wait(month - 7200);
    starts(&story, web, deploy);
    story.look_for(2 * BIRTH_WINDOW).await;
    story.wait(7200);
    story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(RUNS, SHARED), Some(3.0));
}

const COUNTED: Select<'static> = &[("ref", "merge-requests/fix")];
const PIPELINES: &str = "age_pipeline_run_count";

/// Merge requests count under their source branches and are shown while they are open.
fn by_source_branch() -> Settings {
    let mut settings = watch_existing();
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.branches.regexp = "^main$".parse().expect("a regular expression");
    refs.merge_requests.count_ref = CountRef::SourceBranch;
    refs.merge_requests.states = vec![Watched::Opened];
    settings
}

impl Story {
    /// A story with a merge request from `fix` whose pipeline has ended.
    async fn fix(settings: Settings) -> (Self, u64) {
        let mut story = Self::with(settings, |world, _| {
            world.quirks.activity_throttled = false;
        })
        .await;
        let number = story.request("fix");
        let pipeline = story.running(PipelineSpec::merge_request(number));
        story.succeeds(pipeline);
        story.look_for(2 * BIRTH_WINDOW).await;
        assert_eq!(story.shown(PIPELINES, COUNTED), Some(1.0));
        (story, number)
    }

    fn request(&self, source: &str) -> u64 {
        let mut world = self.world();
        let opened = world.create_merge_request(self.app, source, "main");
        opened.expect("a merge request")
    }

    fn turns(&self, number: u64, state: MergeRequestState) {
        let mut world = self.world();
        let turned = world.set_merge_request_state(self.app, number, state);
        turned.expect("a merge request");
    }
}

#[tokio::test]
async fn a_source_branchs_counters_leave_with_its_last_merge_request() {
    let (mut story, first) = Story::fix(by_source_branch()).await;
    let second = story.request("fix");
    let running = story.running(PipelineSpec::merge_request(second));
    // The branch is in no listing, as one of a fork.
    story.delete_branch("fix");
    story.turns(first, MergeRequestState::Merged);
    story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(PIPELINES, COUNTED), Some(2.0), "one is open");
    // Far longer than anything is remembered of a merge request without a pipeline.
    story.wait(u64::try_from(40 * DAY / 1000).expect("days"));
    story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(
        story.shown(PIPELINES, COUNTED),
        Some(2.0),
        "it is open still"
    );
    story.turns(second, MergeRequestState::Closed);
    story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(story.left(COUNTED), [""; 0]);
    // What ends afterwards is seen, and leaves again.
    story.succeeds(running);
    story.look_for(2 * BIRTH_WINDOW).await;
    let ended = "age_pipeline_duration_seconds";
    assert_eq!(story.shown(ended, COUNTED), Some(1.0));
    let app = story.app;
    story.world().push(app, "main").expect("a push");
    story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(story.left(COUNTED), [""; 0]);
}

#[tokio::test]
async fn a_branch_that_is_watched_keeps_the_counters_of_merge_requests_from_it() {
    let mut settings = by_source_branch();
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.branches.regexp = "^(main|fix)$".parse().expect("a regular expression");
    let (mut story, number) = Story::fix(settings).await;
    story.turns(number, MergeRequestState::Merged);
    story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(story.shown(PIPELINES, COUNTED), Some(1.0));
    story.delete_branch("fix");
    story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(story.left(COUNTED), [""; 0]);
}

#[tokio::test]
async fn what_a_merge_request_started_elsewhere_leaves_with_its_source_branch() {
    let mut two = Two::begin(true, by_source_branch()).await;
    let number = two.story.request("fix");
    let child = two.starts(PipelineSpec::merge_request(number));
    two.story.look_for(2 * BIRTH_WINDOW).await;
    let name = "merge-requests/fix";
    assert_eq!(two.shown(RUNS, name), Some(1.0));
    two.story.turns(number, MergeRequestState::Merged);
    two.story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(two.left(name), [""; 0], "it is read at each look");
    two.story.succeeds(child);
    two.story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(two.shown(DURATION, name), Some(1.0));
    two.story.look_for(2 * BIRTH_WINDOW + LOOK).await;
    assert_eq!(two.left(name), [""; 0]);
}

#[tokio::test]
async fn what_is_gone_over_a_restart_leaves_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let mut lib = 0;
    let mut story = Story::unseen(
        by_source_branch(),
        |world, app| {
            world.quirks.activity_throttled = false;
            world.push(app, "main").expect("a branch");
            lib = world.add_project("group/lib").expect("a project");
        },
        |_| {},
    );
    restored(&mut story, &path).await;
    let mut two = Two { story, lib };
    let number = two.story.request("fix");
    let child = two.starts(PipelineSpec::merge_request(number));
    two.story.look_for(2 * BIRTH_WINDOW).await;
    assert_eq!(two.story.shown(PIPELINES, COUNTED), Some(1.0));
    assert_eq!(two.shown(RUNS, "merge-requests/fix"), Some(1.0));
    two.story.restart();
    two.story.wait(600);
    two.story.turns(number, MergeRequestState::Closed);
    restored(&mut two.story, &path).await;
    assert_eq!(two.story.shown(PIPELINES, COUNTED), Some(1.0), "it went on");
    two.story.look_for(4 * BIRTH_WINDOW).await;
    assert_eq!(two.story.left(COUNTED), [""; 0]);
    assert_eq!(two.left("merge-requests/fix"), [""; 0]);
    // That it is gone is remembered, too.
    two.story.restart();
    two.story.wait(600);
    restored(&mut two.story, &path).await;
    two.story.look_for(BIRTH_WINDOW).await;
    assert_eq!(two.left("merge-requests/fix"), [""; 0]);
    two.story.succeeds(child);
    two.story.look_for(5 * BIRTH_WINDOW).await;
    assert_eq!(two.left("merge-requests/fix"), [""; 0]);
}

async fn restored(story: &mut Story, path: &std::path::Path) {
    let Story {
        gitlab,
        settings,
        client,
        ..
    } = &*story;
    story.exporter = Core::with_state(gitlab, settings, client, path).await;
    story.look_now().await;
}
