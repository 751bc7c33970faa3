//! Names of people in the state file.

use std::path::Path;
use std::time::Duration;

use amazing_gitlab_exporter::config::{PeopleNames, Settings};
use gitlab_simulator::world::reviews::ReviewAct::{Approve, Ask};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::core::{Core, client_settings, watch_everything};

/// Long enough to stand in a file by no accident.
const ANSWERS: &str = "benedikta-fields";
const WAITS: &str = "chiara-meadows";
const PROJECT: &str = "group/app";

fn settings(people: PeopleNames) -> Settings {
    let mut settings = watch_everything();
    settings.collectors.merge_requests.enabled = true;
    settings.collectors.code_review.enabled = true;
    settings.labels.people = people;
    settings.labels.people_hash_key = Some("a long random text".into());
    settings
}

/// An exporter that goes on with a state file, after some rounds.
async fn look(gitlab: &Simulator, people: PeopleNames, state: &Path) -> Core {
    let client = client_settings(gitlab);
    let mut core = Core::with_state(gitlab, &settings(people), &client, state).await;
    for _ in 0..4 {
        core.round(gitlab).await;
    }
    core
}

/// Looks until births are over and noted.
async fn go_on(core: &mut Core, gitlab: &Simulator) {
    for _ in 0..6 {
        gitlab.advance(Duration::from_secs(180));
        core.round(gitlab).await;
    }
}

fn holds(state: &Path, name: &str) -> bool {
    let bytes = std::fs::read(state).expect("the state file");
    let mut windows = bytes.windows(name.len());
    windows.any(|window| window == name.as_bytes())
}

/// Somebody is asked for a review, the exporter starts again, and the answer comes.
async fn ask_and_answer(before: PeopleNames, after: PeopleNames) {
    let case = format!("{before:?}, then {after:?}");
    let mut world = World::new(WorldConfig::default());
    let app = world.add_project(PROJECT).expect("a project");
    let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");

    let mut core = look(&gitlab, before, &state).await;
    gitlab.advance(Duration::from_secs(60));
    let iid = {
        let mut world = gitlab.world();
        let iid = world.create_merge_request(app, "new", "main").expect("one");
        let ask = Ask(&[ANSWERS, WAITS]);
        world.review(app, iid, "ada", ask).expect("it is there");
        iid
    };
    go_on(&mut core, &gitlab).await;
    let pending = |core: &Core| {
        let series = core.series();
        let value = series.value("age_review_pending_count", &[("project", PROJECT)]);
        value.map(|value| value.count())
    };
    assert_eq!(pending(&core), Some(1.0), "{case}");
    drop(core);
    let is_named = before == PeopleNames::Username;
    for name in [ANSWERS, WAITS] {
        assert_eq!(holds(&state, name), is_named, "{case}: {name}");
    }

    let mut core = look(&gitlab, after, &state).await;
    gitlab.advance(Duration::from_secs(60));
    let answer = gitlab.world().review(app, iid, ANSWERS, Approve);
    answer.expect("it is there");
    go_on(&mut core, &gitlab).await;
    let series = core.series();
    let turnarounds = series.metric("age_review_turnaround_seconds");
    let answered: f64 = turnarounds.values().map(|value| value.count()).sum();
    assert_eq!(answered, 1.0, "{case}: {turnarounds:?}");
    assert_eq!(pending(&core), Some(1.0), "{case}: one still waits");
    drop(core);
    if !is_named && after != PeopleNames::Username {
        for name in [ANSWERS, WAITS] {
            assert!(!holds(&state, name), "{case}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_file_names_nobody_whom_labels_do_not_name() {
    use PeopleNames::{Hash, None, Username};
    for people in [Hash, None, Username] {
        ask_and_answer(people, people).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_waited_for_is_known_after_a_change_of_the_setting() {
    use PeopleNames::{Hash, None, Username};
    for (before, after) in [(Username, None), (None, Hash), (Hash, Username)] {
        ask_and_answer(before, after).await;
    }
}
