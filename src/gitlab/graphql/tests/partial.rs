//! Answers in part, refusals, and answers that are none.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn a_bad_project_has_failed_and_is_not_removed() {
    let mut bad = quiet(2);
    bad["fullPath"] = Value::Null;
    let batch = changes(reply(&data(&[quiet(1), bad.clone()])))
        .await
        .unwrap();
    assert_eq!(
        (ids(&batch), failed(&batch)),
        (vec![1], vec![2]),
        "and 3 was removed"
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
        "one of these was removed, it is unknown which"
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
async fn refusals_are_distinguished() {
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
    projects::read::<queries::ProjectChanges>(&[ProjectId(1)], partial).ok()
}

/// One exception answers the whole document with 500: the query is halved at once, without a retry.
#[tokio::test]
async fn an_exception_of_one_project_is_found_without_retries() {
    let fake = Fake::start(|request, _| {
        let ids = request.variables()["ids"].clone();
        let ids: Vec<String> = serde_json::from_value(ids).unwrap();
        let id = |gid: &String| gid.rsplit('/').next().unwrap().parse().unwrap();
        let ids: Vec<u64> = ids.iter().map(id).collect();
        match ids.contains(&5) {
            true => Reply::status(500, r#"{"errors":[{"message":"Internal server error"}]}"#),
            false => reply(&data(&ids.into_iter().map(quiet).collect::<Vec<_>>())),
        }
    })
    .await;
    let gitlab = fake.gitlab();
    let batches = batch::Batches::new(&gitlab.breaker(), 100);
    let ids: Vec<ProjectId> = (1..=8).map(ProjectId).collect();
    let ask = async |ids: Vec<ProjectId>| {
        let asked = gitlab.project_changes(&ids, Which::MovedSince(SINCE), 20);
        asked.await
    };
    let read = batches.ask(&ids, SINCE, |item: &ProjectChanges| item.project.id, ask);
    let read: std::collections::BTreeMap<ProjectId, Result<ProjectChanges, batch::NotRead>> =
        read.await;
    let failed: Vec<u64> = read
        .iter()
        .filter(|(_, read)| read.is_err())
        .map(|(id, _)| id.0)
        .collect();
    assert_eq!(failed, [5]);
    // The first five, both ends, two halves of those between, and the other three: each once.
    assert_eq!(fake.seen().len(), 6);
}
