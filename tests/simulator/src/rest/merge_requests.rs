//! Merge requests.

use serde_json::{Value, json};

use super::{Answer, ApiError, Call, entities, ok};
use crate::time::milliseconds;
use crate::world::{MergeRequest, Note, Project, World};

/// `GET /projects/:id/merge_requests`
pub async fn list(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.ci_project(&world)?;
    let state = call.parameter("state").filter(|state| *state != "all");
    let iids: Vec<u64> = call
        .list("iids")
        .iter()
        .filter_map(|iid| iid.parse().ok())
        .collect();
    let (after, before) = (call.time("updated_after")?, call.time("updated_before")?);
    let target = call.parameter("target_branch");
    let source = call.parameter("source_branch");
    let by_update = call.parameter("order_by") == Some("updated_at");
    let mut found: Vec<MergeRequest> = project
        .merge_requests
        .values()
        .filter(|mr| state.is_none_or(|state| mr.state.as_str() == state))
        .filter(|mr| iids.is_empty() || iids.contains(&mr.iid))
        .filter(|mr| target.is_none_or(|target| *mr.target_branch == *target))
        .filter(|mr| source.is_none_or(|source| *mr.source_branch == *source))
        .filter(|mr| after.is_none_or(|after| mr.updated_at >= after))
        .filter(|mr| before.is_none_or(|before| mr.updated_at <= before))
        .cloned()
        .collect();
    found.sort_by_key(|mr| {
        (
            if by_update {
                mr.updated_at
            } else {
                mr.created_at
            },
            mr.id,
        )
    });
    if call.parameter("sort") != Some("asc") {
        found.reverse();
    }
    let project = project.clone();
    drop(world);
    call.offset_page(&found, true, |mr| {
        entities::merge_request(&project, mr, call.base_url())
    })
}

/// `GET /projects/:id/merge_requests/:merge_request_iid`
pub async fn show(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.ci_project(&world)?;
    let iid = call.number("merge_request_iid")?;
    let found = one(project, iid)?;
    let mut value = entities::merge_request(project, found, call.base_url());
    value["changes_count"] = "1".into();
    value["head_pipeline"] = Value::Null;
    ok(&value)
}

fn one(project: &Project, iid: u64) -> Result<&MergeRequest, ApiError> {
    let found = project.merge_requests.get(&iid);
    found.ok_or(ApiError::NotFound("404 Not found"))
}

/// The merge request that a call is about.
fn asked<'w>(call: &Call, world: &'w World) -> Result<&'w MergeRequest, ApiError> {
    one(call.ci_project(world)?, call.number("merge_request_iid")?)
}

/// `GET /projects/:id/merge_requests/:merge_request_iid/notes`
pub async fn notes(call: Call) -> Answer {
    let world = call.state.world.read();
    let found = asked(&call, &world)?.clone();
    drop(world);
    let mut notes: Vec<Note> = found.review.notes.clone();
    if call.parameter("sort") != Some("asc") {
        notes.reverse();
    }
    call.offset_page(&notes, true, |note| {
        entities::note(&found, note, call.base_url())
    })
}

/// `GET /projects/:id/merge_requests/:merge_request_iid/approvals`
pub async fn approvals(call: Call) -> Answer {
    let world = call.state.world.read();
    let found = asked(&call, &world)?;
    let approved_by = found.review.approved_by.iter().map(|(name, at)| {
        json!({
            "user": entities::member(name, call.base_url()),
            "approved_at": milliseconds(*at),
        })
    });
    ok(&json!({
        "id": found.id,
        "iid": found.iid,
        "project_id": found.project_id,
        "title": &*found.title,
        "description": "",
        "state": found.state.as_str(),
        "created_at": milliseconds(found.created_at),
        "updated_at": milliseconds(found.updated_at),
        "merge_status": "can_be_merged",
        "approved": true,
        "approvals_required": 0,
        "approvals_left": 0,
        "require_password_to_approve": false,
        "approved_by": approved_by.collect::<Vec<Value>>(),
        "suggested_approvers": [],
        "approvers": [],
        "approver_groups": [],
        "user_has_approved": false,
        "user_can_approve": false,
        "approval_rules_left": [],
        "has_approval_rules": false,
        "merge_request_approvers_available": false,
        "multiple_approval_rules_available": false,
        "invalid_approvers_rules": [],
    }))
}

/// `GET /projects/:id/merge_requests/:merge_request_iid/reviewers`
pub async fn reviewers(call: Call) -> Answer {
    let world = call.state.world.read();
    let found = asked(&call, &world)?.review.reviewers.clone();
    drop(world);
    call.offset_page(&found, true, |one| {
        json!({
            "user": entities::member(&one.username, call.base_url()),
            "state": one.state.as_str(),
            "created_at": milliseconds(one.asked_at),
        })
    })
}
