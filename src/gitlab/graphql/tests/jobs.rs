//! What the queries for jobs and merge requests read.

use serde_json::{Value, json};

use super::*;
use crate::gitlab::model::{Known, RunnerType, Status, Upstream};
use crate::types::{JobId, PipelineId, ProjectId};

#[tokio::test]
async fn jobs_and_downstream_pipelines_are_read() {
    let mut failed = job(2);
    (failed["status"], failed["retried"]) = (json!("FAILED"), json!(true));
    let log = json!({"nodes": [{"fileType": "TRACE", "size": "5000"}]});
    (failed["runner"], failed["artifacts"]) = (Value::Null, log);
    let mut waiting = job(3);
    (waiting["status"], waiting["startedAt"]) = (json!("CREATED"), Value::Null);
    (waiting["runner"], waiting["retried"]) = (Value::Null, Value::Null);
    (waiting["duration"], waiting["coverage"]) = (Value::Null, Value::Null);
    let (mut hidden, mut retried) = (bridge_node(51), bridge_node(49));
    hidden["downstreamPipeline"] = Value::Null;
    retried["retried"] = json!(true);
    let node = jobs_node(
        10,
        page(&[failed, waiting, job(1)], None),
        page(&[bridge_node(50), hidden, retried], None),
    );
    let batch = jobs(&data(&[jobs_project(1, page(&[node], Some("more")))])).await;
    let item = &batch.items[0];
    assert_eq!(
        (item.id, item.pipelines.next.as_deref()),
        (ProjectId(1), Some("more"))
    );
    let pipeline = &item.pipelines.items[0];
    assert_eq!(pipeline.id, PipelineId(10));
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
    assert_eq!(failed.artifact_bytes, None, "its log is none");
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

    let [readable, hidden, retried] = pipeline.downstream.items.as_slice() else {
        panic!("{pipeline:?}")
    };
    let target = readable.target.as_ref().unwrap();
    assert_eq!(
        (&*readable.bridge.name, target.project_id),
        ("deploy", ProjectId(77))
    );
    assert_eq!(
        target.pipeline.upstream,
        Known::Value(Upstream {
            pipeline: PipelineId(10),
            project_id: ProjectId(1),
            project: "group/p1".into(),
            git_ref: "main".into(),
            merge_request: Known::Unread,
            bridge: "deploy".into()
        })
    );
    assert_eq!((&*hidden.bridge.name, &hidden.target), ("deploy", &None));
    assert_eq!(retried.bridge.retried, Known::Value(true));
    let bridge = &readable.bridge;
    assert!(bridge.is_bridge && bridge.allow_failure);
    assert_eq!((bridge.id, &*bridge.stage), (JobId(50), "release"));
    assert_eq!(bridge.runner_type, Known::Nothing, "no runner runs it");
    assert_eq!((bridge.duration, &bridge.status), (None, &Status::Success));
}

/// GraphQL cuts a duration to whole seconds: jobs of 0.1 s to 2.9 s would be too short by half a second
/// on average. The times are cut, too, but at both ends.
#[tokio::test]
async fn durations_of_many_short_jobs_have_no_bias() {
    let (mut cut, mut exact, mut all) = (0, 0, Vec::new());
    for id in 1..=97 {
        // Milliseconds of the start, spread evenly, and of the run.
        let (start, ran) = (id * 617 % 1000, id * 30);
        let whole = (start + ran) / 1000;
        (cut, exact) = (cut + ran / 1000, exact + ran);
        let mut job = job(id);
        job["startedAt"] = json!("2026-01-05T12:00:00Z");
        job["finishedAt"] = json!(format!("2026-01-05T12:00:{whole:02}Z"));
        job["duration"] = json!(ran / 1000);
        all.push(job);
    }
    let node = jobs_node(10, page(&all, None), page(&[], None));
    let batch = jobs(&data(&[jobs_project(1, page(&[node], None))])).await;
    let read = &batch.items[0].pipelines.items[0].jobs.items;
    let sum: f64 = read.iter().filter_map(|job| job.duration).sum();
    let exact = f64::from(u32::try_from(exact).unwrap()) / 1000.0;
    let cut = f64::from(u32::try_from(cut).unwrap());
    assert!((sum - exact).abs() < 0.05 * exact, "{sum} s of {exact} s");
    assert!(
        cut < 0.7 * exact,
        "GitLab's durations sum up to {cut} s of {exact} s"
    );
    // One that runs has no end: GitLab says how long it has run.
    let mut running = job(1);
    (running["status"], running["finishedAt"]) = (json!("RUNNING"), Value::Null);
    let node = jobs_node(10, page(&[running], None), page(&[], None));
    let batch = jobs(&data(&[jobs_project(1, page(&[node], None))])).await;
    let read = &batch.items[0].pipelines.items[0].jobs.items;
    assert_eq!(read[0].duration, Some(30.0));
}

#[tokio::test]
async fn bad_jobs_artifacts_and_downstream_pipelines_cost_only_themselves() {
    let mut bad_job = job(2);
    bad_job["createdAt"] = Value::Null;
    let mut bad_id = job(3);
    bad_id["id"] = Value::Null;
    let mut bad_artifact = job(4);
    bad_artifact["artifacts"]["nodes"][0]["size"] = json!({"bytes": 1});
    let mut bad_downstream = bridge_node(50);
    bad_downstream["downstreamPipeline"]["iid"] = Value::Null;
    let node = jobs_node(
        10,
        page(&[bad_job, bad_id, bad_artifact, job(1)], None),
        page(&[bad_downstream, bridge_node(51)], None),
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
    assert!(first.downstream.skipped[0].contains("bridges.nodes[0]"));
}

#[tokio::test]
async fn the_two_kinds_of_jobs_queries_ask_for_what_they_need() {
    let fake = Fake::script(vec![reply(&data(&[]))]).await;
    let gitlab = fake.gitlab();
    let ids = [ProjectId(1)];
    gitlab
        .pipeline_jobs(&ids, Which::MovedSince(SINCE), Parts::WHOLE, 99)
        .await
        .unwrap();
    gitlab
        .pipeline_jobs(&ids, Which::RUNNING, Parts::WHOLE, 5)
        .await
        .unwrap();
    let (moved, running) = (fake.seen()[0].variables(), fake.seen()[1].variables());
    assert_eq!(moved["since"], "2026-01-05T12:00:00Z");
    assert_eq!(
        (&moved["status"], &moved["pipelines"]),
        (&Value::Null, &json!(5))
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
            page(&[bridge_node(50)], None),
        )),
        one(jobs_node(10, page(&[job(2)], Some("j2")), Value::Null)),
        one(jobs_node(10, page(&[job(1)], None), Value::Null)),
        one(Value::Null),
    ])
    .await;
    let gitlab = fake.gitlab();
    let all = gitlab
        .jobs_of(ProjectId(1), 10, Parts::WHOLE)
        .await
        .unwrap()
        .unwrap();
    let ids: Vec<u64> = all.jobs.items.iter().map(|job| job.id.0).collect();
    assert_eq!(ids, [3, 2, 1]);
    assert_eq!((all.jobs.next, all.downstream.items.len()), (None, 1));
    let second = fake.seen()[1].variables();
    assert_eq!(
        (&second["jobsAfter"], &second["bridges"]),
        (&json!("j1"), &json!(false))
    );
    assert_eq!(
        gitlab
            .jobs_of(ProjectId(1), 10, Parts::WHOLE)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn jobs_that_never_end_are_an_error_of_their_pipeline() {
    let mut project = jobs_project(1, Value::Null);
    project["pipeline"] = jobs_node(10, page(&[job(3)], Some("j1")), page(&[], None));
    let fake = Fake::script(vec![reply(&data(&[project]))]).await;
    let error = fake
        .gitlab()
        .jobs_of(ProjectId(1), 10, Parts::WHOLE)
        .await
        .unwrap_err();
    assert!(matches!(
        error.cause,
        Cause::TooMuch(crate::gitlab::Excess::Loop)
    ));
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn a_lost_project_is_an_error_where_one_was_asked_for() {
    let mut answer = data(&[jobs_project(1, Value::Null)]);
    answer["errors"] = json!([{"message": "Timeout on Pipeline.jobs",
        "path": ["projects", "nodes", 0, "pipeline", "jobs"]}]);
    let fake = Fake::script(vec![reply(&answer)]).await;
    let error = fake
        .gitlab()
        .jobs_of(ProjectId(1), 10, Parts::WHOLE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "graphql_timeout");
    assert!(!error.graphql_unavailable(), "a smaller query is answered");
    assert_eq!(
        error.to_string(),
        "GraphQL PipelineJobs: GraphQL query too slow: projects.nodes[0].pipeline.jobs: \
         Timeout on Pipeline.jobs"
    );
}
