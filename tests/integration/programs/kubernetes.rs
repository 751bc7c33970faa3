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

#[test]
fn kustomize_puts_them_together() {
    let made = Command::new("kubectl").args(["kustomize", FOLDER]).output();
    let Ok(made) = made else {
        tools::skip("kubectl is missing");
        return;
    };
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    let text = String::from_utf8_lossy(&made.stdout);
    for kind in ["Namespace", "ConfigMap", "Secret", "Service", "StatefulSet"] {
        assert!(text.contains(&format!("\nkind: {kind}\n")), "no {kind}");
    }
    // The name of the configuration has its hash in it, so that a change restarts the pod.
    assert_eq!(text.matches("name: amazing-gitlab-exporter-").count(), 2);
}
