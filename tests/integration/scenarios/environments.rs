//! Environments and deployments: what is counted, what is shown, and what it costs.

use std::collections::BTreeMap;

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::{
    DeploymentStatus, EnvironmentState, Event, Finish, PipelineSpec, World,
};

use super::Story;
use crate::support::core::watch_everything;

const COUNT: &str = "age_environment_deployment_count";
const DURATION: &str = "age_environment_deployment_duration_seconds";
const STATUS: &str = "age_environment_deployment_status";
const WAITING: &str = "age_environment_deployments_waiting";
const BEHIND: &str = "age_environment_behind_commits";
const INFO: &str = "age_environment_info";
/// The collector's interval.
const INTERVAL: u64 = 300;
/// Longer than a full look is put off.
const DAY: u64 = 86_400;

fn settings() -> Settings {
    let mut settings = watch_everything();
    settings.collectors.environments.enabled = true;
    settings
}

fn production(world: &mut World, app: u64) -> u64 {
    world
        .add_environment(app, "production", None)
        .expect("an environment")
}

impl Story {
    /// A pipeline that runs from start to end: the sign that something may have been deployed.
    fn move_pipelines(&self) {
        let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
        let pipeline = self.create(&spec);
        self.world()
            .finish_pipeline(pipeline, &Finish::success())
            .expect("it ends");
    }

    /// Lets the change feed see what moved, and then the environments.
    async fn look_at_environments(&mut self) {
        self.look().await;
        self.look_after(INTERVAL).await;
    }

    fn calls(&self, part: &str) -> usize {
        let requests = self.gitlab.requests().all();
        requests
            .iter()
            .filter(|request| request.path.contains(part))
            .count()
    }
}

#[tokio::test]
async fn deployments_count_once_and_history_never() {
    let mut old = 0;
    let mut story = Story::with(settings(), |world, app| {
        old = production(world, app);
        world.deploy(app, old, 60 * SECOND).expect("history");
    })
    .await;
    let here = [("environment", "production")];
    assert_eq!(story.value(COUNT, &here), None, "history is not counted");
    assert_eq!(story.value(DURATION, &here), None);
    assert_eq!(story.value(BEHIND, &here), Some(0.0));
    let info = story.labels_of(INFO);
    assert_eq!(info[0]["tier"], "production");
    assert_eq!(info[0]["state"], "available");

    story.world().push(story.app, "main").expect("a push");
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.value(BEHIND, &here), Some(1.0));

    story
        .world()
        .deploy(story.app, old, 42 * SECOND)
        .expect("a deployment");
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.value(COUNT, &here), Some(1.0));
    assert_eq!(story.value(DURATION, &here), Some(1.0));
    assert_eq!(story.value(BEHIND, &here), Some(0.0));
    let last = "age_environment_last_deployment_duration_seconds";
    assert_eq!(story.value(last, &here), Some(42.0));
    story.look_after(DAY).await;
    assert_eq!(
        story.value(COUNT, &here),
        Some(1.0),
        "read again, counted once"
    );
}

#[tokio::test]
async fn a_deployment_of_tomorrow_hides_no_later_one() {
    let mut environment = 0;
    let before = |world: &mut World, app| environment = production(world, app);
    let mut story = Story::unseen(settings(), before, |client| client.use_graphql = false);
    story.look_now().await;
    story.look_at_environments().await;
    for is_broken in [true, false, false] {
        let future = Fault::Replace {
            pointer: "/*/updated_at".to_owned(),
            value: "2099-01-01T00:00:00Z".into(),
        };
        let list = Rule::new(future).on("/api/v4/projects/:id/deployments");
        let rule = is_broken.then(|| story.gitlab.faults().add(list));
        let app = story.app;
        story
            .world()
            .deploy(app, environment, 42 * SECOND)
            .expect("a deployment");
        story.move_pipelines();
        story.look_at_environments().await;
        if let Some(rule) = rule {
            story.gitlab.faults().remove(rule);
        }
    }
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.count(COUNT, &[]), 3.0);
}

#[tokio::test]
async fn a_deployment_waits_until_it_starts_and_is_followed_to_its_end() {
    let mut story = Story::with(settings(), |world, app| {
        production(world, app);
    })
    .await;
    let app = story.app;
    let environment = production(&mut story.world(), app);
    let id = story
        .world()
        .create_deployment(app, environment, Some((1, "deploy")))
        .expect("a deployment");
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.values_of(STATUS, "status"), [""; 0]);
    assert_eq!(story.values_of(WAITING, "status"), ["created"]);
    assert_eq!(story.count(COUNT, &[]), 0.0, "it may never start");
    for status in [DeploymentStatus::Running, DeploymentStatus::Failed] {
        story
            .world()
            .set_deployment_status(app, id, status)
            .expect("it moves");
        story.move_pipelines();
        story.look_at_environments().await;
        assert_eq!(story.values_of(STATUS, "status"), [status.as_str()]);
        assert_eq!(story.values_of(WAITING, "status"), [""; 0]);
    }
    assert_eq!(
        (story.count(COUNT, &[]), story.count(DURATION, &[])),
        (1.0, 1.0)
    );
    assert!(story.labels_of(BEHIND).is_empty(), "it never had a success");
}

#[tokio::test]
async fn stopped_and_deleted_environments_go_with_all_their_series() {
    let mut story = Story::with(settings(), |world, app| {
        let environment = production(world, app);
        world.deploy(app, environment, SECOND).expect("history");
        let review = world.add_environment(app, "review/one", None).expect("it");
        world.deploy(app, review, SECOND).expect("history");
    })
    .await;
    let app = story.app;
    assert_eq!(
        story.values_of("age_environment_info", "environment"),
        ["production", "review/one"]
    );
    let review = {
        let world = story.gitlab.world();
        let delivery = world.delivery(app).expect("there is one");
        delivery.environment("review/one").expect("it").id
    };
    story
        .world()
        .set_environment_state(app, review, EnvironmentState::Stopped)
        .expect("it stops");
    story.look_after(DAY).await;
    assert_eq!(story.values_of(INFO, "environment"), ["production"]);
    assert_eq!(story.values_of(STATUS, "environment"), ["production"]);
    let production = production(&mut story.world(), app);
    story
        .world()
        .delete_environment(app, production)
        .expect("it goes");
    story.look_after(DAY).await;
    story.look_after(DAY).await;
    assert!(story.labels_of(INFO).is_empty());
    assert!(
        story.labels_of(COUNT).is_empty(),
        "{:?}",
        story.labels_of(COUNT)
    );
}

#[tokio::test]
async fn a_quiet_project_costs_no_calls_and_ages() {
    let mut story = Story::with(settings(), |world, app| {
        let environment = production(world, app);
        world.deploy(app, environment, SECOND).expect("history");
    })
    .await;
    let behind = "age_environment_behind_duration_seconds";
    let before = story.value(behind, &[]).expect("it is shown");
    let calls = story.calls("/deployments");
    for _ in 0..5 {
        story.look_after(INTERVAL).await;
    }
    assert_eq!(story.calls("/deployments"), calls);
    assert_eq!(story.value(behind, &[]), Some(before + 5.0 * 300.0));
}

#[tokio::test]
async fn a_huge_project_is_read_to_its_last_page_and_an_empty_one_shows_nothing() {
    let mut story = Story::with(settings(), |world, app| {
        for number in 0..130 {
            let name = format!("review/{number}");
            world.add_environment(app, &name, None).expect("it");
        }
        world.add_project("group/empty").expect("a project");
    })
    .await;
    assert_eq!(story.labels_of(INFO).len(), 130);
    let app = story.app;
    {
        let mut world = story.world();
        for number in 0..130 {
            let name = format!("review/{number}");
            let id = world.add_environment(app, &name, None).expect("it");
            world.deploy(app, id, SECOND).expect("a deployment");
        }
    }
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.count(COUNT, &[]), 130.0);
    assert_eq!(story.count(DURATION, &[]), 130.0);
}

#[tokio::test]
async fn a_role_that_is_too_low_sees_nothing_and_is_no_error() {
    let mut story = Story::with(settings(), |world, app| {
        let environment = production(world, app);
        world.deploy(app, environment, SECOND).expect("history");
        let token = world.tokens[0].value.clone();
        world
            .set_role(&token, app, AccessLevel::Guest)
            .expect("a role");
    })
    .await;
    story.look_after(INTERVAL).await;
    assert!(story.labels_of(INFO).is_empty());
}

#[tokio::test]
async fn a_living_world_agrees_with_its_ledger() {
    let mut story = Story::with(settings(), |world, app| {
        production(world, app);
        world.add_environment(app, "staging", None).expect("it");
    })
    .await;
    let app = story.app;
    for round in 0..40_u64 {
        let spec = PipelineSpec::branch("main").stage("deploy", &["go"]).auto();
        story.create(&spec);
        if round % 3 == 0 {
            story.world().push(app, "main").expect("a push");
        }
        story.look_after(30 + round * 17 % 400).await;
    }
    story.world().calm();
    for _ in 0..12 {
        story.look_after(INTERVAL).await;
    }
    story.look_after(DAY).await;
    let mut want: BTreeMap<(&str, String), f64> = BTreeMap::new();
    for entry in story.gitlab.world().ledger().entries() {
        match &entry.event {
            Event::DeploymentStarted { environment, .. } => {
                *want.entry((COUNT, environment.to_string())).or_default() += 1.0;
            }
            Event::DeploymentFinished {
                environment,
                duration: Some(_),
                ..
            } => *want.entry((DURATION, environment.to_string())).or_default() += 1.0,
            _ => {}
        }
    }
    assert!(
        want.len() == 4 && want.values().all(|count| *count > 5.0),
        "{want:?}"
    );
    for ((metric, environment), count) in want {
        let shown = story.value(metric, &[("environment", environment.as_str())]);
        assert_eq!(shown, Some(count), "{metric} {environment}");
    }
}

/// Ten projects, each with an environment in use.
async fn ten(version: &'static str) -> Story {
    let story = Story::with(settings(), |world, app| {
        world.version = version.to_owned();
        for number in 1..10 {
            let path = format!("group/other-{number}");
            world.add_project(&path).expect("a project");
        }
        let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
        assert!(projects.contains(&app));
        for project in projects {
            let environment = production(world, project);
            world.deploy(project, environment, SECOND).expect("history");
        }
    });
    story.await
}

#[tokio::test]
async fn deployments_of_many_projects_are_read_by_their_numbers() {
    // Without numbers that show their environments, a list for each project.
    for (version, lists, queries) in [("19.3.0-ee", 0, 4), ("16.3.0-ee", 10, 1)] {
        let mut story = ten(version).await;
        let projects: Vec<u64> = story.world().projects().map(|project| project.id).collect();
        story.look_after(INTERVAL).await;
        let before = story.calls("/deployments");
        for project in &projects {
            let mut world = story.world();
            let environment = production(&mut world, *project);
            world.deploy(*project, environment, SECOND).expect("it");
            let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
            let pipeline = world.create_pipeline(*project, &spec).expect("it");
            world
                .finish_pipeline(pipeline, &Finish::success())
                .expect("it ends");
        }
        story.look_at_environments().await;
        let counted = story.count(COUNT, &[]);
        assert_eq!(
            (counted, story.count(DURATION, &[])),
            (10.0, 10.0),
            "{version}"
        );
        let calls = story.calls("/deployments") - before;
        assert_eq!(calls, lists, "{version}");
        let places = story.calls("/environments");
        assert!(places <= 20, "{version}: {places} calls, {projects:?}");
        let asked = story.gitlab.requests().count("Deployments");
        assert!(asked > 0 && asked <= queries, "{version}: {asked} queries");
        story.look_after(DAY).await;
        assert_eq!(story.count(COUNT, &[]), 10.0, "{version}: by the list, too");
    }
}

#[tokio::test]
async fn what_was_skipped_or_waited_counts_when_it_runs_and_so_does_one_without_a_job() {
    let mut story = Story::with(settings(), |world, app| {
        let environment = production(world, app);
        world.deploy(app, environment, SECOND).expect("history");
    })
    .await;
    let app = story.app;
    let environment = production(&mut story.world(), app);
    let made = |story: &Story, job: Option<(u64, &str)>, status| {
        let mut world = story.world();
        let id = world.create_deployment(app, environment, job);
        let id = id.expect("a deployment");
        world.set_deployment_status(app, id, status).expect("it");
        id
    };
    let skipped = made(&story, Some((1, "deploy")), DeploymentStatus::Skipped);
    let blocked = made(&story, Some((2, "deploy")), DeploymentStatus::Blocked);
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.count(COUNT, &[]), 0.0);
    // Later ones come and go meanwhile.
    for _ in 0..3 {
        story
            .world()
            .deploy(app, environment, SECOND)
            .expect("a deployment");
        story.move_pipelines();
        story.look_at_environments().await;
    }
    assert_eq!(story.count(COUNT, &[]), 3.0);
    let lists = story.calls("/deployments");
    for id in [skipped, blocked] {
        for status in [
            DeploymentStatus::Created,
            DeploymentStatus::Running,
            DeploymentStatus::Success,
        ] {
            let mut world = story.world();
            world.set_deployment_status(app, id, status).expect("it");
        }
        story.move_pipelines();
        story.look_at_environments().await;
    }
    assert_eq!(story.count(COUNT, &[]), 5.0);
    assert_eq!(story.calls("/deployments"), lists, "by their numbers");
    let by_api = made(&story, None, DeploymentStatus::Success);
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.count(COUNT, &[]), 6.0, "{by_api}: the list has it");
}

#[tokio::test]
async fn an_environment_that_is_new_is_shown_at_once() {
    let mut story = Story::with(settings(), |world, app| {
        let environment = production(world, app);
        world.deploy(app, environment, SECOND).expect("history");
    })
    .await;
    let app = story.app;
    {
        let mut world = story.world();
        let review = world.add_environment(app, "review/one", None).expect("it");
        world.deploy(app, review, SECOND).expect("a deployment");
    }
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(
        story.values_of(INFO, "environment"),
        ["production", "review/one"]
    );
    let here = [("environment", "review/one")];
    assert_eq!(story.value(COUNT, &here), Some(1.0));
}

#[tokio::test]
async fn commits_are_compared_where_the_branch_or_a_deployment_moved_and_once_for_all() {
    let mut story = Story::with(settings(), |world, app| {
        for name in ["qa", "staging", "production"] {
            let place = world.add_environment(app, name, None).expect("it");
            world.deploy(app, place, SECOND).expect("a deployment");
            world.push(app, "main").expect("a push");
        }
    })
    .await;
    let behind = |story: &Story| {
        ["qa", "staging", "production"].map(|name| {
            story
                .value(BEHIND, &[("environment", name)])
                .unwrap_or(-1.0)
        })
    };
    assert_eq!(behind(&story), [3.0, 2.0, 1.0]);
    let first = story.calls("/compare");
    assert_eq!(first, 1, "the oldest answers for all");
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(story.calls("/compare"), first, "nothing moved");
    story.world().push(story.app, "main").expect("a push");
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(behind(&story), [4.0, 3.0, 2.0]);
    assert_eq!(story.calls("/compare"), first + 1);
    let production = production(&mut story.world(), story.app);
    story
        .world()
        .deploy(story.app, production, SECOND)
        .expect("a deployment");
    story.move_pipelines();
    story.look_at_environments().await;
    assert_eq!(behind(&story), [4.0, 3.0, 0.0]);
    assert_eq!(story.calls("/compare"), first + 1, "it is the tip");
}

/// No pipeline moves: a script made it.
#[tokio::test]
async fn a_deployment_by_api_is_read_within_the_hour_and_at_once_on_request() {
    let mut environment = 0;
    let mut story = Story::with(settings(), |world, app| {
        environment = production(world, app);
        world.deploy(app, environment, SECOND).expect("history");
    })
    .await;
    let app = story.app;
    let deploys = |story: &Story| {
        let mut world = story.world();
        let id = world.create_deployment(app, environment, None).expect("it");
        for status in [DeploymentStatus::Running, DeploymentStatus::Success] {
            world.set_deployment_status(app, id, status).expect("it");
        }
    };
    story.look_after(INTERVAL).await;
    deploys(&story);
    story.look_after(INTERVAL).await;
    assert_eq!(story.count(COUNT, &[]), 0.0, "nothing was asked for");
    for _ in 0..12 {
        story.look_after(INTERVAL).await;
    }
    assert_eq!(story.count(COUNT, &[]), 1.0);

    deploys(&story);
    let registry = story.exporter.registry();
    let id = amazing_gitlab_exporter::types::ProjectId(app);
    let now = crate::support::core::now(&story.gitlab);
    assert!(registry.lock().poll_now(id, now));
    story.look_now().await;
    assert_eq!(story.count(COUNT, &[]), 2.0);
}

/// What a project in which nothing moves costs in a day, beside its pipelines.
#[tokio::test]
async fn environments_of_a_quiet_project_are_listed_every_few_hours_only() {
    let mut story = Story::with(settings(), |world, app| {
        let environment = production(world, app);
        world.deploy(app, environment, SECOND).expect("history");
    })
    .await;
    story.look_after(INTERVAL).await;
    let before = story.calls("/environments");
    for _ in 0..24 {
        story.look_after(3600).await;
    }
    let lists = story.calls("/environments") - before;
    assert!((3..=5).contains(&lists), "{lists}");
}
