//! Runners and their managers.

use actix_web::web;
use serde_json::Value;

use super::entities::maybe;
use super::{Answer, ApiError, Call, ok, reports};
use crate::access::Right;
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
    call.signed_in()?;
    let project = {
        let world = call.state.world.read();
        let project = call.project(&world)?;
        wanted_type(&call)?;
        call.reading(&world, Right::Runners)?;
        project.clone()
    };
    page(&call, |world, runner| world.serves(runner, &project))
}

fn wanted_type(call: &Call) -> Result<Option<&str>, ApiError> {
    call.choice("type", &["instance_type", "group_type", "project_type"])
}

fn page(call: &Call, keep: impl Fn(&World, &Runner) -> bool) -> Answer {
    let wanted = wanted_type(call)?;
    let world = call.state.world.read();
    let mut found: Vec<&Runner> = world
        .all_runners()
        .filter(|runner| wanted.is_none_or(|wanted| wanted == runner.runner_type.as_str()))
        .filter(|runner| keep(&world, runner))
        .collect();
    found.sort_by_key(|runner| runner.id);
    let view = call.view(&world);
    call.offset_page(&found, true, |runner| view.runner(runner))
}

/// The runner that the path names, if the viewer may look at it.
fn find<'w>(call: &Call, world: &'w World) -> Result<&'w Runner, ApiError> {
    let token = call.signed_in()?;
    let runner = world
        .runner(call.number("runner_id")?)
        .ok_or(ApiError::NotFound("404 Runner Not Found"))?;
    let maintains = |project: &Project| {
        call.viewer.may(project, Right::Runners) && world.serves(runner, project)
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
    let mut shown = call.view(&world).runner(runner);
    shown["contacted_at"] = maybe(world.contact_of(&world.runner_details(runner.id)));
    // Since 17.0 these are told of the managers only.
    for gone in ["version", "revision", "platform", "architecture"] {
        shown[gone] = Value::Null;
    }
    ok(&shown)
}

/// `GET /runners/:id/managers`: all at once, whatever page is asked for.
pub async fn managers(call: Call) -> Answer {
    let world = call.state.world.read();
    let runner = find(&call, &world)?;
    ok(&call.view(&world).managers(runner).into())
}
