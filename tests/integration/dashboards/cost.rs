//! What panels cost a real Prometheus: a week of a hundred projects with fifty jobs each, scraped every
//! minute, in blocks on disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::catalogue::{self, Kind};
use gitlab_dashboards::recorded::{self as rules, Recorded};
use gitlab_dashboards::{Dashboard, Panel};
use promql_parser::parser::{self, Expr};
use tempfile::TempDir;

use super::as_written;
use crate::support::exporter::real_time;
use crate::support::prometheus;
use crate::support::promql::PromQl;
use crate::support::tools::tool;

const DAY: i64 = 86_400;
/// What is kept, and asked for.
const WEEK: i64 = 7 * DAY;
/// Seconds between two scrapes, and between two evaluations of rules.
const SCRAPE: i64 = 60;
const RULES: i64 = 300;
/// The most that a query may take.
const MOST: Duration = Duration::from_secs(5);
/// Points of a panel that says nothing of it: about its width in pixels.
const POINTS: i64 = 1000;

/// A family of series: its labels, and whether queries look back over it.
#[derive(Clone, Debug, Default)]
struct Family {
    labels: Vec<String>,
    looked_back: bool,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes and some gigabytes: cargo test --test integration a_week -- --ignored --nocapture"]
async fn no_query_over_a_week_of_a_hundred_projects_takes_five_seconds() {
    let Some(promtool) = tool("bin/promtool") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let end = real_time() / 1000 / RULES * RULES;
    for (name, family) in families() {
        write_blocks(&promtool, &folder, &name, &family, end);
    }
    let more = ["--storage.tsdb.retention.time=60d"];
    let started = prometheus::start_in(folder, "scrape_configs: []\n", &more).await;
    let (_prometheus, promql) = started.expect("it is there");
    let mut costs = Vec::new();
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            let slowest = slowest_query(&dashboard, panel, &promql, end).await;
            costs.push((slowest, format!("{}: {}", dashboard.name(), panel.title())));
        }
    }
    costs.sort();
    for (cost, name) in costs.iter().rev() {
        println!("{:.2} s  {name}", cost.as_secs_f64());
    }
    let (cost, name) = costs.last().expect("panels");
    assert!(*cost < MOST, "{name} takes {cost:?}");
}

/// Every family that a panel asks for.
fn families() -> BTreeMap<String, Family> {
    let mut families = BTreeMap::new();
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            for query in panel.queries() {
                let text = as_written(&dashboard, &query.expr, "1h");
                let expr = parser::parse(&text).expect("it is right");
                collect(&expr, query.over_time, &mut families);
            }
        }
    }
    families
}

fn collect(expr: &Expr, looks_back: bool, families: &mut BTreeMap<String, Family>) {
    let both = |one: &Expr, other: &Expr, families: &mut _| {
        collect(one, looks_back, families);
        collect(other, looks_back, families);
    };
    match expr {
        Expr::VectorSelector(selector) => add(selector.name.as_deref(), looks_back, families),
        Expr::MatrixSelector(matrix) => add(matrix.vs.name.as_deref(), true, families),
        Expr::Subquery(subquery) => collect(&subquery.expr, true, families),
        Expr::Paren(paren) => collect(&paren.expr, looks_back, families),
        Expr::Unary(unary) => collect(&unary.expr, looks_back, families),
        Expr::Aggregate(aggregate) => collect(&aggregate.expr, looks_back, families),
        Expr::Binary(binary) => both(&binary.lhs, &binary.rhs, families),
        Expr::Call(call) => {
            for argument in &call.args.args {
                collect(argument, looks_back, families);
            }
        }
        _ => {}
    }
}

fn add(name: Option<&str>, looks_back: bool, families: &mut BTreeMap<String, Family>) {
    let name = name.expect("a selector names its metric");
    let recorded = rules::ALL.iter().find(|recorded| recorded.name() == name);
    let recorded = recorded
        .map(Recorded::labels)
        .or_else(|| super::artifact_size(name));
    let mut labels: Vec<&str> = recorded.unwrap_or_else(|| labels_of(name));
    if name.ends_with("_bucket") {
        labels.push("le");
    }
    let family = families.entry(name.to_owned()).or_default();
    family.labels = labels.into_iter().map(str::to_owned).collect();
    family.looked_back |= looks_back;
}

fn labels_of(name: &str) -> Vec<&'static str> {
    let desc = catalogue::all().find(|desc| {
        let part = name.strip_prefix(desc.name);
        match desc.kind {
            Kind::Histogram => matches!(part, Some("_bucket" | "_count" | "_sum")),
            _ => part == Some(""),
        }
    });
    desc.map_or_else(Vec::new, |desc| desc.labels.to_vec())
}

/// Values of labels that belong together, each with those it is known under.
fn values(label: &str, name: &str) -> Vec<String> {
    let numbered = |what: &str, count: usize| (0..count).map(|it| format!("{what}-{it}")).collect();
    let all = |values: &[&str]| values.iter().map(ToString::to_string).collect();
    let (child, failing) = (name.starts_with("age_child"), name.contains("_total"));
    match label {
        // One in five has child pipelines.
        "project" if child => numbered("group/project", 20),
        "project" => numbered("group/project", 100),
        "parent_project" => all(&["group/project-0"]),
        "ref" if child || failing => all(&["main"]),
        "ref" => all(&["main", "merge-requests/main"]),
        // One in five of the jobs fails, is flaky or is retried in a week.
        "job_name" if failing => numbered("job", 10),
        "job_name" => numbered("job", 50),
        "status" if name.contains("finished") || name.contains("job_duration") => {
            all(&["success", "failed"])
        }
        "environment" => all(&["production", "staging", "review"]),
        "environment_tier" => all(&["production", "staging"]),
        "author" | "reviewer" => numbered("user", 10),
        "runner_id" => numbered("runner", 20),
        "suite_name" | "suite" => numbered("suite", 5),
        "collector_type" | "endpoint" | "query" => numbered(label, 15),
        "le" => all(&[
            "10", "30", "60", "120", "300", "600", "900", "1800", "2700", "3600", "7200", "+Inf",
        ]),
        "default_branch" => all(&["main"]),
        "kind" => all(&["branch"]),
        "tier" => all(&["production"]),
        _ => all(&["value"]),
    }
}

/// All label sets of a family. A job is in one stage.
fn label_sets(name: &str, family: &Family) -> Vec<String> {
    let has_job = family.labels.iter().any(|label| label == "job_name");
    let mut sets = vec![String::new()];
    for label in &family.labels {
        if label == "stage" && has_job {
            continue;
        }
        let values = match label.as_str() {
            "stage" => (0..5).map(|stage| format!("stage-{stage}")).collect(),
            label => values(label, name),
        };
        let mut next = Vec::with_capacity(sets.len() * values.len());
        for set in &sets {
            for (place, value) in values.iter().enumerate() {
                let mut set = format!("{set}{label}=\"{value}\",");
                if label == "job_name" {
                    let _ = write!(set, "stage=\"stage-{}\",", place % 5);
                }
                next.push(set);
            }
        }
        sets = next;
    }
    sets
}

/// Times of a family's samples: of a recorded one, where something happened.
fn times(name: &str, family: &Family, end: i64, seed: usize) -> Vec<i64> {
    let every = |step: i64, from: i64| (0..(end - from) / step).map(move |it| from + it * step);
    if name == rules::ARTIFACT_SIZE.0 {
        return every(RULES, end - WEEK).collect();
    }
    if name.starts_with("age:") {
        // Minutes in which something happened, of a hundred: more where many jobs are behind a series.
        let busy = if name.contains("queued") { 50 } else { 20 };
        let all = every(RULES, end - WEEK).enumerate();
        let is_busy = |it: usize| (it * 7919 + seed * 104_729) % 100 < busy;
        return all
            .filter(|(it, _)| is_busy(*it))
            .map(|(_, at)| at)
            .collect();
    }
    let from = if family.looked_back { WEEK } else { 600 };
    every(SCRAPE, end - from).collect()
}

/// Writes a family's samples, and makes blocks of them.
fn write_blocks(promtool: &Path, folder: &TempDir, name: &str, family: &Family, end: i64) {
    let path = folder.path().join("samples");
    let file = std::fs::File::create(&path).expect("a file");
    let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
    writeln!(file, "# TYPE {name} unknown").expect("it is written");
    for (seed, set) in label_sets(name, family).iter().enumerate() {
        for (place, at) in times(name, family, end, seed).iter().enumerate() {
            writeln!(file, "{name}{{{set}job=\"age\"}} {} {at}", place / 50)
                .expect("it is written");
        }
    }
    writeln!(file, "# EOF").expect("it is written");
    file.flush().expect("it is written");
    let made = Command::new(promtool)
        .args([
            "tsdb",
            "create-blocks-from",
            "--quiet",
            "--max-block-duration=162h",
            "openmetrics",
        ])
        .args([&path, &folder.path().join("data")])
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{name}: {said}");
    std::fs::remove_file(path).expect("it is there");
}

/// How long the slowest of a panel's queries takes over a week.
async fn slowest_query(
    dashboard: &Dashboard,
    panel: &Panel,
    promql: &PromQl,
    end: i64,
) -> Duration {
    let json = panel.json(&|expr| dashboard.written_out(expr));
    let points = json["maxDataPoints"].as_i64().unwrap_or(POINTS);
    let least = match json["interval"].as_str() {
        Some("1d") => DAY,
        Some("7d") => WEEK,
        Some("1h") => 3600,
        _ => 300,
    };
    let step = (WEEK / points).max(least);
    let mut slowest = Duration::ZERO;
    for query in panel.queries() {
        let text = query.expr.replace("$__interval", &format!("{step}s"));
        let text = text.replace("$__rate_interval", &format!("{}s", step + SCRAPE));
        let text = as_written(dashboard, &text, &format!("{WEEK}s"));
        let start = Instant::now();
        if query.over_time {
            let [from, to, step] = [end - WEEK, end, step].map(|it| it.to_string());
            let parameters = [
                ("query", text.as_str()),
                ("start", &from),
                ("end", &to),
                ("step", &step),
            ];
            promql.api("/api/v1/query_range", &parameters).await;
        } else {
            promql.query(&text, Some(as_seconds(end - SCRAPE))).await;
        }
        slowest = slowest.max(start.elapsed());
    }
    slowest
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
fn as_seconds(at: i64) -> f64 {
    at as f64
}
