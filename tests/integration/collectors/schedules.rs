//! `schedules`: pipeline schedules and their newest pipelines.

use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{DEFAULT_TOKEN, Finish, PipelineSpec};

use super::Scene;

const ACTIVE: &str = "age_pipeline_schedule_active";
const NEXT: &str = "age_pipeline_schedule_next_run_timestamp";
const STATUS: &str = "age_pipeline_schedule_last_run_status";

fn on(settings: &mut Settings) {
    settings.collectors.schedules.enabled = true;
}

async fn shows_schedules(use_graphql: bool) {
    let mut weekly = 0;
    let mut scene = Scene::new(
        on,
        |world, app| {
            let nightly = world.add_schedule(app, "nightly", "main").expect("made");
            let next = world.now() + 3_600_000;
            let set = world.change_schedule(nightly, |one| one.next_run_at = Some(next));
            set.expect("there");
            weekly = world.add_schedule(app, "weekly", "develop").expect("made");
            world
                .change_schedule(weekly, |schedule| schedule.active = false)
                .expect("there");
            world
                .add_schedule(app, "nightly", "main")
                .expect("a second of the name");
            let spec = PipelineSpec::branch("main")
                .source("schedule")
                .stage("test", &["unit"]);
            let run = world.create_pipeline(app, &spec).expect("a pipeline");
            world
                .finish_pipeline(run, &Finish::failed("script_failure"))
                .expect("it ends");
            world.add_project("group/empty").expect("a project");
        },
        |client| client.use_graphql = use_graphql,
    );
    let start = scene.gitlab.world().now() / 1000;
    scene.look_for(330).await;
    let nightly = &[
        ("project", "group/app"),
        ("ref", "main"),
        ("schedule", "nightly"),
    ];
    assert_eq!(scene.value(ACTIVE, nightly), Some(1.0));
    assert_eq!(scene.value(NEXT, nightly), Some((start + 3_600) as f64));
    let failed = &[("schedule", "nightly"), ("status", "failed")];
    assert_eq!(scene.value(STATUS, failed), Some(1.0));
    let quiet = &[("ref", "develop"), ("schedule", "weekly")];
    assert_eq!(scene.value(ACTIVE, quiet), Some(0.0));
    assert_eq!(scene.value(NEXT, quiet), None, "it will not run");
    assert_eq!(scene.value(STATUS, quiet), None, "it never ran");
    assert_eq!(scene.series(ACTIVE), 3, "each has a series of its own");
    let by_rest = scene.asked("pipeline_schedules");
    assert_eq!(by_rest == 0, use_graphql, "{by_rest} by REST");

    scene.gitlab.world().delete_schedule(weekly).expect("there");
    scene.look_for(330).await;
    assert_eq!(scene.value(ACTIVE, quiet), None);
}

#[tokio::test]
async fn schedules_and_their_last_runs() {
    shows_schedules(true).await;
}

#[tokio::test]
async fn rest_tells_the_same() {
    shows_schedules(false).await;
}

#[tokio::test]
async fn many_schedules_are_read_page_by_page() {
    for use_graphql in [true, false] {
        let mut scene = Scene::new(
            on,
            |world, app| {
                for number in 0..130 {
                    let name = format!("schedule-{number}");
                    world.add_schedule(app, &name, "main").expect("made");
                }
            },
            |client| client.use_graphql = use_graphql,
        );
        scene.look_for(330).await;
        assert_eq!(scene.series(ACTIVE), 130, "GraphQL: {use_graphql}");
    }
}

#[tokio::test]
async fn a_lost_role_and_a_deleted_project_take_the_states_away() {
    for deleted in [false, true] {
        let mut scene = Scene::new(
            on,
            |world, app| {
                world.add_schedule(app, "nightly", "main").expect("made");
            },
            |_| {},
        );
        scene.look_for(330).await;
        assert_eq!(scene.series(ACTIVE), 1);
        {
            let app = scene.app;
            let mut world = scene.gitlab.world();
            if deleted {
                world.delete_project(app).expect("there");
            } else {
                world
                    .set_default_role(DEFAULT_TOKEN, AccessLevel::Guest)
                    .expect("a token");
                world
                    .change_settings(app, |settings| settings.public_jobs = false)
                    .expect("there");
            }
        }
        scene.look_for(330).await;
        assert_eq!(scene.series(ACTIVE), 0);
    }
}

/// The second page by GraphQL, or one schedule of several by REST, cannot be read: what is known of
/// the project stays, unless GitLab says that it is not for this token.
#[tokio::test]
async fn what_fails_midway_is_read_at_the_next_look() {
    let one = "/api/v4/projects/:id/pipeline_schedules/:schedule_id";
    let second = |fault| Rule::new(fault).on("PipelineSchedules").page(2);
    let other = |fault| Rule::new(fault).on(one).skip(1);
    for (use_graphql, status) in [(true, 500), (true, 403), (false, 500), (false, 403)] {
        let mut schedules = Vec::new();
        let mut scene = Scene::new(
            on,
            |world, app| {
                for number in 0..if use_graphql { 101 } else { 3 } {
                    let name = format!("schedule-{number}");
                    let made = world.add_schedule(app, &name, "main");
                    schedules.push(made.expect("made"));
                }
            },
            |client| client.use_graphql = use_graphql,
        );
        scene.look_for(330).await;
        assert_eq!(scene.series(ACTIVE), schedules.len());
        let first = &[("schedule", "schedule-0")];
        assert_eq!(scene.value(ACTIVE, first), Some(1.0));

        let fault = Fault::Status { status };
        let rule = if use_graphql {
            second(fault)
        } else {
            other(fault)
        };
        let rule = scene.gitlab.faults().add(rule);
        let off = scene
            .gitlab
            .world()
            .change_schedule(schedules[0], |schedule| schedule.active = false);
        off.expect("there");
        scene.look_for(330).await;
        assert!(scene.gitlab.faults().hits(rule) > 0);
        let errors = scene.exporter.heard.all_failures();
        // One that is forbidden leaves the others; a list that is, the collector.
        if status == 403 && use_graphql {
            assert_eq!(scene.series(ACTIVE), 0);
            assert!(errors.is_empty(), "{errors:?}");
            let why = scene.reason(Collector::Schedules).expect("a reason");
            assert!(why.contains("403"), "{why}");
        } else {
            assert_eq!(scene.series(ACTIVE), schedules.len());
            // By REST the list was read; by GraphQL nothing was, and it is as it was.
            let shown = if use_graphql { 1.0 } else { 0.0 };
            assert_eq!(scene.value(ACTIVE, first), Some(shown));
            let kinds: Vec<_> = errors.into_keys().collect();
            let kind = if status == 403 { "forbidden" } else { "server" };
            assert_eq!(kinds, [("schedules", kind)]);
        }

        scene.gitlab.faults().clear();
        // What was refused is asked for again a quarter of an hour later.
        scene.look_for(1000).await;
        assert_eq!(scene.series(ACTIVE), schedules.len());
        assert_eq!(scene.value(ACTIVE, first), Some(0.0));
        assert_eq!(scene.reason(Collector::Schedules), None);
    }
}
