//! A Prometheus that scrapes the exporter twice: as OpenMetrics and as text.

use amazing_gitlab_exporter::clock::Clock;

use super::story::{self, Story};
use crate::support::exporter::Exporter;
use crate::support::program::Program;
use crate::support::promql::PromQl;
use crate::support::{prometheus, until};

/// Jobs of [`configuration`].
const JOBS: [&str; 2] = ["job='openmetrics'", "job='text'"];

fn configuration(target: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: openmetrics
  scrape_protocols: [OpenMetricsText1.0.0]
  static_configs: [{{targets: ['{target}']}}]
- job_name: text
  scrape_protocols: [PrometheusText0.0.4]
  static_configs: [{{targets: ['{target}']}}]
"
    )
}

/// Starts Prometheus and waits until both jobs are up; none where it cannot be had.
async fn scrape(target: &str) -> Option<(Program, PromQl)> {
    let (program, promql) = prometheus::start(&configuration(target)).await?;
    until("both jobs are up", async || {
        let up = promql.query("up == 1", None).await;
        if up.len() == JOBS.len() {
            return Ok(());
        }
        Err(promql.api("/api/v1/targets", &[]).await.to_string())
    })
    .await;
    Some((program, promql))
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_both_formats_and_counts_every_event() {
    let story = Story::begin();
    let exporter = Exporter::start(&Clock::System, &story.configuration("")).await;
    let Some((program, promql)) = scrape(&exporter.address()).await else {
        return;
    };
    for job in JOBS {
        let history = format!("count(age_pipeline_status{{{job}}}) > 5");
        until("history is shown", async || {
            let value = promql.value(&history, None).await;
            value.ok_or_else(|| history.clone())
        })
        .await;
    }

    story.run_three();
    for job in JOBS {
        story::assert_increases(&promql, "increase", job).await;
    }
    story::assert_flips(&story, &promql, JOBS[0]).await;
    both_jobs_agree(&promql).await;
    story.delete_develop();
    for job in JOBS {
        story::assert_goes_stale(&promql, job).await;
    }

    // Contract counters without `_total` cannot be counters in OpenMetrics.
    let metadata = promql.api("/api/v1/metadata", &[]).await;
    let types = |name: &str| -> Vec<String> {
        let entries = metadata[name].as_array().cloned().unwrap_or_default();
        let of = |entry: &serde_json::Value| entry["type"].as_str().unwrap_or("").to_owned();
        let mut types: Vec<String> = entries.iter().map(of).collect();
        types.sort();
        types.dedup();
        types
    };
    assert_eq!(types("age_pipeline_run_count"), ["counter", "unknown"]);
    assert_eq!(types("age_pipeline_duration_seconds"), ["histogram"]);
    assert_eq!(types("age_pipeline_status"), ["gauge"]);

    // No scrape failed, and Prometheus had nothing to complain about.
    let failed = promql.query("min_over_time(up[5m]) == 0", None).await;
    assert!(failed.is_empty(), "{failed:?}");
    let targets = promql.api("/api/v1/targets", &[]).await;
    for target in targets["activeTargets"].as_array().expect("targets") {
        assert_eq!(target["health"], "up", "{target}");
        assert_eq!(target["lastError"], "", "{target}");
    }
    let said = program.stderr();
    let complaints = said.lines().filter(|line| !line.contains("level=INFO"));
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
    exporter.stop().await;
}

/// Both formats bring the same series with the same values.
async fn both_jobs_agree(promql: &PromQl) {
    until("both jobs have the same", async || {
        let mut of_jobs = Vec::new();
        for job in JOBS {
            let selector = format!("{{__name__=~'age_(pipeline|child|job).*', {job}}}");
            of_jobs.push(promql.samples(&selector, |label| label == "job").await);
        }
        match of_jobs[0].differences(&of_jobs[1]) {
            none if none.is_empty() && of_jobs[0].0.len() > 100 => Ok(()),
            some => Err(format!("{} samples: {some}", of_jobs[0].0.len())),
        }
    })
    .await;
}
