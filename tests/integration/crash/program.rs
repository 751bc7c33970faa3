//! The exporter as a program that is killed and comes back at the same address.

use std::collections::BTreeSet;
use std::net::TcpListener;

use gitlab_simulator::time::Millis;
use tempfile::TempDir;

use crate::support::exporter::{Binary, binary, real_time, write};
use crate::support::program::Program;
use crate::support::promql::PromQl;
use crate::support::{http, until};

/// Settings with which merge requests, reviews, deployments and commits are read each second, too, and
/// nothing that was counted leaves: it is compared at the end.
pub const EVERYTHING: [&str; 7] = [
    "project_defaults.refs.branches.exclude_deleted=false",
    "project_defaults.refs.tags.exclude_deleted=false",
    "collectors.merge_requests.interval_seconds=1",
    "collectors.code_review.interval_seconds=1",
    "collectors.environments={enabled: true, interval_seconds: 1, exclude_stopped: false}",
    "collectors.repository.interval_seconds=1",
    "collectors.contributors={enabled: true, interval_seconds: 1}",
];

/// A metric of each collector that has it for every project once it has read it.
const READ: [&str; 3] = [
    "age_review_pending_count",
    "age_environment_info",
    "age_repository_info",
];

/// When commits were last read: they have no states.
const COMMITS: &str = r#"age_collection_last_success_timestamp{collector_type="contributors"}"#;

/// When pipelines were last read.
const LOOKED: &str = r#"age_collection_last_success_timestamp{collector_type="pipelines"}"#;

/// What stays when the program is killed: its configuration, its address, its state file if any.
pub struct Home {
    folder: TempDir,
    settings: Vec<String>,
    /// Host and port.
    pub address: String,
}

impl Home {
    /// A home for an exporter with this configuration, `STATE` in it being the state file's path,
    /// and these settings on its command line.
    pub fn new(configuration: &str, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state.redb").display().to_string();
        write(
            &folder,
            "config.yml",
            &configuration.replace("STATE", &state),
        );
        // Nobody else asks for it: the system hands ports out in turn.
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
        let address = free.local_addr().expect("it is bound").to_string();
        Self {
            folder,
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
            address,
        }
    }

    /// Starts it, without waiting for anything.
    pub fn start(&self) -> Program {
        let config = self.folder.path().join("config.yml");
        let mut command = binary(&["run", "--config"]);
        command.arg(config);
        command.args(["--server-listen-address", &self.address]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        Program::start(command)
    }

    /// Starts it and waits until everything was read once.
    pub async fn start_and_read(&self) -> Program {
        let Binary { program, .. } = Binary::started(self.start()).await;
        until("everything was read once", async || {
            let metrics = self.metrics().await;
            let is_read = metrics
                .lines()
                .any(|line| line == "age_initial_sync_progress_ratio 1");
            is_read.then_some(()).ok_or(metrics)
        })
        .await;
        program
    }

    /// Waits until the collectors beside the change feed have read so many projects, too.
    pub async fn read_slowly(&self, projects: usize) {
        until("what moves slowly is read", async || {
            let metrics = self.metrics().await;
            let read = |metric: &str| {
                let lines = metrics.lines();
                let lines = lines.filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
                let of =
                    lines.filter_map(|labels| labels.split_once("project=\"")?.1.split_once('"'));
                of.map(|(project, _)| project)
                    .collect::<BTreeSet<_>>()
                    .len()
            };
            let read = READ.map(read);
            let commits = metrics.lines().any(|line| line.starts_with(COMMITS));
            let all = commits && read.iter().all(|read| *read == projects);
            all.then_some(())
                .ok_or_else(|| format!("{read:?} of {projects}"))
        })
        .await;
    }

    /// Whether pipelines were read since a moment by this machine's clock, which is the exporter's.
    pub async fn has_looked_since(&self, moment: Millis) -> bool {
        // It may not listen yet.
        let url = format!("http://{}/metrics", self.address);
        let Some(answer) = http::get_if_there(&url).await else {
            return false;
        };
        let mut lines = answer.body.lines();
        let time = lines.find_map(|line| line.strip_prefix(LOOKED)?.trim().parse::<f64>().ok());
        time.is_some_and(|time| time * 1000.0 > moment as f64)
    }

    /// Waits until pipelines were read from now on.
    pub async fn looks(&self) {
        // The first that ends may have begun before.
        for _ in 0..2 {
            let now = real_time();
            until("the exporter looks", async || {
                let has_looked = self.has_looked_since(now).await;
                has_looked.then_some(()).ok_or_else(|| "no look".to_owned())
            })
            .await;
        }
    }

    /// `/metrics` as text.
    pub async fn metrics(&self) -> String {
        http::get(&format!("http://{}/metrics", self.address))
            .await
            .body
    }

    /// The configuration of a Prometheus that looks at it every second.
    pub fn prometheus(&self) -> String {
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: exporter
  static_configs: [{{targets: ['{}']}}]
",
            self.address
        )
    }
}

/// Waits until a Prometheus has looked for the first time.
pub async fn looks(promql: &PromQl) {
    until("Prometheus looks", async || {
        let up = promql.value("up", None).await;
        (up == Some(1.0)).then_some(()).ok_or(format!("{up:?}"))
    })
    .await;
}

/// Kills it, so that it can put nothing in order.
pub async fn kill(mut program: Program) {
    program.signal("KILL");
    program.ended().await;
}
