//! The manifests of examples/kubernetes: the exporter takes what they give it.

use std::path::Path;
use std::process::Command;

use gitlab_simulator::{Options, Simulator, World};

use crate::support::exporter::{Binary, beginning_now, binary};
use crate::support::program::Program;
use crate::support::{tools, until};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kubernetes");

fn manifest(name: &str) -> String {
    std::fs::read_to_string(Path::new(FOLDER).join(name)).expect("the manifest is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn its_configuration_runs_and_its_probes_answer() {
    let simulator = Simulator::start(World::generate(beginning_now()), &Options::default());
    let simulator = simulator.expect("a simulator");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), simulator.token()).expect("it can be written");
    let mut command = binary(&["run", "--config", &format!("{FOLDER}/config.yml")]);
    command
        .args(["--gitlab-url", simulator.url()])
        .args(["--gitlab-token-file", "token"])
        .args(["--set", "state.path=state.redb"])
        .args(["--server-listen-address", "127.0.0.1:0"]);
    let exporter = Binary::started(Program::start_in(folder, command)).await;
    let pod = manifest("statefulset.yaml");
    let probes: Vec<&str> = pod
        .split("httpGet: {path: ")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(',')?.0))
        .collect();
    assert_eq!(probes, ["/health", "/ready"]);
    for path in probes {
        until("the probe answers", async || {
            match exporter.get(path).await {
                answer if answer.status == 200 => Ok(()),
                answer => Err(answer.body),
            }
        })
        .await;
    }
}

#[test]
fn files_and_ports_are_where_the_configuration_has_them() {
    let config = manifest("config.yml");
    let value = |key: &str| {
        let line = config
            .lines()
            .find_map(|line| line.trim().strip_prefix(key));
        line.expect("the setting is there").trim().to_owned()
    };
    let pod = manifest("statefulset.yaml");
    for file in [value("token_file:"), value("path:")] {
        let folder = Path::new(&file).parent().expect("a folder").display();
        assert!(pod.contains(&format!("mountPath: {folder}\n")), "{file}");
    }
    assert!(pod.contains("args: [run, --config, /etc/amazing-gitlab-exporter/config.yml]"));
    assert!(pod.contains("mountPath: /etc/amazing-gitlab-exporter\n"));
    assert!(manifest("secret.yaml").contains("\n  token: "));
    // The configuration leaves the port at its default.
    assert!(!config.contains("listen_address"));
    let address = amazing_gitlab_exporter::config::Settings::default()
        .server
        .listen_address;
    assert!(pod.contains(&format!("containerPort: {}\n", address.port())));
    assert!(manifest("service.yaml").contains(&format!("port: {}\n", address.port())));
}

/// What kustomize makes of a folder; none where it is missing.
fn kustomized(folder: &str) -> Option<String> {
    let made = Command::new("kubectl").args(["kustomize", folder]).output();
    let Ok(made) = made else {
        tools::skip("kubectl is missing");
        return None;
    };
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    Some(String::from_utf8_lossy(&made.stdout).into_owned())
}

#[test]
fn kustomize_puts_them_together() {
    let Some(text) = kustomized(FOLDER) else {
        return;
    };
    for kind in ["Namespace", "ConfigMap", "Secret", "Service", "StatefulSet"] {
        assert!(text.contains(&format!("\nkind: {kind}\n")), "no {kind}");
    }
    // The name of the configuration has its hash in it, so that a change restarts the pod.
    assert_eq!(text.matches("name: amazing-gitlab-exporter-").count(), 2);
}

#[test]
fn replicas_have_redis_instead_of_a_volume() {
    let Some(text) = kustomized(&format!("{FOLDER}-replicas")) else {
        return;
    };
    assert!(text.contains("\n  replicas: 3\n"));
    assert!(text.contains("mountPath: /run/secrets/redis\n"));
    assert!(text.contains("url: redis://redis:6379/0\n"));
    assert!(text.contains("\nkind: PodDisruptionBudget\n"));
    for gone in ["volumeClaimTemplates", "state.redb", "/var/lib"] {
        assert!(!text.contains(gone), "{gone}");
    }
}

/// Lines of a list in YAML after the line that begins it, without their indentation.
fn list(text: &str, key: &str) -> Vec<String> {
    let (_, rest) = text.split_once(key).expect("it has the list");
    let lines = rest.lines().skip(1);
    let indent = lines.clone().next().map_or(0, indentation);
    let within = lines.take_while(|line| indentation(line) >= indent && !line.starts_with("```"));
    within.map(|line| line[indent..].to_owned()).collect()
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[test]
fn replicas_are_scraped_with_the_documented_relabelling() {
    let page = include_str!("../../../docs/high-availability.md");
    let documented = list(page, "metricRelabelings:");
    assert_eq!(documented.len(), 8, "{documented:?}");
    let monitor = manifest("../kubernetes-replicas/servicemonitor.yaml");
    assert_eq!(list(&monitor, "metricRelabelings:"), documented);
    // Else as for one exporter.
    let (head, _) = monitor
        .split_once("      # A project moves")
        .expect("a comment");
    assert_eq!(head, manifest("servicemonitor.yaml"));
}

#[test]
fn the_configuration_of_replicas_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = manifest("../kubernetes-replicas/config.yml");
    for file in ["/run/secrets/gitlab/token", "/run/secrets/redis/password"] {
        let path = folder.path().join(file.replace('/', "-"));
        std::fs::write(&path, "secret").expect("it can be written");
        assert!(config.contains(&format!("_file: {file}\n")), "{file}");
        config = config.replace(file, path.to_str().expect("a path"));
    }
    amazing_gitlab_exporter::config::Config::from_yaml(&config).expect("it is valid");
}
