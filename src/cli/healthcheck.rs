//! `healthcheck`: asks the exporter that runs on this machine, as a container's health check.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::CliError;
use crate::config::{ListenAddress, ListenAddresses, Sources, probe_addresses};

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
    let addresses = probe_addresses(sources).map_err(|error| {
        CliError::Failed(format!("where the exporter listens is not known: {error}"))
    })?;
    let (path, word) = match arguments.ready {
        true => ("/ready", "ready"),
        false => ("/health", "healthy"),
    };
    let failed = |why: String| CliError::Failed(format!("not {word}: {why}"));
    let (url, status) = ask(&addresses, path, TIMEOUT).map_err(failed)?;
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
fn ask(
    addresses: &ListenAddresses,
    path: &str,
    timeout: Duration,
) -> Result<(String, u16), String> {
    if addresses.iter().all(|address| address.port() == 0) {
        return Err("server.listen_address has port 0, so the port is not known".to_owned());
    }
    let known = addresses.iter().filter(|address| address.port() != 0);
    let deadline = Instant::now() + timeout;
    let mut why = String::new();
    for candidate in known.flat_map(ListenAddress::local_candidates) {
        let url = format!("http://{candidate}{path}");
        match connect(&candidate, deadline) {
            Ok(connection) => {
                return match status(connection, &candidate, path, deadline) {
                    Ok(status) => Ok((url, status)),
                    Err(error) => Err(format!("{url} gives no usable response ({error})")),
                };
            }
            // The first candidate is the likely one.
            Err(error) if why.is_empty() => {
                why = format!(
                    "{url} cannot be reached ({error}); `run` may not be running, or with another \
                     server.listen_address"
                );
            }
            Err(_) => {}
        }
    }
    Err(why)
}

fn connect(candidate: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = None;
    for address in candidate.to_socket_addrs()? {
        match within(deadline).and_then(|left| TcpStream::connect_timeout(&address, left)) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("no such host")))
}

/// Asks by HTTP, and reads the status code of the answer.
fn status(mut connection: TcpStream, host: &str, path: &str, deadline: Instant) -> io::Result<u16> {
    connection.set_write_timeout(Some(within(deadline)?))?;
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut line = Vec::new();
    while !line.contains(&b'\n') && line.len() < LONGEST_LINE {
        connection.set_read_timeout(Some(within(deadline)?))?;
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
        let parsed = address.parse().unwrap();
        let said = ask(&parsed, "/health", Duration::from_millis(50)).unwrap_err();
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
}
