//! The GraphQL calls against a server that answers well, badly, and in part.

use serde_json::{Value, json};

use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::model::{
    JobId, Known, PipelineId, PipelineMergeRequest, RefKind, Role, RunnerType, Status, Upstream,
};
use crate::gitlab::testing::{Fake, Reply};

const SINCE: UnixSeconds = UnixSeconds(1_767_614_400); // 2026-01-05T12:00:00Z

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
        "createdAt": "2026-01-05T12:00:00Z",
        "startedAt": "2026-01-05T12:00:10Z",
        "finishedAt": "2026-01-05T12:00:40Z",
        "duration": 30,
        "queuedDuration": 2.5,
        "coverage": 81.5,
        "artifacts": {"nodes": [{"size": "1000"}, {"size": "24"}]},
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
        "maxAccessLevel": {"integerValue": 40},
        "moved": moved,
        "children": children,
    })
}

fn quiet(id: u64) -> Value {
    project(id, page(&[], None), page(&[], None))
}

pub(super) fn data(nodes: &[Value]) -> Value {
    json!({"data": {"projects": {"nodes": nodes}, "queryComplexity": {"score": 1, "limit": 250}}})
}

fn reply(value: &Value) -> Reply {
    Reply::json(value.to_string())
}

/// What `project_changes` makes of an answer to a question for projects 1 to 3.
pub(super) async fn changes(reply: Reply) -> Result<Batch<ProjectChanges>, GitLabError> {
    let fake = Fake::script(vec![reply]).await;
    fake.gitlab()
        .project_changes(&[ProjectId(1), ProjectId(2), ProjectId(3)], SINCE, 20)
        .await
}

fn ids(batch: &Batch<ProjectChanges>) -> Vec<u64> {
    batch.items.iter().map(|item| item.project.id.0).collect()
}

fn failed<T>(batch: &Batch<T>) -> Vec<u64> {
    batch.failed.iter().map(|failed| failed.id.0).collect()
}

#[tokio::test]
async fn the_change_feed_reads_everything_it_asks_for() {
    let mut merge_request = pipeline(11);
    merge_request["ref"] = json!("refs/merge-requests/42/merge");
    merge_request["type"] = json!("merged_result");
    merge_request["source"] = json!("merge_request_event");
    merge_request["mergeRequest"] =
        json!({"iid": "42", "targetBranch": "main", "sourceBranch": "topic"});
    let mut tag = pipeline(10);
    (tag["ref"], tag["type"]) = (json!("v1"), json!("tag"));
    (tag["status"], tag["duration"]) = (json!("SUCCESS"), json!(75));
    tag["finishedAt"] = json!("2026-01-05T13:01:25+01:00");
    let mut child = pipeline(12);
    child["source"] = json!("parent_pipeline");
    child["upstream"] = json!({
        "id": "gid://gitlab/Ci::Pipeline/10", "ref": "v1", "project": {"fullPath": "group/p1"}
    });
    child["sourceJob"] = json!({"name": "trigger"});
    let answer = data(&[project(
        1,
        page(&[merge_request, tag], Some("cursor")),
        page(&[child], None),
    )]);

    let fake = Fake::script(vec![reply(&answer)]).await;
    let batch = fake
        .gitlab()
        .project_changes(&[ProjectId(1), ProjectId(2)], SINCE, 20)
        .await
        .unwrap();

    let request = &fake.seen()[0];
    assert_eq!(
        (&*request.method, &*request.target),
        ("POST", "/api/graphql")
    );
    assert_eq!(
        request.variables(),
        json!({
            "ids": ["gid://gitlab/Project/1", "gid://gitlab/Project/2"],
            "projects": 2, "since": "2026-01-05T12:00:00Z", "pipelines": 20,
            "moved": true, "children": true,
        }),
        "what is not asked for is left out"
    );
    assert_eq!(ids(&batch), [1], "project 2 is gone");
    assert!(batch.failed.is_empty());
    let item = &batch.items[0];
    assert_eq!(&*item.project.full_path, "group/p1");
    assert_eq!(item.project.role, Known::Value(Role(40)));
    assert_eq!(item.project.default_branch, Known::Unread);
    assert_eq!(item.pipelines.next.as_deref(), Some("cursor"));
    let [mr, tag] = item.pipelines.items.as_slice() else {
        panic!("{item:?}")
    };
    assert_eq!(
        (mr.id, mr.iid, mr.kind),
        (PipelineId(11), 11, RefKind::MergeRequest)
    );
    assert_eq!(
        mr.merge_request,
        Known::Value(PipelineMergeRequest {
            iid: 42,
            target_branch: "main".into(),
            source_branch: "topic".into()
        })
    );
    assert_eq!((tag.kind, &tag.status), (RefKind::Tag, &Status::Success));
    assert_eq!(tag.finished_at, Some(UnixSeconds(SINCE.0 + 85)));
    assert_eq!(
        (tag.duration, tag.queued_duration),
        (Some(75.0), Some(10.0))
    );
    assert_eq!(
        (tag.merge_request.clone(), tag.upstream.clone()),
        (Known::Nothing, Known::Nothing)
    );
    assert_eq!(
        item.children.items[0].upstream,
        Known::Value(Upstream {
            pipeline: PipelineId(10),
            project: "group/p1".into(),
            git_ref: "v1".into(),
            merge_request: Known::Nothing,
            bridge: "trigger".into()
        })
    );
}

#[tokio::test]
async fn nulls_say_whether_nothing_is_there_or_it_is_hidden() {
    let mut mr = pipeline(1);
    mr["type"] = json!("merge_train");
    let mut child = pipeline(2);
    child["source"] = json!("parent_pipeline");
    let mut odd = pipeline(3);
    (odd["type"], odd["ref"]) = (json!("quantum"), json!("refs/merge-requests/7/head"));
    (odd["source"], odd["status"]) = (Value::Null, json!("HIBERNATING"));
    let mut bare = project(1, page(&[mr, child, odd], None), Value::Null);
    (bare["archived"], bare["lastActivityAt"]) = (Value::Null, Value::Null);
    bare["maxAccessLevel"]["integerValue"] = Value::Null;
    let batch = changes(reply(&data(&[bare]))).await.unwrap();
    let item = &batch.items[0];
    assert_eq!(item.project.role, Known::Unread);
    assert_eq!(item.children, Page::default());
    let [mr, child, odd] = item.pipelines.items.as_slice() else {
        panic!("{item:?}")
    };
    assert_eq!(mr.merge_request, Known::Hidden);
    assert_eq!(child.upstream, Known::Hidden);
    assert_eq!(odd.kind, RefKind::MergeRequest);
    assert_eq!(
        (&*odd.source, odd.status.as_str()),
        ("unknown", "hibernating")
    );
}

#[tokio::test]
async fn one_bad_pipeline_is_left_out_and_named() {
    for (field, value, want) in [
        ("iid", json!(7), "iid: invalid type"),
        ("iid", json!("seven"), "iid: not a number"),
        ("iid", json!("-7"), "iid: not a number"),
        (
            "id",
            json!("gid://gitlab/Ci::Pipeline/x"),
            "id: not a global id",
        ),
        (
            "id",
            json!("99999999999999999999999"),
            "id: not a global id",
        ),
        ("createdAt", json!("yesterday"), "createdAt: not a time"),
        ("status", Value::Null, "status: invalid type"),
        ("updatedAt", json!({}), "updatedAt: invalid type"),
        ("duration", json!("long"), "duration: invalid type"),
        ("duration", json!(1.5), "duration: invalid type"),
        ("mergeRequest", json!([1]), "mergeRequest"),
    ] {
        let mut bad = pipeline(8);
        bad[field] = value.clone();
        let moved = page(&[pipeline(9), bad, pipeline(7)], None);
        let answer = data(&[project(1, moved, page(&[], None)), quiet(2)]);
        let batch = changes(reply(&answer)).await.unwrap();
        assert_eq!(ids(&batch), [1, 2], "{field}");
        assert!(batch.failed.is_empty());
        let pipelines = &batch.items[0].pipelines;
        let kept: Vec<u64> = pipelines
            .items
            .iter()
            .map(|pipeline| pipeline.id.0)
            .collect();
        assert_eq!(kept, [9, 7], "{field} {value}");
        let [message] = pipelines.skipped.as_slice() else {
            panic!("{:?}", pipelines.skipped)
        };
        assert!(message.contains("moved.nodes[1]"), "{message}");
        assert!(message.contains(want), "{message}");
    }
}

#[tokio::test]
async fn numbers_without_sense_become_nothing() {
    let mut odd = pipeline(1);
    odd["duration"] = json!(-5);
    odd["queuedDuration"] = json!(-0.5);
    let batch = changes(reply(&data(&[project(1, page(&[odd], None), Value::Null)])))
        .await
        .unwrap();
    let pipeline = &batch.items[0].pipelines.items[0];
    assert_eq!((pipeline.duration, pipeline.queued_duration), (None, None));
}

#[tokio::test]
async fn a_number_beyond_a_float_costs_no_more_than_itself() {
    let answer = data(&[project(
        1,
        page(&[pipeline(1), pipeline(2)], None),
        Value::Null,
    )]);
    let text = answer
        .to_string()
        .replacen("\"queuedDuration\":10.0", "\"queuedDuration\":1e999", 1)
        .replacen("\"ref\":\"main\"", "\"ref\":\"release-1e999\"", 1);
    let batch = changes(Reply::json(text)).await.unwrap();
    let pipelines = &batch.items[0].pipelines;
    assert_eq!(pipelines.items.len(), 2);
    assert_eq!(pipelines.items[0].queued_duration, None);
    assert_eq!(&*pipelines.items[0].git_ref, "release-1e999");
}

#[tokio::test]
async fn a_name_that_is_not_utf8_costs_its_pipeline() {
    let answer = data(&[project(
        1,
        page(&[pipeline(1), pipeline(2)], None),
        Value::Null,
    )]);
    let text = answer.to_string();
    let at = text.find("main").unwrap();
    let mut bytes = text.into_bytes();
    bytes[at] = 0xff;
    let batch = changes(Reply::json(bytes)).await.unwrap();
    let pipelines = &batch.items[0].pipelines;
    assert_eq!(pipelines.items.len(), 1);
    assert!(
        pipelines.skipped[0].contains("not UTF-8"),
        "{:?}",
        pipelines.skipped
    );
}

#[tokio::test]
async fn strange_names_come_through_unchanged() {
    let names = [
        "feature/ünïcode-🚀".to_owned(),
        "quote\"back\\slash\nnewline\ttab".to_owned(),
        "x".repeat(10_000),
        "\u{0}\u{7f}\u{fffd}".to_owned(),
        String::new(),
    ];
    let pipelines: Vec<Value> = names
        .iter()
        .zip(1..)
        .map(|(name, id)| {
            let mut pipeline = pipeline(id);
            pipeline["ref"] = json!(name);
            pipeline
        })
        .collect();
    let answer = data(&[project(1, page(&pipelines, None), Value::Null)]);
    let batch = changes(reply(&answer)).await.unwrap();
    let read: Vec<&str> = batch.items[0]
        .pipelines
        .items
        .iter()
        .map(|pipeline| &*pipeline.git_ref)
        .collect();
    assert_eq!(read, names.iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bad_project_has_failed_and_is_not_gone() {
    let mut bad = quiet(2);
    bad["fullPath"] = Value::Null;
    let batch = changes(reply(&data(&[quiet(1), bad.clone()])))
        .await
        .unwrap();
    assert_eq!(
        (ids(&batch), failed(&batch)),
        (vec![1], vec![2]),
        "and 3 is gone"
    );
    assert!(
        batch.failed[0].why.contains("fullPath"),
        "{:?}",
        batch.failed
    );

    bad["id"] = Value::Null;
    let batch = changes(reply(&data(&[quiet(1), bad]))).await.unwrap();
    assert_eq!(ids(&batch), [1]);
    assert_eq!(
        failed(&batch),
        [2, 3],
        "one of these is gone, nobody knows which"
    );
}

#[tokio::test]
async fn what_the_server_could_not_give_fails_only_its_project() {
    let mut answer = data(&[quiet(1), quiet(2), quiet(3)]);
    answer["data"]["projects"]["nodes"][1]["moved"] = Value::Null;
    answer["errors"] = json!([{
        "message": "Timeout on Project.pipelines",
        "path": ["projects", "nodes", 1, "moved"],
    }]);
    let batch = changes(reply(&answer)).await.unwrap();
    assert_eq!(ids(&batch), [1, 3], "the good half is kept");
    assert_eq!(failed(&batch), [2], "a time-out is not an empty list");
    assert!(
        batch.failed[0].why.contains("Timeout on"),
        "{:?}",
        batch.failed
    );
}

#[tokio::test]
async fn what_the_token_may_not_see_is_null_and_no_failure() {
    let mut answer = data(&[project(1, page(&[pipeline(5)], None), Value::Null)]);
    answer["errors"] = json!([{
        "message": "The resource that you are attempting to access does not exist or you don't have permission to perform this action",
        "path": ["projects", "nodes", 0, "moved", "nodes", 0, "mergeRequest"],
    }]);
    let batch = changes(reply(&answer)).await.unwrap();
    assert_eq!((ids(&batch), failed(&batch)), (vec![1], vec![]));
}

#[tokio::test]
async fn an_error_that_names_no_project_fails_the_query() {
    for error in [
        json!({"message": "Internal server error"}),
        json!({"message": "Timeout", "path": ["projects"]}),
        json!({"path": ["queryComplexity"]}),
        json!("odd"),
    ] {
        let mut answer = data(&[quiet(1)]);
        answer["errors"] = json!([error]);
        let error = changes(reply(&answer)).await.unwrap_err();
        assert_eq!(error.kind(), "graphql");
        assert!(
            error.to_string().starts_with("GraphQL ProjectChanges: "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let depth = "Query has depth of 21, which exceeds max depth of 20";
    for (status, body, kind, heavy, unavailable) in [
        (
            200,
            json!({"errors": [{"message":
                "Query has complexity of 301, which exceeds max complexity of 250"}]}),
            "graphql_complexity",
            true,
            false,
        ),
        (
            200,
            json!({"errors": [{"message": "Field 'x' doesn't exist on type 'Project'",
                "extensions": {"code": "undefinedField"}}]}),
            "graphql_schema",
            false,
            true,
        ),
        (
            200,
            json!({"errors": [{"message": depth}]}),
            "graphql",
            false,
            true,
        ),
        (200, json!({}), "decode", false, true),
        (200, json!({"data": null}), "decode", false, true),
        (
            503,
            json!({"errors": [{"message":
                "Request timed out. Please try a less complex query or a smaller set of records."}]}),
            "graphql_timeout",
            true,
            false,
        ),
        (
            401,
            json!({"errors": [{"message": "Invalid token"}]}),
            "auth",
            false,
            // REST would refuse the token alike.
            false,
        ),
        (
            403,
            json!({"errors": [{"message": "API not accessible for user"}]}),
            "forbidden",
            false,
            true,
        ),
        (
            404,
            json!({"error": "404 Not Found"}),
            "not_found",
            false,
            true,
        ),
        (
            422,
            json!({"errors": [{"message": "Query too large"}]}),
            "refused",
            false,
            true,
        ),
    ] {
        let error = changes(Reply::status(status, body.to_string()))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{body}");
        assert_eq!(error.batch_too_heavy(), heavy, "{body}");
        assert_eq!(error.graphql_unavailable(), unavailable, "{body}");
    }
    let error = changes(Reply::html(200)).await.unwrap_err();
    assert!(
        error.graphql_unavailable(),
        "a login page in front of GraphQL"
    );
}

#[tokio::test]
async fn answers_that_are_none_are_errors_and_never_panics() {
    let good = data(&[project(1, page(&[pipeline(5)], None), Value::Null)]).to_string();
    for body in [
        String::new(),
        "null".into(),
        "[]".into(),
        "7".into(),
        "\"text\"".into(),
        "{\"data\":7}".into(),
        "{\"data\":{\"projects\":[]}}".into(),
        "{\"data\":{\"projects\":{\"nodes\":{}}}}".into(),
        "[".repeat(100_000),
        format!("{{\"data\":{}", "{\"a\":".repeat(200)),
    ] {
        let error = changes(Reply::json(body.clone())).await.unwrap_err();
        assert_eq!(error.kind(), "decode", "{}", &body[..body.len().min(50)]);
    }
    for end in (0..good.len()).step_by(17) {
        let error = changes(Reply::json(&good[..end])).await.unwrap_err();
        assert_eq!(error.kind(), "decode");
    }
}

#[tokio::test]
async fn null_in_any_place_is_never_a_panic() {
    let mut mr = pipeline(1);
    mr["mergeRequest"] = json!({"iid": "42", "targetBranch": "a", "sourceBranch": "b"});
    mr["upstream"] =
        json!({"id": "gid://gitlab/Ci::Pipeline/1", "ref": "a", "project": {"fullPath": "x"}});
    let answer = data(&[project(1, page(&[mr], None), page(&[pipeline(2)], None))]);
    let mut pointers = Vec::new();
    collect(&answer, String::new(), &mut pointers);
    assert!(pointers.len() > 40);
    for pointer in pointers {
        for value in [
            Value::Null,
            json!(-1),
            json!("x"),
            json!([]),
            json!({}),
            json!(1e300),
        ] {
            let mut broken = answer.clone();
            *broken.pointer_mut(&pointer).unwrap() = value;
            let body = broken.to_string();
            // Good, in part or an error, whatever: it must end.
            let _ = read::<queries::project_changes::ResponseData>(body.as_bytes());
            let _ = changes_of(&body);
        }
    }
}

fn collect(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                collect(value, format!("{at}/{key}"), pointers);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{at}/{index}"), pointers);
            }
        }
        _ => {}
    }
    if !at.is_empty() {
        pointers.push(at);
    }
}

fn changes_of(body: &str) -> Option<Batch<ProjectChanges>> {
    let partial = read::<queries::project_changes::ResponseData>(body.as_bytes()).ok()?;
    changes::batch(&[ProjectId(1)], partial).ok()
}

#[tokio::test]
async fn more_pages_are_asked_for_by_cursor_and_kind() {
    let answer = data(&[project(1, Value::Null, page(&[pipeline(5)], Some("c2")))]);
    let fake = Fake::script(vec![reply(&answer), reply(&data(&[]))]).await;
    let gitlab = fake.gitlab();
    let page = gitlab
        .more_pipelines(ProjectId(1), SINCE, true, "c1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (1, Some("c2")));
    let variables = fake.seen()[0].variables();
    assert_eq!(variables["childrenAfter"], "c1");
    assert_eq!(
        (&variables["moved"], &variables["children"]),
        (&json!(false), &json!(true))
    );
    let gone = gitlab
        .more_pipelines(ProjectId(1), SINCE, false, "c1")
        .await
        .unwrap();
    assert_eq!(gone, None);
    assert_eq!(fake.seen()[1].variables()["movedAfter"], "c1");
}

pub(super) fn jobs_node(id: u64, jobs: Value, downstream: Value) -> Value {
    json!({
        "id": format!("gid://gitlab/Ci::Pipeline/{id}"), "iid": id.to_string(), "ref": "main",
        "status": "SUCCESS", "updatedAt": "2026-01-05T12:01:00Z", "coverage": 81.25,
        "jobs": jobs, "downstream": downstream,
    })
}

pub(super) fn jobs_project(id: u64, moved: Value) -> Value {
    json!({
        "id": format!("gid://gitlab/Project/{id}"), "fullPath": format!("group/p{id}"),
        "moved": moved, "children": page(&[], None),
    })
}

pub(super) fn downstream_node(id: u64) -> Value {
    let mut node = pipeline(id);
    node["source"] = json!("pipeline");
    node["project"] = json!({"id": "gid://gitlab/Project/77", "fullPath": "other/p"});
    node["sourceJob"] = json!({"name": "deploy"});
    node
}

pub(super) async fn jobs(answer: &Value) -> Batch<ProjectJobs> {
    let fake = Fake::script(vec![reply(answer)]).await;
    let ids = [ProjectId(1), ProjectId(2)];
    fake.gitlab()
        .pipeline_jobs(&ids, Which::MovedSince(SINCE), 5)
        .await
        .unwrap()
}

#[tokio::test]
async fn jobs_and_downstream_pipelines_are_read() {
    let mut failed = job(2);
    (failed["status"], failed["retried"]) = (json!("FAILED"), json!(true));
    (failed["runner"], failed["artifacts"]) = (Value::Null, json!({"nodes": []}));
    let mut waiting = job(3);
    (waiting["status"], waiting["startedAt"]) = (json!("CREATED"), Value::Null);
    (waiting["runner"], waiting["retried"]) = (Value::Null, Value::Null);
    (waiting["duration"], waiting["coverage"]) = (Value::Null, Value::Null);
    let node = jobs_node(
        10,
        page(&[failed, waiting, job(1)], None),
        page(&[downstream_node(50), Value::Null], None),
    );
    let batch = jobs(&data(&[jobs_project(1, page(&[node], Some("more")))])).await;
    let item = &batch.items[0];
    assert_eq!(
        (item.id, item.pipelines.next.as_deref()),
        (ProjectId(1), Some("more"))
    );
    let pipeline = &item.pipelines.items[0];
    assert_eq!((pipeline.id, pipeline.iid), (PipelineId(10), 10));
    assert_eq!(
        (&pipeline.status, pipeline.coverage),
        (&Status::Success, Some(81.25))
    );
    let [failed, waiting, done] = pipeline.jobs.items.as_slice() else {
        panic!("{pipeline:?}")
    };
    assert_eq!((failed.id, failed.retried), (JobId(2), Known::Value(true)));
    assert_eq!(failed.failure_reason, Known::Unread);
    assert_eq!(
        failed.runner_type,
        Known::Hidden,
        "it ran, so somebody ran it"
    );
    assert_eq!(failed.artifact_bytes, None);
    assert_eq!(waiting.runner_type, Known::Nothing);
    assert_eq!((waiting.duration, waiting.retried), (None, Known::Unread));
    assert_eq!((&*done.name, &*done.stage), ("job 1", "test"));
    assert_eq!(
        (done.duration, done.queued_duration),
        (Some(30.0), Some(2.5))
    );
    assert_eq!(done.runner_type, Known::Value(RunnerType::Group));
    assert_eq!(done.artifact_bytes, Some(1024));
    assert_eq!(done.failure_reason, Known::Nothing);

    let [readable, hidden] = pipeline.downstream.items.as_slice() else {
        panic!("{pipeline:?}")
    };
    let target = readable.target.as_ref().unwrap();
    assert_eq!(
        (&*readable.bridge, target.project_id),
        ("deploy", ProjectId(77))
    );
    assert_eq!(
        target.pipeline.upstream,
        Known::Value(Upstream {
            pipeline: PipelineId(10),
            project: "group/p1".into(),
            git_ref: "main".into(),
            merge_request: Known::Unread,
            bridge: "deploy".into()
        })
    );
    assert_eq!((&*hidden.bridge, &hidden.target), ("", &None));
}

#[tokio::test]
async fn bad_jobs_artifacts_and_downstream_pipelines_cost_only_themselves() {
    let mut bad_job = job(2);
    bad_job["createdAt"] = Value::Null;
    let mut bad_id = job(3);
    bad_id["id"] = Value::Null;
    let mut bad_artifact = job(4);
    bad_artifact["artifacts"]["nodes"][0]["size"] = json!({"bytes": 1});
    let mut bad_downstream = downstream_node(50);
    bad_downstream["iid"] = Value::Null;
    let node = jobs_node(
        10,
        page(&[bad_job, bad_id, bad_artifact, job(1)], None),
        page(&[bad_downstream, downstream_node(51)], None),
    );
    let batch = jobs(&data(&[jobs_project(
        1,
        page(&[node, jobs_node(9, Value::Null, Value::Null)], None),
    )]))
    .await;
    let pipelines = &batch.items[0].pipelines;
    assert_eq!((pipelines.items.len(), pipelines.skipped.len()), (2, 0));
    let first = &pipelines.items[0];
    let kept: Vec<u64> = first.jobs.items.iter().map(|job| job.id.0).collect();
    assert_eq!(kept, [4, 1]);
    assert_eq!(first.jobs.items[0].artifact_bytes, Some(24));
    assert_eq!(first.jobs.skipped.len(), 3, "{:?}", first.jobs.skipped);
    assert_eq!(
        first.downstream.items.len(),
        1,
        "a bad one is not a hidden one"
    );
    assert!(first.downstream.skipped[0].contains("downstream.nodes[0]"));
}

#[tokio::test]
async fn the_two_kinds_of_jobs_queries_ask_for_what_they_need() {
    let fake = Fake::script(vec![reply(&data(&[]))]).await;
    let gitlab = fake.gitlab();
    let ids = [ProjectId(1)];
    gitlab
        .pipeline_jobs(&ids, Which::MovedSince(SINCE), 99)
        .await
        .unwrap();
    gitlab.pipeline_jobs(&ids, Which::Running, 5).await.unwrap();
    let (moved, running) = (fake.seen()[0].variables(), fake.seen()[1].variables());
    assert_eq!(moved["since"], "2026-01-05T12:00:00Z");
    assert_eq!(
        (&moved["status"], &moved["pipelines"]),
        (&Value::Null, &json!(10))
    );
    assert_eq!(
        (&running["since"], &running["status"]),
        (&Value::Null, &json!("RUNNING"))
    );
}

#[tokio::test]
async fn all_pages_of_one_pipelines_jobs_are_read() {
    let one = |node: Value| {
        let mut project = jobs_project(1, Value::Null);
        project["pipeline"] = node;
        reply(&data(&[project]))
    };
    let fake = Fake::script(vec![
        one(jobs_node(
            10,
            page(&[job(3)], Some("j1")),
            page(&[downstream_node(50)], None),
        )),
        one(jobs_node(10, page(&[job(2)], Some("j2")), Value::Null)),
        one(jobs_node(10, page(&[job(1)], Some("j2")), Value::Null)),
        one(Value::Null),
    ])
    .await;
    let gitlab = fake.gitlab();
    let all = gitlab.jobs_of(ProjectId(1), 10).await.unwrap().unwrap();
    let ids: Vec<u64> = all.jobs.items.iter().map(|job| job.id.0).collect();
    assert_eq!(ids, [3, 2, 1], "and a cursor that repeats ends it");
    assert_eq!((all.jobs.next, all.downstream.items.len()), (None, 1));
    let second = fake.seen()[1].variables();
    assert_eq!(
        (&second["jobsAfter"], &second["downstream"]),
        (&json!("j1"), &json!(false))
    );
    assert_eq!(gitlab.jobs_of(ProjectId(1), 10).await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_project_is_an_error_where_one_was_asked_for() {
    let mut answer = data(&[jobs_project(1, Value::Null)]);
    answer["errors"] = json!([{"message": "Timeout on Pipeline.jobs",
        "path": ["projects", "nodes", 0, "pipeline", "jobs"]}]);
    let fake = Fake::script(vec![reply(&answer)]).await;
    let error = fake.gitlab().jobs_of(ProjectId(1), 10).await.unwrap_err();
    assert_eq!(error.kind(), "graphql");
}

#[tokio::test]
async fn merge_requests_are_read_by_number() {
    let answer = data(&[
        json!({"id": "gid://gitlab/Project/1", "mergeRequests": {"nodes": [
            {"iid": "42", "state": "merged", "targetBranch": "main", "sourceBranch": "topic",
             "updatedAt": "2026-01-05T12:00:00Z"},
            {"iid": "x", "state": "opened", "targetBranch": "main", "sourceBranch": "topic",
             "updatedAt": "2026-01-05T12:00:00Z"},
        ]}}),
    ]);
    let fake = Fake::script(vec![reply(&answer)]).await;
    let page = fake
        .gitlab()
        .merge_request_states(ProjectId(1), &[42, 43])
        .await
        .unwrap()
        .unwrap();
    assert_eq!((page.items[0].iid, &*page.items[0].state), (42, "merged"));
    assert_eq!(page.skipped.len(), 1);
    assert_eq!(fake.seen()[0].variables()["iids"], json!(["42", "43"]));
}
