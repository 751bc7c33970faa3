//! The real program in a process of its own.

pub mod first;
pub mod whole;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gitlab::GitLab;
use crate::http;
use crate::report::{cpu_of, figure, megabytes, memory_of};
use crate::role::Outcome;

const PROGRAM: &str = env!("CARGO_BIN_EXE_amazing-gitlab-exporter");

/// A running exporter; it ends when this is dropped.
pub struct Exporter {
    child: Child,
    /// When its process was started.
    pub started: Instant,
    /// Where its server is.
    pub address: SocketAddr,
}

impl Exporter {
    /// Starts one over all projects of `gitlab`, with the default settings and these ones; returns
    /// when it has said where its server is.
    pub fn start(gitlab: &GitLab, settings: &[&str]) -> Outcome<Self> {
        Self::start_at(&gitlab.url, &gitlab.token, settings)
    }

    /// The same, over the GitLab at an address.
    pub fn start_at(url: &str, token: &str, settings: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .env("AGE_GITLAB_TOKEN", token)
            .args(["run", "--gitlab-url", url])
            .args(["--server-listen-address", "127.0.0.1:0"])
            .args(["--set", "wildcards=[{}]"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for setting in settings {
            command.args(["--set", setting]);
        }
        let started = Instant::now();
        let mut child = command.spawn()?;
        let log = child.stderr.take().ok_or("the log is piped")?;
        let mut lines = BufReader::new(log).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| address(&line));
        // Whoever stops reading stops the program.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let mut exporter = Self {
            child,
            started,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        exporter.address = address.ok_or("the exporter did not start")?;
        Ok(exporter)
    }

    /// Whether `/ready` says so.
    pub fn is_ready(&self) -> bool {
        http::text(self.address, "/ready").is_ok()
    }

    /// What `/metrics` shows.
    pub fn metrics(&self) -> Outcome<String> {
        Ok(http::text(self.address, "/metrics")?)
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) -> Outcome {
        let process = self.child.id().to_string();
        let mut kill = Command::new("kill");
        match kill.args([format!("-{name}"), process]).status()?.success() {
            true => Ok(()),
            false => Err(format!("SIG{name} could not be sent").into()),
        }
    }

    /// Waits until pipelines and jobs of every project are shown; returns that look at the metrics.
    pub fn wait_for_all(&self, projects: usize, deadline: Duration) -> Outcome<String> {
        loop {
            let metrics = self.metrics()?;
            let seen = projects_in(&metrics);
            if seen == projects && first_round_is_over(&metrics) {
                return Ok(metrics);
            }
            if self.started.elapsed() > deadline {
                return Err(format!("{seen} of {projects} projects after {deadline:?}").into());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn memory(&self) -> (u64, u64) {
        memory_of(&self.child.id().to_string())
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether everything has been read once.
pub fn first_round_is_over(metrics: &str) -> bool {
    metrics
        .lines()
        .any(|line| line == "age_initial_sync_progress_ratio 1")
}

/// Projects of which a pipeline's and a job's status are shown.
pub fn projects_in(metrics: &str) -> usize {
    let jobs = projects_of(metrics, JOBS);
    let pipelines = projects_of(metrics, PIPELINES);
    pipelines.intersection(&jobs).count()
}

const PIPELINES: &str = "age_pipeline_status";
const JOBS: &str = "age_job_status";

/// Projects that have a series of a metric.
fn projects_of<'a>(metrics: &'a str, metric: &str) -> BTreeSet<&'a str> {
    let series = metrics.lines();
    let labels = series.filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    labels
        .filter_map(|labels| labels.split_once("project=\"")?.1.split('"').next())
        .collect()
}

fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("metrics at http://")?;
    let (address, _) = rest.split_once("/metrics")?;
    address.parse().ok()
}

/// The size of the program.
pub fn size() -> Outcome {
    let bytes = std::fs::metadata(PROGRAM)?.len();
    figure("stripped release binary", megabytes(bytes), "MB", None);
    Ok(())
}
