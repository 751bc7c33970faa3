//! What can go wrong between GitLab and a client, on demand.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::time::{self, Millis, SECOND};

/// One way to go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// 429 of Rack::Attack: `Retry later` as plain text, with `RateLimit-*` and `Retry-After`.
    RackAttack {
        /// Seconds.
        retry_after: u64,
    },
    /// 429 of an application limit: JSON, with `Retry-After` and no other header.
    ApplicationLimit {
        /// Seconds.
        retry_after: u64,
    },
    /// A status of 4xx or 5xx with the body that GitLab sends with it; 503 for GraphQL is its database
    /// time-out, 403 "API not accessible for user".
    Status {
        /// HTTP status.
        status: u16,
    },
    /// The true answer, late.
    Slow {
        /// How late.
        milliseconds: u64,
    },
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is cut in the middle of the true answer.
    Truncated,
    /// The true answer without its last character: no JSON any more, but complete as HTTP.
    InvalidJson,
    /// Status 200 and a proxy's login page.
    Html,
    /// Fields that ran out of time: null, with an error each, beside the rest of the true answer.
    FieldTimeout {
        /// Type of the parent, such as `Project`.
        parent: String,
        /// Name of the field as the answer shows it.
        field: String,
    },
    /// Queries may cost less than GitLab allows: what costs more is refused, 200 with an error and no
    /// data.
    MaxComplexity {
        /// What a query may cost.
        limit: i32,
    },
    /// No answer, ever.
    Hang,
    /// A body of so many bytes.
    HugeBody {
        /// Its size.
        bytes: u64,
    },
    /// 302 to another place.
    Redirect {
        /// An absolute URL.
        to: String,
    },
    /// The true answer with something replaced.
    Replace {
        /// JSON pointer; `*` stands for every element or key.
        pointer: String,
        /// What to put there.
        value: Value,
    },
    /// Any answer at all.
    Body {
        /// HTTP status.
        status: u16,
        /// `content-type`.
        content_type: String,
        /// The bytes, which need not be text.
        body: Vec<u8>,
    },
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of a GraphQL operation, or an endpoint template such as `/api/graphql` or
    /// `/api/v4/projects/:id/pipelines`. `None`: every request.
    #[serde(default)]
    pub on: Option<String>,
    /// Only requests that name this project by its id or path, alone or among others: with
    /// [`Fault::Status`] 500 every document that names it fails as a whole.
    #[serde(default)]
    pub project: Option<u64>,
    /// Only this page of a listing: REST by `page`, else everything after the first page is page 2.
    #[serde(default)]
    pub page: Option<usize>,
    /// Lets so many matching requests through first.
    #[serde(default)]
    pub skip: usize,
    /// Strikes so often, then no more. `None`: as long as it is there.
    #[serde(default)]
    pub times: Option<usize>,
    /// Strikes before this world time only.
    #[serde(default)]
    pub until: Option<Millis>,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// A fault that strikes every request.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            on: None,
            project: None,
            page: None,
            skip: 0,
            times: None,
            until: None,
            fault,
        }
    }

    /// Only a GraphQL operation or an endpoint template.
    #[must_use]
    pub fn on(mut self, subject: &str) -> Self {
        self.on = Some(subject.to_owned());
        self
    }

    /// Only requests that name a project by its id or path, alone or among others.
    #[must_use]
    pub fn about(mut self, project: u64) -> Self {
        self.project = Some(project);
        self
    }

    /// Only one page of a listing.
    #[must_use]
    pub fn page(mut self, page: usize) -> Self {
        self.page = Some(page);
        self
    }

    /// Lets some requests through first.
    #[must_use]
    pub fn skip(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Strikes so often.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes before a moment of world time.
    #[must_use]
    pub fn until(mut self, at: Millis) -> Self {
        self.until = Some(at);
        self
    }
}

/// What a rule is matched with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub endpoint: String,
    pub operations: Vec<String>,
    /// Ids of the projects that are named.
    pub projects: Vec<u64>,
    pub page: usize,
}

#[derive(Debug)]
struct Active {
    id: u64,
    rule: Rule,
    seen: usize,
    hits: usize,
}

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<(u64, Vec<Active>)>>);

impl Faults {
    fn inner(&self) -> MutexGuard<'_, (u64, Vec<Active>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule; the first that matches a request strikes. Gives its id.
    pub fn add(&self, rule: Rule) -> u64 {
        let mut inner = self.inner();
        inner.0 += 1;
        let id = inner.0;
        inner.1.push(Active {
            id,
            rule,
            seen: 0,
            hits: 0,
        });
        id
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner().1.is_empty()
    }

    /// Takes a rule away.
    pub fn remove(&self, id: u64) {
        self.inner().1.retain(|active| active.id != id);
    }

    /// Takes all rules away.
    pub fn clear(&self) {
        self.inner().1.clear();
    }

    /// How often a rule struck.
    #[must_use]
    pub fn hits(&self, id: u64) -> usize {
        self.inner()
            .1
            .iter()
            .find(|active| active.id == id)
            .map_or(0, |active| active.hits)
    }

    /// The rules with their ids and how often they struck.
    #[must_use]
    pub fn list(&self) -> Vec<(u64, Rule, usize)> {
        self.inner()
            .1
            .iter()
            .map(|active| (active.id, active.rule.clone(), active.hits))
            .collect()
    }

    pub(crate) fn strike(&self, subject: &Subject, now: Millis) -> Option<Fault> {
        for active in &mut self.inner().1 {
            let rule = &active.rule;
            let named = rule
                .on
                .as_ref()
                .is_none_or(|on| *on == subject.endpoint || subject.operations.contains(on));
            let about = rule
                .project
                .is_none_or(|project| subject.projects.contains(&project));
            let paged = rule.page.is_none_or(|page| page == subject.page);
            let open = rule.until.is_none_or(|until| now < until)
                && rule.times.is_none_or(|times| active.hits < times);
            if !(named && about && paged && open) {
                continue;
            }
            active.seen += 1;
            if active.seen > rule.skip {
                active.hits += 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }
}

impl Fault {
    /// A short name, as the record of requests shows it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RackAttack { .. } => "rack_attack",
            Self::ApplicationLimit { .. } => "application_limit",
            Self::Status { .. } => "status",
            Self::Slow { .. } => "slow",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::InvalidJson => "invalid_json",
            Self::Html => "html",
            Self::FieldTimeout { .. } => "field_timeout",
            Self::MaxComplexity { .. } => "max_complexity",
            Self::Hang => "hang",
            Self::HugeBody { .. } => "huge_body",
            Self::Redirect { .. } => "redirect",
            Self::Replace { .. } => "replace",
            Self::Body { .. } => "body",
        }
    }

    /// Whether the fault of a name answers instead of GitLab, which then has no work.
    pub(crate) fn stands_in(name: &str) -> bool {
        matches!(
            name,
            "rack_attack"
                | "application_limit"
                | "status"
                | "html"
                | "huge_body"
                | "redirect"
                | "body"
                | "reset"
        )
    }

    /// The answer that stands instead of GitLab's, for faults that have one.
    pub(crate) fn answer(&self, graphql: bool, now: Millis) -> Option<HttpResponse> {
        Some(match self {
            Self::RackAttack { retry_after } => rack_attack(*retry_after, now),
            Self::ApplicationLimit { retry_after } => application_limit(*retry_after),
            Self::Status { status } => with_status(*status, graphql),
            Self::Html => HttpResponse::Ok()
                .content_type("text/html; charset=utf-8")
                .body(LOGIN_PAGE),
            Self::HugeBody { bytes } => huge_body(*bytes),
            Self::Redirect { to } => HttpResponse::Found()
                .insert_header(("location", to.as_str()))
                .finish(),
            Self::Body {
                status,
                content_type,
                body,
            } => HttpResponse::build(code(*status))
                .content_type(content_type.as_str())
                .body(body.clone()),
            _ => return None,
        })
    }

    /// The true answer, changed; for faults that do that.
    pub(crate) fn change(&self, body: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::InvalidJson => Some(
                body.get(..body.len().saturating_sub(1))
                    .unwrap_or_default()
                    .to_vec(),
            ),
            Self::FieldTimeout { parent, field } => {
                let mut answer: Value = serde_json::from_slice(body).ok()?;
                let mut errors = Vec::new();
                if let Some(data) = answer.get_mut("data") {
                    time_out(data, parent, field, &mut Vec::new(), &mut errors);
                }
                match answer["errors"].as_array_mut() {
                    Some(known) => known.extend(errors),
                    None => answer["errors"] = errors.into(),
                }
                serde_json::to_vec(&answer).ok()
            }
            Self::Replace { pointer, value } => {
                let mut answer: Value = serde_json::from_slice(body).ok()?;
                let parts: Vec<&str> = pointer.split('/').skip(1).collect();
                replace(&mut answer, &parts, value);
                serde_json::to_vec(&answer).ok()
            }
            _ => None,
        }
    }
}

const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action=\"/login\" \
                          method=\"post\"><input name=\"user\"><input name=\"password\" type=\"password\"></form></body></html>\n";

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// 429 as Rack::Attack sends it.
pub(crate) fn rack_attack(retry_after: u64, now: Millis) -> HttpResponse {
    let reset = now + Millis::try_from(retry_after).unwrap_or_default() * SECOND;
    HttpResponse::TooManyRequests()
        .content_type("text/plain")
        .insert_header(("RateLimit-Limit", "60"))
        .insert_header(("RateLimit-Name", "throttle_authenticated_api"))
        .insert_header(("RateLimit-Observed", "61"))
        .insert_header(("RateLimit-Remaining", "0"))
        .insert_header(("RateLimit-Reset", (reset / SECOND).to_string()))
        .insert_header(("RateLimit-ResetTime", time::http_date(reset)))
        .insert_header(("Retry-After", retry_after.to_string()))
        .body("Retry later\n")
}

/// 429 as the application limiter sends it.
pub(crate) fn application_limit(retry_after: u64) -> HttpResponse {
    HttpResponse::TooManyRequests()
        .insert_header(("Retry-After", retry_after.to_string()))
        .json(json!({"message": {"error": "This endpoint has been requested too many times. Try again later."}}))
}

pub(crate) fn with_status(status: u16, graphql: bool) -> HttpResponse {
    let code = code(status);
    let reason = code.canonical_reason().unwrap_or("Error");
    let mut answer = HttpResponse::build(code);
    match (graphql, status) {
        (true, 403) => answer.json(json!({"errors": [{"message": "API not accessible for user"}]})),
        (true, 503) => answer.json(json!({"errors": [{
            "message": "Request timed out. Please try a less complex query or a smaller set of records."
        }]})),
        (true, 500) => answer.json(json!({"errors": [{"message": "Internal server error"}]})),
        (_, 404) => answer.json(json!({"error": "404 Not Found"})),
        (_, 502 | 504 | 520..=526) => answer.content_type("text/html").body(format!("<html><h1>{status} {reason}</h1></html>")),
        _ => answer.json(json!({"message": format!("{status} {reason}")})),
    }
}

fn huge_body(bytes: u64) -> HttpResponse {
    const CHUNK: u64 = 1 << 16;
    let filler = actix_web::web::Bytes::from(vec![b'a'; CHUNK as usize]);
    let start = futures::stream::iter([actix_web::web::Bytes::from_static(b"{\"data\":\"")]);
    let middle = futures::stream::iter((0..bytes.div_ceil(CHUNK)).map(move |_| filler.clone()));
    let end = futures::stream::iter([actix_web::web::Bytes::from_static(b"\"}")]);
    let body = futures::StreamExt::chain(futures::StreamExt::chain(start, middle), end);
    HttpResponse::Ok()
        .content_type("application/json")
        .streaming(futures::StreamExt::map(body, Ok::<_, std::io::Error>))
}

fn time_out(
    at: &mut Value,
    parent: &str,
    field: &str,
    path: &mut Vec<Value>,
    errors: &mut Vec<Value>,
) {
    match at {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                path.push(name.as_str().into());
                if name == field && !value.is_null() {
                    *value = Value::Null;
                    errors.push(json!({"message": format!("Timeout on {parent}.{field}"), "path": path.clone()}));
                } else {
                    time_out(value, parent, field, path, errors);
                }
                path.pop();
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter_mut().enumerate() {
                path.push(index.into());
                time_out(value, parent, field, path, errors);
                path.pop();
            }
        }
        _ => {}
    }
}

fn replace(at: &mut Value, parts: &[&str], with: &Value) {
    let Some((first, rest)) = parts.split_first() else {
        *at = with.clone();
        return;
    };
    match at {
        Value::Array(items) if *first == "*" => {
            items.iter_mut().for_each(|item| replace(item, rest, with))
        }
        Value::Object(fields) if *first == "*" => fields
            .values_mut()
            .for_each(|item| replace(item, rest, with)),
        Value::Array(items) => {
            if let Some(item) = first
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get_mut(index))
            {
                replace(item, rest, with);
            }
        }
        Value::Object(fields) => match fields.get_mut(*first) {
            Some(item) => replace(item, rest, with),
            None if rest.is_empty() => {
                fields.insert((*first).to_owned(), with.clone());
            }
            None => {}
        },
        _ => {}
    }
}
