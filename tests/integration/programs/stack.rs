//! What surrounds the exporter when it is deployed: Compose, the Collector, Prometheus, Grafana's
//! provisioning, the workflows. Each is held against the program that reads it where it can be had,
//! and against what the exporter knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use amazing_gitlab_exporter::catalogue::{self, Kind};

use crate::support::exporter::{binary, write};
use crate::support::tools::tool;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(folder)).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let names: Vec<String> = names
        .map(|name| format!("{folder}/{}", name.to_string_lossy()))
        .collect();
    assert!(!names.is_empty(), "{folder}");
    names
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Components of `otel/collector/config.yaml` that the Collector of the tests is built without.
const NOT_LINKED: [(&str, &str); 5] = [
    ("processors", "memory_limiter"),
    ("processors", "batch"),
    ("exporters", "prometheus_remote_write"),
    ("exporters", "otlp_grpc/tempo"),
    ("extensions", "health_check"),
];

/// `otel/collector/config.yaml` as far as the Collector of the tests knows its components: OTLP on
/// free ports, and what was received shown on `address`.
pub fn collector_config(address: &str) -> String {
    let mut config = String::from("processors:\nextensions:\n");
    let (mut section, mut part) = (String::new(), String::new());
    for line in text("otel/collector/config.yaml").lines() {
        let indent = line.len() - line.trim_start().len();
        let key = || line.trim().split(':').next().unwrap_or_default().to_owned();
        match indent {
            _ if line.trim().is_empty() || line.trim().starts_with('#') => continue,
            0 => (section, part) = (key(), String::new()),
            2 => part = key(),
            _ => {}
        }
        let is_linked = !NOT_LINKED.contains(&(section.as_str(), part.as_str()));
        let is_known = match (section.as_str(), indent) {
            ("processors" | "extensions", _) => {
                assert!(
                    part.is_empty() || !is_linked,
                    "{section}: {part} is new here"
                );
                false
            }
            // The metrics' pipeline is what is left of the service.
            ("service", 2) => part == "pipelines",
            ("service", 4) => key() == "metrics",
            ("service", _) => !line.contains("processors:") && !line.contains("traces"),
            _ => is_linked,
        };
        if is_known {
            config += &defaults(line);
            config.push('\n');
        }
    }
    let traces = "      receivers: [otlp]\n      exporters: [otlp_grpc/tempo]\n";
    assert!(config.ends_with(traces), "{config}");
    config.truncate(config.len() - traces.len());
    for (from, to) in [
        ("0.0.0.0:4317", "127.0.0.1:0"),
        ("0.0.0.0:4318", "127.0.0.1:0"),
        ("0.0.0.0:8889", address),
        (
            "service:\n",
            "service:\n  telemetry: {metrics: {level: none}}\n",
        ),
    ] {
        assert!(config.contains(from), "{from} in {config}");
        config = config.replace(from, to);
    }
    config
}

/// A line with the default of each variable, `${env:NAME:-default}`.
fn defaults(line: &str) -> String {
    let mut left = line;
    let mut line = String::new();
    while let Some((before, rest)) = left.split_once("${env:") {
        let (variable, after) = rest.split_once('}').expect("a variable ends");
        let (_, default) = variable.split_once(":-").expect("a variable has a default");
        line = line + before + default;
        left = after;
    }
    line + left
}

#[test]
fn the_collector_accepts_its_configuration() {
    let Some(collector) = tool("bin/otel-collector") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let validate = |yaml: &str| {
        write(&folder, "config.yaml", yaml);
        let file = folder.path().join("config.yaml");
        let mut command = Command::new(&collector);
        command.arg("validate").arg("--config").arg(file);
        command.output().expect("the Collector runs")
    };
    let config = collector_config("127.0.0.1:0");
    let output = validate(&config);
    assert!(output.status.success(), "{}\n{config}", said(&output));
    // It would say so.
    let wrong = config.replace("metric_expiration", "metric_expiry");
    assert!(!validate(&wrong).status.success());
}

/// By Alloy's own parser, and in its format; that its components have these arguments is read from
/// their reference.
#[test]
fn alloy_reads_its_configuration() {
    let Some(parser) = tool("bin/alloy-syntax") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let parse = |text: &str| {
        write(&folder, "config.alloy", text);
        let mut command = Command::new(&parser);
        command.arg(folder.path().join("config.alloy"));
        command.output().expect("the parser runs")
    };
    let config = text("otel/alloy/config.alloy");
    let output = parse(&config);
    assert!(output.status.success(), "{}", said(&output));
    // It would say so.
    let wrong = config.replace("forward_to                       = [", "forward_to = ");
    assert_ne!(wrong, config);
    assert!(!parse(&wrong).status.success());
}

#[test]
fn prometheus_accepts_its_configurations() {
    let Some(promtool) = tool("bin/promtool") else {
        return;
    };
    for file in ["prometheus.yml", "by-otlp.yml"] {
        let file = path("otel/prometheus").join(file);
        let mut command = Command::new(&promtool);
        let output = command.args(["check", "config"]).arg(file).output();
        let output = output.expect("promtool runs");
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("3 rule files found"));
    }
}

#[test]
fn compose_accepts_its_file() {
    let Some(compose) = tool("bin/docker-compose") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let compose = |arguments: &[&str]| {
        let mut command = Command::new(&compose);
        // Without the variables of whoever runs the tests.
        command.env_clear().env("HOME", folder.path());
        let file = path("docker-compose.yml");
        command.arg("--file").arg(file).args(arguments);
        let output = command.output().expect("docker-compose runs");
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let services = |text: String| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let demo = path(".env.example");
    let demo = demo.to_str().expect("UTF-8");
    let with = services(compose(&["--env-file", demo, "config", "--services"]));
    assert!(with.contains("simulator") && with.len() == 6, "{with:?}");
    if !path(".env").exists() {
        let without = services(compose(&["config", "--services"]));
        let difference: Vec<_> = with.difference(&without).collect();
        assert_eq!(difference, ["simulator"]);
    }
}

/// `AGE_…` settings in a text, as names and values; `assigned` stands between them.
fn settings<'a>(text: &'a str, assigned: &str) -> Vec<(&'a str, String)> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches('#'));
    let settings = lines.filter(|line| line.starts_with("AGE_"));
    settings
        .map(|line| {
            let (name, value) = line.split_once(assigned).expect("a setting has a value");
            // Compose's own `${NAME:-default}`.
            let default = value
                .split_once(":-")
                .map(|(_, rest)| rest.trim_end_matches('}'));
            (name, default.unwrap_or(value).to_owned())
        })
        .collect()
}

#[test]
fn the_exporter_accepts_the_settings_that_compose_gives_it() {
    let (compose, example) = (text("docker-compose.yml"), text(".env.example"));
    let mut given = settings(&compose, ": ");
    let count = given.len();
    given.extend(settings(&example, "="));
    assert!(count > 6 && given.len() > count + 6, "{given:?}");
    let mut command = binary(&["validate"]);
    for (name, value) in given {
        match name {
            "AGE_CONFIG" => command.env(name, path("config/minimal.yml")),
            _ => command.env(name, value),
        };
    }
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    let said = said(&output);
    assert!(
        said.contains("runners") && said.contains("otel-collector:4317"),
        "{said}"
    );
}

/// Cargo wants the manifest of every member, built or not.
#[test]
fn the_image_is_built_with_every_member_of_the_workspace() {
    let manifest = text("Cargo.toml");
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .expect("members");
    let members: Vec<String> = serde_json::from_str(members).expect("a list");
    assert!(members.len() > 1);
    let (dockerfile, ignored) = (text("Dockerfile"), text(".dockerignore"));
    for member in members {
        let copied = format!("COPY {member}/Cargo.toml {member}/\n");
        assert!(dockerfile.contains(&copied), "{member}");
        let first = member.split('/').next().unwrap_or(&member);
        assert!(ignored.contains(&format!("!{first}\n")), "{member}");
    }
}

#[test]
fn what_compose_mounts_is_there() {
    let compose = text("docker-compose.yml");
    let mounts = compose.lines().filter_map(|line| {
        let (from, _) = line.trim().strip_prefix("- ./")?.split_once(':')?;
        Some(from)
    });
    let mounts: BTreeSet<&str> = mounts.collect();
    assert!(mounts.len() > 4, "{mounts:?}");
    for mount in mounts {
        // Compose would make an empty folder in its place.
        assert!(path(mount).exists(), "{mount}");
    }
}

/// Tempo 3 refuses `compactor`; what `overrides` says holds for 2.8 and 3.0.
#[test]
fn the_configuration_of_tempo_is_for_2_8_and_3_0() {
    let tempo = text("otel/tempo/tempo.yaml");
    let sections: Vec<&str> = tempo
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split(':').next())
        .collect();
    let of_both = [
        "server",
        "distributor",
        "overrides",
        "storage",
        "usage_report",
    ];
    assert_eq!(sections, of_both);
    assert!(
        tempo.contains("overrides:\n  defaults:\n    compaction:\n      block_retention: 48h\n")
    );
}

/// A push has no exemplars, so that nothing on its way promises them.
#[test]
fn nothing_promises_exemplars_by_otlp() {
    for file in ["otel/collector/config.yaml", "otel/alloy/config.alloy"] {
        assert!(!text(file).contains("xemplar"), "{file}");
    }
    assert!(text("docs/otlp.md").contains("Exemplars are not exported by OTLP"));
}

#[test]
fn grafana_knows_the_sources_by_their_uid_and_asks_for_metrics_that_there_are() {
    let sources = text("grafana/provisioning/datasources/datasources.yml");
    for uid in ["prometheus", "tempo"] {
        assert!(sources.contains(&format!("    uid: {uid}\n")), "{uid}");
        assert!(
            sources.contains(&format!("datasourceUid: {uid}\n")),
            "{uid}"
        );
    }
    let mut known = BTreeSet::new();
    for desc in catalogue::all() {
        known.insert(desc.name.to_owned());
        if desc.kind == Kind::Histogram {
            known.insert(format!("{}_bucket", desc.name));
        }
    }
    let words = sources.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let asked: Vec<&str> = words.filter(|word| word.starts_with("age_")).collect();
    assert!(!asked.is_empty());
    for name in asked {
        assert!(known.contains(name), "{name}");
    }
}

#[test]
fn the_image_is_built_with_every_crate_that_cargo_asks_for() {
    let (manifest, dockerfile) = (text("Cargo.toml"), text("Dockerfile"));
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "));
    let members: Vec<String> = serde_json::from_str(members.expect("a workspace")).expect("a list");
    assert!(!members.is_empty());
    for member in members {
        let copy = format!("COPY {member}/Cargo.toml {member}/\n");
        assert!(dockerfile.contains(&copy), "{member}");
    }
}

#[test]
fn every_action_is_pinned_by_commit_and_says_its_version() {
    let mut pinned = 0;
    for file in files(".github/workflows") {
        let workflow = text(&file);
        assert!(workflow.contains("\npermissions: {}\n"), "{file}");
        assert!(workflow.contains("\nconcurrency:\n"), "{file}");
        for line in workflow.lines() {
            let Some((_, action)) = line.split_once("uses: ") else {
                continue;
            };
            let (_, version) = action.split_once('@').expect("an action has a version");
            let (commit, comment) = version.split_once(" # v").unwrap_or((version, ""));
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_commit && !comment.is_empty(), "{file}: {line}");
            pinned += 1;
        }
    }
    assert!(pinned > 5);
}

/// The service's command and variables are what the exporter knows.
#[test]
fn the_service_starts_the_exporter_with_what_it_knows() {
    let unit = text("examples/systemd/amazing-gitlab-exporter.service");
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "config.yml", &text("config/minimal.yml"));
    write(&folder, "gitlab-token", "glpat-of-the-service\n");
    let here = folder.path().display().to_string();
    let placed = |value: &str| {
        value
            .replace("/etc/amazing-gitlab-exporter", &here)
            .replace("%d", &here)
            .replace("%S", &here)
    };
    let values = |key: &str| {
        let key = format!("{key}=");
        let lines = unit.lines();
        let values = lines.filter_map(|line| line.strip_prefix(&key).map(placed));
        values.collect::<Vec<_>>()
    };
    let command = values("ExecStart").remove(0);
    let mut words = command.split(' ');
    assert_eq!(words.next(), Some("amazing-gitlab-exporter"));
    assert_eq!(words.next(), Some("run"));
    let mut command = binary(&["validate"]);
    command.args(words);
    let variables = values("Environment");
    for variable in &variables {
        let (name, value) = variable.split_once('=').expect("a name and a value");
        command.env(name, value);
    }
    assert_eq!(variables.len(), 2);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", said(&output));
    // Without the token's file it would not be.
    command.env("AGE_GITLAB_TOKEN_FILE", format!("{here}/missing"));
    let output = command.output().expect("it runs");
    assert!(!output.status.success(), "{}", said(&output));
}

/// The image's weight, where the program was built as releases have it (`make weight`).
#[test]
fn the_image_is_light() {
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.ancestors().nth(3).expect("target/debug/deps");
    let program = target.join("dist/amazing-gitlab-exporter");
    if !program.exists() {
        println!("skipped: no program of the profile dist; `make weight` builds and weighs it");
        return;
    }
    let output = Command::new(path(".ci/weigh")).arg(program).output();
    let output = output.expect("it weighs");
    assert!(output.status.success(), "{}", said(&output));
}
