//! Webhooks, from the request to what `/metrics` shows and to the trace.

use std::collections::BTreeMap;

use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World};
use serde_json::json;

use crate::support::exporter::{Binary, beginning_now, configuration};
use crate::support::http;
use crate::support::otlp::{Receiver, Span};
use crate::support::samples::Samples;
use crate::support::until;

const SECRET: &str = "a-secret-for-webhooks";

/// Polls come once an hour; webhooks are received on a port of their own.
fn yaml(simulator: &Simulator, more: &str) -> String {
    let server = format!("server: {{webhook: {{enabled: true, secret_token: {SECRET}}}}}\n{more}");
    configuration(simulator, &server)
        .replace("seconds: 1}", "seconds: 3600}")
        .replace("interval_seconds: 1,", "interval_seconds: 3600,")
}

/// An exporter that has read everything once.
async fn started(yaml: &str) -> Binary {
    let exporter = Binary::run(yaml, &[]).await;
    shows(&exporter, "the first round is over", |samples| {
        samples.sum("age_initial_sync_progress_ratio", &[]) == Some(1.0)
            && samples.sum("age_tasks_running", &[]) == Some(0.0)
    })
    .await;
    exporter
}

async fn shows(exporter: &Binary, what: &str, condition: impl Fn(&Samples) -> bool) {
    until(what, async || {
        let metrics = exporter.get("/metrics").await.body;
        let samples = Samples::of_plain_text(&metrics);
        match condition(&samples) {
            true => Ok(()),
            false => Err(metrics),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipelines_end_is_shown_though_the_next_poll_is_an_hour_away() {
    let traces = Receiver::start().await;
    let mut world = World::new(beginning_now());
    let project = world.add_project("group/app").expect("a project");
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let more = format!(
        "otel: {{traces: {{endpoint: '{}'}}}}",
        traces.http("traces")
    );
    let mut exporter = started(&yaml(&simulator, &more)).await;

    let pipeline = {
        let mut world = simulator.world();
        let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit"));
        let pipeline = world.create_pipeline(project, &spec).expect("a pipeline");
        world
            .finish_pipeline(pipeline, &Finish::success())
            .expect("it ends");
        pipeline
    };
    let body = json!({
        "object_kind": "pipeline", "project": {"id": project},
        "object_attributes": {
            "id": pipeline, "status": "success",
            "variables": [{"key": "PASSWORD", "value": "in-the-body"}],
        },
    });
    let url = format!("http://{}/webhook", exporter.address());
    let refused = http::post(&url, body.to_string()).await;
    assert_eq!(refused.status, 401, "{}", refused.body);
    let headers = [("X-Gitlab-Token", SECRET)];
    // A project that is not tracked is not read.
    let foreign = json!({"object_kind": "pipeline", "project": {"id": 9_999_999}});
    let foreign = http::post_with(&url, &headers, foreign.to_string()).await;
    assert_eq!(
        (foreign.status, foreign.body.as_str()),
        (200, r#"{"status":"untracked"}"#)
    );
    let accepted = http::post_with(&url, &headers, body.to_string()).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    shows(&exporter, "the pipeline is counted", |samples| {
        samples.sum("age_pipeline_run_count", &[]).is_some()
    })
    .await;
    let metrics = exporter.get("/metrics").await.body;
    let samples = Samples::of_plain_text(&metrics);
    let of_webhooks = [("trigger", "webhook"), ("collector_type", "pipelines")];
    let handled = samples.sum("age_event_handling_seconds_count", &of_webhooks);
    assert_eq!(handled, Some(1.0), "{metrics}");
    for (event, outcome) in [("pipeline", "accepted"), ("other", "unauthorized")] {
        let labels = [("event", event), ("outcome", outcome)];
        let count = samples.sum("age_webhook_events_total", &labels);
        assert_eq!(count, Some(1.0), "{event} {outcome}");
    }
    exporter.program.signal("TERM");
    assert!(exporter.program.ended().await.success());
    let log = exporter.program.stderr() + &exporter.program.stdout();
    for secret in ["in-the-body", SECRET] {
        assert!(
            !log.contains(secret) && !metrics.contains(secret),
            "{secret}"
        );
    }
    assert!(
        log.contains("webhook refused: the request has no secret token"),
        "{log}"
    );

    // From the request to what it had read: one tree.
    let spans = traces.received().spans.clone();
    let by_id: BTreeMap<&str, &Span> = spans
        .iter()
        .map(|span| (span.span_id.as_str(), span))
        .collect();
    let webhook = spans
        .iter()
        .find(|span| {
            span.name == "POST /webhook"
                && span.attributes.get("outcome").map(String::as_str) == Some("accepted")
        })
        .unwrap_or_else(|| panic!("no webhook: {spans:?}"));
    let descends = |span: &&Span| {
        let mut at = *span;
        while let Some(parent) = by_id.get(at.parent_span_id.as_str()) {
            at = parent;
        }
        at.span_id == webhook.span_id
    };
    let tree: Vec<&str> = spans
        .iter()
        .filter(descends)
        .map(|span| span.name.as_str())
        .collect();
    for name in ["change_feed", "change_feed run", "POST /graphql", "commit"] {
        assert!(tree.contains(&name), "{name} is not among {tree:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_have_an_address_of_their_own_where_the_settings_say_so() {
    let mut world = World::new(beginning_now());
    world.add_project("group/app").expect("a project");
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let address = crate::support::program::free_address();
    let yaml = yaml(&simulator, "").replace(
        "enabled: true",
        &format!("enabled: true, listen_address: '{address}'"),
    );
    let exporter = started(&yaml).await;
    let headers = [("X-Gitlab-Token", SECRET)];
    let post = async |address: &str, path: &str| {
        let url = format!("http://{address}{path}");
        http::post_with(&url, &headers, r#"{"event_name": "project_create"}"#)
            .await
            .status
    };
    assert_eq!(post(&address, "/webhook").await, 202);
    assert_eq!(
        http::get(&format!("http://{address}/metrics")).await.status,
        404
    );
    assert_eq!(
        http::get(&format!("http://{}/webhook", exporter.address()))
            .await
            .status,
        404
    );
}
