//! `run`: collects, serves and pushes until it is stopped.

use std::pin::pin;

use super::{CliError, signals};
use crate::app::{App, Sockets, StartError, StateFile};
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::store::Opening;

/// Flags of `run` alone.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Start with empty state, keeping the old state file aside
    #[arg(long)]
    state_reset: bool,
}

/// Runs the exporter until SIGTERM or SIGINT, or what Windows has instead.
pub(super) fn run(arguments: Arguments, sources: &Sources) -> Result<(), CliError> {
    let config = super::load(sources)?;
    if arguments.state_reset && config.state.path.is_none() {
        return Err(CliError::NoStateFile);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime can be started: {error}")))?;
    let state = match arguments.state_reset {
        true => StateFile::Reset,
        false => StateFile::GoOn,
    };
    let result = runtime.block_on(exporter(config, sources, state));
    // A thread may still wait for the state file.
    runtime.shutdown_background();
    result
}

async fn exporter(config: Config, sources: &Sources, state: StateFile) -> Result<(), CliError> {
    // From now on the signals are ours: process 1 of a container has none by default.
    let mut stop = pin!(signals::stopped());
    let mut hangups = signals::Hangups::new();
    let failed = |error: StartError| match error {
        StartError::State(error) => CliError::State(error),
        error => CliError::Failed(error.to_string()),
    };
    // The handlers are in place with the first poll.
    if futures::poll!(stop.as_mut()).is_ready() {
        return Ok(());
    }
    let sockets =
        Sockets::bind(&config.server).map_err(|error| CliError::Failed(error.to_string()))?;
    let url = config.gitlab.url.clone();
    let opening = tokio::task::spawn_blocking(move || open(config, state));
    let (app, said) = tokio::select! {
        opened = opening => opened
            .map_err(|error| CliError::Failed(format!("the start failed: {error}")))?
            .map_err(failed)?,
        () = stop.as_mut() => return Ok(()),
    };
    let app = app.reloading_from(sources.clone());
    let telemetry = app.install_telemetry().map_err(failed)?;
    for opening in said {
        tracing::info!("{opening}");
    }
    let running = app.start(sockets).await.map_err(failed)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gitlab = %url,
        "metrics at {}, status at /",
        running.url("/metrics")
    );
    for address in running.further_addresses() {
        tracing::info!("also listening on {address}");
    }
    loop {
        tokio::select! {
            () = stop.as_mut() => break,
            () = hangups.next() => running.reload().await,
        }
    }
    tracing::info!("stopping");
    running.stop(Some(telemetry)).await;
    Ok(())
}

/// Puts the exporter together, and what is to be said of its state file: logs are set up when it is
/// known who this is, which the state says.
fn open(config: Config, state: StateFile) -> Result<(App, Vec<Opening>), StartError> {
    let mut said = Vec::new();
    let notify = |opening: Opening| {
        if matches!(opening, Opening::Waiting { .. }) {
            eprintln!("{opening}");
        }
        said.push(opening);
    };
    let app = App::new(config, Clock::System, state, notify)?;
    Ok((app, said))
}
