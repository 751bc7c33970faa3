//! `environments`: what its token may read, and restarts. What it counts and shows is told in
//! `scenarios::environments`.

use std::time::Duration;

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::{Finish, PipelineSpec, ProjectId};
use gitlab_simulator::{AccessLevel, Options, Simulator, World, WorldConfig};

use super::code::{Make, Rig, of};
use crate::support::core::{Core, client_settings, watch_everything};

const COUNT: &str = "age_environment_deployment_count";
const FAMILIES: [&str; 1] = ["age_environment_"];
const LIST: &str = "/api/v4/projects/:id/environments";
const DEPLOYMENTS: &str = "/api/v4/projects/:id/deployments";
/// The query for deployments by their numbers.
const NUMBERS: &str = "Deployments";
const HERE: [(&str, &str); 1] = [("environment", "production")];

fn on(settings: &mut Settings) {
    settings.collectors.environments.enabled = true;
}

/// A deployment to production, by a pipeline that shows that something moved.
fn deploy(world: &mut World, app: ProjectId) {
    let environment = world.add_environment(app, "production", None);
    let environment = environment.expect("an environment");
    world
        .deploy(app, environment, SECOND)
        .expect("a deployment");
    let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
    let pipeline = world.create_pipeline(app, &spec).expect("a pipeline");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
}

/// Deploys, looks for two hours, and gives how many deployments are counted.
async fn deploy_and_look(rig: &mut Rig) -> Option<f64> {
    deploy(&mut rig.world(), rig.app);
    rig.look_later().await;
    rig.value(COUNT, &HERE)
}

fn no_failure(rig: &Rig) {
    let failures = rig.exporter.heard.all_failures();
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_token_may_not_read_is_unavailable_and_counted_when_it_may() {
    for endpoint in [LIST, DEPLOYMENTS] {
        let mut rig = Make::new(on).begin(deploy).await;
        assert_eq!(rig.value(COUNT, &HERE), None, "history");
        let rules = [endpoint, NUMBERS].map(|subject| {
            let rule = Rule::new(Fault::Status { status: 403 }).on(subject);
            rig.gitlab.faults().add(rule)
        });
        assert_eq!(deploy_and_look(&mut rig).await, None, "not shown meanwhile");
        let why = rig.unavailable("environments").expect("a reason");
        assert!(why.contains("403"), "{why}");
        no_failure(&rig);
        for rule in rules {
            rig.gitlab.faults().remove(rule);
        }
        assert_eq!(deploy_and_look(&mut rig).await, Some(2.0));
        assert_eq!(rig.unavailable("environments"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_too_low_costs_no_call_and_is_no_error() {
    let make = Make {
        role: AccessLevel::Guest,
        ..Make::new(on)
    };
    let mut rig = make.begin(deploy).await;
    assert_eq!(deploy_and_look(&mut rig).await, None);
    assert_eq!(of(&rig.series(), &FAMILIES), Vec::<String>::new());
    assert_eq!(rig.gitlab.requests().count(DEPLOYMENTS), 0);
    no_failure(&rig);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_graphql_the_same_is_shown() {
    let mut shown = Vec::new();
    for graphql in [true, false] {
        let make = Make {
            graphql,
            ..Make::new(on)
        };
        let mut rig = make.begin(deploy).await;
        assert_eq!(deploy_and_look(&mut rig).await, Some(1.0));
        no_failure(&rig);
        // REST does not read the newest commit of the default branch.
        let latest = rig.value("age_environment_info", &[("latest_commit", "")]);
        assert_eq!(latest.is_none(), graphql);
        let series = of(&rig.series(), &FAMILIES).into_iter();
        let series = series.map(|line| match line.split_once("\"latest_commit\": \"") {
            Some((before, rest)) => {
                let (_, after) = rest.split_once('"').expect("a value");
                format!("{before}{after}")
            }
            None => line,
        });
        shown.push(series.collect::<Vec<_>>());
    }
    assert_eq!(shown[0], shown[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_in_the_middle_of_a_look_loses_nothing() {
    let mut rig = Make::new(on).begin(deploy).await;
    for _ in 0..130 {
        deploy(&mut rig.world(), rig.app);
    }
    let rule = Rule::new(Fault::Status { status: 500 });
    let rule = rig.gitlab.faults().add(rule.on(DEPLOYMENTS).page(2));
    assert_eq!(deploy_and_look(&mut rig).await, None);
    assert!(rig.exporter.heard.failures("environments", "server") > 0);
    assert!(rig.gitlab.faults().hits(rule) > 0);
    rig.gitlab.faults().remove(rule);
    rig.look_later().await;
    assert_eq!(rig.value(COUNT, &HERE), Some(131.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_a_state_file_counts_nothing_twice_and_misses_nothing() {
    let mut world = World::new(WorldConfig::default());
    let app = world.add_project("group/app").expect("a project");
    deploy(&mut world, app);
    let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let mut settings = watch_everything();
    on(&mut settings);
    let client = client_settings(&gitlab);
    for start in 0..3_u32 {
        let mut exporter = Core::with_state(&gitlab, &settings, &client, &path).await;
        // It goes on with what was shown, before it looks at anything.
        let count = |exporter: &Core| {
            let series = exporter.series();
            series.value(COUNT, &HERE).map(|value| value.count())
        };
        let before = (start > 0).then(|| f64::from(2 * start - 1));
        assert_eq!(count(&exporter), before);
        for _ in 0..4 {
            exporter.round(&gitlab).await;
            gitlab.advance(Duration::from_secs(400));
        }
        // The one that came while it was down is counted, the first of all is history.
        let expected = (start > 0).then(|| f64::from(2 * start));
        assert_eq!(count(&exporter), expected);
        deploy(&mut gitlab.world(), app);
        for _ in 0..4 {
            gitlab.advance(Duration::from_secs(1_000));
            exporter.round(&gitlab).await;
        }
        assert_eq!(count(&exporter), Some(f64::from(2 * start + 1)));
        drop(exporter);
        deploy(&mut gitlab.world(), app);
        gitlab.advance(Duration::from_secs(600));
    }
}

/// A deployment to an environment of this name.
fn deploy_to(world: &mut World, app: ProjectId, name: &str) {
    let known = world.delivery(app).and_then(|delivery| {
        let mut all = delivery.environments.values();
        all.find(|environment| &*environment.name == name)
            .map(|environment| environment.id)
    });
    let environment = known.unwrap_or_else(|| {
        let made = world.add_environment(app, name, None);
        made.expect("an environment")
    });
    world
        .deploy(app, environment, SECOND)
        .expect("a deployment");
    let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
    let pipeline = world.create_pipeline(app, &spec).expect("a pipeline");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn environments_are_selected_by_name_and_the_others_cost_no_lists() {
    const REVIEW: [(&str, &str); 1] = [("environment", "review/1")];
    let make = Make::new(|settings| {
        on(settings);
        settings.collectors.environments.regexp = "^production$".parse().expect("a regexp");
    });
    let mut rig = make
        .begin(|world, app| {
            deploy_to(world, app, "production");
            deploy_to(world, app, "review/1");
        })
        .await;
    for name in ["production", "review/1"] {
        deploy_to(&mut rig.world(), rig.app, name);
    }
    rig.look_later().await;
    assert_eq!(rig.value(COUNT, &HERE), Some(1.0));
    assert_eq!(rig.value(COUNT, &REVIEW), None);
    assert_eq!(rig.value("age_environment_info", &REVIEW), None);
    let lists = rig.gitlab.requests().count(DEPLOYMENTS);
    for _ in 0..5 {
        deploy_to(&mut rig.world(), rig.app, "review/1");
        rig.gitlab.advance(Duration::from_secs(400));
        rig.look().await;
    }
    assert_eq!(rig.gitlab.requests().count(DEPLOYMENTS), lists);
    assert_eq!(rig.value(COUNT, &REVIEW), None);
    no_failure(&rig);
}
