//! `/health` and `/ready`: what orchestrators ask.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::HandlerContext;
use super::answer;
use super::status::{Reachability, Readiness, ReplicasStatus};

/// This process works, whatever GitLab does.
pub(super) async fn health() -> HttpResponse {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        version: &'static str,
    }
    HttpResponse::Ok().json(Health {
        status: "alive",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether there is something to scrape: 503 until the first round was attempted, 200 ever after.
pub(super) async fn ready(request: HttpRequest, shared: web::Data<HandlerContext>) -> HttpResponse {
    let source = shared.context.status.clone();
    let readiness = match answer::run_blocking(move || source.readiness()).await {
        Ok(readiness) => readiness,
        Err(failure) => return failure.answer(&request),
    };
    let status = if readiness.first_round {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let answer = Answer::from(&readiness);
    let json = match request.extensions().contains::<answer::Anonymous>() {
        true => serde_json::json!({ "status": answer.status }),
        false => serde_json::json!(answer),
    };
    let json = json.to_string();
    let json = shared.context.secrets.redact(&json).into_owned();
    HttpResponse::build(status)
        .content_type("application/json")
        .body(json)
}

/// The body of `/ready`.
#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    gitlab: GitLab<'a>,
    load: Load,
    store: Store,
    /// Left out for a single instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<Replicas<'a>>,
    lag_seconds: Option<f64>,
    projects: Projects,
    /// As sentences.
    unavailable: Vec<String>,
}

#[derive(Serialize)]
struct GitLab<'a> {
    /// Null before it was asked.
    reachable: Option<bool>,
    error: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct Load {
    /// GitLab workers that the exporter kept busy in the last minutes; null right after the start.
    gitlab_workers: Option<f64>,
    /// The same as a sentence.
    summary: Option<String>,
    /// Requests that may be under way at once now, and at most.
    concurrency: u32,
    max_concurrency: u32,
    /// Whether GitLab slowed down a moment ago, so that backfill yields.
    slowed_down: bool,
    /// How long backfill waits for its share of GitLab's time.
    backfill_waits_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Store {
    kind: &'static str,
    up: bool,
}

#[derive(Serialize)]
struct Replicas<'a> {
    members: usize,
    /// Shards of projects that this replica holds.
    owned_shards: usize,
    /// Whether it looks for projects.
    discovers: bool,
    /// Why Redis cannot be used now.
    error: Option<&'a str>,
}

impl<'a> From<&'a ReplicasStatus> for Replicas<'a> {
    fn from(status: &'a ReplicasStatus) -> Self {
        let mut replicas = status.replicas.iter();
        let own = replicas.find(|replica| replica.is_this);
        Self {
            members: status.replicas.len(),
            owned_shards: own.map_or(0, |own| own.shards),
            discovers: own.is_some_and(|own| own.leads),
            error: status.trouble.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Projects {
    tracked: usize,
    polled: usize,
    failing: usize,
    /// Of which no collector reads anything.
    unreadable: usize,
}

impl<'a> From<&'a Readiness> for Answer<'a> {
    fn from(readiness: &'a Readiness) -> Self {
        let (reachable, error) = match &readiness.gitlab {
            Reachability::Unknown => (None, None),
            Reachability::Up => (Some(true), None),
            Reachability::Refused { why } => {
                let error = format!("GitLab refused the token: {why}");
                (Some(true), Some(error.into()))
            }
            Reachability::Down { error } => (Some(false), Some(error.as_str().into())),
        };
        let pace = &readiness.load.pace;
        Self {
            status: if readiness.first_round {
                "ready"
            } else {
                "starting"
            },
            gitlab: GitLab { reachable, error },
            load: Load {
                gitlab_workers: readiness.load.workers,
                summary: readiness.load.in_words().map(|much| format!("uses {much}")),
                concurrency: pace.concurrency,
                max_concurrency: pace.ceiling,
                slowed_down: pace.slowed.is_some(),
                backfill_waits_seconds: pace.backfill_waits.map(|wait| wait.as_secs_f64()),
            },
            store: Store {
                kind: readiness.store.kind,
                up: readiness.store.up,
            },
            replicas: readiness.replicas.as_ref().map(Replicas::from),
            lag_seconds: readiness.lag.map(|lag| lag.as_secs_f64()),
            projects: Projects {
                tracked: readiness.projects.tracked,
                polled: readiness.projects.polled,
                failing: readiness.projects.failing,
                unreadable: readiness.projects.unreadable,
            },
            unavailable: readiness.unavailable.iter().map(sentence).collect(),
        }
    }
}

/// Of how many projects a collector has nothing, and why.
fn sentence((collector, reason, projects): &(&'static str, &'static str, usize)) -> String {
    let why = match *reason {
        "permission" => "the token may not read it",
        "tier" => "the tier does not have it",
        "switched_off" => "it is switched off in GitLab",
        "release" => "GitLab is too old",
        _ => "other settings stand against it",
    };
    let noun = if *projects == 1 {
        "project"
    } else {
        "projects"
    };
    format!("{collector}: nothing of {projects} {noun}, {why}")
}
