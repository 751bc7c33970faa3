//! The opening of a WebSocket, by the same HTTP client as all else: its certificates and its proxy hold here,
//! too.

use std::time::Instant;

use reqwest::header::{
    AUTHORIZATION, CONNECTION, HeaderValue, LOCATION, ORIGIN, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Response, StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::{Instrument as _, Span, field};
use url::Url;

use super::{CableError, Cables, MAX_MESSAGE};
use crate::gitlab::accounting::Outcome;
use crate::gitlab::answer;
use crate::gitlab::client::{Client, record_failure};
use crate::gitlab::error::Cause;
use crate::gitlab::limiter::{Demand, Lane, Weight};

/// Where it is, as metrics and traces name it.
const ENDPOINT: &str = "/-/cable";
const PROTOCOL: &str = "actioncable-v1-json";

/// Opens a WebSocket; one span.
pub(super) async fn open(cables: &Cables) -> Result<WebSocketStream<Upgraded>, CableError> {
    let client = cables.gitlab.client();
    let span = span(client.root());
    let opened = upgraded(cables, client).instrument(span.clone()).await;
    match &opened {
        Ok(_) => {}
        Err(CableError::Failed(cause)) => record_failure(&span, cause),
        Err(CableError::Refused(_)) => {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", "refused");
        }
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    Ok(WebSocketStream::from_raw_socket(opened?, Role::Client, Some(config)).await)
}

fn span(root: &Url) -> Span {
    tracing::info_span!(
        "gitlab.call",
        otel.name = "GET /-/cable",
        otel.kind = "client",
        otel.status_code = field::Empty,
        http.request.method = "GET",
        http.response.status_code = field::Empty,
        url.template = ENDPOINT,
        server.address = root.host_str().unwrap_or_default(),
        server.port = root.port_or_known_default(),
        error.r#type = field::Empty,
    )
}

async fn upgraded(cables: &Cables, client: &Client) -> Result<Upgraded, CableError> {
    let key = generate_key();
    let response = exchange(cables, client, &key).await;
    let response = response.map_err(CableError::Failed)?;
    let status = response.status();
    Span::current().record("http.response.status_code", status.as_u16());
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(client, &response));
    }
    let header = |name| response.headers().get(name).map(HeaderValue::as_bytes);
    let accepted = header(SEC_WEBSOCKET_ACCEPT);
    if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(refused("the answer is no WebSocket's"));
    }
    let protocol = header(SEC_WEBSOCKET_PROTOCOL);
    if protocol.is_some_and(|protocol| protocol != PROTOCOL.as_bytes()) {
        return Err(refused("the server speaks another protocol"));
    }
    let upgraded = response.upgrade().await;
    upgraded.map_err(|error| CableError::Failed(answer::transport(error)))
}

/// One exchange, paced and counted as all others.
async fn exchange(cables: &Cables, client: &Client, key: &str) -> Result<Response, Cause> {
    let url = client.root().join("-/cable");
    let url = url.map_err(|error| Cause::Connect(error.to_string()))?;
    let turn = client.turn(Demand {
        lane: Lane::Normal,
        endpoint: ENDPOINT,
        operation: ENDPOINT,
        variant: 0,
        projects: 1,
        weight: Weight::Light,
        waits: true,
    });
    let turn = turn.await?;
    let request = cables
        .http
        .get(url)
        .header(AUTHORIZATION, client.authorization())
        // Exactly GitLab's own address, without a slash: it takes no other.
        .header(ORIGIN, client.root().origin().ascii_serialization())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key)
        .header(SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
    let begun = Instant::now();
    let response = tokio::time::timeout(cables.patience.welcome, request.send()).await;
    let response = match response {
        Ok(response) => response.map_err(answer::transport),
        Err(_) => Err(Cause::Timeout),
    };
    let outcome = match &response {
        Ok(response) => Outcome::Status(response.status().as_u16()),
        Err(cause) => Outcome::Failed(cause.kind()),
    };
    let took = begun.elapsed().as_secs_f64();
    client.accounting().request("GET", ENDPOINT, outcome, took);
    drop(turn);
    response
}

fn refused(why: &str) -> CableError {
    CableError::Refused(format!("GET /-/cable: {why}"))
}

/// What an answer means that is no WebSocket.
fn refusal(client: &Client, response: &Response) -> CableError {
    let status = response.status().as_u16();
    match status {
        404 => refused(
            "not found (404): either gitlab.url is not the address that GitLab knows itself by (its \
             external_url; the header Origin must be the same), or a proxy on the way drops the header \
             Upgrade; allow WebSocket connections to it",
        ),
        300..=399 => {
            let location = response.headers().get(LOCATION);
            let location = location.and_then(|to| to.to_str().ok());
            let to = location.and_then(|to| client.root().join(to).ok());
            let to = to.map_or("nowhere".to_owned(), |to| to.origin().ascii_serialization());
            refused(&client.tidy(&Cause::Redirected { to }.to_string()))
        }
        401 | 403 => refused(&format!("GitLab refuses the token ({status})")),
        407 => refused(
            "the proxy on the way wants other credentials (407); see HTTP_PROXY and HTTPS_PROXY",
        ),
        429 => CableError::Failed(Cause::RateLimited { wait: None }),
        500.. => CableError::Failed(Cause::Server(status, String::new())),
        _ => refused(&format!(
            "no WebSocket is opened (status {status}): a proxy on the way does not pass it on"
        )),
    }
}
