//! The client of Action Cable: what GitLab says, and what it does not say.

use std::time::Duration;

use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::gitlab::{
    Cable, CableEnd, CableError, CableMessage, CablePatience, Cables, GitLab, NoAccounting,
    Settings, TokenSource,
};
use amazing_gitlab_exporter::types::{PipelineId, ProjectId};
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::Finish;
use gitlab_simulator::{Simulator, Token, WorldConfig};

use super::{gitlab, one_job};
use crate::support::core::{client_settings, now};
use crate::support::{DEADLINE, eventually};

fn cables(simulator: &Simulator, change: impl FnOnce(&mut Settings)) -> Cables {
    let mut settings = client_settings(simulator);
    change(&mut settings);
    let clock = Clock::manual(now(simulator));
    let gitlab = GitLab::new(&settings, std::sync::Arc::new(NoAccounting), clock);
    Cables::new(&settings, &gitlab.expect("a client")).expect("a client")
}

fn token(value: &str) -> TokenSource {
    TokenSource::Secret(value.to_owned().into())
}

async fn connect(cables: &Cables) -> Result<Cable, CableError> {
    let connected = tokio::time::timeout(DEADLINE, cables.connect()).await;
    connected.expect("in time")
}

async fn next(cable: &mut Cable) -> Result<CableMessage, CableEnd> {
    let next = tokio::time::timeout(DEADLINE, cable.next()).await;
    next.expect("in time")
}

fn data(name: &str, pipeline: Option<u64>, more: bool) -> CableMessage {
    CableMessage::Data {
        subscription: name.to_owned(),
        pipeline: pipeline.map(PipelineId),
        errors: Vec::new(),
        more,
    }
}

/// A connection with a subscription that stands.
async fn standing(simulator: &Simulator, project: u64) -> (Cable, String) {
    let mut cable = connect(&cables(simulator, |_| {})).await.expect("welcome");
    let name = Cable::subscription(ProjectId(project));
    cable.subscribe(&name).await.expect("sent");
    assert_eq!(next(&mut cable).await, Ok(data(&name, None, true)));
    (cable, name.to_string())
}

fn why(connected: Result<Cable, CableError>) -> String {
    match connected {
        Ok(_) => panic!("it was welcomed"),
        Err(CableError::Refused(why)) => why,
        Err(failed @ CableError::Failed(_)) => panic!("no refusal: {failed}"),
    }
}

#[tokio::test]
async fn another_origin_or_a_lost_upgrade_is_a_refusal_that_names_both() {
    let (simulator, _) = gitlab(1, WorldConfig::default());
    let own = cables(&simulator, |_| {});
    simulator
        .cable()
        .set_address(Some("https://gitlab.example.com"));
    let by_origin = why(connect(&own).await);
    simulator.cable().set_address(None);
    simulator
        .faults()
        .add(Rule::new(Fault::Status { status: 404 }).on("/-/cable"));
    let by_upgrade = why(connect(&own).await);
    assert_eq!(by_origin, by_upgrade);
    for word in ["404", "Origin", "Upgrade", "gitlab.url", "external_url"] {
        assert!(by_origin.contains(word), "{by_origin}");
    }
    simulator.faults().clear();
    assert!(connect(&own).await.is_ok());
}

#[tokio::test]
async fn a_disconnect_before_the_welcome_is_a_refusal_and_shows_no_token() {
    let (simulator, _) = gitlab(1, WorldConfig::default());
    let wrong = cables(&simulator, |settings| {
        settings.token = token("glpat-wrong-and-secret");
    });
    let why = why(connect(&wrong).await);
    assert!(why.contains("invalid_request"), "{why}");
    assert!(!why.contains("glpat"), "{why}");
}

#[tokio::test]
async fn a_token_without_the_scope_is_welcomed_and_rejected() {
    let (simulator, ids) = gitlab(1, WorldConfig::default());
    let unread = Token::new("glpat-unread").with_scopes(&["read_user"]);
    simulator.world().tokens.push(unread);
    let cables = cables(&simulator, |settings| {
        settings.token = token("glpat-unread")
    });
    let mut cable = connect(&cables).await.expect("welcome");
    let name = Cable::subscription(ProjectId(ids[0]));
    cable.subscribe(&name).await.expect("sent");
    let rejected = CableMessage::Rejected {
        subscription: name.to_string(),
    };
    assert_eq!(next(&mut cable).await, Ok(rejected));
}

#[tokio::test]
async fn other_answers_are_refusals_or_failures() {
    let (simulator, _) = gitlab(1, WorldConfig::default());
    let own = cables(&simulator, |_| {});
    let answer = |fault: Fault| {
        simulator.faults().clear();
        simulator.faults().add(Rule::new(fault).on("/-/cable"));
    };
    answer(Fault::Html);
    assert!(why(connect(&own).await).contains("status 200"));
    answer(Fault::Redirect {
        to: "https://other.example.com/-/cable?secret=1".to_owned(),
    });
    let why = why(connect(&own).await);
    assert!(why.contains("https://other.example.com,"), "{why}");
    assert!(!why.contains("secret"), "{why}");
    for fault in [
        Fault::Status { status: 502 },
        Fault::RackAttack { retry_after: 3 },
        Fault::Reset,
    ] {
        answer(fault.clone());
        let failed = connect(&own).await;
        assert!(matches!(failed, Err(CableError::Failed(_))), "{fault:?}");
    }
}

#[tokio::test]
async fn without_a_welcome_there_is_no_connection() {
    let (simulator, _) = gitlab(1, WorldConfig::default());
    simulator.cable().set_mute(true);
    let hasty = cables(&simulator, |settings| {
        settings.cable.welcome = Duration::from_millis(200);
    });
    assert!(matches!(connect(&hasty).await, Err(CableError::Failed(_))));
}

#[tokio::test]
async fn events_name_pipelines_and_pings_keep_the_connection() {
    let (simulator, ids) = gitlab(2, WorldConfig::default());
    simulator.cable().ping_every(Duration::from_millis(10));
    let (mut cable, name) = standing(&simulator, ids[0]).await;
    let made = {
        let mut world = simulator.world();
        let elsewhere = world.create_pipeline(ids[1], &one_job());
        elsewhere.expect("made");
        let made = world.create_pipeline(ids[0], &one_job());
        made.expect("made")
    };
    assert_eq!(next(&mut cable).await, Ok(data(&name, Some(made), true)));
    let ended = simulator.world().finish_pipeline(made, &Finish::success());
    ended.expect("it ends");
    assert_eq!(next(&mut cable).await, Ok(data(&name, Some(made), true)));
    cable.unsubscribe(&name).await.expect("sent");
    eventually("unsubscribed", || simulator.cable().counts().standing == 0).await;
    cable.close().await;
    eventually("closed", || simulator.cable().counts().open == 0).await;
}

#[tokio::test]
async fn errors_are_data_and_their_confirmation_is_nothing() {
    let (simulator, ids) = gitlab(1, WorldConfig::default());
    let mut cable = connect(&cables(&simulator, |_| {})).await.expect("welcome");
    let unknown = Cable::subscription(ProjectId(9_999_999));
    cable.subscribe(&unknown).await.expect("sent");
    let Ok(CableMessage::Data { errors, more, .. }) = next(&mut cable).await else {
        panic!("no data");
    };
    assert_eq!((errors.len(), more), (1, true));
    assert!(errors[0].contains("permission"), "{errors:?}");
    let known = Cable::subscription(ProjectId(ids[0]));
    cable.subscribe(&known).await.expect("sent");
    assert_eq!(next(&mut cable).await, Ok(data(&known, None, true)));
}

#[tokio::test]
async fn a_lost_membership_ends_one_subscription() {
    let (simulator, ids) = gitlab(1, WorldConfig::default());
    let (mut cable, name) = standing(&simulator, ids[0]).await;
    {
        let token = &mut simulator.world().tokens[0];
        token.default_role = AccessLevel::None;
    }
    assert_eq!(next(&mut cable).await, Ok(data(&name, None, false)));
}

#[tokio::test]
async fn a_replaced_process_is_an_end_like_any_other() {
    let (simulator, ids) = gitlab(1, WorldConfig::default());
    let (mut cable, _) = standing(&simulator, ids[0]).await;
    simulator.cable().restart();
    assert_eq!(next(&mut cable).await, Err(CableEnd::Closed));
    let (mut cable, _) = standing(&simulator, ids[0]).await;
    simulator.cable().announce_restart();
    let said = CableEnd::Disconnected("server_restart".to_owned());
    assert_eq!(next(&mut cable).await, Err(said));
}

#[tokio::test]
async fn without_pings_a_connection_is_dead() {
    let (simulator, _) = gitlab(1, WorldConfig::default());
    let patience = CablePatience {
        silence: Duration::from_millis(300),
        ..CablePatience::default()
    };
    let hasty = cables(&simulator, |settings| settings.cable = patience);
    let mut cable = connect(&hasty).await.expect("welcome");
    simulator.cable().set_mute(true);
    let silent = CableEnd::Silent(patience.silence);
    assert_eq!(next(&mut cable).await, Err(silent));
}
