//! Environments, deployments, comparisons of commits, incidents and DORA figures.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{Answer, ApiError, Call, ok};
use crate::access::Right;
use crate::auth::AccessLevel;
use crate::time::{self, DAY, Millis};
use crate::world::{
    Delivery, Deployment, DeploymentStatus, DoraInterval, Environment, EnvironmentTier, Incident,
    MergeRequest, Project, Tier, World,
};

/// Routes below `/api/v4`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/projects/{id}/environments", web::get().to(environments))
        .route(
            "/projects/{id}/environments/{environment_id}",
            web::get().to(environment_by_id),
        )
        .route("/projects/{id}/deployments", web::get().to(deployments))
        .route(
            "/projects/{id}/deployments/{deployment_id}/merge_requests",
            web::get().to(merge_requests),
        )
        .route("/projects/{id}/repository/compare", web::get().to(compare))
        .route("/projects/{id}/issues", web::get().to(issues))
        .route("/projects/{id}/dora/metrics", web::get().to(dora));
}

/// The project, if the viewer may see this of it, and what it delivers.
fn delivery<'w>(
    call: &Call,
    world: &'w World,
    right: Right,
) -> Result<(&'w Project, Cow<'w, Delivery>), ApiError> {
    let project = call.reading(world, right)?;
    let delivery = world.delivery(project.id);
    Ok((
        project,
        delivery.map_or_else(Default::default, Cow::Borrowed),
    ))
}

/// `GET /projects/:id/environments`
pub async fn environments(call: Call) -> Answer {
    call.signed_in()?;
    let world = call.state.world.read();
    let states = call.choice("states", &["available", "stopping", "stopped"])?;
    let name = call.parameter("name");
    let (project, delivery) = delivery(&call, &world, Right::Environments)?;
    let found: Vec<&Environment> = delivery
        .environments
        .values()
        .filter(|environment| states.is_none_or(|states| environment.state.as_str() == states))
        .filter(|environment| name.is_none_or(|name| *environment.name == *name))
        .collect();
    let view = call.view(&world);
    call.offset_page(&found, true, |found| view.environment(project, found))
}

/// `GET /projects/:id/environments/:environment_id`
pub async fn environment_by_id(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, delivery) = delivery(&call, &world, Right::Environments)?;
    let id = call.number("environment_id")?;
    let found = delivery.environments.get(&id);
    let found = found.ok_or(ApiError::NotFound("404 Not found"))?;
    let mut shown = call.view(&world).environment(project, found);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("project");
    }
    ok(&shown)
}

/// `GET /projects/:id/deployments`
pub async fn deployments(call: Call) -> Answer {
    call.signed_in()?;
    let world = call.state.world.read();
    let order = call.parameter("order_by").unwrap_or("id");
    let statuses: Vec<&str> = DeploymentStatus::ALL
        .iter()
        .map(|status| status.as_str())
        .collect();
    let status = call.choice("status", &statuses)?;
    let status = status.and_then(DeploymentStatus::parse);
    let (project, delivery) = delivery(&call, &world, Right::Deployments)?;
    let (updated_after, updated_before) =
        (call.time("updated_after")?, call.time("updated_before")?);
    let (finished_after, finished_before) =
        (call.time("finished_after")?, call.time("finished_before")?);
    let by_update = updated_after.or(updated_before).is_some();
    let by_finish = finished_after.or(finished_before).is_some();
    refuse_mixture(order, by_update, by_finish, status)?;
    let name = call.parameter("environment");
    let place = |deployment: &Deployment| delivery.environments.get(&deployment.environment_id);
    let within = |at: Option<Millis>, after: Option<Millis>, before: Option<Millis>| {
        after.is_none_or(|after| at.is_some_and(|at| at >= after))
            && before.is_none_or(|before| at.is_some_and(|at| at <= before))
    };
    let mut found: Vec<&Deployment> = delivery
        .deployments
        .values()
        .filter(|d| status.is_none_or(|status| d.status == status))
        .filter(|d| name.is_none_or(|name| place(d).is_some_and(|place| *place.name == *name)))
        .filter(|d| within(Some(d.updated_at), updated_after, updated_before))
        .filter(|d| within(d.finished_at, finished_after, finished_before))
        .collect();
    found.sort_by_key(|d| {
        let key = match order {
            "updated_at" => d.updated_at,
            "created_at" => d.created_at,
            "finished_at" => d.finished_at.unwrap_or(Millis::MAX),
            _ => 0,
        };
        (key, d.id)
    });
    if call.parameter("sort") == Some("desc") {
        found.reverse();
    }
    let view = call.view(&world);
    let _ = project;
    call.offset_page(&found, true, |found| view.deployment(found, &delivery))
}

/// What `DeploymentsFinder` does not allow.
fn refuse_mixture(
    order: &str,
    by_update: bool,
    by_finish: bool,
    status: Option<DeploymentStatus>,
) -> Result<(), ApiError> {
    let refusal = if by_update && by_finish {
        "400 Bad request - Both `updated_at` filter and `finished_at` filter can not be specified"
    } else if by_update && order != "updated_at" {
        "400 Bad request - `updated_at` filter requires `updated_at` sort"
    } else if by_finish && order != "finished_at" {
        "400 Bad request - `finished_at` filter requires `finished_at` sort."
    } else if by_finish && status != Some(DeploymentStatus::Success) {
        "400 Bad request - `finished_at` filter must be combined with `success` status filter."
    } else {
        return Ok(());
    };
    Err(ApiError::BadRequest(refusal))
}

/// `GET /projects/:id/deployments/:deployment_id/merge_requests`: nothing for one that there is not.
pub async fn merge_requests(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, delivery) = delivery(&call, &world, Right::Deployments)?;
    let id = call.number("deployment_id")?;
    let mut found: Vec<&MergeRequest> = delivery
        .deployments
        .get(&id)
        .into_iter()
        .flat_map(|deployment| &deployment.merge_requests)
        .filter_map(|iid| project.merge_requests.get(iid))
        .collect();
    found.sort_by_key(|found| std::cmp::Reverse((found.created_at, found.id)));
    let view = call.view(&world);
    call.offset_page(&found, true, |found| view.merge_request(project, found))
}

/// `GET /projects/:id/repository/compare`
pub async fn compare(call: Call) -> Answer {
    const MISSING: ApiError = ApiError::NotFound("404 Ref Not Found");
    let world = call.state.world.read();
    let (project, delivery) = delivery(&call, &world, Right::Code)?;
    let absent = |name: &str| ApiError::InvalidParameter(name.to_owned());
    let from = call.parameter("from").ok_or_else(|| absent("from"))?;
    let to = call.parameter("to").ok_or_else(|| absent("to"))?;
    let view = call.view(&world);
    let commits = match between(&world, project, from, to) {
        Some(commits) => commits,
        None => {
            let branch = project.default_branch.as_deref();
            let tip = delivery.history().last().map(|sha| &**sha);
            if branch != Some(to) && tip != Some(to) {
                return Err(MISSING);
            }
            delivery.commits_after(from).ok_or(MISSING)?.to_vec()
        }
    };
    let now = Some(world.now());
    let shown = |sha: &Arc<str>| view.commit_of(project, sha, now);
    ok(&json!({
        "commit": commits.last().map(shown),
        "commits": commits.iter().map(shown).collect::<Vec<_>>(),
        "compare_timeout": false,
        "compare_same_ref": from == to,
        "web_url": format!("{}/{}/-/compare/{from}...{to}", call.base_url(), project.full_path),
    }))
}

/// The commits that `to` has and `from` has not, oldest first, where the project keeps both.
fn between(world: &World, project: &Project, from: &str, to: &str) -> Option<Vec<Arc<str>>> {
    let code = world.code(project.id)?;
    let tip = |name: &str| {
        let branch = project.branches.get(name).map(|branch| branch.sha.clone());
        let sha = branch.unwrap_or_else(|| name.into());
        code.commits.contains_key(&sha).then_some(sha)
    };
    let (from, to) = (tip(from)?, tip(to)?);
    let known: Vec<&Arc<str>> = code
        .ancestors(Some(&from))
        .map(|commit| &commit.sha)
        .collect();
    let mut found: Vec<Arc<str>> = code
        .ancestors(Some(&to))
        .map(|commit| commit.sha.clone())
        .filter(|sha| !known.contains(&sha))
        .collect();
    found.reverse();
    Some(found)
}

/// `GET /projects/:id/issues`
pub async fn issues(call: Call) -> Answer {
    let world = call.state.world.read();
    let wanted = call.parameter("issue_type");
    let (after, created) = (call.time("updated_after")?, call.time("created_after")?);
    let by_update = call.parameter("order_by") == Some("updated_at");
    let (project, delivery) = delivery(&call, &world, Right::Issues)?;
    let mut found: Vec<&Incident> = delivery
        .incidents
        .values()
        .filter(|issue| wanted.is_none_or(|wanted| wanted == issue.issue_type()))
        .filter(|issue| after.is_none_or(|after| issue.updated_at >= after))
        .filter(|issue| created.is_none_or(|created| issue.created_at >= created))
        .collect();
    found.sort_by_key(|issue| {
        let at = if by_update {
            issue.updated_at
        } else {
            issue.created_at
        };
        (at, issue.iid)
    });
    if call.parameter("sort") != Some("asc") {
        found.reverse();
    }
    let view = call.view(&world);
    call.offset_page(&found, true, |issue| view.issue(project, issue))
}

/// `GET /projects/:id/dora/metrics`
pub async fn dora(call: Call) -> Answer {
    const METRICS: [&str; 4] = [
        "deployment_frequency",
        "lead_time_for_changes",
        "time_to_restore_service",
        "change_failure_rate",
    ];
    let world = call.state.world.read();
    enterprise_only(&world)?;
    let metric = call
        .parameter("metric")
        .ok_or(ApiError::Missing("metric"))?;
    let (start, end) = (call.time("start_date")?, call.time("end_date")?);
    let project = call.project(&world)?;
    let role = call.viewer.role(project.id);
    let allowed = world.tier_of(project) >= Tier::Ultimate
        && (call.viewer.is_admin() || role >= AccessLevel::Reporter);
    if !allowed {
        return Ok(HttpResponse::build(StatusCode::UNAUTHORIZED).json(json!({
            "message": "You do not have permission to access dora metrics.",
        })));
    }
    let end = end.unwrap_or(world.now());
    let start = start.unwrap_or_else(|| time::months_before(end, 3));
    if start >= end {
        return Err(ApiError::BadRequest(
            "The start date must be earlier than the end date.",
        ));
    }
    if end - start > 180 * DAY {
        return Err(ApiError::BadRequest(
            "Date range must be shorter than 180 days.",
        ));
    }
    if !METRICS.contains(&metric) {
        return Err(ApiError::BadRequest(
            "The metric must be one of deployment_frequency,lead_time_for_changes,\
             time_to_restore_service,change_failure_rate.",
        ));
    }
    let interval = match call.parameter("interval") {
        Some("all") => DoraInterval::All,
        Some("monthly") => DoraInterval::Monthly,
        None | Some("daily") => DoraInterval::Daily,
        Some(_) => {
            return Err(ApiError::BadRequest(
                "The interval must be one of all,monthly,daily.",
            ));
        }
    };
    let named = call.list("environment_tiers");
    let mut tiers: Vec<EnvironmentTier> = named
        .iter()
        .filter_map(|tier| EnvironmentTier::parse(tier))
        .collect();
    if tiers.len() < named.len() {
        return Err(ApiError::BadRequest(
            "The environment tiers must be from production, staging, testing, development, other.",
        ));
    }
    if tiers.is_empty() {
        tiers.push(EnvironmentTier::Production);
    }
    let rows = world.dora(project.id, start, end, interval, &tiers);
    let body: Vec<Value> = rows
        .into_iter()
        // Days without figures are left out.
        .filter(|row| row.kept || interval != DoraInterval::Daily)
        .map(|row| {
            let value = match metric {
                "deployment_frequency" => row.deployment_frequency,
                "lead_time_for_changes" => row.lead_time_for_changes,
                "time_to_restore_service" => row.time_to_restore_service,
                _ => row.change_failure_rate,
            };
            json!({"date": row.date, "value": value})
        })
        .collect();
    Ok(HttpResponse::Ok().json(body))
}

/// The Community Edition does not know the endpoint.
pub(super) fn enterprise_only(world: &World) -> Result<(), ApiError> {
    let known = world.enterprise || !world.quirks.enterprise_fields_missing_on_ce;
    known.then_some(()).ok_or(ApiError::NoRoute)
}
