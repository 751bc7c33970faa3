//! `POST /webhook`: GitLab's events.
//!
//! GitLab never sends an event again, whatever the answer, and waits ten seconds for it. So everything
//! whose sender is known is accepted at once, and what follows happens later.

mod body;
mod unknown;

use std::sync::{Arc, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use actix_web::http::header::{HeaderMap, RETRY_AFTER};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tracing::{Instrument, Span, info_span};

use super::{HandlerContext, answer};
use crate::config::{Secret, Webhook};
use crate::events::payload::{self, Event, KINDS, Meaning, OTHER};
use crate::events::senders::{Credentials, Refusal, Senders, Verdict};
use crate::events::{Mark, Origin, Trigger, UnixMillis};
use crate::files::{self, MAX_SECRET};
use crate::telemetry::secrets::Secrets;
use crate::types::signing_key;
use body::{BodyError, Memory};
use unknown::Unknown;

/// The path of webhooks.
pub(super) const PATH: &str = "/webhook";
/// Connections that may be open.
pub(super) const CONNECTIONS: usize = 2048;
/// The secret token's file is read again no more often than this.
const FILE_READS: Duration = Duration::from_secs(5);
/// A larger body is read on a thread of its own.
const LARGE: usize = 256 << 10;

/// What became of an event, as the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A project or a list is read for it.
    Accepted,
    /// Nothing that is measured depends on it.
    Ignored,
    /// Its project is not tracked.
    Untracked,
    /// The sender is not known.
    Unauthorized,
    /// The same, and it was refused very often lately.
    RateLimited,
    /// The body is no JSON.
    BadRequest,
    /// The body is larger than GitLab's largest.
    TooLarge,
    /// It is not a POST.
    Method,
    /// The body did not come.
    Timeout,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Ignored,
        Self::Untracked,
        Self::Unauthorized,
        Self::RateLimited,
        Self::BadRequest,
        Self::TooLarge,
        Self::Method,
        Self::Timeout,
    ];

    /// The value of the label `outcome`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::Untracked => "untracked",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::Method => "method",
            Self::Timeout => "timeout",
        }
    }
}

/// Takes what events say.
pub trait EventSink: Send + Sync {
    /// An event came from a known sender; says what becomes of it. Must not wait.
    fn take(&self, event: Event, mark: Mark) -> Outcome;

    /// So many requests of a kind of event ended like this; 0 before the first.
    fn count(&self, kind: &'static str, outcome: Outcome, requests: u32);
}

/// The file of the secret token, as it was last read.
#[derive(Default)]
struct TokenFile {
    read_at: Option<Instant>,
    token: Option<Secret>,
}

/// The receiver of webhooks.
pub struct Receiver {
    senders: RwLock<Senders>,
    settings: Webhook,
    secrets: Secrets,
    file: std::sync::Mutex<TokenFile>,
    memory: Memory,
    sink: Arc<dyn EventSink>,
    notices: Notices,
    unknown: Unknown,
}

impl Receiver {
    /// By the settings, which validation has checked; the content of a secret's file becomes one of
    /// `secrets`.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(
        settings: &Webhook,
        secrets: Secrets,
        sink: Arc<dyn EventSink>,
    ) -> std::io::Result<Self> {
        let signing = settings.signing_tokens.iter();
        let signing = signing.filter_map(|token| signing_key(token.expose()).ok());
        let open = settings.allow_unauthenticated;
        let senders = Senders::new([], signing, open).map_err(std::io::Error::other)?;
        let receiver = Self {
            senders: RwLock::new(senders),
            settings: settings.clone(),
            secrets,
            file: std::sync::Mutex::default(),
            memory: Memory::default(),
            sink,
            notices: Notices::default(),
            unknown: Unknown::default(),
        };
        receiver.read_tokens(&mut receiver.file());
        for kind in KINDS {
            receiver.sink.count(kind, Outcome::Accepted, 0);
        }
        for outcome in Outcome::ALL {
            receiver.sink.count(OTHER, outcome, 0);
        }
        Ok(receiver)
    }

    fn file(&self) -> MutexGuard<'_, TokenFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file of the secret token, if there is one, and accepts what it holds beside the tokens of the
    /// settings; says whether that is another token. What it held before stays where it cannot be read.
    fn read_tokens(&self, file: &mut TokenFile) -> bool {
        let settings = &self.settings;
        let mut is_other = false;
        if let Some(path) = &settings.secret_token_file {
            match files::read_text(path, MAX_SECRET) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => {
                    let token = Secret::from(text.trim());
                    is_other = file.token.as_ref() != Some(&token);
                    self.secrets.register(token.expose());
                    file.token = Some(token);
                }
                Err(error) => {
                    tracing::warn!(path = ?path, %error, "server.webhook.secret_token_file could not be read");
                }
            }
        }
        let configured = settings.secret_token.iter().chain(&settings.secret_tokens);
        let all = configured.chain(&file.token).map(Secret::expose);
        let mut senders = self.senders.write().unwrap_or_else(PoisonError::into_inner);
        senders.set_tokens(all);
        is_other
    }

    /// Whether the file of the secret token holds another one by now.
    fn reread(&self) -> bool {
        if self.settings.secret_token_file.is_none() {
            return false;
        }
        let mut file = self.file();
        let now = Instant::now();
        if file
            .read_at
            .is_some_and(|at| now.duration_since(at) < FILE_READS)
        {
            return false;
        }
        file.read_at = Some(now);
        self.read_tokens(&mut file)
    }

    fn judge(&self, sent: &Credentials<'_>) -> Verdict {
        let judge = || {
            let senders = self.senders.read().unwrap_or_else(PoisonError::into_inner);
            senders.judge(sent)
        };
        match judge() {
            Verdict::Refused(Refusal::WrongToken) if self.reread() => judge(),
            verdict => verdict,
        }
    }

    fn verify(&self, sent: &Credentials<'_>, body: &[u8], now: i64) -> Result<(), Refusal> {
        let senders = self.senders.read().unwrap_or_else(PoisonError::into_inner);
        senders.verify(sent, body, now)
    }

    /// Counts a request that is refused, and says it in the log once a minute.
    fn refuse(&self, request: &HttpRequest, outcome: Outcome, why: &dyn std::fmt::Display) {
        self.sink.count(OTHER, outcome, 1);
        if let Some(left_out) = self.notices.may_say(outcome, Instant::now()) {
            let client = request.peer_addr().map(|address| address.ip().to_string());
            tracing::warn!(
                reason = outcome.as_str(),
                client,
                left_out,
                "webhook refused: {why}"
            );
        }
    }
}

/// When something was last said, and how often it was left out since.
#[derive(Default)]
struct Notices(std::sync::Mutex<std::collections::BTreeMap<&'static str, (Instant, u64)>>);

impl Notices {
    fn may_say(&self, outcome: Outcome, now: Instant) -> Option<u64> {
        const APART: Duration = Duration::from_secs(60);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match said.get_mut(outcome.as_str()) {
            Some((at, left_out)) if now.duration_since(*at) < APART => {
                *left_out += 1;
                None
            }
            known => {
                let left_out = known.map_or(0, |(_, left_out)| *left_out);
                said.insert(outcome.as_str(), (now, 0));
                Some(left_out)
            }
        }
    }
}

/// The body of an answer.
#[derive(Serialize)]
struct Answer {
    status: &'static str,
}

/// Takes an event.
pub(super) async fn receive(
    request: HttpRequest,
    body: web::Payload,
    shared: web::Data<HandlerContext>,
    receiver: web::Data<Receiver>,
) -> HttpResponse {
    let span = info_span!(
        "webhook",
        otel.name = "POST /webhook",
        otel.kind = "server",
        event = tracing::field::Empty,
        outcome = tracing::field::Empty
    );
    take(request, body, shared, receiver).instrument(span).await
}

async fn take(
    request: HttpRequest,
    payload: web::Payload,
    shared: web::Data<HandlerContext>,
    receiver: web::Data<Receiver>,
) -> HttpResponse {
    let arrived = tokio::time::Instant::now();
    let credentials = credentials(request.headers());
    let verdict = receiver.judge(&credentials);
    if let Verdict::Refused(why) = verdict {
        return unauthorized(&request, &receiver, why);
    }
    let body = match body::read(payload, request.headers(), &receiver.memory).await {
        Ok(body) => body,
        Err(error) => return unreadable(&request, &receiver, &error),
    };
    let now = shared.context.clock.now();
    if verdict == Verdict::BySignature
        && let Err(why) = receiver.verify(&credentials, &body, now.0)
    {
        return unauthorized(&request, &receiver, why);
    }
    let parsed = if body.len() > LARGE {
        let parse = move || payload::parse(&body);
        match answer::run_blocking(parse).await {
            Ok(parsed) => parsed,
            Err(failure) => return failure.answer(&request),
        }
    } else {
        payload::parse(&body)
    };
    let event = match parsed {
        Ok(event) => event,
        Err(error) => {
            receiver.refuse(&request, Outcome::BadRequest, &error);
            let sentence = "the body is not JSON; choose the content type application/json";
            return refusal(&request, StatusCode::BAD_REQUEST, sentence);
        }
    };
    let outcome = receiver
        .sink
        .take(event, mark(&event, &credentials, arrived));
    receiver.sink.count(event.kind, outcome, 1);
    let span = Span::current();
    span.record("event", event.kind);
    span.record("outcome", outcome.as_str());
    let status = match outcome {
        Outcome::Accepted => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    };
    HttpResponse::build(status).json(Answer {
        status: outcome.as_str(),
    })
}

/// The answer to methods other than POST: above all to what was a POST before a redirect.
pub(super) async fn other_method(
    request: HttpRequest,
    receiver: web::Data<Receiver>,
) -> HttpResponse {
    let why = format!(
        "{} instead of POST; a proxy that redirects turns a POST into a GET: give GitLab the address that it \
         redirects to",
        request.method()
    );
    receiver.refuse(&request, Outcome::Method, &why);
    answer::post_alone(request).await
}

/// An event as it is remembered. Where GitLab gives no time of its own, the signature's is one.
fn mark(event: &Event, sent: &Credentials<'_>, arrived: tokio::time::Instant) -> Mark {
    let (subject, at) = match event.meaning {
        Meaning::Moved { subject, at, .. } => (subject, at),
        Meaning::Listed | Meaning::Nothing => (None, None),
    };
    let sent_at = || {
        let text = std::str::from_utf8(sent.timestamp?).ok()?;
        Some(UnixMillis::from_seconds(text.parse().ok()?))
    };
    Mark {
        trigger: Trigger::Webhook,
        subject,
        at: at.or_else(sent_at),
        arrived,
        is_job: event.kind == "build",
        origin: Origin::current(),
    }
}

fn credentials(headers: &HeaderMap) -> Credentials<'_> {
    let get = |name: &str| headers.get(name).map(|value| value.as_bytes());
    Credentials {
        token: get("x-gitlab-token"),
        id: get("webhook-id"),
        timestamp: get("webhook-timestamp"),
        signature: get("webhook-signature"),
    }
}

/// The answer to a sender that is not known. It is told to wait where it does not give up, but never shut
/// out: the next request may have the right secret.
fn unauthorized(request: &HttpRequest, receiver: &Receiver, why: Refusal) -> HttpResponse {
    let from = request.peer_addr().map(|address| address.ip());
    let Some(wait) = receiver.unknown.refused(from, Instant::now()) else {
        receiver.refuse(request, Outcome::Unauthorized, &why);
        return refusal(request, StatusCode::UNAUTHORIZED, &why.to_string());
    };
    receiver.refuse(request, Outcome::RateLimited, &why);
    let mut refusal = refusal(request, StatusCode::TOO_MANY_REQUESTS, &why.to_string());
    let seconds = wait.as_secs().max(1);
    refusal.headers_mut().insert(RETRY_AFTER, seconds.into());
    refusal
}

fn unreadable(request: &HttpRequest, receiver: &Receiver, error: &BodyError) -> HttpResponse {
    let (outcome, status) = match error {
        BodyError::TooLarge => (Outcome::TooLarge, StatusCode::PAYLOAD_TOO_LARGE),
        BodyError::Timeout => (Outcome::Timeout, StatusCode::REQUEST_TIMEOUT),
        BodyError::Broken => (Outcome::BadRequest, StatusCode::BAD_REQUEST),
    };
    receiver.refuse(request, outcome, error);
    refusal(request, status, &error.to_string())
}

/// A refusal; what is left of the body is not read.
fn refusal(request: &HttpRequest, status: StatusCode, sentence: &str) -> HttpResponse {
    let mut refusal = answer::refusal(request.headers(), status, sentence);
    refusal
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    refusal
}
