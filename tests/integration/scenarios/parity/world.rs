//! What can become of a pipeline, a job, a ref and a chain of projects: the steps of the cases.

use gitlab_simulator::World;
use gitlab_simulator::time::{DAY, HOUR, SECOND};
use gitlab_simulator::world::{
    Finish, JobSpec, MergeRequestState, PipelineId, PipelineSpec, ProjectId, Status, When,
};

pub fn project(world: &World, path: &str) -> ProjectId {
    world.project_by_path(path).expect("a project").id
}

fn app(world: &World) -> ProjectId {
    world.projects().next().expect("the first project").id
}

fn newest(world: &World) -> PipelineId {
    world
        .pipelines_of(app(world))
        .next()
        .expect("a pipeline")
        .id
}

fn job(world: &World, name: &str) -> u64 {
    let found = world.job_named(newest(world), name);
    found.expect("a job").id
}

fn create(world: &mut World, spec: &PipelineSpec) -> PipelineId {
    let app = app(world);
    world.create_pipeline(app, spec).expect("a pipeline")
}

fn main_branch() -> PipelineSpec {
    PipelineSpec::branch("main").stage("test", &["unit", "lint"])
}

/// The jobs of a pipeline end one after the other, on one kind of runner after the other.
fn finish(world: &mut World, pipeline: PipelineId, finish: &Finish) {
    for runner in (1..=3).cycle().take(40) {
        let next = world
            .jobs_of(pipeline)
            .find(|job| !job.retried && job.status == Status::Pending)
            .map(|job| (job.id, job.trigger.is_some()));
        let Some((job, is_bridge)) = next else { return };
        world.advance(1_700);
        if is_bridge {
            world.trigger_bridge(job).expect("it triggers");
            continue;
        }
        world.start_job(job, Some(runner)).expect("it starts");
        world.advance(3_400);
        world.finish_job(job, finish).expect("it ends");
    }
}

pub fn finish_newest(world: &mut World) {
    let newest = newest(world);
    finish(world, newest, &Finish::success());
}

pub fn finish_all(world: &mut World) {
    let projects: Vec<ProjectId> = world.projects().map(|project| project.id).collect();
    let open: Vec<PipelineId> = projects
        .iter()
        .flat_map(|project| world.pipelines_of(*project))
        .filter(|pipeline| pipeline.status.is_active())
        .map(|pipeline| pipeline.id)
        .collect();
    for pipeline in open {
        finish(world, pipeline, &Finish::success());
    }
}

pub fn create_main(world: &mut World) {
    create(world, &main_branch());
}

pub fn every_runner(world: &mut World) {
    let spec = PipelineSpec::branch("main").stage("test", &["a", "b", "c", "d"]);
    create(world, &spec);
    let d = job(world, "d");
    // One runs on no runner at all.
    world.start_job(d, None).expect("it starts");
    world.advance(2_600);
    world.finish_job(d, &Finish::success()).expect("it ends");
}

pub fn fail_newest(world: &mut World) {
    create_main(world);
    fail_newest_running(world);
}

pub fn fail_newest_running(world: &mut World) {
    let newest = newest(world);
    finish(world, newest, &Finish::failed("script_failure"));
}

pub fn retry_failed_jobs(world: &mut World) {
    for name in ["unit", "lint"] {
        let job = job(world, name);
        world.retry_job(job).expect("a retry");
    }
}

pub fn retry_pipeline(world: &mut World) {
    let newest = newest(world);
    world.retry_pipeline(newest).expect("a retry");
}

pub fn retry_good_job(world: &mut World) {
    let unit = job(world, "unit");
    world.retry_job(unit).expect("a retry");
}

pub fn wait_five_minutes(world: &mut World) {
    world.advance(300 * SECOND);
}

pub fn wait_an_hour(world: &mut World) {
    world.advance(HOUR);
}

pub fn wait_days(world: &mut World) {
    world.advance(3 * DAY);
}

pub fn create_blocked(world: &mut World) {
    let spec = main_branch()
        .job(JobSpec::new("approve", "approve").manual())
        .stage("production", &["release"]);
    create(world, &spec);
}

pub fn play(world: &mut World) {
    let approve = job(world, "approve");
    world.play_manual(approve).expect("it is played");
}

pub fn skip(world: &mut World) {
    create(world, &main_branch().skipped());
}

pub fn misconfigure(world: &mut World) {
    let spec = PipelineSpec::branch("main").config_error("unknown keys: scripts");
    create(world, &spec);
}

pub fn cancel(world: &mut World) {
    let newest = newest(world);
    world.cancel_pipeline(newest).expect("it is canceled");
}

pub fn start_and_cancel(world: &mut World) {
    create_main(world);
    let unit = job(world, "unit");
    world.start_job(unit, Some(2)).expect("it starts");
    world.advance(4_200);
    cancel(world);
}

pub fn on_failure_and_manual(world: &mut World) {
    let spec = main_branch()
        .job(JobSpec::new("cleanup", "tidy").when(When::OnFailure))
        .job(JobSpec::new("review", "look").manual().allow_failure());
    create(world, &spec);
}

pub fn without_duration(world: &mut World) {
    let newest = newest(world);
    world
        .edit_pipeline(newest, |pipeline| pipeline.duration = None)
        .expect("a pipeline");
}

pub fn create_rich(world: &mut World) {
    let unit = JobSpec::new("test", "unit")
        .coverage(81.5)
        .artifact("archive", "a.zip", 1_000)
        .artifact("trace", "job.log", 24);
    let lint = JobSpec::new("test", "lint").coverage(60.25);
    create(world, &PipelineSpec::branch("main").job(unit).job(lint));
    world.advance(90 * SECOND);
}

/// A job fails that may, the other one runs.
pub fn allowed_failure(world: &mut World) {
    let lint = JobSpec::new("test", "lint").allow_failure();
    let spec = PipelineSpec::branch("main").job(lint);
    create(world, &spec.job(JobSpec::new("test", "unit")));
    world.advance(10 * SECOND);
    let lint = job(world, "lint");
    world.start_job(lint, None).expect("it starts");
    world.advance(10 * SECOND);
    let failed = Finish::failed("script_failure");
    world.finish_job(lint, &failed).expect("it ends");
    let unit = job(world, "unit");
    world.start_job(unit, None).expect("it starts");
}

/// What runs ends.
pub fn end_newest(world: &mut World) {
    let newest = newest(world);
    world.advance(20 * SECOND);
    let success = Finish::success();
    world.finish_pipeline(newest, &success).expect("it ends");
}

pub fn unknown_source(world: &mut World) {
    create(world, &main_branch().source("telepathy"));
    finish_newest(world);
}

pub fn unknown_status(world: &mut World) {
    let newest = create(world, &main_branch());
    world
        .set_pipeline_status(newest, "hibernating")
        .expect("a pipeline");
    let unit = job(world, "unit");
    world
        .edit_job(unit, |job| job.status = Status::parse("napping"))
        .expect("a job");
}

pub fn merge_requests(world: &mut World) {
    let app = app(world);
    let open = world.project(app).expect("it").merge_requests.len();
    let source = format!("feature-{open}");
    let number = world
        .create_merge_request(app, &source, "main")
        .expect("a merge request");
    for spec in [
        PipelineSpec::merge_request(number),
        PipelineSpec::merged_result(number),
    ] {
        let pipeline = create(world, &spec.stage("test", &["unit"]));
        finish(world, pipeline, &Finish::success());
    }
}

pub fn merge_train(world: &mut World) {
    let app = app(world);
    let number = world
        .create_merge_request(app, "fix", "release/1")
        .expect("a merge request");
    create(
        world,
        &PipelineSpec::merge_train(number).stage("test", &["unit"]),
    );
}

pub fn close_one(world: &mut World) {
    let app = app(world);
    world
        .set_merge_request_state(app, 1, MergeRequestState::Closed)
        .expect("a merge request");
}

pub fn branch_v1(world: &mut World) {
    let app = app(world);
    world.push(app, "v1").expect("a branch");
    create(world, &PipelineSpec::branch("v1").stage("test", &["unit"]));
}

pub fn tag_v1(world: &mut World) {
    let app = app(world);
    world.create_tag(app, "v1").expect("a tag");
    create(world, &PipelineSpec::tag("v1").stage("test", &["unit"]));
}

pub fn branch_42(world: &mut World) {
    let app = app(world);
    world.push(app, "42").expect("a branch");
    create(world, &PipelineSpec::branch("42").stage("test", &["unit"]));
}

pub fn merge_request_42(world: &mut World) {
    let app = app(world);
    world
        .create_merge_request_numbered(app, 42, "feature-42", "42")
        .expect("a merge request");
    create(
        world,
        &PipelineSpec::merge_request(42).stage("test", &["unit"]),
    );
}

fn plain(name: &str) -> Vec<JobSpec> {
    vec![JobSpec::new("test", name)]
}

pub fn family(world: &mut World) {
    let mut child = plain("unit");
    child.push(JobSpec::child_bridge(
        "trigger",
        "grandchild",
        false,
        plain("deep"),
    ));
    let spec = main_branch()
        .job(JobSpec::child_bridge("trigger", "child", true, child))
        .job(JobSpec::child_bridge(
            "trigger",
            "sibling",
            false,
            plain("other"),
        ));
    create(world, &spec);
}

pub fn merge_request_child(world: &mut World) {
    let app = app(world);
    let number = world
        .create_merge_request(app, "child-source", "main")
        .expect("a merge request");
    let bridge = JobSpec::child_bridge("trigger", "child", true, plain("unit"));
    create(world, &PipelineSpec::merge_request(number).job(bridge));
}

pub fn chain(world: &mut World) {
    let (lib, tool) = (project(world, "group/lib"), project(world, "other/tool"));
    let back = JobSpec::multi_project_bridge("trigger", "to tool", tool, true, plain("build"));
    let mut jobs = plain("unit");
    jobs.push(back);
    let bridge = JobSpec::multi_project_bridge("trigger", "to lib", lib, true, jobs);
    create(world, &main_branch().job(bridge));
}

pub fn hidden(world: &mut World) {
    let (tool, vault) = (project(world, "other/tool"), project(world, "secret/vault"));
    let mut jobs = plain("unit");
    jobs.push(JobSpec::multi_project_bridge(
        "trigger",
        "to vault",
        vault,
        false,
        plain("keep"),
    ));
    let bridge = JobSpec::multi_project_bridge("trigger", "to tool", tool, false, jobs);
    create(world, &main_branch().job(bridge));
}

/// App starts tool, which is not tracked, which starts lib, which starts app again.
pub fn cycle(world: &mut World) {
    let (app, lib, tool) = (
        app(world),
        project(world, "group/lib"),
        project(world, "other/tool"),
    );
    let again = JobSpec::multi_project_bridge("trigger", "again", app, false, plain("last"));
    let to_lib = JobSpec::multi_project_bridge("trigger", "on to lib", lib, false, vec![again]);
    let start = JobSpec::multi_project_bridge("trigger", "round", tool, false, vec![to_lib]);
    create(world, &main_branch().job(start));
}

pub fn feature_branch(world: &mut World) {
    let app = app(world);
    world.push(app, "short-lived").expect("a branch");
    create(
        world,
        &PipelineSpec::branch("short-lived").stage("test", &["unit"]),
    );
}

pub fn delete_feature(world: &mut World) {
    let app = app(world);
    world.delete_branch(app, "short-lived").expect("it is gone");
    create_main(world);
    finish_newest(world);
}

pub fn delete_newest(world: &mut World) {
    let newest = newest(world);
    world.delete_pipeline(newest).expect("it is gone");
}

pub fn rename(world: &mut World) {
    let app = app(world);
    world.move_project(app, "group/renamed").expect("a rename");
}
