//! `run`: collects, serves and pushes until it is told to stop.

use std::net::TcpListener;

use tokio::signal;

use super::CliError;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, ListenAddress, Sources};

/// Runs the exporter until SIGTERM or SIGINT.
pub(super) fn run(sources: &Sources) -> Result<(), CliError> {
    let config = super::load(sources)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("no runtime can be started: {error}")))?;
    runtime.block_on(exporter(config))
}

async fn exporter(config: Config) -> Result<(), CliError> {
    let failed = |error: crate::app::StartError| CliError::Failed(error.to_string());
    let listener = bind(&config.server.listen_address)?;
    let url = config.gitlab.url.clone();
    let app = App::new(config, Clock::System).map_err(failed)?;
    let telemetry = app.install_telemetry().map_err(failed)?;
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
