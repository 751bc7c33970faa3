//! Subscriptions over Action Cable: what GitLab says, when it says nothing, and how it ends.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::world::{A_MINUTE, Finish, JobSpec, PipelineSpec};
use gitlab_simulator::{Cable, Token};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::Lab;

const QUERY: &str =
    "subscription($project: ProjectID!) { ciPipelineStatusesUpdated(projectId: $project) { id } }";
const DEADLINE: Duration = Duration::from_secs(20);

/// A connection.
struct Wire(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Wire {
    /// Opens one, or gives the status of the refusal.
    async fn open(lab: &Lab, origin: Option<&str>, token: Option<&str>) -> Result<Self, u16> {
        let url = lab.simulator.url().replace("http://", "ws://") + "/-/cable";
        let mut request = url.into_client_request().expect("a request");
        let headers = request.headers_mut();
        headers.insert(
            "sec-websocket-protocol",
            "actioncable-v1-json".parse().expect("a value"),
        );
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().expect("a value"));
        }
        if let Some(token) = token {
            headers.insert("authorization", token.parse().expect("a value"));
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// With the right origin and the token of the lab.
    async fn usual(lab: &Lab) -> Self {
        let token = format!("Bearer {}", lab.simulator.token());
        let mut wire = Self::open(lab, Some(lab.simulator.url()), Some(&token))
            .await
            .expect("it is opened");
        assert_eq!(wire.next().await, Some(json!({"type": "welcome"})));
        wire
    }

    /// The next message, pings left out; none at the end, whatever it is.
    async fn next(&mut self) -> Option<Value> {
        let next = async {
            loop {
                match self.0.next().await? {
                    Ok(Message::Text(text)) => {
                        let message: Value = serde_json::from_str(&text).expect("JSON");
                        if message["type"] != "ping" {
                            return Some(message);
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(DEADLINE, next).await.expect("in time")
    }

    async fn command(&mut self, command: &str, identifier: &str) {
        let text = json!({"command": command, "identifier": identifier}).to_string();
        self.0.send(Message::text(text)).await.expect("sent");
    }

    async fn subscribe(&mut self, project: u64, nonce: &str) -> String {
        let name = identifier("GraphqlChannel", QUERY, project, nonce);
        self.command("subscribe", &name).await;
        name
    }
}

fn spec() -> PipelineSpec {
    PipelineSpec::branch("main").job(JobSpec::new("test", "unit"))
}

fn identifier(channel: &str, query: &str, project: u64, nonce: &str) -> String {
    json!({
        "channel": channel, "query": query, "operationName": null, "nonce": nonce,
        "variables": {"project": format!("gid://gitlab/Project/{project}")},
    })
    .to_string()
}

fn first_data(name: &str) -> Value {
    let result = json!({"data": {"ciPipelineStatusesUpdated": null}});
    json!({"identifier": name, "message": {"result": result, "more": true}})
}

fn confirmed(name: &str) -> Value {
    json!({"type": "confirm_subscription", "identifier": name})
}

fn event(name: &str, pipeline: u64) -> Value {
    let id = format!("gid://gitlab/Ci::Pipeline/{pipeline}");
    let result = json!({"data": {"ciPipelineStatusesUpdated": {"id": id}}});
    json!({"identifier": name, "message": {"result": result, "more": true}})
}

async fn until(what: &str, cable: &Cable, holds: impl Fn(&Cable) -> bool) {
    let wait = async {
        while !holds(cable) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, wait).await;
    assert!(waited.is_ok(), "{what}: {:?}", cable.counts());
}

#[tokio::test]
async fn another_origin_and_a_lost_upgrade_are_not_found() {
    let lab = Lab::usual();
    let own = lab.simulator.url().to_owned();
    let token = format!("Bearer {}", lab.simulator.token());
    for origin in [
        None,
        Some("http://gitlab.example.com"),
        Some(&*format!("{own}/")),
    ] {
        let opened = Wire::open(&lab, origin, Some(&token)).await;
        assert_eq!(opened.map(drop), Err(404), "{origin:?}");
    }
    let plain = crate::support::client().get(format!("{own}/-/cable"));
    let plain = plain.header("origin", &own).send().await;
    assert_eq!(plain.expect("an answer").status(), 404);
    // The address it knows itself by may be another one.
    lab.simulator
        .cable()
        .set_address(Some("https://gitlab.example.com"));
    let opened = Wire::open(&lab, Some(&own), Some(&token)).await;
    assert_eq!(opened.map(drop), Err(404));
    let opened = Wire::open(&lab, Some("https://gitlab.example.com"), Some(&token)).await;
    assert!(opened.is_ok());
}

#[tokio::test]
async fn a_wrong_token_is_disconnected_before_the_welcome() {
    let lab = Lab::usual();
    let opened = Wire::open(&lab, Some(lab.simulator.url()), Some("Bearer glpat-wrong")).await;
    let mut wire = opened.expect("101");
    let said = json!({"type": "disconnect", "reason": "invalid_request", "reconnect": true});
    assert_eq!(wire.next().await, Some(said));
    assert_eq!(wire.next().await, None);
}

#[tokio::test]
async fn without_a_token_one_is_nobody_and_without_the_scope_each_subscribe_is_rejected() {
    let lab = Lab::usual();
    let unread = Token::new("glpat-unread").with_scopes(&["read_user"]);
    lab.simulator.world().tokens.push(unread);
    let own = lab.simulator.url();
    for token in [None, Some("Basic dTpw")] {
        let mut wire = Wire::open(&lab, Some(own), token).await.expect("101");
        assert_eq!(wire.next().await, Some(json!({"type": "welcome"})));
        let name = wire.subscribe(lab.app, "1").await;
        let data = wire.next().await.expect("data");
        assert!(data["message"]["result"]["errors"][0]["message"].is_string());
        assert_eq!(wire.next().await, Some(confirmed(&name)));
    }
    let token = Some("Bearer glpat-unread");
    let mut wire = Wire::open(&lab, Some(own), token).await.expect("101");
    assert_eq!(wire.next().await, Some(json!({"type": "welcome"})));
    let name = wire.subscribe(lab.app, "1").await;
    let rejected = json!({"type": "reject_subscription", "identifier": name});
    assert_eq!(wire.next().await, Some(rejected));
}

#[tokio::test]
async fn every_change_of_a_status_is_an_event_but_created() {
    let lab = Lab::usual();
    lab.simulator.world().version = "18.6.0-ee".to_owned();
    let mut wire = Wire::usual(&lab).await;
    let name = wire.subscribe(lab.library, "1").await;
    assert_eq!(wire.next().await, Some(first_data(&name)));
    assert_eq!(wire.next().await, Some(confirmed(&name)));
    let made = {
        let mut world = lab.simulator.world();
        let elsewhere = world.create_pipeline(lab.app, &spec());
        elsewhere.expect("made");
        let made = world.create_pipeline(lab.library, &spec());
        made.expect("made")
    };
    assert_eq!(wire.next().await, Some(event(&name, made)), "pending");
    let finished = lab
        .simulator
        .world()
        .finish_pipeline(made, &Finish::success());
    finished.expect("it ends");
    assert_eq!(wire.next().await, Some(event(&name, made)));
    wire.command("unsubscribe", &name).await;
    until("unsubscribed", lab.simulator.cable(), |cable| {
        cable.counts().standing == 0
    })
    .await;
}

#[tokio::test]
async fn errors_come_before_their_confirmation_and_what_is_wrong_is_met_with_silence() {
    let lab = Lab::usual();
    lab.simulator.world().version = "18.6.0-ee".to_owned();
    let mut wire = Wire::usual(&lab).await;
    let two = "subscription { ciJobProcessed { id } ciJobStatusUpdated { id } }";
    let unknown = "subscription($project: ProjectID!) { jobsMoved(projectId: $project) { id } }";
    for (nonce, query, project) in [("1", QUERY, 9_999_999), ("2", two, 1), ("3", unknown, 1)] {
        let name = identifier("GraphqlChannel", query, project, nonce);
        wire.command("subscribe", &name).await;
        let data = wire.next().await.expect("data");
        assert!(
            data["message"]["result"]["errors"][0]["message"].is_string(),
            "{data}"
        );
        assert_eq!(data["message"]["more"], true);
        assert_eq!(wire.next().await, Some(confirmed(&name)));
    }
    let name = wire.subscribe(lab.app, "4").await;
    assert_eq!(wire.next().await, Some(first_data(&name)));
    assert_eq!(wire.next().await, Some(confirmed(&name)));
    // None of these is answered: what follows is the answer to the last.
    wire.command("subscribe", &name).await;
    let other = identifier("OtherChannel", QUERY, lab.app, "5");
    wire.command("subscribe", &other).await;
    wire.command("message", &name).await;
    wire.command("subscribe", "no JSON").await;
    let last = wire.subscribe(lab.library, "6").await;
    assert_eq!(wire.next().await, Some(first_data(&last)));
}

#[tokio::test]
async fn an_older_release_does_not_know_the_field() {
    let lab = Lab::usual();
    lab.simulator.world().version = "18.5.3-ee".to_owned();
    let mut wire = Wire::usual(&lab).await;
    wire.subscribe(lab.app, "1").await;
    let data = wire.next().await.expect("data");
    let why = &data["message"]["result"]["errors"][0]["message"];
    assert_eq!(
        why,
        "Field 'ciPipelineStatusesUpdated' doesn't exist on type 'Subscription'"
    );
}

#[tokio::test]
async fn a_lost_membership_ends_one_subscription_and_a_revoked_token_says_nothing() {
    let lab = Lab::usual();
    lab.simulator.world().version = "18.6.0-ee".to_owned();
    let mut wire = Wire::usual(&lab).await;
    let (app, library) = (
        wire.subscribe(lab.app, "1").await,
        wire.subscribe(lab.library, "2").await,
    );
    for name in [&app, &library] {
        assert_eq!(wire.next().await, Some(first_data(name)));
        assert_eq!(wire.next().await, Some(confirmed(name)));
    }
    {
        let token = &mut lab.simulator.world().tokens[0];
        token.roles.insert(lab.app, AccessLevel::None);
    }
    let ended = json!({"identifier": app, "message": {"more": false}});
    assert_eq!(wire.next().await, Some(ended));
    // What stands goes on, what is new is rejected.
    lab.simulator.world().tokens[0].revoked = true;
    let late = wire.subscribe(lab.library, "3").await;
    let rejected = json!({"type": "reject_subscription", "identifier": late});
    assert_eq!(wire.next().await, Some(rejected));
    let made = {
        let mut world = lab.simulator.world();
        let made = world.create_pipeline(lab.library, &spec());
        made.expect("made")
    };
    assert_eq!(wire.next().await, Some(event(&library, made)));
}

#[tokio::test]
async fn a_replaced_process_ends_the_stream_with_or_without_a_word() {
    let lab = Lab::usual();
    let mut wire = Wire::usual(&lab).await;
    lab.simulator.cable().restart();
    assert_eq!(wire.next().await, None);
    let mut wire = Wire::usual(&lab).await;
    lab.simulator.cable().announce_restart();
    let said = json!({"type": "disconnect", "reason": "server_restart", "reconnect": true});
    assert_eq!(wire.next().await, Some(said));
    assert_eq!(wire.next().await, None);
    let cable = lab.simulator.cable();
    until("all closed", cable, |cable| cable.counts().open == 0).await;
    assert_eq!(cable.counts().welcomed, 2);
}

#[tokio::test]
async fn fifty_events_of_a_project_come_in_a_minute_and_then_silence() {
    let lab = Lab::usual();
    lab.simulator.world().version = "18.6.0-ee".to_owned();
    let mut wire = Wire::usual(&lab).await;
    let name = wire.subscribe(lab.library, "1").await;
    wire.next().await;
    assert_eq!(wire.next().await, Some(confirmed(&name)));
    let create = |number: u32| {
        let mut world = lab.simulator.world();
        let made = (0..number).map(|_| {
            let made = world.create_pipeline(lab.library, &spec());
            made.expect("made")
        });
        made.collect::<Vec<_>>()
    };
    lab.simulator.advance(Duration::from_secs(60));
    let made = create(A_MINUTE + 5);
    for pipeline in &made[..A_MINUTE as usize] {
        assert_eq!(wire.next().await, Some(event(&name, *pipeline)));
    }
    lab.simulator.advance(Duration::from_secs(60));
    let later = create(1);
    assert_eq!(
        wire.next().await,
        Some(event(&name, later[0])),
        "the next minute"
    );
}

#[tokio::test]
async fn pings_come_all_the_time() {
    let lab = Lab::usual();
    lab.simulator.cable().ping_every(Duration::from_millis(20));
    let mut wire = Wire::usual(&lab).await;
    for _ in 0..3 {
        let frame = tokio::time::timeout(DEADLINE, wire.0.next()).await;
        let frame = frame.expect("in time").expect("a frame").expect("a frame");
        let message: Value = serde_json::from_str(frame.to_text().expect("text")).expect("JSON");
        assert_eq!(message["type"], "ping");
        assert!(message["message"].is_i64());
    }
}
