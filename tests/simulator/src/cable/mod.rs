//! `/-/cable`: GraphQL subscriptions over Action Cable, as they were seen on a running GitLab: silences,
//! useless confirmations and bare ends included.

mod channel;
mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::header::{HOST, ORIGIN, UPGRADE};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::auth::TokenState;
use crate::gate::Socket;
use crate::server::{State, token_value};
use session::Session;

const PROTOCOL: &str = "actioncable-v1-json";

/// How GitLab's connections behave, and what came of them.
#[derive(Clone, Debug, Default)]
pub struct Cable(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    ping_every: Duration,
    address: Option<String>,
    is_mute: bool,
    is_held: bool,
    server: u64,
    says_restart: bool,
    counts: CableCounts,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            ping_every: Duration::from_secs(3),
            address: None,
            is_mute: false,
            is_held: false,
            server: 0,
            says_restart: false,
            counts: CableCounts::default(),
        }
    }
}

/// What came of connections and subscriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CableCounts {
    /// Connections that were welcomed so far.
    pub welcomed: usize,
    /// Connections now.
    pub open: usize,
    /// Subscribes so far.
    pub subscribes: usize,
    /// Subscriptions that stand now.
    pub standing: usize,
    /// Subscribes without an answer now.
    pub unanswered: usize,
    /// Most of them at once.
    pub most_unanswered: usize,
    /// Events sent so far.
    pub events: usize,
}

impl Cable {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut CableCounts)) {
        change(&mut self.inner().counts);
    }

    /// What came of connections and subscriptions.
    #[must_use]
    pub fn counts(&self) -> CableCounts {
        self.inner().counts
    }

    /// Sends a ping so often.
    pub fn ping_every(&self, interval: Duration) {
        self.inner().ping_every = interval;
    }

    /// The address that GitLab knows itself by, such as `https://gitlab.example.com`; by default what the
    /// request names.
    pub fn set_address(&self, address: Option<&str>) {
        self.inner().address = address.map(str::to_owned);
    }

    /// Sends nothing at all any more, and keeps connections open.
    pub fn set_mute(&self, mute: bool) {
        self.inner().is_mute = mute;
    }

    /// Answers no subscribe until this is over.
    pub fn hold(&self, held: bool) {
        self.inner().is_held = held;
    }

    /// Replaces the server process: every connection ends, without a word.
    pub fn restart(&self) {
        let mut inner = self.inner();
        inner.says_restart = false;
        inner.server += 1;
    }

    /// The same, and says so before.
    pub fn announce_restart(&self) {
        let mut inner = self.inner();
        inner.says_restart = true;
        inner.server += 1;
    }
}

/// Opens a connection.
pub(crate) async fn open(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> actix_web::Result<HttpResponse> {
    if !is_own(&request, &state) {
        return Ok(HttpResponse::NotFound()
            .content_type("text/plain")
            .body("Page not found"));
    }
    let (response, socket, messages) =
        actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL])?;
    let token = token_value(&request);
    let is_good = match &token {
        None => true,
        Some(value) => {
            let world = state.world.read();
            let token = world.token(value);
            token.is_some_and(|token| token.state(world.now()) == TokenState::Active)
        }
    };
    let connection = request.conn_data::<Socket>().cloned();
    let session = Session::new(state.get_ref().clone(), socket, connection, token);
    actix_web::rt::spawn(session.run(messages, is_good));
    Ok(response)
}

/// Whether it is a WebSocket's opening from GitLab's own address.
fn is_own(request: &HttpRequest, state: &State) -> bool {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let upgrades = header(UPGRADE.as_str()).is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    let scheme = header("x-forwarded-proto").unwrap_or("http");
    let named = header(HOST.as_str()).map(|host| format!("{scheme}://{host}"));
    let own = state.cable.inner().address.clone().or(named);
    upgrades && own.is_some() && header(ORIGIN.as_str()) == own.as_deref()
}
