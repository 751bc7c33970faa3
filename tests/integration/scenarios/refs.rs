//! Branches, tags and merge requests: how they are called, which are counted, which are shown.

use amazing_gitlab_exporter::config::{CountRef, MergeRequestState as Watched, Settings};
use amazing_gitlab_exporter::gitlab;
use gitlab_simulator::time::DAY;
use gitlab_simulator::world::{Finish, MergeRequestState, PipelineId, PipelineSpec};

use super::life::watch_existing;
use super::{Story, main_pipeline};
use crate::support::core::watch_everything;
use crate::support::series::Labels;

const RUNS: &str = "age_pipeline_run_count";
const STATUS: &str = "age_pipeline_status";

impl Story {
    /// Runs a pipeline of one job from start to end.
    fn run(&self, spec: PipelineSpec) -> PipelineId {
        let pipeline = self.create(&spec.stage("test", &["unit"]));
        self.wait(3);
        self.world()
            .finish_pipeline(pipeline, &Finish::success())
            .expect("it ends");
        pipeline
    }

    fn merge_request(&self, source: &str, target: &str) -> u64 {
        self.world()
            .create_merge_request(self.app, source, target)
            .expect("a merge request")
    }

    /// `project ref` of each state of a pipeline.
    fn states_of_projects(&self) -> Vec<String> {
        let all = self.labels_of(STATUS).into_iter();
        let mut all: Vec<String> = all
            .map(|labels| format!("{} {}", labels["project"], labels["ref"]))
            .collect();
        all.sort();
        all
    }

    /// `kind ref` of each state of a pipeline.
    fn states(&self) -> Vec<String> {
        let all = self.labels_of(STATUS).into_iter().map(kind_and_ref);
        all.collect()
    }
}

fn kind_and_ref(labels: Labels) -> String {
    format!("{} {}", labels["kind"], labels["ref"])
}

/// The defaults, for every project.
fn defaults() -> Settings {
    Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    }
}

#[tokio::test]
async fn merge_requests_show_by_number_and_count_by_target() {
    let mut story = Story::begin().await;
    let first = story.merge_request("feature", "main");
    let second = story.merge_request("fix", "release/1");
    story.run(PipelineSpec::merge_request(first));
    story.run(PipelineSpec::merged_result(first));
    story.run(PipelineSpec::merge_train(first));
    story.run(PipelineSpec::merge_request(second));
    story.look_for(120).await;
    let runs = |git_ref| story.value(RUNS, &[("kind", "merge-request"), ("ref", git_ref)]);
    assert_eq!(runs("merge-requests/main"), Some(3.0));
    assert_eq!(runs("merge-requests/release/1"), Some(1.0));
    assert_eq!(
        story.states(),
        [
            "merge-request merge-requests/1",
            "merge-request merge-requests/2",
        ]
    );
    let jobs = story.value("age_job_run_count", &[("ref", "merge-requests/main")]);
    assert_eq!(jobs, Some(3.0));
    let states = story.values_of("age_job_status", "ref");
    assert_eq!(states, ["merge-requests/1", "merge-requests/2"]);
}

#[tokio::test]
async fn a_setting_counts_merge_requests_by_number_or_source() {
    for (count_ref, want) in [
        (CountRef::Iid, "merge-requests/1"),
        (CountRef::SourceBranch, "merge-requests/feature"),
    ] {
        let mut settings = watch_everything();
        settings.wildcards[0].settings.refs.merge_requests.count_ref = count_ref;
        let mut story = Story::with(settings, |_, _| {}).await;
        let merge_request = story.merge_request("feature", "main");
        story.run(PipelineSpec::merge_request(merge_request));
        story.look_for(120).await;
        assert_eq!(story.value(RUNS, &[("ref", want)]), Some(1.0), "{want}");
    }
}

#[tokio::test]
async fn a_branch_and_a_tag_of_one_name_are_two() {
    let mut story = Story::begin().await;
    {
        let mut world = story.world();
        world.push(story.app, "v1").expect("a branch");
        world.create_tag(story.app, "v1").expect("a tag");
    }
    story.run(PipelineSpec::branch("v1"));
    story.run(PipelineSpec::tag("v1"));
    story.run(PipelineSpec::tag("v1"));
    story.look_for(120).await;
    assert_eq!(story.value(RUNS, &[("kind", "branch")]), Some(1.0));
    assert_eq!(story.value(RUNS, &[("kind", "tag")]), Some(2.0));
    assert_eq!(story.states(), ["branch v1", "tag v1"]);
    let mut jobs = story.values_of("age_job_status", "ref");
    jobs.sort_unstable();
    assert_eq!(jobs, ["tags/v1", "v1"], "jobs have no kind");
    for (git_ref, runs) in [("v1", 1.0), ("tags/v1", 2.0)] {
        let counted = story.value("age_job_run_count", &[("ref", git_ref)]);
        assert_eq!(counted, Some(runs), "{git_ref}");
    }
}

#[tokio::test]
async fn a_branch_42_is_not_merge_request_42() {
    let mut story = Story::begin().await;
    {
        let mut world = story.world();
        world.push(story.app, "42").expect("a branch");
        world
            .create_merge_request_numbered(story.app, 42, "feature", "42")
            .expect("a merge request");
    }
    story.run(PipelineSpec::branch("42"));
    story.run(PipelineSpec::merge_request(42));
    story.look_for(120).await;
    let runs = |kind, git_ref| story.value(RUNS, &[("kind", kind), ("ref", git_ref)]);
    assert_eq!(runs("branch", "42"), Some(1.0));
    assert_eq!(runs("merge-request", "merge-requests/42"), Some(1.0));
    assert_eq!(
        story.states(),
        ["branch 42", "merge-request merge-requests/42"]
    );
    for git_ref in ["42", "merge-requests/42"] {
        let jobs = story.value("age_job_run_count", &[("ref", git_ref)]);
        assert_eq!(jobs, Some(1.0), "{git_ref}");
    }
}

#[tokio::test]
async fn rules_bound_what_is_counted_and_what_is_shown() {
    let mut story = Story::with(defaults(), |_, _| {}).await;
    {
        let mut world = story.world();
        for branch in ["release/2", "feature"] {
            world.push(story.app, branch).expect("a branch");
        }
        for tag in ["v2", "nightly"] {
            world.create_tag(story.app, tag).expect("a tag");
        }
    }
    for spec in [
        PipelineSpec::branch("main"),
        PipelineSpec::branch("release/2"),
        PipelineSpec::branch("feature"),
        PipelineSpec::tag("v2"),
        PipelineSpec::tag("nightly"),
    ] {
        story.run(spec);
    }
    story.look_for(120).await;
    let watched = ["branch main", "branch release/2", "tag v2"];
    assert_eq!(story.states(), watched);
    let counted: Vec<String> = story
        .labels_of(RUNS)
        .into_iter()
        .map(kind_and_ref)
        .collect();
    assert_eq!(counted, watched);
    let mut jobs = story.values_of("age_job_run_count", "ref");
    jobs.sort_unstable();
    assert_eq!(jobs, ["main", "release/2", "tags/v2"]);
}

#[tokio::test]
async fn rules_switched_off_watch_nothing_of_the_kind() {
    let mut settings = watch_everything();
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.tags.enabled = false;
    refs.merge_requests.enabled = false;
    let mut story = Story::with(settings, |_, _| {}).await;
    let merge_request = story.merge_request("feature", "main");
    story.run(PipelineSpec::merge_request(merge_request));
    story.run(PipelineSpec::tag("v1"));
    story.run(PipelineSpec::branch("main"));
    story.look_for(120).await;
    assert_eq!(story.states(), ["branch main"]);
    assert_eq!(story.count(RUNS, &[]), 1.0);
    assert_eq!(story.count("age_job_run_count", &[]), 1.0);
}

#[tokio::test]
async fn windows_bound_states_and_of_tags_how_long_counters_stay() {
    let mut settings = watch_everything();
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.branches.most_recent = 2;
    refs.tags.max_age_days = 7;
    let mut story = Story::with(settings, |_, _| {}).await;
    story.run(PipelineSpec::tag("v1"));
    for branch in ["a", "b", "c"] {
        story.run(PipelineSpec::branch(branch));
    }
    story.look_for(60).await;
    assert_eq!(story.states(), ["branch b", "branch c", "tag v1"]);
    assert_eq!(story.count(RUNS, &[]), 4.0);
    story.wait(8 * u64::try_from(DAY / 1000).expect("seconds"));
    story.look_for(60).await;
    assert_eq!(story.states(), ["branch b", "branch c"], "the tag is old");
    assert_eq!(story.count(RUNS, &[("ref", "v1")]), 0.0, "nor counted");
    assert_eq!(story.count(RUNS, &[("ref", "a")]), 1.0, "a branch's stay");
    story.run(PipelineSpec::branch("a"));
    story.look_for(60).await;
    assert_eq!(story.states(), ["branch a", "branch c"]);
    assert_eq!(story.value(RUNS, &[("ref", "a")]), Some(2.0));
}

#[tokio::test]
async fn merge_requests_leave_with_their_state() {
    let mut settings = watch_everything();
    let rule = &mut settings.wildcards[0].settings.refs.merge_requests;
    rule.states = vec![Watched::Opened, Watched::Merged];
    rule.most_recent = 0;
    let mut story = Story::with(settings, |_, _| {}).await;
    let numbers: Vec<u64> = (0..3)
        .map(|number| story.merge_request(&format!("feature-{number}"), "main"))
        .collect();
    for number in &numbers {
        story.run(PipelineSpec::merge_request(*number));
    }
    story.look_for(60).await;
    assert_eq!(story.states().len(), 3);
    {
        let mut world = story.world();
        for (number, state) in [
            (numbers[0], MergeRequestState::Merged),
            (numbers[1], MergeRequestState::Closed),
        ] {
            world
                .set_merge_request_state(story.app, number, state)
                .expect("a merge request");
        }
    }
    // An activity shows at once, or an hour after the last one.
    story.look_for(2 * 3600).await;
    assert_eq!(
        story.states(),
        [
            "merge-request merge-requests/1",
            "merge-request merge-requests/3",
        ],
        "closed ones are not watched"
    );
    assert_eq!(story.count(RUNS, &[]), 3.0);
}

#[tokio::test]
async fn sparse_shows_one_status_and_its_opposite_all_of_them() {
    let mut settings = watch_everything();
    settings.wildcards[0].settings.output_sparse_status_metrics = false;
    let mut story = Story::with(settings, |_, _| {}).await;
    story.run(PipelineSpec::branch("main"));
    story.look_for(60).await;
    for metric in [STATUS, "age_job_status"] {
        assert_eq!(story.labels_of(metric).len(), 13, "{metric}");
        assert_eq!(story.value(metric, &[("status", "success")]), Some(1.0));
        assert_eq!(story.count(metric, &[]), 1.0, "the others are 0");
    }
    let mut story = Story::begin().await;
    story.run(PipelineSpec::branch("main"));
    story.look_for(60).await;
    assert_eq!(story.values_of(STATUS, "status"), ["success"]);
}

#[tokio::test]
async fn only_so_many_pipelines_of_a_ref_are_remembered() {
    for (keep, want) in [(1, 0), (2, 1)] {
        let mut settings = watch_everything();
        settings.collectors.pipelines.max_pipelines_per_ref = keep;
        let mut story = Story::with(settings, |_, _| {}).await;
        story.run(PipelineSpec::branch("main"));
        let newest = story.run(PipelineSpec::branch("main"));
        story.look_for(60).await;
        story.world().delete_pipeline(newest).expect("it is gone");
        story.wait(25 * 3600);
        story.look_for(60).await;
        assert_eq!(story.labels_of(STATUS).len(), want, "{keep} are kept");
        assert_eq!(story.count(RUNS, &[]), 2.0);
    }
}

#[tokio::test]
async fn a_quiet_ref_shows_behind_many_newer_pipelines_of_others() {
    let story = Story::with(watch_everything(), |world, app| {
        for branch in std::iter::once("quiet").chain(["busy"; 40]) {
            let spec = PipelineSpec::branch(branch).skipped();
            world.create_pipeline(app, &spec).expect("a pipeline");
        }
    })
    .await;
    assert_eq!(story.states(), ["branch busy", "branch quiet"]);
}

#[tokio::test]
async fn what_runs_behind_many_newer_pipelines_is_followed_from_the_first_look_on() {
    for use_graphql in [true, false] {
        let mut nightly = 0;
        let mut story = Story::unseen(
            watch_everything(),
            |world, app| {
                let spec = PipelineSpec::branch("nightly").stage("test", &["quick", "slow"]);
                nightly = world.create_pipeline(app, &spec).expect("a pipeline");
                let slow = world.job_named(nightly, "slow").expect("it").id;
                world.start_job(slow, Some(1)).expect("it starts");
                world.advance(600_000);
                for _ in 0..120 {
                    let spec = PipelineSpec::branch("main").skipped();
                    world.create_pipeline(app, &spec).expect("a pipeline");
                }
                world.advance(5000);
            },
            |client| client.use_graphql = use_graphql,
        );
        story.look_now().await;
        story.wait(20);
        let quick = story.world().job_named(nightly, "quick").expect("it").id;
        story
            .world()
            .finish_job(quick, &Finish::success())
            .expect("it ends");
        // Much moves before the pipeline itself does.
        for _ in 0..20 {
            story.create(&main_pipeline().skipped());
            story.look().await;
        }
        story.look_for(1800).await;
        story
            .world()
            .finish_pipeline(nightly, &Finish::success())
            .expect("it ends");
        story.look_for(60).await;
        let what = format!("GraphQL {use_graphql}");
        for job in ["quick", "slow"] {
            let runs = story.count("age_job_run_count", &[("job_name", job)]);
            assert_eq!(runs, 1.0, "{job}, {what}");
        }
        assert_eq!(story.count(RUNS, &[("ref", "main")]), 20.0, "{what}");
        assert_eq!(story.count(RUNS, &[("ref", "nightly")]), 0.0, "{what}");
    }
}

#[tokio::test]
async fn many_pipelines_at_once_are_read_to_the_last_page() {
    let mut story = Story::begin().await;
    for _ in 0..130 {
        story.create(&main_pipeline().skipped());
    }
    story.look_for(120).await;
    assert_eq!(story.value(RUNS, &[]), Some(130.0));
}

/// A first reading reads the newest pipelines of a project.
#[tokio::test]
async fn an_open_merge_request_is_shown_though_many_pipelines_are_newer() {
    for graphql in [true, false] {
        let ways = |client: &mut gitlab::Settings| client.use_graphql = graphql;
        let mut settings = watch_everything();
        let rule = &mut settings.wildcards[0].settings.refs.merge_requests;
        rule.most_recent = 0;
        let mut story = Story::unseen(settings, |_, _| {}, ways);
        let open: Vec<u64> = (0..25)
            .map(|number| story.merge_request(&format!("feature-{number}"), "main"))
            .collect();
        for number in &open {
            story.run(PipelineSpec::merge_request(*number));
        }
        let without = story.merge_request("idle", "main");
        for _ in 0..120 {
            story.create(&main_pipeline().skipped());
        }
        story.look_for(600).await;
        let shown = story.states();
        for number in open {
            let state = format!("merge-request merge-requests/{number}");
            assert!(shown.contains(&state), "{graphql}: {state}: {shown:?}");
        }
        let state = format!("merge-request merge-requests/{without}");
        assert!(!shown.contains(&state), "it has no pipeline");
        assert_eq!(story.count(RUNS, &[]), 0.0, "it is history");
        let opened = |story: &Story| {
            let all = story.gitlab.requests().all();
            let opened = all.iter().filter(|asked| asked.query.contains("opened"));
            opened.count()
        };
        let asked = opened(&story);
        assert!(asked <= 3, "{graphql}: {asked}");
        story.look_for(7200).await;
        assert_eq!(opened(&story), asked, "once");
    }
}

#[tokio::test]
async fn a_first_reading_lists_branches_only_where_a_shown_one_may_be_gone() {
    for graphql in [true, false] {
        let ways = |client: &mut gitlab::Settings| client.use_graphql = graphql;
        let paths = ["group/idle", "group/main", "group/gone", "group/long"];
        let mut projects = Vec::new();
        let prepare = |world: &mut gitlab_simulator::World, _| {
            projects = paths
                .map(|path| world.add_project(path).expect("it"))
                .to_vec();
        };
        let mut story = Story::unseen(watch_existing(), prepare, ways);
        {
            let mut world = story.world();
            let runs = |world: &mut gitlab_simulator::World, project, branch: &str| {
                let spec = PipelineSpec::branch(branch).skipped();
                world.create_pipeline(project, &spec).expect("a pipeline");
            };
            runs(&mut world, projects[1], "main");
            world.push(projects[2], "feature").expect("a branch");
            runs(&mut world, projects[2], "feature");
            world.delete_branch(projects[2], "feature").expect("it");
            world.push(projects[3], "quiet").expect("a branch");
            runs(&mut world, projects[3], "quiet");
            for _ in 0..120 {
                runs(&mut world, projects[3], "main");
            }
        }
        story.wait(7200);
        story.look_for(600).await;
        let all = story.gitlab.requests().all();
        let listed = |project: &u64| {
            let path = format!("/api/v4/projects/{project}/repository/branches");
            all.iter().any(|asked| asked.path == path)
        };
        let listed: Vec<&str> = projects
            .iter()
            .zip(paths)
            .filter(|(project, _)| listed(project))
            .map(|(_, path)| path)
            .collect();
        assert_eq!(listed, ["group/gone", "group/long"], "{graphql}");
        let states = story.states_of_projects();
        assert_eq!(
            states,
            ["group/long main", "group/long quiet", "group/main main"],
            "{graphql}"
        );
    }
}
