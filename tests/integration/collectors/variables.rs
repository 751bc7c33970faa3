//! `variables`: what the newest pipeline of each ref was started with.

use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::AccessLevel;
use gitlab_simulator::World;
use gitlab_simulator::world::{DEFAULT_TOKEN, PipelineSpec, ProjectId, Variable};

use super::Scene;

const INFO: &str = "age_pipeline_variable_info";

fn on(settings: &mut Settings) {
    let variables = &mut settings.collectors.variables;
    variables.enabled = true;
    variables.regexp = Some("^DEPLOY_".parse().expect("a regular expression"));
}

fn started(world: &mut World, app: ProjectId, target: &str) {
    let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
    let id = world.create_pipeline(app, &spec).expect("a pipeline");
    let mut file = Variable::new("DEPLOY_KEYS", "many lines");
    file.variable_type = "file".into();
    let variables = vec![
        Variable::new("DEPLOY_TARGET", target),
        Variable::new("PASSWORD", "hunter2"),
        file,
    ];
    world.set_variables(id, variables);
}

#[tokio::test]
async fn named_keys_of_the_newest_pipeline_once() {
    let mut scene = Scene::new(on, |world, app| started(world, app, "staging"), |_| {});
    scene.look_for(120).await;
    let labels = &[
        ("key", "DEPLOY_TARGET"),
        ("kind", "branch"),
        ("project", "group/app"),
        ("ref", "main"),
        ("value", "staging"),
    ];
    assert_eq!(scene.value(INFO, labels), Some(1.0));
    assert_eq!(scene.series(INFO), 1, "neither the others nor files");
    scene.look_for(600).await;
    assert_eq!(scene.asked("/variables"), 1, "they never change");
    {
        let app = scene.app;
        started(&mut scene.gitlab.world(), app, "production");
    }
    scene.look_for(120).await;
    assert_eq!(scene.value(INFO, &[("value", "production")]), Some(1.0));
    assert_eq!(scene.series(INFO), 1);
}

#[tokio::test]
async fn below_maintainer_the_reason_is_told() {
    let mut scene = Scene::new(
        on,
        |world, app| {
            started(world, app, "staging");
            world
                .set_default_role(DEFAULT_TOKEN, AccessLevel::Developer)
                .expect("a token");
        },
        |_| {},
    );
    scene.look_for(120).await;
    assert_eq!(scene.series(INFO), 0);
    let reason = scene.reason(Collector::Variables).expect("a reason");
    assert!(reason.contains("Maintainer"), "{reason}");
    assert_eq!(scene.asked("/variables"), 0, "nothing is asked in vain");
}
