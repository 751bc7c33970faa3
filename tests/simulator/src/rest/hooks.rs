//! Webhooks of projects: created, changed, removed, tested and their deliveries remembered. Reading needs the
//! role Maintainer, changing the scope `api`, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, ApiError, Call};
use crate::auth::AccessLevel;
use crate::world::ProjectId;

/// Tests of webhooks in a minute, for each project.
const TESTS: usize = 5;
/// How long GitLab waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The webhooks of all projects.
#[derive(Clone, Default)]
pub struct Hooks(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    next: u64,
    hooks: BTreeMap<(ProjectId, u64), Hook>,
    tests: BTreeMap<ProjectId, usize>,
}

/// A webhook.
#[derive(Clone, Default)]
struct Hook {
    settings: Map<String, Value>,
    deliveries: Vec<Value>,
}

impl Hooks {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings of a project's webhooks, secrets among them.
    #[must_use]
    pub fn of(&self, project: ProjectId) -> Vec<Value> {
        let inner = self.lock();
        let hooks = inner.hooks.iter();
        hooks
            .filter(|((of, _), _)| *of == project)
            .map(|(_, hook)| Value::Object(hook.settings.clone()))
            .collect()
    }

    /// Adds a webhook with these settings.
    pub fn add(&self, project: ProjectId, settings: Value) {
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        let mut hook = Hook::default();
        if let Value::Object(settings) = settings {
            hook.settings = settings;
        }
        inner.hooks.insert((project, id), hook);
    }
}

/// The routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/projects/{id}/hooks")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(
            web::resource("/projects/{id}/hooks/{hook_id}")
                .route(web::put().to(change))
                .route(web::delete().to(remove)),
        )
        .route(
            "/projects/{id}/hooks/{hook_id}/test/{trigger}",
            web::post().to(test),
        )
        .route(
            "/projects/{id}/hooks/{hook_id}/events",
            web::get().to(deliveries),
        );
}

/// The project, for a Maintainer; with the scope `api` where something is changed.
fn project(call: &Call, writes: bool) -> Result<ProjectId, ApiError> {
    let token = call.signed_in()?;
    if writes && !token.has_scope(&["api"]) {
        return Err(ApiError::InsufficientScope("api"));
    }
    let world = call.state.world.read();
    let project = call.project(&world)?;
    if call.viewer.role(project.id) < AccessLevel::Maintainer {
        return Err(ApiError::Forbidden);
    }
    Ok(project.id)
}

const MISSING: ApiError = ApiError::NotFound("404 Not found");

/// A webhook as GitLab shows it: without its secret token.
fn shown(project: ProjectId, id: u64, hook: &Hook) -> Value {
    let mut shown = hook.settings.clone();
    let has_token = shown.remove("token").is_some();
    shown.insert("id".into(), json!(id));
    shown.insert("project_id".into(), json!(project));
    shown.insert("token_present".into(), json!(has_token));
    shown
        .entry("enable_ssl_verification")
        .or_insert(json!(true));
    shown.entry("alert_status").or_insert(json!("executable"));
    Value::Object(shown)
}

async fn list(call: Call) -> Answer {
    let project = project(&call, false)?;
    let inner = call.state.hooks.lock();
    let hooks = inner.hooks.iter().filter(|((of, _), _)| *of == project);
    let hooks: Vec<Value> = hooks
        .map(|((_, id), hook)| shown(project, *id, hook))
        .collect();
    call.offset_page(&hooks, true, Value::clone)
}

async fn create(call: Call, body: web::Json<Map<String, Value>>) -> Answer {
    let project = project(&call, true)?;
    if !body.get("url").is_some_and(Value::is_string) {
        return Err(ApiError::Missing("url"));
    }
    // GitLab takes the same address twice.
    call.state
        .hooks
        .add(project, Value::Object(body.into_inner()));
    let inner = call.state.hooks.lock();
    let id = inner.next;
    let hook = inner.hooks.get(&(project, id)).ok_or(MISSING)?;
    Ok(HttpResponse::Created().json(shown(project, id, hook)))
}

async fn change(call: Call, body: web::Json<Map<String, Value>>) -> Answer {
    let key = (project(&call, true)?, call.number("hook_id")?);
    let mut inner = call.state.hooks.lock();
    let hook = inner.hooks.get_mut(&key).ok_or(MISSING)?;
    hook.settings.extend(body.into_inner());
    Ok(HttpResponse::Ok().json(shown(key.0, key.1, hook)))
}

async fn remove(call: Call) -> Answer {
    let key = (project(&call, true)?, call.number("hook_id")?);
    let removed = call.state.hooks.lock().hooks.remove(&key);
    removed.ok_or(MISSING)?;
    Ok(HttpResponse::NoContent().finish())
}

async fn deliveries(call: Call) -> Answer {
    let key = (project(&call, false)?, call.number("hook_id")?);
    let inner = call.state.hooks.lock();
    let hook = inner.hooks.get(&key).ok_or(MISSING)?;
    let newest: Vec<Value> = hook.deliveries.iter().rev().cloned().collect();
    call.offset_page(&newest, true, Value::clone)
}

async fn test(call: Call) -> Answer {
    let key = (project(&call, true)?, call.number("hook_id")?);
    let trigger = call.segment("trigger");
    let hook = {
        let mut inner = call.state.hooks.lock();
        let tests = inner.tests.entry(key.0).or_default();
        *tests += 1;
        if *tests > TESTS {
            return Ok(HttpResponse::TooManyRequests().json(json!({
                "message": {"error": "This endpoint has been requested too many times. Try again later."}
            })));
        }
        inner.hooks.get(&key).ok_or(MISSING)?.clone()
    };
    let object = {
        let world = call.state.world.read();
        match trigger.as_str() {
            "pipeline_events" => world.pipelines_of(key.0).next().map(|pipeline| {
                json!({
                    "object_kind": "pipeline", "project": {"id": key.0},
                    "object_attributes": {"id": pipeline.id, "status": pipeline.status.as_str()},
                })
            }),
            "push_events" => Some(json!({"object_kind": "push", "project_id": key.0})),
            _ => None,
        }
    };
    let Some(object) = object else {
        let message = "Ensure the project has such an object";
        return Ok(HttpResponse::UnprocessableEntity().json(json!({"message": message})));
    };
    let text = |name: &str| {
        hook.settings
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let status = match timeout(
        PATIENCE,
        send(text("url"), text("token"), &object.to_string()),
    )
    .await
    {
        Ok(Ok(status)) => json!(status.to_string()),
        _ => json!("internal error"),
    };
    let mut inner = call.state.hooks.lock();
    let hook = inner.hooks.get_mut(&key).ok_or(MISSING)?;
    hook.deliveries
        .push(json!({"trigger": trigger.replace("events", "hooks"), "response_status": status}));
    Ok(HttpResponse::Created().json(json!({"message": "201 Created"})))
}

/// Sends an event as GitLab does, on a connection of its own; gives the answer's status.
async fn send(url: &str, token: &str, body: &str) -> std::io::Result<u16> {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut connection = TcpStream::connect(host).await?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-Gitlab-Token: {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection
        .write_all(format!("{head}{body}").as_bytes())
        .await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other("no status"))
}
