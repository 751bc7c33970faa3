//! The recording rules that dashboards ship with.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use gitlab_dashboards::recorded::{ALL, rules};

use crate::support::exporter::write;
use crate::support::tools::tool;

/// Where the rules are.
const FILE: &str = "otel/prometheus/rules/dashboards.yml";

#[test]
fn the_file_is_what_the_source_makes_of_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let file = std::fs::read_to_string(file).expect("readable");
    assert!(
        file == rules(),
        "{FILE} is not what grafana/src makes: run cargo run -p gitlab-dashboards"
    );
}

/// A rise counts once, wherever it falls between two evaluations, and the quantiles of what is recorded
/// are those of the raw buckets.
#[test]
fn sums_of_what_is_recorded_are_the_increases_of_the_counters() {
    let Some(promtool) = tool("bin/promtool") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!(
        "rule_files: [{}]
evaluation_interval: 5m
tests:
- interval: 15s
  input_series:
{}  promql_expr_test:
{}",
        Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE).display(),
        RUNS,
        expectations()
    );
    write(&folder, "recorded.yml", &file);
    let ran = Command::new(promtool)
        .args(["test", "rules", "recorded.yml"])
        .current_dir(folder.path())
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stdout)
    );
}

/// A run each three minutes, 100 in all, that took between 60 and 120 seconds, and nothing after that;
/// a sample each 15 seconds.
const RUNS: &str = r#"  - {series: 'age_pipeline_duration_seconds_bucket{project="p",ref="main",kind="branch",le="60"}', values: '0x2440'}
  - {series: 'age_pipeline_duration_seconds_bucket{project="p",ref="main",kind="branch",le="120"}', values: '0x40 1+0.0833333x1187 100x1200'}
  - {series: 'age_pipeline_duration_seconds_bucket{project="p",ref="main",kind="branch",le="+Inf"}', values: '0x40 1+0.0833333x1187 100x1200'}
  - {series: 'age_pipeline_duration_seconds_count{project="p",ref="main",kind="branch"}', values: '0x40 1+0.0833333x1187 100x1200'}
  - {series: 'age_pipeline_run_count{project="p",ref="main",kind="branch",source="push"}', values: '0x140 1x2300'}
"#;

fn expectations() -> String {
    let name = |metric: &str| {
        let recorded = ALL.iter().find(|recorded| recorded.metric == metric);
        recorded.expect("it is recorded").name()
    };
    let buckets = name("age_pipeline_duration_seconds_bucket");
    let created = name("age_pipeline_run_count");
    let cases = [
        // It rose between the last sample of one evaluation and the first of the next.
        (format!("round(sum(sum_over_time({created}[10h])))"), "1"),
        (
            format!("round(sum(sum_over_time({buckets}{{le=\"+Inf\"}}[10h])))"),
            "100",
        ),
        (
            format!("histogram_quantile(0.5, sum by (le) (sum_over_time({buckets}[10h])))"),
            "90",
        ),
        // Nothing is recorded of time in which nothing happened.
        (format!("count({created}) or vector(0)"), "0"),
    ];
    let mut text = String::new();
    for (expr, value) in cases {
        let _ = writeln!(
            text,
            "  - {{expr: '{expr}', eval_time: 10h, exp_samples: [{{value: {value}, labels: '{{}}'}}]}}"
        );
    }
    text
}
