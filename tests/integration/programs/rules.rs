//! The alert and recording rules that come with the exporter, by Prometheus's own tool.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use amazing_gitlab_exporter::catalogue::{self, Kind};

use crate::support::tools::tool;

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
        let anchor = format!("docs/alerts.md#{}", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{alert}");
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
