//! `run`: collects, serves and pushes until it is stopped.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::pin;

use socket2::{Domain, Protocol, Socket, Type};

use super::{CliError, signals};
use crate::app::{App, StartError, StateFile};
use crate::clock::Clock;
use crate::config::{Config, ListenAddress, Sources};
use crate::store::Opening;

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;

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
    let result = runtime.block_on(exporter(config, state));
    // A thread may still wait for the state file.
    runtime.shutdown_background();
    result
}

async fn exporter(config: Config, state: StateFile) -> Result<(), CliError> {
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
    let listener = bind(&config.server.listen_address)?;
    let url = config.gitlab.url.clone();
    let opening = tokio::task::spawn_blocking(move || open(config, state));
    let (app, said) = tokio::select! {
        opened = opening => opened
            .map_err(|error| CliError::Failed(format!("the start failed: {error}")))?
            .map_err(failed)?,
        () = stop.as_mut() => return Ok(()),
    };
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
    tokio::select! {
        () = stop => {}
        never = hangups.ignore() => match never {},
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

/// Binds the first address that can be bound: `:8080` means all interfaces, by IPv6 if there is.
fn bind(address: &ListenAddress) -> Result<TcpListener, CliError> {
    let mut last = None;
    for candidate in address.bind_candidates() {
        match listen(&candidate) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "no such address".to_owned(), |error| error.to_string());
    Err(CliError::Failed(format!(
        "server.listen_address: {address}: cannot bind ({why}): is the address already in use? \
         Choose another with --server-listen-address"
    )))
}

fn listen(candidate: &str) -> io::Result<TcpListener> {
    let mut last = None;
    for address in candidate.to_socket_addrs()? {
        let listener = match address.ip() {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listen_on_both(address),
            _ => TcpListener::bind(address),
        };
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// All of IPv6 and with it all of IPv4. Windows, and Linux when configured so, would leave IPv4 out.
fn listen_on_both(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // As the standard library does: else a port whose connections are just closing is refused. On
    // Windows, where it would let two programs have the same port, it is not needed for that.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn all_interfaces_are_those_of_ipv4_too() {
        let listener = bind(&ListenAddress::all_interfaces(0)).unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect(("127.0.0.1", address.port())).unwrap();
        if address.is_ipv6() {
            TcpStream::connect(("::1", address.port())).unwrap();
        }
        let taken = bind(&ListenAddress::all_interfaces(address.port())).unwrap_err();
        assert!(
            taken.to_string().contains("is the address already in use?"),
            "{taken}"
        );
    }
}
