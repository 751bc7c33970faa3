//! Webhooks of projects, of groups and of the instance: created, changed, removed, tested, and deliveries
//! remembered. A project's need the role Maintainer, a group's Premium and its Owner, the instance's an
//! administrator; changing them needs the scope `api`, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, ApiError, Call, projects};
use crate::auth::AccessLevel;
use crate::world::{GroupId, ProjectId, Tier, World};

/// Tests of webhooks in a minute, for each holder.
const TESTS: usize = 5;
/// How long GitLab waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a webhook belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A project.
    Project(ProjectId),
    /// A group.
    Group(GroupId),
    /// The instance: a system hook.
    Instance,
}

/// All webhooks.
#[derive(Clone, Default)]
pub struct Hooks(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    next: u64,
    hooks: BTreeMap<(Holder, u64), Hook>,
    tests: BTreeMap<Holder, usize>,
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
        self.held_by(Holder::Project(project))
    }

    /// The same of anything that has webhooks.
    #[must_use]
    pub fn held_by(&self, holder: Holder) -> Vec<Value> {
        let inner = self.lock();
        let hooks = inner.hooks.iter();
        hooks
            .filter(|((of, _), _)| *of == holder)
            .map(|(_, hook)| Value::Object(hook.settings.clone()))
            .collect()
    }

    /// Adds a webhook with these settings to a project.
    pub fn add(&self, project: ProjectId, settings: Value) {
        self.add_to(Holder::Project(project), settings);
    }

    /// The same to anything that has webhooks; gives its id.
    pub fn add_to(&self, holder: Holder, settings: Value) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        let id = inner.next;
        let mut hook = Hook::default();
        if let Value::Object(settings) = settings {
            hook.settings = settings;
        }
        inner.hooks.insert((holder, id), hook);
        id
    }
}

/// The routes.
pub fn routes(config: &mut web::ServiceConfig) {
    for hooks in ["/projects/{id}/hooks", "/groups/{id}/hooks"] {
        config
            .service(
                web::resource(hooks)
                    .route(web::get().to(list))
                    .route(web::post().to(create)),
            )
            .service(
                web::resource(format!("{hooks}/{{hook_id}}"))
                    .route(web::put().to(change))
                    .route(web::delete().to(remove)),
            )
            .route(
                &format!("{hooks}/{{hook_id}}/test/{{trigger}}"),
                web::post().to(test),
            )
            .route(
                &format!("{hooks}/{{hook_id}}/events"),
                web::get().to(deliveries),
            );
    }
    config
        .service(
            web::resource("/hooks")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(
            web::resource("/hooks/{hook_id}")
                .route(web::put().to(change))
                .route(web::delete().to(remove))
                .route(web::post().to(test_of_instance)),
        );
}

/// Whose webhooks the path names, for somebody who may; with the scope `api` where something is changed.
fn holder(call: &Call, writes: bool) -> Result<Holder, ApiError> {
    let token = call.signed_in()?;
    if writes && !token.has_scope(&["api"]) {
        return Err(ApiError::InsufficientScope("api"));
    }
    let world = call.state.world.read();
    let of = |part: &str| call.request.path().contains(part);
    let (holder, may) = if of("/projects/") {
        let project = call.project(&world)?;
        let role = call.viewer.role(project.id);
        (Holder::Project(project.id), role >= AccessLevel::Maintainer)
    } else if of("/groups/") {
        let group = projects::find_group(call, &world)?;
        if !world.enterprise || group.tier < Tier::Premium {
            return Err(ApiError::NotFound("404 Not Found"));
        }
        let role = token.group_roles.get(&group.id);
        let may = role.is_some_and(|role| *role >= AccessLevel::Owner);
        (Holder::Group(group.id), may)
    } else {
        (Holder::Instance, false)
    };
    match may || call.viewer.is_admin() {
        true => Ok(holder),
        false => Err(ApiError::Forbidden),
    }
}

const MISSING: ApiError = ApiError::NotFound("404 Not found");

/// A webhook as GitLab shows it: without its secret token.
fn shown(holder: Holder, id: u64, hook: &Hook) -> Value {
    let mut shown = hook.settings.clone();
    let has_token = shown.remove("token").is_some();
    shown.insert("id".into(), json!(id));
    match holder {
        Holder::Project(id) => drop(shown.insert("project_id".into(), json!(id))),
        Holder::Group(id) => drop(shown.insert("group_id".into(), json!(id))),
        Holder::Instance => {}
    }
    shown.insert("token_present".into(), json!(has_token));
    shown
        .entry("enable_ssl_verification")
        .or_insert(json!(true));
    if holder != Holder::Instance {
        shown.entry("alert_status").or_insert(json!("executable"));
    }
    Value::Object(shown)
}

async fn list(call: Call) -> Answer {
    let holder = holder(&call, false)?;
    let inner = call.state.hooks.lock();
    let hooks = inner.hooks.iter().filter(|((of, _), _)| *of == holder);
    let hooks: Vec<Value> = hooks
        .map(|((_, id), hook)| shown(holder, *id, hook))
        .collect();
    call.offset_page(&hooks, true, Value::clone)
}

async fn create(call: Call, body: web::Json<Map<String, Value>>) -> Answer {
    let holder = holder(&call, true)?;
    if !body.get("url").is_some_and(Value::is_string) {
        return Err(ApiError::Missing("url"));
    }
    // GitLab takes the same address twice.
    let settings = Value::Object(body.into_inner());
    let id = call.state.hooks.add_to(holder, settings);
    let inner = call.state.hooks.lock();
    let hook = inner.hooks.get(&(holder, id)).ok_or(MISSING)?;
    Ok(HttpResponse::Created().json(shown(holder, id, hook)))
}

async fn change(call: Call, body: web::Json<Map<String, Value>>) -> Answer {
    let key = (holder(&call, true)?, call.number("hook_id")?);
    let mut inner = call.state.hooks.lock();
    let hook = inner.hooks.get_mut(&key).ok_or(MISSING)?;
    hook.settings.extend(body.into_inner());
    Ok(HttpResponse::Ok().json(shown(key.0, key.1, hook)))
}

async fn remove(call: Call) -> Answer {
    let key = (holder(&call, true)?, call.number("hook_id")?);
    let removed = call.state.hooks.lock().hooks.remove(&key);
    removed.ok_or(MISSING)?;
    Ok(HttpResponse::NoContent().finish())
}

async fn deliveries(call: Call) -> Answer {
    let key = (holder(&call, false)?, call.number("hook_id")?);
    let inner = call.state.hooks.lock();
    let hook = inner.hooks.get(&key).ok_or(MISSING)?;
    let newest: Vec<Value> = hook.deliveries.iter().rev().cloned().collect();
    call.offset_page(&newest, true, Value::clone)
}

/// What a test sends: a real object; none where there is none.
fn object(world: &World, holder: Holder, trigger: &str) -> Option<Value> {
    let mut projects = world.projects().filter(|project| match holder {
        Holder::Project(id) => project.id == id,
        Holder::Group(id) => {
            let group = world.group(id);
            group.is_some_and(|group| {
                let path = format!("{}/", group.full_path);
                project.full_path.starts_with(&path)
            })
        }
        Holder::Instance => false,
    });
    match trigger {
        "pipeline_events" => projects.find_map(|project| {
            let pipeline = world.pipelines_of(project.id).next()?;
            Some(json!({
                "object_kind": "pipeline", "project": {"id": project.id},
                "object_attributes": {"id": pipeline.id, "status": pipeline.status.as_str()},
            }))
        }),
        "push_events" => Some(json!({"object_kind": "push", "project_id": projects.next()?.id})),
        _ => None,
    }
}

async fn test(call: Call) -> Answer {
    let key = (holder(&call, true)?, call.number("hook_id")?);
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
    let object = object(&call.state.world.read(), key.0, &trigger);
    let Some(object) = object else {
        let message = "Ensure the project has such an object";
        return Ok(HttpResponse::UnprocessableEntity().json(json!({"message": message})));
    };
    let status = deliver(&hook, &object).await;
    let mut inner = call.state.hooks.lock();
    let hook = inner.hooks.get_mut(&key).ok_or(MISSING)?;
    hook.deliveries
        .push(json!({"trigger": trigger.replace("events", "hooks"), "response_status": status}));
    Ok(HttpResponse::Created().json(json!({"message": "201 Created"})))
}

/// The test of a system hook sends made-up data, and GitLab does not say what was answered.
async fn test_of_instance(call: Call) -> Answer {
    let key = (holder(&call, true)?, call.number("hook_id")?);
    let hook = call.state.hooks.lock().hooks.get(&key).cloned();
    let object = json!({
        "event_name": "project_create", "name": "Ruby", "path": "ruby", "project_id": 1,
        "owner_name": "Someone", "owner_email": "someone@example.com",
    });
    let _ = deliver(&hook.ok_or(MISSING)?, &object).await;
    Ok(HttpResponse::Created().json(object))
}

/// Sends an object to a webhook's address; the status as GitLab notes it.
async fn deliver(hook: &Hook, object: &Value) -> Value {
    let text = |name: &str| {
        let value = hook.settings.get(name).and_then(Value::as_str);
        value.unwrap_or_default()
    };
    let body = object.to_string();
    let sent = send(text("url"), text("token"), &body);
    match timeout(PATIENCE, sent).await {
        Ok(Ok(status)) => json!(status.to_string()),
        _ => json!("internal error"),
    }
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
