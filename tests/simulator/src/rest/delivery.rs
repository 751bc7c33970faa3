//! Environments, deployments, comparisons of commits, incidents and DORA figures.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::{Answer, ApiError, Call, entities, ok};
use crate::auth::AccessLevel;
use crate::time::{self, DAY, Millis, SECOND};
use crate::world::{
    Delivery, Deployment, DeploymentStatus, DoraInterval, Environment, EnvironmentTier, Incident,
    MergeRequest, Project, Tier,
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

fn at(time: Millis) -> Value {
    Value::String(time::milliseconds(time))
}

fn maybe(time: Option<Millis>) -> Value {
    time.map_or(Value::Null, at)
}

/// What a project without deliveries has.
fn delivery(call: &Call, world: &crate::world::World) -> Result<(Project, Delivery), ApiError> {
    let project = call.ci_project(world)?;
    let delivery = world.delivery(project.id).cloned().unwrap_or_default();
    Ok((project.clone(), delivery))
}

fn environment(found: &Environment) -> Value {
    json!({
        "id": found.id,
        "name": &*found.name,
        "slug": found.name.replace('/', "-"),
        "description": null,
        "external_url": found.external_url.as_deref(),
        "state": found.state.as_str(),
        "tier": found.tier.as_str(),
        "created_at": at(found.created_at),
        "updated_at": at(found.updated_at),
        "auto_stop_at": null,
        "auto_stop_setting": "always",
        "kubernetes_namespace": null,
        "flux_resource_path": null,
    })
}

/// `GET /projects/:id/environments`
pub async fn environments(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, delivery) = delivery(&call, &world)?;
    drop(world);
    let (states, name) = (call.parameter("states"), call.parameter("name"));
    let found: Vec<Environment> = delivery
        .environments
        .into_values()
        .filter(|environment| states.is_none_or(|states| environment.state.as_str() == states))
        .filter(|environment| name.is_none_or(|name| *environment.name == *name))
        .collect();
    call.offset_page(&found, true, environment)
}

/// `GET /projects/:id/environments/:environment_id`
pub async fn environment_by_id(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, delivery) = delivery(&call, &world)?;
    let id = call.number("environment_id")?;
    let found = delivery
        .environments
        .get(&id)
        .ok_or(ApiError::NotFound("404 Environment Not Found"))?;
    ok(&environment(found))
}

/// A deployment. REST has no time of its end, but the job's.
fn deployment(found: &Deployment, delivery: &Delivery) -> Value {
    let place = delivery.environments.get(&found.environment_id);
    let job = found.job.as_ref().map(|job| {
        let duration = job
            .started_at
            .zip(job.finished_at)
            .map(|(start, end)| (end - start) as f64 / SECOND as f64);
        json!({
            "id": job.id,
            "name": &*job.name,
            "stage": "deploy",
            "status": match found.status {
                DeploymentStatus::Blocked => "manual",
                status => status.as_str(),
            },
            "ref": &*found.ref_name,
            "tag": false,
            "coverage": null,
            "created_at": at(found.created_at),
            "started_at": maybe(job.started_at),
            "finished_at": maybe(job.finished_at),
            "duration": duration,
            "runner": null,
        })
    });
    json!({
        "id": found.id,
        "iid": found.iid,
        "ref": &*found.ref_name,
        "sha": &*found.sha,
        "status": found.status.as_str(),
        "created_at": at(found.created_at),
        "updated_at": at(found.updated_at),
        "user": entities::user(""),
        "environment": place.map(|place| json!({
            "id": place.id,
            "name": &*place.name,
            "slug": place.name.replace('/', "-"),
            "external_url": place.external_url.as_deref(),
            "created_at": at(place.created_at),
            "updated_at": at(place.updated_at),
        })),
        "deployable": job,
    })
}

/// `GET /projects/:id/deployments`
pub async fn deployments(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, delivery) = delivery(&call, &world)?;
    drop(world);
    let order = call.parameter("order_by").unwrap_or("id");
    let status = match call.parameter("status") {
        None => None,
        Some(text) => Some(
            DeploymentStatus::parse(text)
                .ok_or_else(|| ApiError::InvalidParameter("status".to_owned()))?,
        ),
    };
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
    let mut found: Vec<Deployment> = delivery
        .deployments
        .values()
        .filter(|d| status.is_none_or(|status| d.status == status))
        .filter(|d| name.is_none_or(|name| place(d).is_some_and(|place| *place.name == *name)))
        .filter(|d| within(Some(d.updated_at), updated_after, updated_before))
        .filter(|d| within(d.finished_at, finished_after, finished_before))
        .cloned()
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
    call.offset_page(&found, true, |found| deployment(found, &delivery))
}

/// What `DeploymentsFinder` does not allow.
fn refuse_mixture(
    order: &str,
    by_update: bool,
    by_finish: bool,
    status: Option<DeploymentStatus>,
) -> Result<(), ApiError> {
    let refusal = if by_update && by_finish {
        "Both `updated_at` filter and `finished_at` filter can not be specified"
    } else if by_update && order != "updated_at" {
        "`updated_at` filter requires `updated_at` sort."
    } else if by_finish && (order != "finished_at" || status != Some(DeploymentStatus::Success)) {
        "`finished_at` filter requires `finished_at` sort and must be combined with `success` status filter."
    } else {
        return Ok(());
    };
    Err(ApiError::BadRequest(refusal))
}

/// `GET /projects/:id/deployments/:deployment_id/merge_requests`
pub async fn merge_requests(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, delivery) = delivery(&call, &world)?;
    drop(world);
    let id = call.number("deployment_id")?;
    let deployment = delivery
        .deployments
        .get(&id)
        .ok_or(ApiError::NotFound("404 Deployment Not Found"))?;
    let found: Vec<MergeRequest> = deployment
        .merge_requests
        .iter()
        .rev()
        .filter_map(|iid| project.merge_requests.get(iid).cloned())
        .collect();
    call.offset_page(&found, true, |merge_request| {
        entities::merge_request(&project, merge_request, call.base_url())
    })
}

/// `GET /projects/:id/repository/compare`
pub async fn compare(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, delivery) = delivery(&call, &world)?;
    let missing = |name: &str| ApiError::InvalidParameter(name.to_owned());
    let from = call.parameter("from").ok_or_else(|| missing("from"))?;
    let to = call.parameter("to").ok_or_else(|| missing("to"))?;
    let branch = project.default_branch.as_deref();
    if branch != Some(to) && delivery.history().last().map(|sha| &**sha) != Some(to) {
        return Err(ApiError::NotFound("404 Ref Not Found"));
    }
    let commits = delivery
        .commits_after(from)
        .ok_or(ApiError::NotFound("404 Ref Not Found"))?;
    let commit = |sha: &std::sync::Arc<str>| {
        json!({
            "id": &**sha,
            "short_id": sha.get(..8),
            "title": "Change something",
            "author_name": "Exporter Bot",
            "author_email": "bot@example.com",
            "created_at": at(world.now()),
        })
    };
    ok(&json!({
        "commit": commits.last().map(commit),
        "commits": commits.iter().map(commit).collect::<Vec<_>>(),
        "diffs": [],
        "compare_timeout": false,
        "compare_same_ref": from == to,
        "web_url": format!("{}/{}/-/compare/{from}...{to}", call.base_url(), project.full_path),
    }))
}

/// `GET /projects/:id/issues`: incidents are the only issues here.
pub async fn issues(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, delivery) = delivery(&call, &world)?;
    drop(world);
    let wanted = call
        .parameter("issue_type")
        .is_none_or(|kind| kind == "incident");
    let (after, created) = (call.time("updated_after")?, call.time("created_after")?);
    let mut found: Vec<Incident> = delivery
        .incidents
        .into_values()
        .filter(|_| wanted)
        .filter(|incident| after.is_none_or(|after| incident.updated_at >= after))
        .filter(|incident| created.is_none_or(|created| incident.created_at >= created))
        .collect();
    found.sort_by_key(|incident| (incident.updated_at, incident.iid));
    if call.parameter("sort") != Some("asc") {
        found.reverse();
    }
    let base = format!("{}/api/v4/projects/{}/issues", call.base_url(), project.id);
    call.offset_page(&found, true, |incident| {
        json!({
            "id": incident.id,
            "iid": incident.iid,
            "project_id": project.id,
            "title": "Something is down",
            "description": null,
            "state": if incident.closed_at.is_some() { "closed" } else { "opened" },
            "created_at": at(incident.created_at),
            "updated_at": at(incident.updated_at),
            "closed_at": maybe(incident.closed_at),
            "type": "INCIDENT",
            "issue_type": "incident",
            "severity": "UNKNOWN",
            "labels": [],
            "author": entities::user(call.base_url()),
            "_links": {
                "self": format!("{base}/{}", incident.iid),
                "closed_as_duplicate_of": incident.duplicate_of.map(|iid| format!("{base}/{iid}")),
            },
        })
    })
}

/// `GET /projects/:id/dora/metrics`
pub async fn dora(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.project(&world)?;
    let allowed = world.tier_of(project) >= Tier::Ultimate
        && call.viewer.role(project.id) >= AccessLevel::Reporter;
    if !allowed {
        return Ok(HttpResponse::build(StatusCode::UNAUTHORIZED).json(json!({
            "message": "You do not have permission to access dora metrics.",
        })));
    }
    let metric = call
        .parameter("metric")
        .ok_or_else(|| ApiError::InvalidParameter("metric".to_owned()))?;
    let mut tiers: Vec<EnvironmentTier> = call
        .list("environment_tiers")
        .iter()
        .filter_map(|tier| EnvironmentTier::parse(tier))
        .collect();
    if tiers.is_empty() {
        tiers.push(EnvironmentTier::Production);
    }
    let end = call.time("end_date")?.unwrap_or(world.now());
    let start = call.time("start_date")?.unwrap_or(end - 90 * DAY);
    if end - start > 180 * DAY || start >= end {
        return Err(ApiError::BadRequest("The date range is not valid."));
    }
    let interval = match call.parameter("interval") {
        Some("all") => DoraInterval::All,
        Some("monthly") => DoraInterval::Monthly,
        _ => DoraInterval::Daily,
    };
    let rows = world.dora(project.id, start, end, interval, &tiers);
    let body: Vec<Value> = rows
        .into_iter()
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
