//! What older GitLabs do not show of pipelines, and where it is read instead.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::tests::target;
use super::*;
use crate::gitlab::NoAccounting;
use crate::gitlab::model::RefKind;
use crate::gitlab::testing::{Fake, Reply, Request};

/// What a GitLab of 16 does not have of a pipeline.
const MISSING: [&str; 3] = ["type", "source", "mergeRequest"];

/// GitLab's refusal of a document that asks for something it does not have; none of another.
fn refusal(document: &str) -> Option<Reply> {
    let words: BTreeSet<&str> = document.split_whitespace().collect();
    let missing = MISSING.iter().filter(|field| words.contains(**field));
    let errors: Vec<Value> = missing
        .map(|field| {
            json!({"message": format!("Field '{field}' doesn't exist on type 'Pipeline'"),
                "extensions": {"code": "undefinedField", "typeName": "Pipeline", "fieldName": field}})
        })
        .collect();
    let is_good = errors.is_empty();
    (!is_good).then(|| Reply::json(json!({"errors": errors}).to_string()))
}

fn pipeline(id: u64, git_ref: &str, path: &str, status: &str) -> Value {
    json!({"id": format!("gid://gitlab/Ci::Pipeline/{id}"), "iid": id.to_string(), "ref": git_ref,
        "refPath": path, "status": status, "createdAt": "2026-01-05T12:00:00Z",
        "updatedAt": "2026-01-05T12:01:00Z", "startedAt": "2026-01-05T12:00:10Z",
        "finishedAt": null, "duration": null, "queuedDuration": null,
        "upstream": null, "sourceJob": null})
}

fn page(nodes: &Value) -> Value {
    json!({"nodes": nodes, "pageInfo": {"hasNextPage": false, "endCursor": null}})
}

fn answer(node: &Value) -> Reply {
    let node = [
        json!({"id": "gid://gitlab/Project/1", "fullPath": "group/p1", "archived": false}),
        node.clone(),
    ];
    let mut whole = serde_json::Map::new();
    for part in node {
        whole.extend(part.as_object().expect("an object").clone());
    }
    Reply::json(json!({"data": {"projects": {"nodes": [whole]}}}).to_string())
}

fn document(request: &Request) -> (String, String) {
    let body: Value = serde_json::from_str(&request.body).expect("JSON");
    let text = |key: &str| body[key].as_str().expect("a text").to_owned();
    (text("operationName"), text("query"))
}

fn feed(fake: &Fake, jobs: bool) -> ChangeFeed {
    let gitlab = crate::gitlab::testing::gitlab(&fake.settings(), Arc::new(NoAccounting));
    let mut settings = Settings::default();
    settings.collectors.jobs.enabled = jobs;
    ChangeFeed::new(
        &settings,
        &gitlab,
        Clock::manual(UnixSeconds(1_767_614_400)),
    )
}

/// The requests to REST so far, without the address of GitLab's API.
fn rest(fake: &Fake) -> Vec<String> {
    let seen = fake.seen().into_iter().map(|request| request.target);
    let seen = seen.filter(|target| !target.ends_with("/graphql"));
    seen.map(|target| target.replace("/api/v4/projects/1", ""))
        .collect()
}

#[tokio::test]
async fn sources_and_merge_requests_that_graphql_does_not_show_come_from_rest_once() {
    let fake = Fake::start(|request, _| {
        if request.target.contains("/merge_requests/42") {
            return Reply::json(
                json!({"iid": 42, "state": "opened", "target_branch": "main",
                    "source_branch": "topic", "updated_at": "2026-01-05T12:00:00Z"})
                .to_string(),
            );
        }
        if request.target.contains("/pipelines") {
            let head = |id: u64, source: &str| {
                json!({"id": id, "iid": id, "ref": "x", "source": source, "status": "success",
                    "created_at": "2026-01-05T12:00:00Z", "updated_at": "2026-01-05T12:01:00Z"})
            };
            let heads = json!([
                head(7, "merge_request_event"),
                head(6, "api"),
                head(5, "push")
            ]);
            return Reply::json(heads.to_string());
        }
        let (_, document) = document(request);
        refusal(&document).unwrap_or_else(|| {
            let moved = json!([
                pipeline(
                    7,
                    "refs/merge-requests/42/head",
                    "refs/heads/topic",
                    "SUCCESS"
                ),
                pipeline(6, "v1", "refs/tags/v1", "SUCCESS"),
                pipeline(5, "main", "refs/heads/main", "SUCCESS"),
            ]);
            answer(&json!({"moved": page(&moved), "children": page(&json!([]))}))
        })
    })
    .await;
    let feed = feed(&fake, false);
    let first = target(1, false);
    let read = feed.read(std::slice::from_ref(&first), &tracked()).await;
    let (_, read) = read.into_iter().next().expect("a project");
    let read = read.expect("it was read");
    let facts = read.feed.pipelines.iter();
    let found: Vec<(u64, RefKind, &str)> = facts
        .map(|facts| &facts.pipeline)
        .map(|one| (one.id.0, one.kind, &*one.source))
        .collect();
    assert_eq!(
        found,
        [
            (5, RefKind::Branch, "push"),
            (6, RefKind::Tag, "api"),
            (7, RefKind::MergeRequest, "merge_request_event"),
        ]
    );
    let merge_request = &read.feed.pipelines[2].pipeline.merge_request;
    let merge_request = merge_request.as_ref().value().expect("a merge request");
    assert_eq!(&*merge_request.target_branch, "main");
    assert_eq!(
        rest(&fake).len(),
        2,
        "one list and one call: {:?}",
        rest(&fake)
    );
    // They are listed again, and nothing is asked of REST for what is known.
    let mut again = first;
    let memory = ProjectMemory {
        feed: read.progress,
        ..ProjectMemory::default()
    };
    again.memory = Arc::new(memory);
    // What moved after a long time has the newest listed once, to find what was deleted.
    feed.read(std::slice::from_ref(&again), &tracked()).await;
    let queries = fake.seen().len();
    let read = feed.read(&[again], &tracked()).await;
    assert!(read[0].1.as_ref().is_ok_and(|read| read.quiet));
    assert_eq!(rest(&fake).len(), 2);
    assert_eq!(fake.seen().len(), queries + 1, "a quiet poll is one query");
}

fn tracked() -> Tracked {
    Arc::new([(ProjectId(1), Text::from("group/p1"))].into())
}

/// Before GitLab 17.0 no list has child pipelines.
#[tokio::test]
async fn child_pipelines_that_no_list_has_are_found_by_their_parents_until_they_end() {
    let has_ended = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&has_ended);
    let fake = Fake::start(move |request, _| {
        if request.target.ends_with("/metadata") {
            return Reply::json(r#"{"version":"16.11.0-ee","enterprise":true}"#);
        }
        if request.target.contains("/pipelines") {
            return Reply::json("[]");
        }
        let (operation, document) = document(request);
        if let Some(refusal) = refusal(&document) {
            return refusal;
        }
        let parent = pipeline(5, "main", "refs/heads/main", "SUCCESS");
        if operation == "ProjectChanges" {
            return answer(&json!({"moved": page(&json!([parent])), "children": page(&json!([]))}));
        }
        let status = match ended.load(Ordering::SeqCst) {
            true => "SUCCESS",
            false => "RUNNING",
        };
        let mut child = pipeline(6, "main", "refs/heads/main", status);
        child["project"] = json!({"id": "gid://gitlab/Project/1", "fullPath": "group/p1"});
        let bridge = json!({"id": "gid://gitlab/Ci::Bridge/50", "name": "trigger", "status": "SUCCESS",
            "allowFailure": false, "createdAt": "2026-01-05T12:00:00Z", "retried": false, "downstreamPipeline": child});
        let is_parent = request.variables()["iid"] == "5";
        let bridges = if is_parent {
            json!([bridge])
        } else {
            json!([])
        };
        let one = json!({"id": parent["id"], "iid": "5", "ref": "main", "status": "SUCCESS",
            "updatedAt": parent["updatedAt"], "coverage": null,
            "jobs": page(&json!([])), "bridges": page(&bridges)});
        answer(&json!({"pipeline": one}))
    })
    .await;
    let feed = feed(&fake, true);
    feed.gitlab.instance().await.expect("a version");
    let mut target = target(1, false);
    let mut seen = Vec::new();
    for end in [false, true, true] {
        has_ended.store(end, Ordering::SeqCst);
        let read = feed.read(std::slice::from_ref(&target), &tracked()).await;
        let (_, read) = read.into_iter().next().expect("a project");
        let read = read.expect("it was read");
        let child = read
            .feed
            .pipelines
            .iter()
            .find(|one| one.pipeline.id.0 == 6);
        seen.push(child.map(|facts| {
            let upstream = facts.pipeline.upstream.as_ref().value();
            (
                facts.pipeline.status.as_str().to_owned(),
                facts.pipeline.source.to_string(),
                upstream.map(|upstream| upstream.bridge.to_string()),
            )
        }));
        let memory = ProjectMemory {
            feed: read.progress,
            ..ProjectMemory::default()
        };
        target.memory = Arc::new(memory);
    }
    let child = |status: &str| {
        Some((
            status.to_owned(),
            "parent_pipeline".to_owned(),
            Some("trigger".to_owned()),
        ))
    };
    assert_eq!(seen[..2], [child("running"), child("success")]);
}
