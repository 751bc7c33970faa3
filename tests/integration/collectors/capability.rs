//! What GitLab is and which tier a project has: asked, asked again, and done without.

use std::time::Duration;

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::Tier;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use super::code::Make;
use crate::support::core::{Core, client_settings, watch_everything};

const SHOWN: &str = "age_vulnerability_count";

fn security(settings: &mut Settings) {
    settings.collectors.security.enabled = true;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_picked_up_within_a_day() {
    let make = Make {
        tier: Tier::Free,
        ..Make::new(security)
    };
    let mut rig = make.begin(|_, _| {}).await;
    assert!(rig.series().metric(SHOWN).is_empty());
    let why = rig.unavailable("security").expect("a reason");
    assert_eq!(why, "needs GitLab Ultimate, the project has Free");
    rig.world()
        .set_tier("group", Tier::Ultimate)
        .expect("a group");
    rig.look_later().await;
    assert!(
        rig.series().metric(SHOWN).is_empty(),
        "it was asked for today"
    );
    rig.gitlab.advance(Duration::from_secs(24 * 3600));
    rig.look().await;
    assert!(!rig.series().metric(SHOWN).is_empty());
    assert_eq!(rig.unavailable("security"), None);
    rig.world().set_tier("group", Tier::Free).expect("a group");
    rig.gitlab.advance(Duration::from_secs(25 * 3600));
    rig.look().await;
    assert!(rig.series().metric(SHOWN).is_empty(), "the licence ended");
    assert!(rig.unavailable("security").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_project_has_all_states_under_its_new_path_at_the_next_look() {
    let make = Make::new(|settings| {
        security(settings);
        settings.collectors.repository.enabled = true;
    });
    let mut rig = make.begin(|_, _| {}).await;
    let app = rig.app;
    rig.world().move_project(app, "group/new").expect("a name");
    rig.gitlab.advance(Duration::from_secs(60));
    rig.look().await;
    for metric in [SHOWN, "age_repository_info"] {
        let shown = rig.series();
        let of = |path: &str| shown.select(metric, &[("project", path)]).len();
        assert_eq!(of("group/app"), 0, "{metric}");
        assert!(of("group/new") > 0, "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_cannot_be_read_stops_no_collector() {
    let mut world = World::new(WorldConfig::default());
    world.add_project("group/app").expect("a project");
    world.set_tier("group", Tier::Ultimate).expect("a group");
    let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
    let fault = Rule::new(Fault::Status { status: 500 }).on("/api/v4/metadata");
    let fault = gitlab.faults().add(fault);
    let mut settings = watch_everything();
    security(&mut settings);
    settings.collectors.repository.enabled = true;
    let client = client_settings(&gitlab);
    let mut exporter = Core::with_client(&gitlab, &settings, &client);
    for _ in 0..4 {
        exporter.round(&gitlab).await;
    }
    assert!(gitlab.faults().hits(fault) > 0);
    assert!(!exporter.series().metric("age_repository_info").is_empty());
    gitlab.faults().clear();
    gitlab.advance(Duration::from_secs(3_700));
    for _ in 0..4 {
        exporter.round(&gitlab).await;
    }
    assert!(!exporter.series().metric(SHOWN).is_empty());
}
