//! One connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix_ws::{CloseCode, Message, MessageStream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::channel::{self, Subscription};
use crate::access::Viewer;
use crate::auth::TokenState;
use crate::gate::Socket;
use crate::server::State;
use crate::time::{MINUTE, Millis};

/// How often a connection sees what moved.
const TICK: Duration = Duration::from_millis(10);
/// How often rights are asked for: a membership that is lost is noticed some time later.
const RIGHTS: Duration = Duration::from_millis(50);
/// How long the last word takes.
const WORD: Duration = Duration::from_millis(50);
/// A token that is revoked is of use for so much longer to what stands.
const LINGERS: Millis = 10 * MINUTE;

pub(super) struct Session {
    state: State,
    socket: actix_ws::Session,
    connection: Option<Socket>,
    token: Option<String>,
    /// By identifier, as it was given.
    subscriptions: BTreeMap<String, Subscription>,
    /// Identifiers that were used, whether or not anything came of them.
    used: Vec<String>,
    unanswered: Vec<(String, Identifier)>,
    seen: u64,
    server: u64,
    revoked_at: Option<Millis>,
}

#[derive(Deserialize)]
struct Command {
    command: String,
    identifier: String,
}

#[derive(Deserialize)]
struct Identifier {
    channel: String,
    query: Option<String>,
    #[serde(default)]
    variables: Value,
}

/// The connection is no more.
struct Gone;

impl From<actix_ws::Closed> for Gone {
    fn from(_: actix_ws::Closed) -> Self {
        Self
    }
}

impl Session {
    pub(super) fn new(
        state: State,
        socket: actix_ws::Session,
        connection: Option<Socket>,
        token: Option<String>,
    ) -> Self {
        let server = state.cable.inner().server;
        let seen = state.world.read().status_changes().end();
        Self {
            state,
            socket,
            connection,
            token,
            subscriptions: BTreeMap::new(),
            used: Vec::new(),
            unanswered: Vec::new(),
            seen,
            server,
            revoked_at: None,
        }
    }

    pub(super) async fn run(mut self, messages: MessageStream, is_good: bool) {
        if !is_good {
            let said = json!({
                "type": "disconnect", "reason": "invalid_request", "reconnect": true,
            });
            if self.say(&said).await.is_ok() {
                let socket = self.socket.clone();
                socket.close(Some(CloseCode::Normal.into())).await.ok();
            }
            return;
        }
        self.state.cable.count(|counts| {
            counts.open += 1;
            counts.welcomed += 1;
        });
        let served = self.serve(messages).await;
        let (standing, unanswered) = (self.subscriptions.len(), self.unanswered.len());
        self.state.cable.count(|counts| {
            counts.open -= 1;
            counts.standing -= standing;
            counts.unanswered -= unanswered;
        });
        if served.is_ok() {
            // A bare end: no frame says that it is over.
            if let Some(Socket(socket)) = &self.connection {
                socket.shutdown(std::net::Shutdown::Both).ok();
            }
        }
    }

    async fn serve(&mut self, mut messages: MessageStream) -> Result<(), Gone> {
        let mut ticks = actix_web::rt::time::interval(TICK);
        let (mut pinged, mut asked) = (Instant::now(), Instant::now());
        if !self.is_mute() {
            self.say(&json!({"type": "welcome"})).await?;
        }
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Some(Ok(Message::Text(text))) => self.obey(&text),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
                    Some(Ok(_)) => {}
                },
                _ = ticks.tick() => {}
            }
            if self.is_replaced().await? {
                return Ok(());
            }
            if self.is_mute() {
                continue;
            }
            self.answer().await?;
            self.announce().await?;
            if asked.elapsed() >= RIGHTS {
                asked = Instant::now();
                self.end_what_is_not_allowed().await?;
            }
            let every = self.state.cable.inner().ping_every;
            if pinged.elapsed() >= every {
                pinged = Instant::now();
                let seconds = self.state.world.read().now() / 1000;
                self.say(&json!({"type": "ping", "message": seconds}))
                    .await?;
            }
        }
    }

    fn is_mute(&self) -> bool {
        self.state.cable.inner().is_mute
    }

    async fn is_replaced(&mut self) -> Result<bool, Gone> {
        let (server, says) = {
            let inner = self.state.cable.inner();
            (inner.server, inner.says_restart)
        };
        if server != self.server && says {
            let said = json!({
                "type": "disconnect", "reason": "server_restart", "reconnect": true,
            });
            self.say(&said).await?;
            // What is said still goes out.
            actix_web::rt::time::sleep(WORD).await;
        }
        Ok(server != self.server)
    }

    async fn say(&mut self, message: &Value) -> Result<(), Gone> {
        Ok(self.socket.text(message.to_string()).await?)
    }

    /// What is wrong is met with silence.
    fn obey(&mut self, text: &str) {
        let Ok(command) = serde_json::from_str::<Command>(text) else {
            return;
        };
        let name = command.identifier;
        match command.command.as_str() {
            "subscribe" => {
                self.state.cable.count(|counts| counts.subscribes += 1);
                let Ok(identifier) = serde_json::from_str::<Identifier>(&name) else {
                    return;
                };
                if identifier.channel != "GraphqlChannel" || self.used.contains(&name) {
                    return;
                }
                self.used.push(name.clone());
                self.unanswered.push((name, identifier));
                self.state.cable.count(|counts| {
                    counts.unanswered += 1;
                    counts.most_unanswered = counts.most_unanswered.max(counts.unanswered);
                });
            }
            "unsubscribe" => {
                self.used.retain(|used| *used != name);
                if self.subscriptions.remove(&name).is_some() {
                    self.state.cable.count(|counts| counts.standing -= 1);
                }
            }
            _ => {}
        }
    }

    async fn answer(&mut self) -> Result<(), Gone> {
        if self.state.cable.inner().is_held {
            return Ok(());
        }
        for (name, identifier) in std::mem::take(&mut self.unanswered) {
            self.state.cable.count(|counts| counts.unanswered -= 1);
            if !self.may_subscribe() {
                self.used.retain(|used| *used != name);
                let said = json!({"type": "reject_subscription", "identifier": name});
                self.say(&said).await?;
                continue;
            }
            let viewer = self.viewer();
            let made = {
                let world = self.state.world.read();
                let query = identifier.query.as_deref().unwrap_or_default();
                Subscription::new(&world, &viewer, query, &identifier.variables)
            };
            let result = match made {
                Ok(made) => {
                    self.subscriptions.insert(name.clone(), made);
                    self.state.cable.count(|counts| counts.standing += 1);
                    json!({"data": Subscription::beginning()})
                }
                Err(why) => json!({"data": null, "errors": [{"message": why}]}),
            };
            // The data come before the confirmation, which comes for errors, too.
            let data = json!({"identifier": name, "message": {"result": result, "more": true}});
            self.say(&data).await?;
            let confirmed = json!({"type": "confirm_subscription", "identifier": name});
            self.say(&confirmed).await?;
        }
        Ok(())
    }

    fn may_subscribe(&self) -> bool {
        let Some(value) = &self.token else {
            return true;
        };
        let world = self.state.world.read();
        let token = world.token(value);
        token.is_some_and(|token| {
            token.state(world.now()) == TokenState::Active && token.reads_api()
        })
    }

    fn viewer(&self) -> Viewer {
        let world = self.state.world.read();
        let token = self.token.as_ref();
        let token = token.and_then(|value| world.token(value).cloned());
        Viewer::new(&world, token)
    }

    /// Whether what stands has come to its silent end: the token was revoked a while ago.
    fn is_over(&mut self) -> bool {
        let world = self.state.world.read();
        let now = world.now();
        let token = self.token.as_ref().and_then(|value| world.token(value));
        let is_revoked = token.is_some_and(|token| token.state(now) != TokenState::Active);
        if !is_revoked {
            self.revoked_at = None;
            return false;
        }
        now - *self.revoked_at.get_or_insert(now) >= LINGERS
    }

    async fn announce(&mut self) -> Result<(), Gone> {
        let is_over = self.is_over();
        let events: Vec<Value> = {
            let world = self.state.world.read();
            let changes = world.status_changes();
            let moved = changes.after(self.seen);
            let events = moved.flat_map(|(project, pipeline)| {
                let all = self.subscriptions.iter();
                let about = all.filter(move |(_, one)| one.project == project && !is_over);
                about.map(move |(name, one)| (name.clone(), one.clone(), pipeline))
            });
            let events = events.map(|(name, one, pipeline)| {
                let result = json!({"data": one.event(&world, pipeline)});
                json!({"identifier": name, "message": {"result": result, "more": true}})
            });
            let events = events.collect();
            self.seen = changes.end();
            events
        };
        for event in events {
            self.state.cable.count(|counts| counts.events += 1);
            self.say(&event).await?;
        }
        Ok(())
    }

    async fn end_what_is_not_allowed(&mut self) -> Result<(), Gone> {
        let ended: Vec<String> = {
            let viewer = self.viewer();
            let world = self.state.world.read();
            let ended = self
                .subscriptions
                .iter()
                .filter(|(_, one)| !channel::is_readable(&world, &viewer, one.project));
            ended.map(|(name, _)| name.clone()).collect()
        };
        for name in ended {
            self.subscriptions.remove(&name);
            self.state.cable.count(|counts| counts.standing -= 1);
            let said = json!({"identifier": name, "message": {"more": false}});
            self.say(&said).await?;
        }
        Ok(())
    }
}
