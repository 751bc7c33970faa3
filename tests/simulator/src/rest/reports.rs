//! Test reports, variables and schedules of pipelines.

use serde_json::{Value, json};

use super::pipelines::find;
use super::{Answer, ApiError, Call, ok};
use crate::access::Right;
use crate::time;
use crate::world::reports::{CaseStatus, Suite};
use crate::world::{Schedule, World};

/// `GET /projects/:id/pipelines/:pipeline_id/test_report_summary`
pub async fn summary(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, pipeline) = find(&call, &world)?;
    let suites = world.test_suites(pipeline.id);
    let sum = |status| {
        suites
            .iter()
            .map(|suite| suite.count(status))
            .sum::<usize>()
    };
    ok(&json!({
        "total": {
            "time": suites.iter().map(Suite::seconds).sum::<f64>(),
            "count": suites.iter().map(|suite| suite.cases.len()).sum::<usize>(),
            "success": sum(CaseStatus::Success),
            "failed": sum(CaseStatus::Failed),
            "skipped": sum(CaseStatus::Skipped),
            "error": sum(CaseStatus::Error),
            "suite_error": null,
        },
        "test_suites": suites.iter().map(|suite| {
            let mut shown = counts(suite);
            shown["build_ids"] = suite.jobs.clone().into();
            shown
        }).collect::<Vec<Value>>(),
    }))
}

/// `GET /projects/:id/pipelines/:pipeline_id/test_report`
pub async fn report(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, pipeline) = find(&call, &world)?;
    let suites = world.test_suites(pipeline.id);
    let sum = |status| {
        suites
            .iter()
            .map(|suite| suite.count(status))
            .sum::<usize>()
    };
    ok(&json!({
        "total_time": suites.iter().map(Suite::seconds).sum::<f64>(),
        "total_count": suites.iter().map(|suite| suite.cases.len()).sum::<usize>(),
        "success_count": sum(CaseStatus::Success),
        "failed_count": sum(CaseStatus::Failed),
        "skipped_count": sum(CaseStatus::Skipped),
        "error_count": sum(CaseStatus::Error),
        "test_suites": suites.iter().map(|suite| {
            let mut shown = counts(suite);
            shown["test_cases"] = suite.cases.iter().map(|case| json!({
                "status": case.status.as_str(),
                "name": &*case.name,
                "classname": &*case.classname,
                "file": null,
                "execution_time": case.seconds,
                "system_output": null,
                "stack_trace": null,
                "recent_failures": null,
            })).collect();
            shown
        }).collect::<Vec<Value>>(),
    }))
}

fn counts(suite: &Suite) -> Value {
    json!({
        "name": &*suite.name,
        "total_time": suite.seconds(),
        "total_count": suite.cases.len(),
        "success_count": suite.count(CaseStatus::Success),
        "failed_count": suite.count(CaseStatus::Failed),
        "skipped_count": suite.count(CaseStatus::Skipped),
        "error_count": suite.count(CaseStatus::Error),
        "suite_error": suite.suite_error.as_deref(),
    })
}

/// `GET /projects/:id/pipelines/:pipeline_id/variables`
pub async fn variables(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, pipeline) = find(&call, &world)?;
    if !call.viewer.may(project, Right::Variables) {
        return Err(ApiError::Forbidden);
    }
    let variables = world.variables_of(pipeline).into_iter();
    let shown = variables.map(|variable| {
        json!({
            "key": &*variable.key,
            "variable_type": &*variable.variable_type,
            "value": &*variable.value,
            "raw": variable.raw,
        })
    });
    ok(&shown.collect())
}

/// `GET /projects/:id/pipeline_schedules`
pub async fn schedules(call: Call) -> Answer {
    let world = call.state.world.read();
    let wanted = call.choice("scope", &["active", "inactive"])?;
    let wanted = wanted.map(|scope| scope == "active");
    let project = call.reading(&world, Right::Schedules)?;
    let found: Vec<&Schedule> = world
        .schedules_of(project.id)
        .filter(|schedule| wanted.is_none_or(|active| schedule.active == active))
        .collect();
    call.offset_page(&found, true, |one| schedule(&call, &world, one))
}

/// `GET /projects/:id/pipeline_schedules/:schedule_id`
pub async fn one_schedule(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.reading(&world, Right::Schedules)?;
    let found = world
        .schedule(call.number("schedule_id")?)
        .filter(|schedule| schedule.project_id == project.id)
        .ok_or(ApiError::NotFound("404 Pipeline Schedule Not Found"))?;
    let mut shown = schedule(&call, &world, found);
    shown["last_pipeline"] = world.last_pipeline_of(found).map_or(Value::Null, |last| {
        Value::Object(call.view(&world).pipeline_basic(last))
    });
    ok(&shown)
}

fn schedule(call: &Call, world: &World, schedule: &Schedule) -> Value {
    json!({
        "id": schedule.id,
        "description": &*schedule.description,
        "ref": format!("refs/heads/{}", schedule.ref_name),
        "cron": &*schedule.cron,
        "cron_timezone": "UTC",
        "next_run_at": time::milliseconds(world.next_run_of(schedule)),
        "active": schedule.active,
        "created_at": time::milliseconds(schedule.created_at),
        "updated_at": time::milliseconds(schedule.created_at),
        "owner": call.view(world).user_or_null(schedule.owner.as_deref()),
    })
}
