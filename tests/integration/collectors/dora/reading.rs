//! What the figures are computed from is read once, and forgotten when it does not count any more.

use amazing_gitlab_exporter::config::EnvironmentTier;
use gitlab_simulator::Simulator;

use super::*;
use crate::support::core::{Core, client_settings, watch_everything};

fn free() -> Make {
    Make {
        tier: Tier::Free,
        ..Make::new(on)
    }
}

/// So many deployments, each of one merge request.
fn deploy_often(world: &mut World, app: u64, times: usize) {
    let production = place(world, app, "production");
    for _ in 0..times {
        merge(world, app);
        world.deploy(app, production, SECOND).expect("it");
    }
    world.advance(HOUR);
}

/// One whose GraphQL has no merge requests by deployment.
fn old() -> Make {
    Make {
        version: OLD,
        ..free()
    }
}

const OLD: &str = "16.3.0-ee";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deployment_shipped_is_asked_for_once() {
    // 18 deployments share a query; REST takes a call for each.
    for (make, asked, other, wanted) in [
        (free(), SHIPPED_QUERY, SHIPPED, [6, 14, 14, 15]),
        (old(), SHIPPED, SHIPPED_QUERY, [100, 230, 230, 231]),
    ] {
        let mut rig = make.begin(|world, app| deploy_often(world, app, 230)).await;
        let frequency = Some(230.0 / 30.0);
        assert_eq!(rig.production(FREQUENCY), frequency, "of three pages");
        assert_eq!(rig.production(LEAD_TIME), None, "not all are known yet");
        let mut calls = vec![rig.calls(asked)];
        rig.look_later().await;
        calls.push(rig.calls(asked));
        assert_eq!(rig.production(LEAD_TIME), Some(1.0));
        for _ in 0..12 {
            rig.look_later().await;
        }
        calls.push(rig.calls(asked));
        assert_eq!(rig.production(FREQUENCY), frequency);
        {
            let mut world = rig.world();
            deploy_often(&mut world, rig.app, 1);
            move_pipelines(&mut world, rig.app);
        }
        rig.look_later().await;
        calls.push(rig.calls(asked));
        assert_eq!(calls, wanted, "{asked}");
        assert!(rig.calls(other) <= 1, "{other}: {}", rig.calls(other));
        assert_eq!(rig.production(FREQUENCY), Some(231.0 / 30.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_of_many_projects_share_a_query_and_incidents_one() {
    let make = Make {
        more_projects: 9,
        ..free()
    };
    let mut rig = make
        .begin(|world, _| {
            let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
            for project in projects {
                deploy_often(world, project, 3);
                let incident = world.open_incident(project).expect("an incident");
                world
                    .set_incident(project, incident, true, None)
                    .expect("it is closed");
            }
        })
        .await;
    let calls = |rig: &Rig| (rig.calls(SHIPPED), rig.calls(SHIPPED_QUERY));
    // Three projects have a place in a query.
    assert_eq!(calls(&rig), (0, 4), "30 deployments");
    assert_eq!(rig.calls(ISSUES), 10, "all, once a day");
    let projects: Vec<u64> = rig.world().projects().map(|project| project.id).collect();
    for project in projects {
        let mut world = rig.world();
        world.open_incident(project).expect("an incident");
    }
    rig.gitlab.advance(std::time::Duration::from_secs(3_600));
    rig.look_later().await;
    assert_eq!(rig.calls(ISSUES), 10);
    assert!(rig.calls("Incidents") <= 4, "{}", rig.calls("Incidents"));
    let two = Some(2.0 / 3.0);
    assert_eq!(rig.production(FAILURE_RATE), two, "of three deployments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_graphql_does_not_answer_rest_does() {
    let mut rig = free().begin(|world, app| deploy_often(world, app, 2)).await;
    rig.fails(500, SHIPPED_QUERY);
    {
        let mut world = rig.world();
        deploy_often(&mut world, rig.app, 1);
        move_pipelines(&mut world, rig.app);
    }
    rig.look_later().await;
    assert_eq!(rig.calls(SHIPPED), 1);
    assert_eq!(rig.production(FREQUENCY), Some(0.1));
    assert_eq!(rig.production(LEAD_TIME), Some(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_just_ended_is_asked_for_once_more() {
    let mut rig = free()
        .begin(|world, app| {
            let production = place(world, app, "production");
            merge(world, app);
            world.deploy(app, production, SECOND).expect("it");
        })
        .await;
    assert_eq!(rig.calls(SHIPPED_QUERY), 1);
    assert_eq!(rig.production(LEAD_TIME), Some(1.0));
    for _ in 0..3 {
        rig.look_later().await;
    }
    assert_eq!(rig.calls(SHIPPED_QUERY), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_project_costs_no_calls_and_a_pipeline_wakes_it() {
    let mut rig = free()
        .begin(|world, app| {
            let staging = place(world, app, "staging");
            world.deploy(app, staging, SECOND).expect("it");
            world.advance(HOUR);
        })
        .await;
    rig.look_later().await;
    let calls = |rig: &Rig| {
        let all = rig.gitlab.requests().all();
        let rest = all.iter().filter(|asked| {
            let path = &asked.endpoint;
            path.contains("deployments") || path.contains("environments") || path.contains("issues")
        });
        rest.count()
    };
    let before = calls(&rig);
    rig.look_later().await;
    assert_eq!(calls(&rig), before);
    {
        let mut world = rig.world();
        let staging = place(&mut world, rig.app, "staging");
        world.deploy(rig.app, staging, SECOND).expect("it");
        move_pipelines(&mut world, rig.app);
    }
    rig.look_later().await;
    let staging = [("environment_tier", "staging")];
    assert_eq!(rig.value(FREQUENCY, &staging), Some(2.0 / 30.0));
    // By API, without a pipeline: found within a day.
    {
        let mut world = rig.world();
        let staging = place(&mut world, rig.app, "staging");
        let id = world
            .create_deployment(rig.app, staging, None)
            .expect("a deployment");
        world
            .set_deployment_status(
                rig.app,
                id,
                gitlab_simulator::world::DeploymentStatus::Success,
            )
            .expect("it ends");
    }
    rig.gitlab.advance(days(1));
    rig.look().await;
    assert_eq!(rig.value(FREQUENCY, &staging), Some(3.0 / 30.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_older_than_the_period_is_forgotten_and_so_is_a_deleted_environment() {
    let mut rig = free().begin(delivered).await;
    rig.gitlab.advance(days(29));
    rig.look_later().await;
    assert_eq!(rig.four(), WANTED);
    rig.gitlab.advance(days(1));
    rig.look_later().await;
    assert_eq!(rig.four(), [Some(0.0), None, None, None]);
    delivered(&mut rig.world(), rig.app);
    move_pipelines(&mut rig.world(), rig.app);
    rig.look_later().await;
    assert_eq!(rig.four(), WANTED);
    let production = place(&mut rig.world(), rig.app, "production");
    rig.world()
        .delete_environment(rig.app, production)
        .expect("it goes");
    rig.gitlab.advance(days(1));
    rig.look_later().await;
    assert_eq!(rig.four(), [Some(0.0), None, None, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_environments_count_and_many_are_read_as_a_list() {
    let make = Make {
        tier: Tier::Free,
        ..Make::new(|settings| {
            on(settings);
            settings.collectors.dora.environment_tiers = vec![EnvironmentTier::Development];
        })
    };
    let rig = make
        .begin(|world, app| {
            for number in 0..30 {
                let review = place(world, app, &format!("review/{number}"));
                world.deploy(app, review, SECOND).expect("it");
                let stopped = gitlab_simulator::world::EnvironmentState::Stopped;
                world
                    .set_environment_state(app, review, stopped)
                    .expect("it stops");
            }
        })
        .await;
    let tier = [("environment_tier", "development")];
    assert_eq!(rig.value(FREQUENCY, &tier), Some(1.0));
    assert_eq!(rig.series().metric(FREQUENCY).len(), 1);
    let single = "/api/v4/projects/:id/environments/:environment_id";
    let shipped = rig.calls(SHIPPED) + rig.calls(SHIPPED_QUERY);
    assert_eq!((rig.calls(single), shipped), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_asked_for_again_and_hides_nothing_else() {
    let mut rig = old().begin(|world, app| deploy_often(world, app, 2)).await;
    {
        let mut world = rig.world();
        deploy_often(&mut world, rig.app, 1);
        move_pipelines(&mut world, rig.app);
    }
    rig.look().await;
    let fault = rig.fails(500, SHIPPED);
    rig.look_later().await;
    assert_eq!(rig.production(FREQUENCY), Some(0.1));
    assert_eq!(rig.production(LEAD_TIME), Some(1.0), "of the two known");
    rig.gitlab.faults().remove(fault);
    let before = rig.calls(SHIPPED);
    rig.look_later().await;
    assert_eq!(rig.calls(SHIPPED), before + 1);

    move_pipelines(&mut rig.world(), rig.app);
    rig.look().await;
    rig.fails(500, DEPLOYMENTS);
    rig.look_later().await;
    assert_eq!(rig.production(FREQUENCY), Some(0.1), "the last known");
    assert_eq!(rig.unavailable("dora"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_with_what_was_read() {
    let rig = free()
        .begin(|world, app| deploy_often(world, app, 40))
        .await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let mut settings = watch_everything();
    on(&mut settings);
    let gitlab: &Simulator = &rig.gitlab;
    let client = client_settings(gitlab);
    let mut shown = Vec::new();
    let before = rig.calls(SHIPPED_QUERY);
    for _ in 0..2 {
        let mut exporter = Core::with_state(gitlab, &settings, &client, &path).await;
        for _ in 0..4 {
            exporter.round(gitlab).await;
        }
        let lead = exporter
            .series()
            .value(LEAD_TIME, &[("environment_tier", "production")]);
        shown.push(lead.map(|value| value.count()));
    }
    assert_eq!(shown, [Some(1.0); 2]);
    assert_eq!(rig.calls(SHIPPED_QUERY), before + 3, "40 deployments, once");
}
