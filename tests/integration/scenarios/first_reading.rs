//! What happens between the first listing of a project and the first reading of a part of it.

use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::MergeRequestState::Merged;
use gitlab_simulator::world::reviews::ReviewAct::{Approve, Comment};
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec, ProjectId, World};
use serde_json::Value;

use super::Story;
use crate::support::core::watch_everything;

/// What is read in a second step; it fails at first, as a GitLab under load does.
const SECOND_STEPS: [&str; 4] = [
    "/api/v4/projects/:id/environments",
    "/api/v4/projects/:id/deployments",
    "MergeRequestReviews",
    "/api/v4/projects/:id/merge_requests",
];

/// Longer than the intervals of what is read, and than the pause after a failure.
const PAUSE: u64 = 900;

/// On a large GitLab, minutes pass until everything of a project has been read once.
#[tokio::test]
async fn what_happens_before_the_first_reading_counts_if_the_project_was_listed() {
    for graphql in [true, false] {
        let mut settings = watch_everything();
        settings.collectors.environments.enabled = true;
        settings.collectors.merge_requests.enabled = true;
        settings.collectors.code_review.enabled = true;
        let mut environment = 0;
        let prepare = |world: &mut gitlab_simulator::World, app| {
            environment = world.add_environment(app, "production", None).expect("it");
            world.deploy(app, environment, SECOND).expect("history");
            let old = world.create_merge_request(app, "old", "main").expect("it");
            world.review(app, old, "ben", Comment).expect("history");
            world.create_merge_request(app, "open", "main").expect("it");
        };
        let mut story = Story::unseen(settings, prepare, |client| client.use_graphql = graphql);
        let app = story.app;
        for step in SECOND_STEPS {
            let broken = Rule::new(Fault::Status { status: 500 });
            story.gitlab.faults().add(broken.on(step));
        }
        story.look_now().await;
        story.wait(60);
        {
            let mut world = story.world();
            world.deploy(app, environment, 42 * SECOND).expect("it");
            let new = world.create_merge_request(app, "new", "main").expect("it");
            world.review(app, new, "ben", Comment).expect("it");
            world.review(app, new, "ben", Approve).expect("it");
            let merged = world.set_merge_request_state(app, new, Merged);
            merged.expect("it");
        }
        // Pipelines are polled meanwhile, so that GitLab's time goes on.
        story.look_after(60).await;
        story.look().await;
        story.gitlab.faults().clear();
        story.look_after(PAUSE).await;
        story.look_after(PAUSE).await;
        for (metric, want) in [
            ("age_environment_deployment_count", 1.0),
            ("age_environment_deployment_duration_seconds", 1.0),
            ("age_mr_created_total", 1.0),
            ("age_mr_throughput_count", 1.0),
            ("age_mr_time_to_first_review_seconds", 1.0),
            ("age_review_approval_count", 1.0),
            ("age_review_comments_total", 1.0),
        ] {
            assert_eq!(story.count(metric, &[]), want, "{metric} ({graphql})");
        }
    }
}

/// Stages and artifacts of what had come to rest come from one list of the project's newest jobs: GraphQL is asked
/// for none.
#[tokio::test]
async fn jobs_of_the_past_have_their_stages_and_artifacts() {
    const STAGES: [&str; 2] = ["build", "test"];
    const REFS: [&str; 2] = ["main", "develop"];
    let mut story = Story::with(watch_everything(), |world, app| {
        for branch in REFS {
            let jobs = STAGES.into_iter().flat_map(|stage| {
                let jobs = (0..4).map(move |n| JobSpec::new(stage, &format!("{stage} {n}")));
                jobs.map(|job| job.artifact("archive", "a.zip", 1000))
            });
            succeeded(world, app, branch, jobs);
        }
    })
    .await;
    story.look_for(120).await;
    for git_ref in REFS {
        for stage in STAGES {
            for number in 0..4 {
                let job = format!("{stage} {number}");
                let labels = [("ref", git_ref), ("job_name", &*job), ("stage", stage)];
                let size = story.value("age_job_artifact_size_bytes", &labels);
                assert_eq!(size, Some(1000.0), "{git_ref} {job}");
            }
        }
    }
    let all = story.gitlab.requests().all().into_iter();
    let stages = all.filter_map(|one| Some(one.variables?["stages"] == true));
    assert!(!stages.into_iter().any(|asked| asked));
    let lists = story.gitlab.requests().count("/api/v4/projects/:id/jobs");
    assert_eq!(lists, 1);
}

/// A pipeline of a new branch that succeeded.
fn succeeded(
    world: &mut World,
    project: ProjectId,
    branch: &str,
    jobs: impl Iterator<Item = JobSpec>,
) {
    world.push(project, branch).expect("a branch");
    let spec = jobs.fold(PipelineSpec::branch(branch), PipelineSpec::job);
    let pipeline = world.create_pipeline(project, &spec).expect("a pipeline");
    let ended = world.finish_pipeline(pipeline, &Finish::success());
    ended.expect("it ends");
}

const BRANCHES: [&str; 4] = ["one", "two", "three", "main"];

/// Projects of one pipeline of 40 jobs for each of these branches, read for the first time: what was asked for
/// their jobs.
async fn first_reading_of_jobs(paths: &[&str], branches: &[&str]) -> Vec<Value> {
    let mut story = Story::with(watch_everything(), |world, app| {
        let others = paths
            .iter()
            .map(|path| world.add_project(path).expect("it"));
        let projects: Vec<ProjectId> = std::iter::once(app)
            .chain(others.collect::<Vec<_>>())
            .collect();
        for project in projects {
            for branch in branches {
                let jobs = (0..40).map(|number| JobSpec::new("test", &format!("test {number}")));
                succeeded(world, project, branch, jobs);
            }
        }
    })
    .await;
    story.look_for(120).await;
    for project in paths.iter().chain(&["group/app"]) {
        for git_ref in branches {
            let labels = [
                ("ref", *git_ref),
                ("job_name", "test 39"),
                ("project", project),
            ];
            let status = story.value("age_job_status", &labels);
            assert_eq!(status, Some(1.0), "{project} {git_ref}");
        }
    }
    let all = story.gitlab.requests().all().into_iter();
    let of_jobs = all.filter(|one| one.operation.as_deref() == Some("PipelineJobs"));
    of_jobs.filter_map(|one| one.variables).collect()
}

/// The list of the newest jobs has those of two pipelines: the others are read by themselves. Each is read once.
#[tokio::test]
async fn jobs_beyond_the_list_of_the_newest_are_read_once() {
    let asked = first_reading_of_jobs(&[], &BRANCHES).await;
    let read = asked
        .iter()
        .map(|one| (one["iid"].clone(), one["stages"].clone()));
    let want = [("4", false), ("3", false), ("2", true), ("1", true)];
    let want = want.map(|(iid, stages)| (iid.into(), stages.into()));
    assert_eq!(read.collect::<Vec<(Value, Value)>>(), want);
}

/// A list of one pipeline each of two projects, and once more for the second ones.
#[tokio::test]
async fn the_newest_of_several_projects_share_a_query_that_lists_no_others() {
    let asked = first_reading_of_jobs(&["group/lib"], &BRANCHES).await;
    let lists = asked.iter().filter(|one| one["stages"] == false);
    let sizes: Vec<(&Value, &Value)> = lists
        .map(|one| (&one["projects"], &one["pipelines"]))
        .collect();
    assert_eq!(sizes, [(&2.into(), &1.into()); 2]);
}

/// A query for the stage and the artifacts of each job is heavy: the first is for few projects, whatever lighter ones
/// have grown to.
#[tokio::test]
async fn the_first_heavy_query_of_the_past_is_for_few_projects() {
    let paths: Vec<String> = (0..11)
        .map(|number| format!("group/lib-{number}"))
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let branches = ["one", "two", "three", "four", "five", "main"];
    let asked = first_reading_of_jobs(&paths, &branches).await;
    let sizes = |stages: bool| {
        let lists = asked.iter().filter(move |one| one["stages"] == stages);
        let sizes = lists.filter_map(|one| one["projects"].as_u64());
        sizes.filter(|projects| *projects > 1)
    };
    assert!(
        sizes(false).any(|projects| projects > 5),
        "lighter ones grow"
    );
    assert_eq!(sizes(true).next(), Some(5));
}
