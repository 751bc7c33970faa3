//! `runners`: each runner that the token may see, once.

use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::auth::Token;
use gitlab_simulator::world::{DEFAULT_TOKEN, Manager, ProjectId, RunnerType};
use gitlab_simulator::{AccessLevel, World};

use super::Scene;

const ONLINE: &str = "age_runner_online";
const PAUSED: &str = "age_runner_paused";
const CONTACT: &str = "age_runner_contacted_timestamp";
const INFO: &str = "age_runner_info";

fn on(settings: &mut Settings) {
    settings.collectors.runners.enabled = true;
}

/// The group's runner is paused and has two managers of one kind; the project's was never there.
fn runners(world: &mut World, app: ProjectId) {
    world.add_project("group/lib").expect("a project");
    let group = world.group_by_path("group").expect("a group").id;
    let manager = |system: &str| Manager {
        architecture: Some("arm64".into()),
        ..Manager::new(system)
    };
    world
        .change_runner(2, |runner| {
            runner.group = Some(group);
            runner.paused = true;
            runner.managers = vec![manager("a"), manager("b")];
        })
        .expect("there");
    world
        .change_runner(3, |runner| {
            runner.projects = vec![app];
            runner.never_contacted = true;
            runner.managers = Vec::new();
        })
        .expect("there");
    world.add_runner(RunnerType::ProjectType, "somebody else's");
}

async fn shows_runners(admin: bool, use_graphql: bool) {
    let mut scene = Scene::new(
        on,
        |world, app| {
            runners(world, app);
            if admin {
                let mut token = Token::new(DEFAULT_TOKEN);
                token.admin = true;
                world.add_token(token);
            }
        },
        |client| client.use_graphql = use_graphql,
    );
    scene.look_for(330).await;
    let what = format!("administrator {admin}, GraphQL {use_graphql}");
    let of = |id: &'static str| [("runner_id", id)];
    assert_eq!(scene.value(ONLINE, &of("1")), Some(1.0), "{what}");
    assert_eq!(scene.value(PAUSED, &of("1")), Some(0.0), "{what}");
    assert_eq!(scene.value(PAUSED, &of("2")), Some(1.0), "{what}");
    assert_eq!(scene.value(ONLINE, &of("3")), Some(0.0), "{what}");
    assert!(scene.value(CONTACT, &of("1")).is_some(), "{what}");
    assert_eq!(scene.value(CONTACT, &of("3")), None, "{what}");
    let info = &[
        ("architecture", "arm64"),
        ("description", "group runner"),
        ("platform", "linux"),
        ("runner_id", "2"),
        ("runner_type", "group"),
        ("version", "18.4.0"),
    ];
    assert_eq!(scene.value(INFO, info), Some(1.0), "{what}");
    let all = if admin { 4 } else { 3 };
    assert_eq!(scene.series(ONLINE), all, "{what}");

    scene.gitlab.world().delete_runner(3).expect("there");
    scene.look_for(330).await;
    assert_eq!(scene.series(ONLINE), all - 1, "{what}");
}

#[tokio::test]
async fn all_runners_for_an_administrator() {
    shows_runners(true, true).await;
    shows_runners(true, false).await;
}

#[tokio::test]
async fn the_projects_runners_for_everybody_else() {
    shows_runners(false, true).await;
    shows_runners(false, false).await;
}

#[tokio::test]
async fn when_the_project_that_holds_them_goes_another_takes_over() {
    let mut scene = Scene::new(on, runners, |_| {});
    scene.look_for(330).await;
    {
        let app = scene.app;
        scene.gitlab.world().delete_project(app).expect("there");
    }
    scene.look_for(660).await;
    assert_eq!(scene.series(ONLINE), 2, "its own runner is out of sight");
}

#[tokio::test]
async fn many_runners_are_read_page_by_page() {
    for use_graphql in [true, false] {
        let mut scene = Scene::new(
            on,
            |world, _| {
                for number in 0..120 {
                    world.add_runner(RunnerType::InstanceType, &format!("runner {number}"));
                }
            },
            |client| client.use_graphql = use_graphql,
        );
        scene.look_for(330).await;
        assert_eq!(scene.series(ONLINE), 121, "GraphQL: {use_graphql}");
    }
}

#[tokio::test]
async fn below_maintainer_the_reason_is_told() {
    let mut scene = Scene::new(
        on,
        |world, app| {
            runners(world, app);
            world
                .set_default_role(DEFAULT_TOKEN, AccessLevel::Developer)
                .expect("a token");
        },
        |_| {},
    );
    scene.look_for(330).await;
    assert_eq!(scene.series(ONLINE), 0);
    let reason = scene.reason(Collector::Runners).expect("a reason");
    assert!(reason.contains("Maintainer"), "{reason}");
}
