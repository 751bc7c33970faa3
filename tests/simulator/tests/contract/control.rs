//! The control API: what another process can do.

use serde_json::{Value, json};

use crate::support::{Lab, client};

async fn call(lab: &Lab, method: reqwest::Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/_control{path}", lab.simulator.url());
    let answer = client()
        .request(method, url)
        .json(&body)
        .send()
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

async fn operate(lab: &Lab, operation: Value) -> Value {
    let (status, body) = call(lab, reqwest::Method::POST, "/operations", operation.clone()).await;
    assert_eq!(status, 200, "{operation}: {body}");
    body["result"].clone()
}

#[tokio::test]
async fn a_pipeline_can_be_led_through_its_life() {
    let lab = Lab::usual();
    let pipeline = operate(&lab, json!({"op": "create_pipeline", "project": "group/app", "pipeline": {
        "ref": "main", "source": "web",
        "jobs": [
            {"stage": "test", "name": "unit", "coverage": 50.5, "artifacts": [{"file_type": "junit", "filename": "j.xml", "size": 9}]},
            {"stage": "ship", "name": "go", "when": "manual"},
            {"stage": "down", "name": "child", "trigger": {"depend": true, "jobs": [{"stage": "test", "name": "inner"}]}},
        ],
    }})).await;
    let id = pipeline.as_u64().expect("an id");
    let job = |name: &'static str| lab.simulator.world().job_named(id, name).expect("a job").id;
    operate(
        &lab,
        json!({"op": "start_job", "job": job("unit"), "runner": 1}),
    )
    .await;
    operate(&lab, json!({"op": "finish_job", "job": job("unit"), "finish": {"failure_reason": "script_failure"}})).await;
    let again = operate(&lab, json!({"op": "retry_job", "job": job("unit")})).await;
    operate(&lab, json!({"op": "finish_job", "job": again})).await;
    operate(&lab, json!({"op": "play_manual", "job": job("go")})).await;
    operate(
        &lab,
        json!({"op": "finish_job", "job": job("go"), "finish": {"duration": 5000}}),
    )
    .await;
    let child = operate(&lab, json!({"op": "trigger_bridge", "job": job("child")})).await;
    operate(&lab, json!({"op": "finish_pipeline", "pipeline": child})).await;
    let shown = lab
        .rest(&format!("/projects/{}/pipelines/{id}", lab.app))
        .await
        .body;
    assert_eq!(
        (&shown["status"], &shown["source"], &shown["coverage"]),
        (&json!("success"), &json!("web"), &json!("50.50"))
    );
    operate(&lab, json!({"op": "delete_pipeline", "pipeline": id})).await;
    assert_eq!(
        lab.rest(&format!("/projects/{}/pipelines/{id}", lab.app))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn projects_refs_roles_and_tiers_can_be_changed() {
    let lab = Lab::usual();
    operate(
        &lab,
        json!({"op": "move_project", "project": "group/app", "path": "group/renamed"}),
    )
    .await;
    operate(
        &lab,
        json!({"op": "push", "project": "group/renamed", "branch": "topic"}),
    )
    .await;
    operate(
        &lab,
        json!({"op": "force_push", "project": lab.app, "branch": "topic"}),
    )
    .await;
    let iid = operate(&lab, json!({"op": "create_merge_request", "project": lab.app, "source": "topic", "target": "main"})).await;
    operate(
        &lab,
        json!({"op": "set_merge_request_state", "project": lab.app, "iid": iid, "state": "merged"}),
    )
    .await;
    operate(
        &lab,
        json!({"op": "delete_branch", "project": lab.app, "branch": "topic"}),
    )
    .await;
    operate(
        &lab,
        json!({"op": "set_tier", "group": "group", "tier": "premium"}),
    )
    .await;
    operate(&lab, json!({"op": "set_role", "token": lab.simulator.token(), "project": lab.library, "role": "guest"})).await;
    operate(
        &lab,
        json!({"op": "set_version", "version": "17.11.0", "enterprise": false}),
    )
    .await;
    assert_eq!(
        lab.rest("/projects/group%2Frenamed/merge_requests/2")
            .await
            .body["state"],
        "merged"
    );
    assert_eq!(
        lab.rest(&format!("/projects/{}/environments", lab.library))
            .await
            .status,
        403
    );
    assert_eq!(lab.rest("/version").await.body["enterprise"], false);
    let (status, body) = call(
        &lab,
        reqwest::Method::POST,
        "/operations",
        json!({"op": "retry_job", "job": 1}),
    )
    .await;
    assert_eq!((status, body), (422, json!({"error": "there is no job 1"})));
    let (_, ledger) = call(&lab, reqwest::Method::GET, "/ledger", Value::Null).await;
    let events: Vec<&str> = ledger
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|entry| entry["event"].as_str())
        .collect();
    for event in [
        "project_moved",
        "branch_created",
        "force_pushed",
        "merge_request_changed",
        "branch_deleted",
    ] {
        assert!(events.contains(&event), "{event} is not in {events:?}");
    }
}

#[tokio::test]
async fn faults_limits_quirks_and_requests_are_reachable() {
    let lab = Lab::usual();
    let rule =
        json!({"on": "/api/v4/version", "times": 1, "fault": {"kind": "status", "status": 500}});
    assert_eq!(
        call(&lab, reqwest::Method::POST, "/faults", rule).await.0,
        201
    );
    assert_eq!(lab.rest("/version").await.status, 500);
    let (_, list) = call(&lab, reqwest::Method::GET, "/faults", Value::Null).await;
    assert_eq!(list[0]["hits"], 1);
    assert_eq!(
        call(&lab, reqwest::Method::DELETE, "/faults", Value::Null)
            .await
            .0,
        204
    );
    let limits = json!({"clock": "world", "throttle": {"calls": 5, "period": 60}, "application": {"/api/v4/version": {"calls": 1, "period": 60}}});
    assert_eq!(
        call(&lab, reqwest::Method::PUT, "/limits", limits).await.0,
        204
    );
    assert_eq!(
        lab.rest("/version").await.header("ratelimit-remaining"),
        Some("4")
    );
    assert_eq!(lab.rest("/version").await.status, 429);
    assert_eq!(
        call(
            &lab,
            reqwest::Method::PUT,
            "/limits",
            json!({"throttle": null})
        )
        .await
        .0,
        204
    );
    assert_eq!(
        call(
            &lab,
            reqwest::Method::PUT,
            "/quirks",
            json!({"coverage_as_string": false})
        )
        .await
        .0,
        204
    );
    assert!(!lab.simulator.world().quirks.coverage_as_string);
    let (_, requests) = call(&lab, reqwest::Method::GET, "/requests", Value::Null).await;
    assert_eq!(requests["counts"]["/api/v4/version"], 3);
    call(&lab, reqwest::Method::DELETE, "/requests", Value::Null).await;
    assert!(lab.simulator.requests().is_empty());
    let (_, state) = call(&lab, reqwest::Method::GET, "/state", Value::Null).await;
    assert_eq!(state["projects"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn rights_can_be_taken_and_projects_be_marked_for_deletion() {
    let lab = Lab::usual();
    let app = lab.app;
    operate(
        &lab,
        json!({"op": "set_public_jobs", "project": app, "public": false}),
    )
    .await;
    operate(
        &lab,
        json!({"op": "set_feature", "project": app, "feature": "merge_requests", "access": "disabled"}),
    )
    .await;
    operate(&lab, json!({"op": "schedule_deletion", "project": app})).await;
    let shown = lab.rest(&format!("/projects/{app}")).await.body;
    assert_eq!(
        (&shown["public_jobs"], &shown["merge_requests_enabled"]),
        (&json!(false), &json!(false))
    );
    assert!(!shown["marked_for_deletion_on"].is_null());
    let active = "{ projects(active: true) { nodes { id } } group(fullPath: \"group\") { \
        projects(notAimedForDeletion: true) { nodes { fullPath } } } }";
    let answer = lab.graphql(active).await;
    assert_eq!(
        answer["data"]["group"]["projects"]["nodes"],
        json!([{"fullPath": "group/library"}])
    );
    let ids = answer["data"]["projects"]["nodes"].as_array();
    assert_eq!(ids.map(Vec::len), Some(2));
}
