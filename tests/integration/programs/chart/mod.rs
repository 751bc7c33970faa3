//! The Helm chart of examples/helm: rendered by Helm itself for each file of its folder `ci`, and held
//! against the schemas of Kubernetes, the exporter, and what it repeats of this repository.

mod refused;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use amazing_gitlab_exporter::config::Config;
use serde_json::{Value, json};

use crate::support::tools::tool;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const CHART: &str = "examples/helm/amazing-gitlab-exporter";

/// The kinds that each file of `ci` gives; dashboards are one ConfigMap each.
const SETS: [(&str, &[&str]); 10] = [
    (
        "default",
        &["ConfigMap", "Service", "ServiceAccount", "StatefulSet"],
    ),
    (
        "no-state",
        &["ConfigMap", "Deployment", "Service", "ServiceAccount"],
    ),
    (
        "existing-claim",
        &["ConfigMap", "Service", "ServiceAccount", "StatefulSet"],
    ),
    (
        "replicas",
        &[
            "ConfigMap",
            "Deployment",
            "PodDisruptionBudget",
            "Service",
            "ServiceAccount",
            "ServiceMonitor",
        ],
    ),
    (
        "redis-address",
        &[
            "ConfigMap",
            "Deployment",
            "PodDisruptionBudget",
            "Service",
            "ServiceAccount",
        ],
    ),
    (
        "monitoring",
        &[
            "ConfigMap",
            "PrometheusRule",
            "Service",
            "ServiceAccount",
            "ServiceMonitor",
            "StatefulSet",
        ],
    ),
    (
        "webhook",
        &[
            "ConfigMap",
            "Ingress",
            "NetworkPolicy",
            "Service",
            "ServiceAccount",
            "StatefulSet",
        ],
    ),
    (
        "closed",
        &[
            "ConfigMap",
            "NetworkPolicy",
            "Service",
            "ServiceAccount",
            "StatefulSet",
        ],
    ),
    ("trial", &["ConfigMap", "Deployment", "Secret", "Service"]),
    (
        "by-variable",
        &["ConfigMap", "Service", "ServiceAccount", "StatefulSet"],
    ),
];

/// What `render.py` says of sets of values; nothing where Helm is missing.
fn render(sets: &BTreeMap<String, String>) -> Option<Value> {
    let python = tool("packaging/bin/python3")?;
    let folder = tempfile::tempdir().expect("a folder");
    let asked = json!({"chart": path(CHART), "folder": folder.path(), "sets": sets});
    let mut child = Command::new(python)
        .arg(path("tests/integration/programs/chart/render.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut stdin = child.stdin.take().expect("its input");
    stdin
        .write_all(asked.to_string().as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// What is made of the files of `ci`, once for all tests.
fn rendered() -> Option<&'static Value> {
    static RENDERED: OnceLock<Option<Value>> = OnceLock::new();
    let made = RENDERED.get_or_init(|| {
        let sets = SETS.iter().map(|(name, _)| {
            let values = read(&format!("{CHART}/ci/{name}.yaml"));
            ((*name).to_owned(), values)
        });
        render(&sets.collect())
    });
    made.as_ref()
}

fn objects<'a>(rendered: &'a Value, set: &str) -> &'a [Value] {
    let objects = rendered["sets"][set]["objects"].as_array();
    objects.unwrap_or_else(|| panic!("{set}: {}", rendered["sets"][set]["error"]))
}

/// The only object of a kind.
fn object<'a>(rendered: &'a Value, set: &str, kind: &str) -> &'a Value {
    let mut all = objects(rendered, set)
        .iter()
        .filter(|object| object["kind"] == kind);
    let object = all.next().unwrap_or_else(|| panic!("{set} has no {kind}"));
    assert!(all.next().is_none(), "{set} has more than one {kind}");
    object
}

fn workload<'a>(rendered: &'a Value, set: &str) -> &'a Value {
    let is_workload = |object: &&Value| object["spec"]["template"].is_object();
    let mut all = objects(rendered, set).iter();
    all.find(is_workload).expect("a workload")
}

/// The exporter's configuration file in a set.
fn configuration<'a>(rendered: &'a Value, set: &str) -> &'a str {
    let mut maps = objects(rendered, set).iter();
    let config = maps.find_map(|object| object["data"]["config.yml"].as_str());
    config.unwrap_or_else(|| panic!("{set} has no config.yml"))
}

fn strings(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

#[test]
fn every_set_of_values_is_rendered_linted_and_valid() {
    let Some(rendered) = rendered() else { return };
    assert_eq!(strings(&rendered["lint"]), Vec::<&str>::new());
    for (set, kinds) in SETS {
        let one = &rendered["sets"][set];
        assert!(one["error"].is_null(), "{set}: {}", one["error"]);
        assert_eq!(strings(&one["lint"]), Vec::<&str>::new(), "{set}");
        assert_eq!(strings(&one["problems"]), Vec::<&str>::new(), "{set}");
        let mut made: Vec<&str> = objects(rendered, set)
            .iter()
            .map(|object| object["kind"].as_str().expect("a kind"))
            .collect();
        made.sort_unstable();
        made.dedup();
        assert_eq!(made, kinds, "{set}");
    }
    let files = std::fs::read_dir(path(CHART).join("ci")).expect("the folder is there");
    assert_eq!(files.count(), SETS.len(), "a file of ci has no row");
}

/// The exporter takes each configuration; what it reads from other files and variables is not here.
#[test]
fn the_exporter_accepts_every_configuration() {
    let Some(rendered) = rendered() else { return };
    for (set, _) in SETS {
        let yaml = configuration(rendered, set);
        assert!(yaml.contains("listen_address: :8080"), "{set}: {yaml}");
        let Err(error) = Config::from_yaml(yaml) else {
            continue;
        };
        let beside = [
            "gitlab.token is missing",
            "server.webhook.enabled needs a secret",
            "does not hold ",
        ];
        let problems = error.problems().iter().map(ToString::to_string);
        let wrong: Vec<String> = problems
            .filter(|said| !beside.iter().any(|part| said.contains(part)))
            .collect();
        assert!(wrong.is_empty(), "{set}: {wrong:?}\n{yaml}");
    }
}

/// State on a volume for a single instance; no volume with Redis or without state; never two pods at once
/// that do not know each other.
#[test]
fn state_decides_the_workload() {
    let Some(rendered) = rendered() else { return };
    for (set, _) in SETS {
        let one = workload(rendered, set);
        let has_redis = ["replicas", "redis-address"].contains(&set);
        let has_path = configuration(rendered, set).contains("state.redb");
        let pod = &one["spec"]["template"]["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array();
        let mounts = mounts.expect("mounts").iter();
        let has_mount = mounts.clone().any(|mount| mount["name"] == "state");
        assert_eq!(has_path, has_mount, "{set}");
        match one["kind"].as_str() {
            Some("StatefulSet") => {
                assert_eq!(one["spec"]["replicas"], 1, "{set}");
                assert!(has_path && !has_redis, "{set}");
            }
            _ => {
                let strategy = if has_redis {
                    "RollingUpdate"
                } else {
                    "Recreate"
                };
                assert!(!has_path, "{set}");
                assert_eq!(one["spec"]["strategy"]["type"], strategy, "{set}");
            }
        }
        // What is mounted is a volume, and every secret is one that exists or that the chart creates.
        let volumes = pod["volumes"].as_array().expect("volumes").iter();
        let claims = one["spec"]["volumeClaimTemplates"].as_array();
        let claims = claims.into_iter().flatten().map(|claim| &claim["metadata"]);
        let known: Vec<&Value> = volumes.chain(claims).map(|one| &one["name"]).collect();
        for mount in mounts {
            assert!(known.contains(&&mount["name"]), "{set}: {mount}");
        }
    }
}

/// The files that the configuration names are mounted.
#[test]
fn every_file_of_the_configuration_is_mounted() {
    let Some(rendered) = rendered() else { return };
    let mut seen = 0;
    for (set, _) in SETS {
        let pod = &workload(rendered, set)["spec"]["template"]["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array();
        let mounts: Vec<&str> = mounts
            .expect("mounts")
            .iter()
            .filter_map(|mount| mount["mountPath"].as_str())
            .collect();
        let config = configuration(rendered, set);
        let files = config
            .split_whitespace()
            .filter(|word| word.starts_with("/run/") || word.starts_with("/var/"));
        for file in files {
            let folder = Path::new(file).parent().and_then(Path::to_str);
            assert!(mounts.contains(&folder.expect("a folder")), "{set}: {file}");
            seen += 1;
        }
    }
    assert!(seen > SETS.len(), "{seen}");
}

/// Webhooks and probes have ports that serve nothing else, and the ingress leads to the former alone.
#[test]
fn the_ingress_reaches_webhooks_alone() {
    let Some(rendered) = rendered() else { return };
    let ingress = object(rendered, "webhook", "Ingress");
    let paths = &ingress["spec"]["rules"][0]["http"]["paths"];
    assert_eq!(paths.as_array().map(Vec::len), Some(1));
    assert_eq!(paths[0]["path"], "/webhook");
    assert_eq!(paths[0]["pathType"], "Exact");
    let service = &paths[0]["backend"]["service"]["name"];
    let mut services = objects(rendered, "webhook").iter();
    let service =
        services.find(|one| one["kind"] == "Service" && one["metadata"]["name"] == *service);
    let ports = &service.expect("the service of the ingress")["spec"]["ports"];
    assert_eq!(
        *ports,
        json!([{"name": "webhook", "port": 80, "targetPort": "webhook"}])
    );
    let pod = &workload(rendered, "webhook")["spec"]["template"]["spec"];
    let ports = &pod["containers"][0]["ports"];
    assert_eq!(ports[2], json!({"name": "webhook", "containerPort": 8082}));
    let config = configuration(rendered, "webhook");
    assert!(config.contains("\n  webhook:\n    enabled: true\n    listen_address: :8082\n"));
}

/// With replicas, series of projects do not carry the replica that shows them, as docs/high-availability.md says.
#[test]
fn replicas_are_removed_from_series_of_projects() {
    let Some(rendered) = rendered() else { return };
    let relabelings = |set: &str| {
        let monitor = object(rendered, set, "ServiceMonitor");
        monitor["spec"]["endpoints"][0]["metricRelabelings"].clone()
    };
    let with = relabelings("replicas");
    let with = with.as_array().expect("relabelings");
    assert_eq!(with.len(), 2, "{with:?}");
    assert_eq!(with[0]["targetLabel"], "instance");
    assert_eq!(with[1]["targetLabel"], "pod");
    let regex = with[0]["regex"].as_str().expect("a pattern");
    let document = read("docs/high-availability.md");
    assert!(document.contains(&format!("regex: '{regex}'")), "{regex}");
    let without = relabelings("monitoring");
    let single = json!([{"action": "labeldrop", "regex": "runner_type"}]);
    assert_eq!(without, single);
}

/// Rules as Prometheus reads them: each group of otel/prometheus/rules, but for what a value leaves out.
#[test]
fn rules_are_those_of_the_project() {
    let Some(rendered) = rendered() else { return };
    let rule = object(rendered, "monitoring", "PrometheusRule");
    let mut made = rule["spec"]["groups"].clone();
    let groups = made.as_array_mut().expect("groups");
    let runbook = "https://wiki.example.com/gitlab-exporter/docs/";
    for rule in groups
        .iter_mut()
        .flat_map(|group| group["rules"].as_array_mut())
        .flatten()
    {
        assert_ne!(rule["alert"], "GitLabJobFlaky");
        if let Some(url) = rule["annotations"]["runbook_url"].as_str() {
            let relative = url
                .strip_prefix(runbook)
                .expect("the address of the values");
            rule["annotations"]["runbook_url"] = format!("docs/{relative}").into();
        }
    }
    let own = rendered["rules"]
        .as_array()
        .expect("groups of the project")
        .clone();
    let without = own.into_iter().map(|mut group| {
        let rules = group["rules"].as_array_mut().expect("rules");
        rules.retain(|rule| rule["alert"] != "GitLabJobFlaky");
        group
    });
    let without: Vec<Value> = without.collect();
    assert!(without.len() > 4, "{}", without.len());
    assert_eq!(*groups, without);
}

/// A package has the files behind the links, and no values of the tests.
#[test]
fn a_package_contains_every_dashboard_and_rule() {
    let Some(rendered) = rendered() else { return };
    let packed = rendered["packed"].as_object().expect("files");
    let mut count = 0;
    for (from, to) in [
        ("grafana/dashboards", "dashboards"),
        ("otel/prometheus/rules", "rules"),
    ] {
        for entry in std::fs::read_dir(path(from)).expect("the folder is there") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let inside = format!("amazing-gitlab-exporter/files/{to}/{name}");
            let size = entry.metadata().expect("a size").len();
            assert_eq!(packed.get(&inside), Some(&size.into()), "{inside}");
            let linked = read(&format!("{CHART}/files/{to}/{name}"));
            assert_eq!(linked, read(&format!("{from}/{name}")), "{name}");
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
    assert!(
        !packed.keys().any(|name| name.contains("/ci/")),
        "{packed:?}"
    );
    let dashboards = objects(rendered, "monitoring")
        .iter()
        .filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1");
    let mut shown = 0;
    for map in dashboards {
        for (name, text) in map["data"].as_object().expect("files") {
            let own = read(&format!("grafana/dashboards/{name}"));
            assert_eq!(text.as_str().map(str::trim), Some(own.trim()), "{name}");
            shown += 1;
        }
    }
    assert_eq!(shown + 3, count);
}

/// What the chart and the plain manifests say of the same things.
#[test]
fn the_plain_manifests_agree() {
    let Some(rendered) = rendered() else { return };
    let plain = &rendered["plain"]["spec"]["template"]["spec"];
    let pod = &workload(rendered, "default")["spec"]["template"]["spec"];
    for key in [
        "automountServiceAccountToken",
        "enableServiceLinks",
        "terminationGracePeriodSeconds",
        "securityContext",
    ] {
        assert!(!plain[key].is_null(), "{key}");
        assert_eq!(pod[key], plain[key], "{key}");
    }
    let (container, plain) = (&pod["containers"][0], &plain["containers"][0]);
    for key in ["args", "resources", "securityContext"] {
        assert!(!plain[key].is_null(), "{key}");
        assert_eq!(container[key], plain[key], "{key}");
    }
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(
            container[probe]["httpGet"]["path"],
            plain[probe]["httpGet"]["path"]
        );
    }
}

/// What docs/deployment.md derives for 1,000 projects is the default.
#[test]
fn resources_are_those_of_the_documents() {
    let Some(rendered) = rendered() else { return };
    let pod = &workload(rendered, "default")["spec"]["template"]["spec"];
    let resources = &pod["containers"][0]["resources"];
    let text = |value: &Value| value.as_str().expect("a quantity").to_owned();
    let row = format!(
        "| 1,000 projects | {} | {} | {} |",
        text(&resources["requests"]["cpu"]),
        text(&resources["requests"]["memory"]),
        text(&resources["limits"]["memory"]),
    );
    assert!(read("docs/deployment.md").contains(&row), "{row}");
}

#[test]
fn its_versions_are_the_exporters() {
    let chart = read(&format!("{CHART}/Chart.yaml"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        chart.contains(&format!("\nversion: {version}\n")),
        "{chart}"
    );
    assert!(
        chart.contains(&format!("\nappVersion: {version}\n")),
        "{chart}"
    );
    // What the release puts its own owner into.
    let values = read(&format!("{CHART}/values.yaml"));
    assert!(values.contains("  repository: ghcr.io/example/amazing-gitlab-exporter\n"));
    assert!(read(".github/workflows/release.yml").contains("ghcr.io/example/"));
}
