//! From a slow point to its trace: exemplars as Prometheus keeps them, spans as a receiver gets
//! them.

use std::collections::BTreeMap;

use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use serde::Deserialize;

use crate::support::exporter::{Binary, beginning_now, configuration};
use crate::support::otlp::{Receiver, Span};
use crate::support::promql::PromQl;
use crate::support::series::Labels;
use crate::support::{prometheus, until};

/// `SPAN_KIND_CLIENT`.
const CLIENT: i32 = 3;

/// A series with its exemplars, as `/api/v1/query_exemplars` answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    series_labels: Labels,
    exemplars: Vec<Exemplar>,
}

#[derive(Debug, Deserialize)]
struct Exemplar {
    labels: BTreeMap<String, String>,
    value: String,
    timestamp: f64,
}

/// Exemplars that a metric's buckets have now, as soon as there are some.
async fn exemplars(promql: &PromQl, metric: &str) -> Vec<(Labels, Exemplar)> {
    let query = format!("{metric}_bucket");
    let parameters = [
        ("query", query.as_str()),
        ("start", "0"),
        ("end", "9999999999"),
    ];
    let mut found = Vec::new();
    until("there are exemplars", async || {
        let data = promql.api("/api/v1/query_exemplars", &parameters).await;
        let series: Vec<Found> = serde_json::from_value(data).expect("series with exemplars");
        found = series
            .into_iter()
            .flat_map(|one| {
                let labels = one.series_labels;
                let exemplars = one.exemplars.into_iter();
                exemplars.map(move |exemplar| (labels.clone(), exemplar))
            })
            .collect();
        match found.is_empty() {
            false => Ok(()),
            true => Err(format!("{metric} has none")),
        }
    })
    .await;
    found
}

/// The span that an exemplar names, once the receiver has got it.
async fn span(receiver: &Receiver, exemplar: &Exemplar) -> Span {
    let mut found = None;
    until("its span arrives", async || {
        let received = receiver.received();
        let mut spans = received.spans.iter();
        let is_it = |span: &&Span| {
            span.trace_id == exemplar.labels["trace_id"]
                && span.span_id == exemplar.labels["span_id"]
        };
        found = spans.find(is_it).cloned();
        match &found {
            Some(_) => Ok(()),
            None => Err(format!("{exemplar:?}")),
        }
    })
    .await;
    found.expect("it was waited for")
}

/// The value lies in the bucket that it stands at, and has a time.
fn assert_fits(labels: &Labels, exemplar: &Exemplar) {
    let value: f64 = exemplar.value.parse().expect("a number");
    let bound = match labels["le"].as_str() {
        "+Inf" => f64::INFINITY,
        bound => bound.parse().expect("a number"),
    };
    assert!(value <= bound, "{labels:?} {exemplar:?}");
    assert!(exemplar.timestamp > 1_700_000_000.0, "{exemplar:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_leads_to_the_trace_of_its_call_or_run() {
    let receiver = Receiver::start().await;
    let world = World::generate(WorldConfig {
        projects: 2,
        pipelines_per_project: 2,
        ..beginning_now()
    });
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let traces = receiver.http("traces");
    let more = format!("otel: {{traces: {{endpoint: '{traces}'}}}}");
    let exporter = Binary::run(&configuration(&simulator, &more), &[]).await;
    let target = exporter.address();
    let scrape = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: exporter, static_configs: [{{targets: ['{target}']}}]}}]
"
    );
    let keep = ["--enable-feature=exemplar-storage"];
    let Some((_program, promql)) = prometheus::start_with(&scrape, &keep).await else {
        return;
    };

    for (labels, exemplar) in exemplars(&promql, "age_api_request_duration_seconds").await {
        assert_fits(&labels, &exemplar);
        let call = span(&receiver, &exemplar).await;
        assert_eq!(call.kind, CLIENT, "{call:?}");
        let name = format!("{} {}", labels["method"], labels["endpoint"]);
        assert_eq!(call.name, name, "{exemplar:?}");
    }
    for (labels, exemplar) in exemplars(&promql, "age_scrape_duration_seconds").await {
        assert_fits(&labels, &exemplar);
        let run = span(&receiver, &exemplar).await;
        assert!(run.name.ends_with(" run"), "{labels:?} {run:?}");
    }

    // Text 0.0.4 has no words for it.
    let text = exporter.get("/metrics").await;
    assert!(
        text.content_type.starts_with("text/plain"),
        "{}",
        text.content_type
    );
    assert!(text.body.contains("age_scrape_duration_seconds_bucket"));
    assert!(!text.body.contains("trace_id"));
}
