//! Pipelines, jobs and bridges.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::Value;

use super::{Answer, ApiError, Call, ok};
use crate::access::Right;
use crate::cost::lists;
use crate::graphql::pipeline::PipelineFilter;
use crate::world::{Feature, Job, JobKind, Pipeline, Project, Status, World};

/// What `source` takes.
const SOURCES: &[&str] = &[
    "unknown",
    "push",
    "web",
    "trigger",
    "schedule",
    "api",
    "external",
    "pipeline",
    "chat",
    "webide",
    "merge_request_event",
    "external_pull_request_event",
    "parent_pipeline",
    "ondemand_dast_scan",
    "ondemand_dast_validation",
    "security_orchestration_policy",
    "container_registry_push",
    "duo_workflow",
    "pipeline_execution_policy_schedule",
];

/// `GET /projects/:id/pipelines`
pub async fn list(call: Call) -> Answer {
    let world = call.state.world.read();
    let statuses: Vec<String> = Status::ALL.iter().map(ToString::to_string).collect();
    let statuses: Vec<&str> = statuses.iter().map(String::as_str).collect();
    let text = |value: Option<&str>| value.map(str::to_owned);
    let scopes = ["running", "pending", "finished", "branches", "tags"];
    let filter = PipelineFilter {
        status: text(call.choice("status", &statuses)?),
        scope: text(call.choice("scope", &scopes)?),
        ref_name: text(call.parameter("ref")),
        sha: text(call.parameter("sha")),
        source: text(call.choice("source", SOURCES)?),
        updated_after: call.time("updated_after")?,
        updated_before: call.time("updated_before")?,
        username: text(call.parameter("username")),
        ids: None,
    };
    let (created_after, created_before) =
        (call.time("created_after")?, call.time("created_before")?);
    let orders = ["id", "status", "ref", "updated_at", "user_id"];
    let order = call.choice("order_by", &orders)?;
    let ascending = call.choice("sort", &["asc", "desc"])? == Some("asc");
    call.page_size()?;
    let project = call.reading(&world, Right::Pipelines)?;
    let mut found: Vec<Arc<Pipeline>> = filter
        .list(&world, project.id)
        .into_iter()
        .filter(|pipeline| created_after.is_none_or(|since| pipeline.created_at >= since))
        .filter(|pipeline| created_before.is_none_or(|until| pipeline.created_at <= until))
        .collect();
    match order {
        Some("updated_at") => {
            found.sort_by_key(|pipeline| Reverse((pipeline.updated_at, pipeline.id)))
        }
        Some("ref") => found.sort_by(|a, b| b.ref_name.cmp(&a.ref_name)),
        Some("status") => found.sort_by(|a, b| b.status.as_str().cmp(a.status.as_str())),
        _ => {}
    }
    if ascending {
        found.reverse();
    }
    let detailed = !world.quirks.list_without_details;
    let view = call.view(&world);
    let answer = call.offset_page(&found, true, |pipeline| {
        if detailed {
            view.pipeline(pipeline)
        } else {
            Value::Object(view.pipeline_in_lists(pipeline))
        }
    });
    let shown = call.page_end(found.len())?;
    let read = lists::pipelines(&world, project.id, &filter, shown);
    // Sorted by anything but the id, all of them are read.
    let sorted = order.is_some_and(|order| order != "id" && order != "updated_at");
    let ever = if sorted {
        world.pipelines_ever(project.id)
    } else {
        0
    };
    super::having_read(answer, read.max(ever))
}

/// The pipeline that the path names. Where CI is switched off there is none.
pub(super) fn find<'w>(
    call: &Call,
    world: &'w World,
) -> Result<(&'w Project, &'w Arc<Pipeline>), ApiError> {
    const MISSING: ApiError = ApiError::NotFound("404 Not found");
    let project = call.project(world)?;
    call.granted(world, project, Right::Pipelines)?;
    if project.settings.builds == Feature::Disabled {
        return Err(MISSING);
    }
    let id = call.number("pipeline_id")?;
    let found = world
        .pipeline(id)
        .filter(|pipeline| pipeline.project_id == project.id)
        .ok_or(MISSING)?;
    if !call.viewer.may(project, Right::Pipelines) {
        return Err(ApiError::Forbidden);
    }
    Ok((project, found))
}

/// `GET /projects/:id/pipelines/:pipeline_id`
pub async fn show(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, pipeline) = find(&call, &world)?;
    ok(&call.view(&world).pipeline(pipeline))
}

/// `GET /projects/:id/pipelines/:pipeline_id/jobs`
pub async fn jobs(call: Call) -> Answer {
    let retried = call.flag("include_retried")?.unwrap_or(false);
    let retried = retried || !call.quirks.retried_jobs_left_out;
    list_of(call, JobKind::Build, retried)
}

/// `GET /projects/:id/pipelines/:pipeline_id/bridges`, also named `trigger_jobs`
pub async fn bridges(call: Call) -> Answer {
    list_of(call, JobKind::Bridge, false)
}

fn list_of(call: Call, kind: JobKind, retried: bool) -> Answer {
    let world = call.state.world.read();
    let (_, pipeline) = find(&call, &world)?;
    let jobs: Vec<Arc<Job>> = world
        .jobs_of(pipeline.id)
        .rev()
        .filter(|job| job.kind == kind && (retried || !job.retried))
        .cloned()
        .collect();
    write(&call, &world, jobs, true)
}

/// `GET /projects/:id/jobs`
pub async fn project_jobs(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.reading(&world, Right::Pipelines)?;
    let mut jobs: Vec<Arc<Job>> = world
        .pipelines_of(project.id)
        .flat_map(|pipeline| world.jobs_of(pipeline.id))
        .filter(|job| job.kind == JobKind::Build)
        .cloned()
        .collect();
    jobs.sort_by_key(|job| Reverse(job.id));
    let scope = call.list("scope");
    let found = jobs
        .iter()
        .filter(|job| scope.is_empty() || scope.contains(&job.status.as_str()));
    let before = call.parameter("id_before").and_then(|id| id.parse().ok());
    let found: Vec<u64> = found
        .map(|job| job.id)
        .filter(|id| before.is_none_or(|before| *id < before))
        .collect();
    let end = call.page_end(found.len())?;
    let page = lists::JobsPage {
        statuses: &scope,
        before,
        last: found
            .get(end.wrapping_sub(1))
            .filter(|_| end < found.len())
            .copied(),
        returned: end,
    };
    let read = lists::jobs(&world, project.id, &page);
    super::having_read(write(&call, &world, jobs, false), read)
}

/// The lists of one pipeline have totals, the list of a project has none.
fn write(call: &Call, world: &World, mut jobs: Vec<Arc<Job>>, counted: bool) -> Answer {
    let scope = call.list("scope");
    if let Some(bad) = scope
        .iter()
        .find(|scope| matches!(Status::parse(scope), Status::Other(_)))
    {
        return Err(ApiError::InvalidParameter(format!("scope[] {bad}")));
    }
    jobs.retain(|job| scope.is_empty() || scope.contains(&job.status.as_str()));
    let view = call.view(world);
    let one = |job: &Arc<Job>| view.job(job);
    if call.parameter("pagination") == Some("keyset") {
        let rows: Vec<(u64, Arc<Job>)> = jobs.into_iter().map(|job| (job.id, job)).collect();
        return call.keyset_page(&rows, false, false, one);
    }
    call.offset_page(&jobs, counted, one)
}
