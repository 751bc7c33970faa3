//! The GraphQL calls against a server that answers well, badly, and in part.

mod changes;
mod hostile;
mod jobs;
mod partial;

use serde_json::{Value, json};

use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::testing::{Fake, Reply};

pub(super) const SINCE: UnixSeconds = UnixSeconds(1_767_614_400); // 2026-01-05T12:00:00Z

pub(super) fn pipeline(id: u64) -> Value {
    json!({
        "id": format!("gid://gitlab/Ci::Pipeline/{id}"),
        "iid": (id % 1000).to_string(),
        "ref": "main",
        "type": "branch",
        "source": "push",
        "status": "RUNNING",
        "createdAt": "2026-01-05T12:00:00Z",
        "updatedAt": "2026-01-05T12:01:00Z",
        "startedAt": "2026-01-05T12:00:10Z",
        "finishedAt": null,
        "duration": null,
        "queuedDuration": 10.0,
        "mergeRequest": null,
        "upstream": null,
        "sourceJob": null,
    })
}

pub(super) fn job(id: u64) -> Value {
    json!({
        "id": format!("gid://gitlab/Ci::Build/{id}"),
        "name": format!("job {id}"),
        "stage": {"name": "test"},
        "status": "SUCCESS",
        "retried": false,
        "allowFailure": false,
        "createdAt": "2026-01-05T12:00:00Z",
        "startedAt": "2026-01-05T12:00:10Z",
        "finishedAt": "2026-01-05T12:00:40Z",
        "duration": 30,
        "queuedDuration": 2.5,
        "coverage": 81.5,
        "artifacts": {"nodes": [
            {"fileType": "ARCHIVE", "size": "1000"}, {"fileType": "METADATA", "size": "24"},
            {"fileType": "TRACE", "size": "5000"},
        ]},
        "runner": {"runnerType": "GROUP_TYPE"},
    })
}

pub(super) fn page(nodes: &[Value], next: Option<&str>) -> Value {
    json!({"nodes": nodes, "pageInfo": {"hasNextPage": next.is_some(), "endCursor": next}})
}

pub(super) fn project(id: u64, moved: Value, children: Value) -> Value {
    json!({
        "id": format!("gid://gitlab/Project/{id}"),
        "fullPath": format!("group/p{id}"),
        "archived": false,
        "lastActivityAt": "2026-01-05T11:00:00Z",
        "publicJobs": true,
        "jobsEnabled": true,
        "mergeRequestsEnabled": false,
        "markedForDeletion": false,
        "moved": moved,
        "children": children,
    })
}

pub(super) fn quiet(id: u64) -> Value {
    project(id, page(&[], None), page(&[], None))
}

pub(super) fn data(nodes: &[Value]) -> Value {
    json!({"data": {"projects": {"nodes": nodes}, "queryComplexity": {"score": 1, "limit": 250}}})
}

pub(super) fn reply(value: &Value) -> Reply {
    Reply::json(value.to_string())
}

/// What `project_changes` makes of an answer to a question for projects 1 to 3.
pub(super) async fn changes(reply: Reply) -> Result<Batch<ProjectChanges>, GitLabError> {
    let fake = Fake::script(vec![reply]).await;
    fake.gitlab()
        .project_changes(
            &[ProjectId(1), ProjectId(2), ProjectId(3)],
            Which::MovedSince(SINCE),
            20,
        )
        .await
}

pub(super) fn ids(batch: &Batch<ProjectChanges>) -> Vec<u64> {
    batch.items.iter().map(|item| item.project.id.0).collect()
}

pub(super) fn failed<T>(batch: &Batch<T>) -> Vec<u64> {
    batch.failed.iter().map(|failed| failed.id.0).collect()
}

pub(super) fn jobs_node(id: u64, jobs: Value, bridges: Value) -> Value {
    json!({
        "id": format!("gid://gitlab/Ci::Pipeline/{id}"), "iid": id.to_string(), "ref": "main",
        "status": "SUCCESS", "updatedAt": "2026-01-05T12:01:00Z", "coverage": 81.25,
        "jobs": jobs, "bridges": bridges,
    })
}

pub(super) fn jobs_project(id: u64, moved: Value) -> Value {
    json!({
        "id": format!("gid://gitlab/Project/{id}"), "fullPath": format!("group/p{id}"),
        "moved": moved, "children": page(&[], None),
    })
}

/// A trigger job that started a pipeline.
pub(super) fn bridge_node(id: u64) -> Value {
    let mut node = pipeline(id);
    node["source"] = json!("pipeline");
    node["project"] = json!({"id": "gid://gitlab/Project/77", "fullPath": "other/p"});
    json!({
        "id": format!("gid://gitlab/Ci::Bridge/{id}"), "name": "deploy", "stage": {"name": "release"},
        "status": "SUCCESS", "retried": false, "allowFailure": true,
        "createdAt": "2026-01-05T12:00:00Z", "startedAt": null, "finishedAt": "2026-01-05T12:00:20Z",
        "downstreamPipeline": node,
    })
}

pub(super) async fn jobs(answer: &Value) -> Batch<ProjectJobs> {
    let fake = Fake::script(vec![reply(answer)]).await;
    let ids = [ProjectId(1), ProjectId(2)];
    fake.gitlab()
        .pipeline_jobs(&ids, Which::MovedSince(SINCE), Parts::WHOLE, 5)
        .await
        .unwrap()
}

#[test]
fn other_fields_are_another_variant_and_other_projects_are_not() {
    let asks = |stages: bool, ids: &[u64]| variant(&json!({"ids": ids, "stages": stages}));
    assert_eq!(asks(true, &[1, 2]), asks(true, &[3]));
    assert_ne!(asks(true, &[1]), asks(false, &[1]));
    let page = |after: Option<&str>| variant(&json!({"after": after}));
    assert_ne!(page(None), page(Some("a cursor")));
}
