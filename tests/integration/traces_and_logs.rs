//! Spans and log messages as a receiver and a terminal see them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amazing_gitlab_exporter::telemetry::logs::{LogFormat, LogSettings};
use amazing_gitlab_exporter::telemetry::otlp::{
    CountExports, OtlpTarget, Outcome, Protocol, Signal,
};
use amazing_gitlab_exporter::telemetry::resource::resource;
use amazing_gitlab_exporter::telemetry::secrets::Secrets;
use amazing_gitlab_exporter::telemetry::traces::{TraceSampler, TraceSettings};
use amazing_gitlab_exporter::telemetry::{self, Guard, TelemetrySettings};
use tracing::Dispatch;

use crate::support::otlp::{Answer, Receiver};
use crate::support::{DEADLINE, Lines};

const TARGET: &str = "amazing_gitlab_exporter::test";
const TOKEN: &str = "glpat-0123456789abcdef";
const HEADER: &str = "Bearer otlp-credentials";

/// Counts of exports.
#[derive(Default)]
struct Exports(Mutex<BTreeMap<(Signal, Outcome), u64>>);

impl Exports {
    fn of(&self, signal: Signal, outcome: Outcome) -> u64 {
        let counts = self.0.lock().unwrap();
        counts.get(&(signal, outcome)).copied().unwrap_or_default()
    }
}

impl CountExports for Exports {
    fn count_export(&self, signal: Signal, outcome: Outcome) {
        *self.0.lock().unwrap().entry((signal, outcome)).or_default() += 1;
    }
}

/// Logs and traces built for one test.
struct Rig {
    lines: Lines,
    exports: Arc<Exports>,
    dispatch: Dispatch,
    guard: Guard,
}

impl Rig {
    fn new(logs: LogSettings, traces: Option<TraceSettings>) -> Self {
        let lines = Lines::default();
        let exports = Arc::new(Exports::default());
        let secrets = Secrets::new();
        secrets.register(TOKEN);
        let settings = TelemetrySettings {
            logs,
            traces,
            resource: resource("instance-1", &BTreeMap::new()),
            secrets,
            exports: exports.clone(),
        };
        let (dispatch, guard) = telemetry::build(settings, lines.clone()).unwrap();
        Self {
            lines,
            exports,
            dispatch,
            guard,
        }
    }
}

fn target(endpoint: url::Url, protocol: Protocol) -> OtlpTarget {
    OtlpTarget {
        endpoint,
        protocol,
        headers: vec![("authorization".into(), HEADER.into())],
        timeout: Duration::from_secs(5),
        gzip: true,
        ca_cert_path: None,
    }
}

fn to(receiver: &Receiver, protocol: Protocol, signal: &str) -> OtlpTarget {
    let endpoint = match protocol {
        Protocol::Grpc => receiver.grpc(),
        Protocol::HttpProtobuf => receiver.http(signal),
    };
    target(endpoint, protocol)
}

/// A task with a call in it that carries a secret where none belongs.
fn work() {
    let task = tracing::info_span!(target: TARGET, "task", source = "changes");
    task.in_scope(|| {
        let call = tracing::info_span!(
            target: TARGET,
            "GET",
            otel.kind = "client",
            otel.name = format!("GET /projects?private_token={TOKEN}"),
            otel.status_code = "error",
            otel.status_description = format!("{TOKEN} is refused"),
            http.request.header.private_token = TOKEN,
        );
        call.in_scope(|| tracing::warn!(target: TARGET, token = TOKEN, "refused {TOKEN}"));
        tracing::debug_span!(target: "hyper::client", "a library's span").in_scope(|| {});
    });
}

async fn spans_arrive(protocol: Protocol) {
    let receiver = Receiver::start().await;
    let traces = TraceSettings {
        otlp: to(&receiver, protocol, "traces"),
        sampler: TraceSampler::default(),
    };
    let rig = Rig::new(LogSettings::default(), Some(traces));
    tracing::dispatcher::with_default(&rig.dispatch, work);
    rig.guard.shutdown(DEADLINE).await;

    let received = receiver.received();
    let names: Vec<_> = received.spans.iter().map(|span| &span.name).collect();
    assert_eq!(names, ["GET /projects?private_token=[redacted]", "task"]);
    let [call, task] = &received.spans[..] else {
        unreachable!()
    };
    assert_eq!(call.parent_span_id, task.span_id);
    assert_eq!(call.trace_id, task.trace_id);
    assert!(task.parent_span_id.is_empty());
    assert_eq!(task.attributes["source"], "changes");
    assert_eq!(call.events, ["refused [redacted]"]);
    const CLIENT: i32 = 3;
    const ERROR: i32 = 2;
    assert_eq!(call.kind, CLIENT);
    assert_eq!(call.status, (ERROR, "[redacted] is refused".to_owned()));
    assert!(!format!("{:?}", received.spans).contains(TOKEN));

    assert_eq!(received.resource["service.name"], "amazing-gitlab-exporter");
    assert_eq!(received.resource["service.instance.id"], "instance-1");
    assert_eq!(received.scope.0, "amazing-gitlab-exporter");
    let request = &received.requests[0];
    assert_eq!(request.signal, "traces");
    assert_eq!(request.grpc, protocol == Protocol::Grpc);
    assert_eq!(request.headers["authorization"], HEADER);
    assert_eq!(rig.exports.of(Signal::Traces, Outcome::Success), 1);

    let lines = rig.lines.text();
    assert!(
        lines.contains(&format!("trace_id={}", call.trace_id)),
        "{lines}"
    );
    assert!(
        lines.contains(&format!("span_id={}", call.span_id)),
        "{lines}"
    );
    assert!(!lines.contains(TOKEN), "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_by_grpc() {
    spans_arrive(Protocol::Grpc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_by_http() {
    spans_arrive(Protocol::HttpProtobuf).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_ratio_of_zero_records_no_spans_and_keeps_the_log_lines() {
    let receiver = Receiver::start().await;
    let traces = TraceSettings {
        otlp: to(&receiver, Protocol::Grpc, "traces"),
        sampler: TraceSampler {
            ratio: 0.0,
            ..TraceSampler::default()
        },
    };
    let rig = Rig::new(LogSettings::default(), Some(traces));
    tracing::dispatcher::with_default(&rig.dispatch, work);
    rig.guard.shutdown(DEADLINE).await;
    assert!(receiver.received().requests.is_empty());
    assert!(rig.lines.text().contains("refused [redacted]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_messages_arrive_with_their_trace_and_without_secrets_or_library_noise() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let receiver = Receiver::start().await;
        let traces = TraceSettings {
            otlp: to(&receiver, protocol, "traces"),
            sampler: TraceSampler::default(),
        };
        let logs = LogSettings {
            otlp: Some(to(&receiver, protocol, "logs")),
            ..LogSettings::default()
        };
        let rig = Rig::new(logs, Some(traces));
        tracing::dispatcher::with_default(&rig.dispatch, || {
            work();
            tracing::debug!(target: TARGET, "below the level");
            tracing::error!(target: "hyper_util::client", "a library's trouble");
        });
        rig.guard.shutdown(DEADLINE).await;

        let received = receiver.received();
        let [log] = &received.logs[..] else {
            panic!("one record: {:?}", received.logs)
        };
        assert_eq!(log.severity, "WARN");
        assert_eq!(log.body, "refused [redacted]");
        assert_eq!(log.attributes["token"], "[redacted]");
        let call = &received.spans[0];
        assert_eq!(
            (&log.trace_id, &log.span_id),
            (&call.trace_id, &call.span_id)
        );
        assert_eq!(rig.exports.of(Signal::Logs, Outcome::Success), 1);
        // Standard error has what libraries say at `warn` and above, OTLP has not.
        assert!(rig.lines.text().contains("a library's trouble"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_export_is_counted_and_not_retried() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Refuse(tonic::Code::Unauthenticated, 401));
    let traces = TraceSettings {
        otlp: to(&receiver, Protocol::Grpc, "traces"),
        sampler: TraceSampler::default(),
    };
    let rig = Rig::new(LogSettings::default(), Some(traces));
    tracing::dispatcher::with_default(&rig.dispatch, work);
    rig.guard.shutdown(DEADLINE).await;
    assert_eq!(rig.exports.of(Signal::Traces, Outcome::Error), 1);
    assert_eq!(receiver.received().requests.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_keeps_its_deadline_when_the_receiver_hangs() {
    let receiver = Receiver::start().await;
    let never = Arc::new(tokio::sync::Notify::new());
    receiver.answer(Answer::Hold(never));
    let mut otlp = to(&receiver, Protocol::Grpc, "traces");
    otlp.timeout = Duration::from_secs(3600);
    let traces = TraceSettings {
        otlp,
        sampler: TraceSampler::default(),
    };
    let rig = Rig::new(LogSettings::default(), Some(traces));
    tracing::dispatcher::with_default(&rig.dispatch, work);
    let shutdown = rig.guard.shutdown(Duration::from_millis(200));
    tokio::time::timeout(DEADLINE, shutdown)
        .await
        .expect("the deadline is far below the export's own time-out");
}

#[tokio::test]
async fn json_lines_are_objects_with_ids_and_without_secrets() {
    let receiver = Receiver::start().await;
    let traces = TraceSettings {
        otlp: to(&receiver, Protocol::Grpc, "traces"),
        sampler: TraceSampler::default(),
    };
    let logs = LogSettings {
        format: LogFormat::Json,
        ..LogSettings::default()
    };
    let rig = Rig::new(logs, Some(traces));
    tracing::dispatcher::with_default(&rig.dispatch, || {
        work();
        tracing::info!(target: TARGET, branch = "a \"quoted\"\nbranch", n = 3, "outside");
    });
    rig.guard.shutdown(DEADLINE).await;

    let text = rig.lines.text();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON: {line}")))
        .collect();
    let inside = lines
        .iter()
        .find(|line| line["message"] == "refused [redacted]")
        .expect("the first message");
    assert_eq!(inside["level"], "WARN");
    assert_eq!(inside["target"], TARGET);
    assert_eq!(inside["token"], "[redacted]");
    let received = receiver.received();
    assert_eq!(inside["trace_id"], received.spans[0].trace_id.as_str());
    assert_eq!(inside["span_id"], received.spans[0].span_id.as_str());
    let outside = lines
        .iter()
        .find(|line| line["message"] == "outside")
        .expect("the second message");
    assert_eq!(outside["branch"], "a \"quoted\"\nbranch");
    assert_eq!(outside["n"], 3);
    assert!(outside.get("trace_id").is_none());
    assert!(!text.contains(TOKEN));
}

#[tokio::test]
async fn libraries_are_kept_down_at_every_level() {
    let logs = LogSettings {
        level: tracing::Level::TRACE,
        ..LogSettings::default()
    };
    let rig = Rig::new(logs, None);
    tracing::dispatcher::with_default(&rig.dispatch, || {
        tracing::trace!(target: TARGET, "ours");
        tracing::info!(target: "h2::codec", "theirs");
        tracing::warn!(target: "h2::codec", "their warning");
    });
    let text = rig.lines.text();
    assert!(
        text.contains("ours") && text.contains("their warning"),
        "{text}"
    );
    assert!(!text.contains("theirs"), "{text}");
}
