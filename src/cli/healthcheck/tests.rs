//! The health check against servers that answer in every way.

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
        (
            false,
            "200 OK",
            Ok("healthy: URL/health responded with 200\n"),
        ),
        (
            false,
            "503 Down",
            Err("not healthy: URL/health responded with 503"),
        ),
        (true, "200 OK", Ok("ready: URL/ready responded with 200\n")),
        (
            true,
            "503 Service Unavailable",
            Err(
                "not ready: URL/ready responded with 503: the first poll of GitLab has not finished",
            ),
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
        format!("healthy: http://{address}/health responded with 200\n")
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
    let start = format!("not healthy: cannot connect to http://{address}/health: ");
    assert!(
        said.starts_with(&start) && said.contains("is the exporter running"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");

    let (address, served) = server(Some("220 smtp.example.com\r\n"));
    let (code, said) = check(&address, false).unwrap_err();
    assert_eq!(code, 1);
    assert!(
        said.contains(": no usable response from ") && said.ends_with(": not an HTTP response"),
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
        said.starts_with("no usable response from ") && said.contains("/health: "),
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
        said.starts_with("cannot read the listen address of the exporter: "),
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
        Ok(format!(
            "healthy: https://{address}/health responded with 200\n"
        ))
    );
    let said = run_with(&with_web(&tls_server(true))).unwrap_err();
    assert!(
        said.contains("it requires a client certificate; set server.probes.listen_address"),
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
        Ok(format!(
            "healthy: http://{address}/health responded with 200\n"
        ))
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
        Ok(format!("healthy: {address}, /health responded with 200\n"))
    );
    served.join().unwrap();
    let said = run_with(&sources("systemd")).unwrap_err();
    assert!(said.contains("set server.probes.listen_address"), "{said}");
}
