//! Runners and their managers.

use actix_web::web;
use serde_json::{Value, json};

use super::{Answer, ApiError, Call, ok, reports};
use crate::auth::AccessLevel;
use crate::time;
use crate::world::{Project, Runner, RunnerType, World};

/// The routes of runners, reports and schedules.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/runners/all", web::get().to(all))
        .route("/runners/{runner_id}", web::get().to(show))
        .route("/runners/{runner_id}/managers", web::get().to(managers))
        .route("/projects/{id}/runners", web::get().to(of_project))
        .route(
            "/projects/{id}/pipelines/{pipeline_id}/test_report_summary",
            web::get().to(reports::summary),
        )
        .route(
            "/projects/{id}/pipelines/{pipeline_id}/test_report",
            web::get().to(reports::report),
        )
        .route(
            "/projects/{id}/pipelines/{pipeline_id}/variables",
            web::get().to(reports::variables),
        )
        .route(
            "/projects/{id}/pipeline_schedules",
            web::get().to(reports::schedules),
        )
        .route(
            "/projects/{id}/pipeline_schedules/{schedule_id}",
            web::get().to(reports::one_schedule),
        );
}

/// `GET /runners/all`
pub async fn all(call: Call) -> Answer {
    if !call.signed_in()?.admin {
        return Err(ApiError::Forbidden);
    }
    page(&call, |_, _| true)
}

/// `GET /projects/:id/runners`
pub async fn of_project(call: Call) -> Answer {
    let project = {
        let world = call.state.world.read();
        let project = call.project(&world)?;
        if call.viewer.role(project.id) < AccessLevel::Maintainer {
            return Err(ApiError::Forbidden);
        }
        project.clone()
    };
    page(&call, |world, runner| world.serves(runner, &project))
}

fn page(call: &Call, keep: impl Fn(&World, &Runner) -> bool) -> Answer {
    let wanted = call.parameter("type");
    let world = call.state.world.read();
    let found: Vec<Runner> = world
        .all_runners()
        .filter(|runner| wanted.is_none_or(|wanted| wanted == runner.runner_type.as_str()))
        .filter(|runner| keep(&world, runner))
        .cloned()
        .collect();
    drop(world);
    call.offset_page(&found, true, |runner| {
        entity(&call.state.world.read(), runner)
    })
}

/// The runner that the path names, if the viewer may look at it.
fn find<'w>(call: &Call, world: &'w World) -> Result<&'w Runner, ApiError> {
    let token = call.signed_in()?;
    let runner = world
        .runner(call.number("runner_id")?)
        .ok_or(ApiError::NotFound("404 Runner Not Found"))?;
    let maintains = |project: &Project| {
        call.viewer.role(project.id) >= AccessLevel::Maintainer && world.serves(runner, project)
    };
    let may = token.admin
        || runner.runner_type == RunnerType::InstanceType
        || world.projects().any(maintains);
    may.then_some(runner).ok_or(ApiError::Forbidden)
}

/// `GET /runners/:id`
pub async fn show(call: Call) -> Answer {
    let world = call.state.world.read();
    let runner = find(&call, &world)?;
    let mut shown = entity(&world, runner);
    let contact = world.contact_of(&world.runner_details(runner.id));
    shown["contacted_at"] = contact.map(time::milliseconds).into();
    // Since 17.0 these are told of the managers only.
    for gone in ["version", "revision", "platform", "architecture"] {
        shown[gone] = Value::Null;
    }
    ok(&shown)
}

/// `GET /runners/:id/managers`
pub async fn managers(call: Call) -> Answer {
    let world = call.state.world.read();
    let runner = find(&call, &world)?;
    let details = world.runner_details(runner.id);
    let (contact, status) = (world.contact_of(&details), world.runner_status(&details));
    let managers: Vec<Value> = details
        .managers
        .iter()
        .zip(1..)
        .map(|(manager, place)| {
            json!({
                "id": runner.id * 100 + place,
                "system_id": &*manager.system_id,
                "version": manager.version.as_deref(),
                "revision": null,
                "platform": manager.platform.as_deref(),
                "architecture": manager.architecture.as_deref(),
                "contacted_at": contact.map(time::milliseconds),
                "ip_address": "127.0.0.1",
                "status": status,
                "job_execution_status": "idle",
            })
        })
        .collect();
    drop(world);
    call.offset_page(&managers, true, Value::clone)
}

fn entity(world: &World, runner: &Runner) -> Value {
    let details = world.runner_details(runner.id);
    let status = world.runner_status(&details);
    json!({
        "id": runner.id,
        "description": &*runner.description,
        "ip_address": "",
        "active": !details.paused,
        "paused": details.paused,
        "is_shared": runner.runner_type == RunnerType::InstanceType,
        "runner_type": runner.runner_type.as_str(),
        "name": null,
        "online": status == "online",
        "status": if details.paused { "paused" } else { status },
        "job_execution_status": "idle",
    })
}
