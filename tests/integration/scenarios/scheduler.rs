//! What runs when, and what one project's trouble does to the others.

use std::collections::BTreeMap;
use std::time::Duration;

use amazing_gitlab_exporter::config::{ProjectEntry, QuietInterval, Settings};
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{Finish, PipelineSpec, ProjectId};
use tokio_util::sync::CancellationToken;

use super::{LOOK, Story, main_pipeline};
use crate::support::core::{now, watch_everything};
use crate::support::eventually;

const RUNS: &str = "age_pipeline_run_count";
const CHANGES: &str = "ProjectChanges";
/// The list of projects.
const LIST: &str = "ProjectList";

/// A GitLab with `count` more projects, and their ids.
async fn many(count: usize, settings: Settings) -> (Story, Vec<ProjectId>) {
    let story = Story::with(settings, |world, _| {
        for number in 0..count {
            let path = format!("group/project-{number:02}");
            world.add_project(&path).expect("a project");
        }
    })
    .await;
    let ids = story.world().projects().map(|project| project.id).collect();
    (story, ids)
}

impl Story {
    /// Makes a pipeline in each of the projects.
    fn create_in(&self, projects: &[ProjectId]) {
        let mut world = self.world();
        for project in projects {
            let spec = PipelineSpec::branch("main").skipped();
            world.create_pipeline(*project, &spec).expect("a pipeline");
        }
    }

    fn path(&self, project: ProjectId) -> String {
        let world = self.world();
        let project = world.project(project).expect("a project");
        project.full_path.to_string()
    }

    fn runs_of(&self, project: ProjectId) -> f64 {
        self.count(RUNS, &[("project", &self.path(project))])
    }
}

fn failing(status: u16) -> Rule {
    Rule::new(Fault::Status { status })
}

#[tokio::test]
async fn a_guilty_project_is_found_and_read_by_rest_and_graphql_goes_on_for_the_others() {
    for guilty in [0, 7, 15] {
        let (mut story, ids) = many(15, watch_everything()).await;
        let rule = failing(500).on("/api/graphql").about(ids[guilty]);
        story.gitlab.faults().add(rule);
        story.create_in(&ids);
        story.look().await;
        for id in &ids {
            assert_eq!(story.runs_of(*id), 1.0, "{guilty}: {}", story.path(*id));
        }
        // It stays so: the others by GraphQL, only the guilty one by REST.
        story.gitlab.requests().reset();
        story.create_in(&ids);
        story.look().await;
        for id in &ids {
            assert_eq!(story.runs_of(*id), 2.0, "{guilty}: {}", story.path(*id));
        }
        let about: Vec<String> = story
            .gitlab
            .requests()
            .all()
            .into_iter()
            .filter(|request| request.endpoint == "/api/v4/projects/:id/pipelines")
            .map(|request| request.path)
            .collect();
        let path = format!("/api/v4/projects/{}/pipelines", ids[guilty]);
        assert!(!about.is_empty(), "{guilty}");
        assert!(about.iter().all(|asked| *asked == path), "{about:?}");
    }
}

#[tokio::test]
async fn a_project_that_fails_altogether_backs_off_and_never_stops_the_others() {
    let (mut story, ids) = many(3, watch_everything()).await;
    let guilty = ids[2];
    story.gitlab.faults().add(failing(500).about(guilty));
    story.look_for(600).await;
    story.gitlab.requests().reset();
    let rounds: u16 = 40;
    for _ in 0..rounds {
        story.create_in(&ids);
        story.look().await;
    }
    for id in ids.iter().filter(|id| **id != guilty) {
        assert_eq!(story.runs_of(*id), f64::from(rounds), "{}", story.path(*id));
    }
    assert_eq!(story.runs_of(guilty), 0.0);
    // One look in five minutes: each tries REST once, with its retry.
    let path = format!("/api/v4/projects/{guilty}");
    let asked = story.gitlab.requests().all();
    let looks = asked.iter().filter(|request| request.path == path).count() / 2;
    assert!((3..=5).contains(&looks), "{looks} looks in twenty minutes");
    assert!(story.exporter.heard.failures("pipelines", "server") > 3);
    story.gitlab.faults().clear();
    story.look_for(330).await;
    assert_eq!(story.runs_of(guilty), f64::from(rounds), "none is lost");
}

#[tokio::test]
async fn a_graphql_that_fails_for_everybody_is_given_up_soon() {
    let (mut story, ids) = many(60, watch_everything()).await;
    story.create_in(&ids);
    story.gitlab.faults().add(failing(500).on("/api/graphql"));
    story.gitlab.requests().reset();
    story.look().await;
    let asked = story.gitlab.requests().count(CHANGES);
    assert!(asked <= 6, "{asked} queries, each tried twice");
    for id in &ids {
        assert_eq!(story.runs_of(*id), 1.0, "{}", story.path(*id));
    }
    story.gitlab.requests().reset();
    story.create_in(&ids);
    story.look().await;
    assert_eq!(story.gitlab.requests().count(CHANGES), 0, "REST stands in");
    assert_eq!(story.count(RUNS, &[]), 122.0);
}

/// A collector is up to date while GitLab answers what it asks, or while it has nothing to ask: that
/// one project fails for long makes the others no older, and that one is quiet makes nothing new.
#[tokio::test]
async fn a_collector_is_as_new_as_its_last_answer() {
    let (mut story, ids) = many(1, watch_everything()).await;
    let [first, second] = ids[..] else {
        panic!("two projects: {ids:?}")
    };
    story.look_for(300).await;
    let jobs = [
        "PipelineJobs",
        "/api/v4/projects/:id/pipelines/:pipeline_id/jobs",
    ];
    let fails = jobs.map(|on| Rule::new(Fault::Status { status: 500 }).on(on));
    for rule in &fails {
        story.gitlab.faults().add(rule.clone());
    }
    // Whoever asks is refused, and the other has nothing to ask.
    let succeeded = |story: &Story, collector| story.exporter.heard.succeeded_at(collector);
    let before = succeeded(&story, "jobs");
    story.create_in(&[first]);
    story.look_for(300).await;
    assert!(story.exporter.heard.failures("jobs", "server") > 0);
    assert_eq!(succeeded(&story, "jobs"), before);
    let pipelines = succeeded(&story, "pipelines");
    assert_eq!(pipelines, Some(now(&story.gitlab)), "they are read");

    // Only the first project fails, and the second asks once.
    story.gitlab.faults().clear();
    for rule in fails {
        story.gitlab.faults().add(rule.about(first));
    }
    story.create_in(&[second]);
    story.look_for(60).await;
    assert!(succeeded(&story, "jobs") > before);
    let failures = story.exporter.heard.failures("jobs", "server");
    story.look_for(300).await;
    assert!(story.exporter.heard.failures("jobs", "server") > failures);
    assert_eq!(succeeded(&story, "jobs"), Some(now(&story.gitlab)));
}

#[tokio::test]
async fn looks_come_at_their_interval() {
    let mut settings = watch_everything();
    settings.collectors.pipelines.interval = Duration::from_secs(300);
    settings.collectors.jobs.interval = Duration::from_secs(120);
    settings.discovery.interval = Duration::from_secs(600);
    let mut story = Story::with(settings, |_, _| {}).await;
    story.gitlab.requests().reset();
    story.look_for(3600).await;
    let counts = story.gitlab.requests().counts();
    assert_eq!(
        counts.get(CHANGES),
        Some(&30),
        "the quickest asks: {counts:?}"
    );
    assert_eq!(counts.get(LIST), Some(&6), "{counts:?}");
}

#[tokio::test]
async fn a_quiet_project_is_polled_less_often_until_something_moves() {
    let mut settings = watch_everything();
    settings.collectors.pipelines.quiet_interval = QuietInterval {
        after_1h: Duration::from_secs(180),
        after_24h: Duration::from_secs(600),
    };
    settings.discovery.interval = Duration::from_secs(86_400);
    let (mut story, ids) = many(3, settings).await;
    let polls = async |story: &mut Story, seconds| {
        story.gitlab.requests().reset();
        story.look_for(seconds).await;
        story.gitlab.requests().counts().get(CHANGES).copied()
    };
    let young = polls(&mut story, 3000).await;
    assert_eq!(young, Some(100), "the first reading is young");
    story.look_for(1800).await;
    let quiet = polls(&mut story, 1800).await.unwrap_or_default();
    assert_eq!(quiet, 10, "every three minutes");
    story.gitlab.advance(Duration::from_secs(86_400));
    story.look_for(1200).await;
    let silent = polls(&mut story, 3600).await.unwrap_or_default();
    assert_eq!(silent, 6, "every ten minutes");
    story.create_in(&ids[..1]);
    story.look_for(630).await;
    assert_eq!(story.count(RUNS, &[]), 1.0);
    let lively = polls(&mut story, 600).await.unwrap_or_default();
    // What was deleted is looked for every five minutes.
    assert_eq!(lively, 22, "every 30 s");
}

/// Jobs are on here and off there, and one project is read less often than the others.
#[tokio::test]
async fn each_project_has_its_own_switches_and_intervals() {
    let mut settings = watch_everything();
    let mut of_project = settings.wildcards[0].settings.clone();
    of_project.collectors.jobs.enabled = Some(false);
    of_project.collectors.pipelines.interval = Some(Duration::from_secs(600));
    settings.projects = vec![ProjectEntry {
        name: "group/project-00".to_owned(),
        settings: of_project,
    }];
    let (mut story, ids) = many(2, settings).await;
    let run = |story: &Story| {
        let mut world = story.world();
        for id in &ids {
            let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
            let pipeline = world.create_pipeline(*id, &spec).expect("a pipeline");
            let end = Finish::success().after(5000);
            world.finish_pipeline(pipeline, &end).expect("it ends");
        }
    };
    let jobs =
        |story: &Story, project: &str| story.count("age_job_run_count", &[("project", project)]);
    let (slow, other) = ("group/project-00", "group/project-01");
    story.look_for(600).await;
    run(&story);
    story.look_for(60).await;
    assert_eq!(story.count(RUNS, &[("project", other)]), 1.0);
    assert_eq!(story.count(RUNS, &[("project", slow)]), 0.0, "not due yet");
    story.look_for(600).await;
    assert_eq!(story.count(RUNS, &[("project", slow)]), 1.0);
    assert_eq!((jobs(&story, slow), jobs(&story, other)), (0.0, 1.0));
}

#[tokio::test]
async fn a_quiet_project_costs_a_share_of_one_request() {
    let (mut story, _) = many(99, watch_everything()).await;
    story.look_for(3900).await;
    story.gitlab.requests().reset();
    story.look_for(600).await;
    let counts = story.gitlab.requests().counts();
    let want = BTreeMap::from([
        (CHANGES.to_owned(), 20),
        (LIST.to_owned(), 2),
        ("ProjectPermissions".to_owned(), 1),
    ]);
    assert_eq!(counts, want, "100 projects in ten minutes");
}

#[tokio::test]
async fn a_hanging_run_is_never_joined_by_another_and_holds_nobody_else_up() {
    let mut settings = watch_everything();
    settings.discovery.interval = Duration::from_secs(60);
    let (story, ids) = many(1, settings).await;
    let [first, second] = ids[..] else {
        panic!("two projects: {ids:?}")
    };
    // Both are read in one batch; this one hangs, and so does REST for the first project.
    story
        .gitlab
        .faults()
        .add(Rule::new(Fault::Hang).on("/api/graphql"));
    story.gitlab.requests().reset();
    let (gitlab, clock) = (&story.gitlab, story.exporter.clock.clone());
    let stop = CancellationToken::new();
    let running = tokio::spawn(story.exporter.into_scheduler().run(stop.clone()));
    gitlab.advance(Duration::from_secs(LOOK));
    clock.set(now(gitlab));
    eventually("a look that hangs", || {
        gitlab.requests().count(CHANGES) == 1
    })
    .await;
    // A third project appears meanwhile: it is found and read.
    gitlab.faults().clear();
    let third = gitlab.world().add_project("group/third").expect("one");
    for _ in 0..10 {
        gitlab.advance(Duration::from_secs(60));
        clock.set(now(gitlab));
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let asked = gitlab.requests().all();
    let about = |project: ProjectId| {
        let id = format!("gid://gitlab/Project/{project}\"");
        let named = |request: &&gitlab_simulator::requests::Recorded| {
            let variables = request.variables.as_ref();
            variables.is_some_and(|variables| variables.to_string().contains(&id))
        };
        asked.iter().filter(named).count()
    };
    assert_eq!(
        (about(first), about(second)),
        (1, 1),
        "held by the first run"
    );
    assert!(about(third) >= 2, "{}", about(third));
    stop.cancel();
    running.await.expect("it stops");
}

#[tokio::test]
async fn memory_ends_where_it_began_after_a_day_of_coming_and_going() {
    let mut settings = watch_everything();
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.branches.exclude_deleted = true;
    refs.tags.exclude_deleted = true;
    refs.merge_requests.most_recent = 5;
    let mut story = Story::with(settings, |_, _| {}).await;
    let size = |story: &Story| {
        let registry = story.exporter.registry();
        let registry = registry.lock();
        let bytes: usize = registry
            .iter()
            .map(|(_, entry)| format!("{:?}", entry.memory()).len())
            .sum();
        (registry.len(), bytes, story.exporter.table.size())
    };
    let mut sizes = Vec::new();
    for day in 0..3 {
        for hour in 0..24 {
            let branch = format!("feature-{day}-{hour}");
            let project = {
                let mut world = story.world();
                world.push(story.app, &branch).expect("a branch");
                world
                    .create_merge_request(story.app, &branch, "main")
                    .expect("a merge request");
                let path = format!("group/short-{day}-{hour}");
                world.add_project(&path).expect("a project")
            };
            let pipeline = story.create(&PipelineSpec::branch(&branch).stage("test", &["unit"]));
            story.create_in(&[project]);
            let merge_request = story
                .world()
                .project(story.app)
                .expect("it")
                .merge_requests
                .len();
            let merge_request = u64::try_from(merge_request).expect("small");
            story.create(&PipelineSpec::merge_request(merge_request).skipped());
            story.look_after(300).await;
            story.look().await;
            {
                let mut world = story.world();
                world
                    .finish_pipeline(pipeline, &Finish::failed("script_failure"))
                    .expect("it ends");
                world.delete_project(project).expect("it is gone");
            }
            story.look().await;
            let deleted = story.world().delete_branch(story.app, &branch);
            deleted.expect("it is gone");
            for _ in 0..6 {
                story.look_after(540).await;
            }
        }
        // One that stays, and is the same each day.
        story.create(&main_pipeline().skipped());
        for _ in 0..12 {
            story.look_after(600).await;
        }
        sizes.push(size(&story));
    }
    let [_, second, third] = sizes[..] else {
        panic!("three days: {sizes:?}")
    };
    assert_eq!(second.0, 1, "only the one project is left");
    // Numbers get longer, and that is all that may grow.
    assert!(
        third.1.abs_diff(second.1) < second.1 / 20,
        "bytes remembered: {sizes:?}"
    );
    assert_eq!(second.2, third.2, "the table: {sizes:?}");
}
