//! `run`: collects, serves and pushes until it is told to stop.

use std::net::TcpListener;

use tokio::signal;

use super::CliError;
use crate::app::{App, StartError, StateFile};
use crate::clock::Clock;
use crate::config::{Config, ListenAddress, Sources};
use crate::store::Opening;

/// Flags of `run` alone.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Start with empty state, keeping the old state file aside
    #[arg(long)]
    state_reset: bool,
}

/// Runs the exporter until SIGTERM or SIGINT.
pub(super) fn run(arguments: Arguments, sources: &Sources) -> Result<(), CliError> {
    let config = super::load(sources)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime can be started: {error}")))?;
    let state = match arguments.state_reset {
        true => StateFile::Reset,
        false => StateFile::GoOn,
    };
    runtime.block_on(exporter(config, state))
}

async fn exporter(config: Config, state: StateFile) -> Result<(), CliError> {
    let failed = |error: StartError| match error {
        StartError::State(error) => CliError::State(error),
        error => CliError::Failed(error.to_string()),
    };
    let listener = bind(&config.server.listen_address)?;
    let url = config.gitlab.url.clone();
    // Logs are set up when it is known who this is, which the state says.
    let mut said = Vec::new();
    let tell = |opening: Opening| {
        if matches!(opening, Opening::Waiting { .. }) {
            eprintln!("{opening}");
        }
        said.push(opening);
    };
    let app = App::new(config, Clock::System, state, tell).map_err(failed)?;
    let telemetry = app.install_telemetry().map_err(failed)?;
    for opening in said {
        tracing::info!("{opening}");
    }
    let running = app.start(listener).await.map_err(failed)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        gitlab = %url,
        "metrics at http://{}/metrics, status at /",
        running.address()
    );
    stopped().await;
    tracing::info!("stopping");
    running.stop(Some(telemetry)).await;
    Ok(())
}

/// Binds the first address that can be bound: `:8080` means all interfaces, by IPv6 if there is.
fn bind(address: &ListenAddress) -> Result<TcpListener, CliError> {
    let mut last = None;
    for candidate in address.bind_candidates() {
        match TcpListener::bind(&candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "no such address".to_owned(), |error| error.to_string());
    Err(CliError::Failed(format!(
        "server.listen_address: {address} cannot be listened on ({why}); is another program there? \
         Choose another with --server-listen-address"
    )))
}

/// Waits for a signal that asks the process to end.
async fn stopped() {
    #[cfg(unix)]
    {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = signal::ctrl_c() => {}
                }
            }
            Err(_) => {
                let _ = signal::ctrl_c().await;
            }
        }
    }
    #[cfg(not(unix))]
    {
        let _ = signal::ctrl_c().await;
    }
}
