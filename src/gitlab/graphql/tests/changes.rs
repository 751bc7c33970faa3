//! What the change feed reads, and which single items it leaves out.

use serde_json::{Value, json};

use super::*;

/// GitLab takes an empty list of ids for all projects that there are.
#[tokio::test]
async fn an_empty_list_of_projects_is_never_sent() {
    let newest = json!([{"iid": 3, "state": "opened", "target_branch": "main"}]);
    let fake = Fake::script(vec![reply(&newest)]).await;
    let gitlab = fake.gitlab();
    let which = Which::MovedSince(SINCE);
    let changes = gitlab.project_changes(&[], which, 5).await.unwrap();
    let jobs = gitlab
        .pipeline_jobs(&[], which, Parts::WHOLE, 5)
        .await
        .unwrap();
    assert!(changes.items.is_empty() && jobs.items.is_empty());
    let (first, last) = (1, 0);
    let census = gitlab.listed_census(ProjectId(1), first..=last).await;
    assert!(census.is_ok_and(|page| page.entries.items.is_empty()));
    let lists = fake.seen().into_iter().map(|request| request.target);
    let lists: Vec<String> = lists.collect();
    assert_eq!(lists.len(), 1, "{lists:?}");
}
use crate::gitlab::Excess;
use crate::gitlab::model::{
    Features, Known, Page, Pipeline, PipelineMergeRequest, RefKind, Status, Upstream,
};
use crate::types::{PipelineId, ProjectId};

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
        "id": "gid://gitlab/Ci::Pipeline/10", "ref": "v1", "project": {"id": "gid://gitlab/Project/1", "fullPath": "group/p1"}
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
        .project_changes(&[ProjectId(1), ProjectId(2)], Which::MovedSince(SINCE), 20)
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
            "moved": true, "children": true, "active": false, "activeChildren": false,
        }),
        "what is not asked for is left out"
    );
    assert_eq!(ids(&batch), [1], "project 2 is gone");
    assert!(batch.failed.is_empty());
    let item = &batch.items[0];
    assert_eq!(&*item.project.full_path, "group/p1");
    let features = Features {
        public_jobs: Known::Value(true),
        jobs: Known::Value(true),
        merge_requests: Known::Value(false),
    };
    assert_eq!(item.project.features, features);
    assert!(!item.project.is_scheduled_for_deletion);
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
            project_id: ProjectId(1),
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
    bare["publicJobs"] = Value::Null;
    bare["markedForDeletion"] = Value::Null;
    let batch = changes(reply(&data(&[bare]))).await.unwrap();
    let item = &batch.items[0];
    assert_eq!(item.project.features.public_jobs, Known::Unread);
    assert!(!item.project.is_scheduled_for_deletion);
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
        let place = "GraphQL ProjectChanges: projects.nodes[0].moved.nodes[1]";
        assert!(message.starts_with(place), "{message}");
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
async fn a_number_beyond_a_float_spoils_the_answer_which_is_then_asked_for_in_parts() {
    let answer = data(&[project(1, page(&[pipeline(1)], None), Value::Null)]);
    let text = answer.to_string();
    let text = text.replacen("\"queuedDuration\":10.0", "\"queuedDuration\":1e999", 1);
    let error = changes(Reply::json(text)).await.unwrap_err();
    assert_eq!(error.kind(), "decode");
    assert!(error.may_be_one_items_fault(), "{error}");
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

/// A first page that leads to `c1`.
fn first_page() -> Page<Pipeline> {
    Page {
        next: Some("c1".to_owned()),
        ..Page::default()
    }
}

#[tokio::test]
async fn more_pages_are_asked_for_by_cursor_and_kind() {
    let more = |next| data(&[project(1, Value::Null, page(&[pipeline(5)], next))]);
    let replies = vec![
        reply(&more(Some("c2"))),
        reply(&more(None)),
        reply(&data(&[])),
    ];
    let fake = Fake::script(replies).await;
    let gitlab = fake.gitlab();
    let (id, which) = (ProjectId(1), Which::MovedSince(SINCE));
    let whole = gitlab.rest_of_pipelines(id, which, true, first_page());
    let whole = whole.await.unwrap();
    assert_eq!((whole.items.len(), whole.next.as_deref()), (2, None));
    let seen = fake.seen();
    let variables = seen[0].variables();
    assert_eq!(variables["childrenAfter"], "c1");
    assert_eq!(
        (&variables["moved"], &variables["children"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(seen[1].variables()["childrenAfter"], "c2");
    let removed = gitlab.rest_of_pipelines(id, which, false, first_page());
    assert_eq!(removed.await.unwrap().next.as_deref(), Some("c1"));
    assert_eq!(fake.seen()[2].variables()["movedAfter"], "c1");
}

#[tokio::test]
async fn a_chain_of_pages_that_never_ends_is_left_with_an_error_that_names_it() {
    for (same, wanted, requests) in [(true, Excess::Loop, 1), (false, Excess::Pages(500), 499)] {
        let fake = Fake::start(move |_, number| {
            let next = if same {
                "c1".to_owned()
            } else {
                format!("d{number}")
            };
            reply(&data(&[project(1, page(&[], Some(&next)), Value::Null)]))
        })
        .await;
        let which = Which::MovedSince(SINCE);
        let error = fake
            .gitlab()
            .rest_of_pipelines(ProjectId(1), which, false, first_page())
            .await
            .unwrap_err();
        assert!(matches!(error.cause, Cause::TooMuch(excess) if excess == wanted));
        assert!(
            error.to_string().starts_with("GraphQL ProjectChanges: "),
            "{error}"
        );
        assert!(!error.graphql_unavailable() && !error.may_be_one_items_fault());
        assert_eq!(fake.seen().len(), requests);
    }
}

#[tokio::test]
async fn a_page_with_more_than_gitlab_gives_fails_its_project_alone() {
    let many: Vec<Value> = (1..=40_000).map(pipeline).collect();
    let answer = data(&[
        project(1, page(&[pipeline(1)], None), Value::Null),
        project(2, page(&many, None), Value::Null),
        project(3, Value::Null, page(&[pipeline(3)], None)),
    ]);
    let batch = changes(reply(&answer)).await.unwrap();
    assert_eq!(ids(&batch), [1, 3]);
    let failed = &batch.failed[0];
    assert_eq!(failed.id, ProjectId(2));
    assert_eq!(failed.too_much, Some(Excess::PageItems(100)));
    assert_eq!(
        failed.why,
        "GraphQL ProjectChanges: projects.nodes[1].moved"
    );
}
