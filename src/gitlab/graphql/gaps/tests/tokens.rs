//! Fine-grained tokens: what they cannot read is not asked for again.

use serde_json::{Value, json};

use super::double::answer;
use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::graphql::Which;
use crate::gitlab::graphql::schema_tests::schema_of;
use crate::gitlab::model::{Permissions, WhichMergeRequests};
use crate::gitlab::testing::{Fake, Reply, truth};
use crate::types::ProjectId;

const NOW: UnixSeconds = UnixSeconds(1_796_000_000);

/// GitLab's own answer to a fine-grained token, by operation.
fn recorded(identity: &str, operation: &str) -> Option<Value> {
    let file = truth("recorded/19.3-ce/graphql.jsonl")?;
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let line = lines.find(|line: &Value| line["as"] == identity && line["operation"] == operation);
    let mut body = line.unwrap()["body"].clone();
    name_users(&mut body);
    Some(body)
}

/// The document of the recording did not ask for the ids of users.
fn name_users(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(name_users),
        Value::Object(fields) => {
            if fields.contains_key("username") && !fields.contains_key("id") {
                fields.insert("id".to_owned(), json!("gid://gitlab/User/1"));
            }
            fields.values_mut().for_each(name_users);
        }
        _ => {}
    }
}

/// A GitLab that answers documents with `field` as it answered a fine-grained token, and others well.
async fn gitlab(operation: &str, field: &'static str) -> Option<Fake> {
    let refusal = recorded("granular_all", operation)?;
    let types = schema_of("new/19.3-ce.graphql")?;
    let fake = Fake::start(move |request, _| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let document = body["query"].as_str().unwrap();
        let answer = match document.contains(field) {
            true => refusal.clone(),
            false => json!({"data": answer(types, document, &body["variables"])}),
        };
        Reply::json(answer.to_string())
    });
    Some(fake.await)
}

#[tokio::test]
async fn rights_that_cannot_be_read_are_unknown_and_asked_for_no_more() {
    let (Some(permissions), Some(role), Some(types)) = (
        recorded("granular_all", "Permissions"),
        recorded("granular_all", "ProjectChanges"),
        schema_of("new/19.3-ce.graphql"),
    ) else {
        return;
    };
    let fake = Fake::start(move |request, _| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let document = body["query"].as_str().unwrap();
        if document.contains("userPermissions") {
            return Reply::json(permissions.to_string());
        }
        if document.contains("maxAccessLevel") {
            return Reply::json(role.to_string());
        }
        let data = answer(types, document, &body["variables"]);
        Reply::json(json!({"data": data}).to_string())
    });
    let fake = fake.await;
    let gitlab = fake.gitlab();
    let ids: Vec<ProjectId> = (1..=100).map(ProjectId).collect();
    for requests in [3, 4] {
        let batch = gitlab.permissions(&ids).await.unwrap();
        assert_eq!((batch.items.len(), batch.failed.len()), (100, 0));
        assert_eq!(
            batch.items[0].1,
            Permissions::default(),
            "unknown, not none"
        );
        assert_eq!(fake.seen().len(), requests, "each is refused once");
    }
    let losses = gitlab.losses();
    assert!(losses.iter().all(|loss| loss.why == Why::Token));
    let missing: Vec<String> = losses.iter().map(|loss| loss.gap.to_string()).collect();
    assert_eq!(
        missing,
        ["Project.maxAccessLevel", "Project.userPermissions"]
    );
}

/// What nulls a project for a fine-grained token is in no query that is sent often.
#[tokio::test]
async fn a_fine_grained_token_reads_the_change_feed_of_all_projects_in_one_query() {
    let Some(fake) = gitlab("ProjectChanges", "maxAccessLevel").await else {
        return;
    };
    let gitlab = fake.gitlab();
    let ids: Vec<ProjectId> = (1..=100).map(ProjectId).collect();
    let asked = gitlab.project_changes(&ids, Which::MovedSince(NOW), 20);
    let batch = asked.await.unwrap();
    assert_eq!((batch.items.len(), batch.failed.len()), (100, 0));
    let repositories = gitlab.repositories(&ids[..50], true).await.unwrap();
    assert_eq!(repositories.items.len(), 50);
    assert_eq!(fake.seen().len(), 2);
    assert!(gitlab.losses().is_empty());
}

#[tokio::test]
async fn test_reports_that_cannot_be_read_are_left_to_rest() {
    let Some(fake) = gitlab("TestReports", "testReportSummary").await else {
        return;
    };
    let gitlab = fake.gitlab();
    for _ in 0..3 {
        let error = gitlab
            .test_reports(&[ProjectId(19)], NOW)
            .await
            .unwrap_err();
        assert!(error.graphql_unavailable(), "REST may answer: {error}");
        assert!(error.to_string().contains("testReportSummary"), "{error}");
    }
    assert_eq!(fake.seen().len(), 1, "asked once, not at every poll");
}

/// One project whose field cannot be given is that project's fault, not the token's.
#[tokio::test]
async fn a_field_that_other_projects_show_is_asked_for_again() {
    let body = json!({"data": {"projects": {"nodes": [{"id": "gid://gitlab/Project/1",
            "maxAccessLevel": {"integerValue": 40}, "userPermissions": {"adminProject": true,
            "downloadCode": true, "readCycleAnalytics": true, "readEnvironment": true,
            "readMergeRequest": true}}, null]}}, "errors": [{
        "message": "Cannot return null for non-nullable field Project.userPermissions",
        "path": ["projects", "nodes", 1, "userPermissions"]}]});
    let fake = Fake::script(vec![Reply::json(body.to_string())]).await;
    let gitlab = fake.gitlab();
    let batch = gitlab
        .permissions(&[ProjectId(1), ProjectId(2)])
        .await
        .unwrap();
    assert_eq!((batch.items.len(), batch.failed.len()), (1, 1));
    assert!(gitlab.losses().is_empty());
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn hidden_authors_are_said_until_they_are_seen() {
    let (Some(hidden), Some(shown)) = (
        recorded("granular_docs", "MergeRequestReviews"),
        recorded("granular_all", "MergeRequestReviews"),
    ) else {
        return;
    };
    let refusal = json!({"error": "insufficient_granular_scope", "error_description":
        "… the following user permissions: [Personal Access Token: Read]."});
    let fake = Fake::script(vec![
        Reply::status(403, refusal.to_string()),
        Reply::json(r#"{"id":1,"username":"bot"}"#),
        Reply::json(hidden.to_string()),
        Reply::json(shown.to_string()),
    ])
    .await;
    let gitlab = fake.gitlab();
    gitlab.token_state().await.unwrap();
    assert!(gitlab.has_fine_grained_token());
    let read = async || {
        let asked = gitlab.reviewed_merge_requests(&[ProjectId(19)], WhichMergeRequests::Open);
        asked.await.unwrap();
        gitlab.lost()
    };
    let lost = read().await;
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].contains("User: Read"), "{lost:?}");
    assert_eq!(read().await, [""; 0], "the grant was given");
}
