//! Merge requests.

use super::{Answer, ApiError, Call, entities, ok};
use crate::world::MergeRequest;

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
    let found = project
        .merge_requests
        .get(&iid)
        .ok_or(ApiError::NotFound("404 Not found"))?;
    let mut value = entities::merge_request(project, found, call.base_url());
    value["changes_count"] = "1".into();
    value["head_pipeline"] = serde_json::Value::Null;
    ok(&value)
}
