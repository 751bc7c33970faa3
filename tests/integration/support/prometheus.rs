//! A real Prometheus.

use std::process::Command;

use tempfile::TempDir;

use super::exporter::write;
use super::http;
use super::program::Program;
use super::promql::PromQl;
use super::tools::tool;
use super::until;

/// Starts one with a configuration and waits until it is ready; none where it cannot be had.
pub async fn start(configuration: &str) -> Option<(Program, PromQl)> {
    start_with(configuration, &[]).await
}

/// The same with more arguments.
pub async fn start_with(configuration: &str, more: &[&str]) -> Option<(Program, PromQl)> {
    let folder = tempfile::tempdir().expect("a folder");
    start_in(folder, configuration, more).await
}

/// The same in a folder that may have blocks already, in `data`.
pub async fn start_in(
    folder: TempDir,
    configuration: &str,
    more: &[&str],
) -> Option<(Program, PromQl)> {
    write(&folder, "prometheus.yml", configuration);
    let mut command = Command::new(tool("bin/prometheus")?);
    command.args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        "--web.listen-address=127.0.0.1:0",
    ]);
    command.args(more);
    let mut program = Program::start_in(folder, command);
    let address = program
        .tells("where it listens", |output| {
            let (_, rest) = output.split_once("msg=\"Listening on\"")?;
            let (_, address) = rest.lines().next()?.split_once("address=")?;
            Some(address.to_owned())
        })
        .await;
    let url = format!("http://{address}");
    let promql = PromQl { url, flush: None };
    until("it is ready", async || {
        let is_ready = http::is_there(&format!("{}/-/ready", promql.url)).await;
        is_ready.then_some(()).ok_or_else(|| "it is not".to_owned())
    })
    .await;
    Some((program, promql))
}
