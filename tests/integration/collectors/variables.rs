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

/// A GitLab with 20 more projects, each with a pipeline that nobody gave a variable of interest.
fn many(version: &'static str) -> Scene {
    let before = move |world: &mut World, app: ProjectId| {
        world.version = version.to_owned();
        started(world, app, "staging");
        for number in 0..20 {
            let path = format!("group/other-{number}");
            let project = world.add_project(&path).expect("a project");
            let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
            let id = world.create_pipeline(project, &spec).expect("a pipeline");
            world.set_variables(id, vec![Variable::new("PASSWORD", "hunter2")]);
        }
    };
    Scene::new(on, before, |_| {})
}

#[tokio::test]
async fn pipelines_without_a_named_key_cost_no_call_each() {
    for (version, calls, queries) in [("19.3.0-ee", 1, 1), ("16.3.0-ee", 21, 1)] {
        let mut scene = many(version);
        scene.look_for(240).await;
        assert_eq!(scene.value(INFO, &[("value", "staging")]), Some(1.0));
        assert_eq!(scene.series(INFO), 1, "{version}");
        assert_eq!(scene.asked("/variables"), calls, "{version}");
        let asked = scene.gitlab.requests().count("PipelineVariables");
        assert_eq!(asked, queries, "{version}: a refusal is met once");
    }
}
