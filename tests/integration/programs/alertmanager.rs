//! The example for Alertmanager, by its own tool, and the configurations of Prometheus in the documents.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::docs::blocks;
use crate::support::exporter::write;
use crate::support::tools::tool;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder with the example, its paths made those of the folder.
fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().display().to_string();
    for name in ["alertmanager.yml", "gitlab.tmpl"] {
        let text = std::fs::read_to_string(path("otel/alertmanager").join(name)).expect("readable");
        write(&folder, name, &text.replace("/etc/alertmanager", &here));
    }
    folder
}

/// Receivers of an alert with these labels.
fn receivers(amtool: &Path, config: &Path, labels: &[&str]) -> String {
    let mut command = Command::new(amtool);
    command.args(["config", "routes", "test"]);
    command.arg(format!("--config.file={}", config.display()));
    let output = command.args(labels).output().expect("amtool runs");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_example_is_valid_and_routes_as_the_document_says() {
    let Some(amtool) = tool("bin/prometheus-alertmanager") else {
        return;
    };
    let folder = example();
    let config = folder.path().join("alertmanager.yml");
    let output = Command::new(&amtool)
        .arg("check-config")
        .arg(&config)
        .output();
    let output = output.expect("amtool runs");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("1 templates"), "{}", said(&output));
    for (labels, to) in [
        (
            &["alertname=AgeExporterDown", "severity=critical"][..],
            "operators",
        ),
        (
            &[
                "alertname=GitLabNoRunner",
                "severity=critical",
                "project=group/app",
            ],
            "operators,slack",
        ),
        (
            &[
                "alertname=GitLabNoRunner",
                "severity=critical",
                "project=payments/api",
            ],
            "payments",
        ),
        (
            &[
                "alertname=GitLabDefaultBranchFailing",
                "severity=warning",
                "project=group/app",
            ],
            "slack",
        ),
        (
            &[
                "alertname=GitLabJobFlaky",
                "severity=info",
                "project=payments/api",
            ],
            "discord",
        ),
    ] {
        assert_eq!(receivers(&amtool, &config, labels), to, "{labels:?}");
    }
}

/// Alerts that are inhibited or routed by name exist.
#[test]
fn the_example_names_alerts_that_exist() {
    let rules =
        std::fs::read_to_string(path("otel/prometheus/rules/alerts.yml")).expect("readable");
    let config =
        std::fs::read_to_string(path("otel/alertmanager/alertmanager.yml")).expect("readable");
    let words = config.split(|c: char| !c.is_ascii_alphanumeric());
    let mut named = 0;
    for word in words.filter(|word| word.starts_with("GitLab") || word.starts_with("AgeExporter")) {
        if ["AgeExporter", "GitLab"].contains(&word) {
            continue;
        }
        assert!(rules.contains(&format!("- alert: {word}\n")), "{word}");
        named += 1;
    }
    assert!(named > 5, "{named}");
}

/// Every configuration and every rule of Prometheus in the documents.
#[test]
fn prometheus_accepts_the_examples_of_the_documents() {
    let Some(promtool) = tool("bin/promtool") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (mut configurations, mut rules) = (0, 0);
    for (name, yaml) in blocks("yaml") {
        let kind = match yaml.split(':').next() {
            Some("scrape_configs" | "rule_files" | "alerting") => {
                configurations += 1;
                "config"
            }
            Some("groups") => {
                rules += 1;
                "rules"
            }
            _ => continue,
        };
        write(&folder, "example.yml", &yaml);
        for file in ["alerts", "dashboards", "recording"] {
            std::fs::create_dir_all(folder.path().join("rules")).expect("a folder");
            write(&folder, format!("rules/{file}.yml"), "groups: []\n");
        }
        let output = Command::new(&promtool)
            .args(["check", kind])
            .arg(folder.path().join("example.yml"))
            .output()
            .expect("promtool runs");
        assert!(output.status.success(), "{name}: {}\n{yaml}", said(&output));
    }
    assert!(configurations > 4 && rules > 0, "{configurations} {rules}");
}
