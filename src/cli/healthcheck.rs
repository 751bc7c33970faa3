//! `healthcheck`: checks the health of the exporter running on this machine, for a container's health check.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, SignatureScheme, StreamOwned};

use super::CliError;
use crate::config::{ListenAddress, ProbeTarget, Sources, probe_target};
use crate::tls::{self, Servers};

/// Timeout of the whole check.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum length of the first line of the response.
const LONGEST_LINE: usize = 256;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Check /ready, which fails until the first poll of GitLab has finished, instead of /health
    #[arg(long)]
    ready: bool,
}

/// Prints one sentence. Fails with exit code 1, the one that container engines know.
pub(super) fn run(
    arguments: &Arguments,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let target = probe_target(sources).map_err(|error| {
        CliError::Failed(format!(
            "cannot read the listen address of the exporter: {error}"
        ))
    })?;
    let (path, word) = match arguments.ready {
        true => ("/ready", "ready"),
        false => ("/health", "healthy"),
    };
    let failed = |why: String| CliError::Failed(format!("not {word}: {why}"));
    let (url, status) = ask(&target, path, TIMEOUT).map_err(failed)?;
    match status {
        200 => Ok(writeln!(out, "{word}: {url} responded with 200")?),
        503 if arguments.ready => Err(failed(format!(
            "{url} responded with 503: the first poll of GitLab has not finished"
        ))),
        other => Err(failed(format!("{url} responded with {other}"))),
    }
}

/// The address that answered, and its status code.
///
/// By hand, as it is one line there and one line back to this machine: a client library would read
/// proxies and root certificates for each check.
fn ask(target: &ProbeTarget, path: &str, timeout: Duration) -> Result<(String, u16), String> {
    let known = target.addresses.iter();
    let mut known = known.filter(|address| !is_unknown(address)).peekable();
    if known.peek().is_none() {
        return Err(
            "the port is unknown: server.listen_address has port 0 or a systemd socket; set \
             server.probes.listen_address"
                .to_owned(),
        );
    }
    let deadline = Instant::now() + timeout;
    let mut why = String::new();
    for candidate in known.flat_map(candidates) {
        match connect(&candidate, deadline) {
            Ok(connection) => return answer(connection, &candidate, target, path, deadline),
            // The first candidate is the likely one.
            Err(error) if why.is_empty() => {
                why = format!(
                    "cannot connect to {}: {error}; is the exporter running, with the same \
                     server.listen_address?",
                    candidate.url("http", path)
                );
            }
            Err(_) => {}
        }
    }
    Err(why)
}

/// Whether only the running exporter knows where it is.
fn is_unknown(address: &ListenAddress) -> bool {
    match address {
        ListenAddress::Tcp { port, .. } => *port == 0,
        ListenAddress::Unix(_) => false,
        ListenAddress::Systemd(_) => true,
    }
}

/// Where an exporter may answer.
enum Candidate {
    Tcp(String),
    Unix(PathBuf),
}

impl Candidate {
    fn url(&self, scheme: &str, path: &str) -> String {
        match self {
            Self::Tcp(host) => format!("{scheme}://{host}{path}"),
            Self::Unix(socket) => format!("unix:{}, {path}", socket.display()),
        }
    }

    fn host(&self) -> &str {
        match self {
            Self::Tcp(host) => host,
            Self::Unix(_) => "localhost",
        }
    }
}

fn candidates(address: &ListenAddress) -> Vec<Candidate> {
    match address {
        ListenAddress::Unix(path) => vec![Candidate::Unix(path.clone())],
        address => {
            let all = address.local_candidates().into_iter();
            all.map(Candidate::Tcp).collect()
        }
    }
}

/// A connection on which time-outs can be set.
trait Connection: Read + Write {
    fn set_timeouts(&self, left: Duration) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn set_timeouts(&self, left: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

#[cfg(unix)]
impl Connection for std::os::unix::net::UnixStream {
    fn set_timeouts(&self, left: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

impl Connection for StreamOwned<ClientConnection, Box<dyn Connection>> {
    fn set_timeouts(&self, left: Duration) -> io::Result<()> {
        self.sock.set_timeouts(left)
    }
}

fn connect(candidate: &Candidate, deadline: Instant) -> io::Result<Box<dyn Connection>> {
    let host = match candidate {
        Candidate::Tcp(host) => host,
        #[cfg(unix)]
        Candidate::Unix(path) => {
            return Ok(Box::new(std::os::unix::net::UnixStream::connect(path)?));
        }
        #[cfg(not(unix))]
        Candidate::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    };
    let mut last = None;
    for address in host.to_socket_addrs()? {
        match within(deadline).and_then(|left| TcpStream::connect_timeout(&address, left)) {
            Ok(connection) => return Ok(Box::new(connection)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no such host")))
}

/// Sends the request, over TLS if the exporter may use it, otherwise, and if it does not, over plain HTTP.
fn answer(
    connection: Box<dyn Connection>,
    candidate: &Candidate,
    target: &ProbeTarget,
    path: &str,
    deadline: Instant,
) -> Result<(String, u16), String> {
    let mut connection = connection;
    let failed = |url: &str, error: &dyn std::fmt::Display| {
        format!("no usable response from {url}: {error}")
    };
    if target.may_be_tls && matches!(candidate, Candidate::Tcp(_)) {
        let url = candidate.url("https", path);
        let asked = Arc::new(ClientAsked::default());
        let answered = by_tls(connection, &asked)
            .and_then(|mut connection| status(&mut connection, candidate.host(), path, deadline));
        match answered {
            Ok(status) => return Ok((url, status)),
            // The alert that says so may be lost when the other side closes.
            Err(_) if asked.0.load(Ordering::Relaxed) => {
                let why = "it requires a client certificate; set server.probes.listen_address, which does \
                           not";
                return Err(failed(&url, &why));
            }
            Err(error) if !is_plain(&error) => return Err(failed(&url, &error)),
            Err(_) => {
                connection = connect(candidate, deadline).map_err(|error| failed(&url, &error))?;
            }
        }
    }
    let url = candidate.url("http", path);
    match status(connection.as_mut(), candidate.host(), path, deadline) {
        Ok(status) => Ok((url, status)),
        Err(error) => Err(failed(&url, &error)),
    }
}

/// TLS without verification: it is the exporter of this machine, and no secret is sent.
fn by_tls(
    connection: Box<dyn Connection>,
    asked: &Arc<ClientAsked>,
) -> io::Result<StreamOwned<ClientConnection, Box<dyn Connection>>> {
    let mut config = tls::client_config(Servers::Any, None).map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.client_auth_cert_resolver = Arc::clone(asked) as _;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(client, connection))
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether the other side does not speak TLS.
fn is_plain(error: &io::Error) -> bool {
    matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

/// Whether the other side asked for a client certificate; there is none.
#[derive(Debug, Default)]
struct ClientAsked(AtomicBool);

impl ResolvesClientCert for ClientAsked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Sends the request and reads the status code of the response.
fn status(
    connection: &mut dyn Connection,
    host: &str,
    path: &str,
    deadline: Instant,
) -> io::Result<u16> {
    connection.set_timeouts(within(deadline)?)?;
    // In one piece: the server may respond and close after the first.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < LONGEST_LINE {
        connection.set_timeouts(within(deadline)?)?;
        let mut bytes = [0; LONGEST_LINE];
        match connection.read(&mut bytes)? {
            0 => break,
            read => line.extend_from_slice(&bytes[..read]),
        }
    }
    status_of(&line).ok_or_else(|| io::Error::other("not an HTTP response"))
}

/// The time that is left.
fn within(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

/// The status code in an answer's first line.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|word| word.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests;
