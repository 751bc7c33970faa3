//! Spans: one per call to GitLab, child of one per run, child of one per scheduled task.

use std::collections::{BTreeMap, BTreeSet};

use gitlab_simulator::{Fault, Options, Rule, Simulator, World, WorldConfig};

use crate::support::exporter::{Binary, beginning_now, configuration};
use crate::support::otlp::{Receiver, Span};
use crate::support::{eventually, until};

/// `SPAN_KIND_CLIENT`.
const CLIENT: i32 = 3;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_the_child_of_a_run_which_is_the_child_of_a_task() {
    let receiver = Receiver::start().await;
    let world = World::generate(WorldConfig {
        projects: 4,
        pipelines_per_project: 3,
        ..beginning_now()
    });
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    // One failure that is tried again, and one that is not.
    let faults = simulator.faults();
    faults.add(
        Rule::new(Fault::Status { status: 502 })
            .on("/api/v4/metadata")
            .times(1),
    );
    let branches = "/api/v4/projects/:id/repository/branches";
    let forbidden = faults.add(
        Rule::new(Fault::Status { status: 403 })
            .on(branches)
            .times(1),
    );
    let more = format!(
        "otel: {{traces: {{endpoint: '{}'}}}}",
        receiver.http("traces")
    );
    // One round, then nothing: no call is under way when it ends.
    let yaml = configuration(&simulator, &more).replace("seconds: 1}", "seconds: 3600}");
    let mut exporter = Binary::run(&yaml, &[]).await;
    eventually("refs were looked at", || faults.hits(forbidden) == 1).await;
    until("the first round is over", async || {
        let metrics = exporter.get("/metrics").await.body;
        let has = |line| metrics.lines().any(|shown| shown == line);
        if has("age_initial_sync_progress_ratio 1") && has("age_tasks_running 0") {
            Ok(())
        } else {
            Err("it is not".to_owned())
        }
    })
    .await;
    exporter.program.signal("TERM");
    assert!(exporter.program.ended().await.success());

    let spans = receiver.received().spans.clone();
    let by_id: BTreeMap<&str, &Span> = spans
        .iter()
        .map(|span| (span.span_id.as_str(), span))
        .collect();
    let mut tasks = BTreeSet::new();
    let mut templates = BTreeSet::new();
    for call in spans.iter().filter(|span| span.kind == CLIENT) {
        let run = by_id.get(call.parent_span_id.as_str());
        let run = run.unwrap_or_else(|| panic!("no run above {call:?}"));
        let task = by_id.get(run.parent_span_id.as_str());
        let task = task.unwrap_or_else(|| panic!("no task above {run:?}"));
        assert_eq!(run.name, format!("{} run", task.name));
        assert_eq!(task.parent_span_id, "", "{task:?}");
        assert_eq!(
            (&call.trace_id, &run.trace_id),
            (&task.trace_id, &task.trace_id)
        );
        tasks.insert(task.name.clone());
        templates.insert(assert_describes_a_call(call));
    }
    let names: Vec<&str> = tasks.iter().map(String::as_str).collect();
    assert!(
        ["capability", "change_feed", "discovery"]
            .iter()
            .all(|name| tasks.contains(*name)),
        "{names:?}"
    );
    assert!(tasks.contains("refs"), "{tasks:?}");
    for template in ["/graphql", "/projects/:id/repository/branches"] {
        assert!(templates.contains(template), "{templates:?}");
    }

    let resent = spans
        .iter()
        .any(|span| span.attributes.contains_key("http.request.resend_count"));
    assert!(resent, "the call that was tried again says so");
    let refused = spans
        .iter()
        .find(|span| span.status.0 == ERROR)
        .expect("the refused call");
    assert_eq!(refused.attributes["error.type"], "forbidden");
    assert_eq!(refused.attributes["http.response.status_code"], "403");
}

/// A call says what was asked of whom and how it ended, by the names of OpenTelemetry's
/// conventions, without ids. Gives the template of its address.
fn assert_describes_a_call(call: &Span) -> String {
    let of = |name: &str| {
        let value = call.attributes.get(name);
        value
            .unwrap_or_else(|| panic!("no {name}: {call:?}"))
            .clone()
    };
    let template = of("url.template");
    assert_eq!(
        call.name,
        format!("{} {template}", of("http.request.method"))
    );
    assert_eq!(of("server.address"), "127.0.0.1");
    assert!(of("server.port").parse::<u16>().is_ok());
    assert!(of("http.response.status_code").parse::<u16>().is_ok());
    let has_id = template.split('/').any(|part| part.parse::<u64>().is_ok());
    assert!(!has_id && !template.contains('?'), "{template}");
    if template == "/graphql" {
        assert!(!of("graphql.operation.name").is_empty());
        assert_eq!(of("graphql.operation.type"), "query");
    }
    template
}
