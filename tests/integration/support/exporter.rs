//! The whole exporter: within the test's process on a clock of the test's choice, or as the
//! program that users run.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::app::{App, Running, StateFile};
use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::config::Config;
use gitlab_simulator::time::Millis;
use gitlab_simulator::{Simulator, WorldConfig};
use tempfile::TempDir;

use super::http::{self, Answer};
use super::program::Program;

/// A configuration that watches all of the simulator's projects, branches and tags, as often as
/// can be; `more` is YAML of further sections.
pub fn configuration(simulator: &Simulator, more: &str) -> String {
    format!(
        "gitlab:
  url: {}
  token: {}
  max_requests_per_second: 10000
  burst_requests_per_second: 10000
  max_server_share: 0
collectors:
  pipelines: {{interval_seconds: 1, quiet_interval: {{after_1h: 0, after_24h: 0}}}}
  jobs: {{interval_seconds: 1}}
project_defaults:
  refs:
    branches: {{regexp: '.*'}}
    tags: {{regexp: '.*'}}
wildcards: [{{}}]
{more}",
        simulator.url(),
        simulator.token()
    )
}

/// An exporter within this process.
pub struct Exporter {
    running: Running,
}

impl Exporter {
    /// Starts one with a configuration in YAML.
    pub async fn start(clock: &Clock, yaml: &str) -> Self {
        // The grace has tests of its own.
        let yaml = match yaml.contains("discovery: {") {
            true => yaml.replace("discovery: {", "discovery: {removal_grace: 1s, "),
            false => format!("{yaml}\ndiscovery: {{removal_grace: 1s}}\n"),
        };
        let config = Config::from_yaml(&yaml).expect("a configuration");
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
        let app = App::new(config, clock.clone(), StateFile::GoOn, |_| {}).expect("an exporter");
        let running = app.start(listener).await.expect("it starts");
        Self { running }
    }

    /// Where it listens, as Prometheus has it: host and port.
    pub fn address(&self) -> String {
        self.running.address().to_string()
    }

    /// What it answers.
    pub async fn get(&self, path: &str) -> Answer {
        http::get(&format!("http://{}{path}", self.address())).await
    }

    /// `/metrics` as text.
    pub async fn metrics(&self) -> String {
        let answer = self.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.running.stop(None).await;
    }
}

/// The exporter as users run it.
pub struct Binary {
    /// The program.
    pub program: Program,
    address: String,
}

/// The built program with these arguments, and nothing of this process's environment.
pub fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amazing-gitlab-exporter"));
    command.env_clear().args(arguments);
    command
}

impl Binary {
    /// `run` with a configuration file of this content, on a free port.
    pub async fn run(yaml: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder, "config.yml", yaml);
        let mut command = binary(&["run", "--config", "config.yml"]);
        command.args(["--server-listen-address", "127.0.0.1:0"]);
        command.envs(environment.iter().copied());
        Self::started(Program::start_in(folder, command)).await
    }

    /// Waits until a program that was started says where it listens.
    pub async fn started(mut program: Program) -> Self {
        let address = program.tells("where it listens", listening_address).await;
        Self { program, address }
    }

    /// Where it listens, as Prometheus has it: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it answers.
    pub async fn get(&self, path: &str) -> Answer {
        http::get(&format!("http://{}{path}", self.address)).await
    }
}

/// Host and port out of the line that names `/metrics`.
fn listening_address(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("metrics at http")?;
    let (_, rest) = rest.split_once("://127.0.0.1:")?;
    let (port, _) = rest.split_once("/metrics")?;
    let is_port = port.chars().all(|c| c.is_ascii_digit());
    is_port.then(|| format!("127.0.0.1:{port}"))
}

/// Writes a file into a folder.
pub fn write(folder: &TempDir, name: impl AsRef<Path>, content: &str) {
    std::fs::write(folder.path().join(name), content).expect("it can be written");
}

/// The system's time as a world has it.
pub fn real_time() -> Millis {
    let nanos = Clock::System.unix_nanos();
    Millis::try_from(nanos / 1_000_000).expect("a time of this age")
}

/// A world that begins now.
pub fn beginning_now() -> WorldConfig {
    WorldConfig {
        start: real_time(),
        ..WorldConfig::default()
    }
}

/// Lets a world's time go with the system's, until it is dropped.
pub struct RealTime {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RealTime {
    /// Lets the simulator's time go.
    pub fn of(simulator: &Simulator) -> Self {
        let (world, stop) = (simulator.shared_world(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                world.write().advance_to(real_time());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for RealTime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // It panics only when the world is poisoned by a test that has failed already.
            let _ = thread.join();
        }
    }
}

/// A world's quick time, until it is dropped.
pub struct QuickTime(Arc<AtomicBool>);

impl QuickTime {
    /// Lets the simulator's time go, `pace` seconds in one.
    pub fn of(simulator: &Simulator, pace: i64) -> Self {
        let (world, stop) = (simulator.shared_world(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let mut before = Instant::now();
            while !stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
                let now = Instant::now();
                let real = i64::try_from((now - before).as_millis()).unwrap_or(0);
                world.write().advance(real * pace);
                before = now;
            }
        });
        Self(stop)
    }
}

impl Drop for QuickTime {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
