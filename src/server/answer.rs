//! What all answers have in common: headers, refusals, accounts.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use serde::Serialize;

use super::HandlerContext;
use super::connections::{Answering, Connection};
use super::web::Login;
use super::webhook;
use crate::telemetry::process::HttpRefusal;

/// What orchestrators ask.
const PROBES: [&str; 2] = ["/health", "/ready"];

/// Longer addresses are refused.
const MAX_URI: usize = 8 * 1024;

/// Unless an answer says otherwise: keep no copy, guess no type, run nothing, be in no frame.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

/// Why there is no answer as asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Something panicked; the panic itself is in the log already.
    #[error("the response failed: {0}")]
    Panic(#[from] tokio::task::JoinError),
    /// A page could not be written.
    #[error("the page could not be written: {0}")]
    Page(#[from] askama::Error),
    /// Metrics could not be written.
    #[error("the metrics could not be written: {0}")]
    Write(#[from] std::io::Error),
}

impl Failure {
    /// The answer; what failed is in the log, not in the answer.
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        tracing::error!(path = request.path(), error = %self, "request failed");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        refusal(request.headers(), status, "internal error; see the log")
    }
}

/// Runs blocking `work` on its own thread. A panic there affects no other request.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

/// Wraps every request.
pub(super) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let for_probes = connection
        .as_ref()
        .is_some_and(|connection| connection.for_probes);
    let answering = connection.map(Connection::begin);
    let method = request.method().clone();
    let path = request.path().to_owned();
    let version = request.version();
    let shared = request.app_data::<web::Data<HandlerContext>>().cloned();
    let refusal = match refuse(&request, for_probes) {
        Some(refusal) => Some(refusal),
        None => turn_away(&request, shared.as_ref()).await,
    };
    let mut response = match refusal {
        Some(refusal) => request.into_response(refusal),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    let headers = response.headers_mut();
    if let Some(shared) = &shared {
        for (name, value) in &shared.context.web.now().headers {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    let status = response.status().as_u16();
    tracing::debug!(%method, path, status, took = ?started.elapsed(), "answered");
    let is_stream = response.response().body().size() == BodySize::Stream;
    let head = response.response_mut().head_mut();
    if version < Version::HTTP_11 && is_stream {
        // Its clients know no chunks: the connection's end is the body's.
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    if for_probes {
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response.map_body(|_, body| BoxBody::new(Answer { body, answering })))
}

/// A body, until whose end its connection is busy.
struct Answer {
    body: BoxBody,
    #[expect(dead_code, reason = "what counts is when it is dropped")]
    answering: Option<Answering>,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}

/// What is refused whatever the page: bodies and long addresses, which no page takes; other names of this
/// server than the settings allow; all but the probes where there are too many connections.
fn refuse(request: &ServiceRequest, for_probes: bool) -> Option<HttpResponse> {
    let headers = request.headers();
    let is_probe = PROBES.contains(&request.path());
    let shared = request.app_data::<web::Data<HandlerContext>>();
    let takes_body = |shared: &web::Data<HandlerContext>| {
        let path = request.path();
        shared.with_body.contains(&path)
    };
    let (status, sentence) = if has_body(headers) && !shared.is_some_and(takes_body) {
        (StatusCode::PAYLOAD_TOO_LARGE, "no body is taken here")
    } else if request.head().uri.to_string().len() > MAX_URI {
        (StatusCode::URI_TOO_LONG, "the address is too long")
    } else if for_probes && !is_probe {
        count(shared, HttpRefusal::TooManyConnections);
        let sentence = "too many connections; /health and /ready still answer";
        (StatusCode::SERVICE_UNAVAILABLE, sentence)
    } else if shared.is_some_and(|shared| !shared.hosts.allow(request.head())) {
        count(shared, HttpRefusal::Host);
        let sentence = "the setting server.allowed_hosts does not name the host of this address";
        (StatusCode::MISDIRECTED_REQUEST, sentence)
    } else {
        return None;
    };
    let mut refusal = refusal(headers, status, sentence);
    // A body is left unread, so nothing can follow it.
    refusal
        .head_mut()
        .set_connection_type(ConnectionType::Close);
    Some(refusal)
}

/// What is refused to everybody but the users, where there are any. Probes cannot log in: whoever asks them
/// without a password learns the least. Webhooks have a secret of their own.
async fn turn_away(
    request: &ServiceRequest,
    shared: Option<&web::Data<HandlerContext>>,
) -> Option<HttpResponse> {
    let shared = shared?;
    let path = request.path();
    if path == webhook::PATH && shared.with_body.contains(&path) {
        return None;
    }
    let headers = request.headers();
    let login = shared.context.web.login(headers.get(header::AUTHORIZATION));
    let login = login.await;
    let (why, status, sentence) = match login {
        Login::Open | Login::Known => return None,
        _ if PROBES.contains(&path) => {
            request.extensions_mut().insert(Anonymous);
            return None;
        }
        Login::Missing | Login::Wrong => (
            HttpRefusal::Unauthorized,
            StatusCode::UNAUTHORIZED,
            "user and password are needed",
        ),
        Login::Busy => (
            HttpRefusal::TooManyLogins,
            StatusCode::SERVICE_UNAVAILABLE,
            "too many passwords are being verified; try again",
        ),
    };
    // Clients ask without a password first.
    if login != Login::Missing {
        shared.refusals.count(why, Instant::now());
    }
    let mut refusal = refusal(headers, status, sentence);
    let name = match status {
        StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Basic"),
        _ => (header::RETRY_AFTER, "1"),
    };
    let (name, value) = (name.0, HeaderValue::from_static(name.1));
    refusal.headers_mut().insert(name, value);
    Some(refusal)
}

/// In a request to a probe: the sender is no user, where there are some.
#[derive(Clone, Copy)]
pub(super) struct Anonymous;

fn count(shared: Option<&web::Data<HandlerContext>>, why: HttpRefusal) {
    if let Some(shared) = shared {
        shared.refusals.count(why, Instant::now());
    }
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    length.is_some_and(|length| length != "0") || headers.contains_key(header::TRANSFER_ENCODING)
}

/// The answer to addresses that lead nowhere.
pub(super) async fn not_found(request: HttpRequest) -> HttpResponse {
    let sentence = "there is no such page";
    refusal(request.headers(), StatusCode::NOT_FOUND, sentence)
}

/// The answer to methods other than GET and HEAD.
pub(super) async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    other_method(&request, "only GET and HEAD are allowed", "GET, HEAD")
}

/// The answer to methods other than POST.
pub(super) async fn post_alone(request: HttpRequest) -> HttpResponse {
    other_method(&request, "only POST is allowed", "POST")
}

fn other_method(request: &HttpRequest, sentence: &str, allowed: &'static str) -> HttpResponse {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut refusal = refusal(request.headers(), status, sentence);
    let allowed = HeaderValue::from_static(allowed);
    refusal.headers_mut().insert(header::ALLOW, allowed);
    refusal
}

#[derive(Serialize, Template)]
#[template(path = "refusal.html", config = "src/server/askama.toml")]
struct Refusal<'a> {
    status: u16,
    error: &'a str,
}

/// A short answer, as a page to browsers and as JSON to others.
pub(super) fn refusal(headers: &HeaderMap, status: StatusCode, error: &str) -> HttpResponse {
    let refusal = Refusal {
        status: status.as_u16(),
        error,
    };
    let mut answer = HttpResponse::build(status);
    let html = wants_html(headers);
    match refusal.render() {
        Ok(page) if html => answer.content_type("text/html; charset=utf-8").body(page),
        _ => answer.json(refusal),
    }
}

/// Whether a browser asks.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    all(headers, &header::ACCEPT).contains("text/html")
}

/// All values of a header that may be repeated, as one.
pub(super) fn all<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, str> {
    let mut values = headers
        .get_all(name)
        .filter_map(|value| value.to_str().ok());
    let first = values.next().unwrap_or_default();
    values.fold(Cow::Borrowed(first), |all, next| {
        Cow::Owned(format!("{all},{next}"))
    })
}

/// Whether only the head is asked for.
pub(super) fn is_head(request: &HttpRequest) -> bool {
    request.method() == Method::HEAD
}
