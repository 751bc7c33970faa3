//! `healthcheck`: asks the exporter that runs on this machine, as a container's health check.

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

/// How long everything may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// As long as the answer's first line may be.
const LONGEST_LINE: usize = 256;

/// What to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ask /ready, which says no until the first poll of GitLab has finished; /health without it
    #[arg(long)]
    ready: bool,
}

/// Prints one sentence when all is well; fails with one when not, always with exit code 1, the one
/// that container engines know.
pub(super) fn run(
    arguments: &Arguments,
    sources: &Sources,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let target = probe_target(sources).map_err(|error| {
        CliError::Failed(format!("where the exporter listens is not known: {error}"))
    })?;
    let (path, word) = match arguments.ready {
        true => ("/ready", "ready"),
        false => ("/health", "healthy"),
    };
    let failed = |why: String| CliError::Failed(format!("not {word}: {why}"));
    let (url, status) = ask(&target, path, TIMEOUT).map_err(failed)?;
    match status {
        200 => Ok(writeln!(out, "{word}: {url} answers 200")?),
        503 if arguments.ready => Err(failed(format!(
            "{url} answers 503: the first poll of GitLab has not finished"
        ))),
        other => Err(failed(format!("{url} answers {other}"))),
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
            "server.listen_address has port 0 or a socket of systemd, so the port is not known; set \
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
                    "{} cannot be reached ({error}); `run` may not be running, or with another \
                     server.listen_address",
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

/// Asks on a connection: by TLS where the exporter may speak it, else, and where it does not, by plain HTTP.
fn answer(
    connection: Box<dyn Connection>,
    candidate: &Candidate,
    target: &ProbeTarget,
    path: &str,
    deadline: Instant,
) -> Result<(String, u16), String> {
    let mut connection = connection;
    let failed = |url: &str, error: &dyn std::fmt::Display| {
        format!("{url} gives no usable response ({error})")
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
                let why = "it asks for a client certificate; set server.probes.listen_address, where none is \
                           needed";
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

/// TLS without a look at the certificate: it is this machine's own exporter, and no secret is sent.
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

/// Asks by HTTP, and reads the status code of the answer.
fn status(
    connection: &mut dyn Connection,
    host: &str,
    path: &str,
    deadline: Instant,
) -> io::Result<u16> {
    connection.set_timeouts(within(deadline)?)?;
    // In one piece: the other side may answer and close after the first.
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
    status_of(&line).ok_or_else(|| io::Error::other("this is no HTTP"))
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
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::config::Flag;

    /// A listener that answers the first request so; `None` never answers.
    fn server(answer: Option<&'static str>) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0; 1];
            while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).unwrap() == 1 {
                request.push(byte[0]);
            }
            match answer {
                Some(answer) => connection.write_all(answer.as_bytes()).unwrap(),
                // Until the other side gives up.
                None => while connection.read(&mut byte).is_ok_and(|read| read == 1) {},
            }
            String::from_utf8(request).unwrap()
        });
        (address, served)
    }

    fn sources(address: &str) -> Sources {
        Sources {
            flags: vec![Flag {
                name: "--server-listen-address".to_owned(),
                path: "server.listen_address".to_owned(),
                value: address.into(),
            }],
            ..Sources::default()
        }
    }

    /// What is printed, or the error and its exit code.
    fn check(address: &str, ready: bool) -> Result<String, (u8, String)> {
        let mut out = Vec::new();
        match run(&Arguments { ready }, &sources(address), &mut out) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(error) => Err((error.exit_code(), error.to_string())),
        }
    }

    #[test]
    fn an_answer_of_200_is_well_and_others_are_not() {
        for (ready, answer, expected) in [
            (false, "200 OK", Ok("healthy: URL/health answers 200\n")),
            (
                false,
                "503 Down",
                Err("not healthy: URL/health answers 503"),
            ),
            (true, "200 OK", Ok("ready: URL/ready answers 200\n")),
            (
                true,
                "503 Service Unavailable",
                Err("not ready: URL/ready answers 503: the first poll of GitLab has not finished"),
            ),
        ] {
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
            let (address, served) = server(Some(answer.leak()));
            let named = |text: &str| text.replace("URL", &format!("http://{address}"));
            let expected = expected.map(named).map_err(|text| (1, named(text)));
            assert_eq!(check(&address, ready), expected);
            let path = if ready { "/ready" } else { "/health" };
            let request = served.join().unwrap();
            assert_eq!(
                request,
                format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            );
        }
    }

    #[test]
    fn a_port_on_all_interfaces_is_asked_on_this_machine() {
        let (address, served) = server(Some("HTTP/1.1 200 OK\r\n\r\n"));
        let port = address.rsplit(':').next().unwrap();
        let said = check(&format!(":{port}"), false).unwrap();
        assert_eq!(
            said,
            format!("healthy: http://{address}/health answers 200\n")
        );
        served.join().unwrap();
    }

    #[test]
    fn what_is_wrong_is_one_sentence_and_exit_code_1() {
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let (code, said) = check(&address, false).unwrap_err();
        assert_eq!(code, 1);
        let start = format!("not healthy: http://{address}/health cannot be reached (");
        assert!(said.starts_with(&start) && said.contains("`run`"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");

        let (address, served) = server(Some("220 smtp.example.com\r\n"));
        let (code, said) = check(&address, false).unwrap_err();
        assert_eq!(code, 1);
        assert!(
            said.ends_with("gives no usable response (this is no HTTP)"),
            "{said}"
        );
        served.join().unwrap();

        let (code, said) = check("127.0.0.1:0", false).unwrap_err();
        assert_eq!(code, 1);
        assert!(said.contains("port 0"), "{said}");
    }

    #[test]
    fn who_never_answers_is_given_up() {
        let (address, served) = server(None);
        let target = ProbeTarget {
            addresses: address.parse().unwrap(),
            may_be_tls: false,
        };
        let said = ask(&target, "/health", Duration::from_millis(50)).unwrap_err();
        assert!(
            said.contains("/health gives no usable response ("),
            "{said}"
        );
        served.join().unwrap();
    }

    #[test]
    fn only_a_file_that_cannot_be_read_hides_the_address() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        let (address, served) = server(Some("HTTP/1.1 200 OK\r\n\r\n"));
        let with = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let sources = Sources {
                file: Some(file.clone()),
                ..Sources::default()
            };
            run(&Arguments { ready: false }, &sources, &mut Vec::new())
        };
        // No token, no projects and an unknown key: `run` would not start again.
        with(&format!(
            "server: {{listen_address: '{address}'}}\nnonsense: 1\n"
        ))
        .unwrap();
        served.join().unwrap();
        // The probes' own address is asked where there is one.
        let (own, served) = server(Some("HTTP/1.1 200 OK\r\n\r\n"));
        with(&format!(
            "server: {{listen_address: '{address}', probes: {{listen_address: '{own}'}}}}\n"
        ))
        .unwrap();
        served.join().unwrap();
        let error = with("server: [").unwrap_err();
        assert_eq!(error.exit_code(), 1);
        let said = error.to_string();
        assert!(
            said.starts_with("where the exporter listens is not known: "),
            "{said}"
        );
    }

    /// Where `run` would listen, with a web configuration that may ask for TLS.
    fn with_web(address: &str) -> Sources {
        let mut sources = sources(address);
        sources.flags.push(Flag {
            name: "--set server.web_config_file".to_owned(),
            path: "server.web_config_file".to_owned(),
            // It may be broken just now: the exporter goes on.
            value: "/nothing/web.yml".into(),
        });
        sources
    }

    fn run_with(sources: &Sources) -> Result<String, String> {
        let mut out = Vec::new();
        match super::run(&Arguments { ready: false }, sources, &mut out) {
            Ok(()) => Ok(String::from_utf8(out).unwrap()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Serves `HTTP/1.1 200` by TLS; clients must show a certificate where that is asked for.
    fn tls_server(ask_clients: bool) -> String {
        use rcgen::{CertificateParams, KeyPair};
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["elsewhere".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let tls = crate::tls::server::ServerTls {
            certificate: certificate.clone(),
            key: key.serialize_pem(),
            clients: ask_clients.then(|| crate::tls::server::Clients {
                authorities: certificate,
                is_required: true,
                names: Vec::new(),
            }),
            versions: crate::tls::server::Versions::Both,
            cipher_suites: Vec::new(),
            prefer_server_order: true,
        };
        let config = Arc::new(tls.build(true).unwrap());
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            let session = rustls::ServerConnection::new(config).unwrap();
            let mut stream = StreamOwned::new(session, tcp);
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                let _ = stream.flush();
            }
        });
        address
    }

    #[test]
    fn tls_is_spoken_where_the_exporter_speaks_it() {
        let address = tls_server(false);
        let said = run_with(&with_web(&address));
        assert_eq!(
            said,
            Ok(format!("healthy: https://{address}/health answers 200\n"))
        );
        let said = run_with(&with_web(&tls_server(true))).unwrap_err();
        assert!(
            said.contains("it asks for a client certificate; set server.probes.listen_address"),
            "{said}"
        );
    }

    #[test]
    fn a_web_configuration_without_tls_is_asked_by_plain_http() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = thread::spawn(move || {
            for connection in listener.incoming().take(2) {
                let mut connection = connection.unwrap();
                let mut bytes = [0; 4096];
                let read = connection.read(&mut bytes).unwrap();
                let answer: &[u8] = match bytes[..read].starts_with(b"GET ") {
                    true => b"HTTP/1.1 200 OK\r\n\r\n",
                    false => b"HTTP/1.1 400 Bad Request\r\n\r\n",
                };
                connection.write_all(answer).unwrap();
            }
        });
        let said = run_with(&with_web(&address));
        assert_eq!(
            said,
            Ok(format!("healthy: http://{address}/health answers 200\n"))
        );
        served.join().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_is_asked_and_one_of_systemd_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("age.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let served = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let _ = connection.read(&mut [0; 4096]).unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        let address = format!("unix:{}", path.display());
        let said = run_with(&with_web(&address));
        assert_eq!(
            said,
            Ok(format!("healthy: {address}, /health answers 200\n"))
        );
        served.join().unwrap();
        let said = run_with(&sources("systemd")).unwrap_err();
        assert!(said.contains("set server.probes.listen_address"), "{said}");
    }
}
