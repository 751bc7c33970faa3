//! GitLab's own GraphQL answers, as collected outside the repository, through the client's types.
//!
//! The samples answer other queries than ours. Each of their nodes is laid over one of ours, so
//! that every field they have in common comes as GitLab wrote it.

use serde_json::{Value, json};

use super::tests::{
    bridge_node, changes, data, job, jobs, jobs_node, jobs_project, page, pipeline, project,
};
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Known, RefKind, Status};
use crate::gitlab::testing::{Reply, truth};

fn sample(name: &str) -> Option<Value> {
    let file = truth(&format!("graphql/samples/{name}"))?;
    let text = std::fs::read_to_string(file).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// `ours` with every field that `theirs` has as well.
fn overlay(mut ours: Value, theirs: &Value) -> Value {
    if let (Value::Object(fields), Value::Object(theirs)) = (&mut ours, theirs) {
        for (key, value) in fields {
            match theirs.get(key) {
                // A connection or object that the sample selects less of.
                Some(their @ Value::Object(_)) if value.is_object() => {
                    *value = overlay(value.take(), their);
                }
                Some(Value::Array(_)) | None => {}
                Some(their) => *value = their.clone(),
            }
        }
    }
    ours
}

/// All objects below `value` whose `__typename` or id says that they are of this kind.
fn find(value: &Value, id_prefix: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            let id = fields.get("id").and_then(Value::as_str);
            if id.is_some_and(|id| id.starts_with(id_prefix)) && fields.len() > 4 {
                found.push(value.clone());
            }
            fields
                .values()
                .for_each(|value| find(value, id_prefix, found));
        }
        Value::Array(items) => items.iter().for_each(|value| find(value, id_prefix, found)),
        _ => {}
    }
}

fn all(names: &[&str], id_prefix: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for name in names {
        if let Some(sample) = sample(name) {
            find(&sample, id_prefix, &mut found);
        }
    }
    found
}

fn seconds(value: &Value) -> Option<UnixSeconds> {
    value.as_str().map(|text| UnixSeconds::parse(text).unwrap())
}

#[tokio::test]
async fn pipelines() {
    let theirs = all(
        &[
            "pipeline-branch-fragment--gitlab-frontend.json",
            "subscription-mr-pipelines--gitlab-frontend.json",
            "pipeline-running--gitlab-frontend.json",
            "graphql-context--jmrplens.json",
            "pipeline-failure--jmrplens.json",
        ],
        "gid://gitlab/Ci::Pipeline/",
    );
    let laid: Vec<Value> = theirs
        .iter()
        .map(|theirs| overlay(pipeline(1), theirs))
        .collect();
    println!("{} pipelines", laid.len());
    assert!(theirs.is_empty() || laid.len() >= 3);
    let answer = data(&[project(1, page(&laid, None), Value::Null)]);
    let batch = changes(Reply::json(answer.to_string())).await.unwrap();
    let read = &batch.items[0].pipelines;
    assert!(read.skipped.is_empty(), "{:?}", read.skipped);
    for (laid, read) in laid.iter().zip(&read.items) {
        assert_eq!(laid["id"], format!("gid://gitlab/Ci::Pipeline/{}", read.id));
        assert_eq!(laid["iid"].as_str().unwrap().parse(), Ok(read.iid));
        assert_eq!(read.status, Status::from(laid["status"].as_str().unwrap()));
        assert_eq!(laid["duration"].as_f64(), read.duration);
        assert_eq!(Some(read.created_at), seconds(&laid["createdAt"]));
        assert_eq!(read.finished_at, seconds(&laid["finishedAt"]));
        let merge_request = laid["type"].as_str().unwrap().starts_with("merge");
        assert_eq!(read.kind == RefKind::MergeRequest, merge_request);
    }
}

#[tokio::test]
async fn jobs_of_pipelines() {
    let theirs = all(
        &[
            "pipeline-jobs--gitlab-frontend.json",
            "pipeline-failed-jobs--gitlab-frontend.json",
            "job-single--gitlab-frontend.json",
            "job-manual--gitlab-frontend.json",
            "stage-jobs--gitlab-frontend.json",
            "pipeline-failure--jmrplens.json",
        ],
        "gid://gitlab/Ci::Build/",
    );
    let laid: Vec<Value> = theirs
        .iter()
        .map(|theirs| overlay(job(1), theirs))
        .collect();
    println!("{} jobs", laid.len());
    assert!(theirs.is_empty() || laid.len() >= 8);
    let node = jobs_node(1, page(&laid, None), Value::Null);
    let batch = jobs(&data(&[jobs_project(1, page(&[node], None))])).await;
    let read = &batch.items[0].pipelines.items[0].jobs;
    assert!(read.skipped.is_empty(), "{:?}", read.skipped);
    for (laid, read) in laid.iter().zip(&read.items) {
        assert_eq!(laid["id"], format!("gid://gitlab/Ci::Build/{}", read.id));
        assert_eq!(laid["name"], *read.name);
        assert_eq!(laid["stage"]["name"], *read.stage);
        assert_eq!(read.status, Status::from(laid["status"].as_str().unwrap()));
        // Of one that ended it is the time between its start and its end.
        if !read.status.is_terminal() {
            assert_eq!(laid["duration"].as_f64(), read.duration);
        }
        let retried = laid["retried"]
            .as_bool()
            .map_or(Known::Unread, Known::Value);
        assert_eq!(read.retried, retried);
        assert_eq!(Some(read.created_at), seconds(&laid["createdAt"]));
    }
}

#[tokio::test]
async fn downstream_pipelines() {
    let Some(sample) = sample("downstream-pipelines-connection--gitlab-frontend.json") else {
        return;
    };
    let theirs = sample["nodes"].as_array().unwrap();
    let laid: Vec<Value> = theirs
        .iter()
        .map(|theirs| {
            let mut bridge = bridge_node(1);
            let ours = bridge["downstreamPipeline"].take();
            bridge["downstreamPipeline"] = overlay(ours, theirs);
            bridge
        })
        .collect();
    let node = jobs_node(1, page(&[], None), page(&laid, None));
    let batch = jobs(&data(&[jobs_project(1, page(&[node], None))])).await;
    let read = &batch.items[0].pipelines.items[0].downstream;
    assert_eq!((read.items.len(), read.skipped.len()), (theirs.len(), 0));
    for (theirs, read) in theirs.iter().zip(&read.items) {
        let target = read.target.as_ref().unwrap();
        let (pipeline, project) = (target.pipeline.id, target.project_id);
        assert_eq!(
            theirs["id"],
            format!("gid://gitlab/Ci::Pipeline/{pipeline}")
        );
        assert_eq!(
            theirs["project"]["id"],
            format!("gid://gitlab/Project/{project}")
        );
    }
}

#[tokio::test]
async fn errors() {
    for (name, status, kind) in [
        ("complexity-exceeded", 200, "graphql_complexity"),
        (
            "complexity-exceeded-authenticated",
            200,
            "graphql_complexity",
        ),
        ("depth-exceeded", 200, "graphql"),
        ("undefined-field", 200, "graphql_schema"),
        ("argument-not-accepted", 200, "graphql_schema"),
        ("selection-mismatch", 200, "graphql_schema"),
        ("query-timeout-503", 503, "graphql_timeout"),
        ("internal-error-500", 500, "server"),
        ("query-too-large-422", 422, "refused"),
        ("variables-invalid-422", 422, "refused"),
        ("invalid-token", 401, "auth"),
        ("api-not-accessible", 403, "forbidden"),
    ] {
        let Some(mut body) = sample(&format!("errors/{name}.json")) else {
            return;
        };
        if body.get("errors").is_none() && body.get("message").is_some() {
            // The documentation shows the inner object only.
            body = json!({"errors": [body]});
        }
        let error = changes(Reply::status(status, body.to_string()))
            .await
            .unwrap_err();
        println!("{error}");
        assert_eq!(error.kind(), kind, "{name}");
    }
}
