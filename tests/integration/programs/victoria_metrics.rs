//! VictoriaMetrics receives what is pushed: by http/protobuf, and by gRPC through a collector.

use std::process::Command;

use amazing_gitlab_exporter::clock::Clock;

use super::story::{self, Story};
use crate::support::exporter::Exporter;
use crate::support::foreign::Foreign;
use crate::support::program::{Program, free_address};
use crate::support::promql::PromQl;
use crate::support::tools::tool;
use crate::support::until;

/// Starts VictoriaMetrics; none where it cannot be had.
async fn victoria_metrics() -> Option<(Program, String)> {
    let mut command = Command::new(tool("bin/victoria-metrics")?);
    command.args([
        "-storageDataPath=data",
        "-httpListenAddr=127.0.0.1:0",
        // What was received is shown at once.
        "-search.latencyOffset=0s",
    ]);
    let mut program = Program::start(command);
    let url = program
        .tells("where it listens", |output| {
            let (_, rest) = output.split_once("started server at ")?;
            let url = rest.lines().next()?.trim_end_matches('/');
            Some(url.to_owned())
        })
        .await;
    Some((program, url))
}

/// Starts a collector that takes gRPC and passes everything on by HTTP.
async fn collector(to: &str) -> Option<(Program, String)> {
    let mut command = Command::new(tool("bin/rotel")?);
    let [grpc, http] = [free_address(), free_address()];
    command.args(["start", "--otlp-grpc-endpoint", &grpc]);
    command.args(["--otlp-http-endpoint", &http]);
    command.args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"]);
    command.args(["--otlp-exporter-endpoint", to]);
    let mut program = Program::start(command);
    let started = |output: &str| output.contains("Starting Rotel").then_some(());
    program.tells("that it started", started).await;
    Some((program, format!("http://{grpc}")))
}

/// An exporter that pushes each second and says by which way.
async fn pushing(story: &Story, way: &str, endpoint: &str, protocol: &str) -> Exporter {
    let more = format!(
        "otel:
  metrics: {{endpoint: '{endpoint}', protocol: {protocol}, compression: gzip, interval: 1s}}
  resource_attributes: {{way: {way}}}"
    );
    Exporter::start(&Clock::System, &story.configuration(&more)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_can_be_asked_for_and_what_is_gone_is_stale() {
    let Some((_store, url)) = victoria_metrics().await else {
        return;
    };
    let Some((_collector, grpc)) = collector(&format!("{url}/opentelemetry")).await else {
        return;
    };
    let Some(reader) = Foreign::start().await else {
        return;
    };
    let story = Story::begin();
    let direct = format!("{url}/opentelemetry/v1/metrics");
    let exporters = [
        pushing(&story, "direct", &direct, "http/protobuf").await,
        pushing(&story, "collector", &grpc, "grpc").await,
    ];
    let ways = ["way='direct'", "way='collector'"];
    let flush = Some("/internal/force_flush");
    let promql = PromQl { url, flush };

    for (way, exporter) in ways.iter().zip(&exporters) {
        has_what_a_scrape_shows(&promql, way, exporter, &reader).await;
    }
    story.run_three();
    for way in ways {
        story::assert_increases(&promql, "increase_prometheus", way).await;
    }
    for (way, exporter) in ways.iter().zip(&exporters) {
        has_what_a_scrape_shows(&promql, way, exporter, &reader).await;
    }
    story::assert_flips(&story, &promql, ways[1]).await;
    story.delete_develop();
    for way in ways {
        story::assert_goes_stale(&promql, way).await;
    }
    for exporter in exporters {
        exporter.stop().await;
    }
}

/// Waits until all series of GitLab's facts are the same there as on `/metrics`.
async fn has_what_a_scrape_shows(
    promql: &PromQl,
    way: &str,
    exporter: &Exporter,
    reader: &Foreign,
) {
    let is_fact = |name: &str| {
        let prefixes = ["age_pipeline", "age_child", "age_job"];
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    // Resource and scope become labels.
    let is_foreign = |label: &str| label == "way" || label.contains('.');
    until(&format!("{way} has what a scrape shows"), async || {
        let shown = reader.read_text(exporter.metrics().await).await;
        let mut shown = shown.without_empty_labels();
        shown.0.retain(|(name, _), _| is_fact(name));
        let selector = format!("{{__name__=~'age_(pipeline|child|job).*', {way}}}");
        let stored = promql.samples(&selector, is_foreign).await;
        match shown.differences(&stored) {
            none if none.is_empty() && shown.0.len() > 100 => Ok(()),
            some => Err(format!("{} samples: {some}", shown.0.len())),
        }
    })
    .await;
}
