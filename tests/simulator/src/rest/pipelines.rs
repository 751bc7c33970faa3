//! Pipelines, jobs and bridges.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::Value;

use super::{Answer, ApiError, Call, entities, ok};
use crate::graphql::pipeline::PipelineFilter;
use crate::world::{Job, JobKind, Pipeline, Status, World};

/// `GET /projects/:id/pipelines`
pub async fn list(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.ci_project(&world)?;
    let known = |name: &'static str, values: &[&str]| match call.parameter(name) {
        Some(value) if !values.contains(&value) => Err(ApiError::InvalidParameter(name.to_owned())),
        other => Ok(other.map(str::to_owned)),
    };
    let statuses: Vec<String> = Status::ALL.iter().map(ToString::to_string).collect();
    let statuses: Vec<&str> = statuses.iter().map(String::as_str).collect();
    let filter = PipelineFilter {
        status: known("status", &statuses)?,
        scope: known(
            "scope",
            &["running", "pending", "finished", "branches", "tags"],
        )?,
        ref_name: call.parameter("ref").map(str::to_owned),
        sha: call.parameter("sha").map(str::to_owned),
        source: call.parameter("source").map(str::to_owned),
        updated_after: call.time("updated_after")?,
        updated_before: call.time("updated_before")?,
        username: call.parameter("username").map(str::to_owned),
    };
    let (created_after, created_before) =
        (call.time("created_after")?, call.time("created_before")?);
    let mut found: Vec<Arc<Pipeline>> = filter
        .list(&world, project.id)
        .into_iter()
        .filter(|pipeline| created_after.is_none_or(|since| pipeline.created_at >= since))
        .filter(|pipeline| created_before.is_none_or(|until| pipeline.created_at <= until))
        .collect();
    match known(
        "order_by",
        &["id", "status", "ref", "updated_at", "user_id"],
    )?
    .as_deref()
    {
        Some("updated_at") => {
            found.sort_by_key(|pipeline| Reverse((pipeline.updated_at, pipeline.id)))
        }
        Some("ref") => found.sort_by(|a, b| b.ref_name.cmp(&a.ref_name)),
        Some("status") => found.sort_by(|a, b| b.status.as_str().cmp(a.status.as_str())),
        _ => {}
    }
    if known("sort", &["asc", "desc"])?.as_deref() == Some("asc") {
        found.reverse();
    }
    drop(world);
    let world = call.state.world.read();
    let detailed = !world.quirks.list_without_details;
    drop(world);
    call.offset_page(&found, true, |pipeline| {
        let world = call.state.world.read();
        if detailed {
            entities::pipeline(&world, pipeline, call.base_url())
        } else {
            Value::Object(entities::pipeline_basic(&world, pipeline, call.base_url()))
        }
    })
}

fn find<'w>(call: &Call, world: &'w World) -> Result<&'w Arc<Pipeline>, ApiError> {
    let project = call.ci_project(world)?;
    let id = call.number("pipeline_id")?;
    world
        .pipeline(id)
        .filter(|pipeline| pipeline.project_id == project.id)
        .ok_or(ApiError::NotFound("404 Pipeline Not Found"))
}

/// `GET /projects/:id/pipelines/:pipeline_id`
pub async fn show(call: Call) -> Answer {
    let world = call.state.world.read();
    let pipeline = find(&call, &world)?;
    ok(&entities::pipeline(&world, pipeline, call.base_url()))
}

/// `GET /projects/:id/pipelines/:pipeline_id/jobs`
pub async fn jobs(call: Call) -> Answer {
    let retried = call.flag("include_retried")?.unwrap_or(false);
    let retried = retried || !call.state.world.read().quirks.retried_jobs_left_out;
    list_of(call, JobKind::Build, retried)
}

/// `GET /projects/:id/pipelines/:pipeline_id/bridges`, also named `trigger_jobs`
pub async fn bridges(call: Call) -> Answer {
    list_of(call, JobKind::Bridge, false)
}

fn list_of(call: Call, kind: JobKind, retried: bool) -> Answer {
    let world = call.state.world.read();
    let pipeline = find(&call, &world)?;
    let jobs: Vec<Arc<Job>> = world
        .jobs_of(pipeline.id)
        .rev()
        .filter(|job| job.kind == kind && (retried || !job.retried))
        .cloned()
        .collect();
    drop(world);
    write(&call, jobs)
}

/// `GET /projects/:id/jobs`
pub async fn project_jobs(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.ci_project(&world)?;
    let mut jobs: Vec<Arc<Job>> = world
        .pipelines_of(project.id)
        .flat_map(|pipeline| world.jobs_of(pipeline.id))
        .filter(|job| job.kind == JobKind::Build)
        .cloned()
        .collect();
    drop(world);
    jobs.sort_by_key(|job| Reverse(job.id));
    write(&call, jobs)
}

fn write(call: &Call, mut jobs: Vec<Arc<Job>>) -> Answer {
    let scope = call.list("scope");
    if let Some(bad) = scope
        .iter()
        .find(|scope| matches!(Status::parse(scope), Status::Other(_)))
    {
        return Err(ApiError::InvalidParameter(format!("scope[] {bad}")));
    }
    jobs.retain(|job| scope.is_empty() || scope.contains(&job.status.as_str()));
    let one = |job: &Arc<Job>| entities::job(&call.state.world.read(), job, call.base_url());
    if call.parameter("pagination") == Some("keyset") {
        let rows: Vec<(u64, Arc<Job>)> = jobs.into_iter().map(|job| (job.id, job)).collect();
        return call.keyset_page(&rows, false, one);
    }
    call.offset_page(&jobs, false, one)
}
