//! The REST calls against a server that answers well and badly.

mod hostile;
mod samples;

use serde_json::{Value, json};

use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Known, RefKind, Role, RunnerType, Status};
use crate::gitlab::testing::{Fake, Reply};
use crate::types::{JobId, PipelineId, ProjectId};

const PROJECT: ProjectId = ProjectId(1);

fn pipeline(id: u64) -> Value {
    json!({
        "id": id, "iid": id % 1000, "project_id": 1, "ref": "main", "status": "success",
        "source": "push", "created_at": "2026-01-05T12:00:00.999Z",
        "updated_at": "2026-01-05T12:01:00.001Z", "started_at": "2026-01-05T12:00:10.500Z",
        "finished_at": "2026-01-05T13:01:00.500+01:00", "duration": 50, "queued_duration": 9,
        "coverage": "82.71", "tag": false,
    })
}

fn job(id: u64, name: &str) -> Value {
    json!({
        "id": id, "name": name, "stage": "test", "status": "failed",
        "created_at": "2026-01-05T12:00:00.999Z", "started_at": "2026-01-05T12:00:10.500Z",
        "finished_at": "2026-01-05T12:00:20.500Z", "duration": 9.75, "queued_duration": 0.5,
        "coverage": 12.5, "failure_reason": "script_failure",
        "runner": {"id": 3, "runner_type": "project_type", "is_shared": false},
        "artifacts": [{"file_type": "archive", "size": 1000}, {"file_type": "metadata", "size": 24},
            {"file_type": "trace", "size": 5000}],
        "artifacts_file": {"size": 1000},
    })
}

fn reply(value: &Value) -> Reply {
    Reply::json(value.to_string())
}

async fn one_pipeline(value: &Value) -> Result<crate::gitlab::model::Pipeline, GitLabError> {
    let fake = Fake::script(vec![reply(value)]).await;
    fake.gitlab().pipeline(PROJECT, PipelineId(5)).await
}

async fn all_jobs(value: &Value) -> Page<crate::gitlab::model::Job> {
    let fake = Fake::script(vec![reply(value)]).await;
    fake.gitlab()
        .jobs(PROJECT, PipelineId(5), true)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_pipeline_is_read_whole() {
    let read = one_pipeline(&pipeline(5)).await.unwrap();
    assert_eq!(
        (read.id, read.iid, read.kind),
        (PipelineId(5), 5, RefKind::Branch)
    );
    assert_eq!((&*read.source, &read.status), ("push", &Status::Success));
    assert_eq!(
        read.created_at,
        UnixSeconds(1_767_614_400),
        "cut to the second"
    );
    assert_eq!(read.finished_at, Some(UnixSeconds(1_767_614_460)));
    assert_eq!(
        (read.duration, read.queued_duration),
        (Some(50.0), Some(9.0))
    );
    assert_eq!(read.coverage, Some(82.71), "it came as a text");
    assert_eq!(
        (read.merge_request, read.upstream),
        (Known::Nothing, Known::Nothing)
    );
}

#[tokio::test]
async fn what_a_pipeline_runs_for_follows_from_ref_source_and_tag() {
    for (git_ref, source, tag, kind) in [
        ("main", "push", json!(false), RefKind::Branch),
        ("main", "push", Value::Null, RefKind::Branch),
        ("v1", "push", json!(true), RefKind::Tag),
        ("42", "push", json!(false), RefKind::Branch),
        (
            "refs/merge-requests/42/head",
            "merge_request_event",
            json!(false),
            RefKind::MergeRequest,
        ),
        (
            "refs/merge-requests/42/train",
            "parent_pipeline",
            json!(false),
            RefKind::MergeRequest,
        ),
        (
            "topic",
            "merge_request_event",
            json!(false),
            RefKind::MergeRequest,
        ),
    ] {
        let mut value = pipeline(5);
        (value["ref"], value["source"], value["tag"]) = (json!(git_ref), json!(source), tag);
        let read = one_pipeline(&value).await.unwrap();
        assert_eq!(read.kind, kind, "{git_ref} {source}");
        assert_eq!(
            read.merge_request == Known::Unread,
            kind == RefKind::MergeRequest
        );
        assert_eq!(read.upstream == Known::Unread, source == "parent_pipeline");
    }
}

#[tokio::test]
async fn values_without_sense_become_nothing_or_an_error_that_names_them() {
    let mut value = pipeline(5);
    (value["duration"], value["queued_duration"]) = (json!(-3), json!(-1e300));
    (value["coverage"], value["status"]) = (json!("n/a"), json!("hibernating"));
    (value["source"], value["started_at"]) = (Value::Null, Value::Null);
    let read = one_pipeline(&value).await.unwrap();
    assert_eq!(
        (read.duration, read.queued_duration, read.coverage),
        (None, None, None)
    );
    assert_eq!(
        (read.status.as_str(), &*read.source),
        ("hibernating", "unknown")
    );

    for (field, value, want) in [
        ("id", json!(-1), "id: invalid value"),
        ("id", json!(1e30), "id: invalid type"),
        ("id", json!(1.5), "id: invalid type"),
        ("id", json!("5"), "id: invalid type"),
        ("status", Value::Null, "status: invalid type"),
        ("created_at", json!("now"), "created_at: not a time"),
        ("created_at", json!("2026-01-05"), "created_at: not a time"),
        (
            "created_at",
            json!("99999-01-05T12:00:00Z"),
            "created_at: not a time",
        ),
        ("finished_at", json!(12), "finished_at: invalid type"),
    ] {
        let mut broken = pipeline(5);
        broken[field] = value.clone();
        let error = one_pipeline(&broken).await.unwrap_err();
        assert_eq!(error.kind(), "decode");
        let text = error.to_string();
        assert!(
            text.starts_with("GET /projects/:id/pipelines/:pipeline_id: "),
            "{text}"
        );
        assert!(text.contains(want), "{field} {value}: {text}");
    }
}

#[tokio::test]
async fn jobs_are_read_with_reason_runner_and_artifacts() {
    let mut waiting = job(2, "b");
    for field in [
        "started_at",
        "finished_at",
        "duration",
        "queued_duration",
        "coverage",
        "runner",
    ] {
        waiting[field] = Value::Null;
    }
    waiting["status"] = json!("manual");
    waiting.as_object_mut().unwrap().remove("failure_reason");
    waiting["artifacts"] = json!([{"file_type": "trace", "size": 5000}]);
    waiting.as_object_mut().unwrap().remove("artifacts_file");
    let mut old = job(1, "c");
    old["runner"] = json!({"is_shared": true});
    old["artifacts"] = json!([]);
    let page = all_jobs(&json!([job(3, "a"), waiting, old])).await;
    assert!(page.skipped.is_empty());
    let [failed, waiting, old] = page.items.as_slice() else {
        panic!("{page:?}")
    };
    assert_eq!(failed.failure_reason, Known::Value("script_failure".into()));
    assert_eq!(failed.runner_type, Known::Value(RunnerType::Project));
    assert_eq!(failed.artifact_bytes, Some(1024));
    assert_eq!(
        (failed.duration, failed.queued_duration),
        (Some(9.75), Some(0.5))
    );
    assert_eq!(failed.coverage, Some(12.5));
    assert_eq!(
        (&waiting.failure_reason, &waiting.runner_type),
        (&Known::Nothing, &Known::Nothing)
    );
    assert_eq!(
        (waiting.artifact_bytes, waiting.started_at),
        (None, None),
        "its log is no artifact"
    );
    assert_eq!(old.runner_type, Known::Value(RunnerType::Instance));
    assert_eq!(
        old.artifact_bytes,
        Some(1000),
        "older answers have only the archive"
    );
}

#[tokio::test]
async fn retried_jobs_are_recognized_by_name_and_id() {
    let fake = Fake::script(vec![reply(&json!([
        job(5, "lint"),
        job(4, "test"),
        job(3, "lint"),
        job(2, "test"),
        job(1, "test")
    ]))])
    .await;
    let page = fake
        .gitlab()
        .jobs(PROJECT, PipelineId(5), true)
        .await
        .unwrap();
    let retried: Vec<u64> = page
        .items
        .iter()
        .filter(|job| job.retried == Known::Value(true))
        .map(|job| job.id.0)
        .collect();
    assert_eq!(retried, [3, 2, 1]);
    assert_eq!(
        fake.seen()[0].target,
        "/api/v4/projects/1/pipelines/5/jobs?include_retried=true&per_page=100"
    );
}

#[tokio::test]
async fn one_bad_job_is_left_out_and_named() {
    let mut bad = job(2, "b");
    bad["name"] = json!(null);
    let page = all_jobs(&json!([job(3, "a"), bad, 7, null, [], job(1, "c")])).await;
    let ids: Vec<JobId> = page.items.iter().map(|job| job.id).collect();
    assert_eq!(ids, [JobId(3), JobId(1)]);
    assert_eq!(page.skipped.len(), 4);
    let text = &page.skipped[0];
    assert!(
        text.starts_with("GET /projects/:id/pipelines/:pipeline_id/jobs: item 1"),
        "{text}"
    );
    assert!(text.contains("name: invalid type: null"), "{text}");
}

#[tokio::test]
async fn a_wrong_byte_costs_one_item() {
    let text = json!([job(3, "a"), job(2, "b"), job(1, "c")]).to_string();
    let mut bytes = text.clone().into_bytes();
    let at = text.find("\"b\"").unwrap() + 1;
    bytes[at] = 0xc3;
    let fake = Fake::script(vec![Reply::json(bytes)]).await;
    let gitlab = fake.gitlab();
    let page = gitlab.jobs(PROJECT, PipelineId(5), true).await.unwrap();
    assert_eq!(page.items.len(), 2);
    assert!(page.skipped[0].contains("not UTF-8"), "{:?}", page.skipped);
}

#[tokio::test]
async fn strange_names_come_through_unchanged() {
    for name in [
        "quote\" back\\slash \n newline",
        "🚀 ünïcode \u{fffd}",
        &"y".repeat(10_000),
    ] {
        let page = all_jobs(&json!([job(1, name)])).await;
        assert_eq!(&*page.items[0].name, name);
    }
}

#[tokio::test]
async fn a_list_that_is_none_is_an_error() {
    for (body, want) in [
        (
            "{\"message\":\"odd\"}",
            "a list was expected, an object came",
        ),
        ("null", "a list was expected, null came"),
        ("[{", "ends too early"),
        ("[1,]", "it is no JSON"),
    ] {
        let fake = Fake::script(vec![Reply::json(body)]).await;
        let error = fake.gitlab().branches(PROJECT).await.unwrap_err();
        assert_eq!(error.kind(), "decode");
        assert!(error.to_string().contains(want), "{body}: {error}");
    }
}

#[tokio::test]
async fn offset_paging_follows_the_next_page_to_the_end() {
    let branch = |name: &str| json!({"name": name, "commit": {"committed_date": "2015-12-24T16:51:14.000+01:00"}, "default": name == "main"});
    let fake = Fake::script(vec![
        reply(&json!([branch("main"), {"name": ""}])).with("x-next-page", "2"),
        reply(&json!([branch("a")])).with("x-next-page", "3"),
        reply(&json!([branch("b")])).with("x-next-page", ""),
    ])
    .await;
    let page = fake.gitlab().branches(PROJECT).await.unwrap();
    let names: Vec<&str> = page.items.iter().map(|item| &*item.name).collect();
    assert_eq!(names, ["main", "a", "b"]);
    assert_eq!((page.next, page.skipped.len()), (None, 1));
    let targets: Vec<String> = fake
        .seen()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(
        targets[0],
        "/api/v4/projects/1/repository/branches?per_page=100"
    );
    assert_eq!(
        targets[2],
        "/api/v4/projects/1/repository/branches?per_page=100&page=3"
    );
}

#[tokio::test]
async fn keyset_paging_follows_the_link_and_stays_at_home() {
    let project = |id: u64| json!({"id": id, "path_with_namespace": "g/p", "default_branch": null});
    let full: Vec<Value> = (1..=100).map(project).collect();
    let next = "<https://elsewhere.example.org/api/v4/projects?a=1,2&rel=\"next\">; rel=\"prev\", \
                <https://elsewhere.example.org/api/v4/projects?pagination=keyset&id_after=1>; rel=\"next\"";
    let fake = Fake::script(vec![
        reply(&json!(full)).with("link", next),
        // GitLab names a page after the last one, too.
        reply(&json!([project(101)])).with("link", next),
    ])
    .await;
    let filter = ProjectFilter {
        search: "a b".to_owned(),
        archived: Some(false),
        membership: true,
    };
    let page = fake.gitlab().all_projects(&filter).await.unwrap();
    assert_eq!(page.items.len(), 101);
    assert_eq!(page.items[0].default_branch, Known::Nothing);
    let seen = fake.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        seen[0].target,
        "/api/v4/projects?pagination=keyset&membership=true&search=a+b&archived=false\
         &order_by=id&sort=asc&per_page=100"
    );
    assert_eq!(
        seen[1].target,
        "/api/v4/projects?pagination=keyset&id_after=1"
    );
}

/// Reads the tags of a server that answers so; the error, and how many requests it took.
async fn too_many_tags(
    answer: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> (GitLabError, usize) {
    let fake = Fake::start(move |_, number| answer(number)).await;
    let error = fake.gitlab().tags(PROJECT).await.unwrap_err();
    (error, fake.seen().len())
}

fn excess(error: &GitLabError) -> Excess {
    match error.cause {
        Cause::TooMuch(excess) => excess,
        _ => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_list_that_never_ends_is_left_with_an_error_that_names_it() {
    let same = |_| Reply::json("[]").with("x-next-page", "2");
    let (error, requests) = too_many_tags(same).await;
    assert_eq!((excess(&error), requests), (Excess::Loop, 2));
    assert_eq!(
        error.to_string(),
        "GET /projects/:id/repository/tags: the list is too long: it leads back to a page that was \
         read"
    );
    assert_eq!(error.kind(), "too_large");

    let others = |number: usize| Reply::json("[]").with("x-next-page", &(number + 2).to_string());
    let (error, requests) = too_many_tags(others).await;
    assert_eq!((excess(&error), requests), (Excess::Pages(500), 500));

    let link = |number: usize| {
        let next = format!("<https://h/api/v4/p?page_token={number}>; rel=\"next\"");
        let full: Vec<Value> = (0..100).map(|n| json!({"name": format!("v{n}")})).collect();
        reply(&json!(full)).with("link", &next)
    };
    let (error, _) = too_many_tags(link).await;
    assert_eq!(excess(&error), Excess::Pages(500));
}

#[tokio::test]
async fn a_page_with_more_than_was_asked_for_is_refused() {
    let page = |items: usize| {
        let items: Vec<Value> = (0..items)
            .map(|n| json!({"name": format!("b{n}")}))
            .collect();
        reply(&Value::from(items))
    };
    let (error, requests) = too_many_tags(move |_| page(40_000)).await;
    assert_eq!((excess(&error), requests), (Excess::PageItems(100), 1));
    let fake = Fake::script(vec![page(100)]).await;
    assert_eq!(fake.gitlab().tags(PROJECT).await.unwrap().items.len(), 100);
    // A list that GitLab does not cut into pages comes as it is.
    let variables: Vec<Value> = (0..101)
        .map(|n| json!({"key": format!("K{n}"), "value": "v"}))
        .collect();
    let fake = Fake::script(vec![reply(&Value::from(variables))]).await;
    let gitlab = fake.gitlab();
    let read = gitlab.pipeline_variables(PROJECT, PipelineId(1));
    assert_eq!(read.await.unwrap().items.len(), 101);
}

#[tokio::test]
async fn what_no_reader_of_json_can_hold_is_refused_as_a_whole() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for nonsense in ["1e999", r#""\ud800""#, "\"line\nfeed\"", &deep] {
        let body = format!(r#"[{{"name":"good"}},{{"name":{nonsense}}}]"#);
        let fake = Fake::script(vec![Reply::json(body)]).await;
        let error = fake.gitlab().tags(PROJECT).await.unwrap_err();
        assert_eq!(error.kind(), "decode");
        // A query over many projects is halved for it.
        assert!(error.may_be_one_items_fault(), "{error}");
    }
}

#[tokio::test]
async fn of_very_many_commits_the_newest_are_read() {
    let fake =
        Fake::start(|_, number| Reply::json("[]").with("x-next-page", &(number + 2).to_string()))
            .await;
    let read = fake.gitlab().commits_between(PROJECT, "a", "b").await;
    assert!(read.unwrap().next.is_some());
    assert_eq!(fake.seen().len(), 500);
}

#[tokio::test]
async fn pipelines_come_page_by_page_as_filtered() {
    let fake = Fake::script(vec![
        reply(&json!([pipeline(9), pipeline(8)])).with("x-next-page", "2"),
        reply(&json!([])).with("x-next-page", ""),
    ])
    .await;
    let filter = PipelineFilter {
        updated_after: Some(UnixSeconds(1_767_614_400)),
        source: Some("parent_pipeline"),
        status: Some(Status::Running),
        git_ref: Some("a&b".to_owned()),
    };
    let gitlab = fake.gitlab();
    let page = gitlab.pipelines(PROJECT, &filter).await.unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (2, None));
    assert_eq!(page.items[0].updated_at, UnixSeconds(1_767_614_460));
    assert_eq!(
        fake.seen()[1].target,
        "/api/v4/projects/1/pipelines?updated_after=2026-01-05T12%3A00%3A00Z\
         &source=parent_pipeline&status=running&ref=a%26b&order_by=id&sort=desc&per_page=100&page=2"
    );
    let fake = Fake::script(vec![reply(&json!([pipeline(9)])).with("x-next-page", "2")]).await;
    let newest = fake.gitlab().newest_pipelines(PROJECT, &filter).await;
    assert_eq!(newest.unwrap().next.as_deref(), Some("2"));
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn bridges_name_their_downstream_pipeline() {
    let bridge = |id: u64, downstream: Value| {
        json!({"id": id, "name": "deploy", "stage": "ship", "status": "success",
            "created_at": "2026-01-05T12:00:00Z", "downstream_pipeline": downstream})
    };
    let mut nowhere = pipeline(7);
    nowhere["project_id"] = Value::Null;
    let fake = Fake::script(vec![reply(&json!([
        bridge(1, pipeline(5)),
        bridge(2, Value::Null),
        bridge(3, nowhere)
    ]))])
    .await;
    let page = fake.gitlab().bridges(PROJECT, PipelineId(5)).await.unwrap();
    let [started, waiting] = page.items.as_slice() else {
        panic!("{page:?}")
    };
    let target = started.downstream.as_ref().unwrap();
    assert_eq!(
        (target.project_id, target.pipeline.id),
        (PROJECT, PipelineId(5))
    );
    assert_eq!(waiting.downstream, None);
    assert!(
        page.skipped[0].contains("bridge 3: downstream_pipeline.project_id"),
        "{:?}",
        page.skipped
    );
}

#[tokio::test]
async fn projects_show_role_and_state() {
    let access = |level: u32| json!({"access_level": level});
    for (permissions, role) in [
        (
            json!({"project_access": access(30), "group_access": access(40)}),
            Known::Value(Role(40)),
        ),
        (
            json!({"project_access": null, "group_access": access(10)}),
            Known::Value(Role(10)),
        ),
        (
            json!({"project_access": null, "group_access": null}),
            Known::Unread,
        ),
        (Value::Null, Known::Unread),
    ] {
        let fake = Fake::script(vec![reply(&json!({
            "id": 7, "path_with_namespace": "g/p", "default_branch": "main", "archived": true,
            "last_activity_at": "2026-01-05T12:00:00.100Z", "permissions": permissions,
        }))])
        .await;
        let project = fake.gitlab().project(ProjectId(7)).await.unwrap();
        assert_eq!(project.role, role);
        assert!(project.archived);
        assert_eq!(project.last_activity_at, Some(UnixSeconds(1_767_614_400)));
        assert_eq!(project.default_branch, Known::Value("main".into()));
    }
}

#[tokio::test]
async fn groups_and_users_list_their_projects() {
    let fake = Fake::script(vec![reply(&json!([]))]).await;
    let gitlab = fake.gitlab();
    gitlab
        .group_projects("a/b", true, &ProjectFilter::default())
        .await
        .unwrap();
    gitlab
        .user_projects("jo", &ProjectFilter::default())
        .await
        .unwrap();
    let seen = fake.seen();
    assert_eq!(
        seen[0].target,
        "/api/v4/groups/a%2Fb/projects?include_subgroups=true&with_shared=false\
         &order_by=id&sort=asc&per_page=100"
    );
    assert_eq!(
        seen[1].target,
        "/api/v4/users/jo/projects?order_by=id&sort=asc&per_page=100"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let fake = Fake::script(vec![Reply::status(
        404,
        r#"{"message":"404 Project Not Found"}"#,
    )])
    .await;
    let error = fake.gitlab().project("no/such").await.unwrap_err();
    assert!(error.is_not_found() && !error.cause.is_retryable());
    assert_eq!(
        error.to_string(),
        "GET /projects/:id: not found, or not visible to the token (404: 404 Project Not Found)"
    );
}

#[tokio::test]
async fn tokens_report_scopes_and_expiry() {
    let fake = Fake::script(vec![
        Reply::json(
            r#"{"name":"t","scopes":["read_api"],"expires_at":"2026-02-01","active":true}"#,
        ),
        Reply::json(r#"{"scopes":["api"],"expires_at":null,"active":false}"#),
        Reply::json(r#"{"scopes":[],"expires_at":"soon"}"#),
    ])
    .await;
    let gitlab = fake.gitlab();
    let token = gitlab.token_self().await.unwrap();
    assert_eq!(
        (&token.scopes[..], token.active),
        (&["read_api".to_owned()][..], true)
    );
    assert_eq!(token.expires_at, Some(UnixSeconds(1_769_904_000)));
    let token = gitlab.token_self().await.unwrap();
    assert_eq!((token.expires_at, token.active), (None, false));
    let error = gitlab.token_self().await.unwrap_err();
    assert!(
        error.to_string().contains("expires_at: not a date"),
        "{error}"
    );
}

#[tokio::test]
async fn merge_requests_are_read_one_and_many() {
    let mr = json!({"iid": 42, "state": "merged", "target_branch": "main",
        "source_branch": "topic", "updated_at": "2026-01-05T12:00:00.500Z"});
    let fake = Fake::script(vec![reply(&mr), reply(&json!([mr]))]).await;
    let gitlab = fake.gitlab();
    let read = gitlab.merge_request(PROJECT, 42).await.unwrap();
    assert_eq!(
        (read.iid, &*read.state, &*read.target_branch),
        (42, "merged", "main")
    );
    let page = gitlab.merge_requests(PROJECT, &[42, 43]).await.unwrap();
    assert_eq!(page.items, [read]);
    assert_eq!(
        fake.seen()[1].target,
        "/api/v4/projects/1/merge_requests?scope=all&state=all&iids%5B%5D=42&iids%5B%5D=43&per_page=100"
    );
}
