//! Merge requests.

use serde_json::{Value, json};

use super::entities::merge_status;
use super::{Answer, ApiError, Call, ok};
use crate::access::Right;
use crate::auth::AccessLevel;
use crate::time::milliseconds;
use crate::world::{MergeRequest, Note, Project, Tier, World};

const MISSING: ApiError = ApiError::NotFound("404 Not found");

/// `GET /projects/:id/merge_requests`
pub async fn list(call: Call) -> Answer {
    let world = call.state.world.read();
    let states = ["opened", "closed", "locked", "merged", "all"];
    let state = call.choice("state", &states)?;
    let state = state.filter(|state| *state != "all");
    let iids: Vec<u64> = call
        .list("iids")
        .iter()
        .filter_map(|iid| iid.parse().ok())
        .collect();
    let (after, before) = (call.time("updated_after")?, call.time("updated_before")?);
    let target = call.parameter("target_branch");
    let source = call.parameter("source_branch");
    let by_update = call.parameter("order_by") == Some("updated_at");
    let project = call.reading(&world, Right::MergeRequests)?;
    let mut found: Vec<&MergeRequest> = project
        .merge_requests
        .values()
        .filter(|mr| state.is_none_or(|state| mr.state.as_str() == state))
        .filter(|mr| iids.is_empty() || iids.contains(&mr.iid))
        .filter(|mr| target.is_none_or(|target| *mr.target_branch == *target))
        .filter(|mr| source.is_none_or(|source| *mr.source_branch == *source))
        .filter(|mr| after.is_none_or(|after| mr.updated_at >= after))
        .filter(|mr| before.is_none_or(|before| mr.updated_at <= before))
        .collect();
    found.sort_by_key(|mr| {
        let at = if by_update {
            mr.updated_at
        } else {
            mr.created_at
        };
        (at, mr.id)
    });
    if call.parameter("sort") != Some("asc") {
        found.reverse();
    }
    let view = call.view(&world);
    let answer = call.offset_page(&found, true, |mr| view.merge_request(project, mr));
    if !by_update && after.or(before).is_some() {
        // The index is one of updates: what it finds is sorted.
        return super::having_read(answer, found.len() as u64);
    }
    answer
}

/// The merge request that a call is about, and its project.
fn asked<'w>(call: &Call, world: &'w World) -> Result<(&'w Project, &'w MergeRequest), ApiError> {
    let project = call.project(world)?;
    call.granted(world, project, Right::MergeRequests)?;
    let found = project
        .merge_requests
        .get(&call.number("merge_request_iid")?);
    let found = found.ok_or(MISSING)?;
    if !call.viewer.may(project, Right::MergeRequests) {
        return Err(ApiError::Forbidden);
    }
    Ok((project, found))
}

/// `GET /projects/:id/merge_requests/:merge_request_iid`
pub async fn show(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, found) = asked(&call, &world)?;
    let mut value = call.view(&world).merge_request(project, found);
    let files = found.review.files;
    value["changes_count"] = (files > 0).then(|| files.to_string()).into();
    ok(&value)
}

/// `GET /projects/:id/merge_requests/:merge_request_iid/notes`: who asks for the order of their making
/// gets that of their ids.
pub async fn notes(call: Call) -> Answer {
    call.signed_in()?;
    let world = call.state.world.read();
    let found = match asked(&call, &world) {
        Err(ApiError::Forbidden) => return Err(MISSING),
        found => found?.1,
    };
    let mut notes: Vec<&Note> = found.review.notes.iter().collect();
    let by_update = call.parameter("order_by") == Some("updated_at");
    notes.sort_by_key(|note| {
        let updated = note.details.updated_at.unwrap_or(note.created_at);
        (if by_update { updated } else { 0 }, note.id)
    });
    if call.parameter("sort") != Some("asc") {
        notes.reverse();
    }
    let view = call.view(&world);
    call.offset_page(&notes, true, |note| view.note(found, note))
}

/// `GET /projects/:id/merge_requests/:merge_request_iid/approvals`
pub async fn approvals(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, found) = asked(&call, &world)?;
    let view = call.view(&world);
    let approved_by: Vec<Value> = found
        .review
        .approved_by
        .iter()
        .map(|(name, at)| {
            json!({
                "user": view.user(Some(name)),
                "approved_at": milliseconds(*at),
            })
        })
        .collect();
    let token = call.viewer.token.as_ref();
    let me = token.and_then(|token| world.account_by_id(token.user_id));
    let has_approved = me.is_some_and(|me| {
        let mut approvals = found.review.approved_by.iter();
        approvals.any(|(name, _)| *name == me.username)
    });
    // Authors approve their own only where the edition has no rule against it.
    let own = me.is_some_and(|me| me.username == found.review.author);
    let refused = has_approved || world.enterprise && own;
    let can_approve = !refused
        && (call.viewer.is_admin() || call.viewer.role(project.id) >= AccessLevel::Developer);
    let mut shown = json!({
        "user_has_approved": has_approved,
        "user_can_approve": can_approve,
        "approved": world.enterprise || !approved_by.is_empty(),
        "approved_by": approved_by,
    });
    if world.enterprise {
        let licensed = world.tier_of(project) >= Tier::Premium;
        add_rules(found, licensed, &mut shown);
    }
    ok(&shown)
}

/// What the Enterprise Edition adds.
fn add_rules(found: &MergeRequest, licensed: bool, shown: &mut Value) {
    let more = json!({
        "id": found.id,
        "iid": found.iid,
        "project_id": found.project_id,
        "title": &*found.title,
        "description": found.details.description.as_deref(),
        "state": found.state.as_str(),
        "created_at": milliseconds(found.created_at),
        "updated_at": milliseconds(found.updated_at),
        "merge_status": merge_status(found),
        "approvals_required": 0,
        "approvals_left": 0,
        "require_password_to_approve": false,
        "suggested_approvers": [],
        "approvers": [],
        "approver_groups": [],
        "approval_rules_left": [],
        "has_approval_rules": false,
        "merge_request_approvers_available": licensed,
        "multiple_approval_rules_available": licensed,
        "invalid_approvers_rules": [],
    });
    if let (Some(fields), Value::Object(more)) = (shown.as_object_mut(), more) {
        fields.extend(more);
    }
}

/// `GET /projects/:id/merge_requests/:merge_request_iid/reviewers`
pub async fn reviewers(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, found) = asked(&call, &world)?;
    let view = call.view(&world);
    call.offset_page(&found.review.reviewers, true, |one| {
        json!({
            "user": view.user(Some(&one.username)),
            "state": one.state.as_str(),
            "created_at": milliseconds(one.asked_at),
        })
    })
}
