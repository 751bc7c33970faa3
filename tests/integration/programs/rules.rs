//! The alert and recording rules that come with the exporter, by Prometheus's own tool.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use amazing_gitlab_exporter::catalogue::{self, Kind};
use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::exporter::{Exporter, beginning_now, configuration, write};
use crate::support::samples::Samples;
use crate::support::tools::tool;
use crate::support::until;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("otel/prometheus")
        .join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(name)).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn promtool(words: [&str; 2], files: &[PathBuf]) {
    let Some(promtool) = tool("bin/promtool") else {
        return;
    };
    let ran = Command::new(promtool).args(words).args(files).output();
    let ran = ran.expect("promtool runs");
    let said =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
}

#[test]
fn they_are_valid() {
    promtool(["check", "rules"], &files("rules"));
}

#[test]
fn every_alert_fires_when_it_should_and_is_silent_when_not() {
    promtool(["test", "rules"], &files("tests"));
}

/// What says why nothing is collected must not need a series that is only there once something was.
#[tokio::test(flavor = "multi_thread")]
async fn they_fire_on_what_is_there_with_a_token_that_was_wrong_from_the_start() {
    let simulator = two_projects();
    let yaml = configuration(&simulator, "").replace(simulator.token(), "glpat-wrong");
    fire_from_the_start(&yaml, "401", "AgeExporterTokenRefused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_fire_on_what_is_there_with_a_gitlab_that_was_never_reached() {
    let simulator = two_projects();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let yaml = configuration(&simulator, "").replace(simulator.url(), &format!("http://{closed}"));
    fire_from_the_start(&yaml, "connect", "AgeExporterGitLabUnreachable").await;
}

fn two_projects() -> Simulator {
    let world = World::generate(WorldConfig {
        projects: 2,
        ..beginning_now()
    });
    Simulator::start(world, &Options::default()).expect("a simulator")
}

/// Starts an exporter whose requests end with this status, and has promtool evaluate the alerts on what it
/// shows then: the named one fires beside those that say that nothing was ever collected.
async fn fire_from_the_start(yaml: &str, status: &str, alert: &str) {
    let exporter = Exporter::start(&Clock::System, yaml).await;
    let text = until("a request ended so", async || {
        let text = exporter.metrics().await;
        let ended = text.contains(&format!("status_code=\"{status}\""));
        ended.then_some(text.clone()).ok_or(text)
    })
    .await;
    exporter.stop().await;

    let mut fire = ["AgeExporterNeverSucceeded", "AgeExporterNoProjects", alert];
    fire.sort_unstable();
    let alerts = folder("rules").join("alerts.yml");
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!(
        "rule_files: [{}]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
{}  promql_expr_test:
  - expr: count by (alertname) (ALERTS{{alertstate='firing', alertname=~'AgeExporter.+'}}) > bool 0
    eval_time: 2h
    exp_samples:
{}",
        alerts.display(),
        hours_like(&Samples::of_plain_text(&text)),
        fire.map(|name| format!("    - {{labels: '{{alertname=\"{name}\"}}', value: 1}}\n"))
            .concat()
    );
    write(&folder, "from-the-start.yml", &file);
    promtool(
        ["test", "rules"],
        &[folder.path().join("from-the-start.yml")],
    );
}

/// The exporter's own series, as promtool takes them, for three hours in which calls go on as they do.
fn hours_like(samples: &Samples) -> String {
    let mut text = String::new();
    for ((name, labels), value) in &samples.0 {
        if !name.starts_with("age_") || name.ends_with("_bucket") {
            continue;
        }
        let more = ["instance=\"age:8080\"".to_owned(), "job=\"age\"".to_owned()];
        let labels = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""));
        let labels: Vec<String> = labels.chain(more).collect();
        let goes_on = name == "age_api_requests_total";
        let step = u8::from(goes_on);
        let labels = labels.join(",");
        let _ = writeln!(
            text,
            "  - {{series: '{name}{{{labels}}}', values: '{value}+{step}x180'}}"
        );
    }
    text
}

#[test]
fn each_has_both_cases_and_a_section_in_the_runbook() {
    let rules = std::fs::read_to_string(folder("rules/alerts.yml")).expect("readable");
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10);
    let tests: String = files("tests")
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("readable"))
        .collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alerts.md");
    let docs = std::fs::read_to_string(docs).expect("readable");
    for alert in alerts {
        assert!(tests.contains(&format!("name: {alert} fires\n")), "{alert}");
        assert!(
            tests.contains(&format!("name: {alert} is silent\n")),
            "{alert}"
        );
        assert!(docs.contains(&format!("### {alert}\n")), "{alert}");
        let runbook = format!("runbook_url: docs/alerts.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&runbook), "{alert}");
    }
}

#[test]
fn every_metric_in_them_is_in_the_catalogue() {
    let mut known = BTreeSet::new();
    for desc in catalogue::all() {
        known.insert(desc.name.to_owned());
        if desc.kind == Kind::Histogram {
            for part in ["bucket", "count", "sum"] {
                known.insert(format!("{}_{part}", desc.name));
            }
        }
    }
    for file in files("rules") {
        let text = std::fs::read_to_string(file).expect("readable");
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("age_")) {
            assert!(known.contains(word), "{word}");
        }
    }
}
