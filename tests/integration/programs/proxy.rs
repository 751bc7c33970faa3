//! The standard proxy variables: GitLab is reached through the proxy that they name, http as well
//! as https, and what a proxy's address holds of credentials is shown nowhere.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::exporter::{Binary, beginning_now, configuration};
use crate::support::tls::{Expiry, TlsFront};
use crate::support::until;

const USER: &str = "pr0xy-us3r";
const PASSWORD: &str = "pr0xy-pa55word";

/// What a request to the proxy said.
#[derive(Clone, Debug)]
struct Request {
    /// Method and target.
    line: String,
    /// `Proxy-Authorization`.
    credentials: Option<String>,
}

/// A forward proxy that leads everything to one place. It ends with the test's process.
struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Proxy {
    /// Leads everything to `to`, whatever its name; with a `password`, for those who know it.
    fn start(to: SocketAddr, password: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                // Clients come and go; what they saw is the test's to judge.
                std::thread::spawn(move || pass(stream, to, password, &seen));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no thread panics").clone()
    }
}

fn pass(
    client: TcpStream,
    to: SocketAddr,
    password: Option<&str>,
    seen: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_end = line.trim().is_empty();
        head.push(line);
        if is_end {
            break;
        }
    }
    let credentials = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization")
            .then(|| value.trim().to_owned())
    });
    let line = head[0].trim().to_owned();
    let is_tunnel = line.starts_with("CONNECT ");
    seen.lock().expect("no thread panics").push(Request {
        line,
        credentials: credentials.clone(),
    });
    let mut writer = client.try_clone()?;
    if let Some(password) = password
        && credentials != Some(basic(password))
    {
        return writer.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    }
    let mut server = TcpStream::connect(to)?;
    if is_tunnel {
        writer.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        server.write_all(head.concat().as_bytes())?;
    }
    let mut answers = server.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut answers, &mut writer);
        let _ = writer.shutdown(std::net::Shutdown::Both);
    });
    io::copy(&mut reader, &mut server)?;
    server.shutdown(std::net::Shutdown::Both)
}

/// The value of `Proxy-Authorization` with this password.
fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{USER}:{password}")))
}

fn simulator() -> Simulator {
    let world = World::generate(WorldConfig {
        projects: 1,
        pipelines_per_project: 1,
        ..beginning_now()
    });
    Simulator::start(world, &Options::default()).expect("a simulator")
}

/// The exporter at a GitLab of this address, every log message shown.
async fn exporter(simulator: &Simulator, url: &str, more: &str, proxy: &[(&str, &str)]) -> Binary {
    let yaml = configuration(simulator, "log: {level: trace}\n");
    let yaml = yaml.replace(
        &format!("url: {}", simulator.url()),
        &format!("url: {url}\n{more}"),
    );
    Binary::run(&yaml, proxy).await
}

/// Waits until pipelines are shown.
async fn reads(exporter: &Binary) {
    until("pipelines are shown", async || {
        let text = exporter.get("/metrics").await.body;
        match text.contains("age_pipeline_status{") {
            true => Ok(()),
            false => Err(text),
        }
    })
    .await;
}

/// Waits until GitLab cannot be reached, and gives what `/ready` says.
async fn fails(exporter: &Binary) -> String {
    until("GitLab cannot be reached", async || {
        let text = exporter.get("/ready").await.body;
        match text.contains(r#""reachable":false"#) {
            true => Ok(text),
            false => Err(text),
        }
    })
    .await
}

/// Fails when anything the exporter says has the proxy's credentials in it.
async fn assert_clean(what: &str, mut exporter: Binary) {
    let mut said = Vec::new();
    for path in ["/", "/config", "/metrics", "/ready", "/health"] {
        said.push((path, exporter.get(path).await.body));
    }
    exporter.program.signal("TERM");
    assert!(exporter.program.ended().await.success(), "{what}");
    said.push(("standard output", exporter.program.stdout()));
    said.push(("standard error", exporter.program.stderr()));
    let header = basic(PASSWORD);
    for (place, text) in said {
        for secret in [PASSWORD, header.trim_start_matches("Basic ")] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{what}: {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_goes_through_the_proxy() {
    let simulator = simulator();
    // No such name is known here: only the proxy finds it.
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let proxy = Proxy::start(simulator.address(), Some(PASSWORD));
        let address = format!("http://{USER}:{PASSWORD}@{}", proxy.address);
        let url = "http://gitlab.test";
        let exporter = exporter(&simulator, url, "", &[(variable, &address)]).await;
        reads(&exporter).await;
        for request in proxy.requests() {
            assert!(request.line.contains(" http://gitlab.test/"), "{request:?}");
            assert_eq!(request.credentials, Some(basic(PASSWORD)), "{variable}");
        }
        assert!(!proxy.requests().is_empty(), "{variable}");
        assert_clean(variable, exporter).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_goes_through_a_tunnel_of_the_proxy() {
    let simulator = simulator();
    let front = TlsFront::start(simulator.address(), "gitlab.test", Expiry::Far);
    let proxy = Proxy::start(front.address(), Some(PASSWORD));
    let address = format!("http://{USER}:{PASSWORD}@{}", proxy.address);
    let authority = format!("  ca_cert_path: {}", front.authority());
    let environment = [("HTTPS_PROXY", address.as_str())];
    let url = "https://gitlab.test";
    let exporter = exporter(&simulator, url, &authority, &environment).await;
    reads(&exporter).await;
    let requests = proxy.requests();
    assert!(!requests.is_empty());
    for request in requests {
        let is_tunnel = request.line.starts_with("CONNECT gitlab.test:443 ");
        assert!(
            is_tunnel,
            "the proxy sees no more than the name: {request:?}"
        );
        assert_eq!(request.credentials, Some(basic(PASSWORD)));
    }
    assert_clean("HTTPS_PROXY", exporter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_proxy_names_is_reached_directly() {
    let simulator = simulator();
    let proxy = Proxy::start(simulator.address(), None);
    let address = format!("http://{}", proxy.address);
    let through = exporter(&simulator, simulator.url(), "", &[("HTTP_PROXY", &address)]).await;
    reads(&through).await;
    let requests = proxy.requests().len();
    assert!(requests > 0, "the same address goes through the proxy");
    drop(through);
    let before = proxy.requests().len();
    let environment = [
        ("HTTP_PROXY", address.as_str()),
        ("NO_PROXY", "example.com,127.0.0.1"),
    ];
    let direct = exporter(&simulator, simulator.url(), "", &environment).await;
    reads(&direct).await;
    assert_eq!(proxy.requests().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_or_is_down_is_told_without_its_credentials() {
    let simulator = simulator();
    let front = TlsFront::start(simulator.address(), "gitlab.test", Expiry::Far);
    let refusing = Proxy::start(front.address(), Some("another password")).address;
    let down = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has ports");
        listener.local_addr().expect("it is bound")
    };
    for (what, proxy) in [("refuses", refusing), ("is down", down)] {
        let address = format!("http://{USER}:{PASSWORD}@{proxy}");
        for url in ["http://gitlab.test", "https://gitlab.test"] {
            let authority = format!("  ca_cert_path: {}", front.authority());
            let environment = [("HTTP_PROXY", &*address), ("HTTPS_PROXY", &*address)];
            let exporter = exporter(&simulator, url, &authority, &environment).await;
            fails(&exporter).await;
            assert_clean(&format!("{url}: the proxy {what}"), exporter).await;
        }
    }
}
