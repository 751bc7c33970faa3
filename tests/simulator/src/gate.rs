//! What every request to the API passes: the record, the limiters, the faults.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, SizedStream, to_bytes};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, web};

use crate::cost::rest::{self, Rows};
use crate::cost::{Charge, Cost};
use crate::faults::{self, Fault, Subject};
use crate::graphql::endpoint::{self, Charged};
use crate::limits::{Standing, Verdict};
use crate::requests::{Recorded, Requests};
use crate::server::{State, token_value};
use crate::time::{Millis, http_date};
use crate::workers::{Ended, REST_LIMIT};
use crate::world::{ProjectId, World};

/// A second handle on a connection's socket, to reset it.
#[derive(Clone)]
pub(crate) struct Socket(pub Arc<socket2::Socket>);

type Served = Result<ServiceResponse<BoxBody>, actix_web::Error>;

pub(crate) async fn pass(mut request: ServiceRequest, next: Next<BoxBody>) -> Served {
    let state = request.app_data::<web::Data<State>>().cloned();
    let Some(state) = state.filter(|_| !request.path().starts_with("/_control")) else {
        return next.call(request).await;
    };
    let (mut recorded, subject) = describe(&mut request, &state).await?;
    let now = recorded.at;
    let standing = match state
        .limits
        .count(&subject.endpoint, recorded.token.as_deref(), now)
    {
        Verdict::Pass(standing) => standing,
        Verdict::Throttled(standing, retry_after) => {
            recorded.fault = Some("throttled".to_owned());
            let mut answer = faults::rack_attack(retry_after, now);
            write_standing(answer.headers_mut(), standing);
            return Ok(refuse(&state, recorded, request.into_response(answer)));
        }
        Verdict::TooMany(retry_after) => {
            recorded.fault = Some("application_limit".to_owned());
            let answer = faults::application_limit(retry_after);
            return Ok(refuse(&state, recorded, request.into_response(answer)));
        }
    };
    let fault = state.faults.strike(&subject, now);
    recorded.fault = fault.as_ref().map(|fault| fault.name().to_owned());
    let given_up = GivenUp::watch(&state, &recorded);
    let mut response = match fault {
        None => tag(next.call(request).await?).await,
        Some(fault) => break_answer(&state, &mut recorded, request, next, fault, now).await?,
    };
    if let Some(standing) = standing {
        write_standing(response.headers_mut(), standing);
    }
    let charged = response.response().extensions().get().copied();
    let Charged { cost, seconds } = match charged {
        Some(charged) => charged,
        None => {
            let cost = charge(&state, &recorded, &response);
            let ended = wait(&state, &recorded, &cost).await;
            if ended.is_some_and(|ended| ended.done < 1.0) {
                let (request, _) = response.into_parts();
                response = ServiceResponse::new(request, faults::with_status(500, false));
            }
            let seconds = ended.map(|ended| ended.seconds);
            Charged { cost, seconds }
        }
    };
    given_up.answered();
    recorded.cost = cost;
    let runtime = seconds.unwrap_or_else(|| cost.runtime());
    show_runtime(&state, &recorded, runtime, response.headers_mut());
    Ok(finish(&state, recorded, response))
}

/// Ends a request that a limiter refused: it costs next to nothing.
fn refuse(
    state: &State,
    mut recorded: Recorded,
    mut response: ServiceResponse<BoxBody>,
) -> ServiceResponse<BoxBody> {
    let charge = rest::charge(&rest::Call {
        endpoint: &recorded.endpoint,
        query: "",
        status: response.status().as_u16(),
        project: None,
        rows: None,
    });
    state.costs.add(recorded.subject(), recorded.at, &charge);
    recorded.cost = charge.total;
    let seconds = charge.total.runtime();
    show_runtime(state, &recorded, seconds, response.headers_mut());
    finish(state, recorded, response)
}

/// Charges what an answer costs, where that was not done where it was made.
fn charge(state: &State, recorded: &Recorded, response: &ServiceResponse<BoxBody>) -> Cost {
    let stands_in = recorded.fault.as_deref().is_some_and(Fault::stands_in);
    let charge = if stands_in {
        Charge::request()
    } else {
        let rows = response.response().extensions().get::<Rows>().copied();
        rest::charge(&rest::Call {
            endpoint: &recorded.endpoint,
            query: &recorded.query,
            status: response.status().as_u16(),
            project: project_in(&state.world.read(), &recorded.path),
            rows,
        })
    };
    state.costs.add(recorded.subject(), recorded.at, &charge);
    charge.total
}

/// Waits as long as GitLab's workers need for an answer, where they behave and GitLab gives it.
async fn wait(state: &State, recorded: &Recorded, cost: &Cost) -> Option<Ended> {
    if recorded.fault.as_deref().is_some_and(Fault::stands_in) {
        return None;
    }
    state.workers.work(cost, REST_LIMIT).await
}

/// Records a request whose client does not wait until the workers are done.
struct GivenUp(Option<(Requests, Recorded)>);

impl GivenUp {
    fn watch(state: &State, recorded: &Recorded) -> Self {
        let watched = || (state.requests.clone(), recorded.clone());
        Self(state.workers.is_on().then(watched))
    }

    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Some((requests, recorded)) = self.0.take() {
            requests.push(recorded);
        }
    }
}

/// `x-runtime`: seconds that the answer took inside GitLab.
fn show_runtime(state: &State, recorded: &Recorded, seconds: f64, headers: &mut HeaderMap) {
    let in_front = matches!(recorded.fault.as_deref(), Some("body" | "html"));
    if in_front || !state.world.read().quirks.x_runtime {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.6}")) {
        headers.insert(HeaderName::from_static("x-runtime"), value);
    }
}

/// Gives a good answer of REST its `ETag`, and answers 304 to who has it already.
async fn tag(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let rest = response.request().path().starts_with("/api/v4/");
    if !rest || response.status() != StatusCode::OK {
        return response;
    }
    let (request, body, mut response) = split(response).await;
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &body).hash(&mut hasher);
        hasher.finish()
    };
    let etag = format!("W/\"{:016x}{:016x}\"", hash(0), hash(1));
    let known = request.headers().get(IF_NONE_MATCH);
    let known = known.is_some_and(|known| known.as_bytes() == etag.as_bytes());
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, value);
    }
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
        let response = response.set_body(BoxBody::new(()));
        return ServiceResponse::new(request, response);
    }
    ServiceResponse::new(request, response.set_body(BoxBody::new(body)))
}

/// `x-request-id` and `x-gitlab-meta`: what GitLab names a request in its own logs.
fn name_request(id: &str, headers: &mut HeaderMap) {
    let meta = format!("{{\"correlation_id\":\"{id}\",\"version\":\"1\"}}");
    for (name, value) in [("x-request-id", id), ("x-gitlab-meta", &meta)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn finish(
    state: &State,
    mut recorded: Recorded,
    mut response: ServiceResponse<BoxBody>,
) -> ServiceResponse<BoxBody> {
    // What a proxy says does not carry GitLab's headers.
    if !matches!(recorded.fault.as_deref(), Some("body" | "html")) {
        name_request(&recorded.correlation_id, response.headers_mut());
    }
    // A client tells history from news by this clock, so it must be the world's.
    let date = recorded.at + state.date_error.load(Ordering::SeqCst);
    if let Ok(date) = HeaderValue::from_str(&http_date(date)) {
        response.headers_mut().insert(DATE, date);
    }
    let score = response.response().extensions().get().copied();
    recorded.complexity = score.map(|endpoint::Score(score)| score);
    if !matches!(recorded.fault.as_deref(), Some("reset")) {
        recorded.status = response.status().as_u16();
    }
    state.requests.push(recorded);
    response
}

/// Reads what the record and the rules need; the body of a GraphQL request is put back.
async fn describe(
    request: &mut ServiceRequest,
    state: &State,
) -> Result<(Recorded, Subject), actix_web::Error> {
    // Before the world is waited for, which may be on its way to a later time.
    let arrived = Instant::now();
    let endpoint = request
        .match_pattern()
        .unwrap_or_else(|| "unknown".to_owned());
    let endpoint = endpoint.replace('{', ":").replace('}', "");
    let token = token_value(request.request());
    let agent = request
        .headers()
        .get("user-agent")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut posted = Vec::new();
    if endpoint == "/api/graphql" {
        let body = request.extract::<web::Bytes>().await?;
        posted = endpoint::read(&body)
            .map(|(posted, _)| posted)
            .unwrap_or_default();
        request.set_payload(Payload::from(body));
    }
    let operations: Vec<String> = posted.iter().map(endpoint::Posted::name).collect();
    let (at, token) = {
        let world = state.world.read();
        (
            world.now(),
            token.and_then(|value| world.token(&value).map(|token| token.name.clone())),
        )
    };
    let recorded = Recorded {
        correlation_id: state.requests.next_id(),
        at,
        arrived,
        method: request.method().to_string(),
        endpoint: endpoint.clone(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        operation: operations.first().cloned(),
        variables: posted.first().map(|posted| posted.variables.clone()),
        complexity: None,
        cost: Cost::default(),
        token,
        user_agent: agent,
        status: 0,
        fault: None,
    };
    let page = if posted.is_empty() {
        rest_page(request.query_string())
    } else {
        graphql_page(&posted)
    };
    // Only faults ask for them.
    let projects = if state.faults.is_empty() {
        Vec::new()
    } else {
        named_projects(&state.world.read(), request.path(), &posted)
    };
    Ok((
        recorded,
        Subject {
            endpoint,
            operations,
            projects,
            page,
        },
    ))
}

/// The project that a path names.
fn project_in(world: &World, path: &str) -> Option<ProjectId> {
    let rest = path.strip_prefix("/api/v4/projects/")?;
    let name = crate::rest::percent_decode(rest.split('/').next()?);
    let by_path = || world.project_by_path(&name).map(|project| project.id);
    name.parse().ok().or_else(by_path)
}

/// The projects that a path, or the text or variables of queries, name by their ids or paths.
fn named_projects(world: &World, path: &str, posted: &[endpoint::Posted]) -> Vec<u64> {
    let mut named: Vec<u64> = project_in(world, path).into_iter().collect();
    for one in posted {
        let variables = one.variables.to_string();
        let texts = [variables.as_str(), one.query.as_deref().unwrap_or_default()];
        for word in texts.iter().flat_map(|text| text.split('"')) {
            let word = word.trim_end_matches('\\');
            let by_id = word.strip_prefix("gid://gitlab/Project/");
            named.extend(match by_id {
                Some(id) => id.parse().ok(),
                None if word.contains('/') => world.project_by_path(word).map(|found| found.id),
                None => None,
            });
        }
    }
    named
}

fn rest_page(query: &str) -> usize {
    let parameters = web::Query::<Vec<(String, String)>>::from_query(query)
        .map(web::Query::into_inner)
        .unwrap_or_default();
    let value = |name: &str| {
        parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    match (
        value("page").and_then(|page| page.parse().ok()),
        value("id_after").or(value("id_before")),
    ) {
        (Some(page), _) => page,
        (None, Some(_)) => 2,
        (None, None) => 1,
    }
}

/// A query that carries a cursor, in its variables or its text, asks for page 2 or later.
fn graphql_page(posted: &[endpoint::Posted]) -> usize {
    let is_cursor =
        |value: &serde_json::Value| value.as_str().is_some_and(crate::graphql::page::is_cursor);
    let in_variables = |posted: &endpoint::Posted| {
        posted
            .variables
            .as_object()
            .is_some_and(|variables| variables.values().any(is_cursor))
    };
    let in_text = |posted: &endpoint::Posted| {
        posted
            .query
            .as_deref()
            .is_some_and(|query| query.split('"').any(crate::graphql::page::is_cursor))
    };
    if posted
        .iter()
        .any(|posted| in_variables(posted) || in_text(posted))
    {
        2
    } else {
        1
    }
}

async fn break_answer(
    state: &State,
    recorded: &mut Recorded,
    request: ServiceRequest,
    next: Next<BoxBody>,
    fault: Fault,
    now: Millis,
) -> Served {
    let graphql = recorded.operation.is_some();
    if let Some(answer) = fault.answer(graphql, now) {
        return Ok(request.into_response(answer));
    }
    match fault {
        Fault::Slow { milliseconds } => {
            actix_web::rt::time::sleep(Duration::from_millis(milliseconds)).await;
            next.call(request).await
        }
        Fault::MaxComplexity { limit } => {
            let allowed = endpoint::MaxComplexity(limit);
            request.request().extensions_mut().insert(allowed);
            next.call(request).await
        }
        Fault::Hang => {
            // There will be no other moment to record it.
            state.requests.push(recorded.clone());
            std::future::pending().await
        }
        Fault::Reset => {
            if let Some(socket) = request.conn_data::<Socket>() {
                // Closing then sends RST instead of FIN.
                socket.0.set_linger(Some(Duration::ZERO)).ok();
            }
            let broken = futures::stream::once(async {
                Err::<web::Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            Ok(request.into_response(HttpResponse::Ok().streaming(broken)))
        }
        Fault::Truncated => {
            let (request, body, response) = split(next.call(request).await?).await;
            let half = body.slice(..body.len() / 2);
            let begin = futures::stream::once(async move { Ok(half) });
            let end = futures::stream::once(async {
                // What waits in buffers is sent before the connection breaks.
                actix_web::rt::time::sleep(Duration::from_millis(20)).await;
                Err(io::Error::from(io::ErrorKind::ConnectionReset))
            });
            let stream = futures::StreamExt::chain(begin, end);
            let response = response.set_body(BoxBody::new(SizedStream::new(
                body.len() as u64,
                Box::pin(stream),
            )));
            Ok(ServiceResponse::new(request, response))
        }
        fault => {
            let (request, body, response) = split(next.call(request).await?).await;
            let body = fault.change(&body).map_or(body, web::Bytes::from);
            Ok(ServiceResponse::new(
                request,
                response.set_body(BoxBody::new(body)),
            ))
        }
    }
}

async fn split(
    response: ServiceResponse<BoxBody>,
) -> (actix_web::HttpRequest, web::Bytes, HttpResponse<()>) {
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    (request, to_bytes(body).await.unwrap_or_default(), response)
}

fn write_standing(headers: &mut HeaderMap, standing: Standing) {
    let values = [
        ("ratelimit-limit", standing.per_minute),
        ("ratelimit-observed", standing.observed),
        ("ratelimit-remaining", standing.remaining),
        ("ratelimit-reset", standing.reset),
    ];
    for (name, value) in values {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    headers.insert(
        HeaderName::from_static("ratelimit-name"),
        HeaderValue::from_static("throttle_authenticated_api"),
    );
}
