//! The program as a new user runs it.

use std::net::TcpListener;
use std::process::Command;

use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::exporter::{Binary, beginning_now, binary};
use crate::support::program::Program;
use crate::support::until;

const MINIMAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/minimal.yml");

fn simulator() -> Simulator {
    let world = World::generate(WorldConfig {
        projects: 3,
        pipelines_per_project: 2,
        ..beginning_now()
    });
    Simulator::start(world, &Options::default()).expect("a simulator")
}

/// `run` with the configuration that the README names, at a simulator.
fn run_minimal(simulator: &Simulator, address: &str) -> Command {
    let mut command = binary(&["run", "--config", MINIMAL]);
    command
        .args(["--server-listen-address", address])
        .env("AGE_GITLAB_URL", simulator.url())
        .env("AGE_GITLAB_TOKEN", simulator.token());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_of_the_readme_shows_pipelines_and_ends_when_asked() {
    let simulator = simulator();
    let command = run_minimal(&simulator, "127.0.0.1:0");
    let mut exporter = Binary::started(Program::start(command)).await;
    until("/metrics has pipelines", async || {
        let answer = exporter.get("/metrics").await;
        let has = |name: &str| answer.body.lines().any(|line| line.starts_with(name));
        let all = ["age_pipeline_status{", "age_job_status{"];
        if answer.status == 200 && all.into_iter().all(has) {
            Ok(())
        } else {
            Err(answer.body)
        }
    })
    .await;
    for (path, status) in [
        ("/health", 200),
        ("/ready", 200),
        ("/", 200),
        ("/config", 200),
    ] {
        assert_eq!(exporter.get(path).await.status, status, "{path}");
    }
    assert_eq!(exporter.get("/nothing").await.status, 404);
    exporter.program.signal("TERM");
    let status = exporter.program.ended().await;
    assert_eq!(status.code(), Some(0), "{}", exporter.program.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_ends_it_with_2_and_everything_that_is_wrong() {
    let mut program = Program::start({
        let mut command = binary(&["run", "--config", MINIMAL]);
        command.env("AGE_LOG_LEVEL", "loud");
        command.env("AGE_GITLAB_TOKN", "glpat-not-shown");
        command
    });
    assert_eq!(program.ended().await.code(), Some(2));
    let said = program.stderr();
    for sentence in ["gitlab.token is missing", "log.level", "AGE_GITLAB_TOKN"] {
        assert!(said.contains(sentence), "no {sentence:?} in {said}");
    }
    assert!(!said.contains("glpat-not-shown"), "{said}");
    assert_eq!(program.stdout(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_ends_it_with_1_and_a_sentence() {
    let simulator = simulator();
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
    let address = taken.local_addr().expect("it is bound").to_string();
    let mut program = Program::start(run_minimal(&simulator, &address));
    assert_eq!(program.ended().await.code(), Some(1));
    let said = program.stderr();
    assert!(
        said.contains(&format!("server.listen_address: {address}: cannot bind")),
        "{said}"
    );
    assert!(
        simulator.requests().is_empty(),
        "it asked before it could answer"
    );
}
