//! An administrator's token: two lists of the instance say where jobs begin.

use std::time::Duration;

use amazing_gitlab_exporter::config::{InstanceFeedSetting, QuietInterval};
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec, ProjectId};

use super::Story;
use crate::support::core::watch_everything;

const RUNS: &str = "age_pipeline_run_count";
const DAY: u64 = 86_400;

/// A GitLab with three projects in which nothing has moved for days, and their ids.
async fn quiet(admin: bool, setting: InstanceFeedSetting) -> (Story, Vec<ProjectId>) {
    let mut settings = watch_everything();
    settings.gitlab.instance_feed = setting;
    settings.collectors.pipelines.quiet_interval = QuietInterval {
        after_1h: Duration::from_secs(180),
        after_24h: Duration::from_secs(300),
    };
    settings.discovery.interval = Duration::from_secs(30 * DAY);
    let mut story = Story::with(settings, |world, _| {
        world.tokens[0].admin = admin;
        for path in ["group/one", "group/two"] {
            world.add_project(path).expect("a project");
        }
    })
    .await;
    let ids: Vec<ProjectId> = story.world().projects().map(|project| project.id).collect();
    let pipeline = story.starts_in(ids[2]);
    story.look().await;
    story.ends(pipeline);
    story.look_for(3600).await;
    story.wait(2 * DAY);
    story.look_for(2 * 3600).await;
    (story, ids)
}

impl Story {
    /// A pipeline starts in a project, with a job.
    fn starts_in(&self, project: ProjectId) -> u64 {
        let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit"));
        let mut world = self.world();
        world.create_pipeline(project, &spec).expect("a pipeline")
    }

    fn ends(&self, pipeline: u64) {
        let done = self.world().finish_pipeline(pipeline, &Finish::success());
        done.expect("it ends");
    }

    /// How often projects are polled in an hour.
    pub(super) async fn polls(&mut self) -> usize {
        self.gitlab.requests().reset();
        self.look_for(3600).await;
        let asked = self.gitlab.requests().all();
        let moved = asked.iter().filter(|request| {
            // The newest are listed, too, now and then.
            let since = request.variables.as_ref().map(|all| &all["since"]);
            let is_feed = request.operation.as_deref() == Some("ProjectChanges");
            is_feed && since.is_some_and(|since| !since.is_null())
        });
        moved.count()
    }

    fn lists(&self) -> usize {
        self.gitlab.requests().count("InstanceJobs")
    }
}

#[tokio::test]
async fn projects_are_polled_when_a_job_begins_and_each_hour() {
    let (mut story, ids) = quiet(true, InstanceFeedSetting::Auto).await;
    assert_eq!(story.polls().await, 1);
    // The newest jobs at each step of this clock, the running ones, too.
    assert_eq!(story.lists(), 240);
    let before = story.count(RUNS, &[]);
    let pipeline = story.starts_in(ids[0]);
    story.look_for(60).await;
    assert_eq!(story.count(RUNS, &[]), before + 1.0, "its job is listed");
    story.ends(pipeline);

    let manual = JobSpec::new("deploy", "deploy").manual();
    let spec = PipelineSpec::branch("main").job(manual);
    let pipeline = story
        .world()
        .create_pipeline(ids[1], &spec)
        .expect("it is created");
    story.look_for(3 * 3600).await;
    story.wait(2 * DAY);
    story.look_for(2 * 3600).await;
    let running = |story: &Story| {
        let path = story
            .world()
            .project(ids[1])
            .expect("a project")
            .full_path
            .to_string();
        story.count(
            "age_pipeline_status",
            &[("project", &path), ("status", "running")],
        )
    };
    assert_eq!(running(&story), 0.0, "it waits for a person");
    let job = {
        let world = story.world();
        let mut jobs = world.jobs_of(pipeline);
        jobs.next().expect("a job").id
    };
    story.world().play_manual(job).expect("it is manual");
    story.world().start_job(job, None).expect("it starts");
    story.look_for(60).await;
    assert_eq!(running(&story), 1.0, "no job is new, one runs");
}

/// A pipeline without jobs is in no list: it is found within the hour.
#[tokio::test]
async fn a_pipeline_without_jobs_is_found_within_the_hour() {
    let (mut story, ids) = quiet(true, InstanceFeedSetting::Auto).await;
    let before = story.count(RUNS, &[]);
    let spec = PipelineSpec::branch("main").skipped();
    story
        .world()
        .create_pipeline(ids[0], &spec)
        .expect("it is created");
    story.look_for(3600).await;
    assert_eq!(story.count(RUNS, &[]), before + 1.0);
}

/// More jobs began than the lists are read for: all projects are polled.
#[tokio::test]
async fn very_many_new_jobs_have_all_projects_polled() {
    let (mut story, ids) = quiet(true, InstanceFeedSetting::Auto).await;
    let before = story.count(RUNS, &[]);
    story.starts_in(ids[0]);
    let mut many = PipelineSpec::branch("main");
    for number in 0..1_000 {
        many = many.job(JobSpec::new("test", &format!("test {number}")));
    }
    story
        .world()
        .create_pipeline(ids[1], &many)
        .expect("it is created");
    story.look_for(300).await;
    assert_eq!(story.count(RUNS, &[]), before + 2.0);
}

#[tokio::test]
async fn each_project_is_polled_where_the_list_is_empty_refused_or_off() {
    for (admin, setting) in [
        (false, InstanceFeedSetting::Auto),
        (true, InstanceFeedSetting::Off),
    ] {
        let (mut story, _) = quiet(admin, setting).await;
        assert_eq!(story.polls().await, 12, "every five minutes");
        let lists = usize::from(setting == InstanceFeedSetting::Auto);
        assert_eq!(story.lists(), lists, "once an hour, while it is empty");
    }
    let (mut story, ids) = quiet(true, InstanceFeedSetting::Auto).await;
    let fails = Rule::new(Fault::Status { status: 500 }).on("InstanceJobs");
    let fails = story.gitlab.faults().add(fails);
    let before = story.count(RUNS, &[]);
    let pipeline = story.starts_in(ids[0]);
    story.look_for(600).await;
    assert!(story.gitlab.faults().hits(fails) > 4);
    assert_eq!(
        story.count(RUNS, &[]),
        before + 1.0,
        "all are polled as usual"
    );
    story.ends(pipeline);
    story.wait(2 * DAY);
    story.look_for(2 * 3600).await;
    assert_eq!(story.polls().await, 12, "every five minutes");
}
