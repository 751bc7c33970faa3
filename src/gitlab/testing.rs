//! A server that answers as a test configures it, byte by byte where needed, and records what it saw.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use url::Url;

use super::{Accounting, GitLab, NoAccounting, Outcome, RetryPolicy, Settings, TokenSource};
use crate::clock::{Clock, UnixSeconds};

/// The token of all tests.
pub(crate) const TOKEN: &str = "glpat-very-secret-0123456789";

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    /// The variables of a GraphQL request.
    pub(crate) fn variables(&self) -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["variables"].clone()
    }

    /// Whether the token came along in any form.
    pub(crate) fn has_token(&self) -> bool {
        format!("{self:?}").contains(TOKEN)
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers properly.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Writes these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Answers 200 and then never stops sending spaces.
    Endless,
    /// Never answers.
    Silence,
    /// Answers with status and headers, and with the body when the gate lets it.
    Held(Arc<Gate>, Box<Self>),
}

/// Holds answers back, and counts those that it holds.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    held: Mutex<Held>,
    open: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    now: [usize; 2],
    most: [usize; 2],
    /// Answers that may go.
    released: usize,
}

impl Gate {
    /// The most answers that were held at once, and the most of these that were to GraphQL queries.
    pub(crate) fn most(&self) -> [usize; 2] {
        self.held.lock().unwrap().most
    }

    /// Lets one answer go.
    pub(crate) fn let_one_go(&self) {
        self.held.lock().unwrap().released += 1;
        self.open.notify_waiters();
    }

    async fn pass(&self, request: &Request) {
        let counts = [1, usize::from(request.target.ends_with("/graphql"))];
        {
            let mut held = self.held.lock().unwrap();
            for (index, count) in counts.into_iter().enumerate() {
                held.now[index] += count;
                held.most[index] = held.most[index].max(held.now[index]);
            }
        }
        loop {
            let open = self.open.notified();
            {
                let mut held = self.held.lock().unwrap();
                if held.released > 0 {
                    held.released -= 1;
                    for (index, count) in counts.into_iter().enumerate() {
                        held.now[index] -= count;
                    }
                    return;
                }
            }
            open.await;
        }
    }
}

impl Reply {
    pub(crate) fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    pub(crate) fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
        }
    }

    pub(crate) fn html(status: u16) -> Self {
        Self::html_of(status, "<!DOCTYPE html><html><body>Sign in</body></html>")
    }

    pub(crate) fn html_of(status: u16, page: &str) -> Self {
        Self::status(status, page).with("content-type", "text/html; charset=utf-8")
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        match self {
            Self::Answer {
                status,
                mut headers,
                body,
            } => {
                headers.retain(|(old, _)| old != name);
                headers.push((name.into(), value.into()));
                Self::Answer {
                    status,
                    headers,
                    body,
                }
            }
            other => other,
        }
    }
}

/// A server on 127.0.0.1.
pub(crate) struct Fake {
    url: Url,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// A server that answers with `answer(request, number of the request)`.
    pub(crate) async fn start(
        answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn({
            let (seen, connections) = (Arc::clone(&seen), Arc::clone(&connections));
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    tokio::spawn(async move {
                        serve(stream, &seen, &*answer).await;
                    });
                }
            }
        });
        Self {
            url: url.parse().unwrap(),
            seen,
            connections,
            task,
        }
    }

    /// A server that returns these answers in turn, the last one again and again.
    pub(crate) async fn script(replies: Vec<Reply>) -> Self {
        Self::start(move |_, number| replies[number.min(replies.len() - 1)].clone()).await
    }

    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits for the request of this number.
    pub(crate) async fn until_seen(&self, requests: usize) {
        while self.seen().len() < requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Settings for this server that waste no time.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            max_requests_per_second: 1e6,
            burst: 1000,
            timeout: Duration::from_secs(20),
            retry: RetryPolicy {
                max_retries: 3,
                min_delay: Duration::from_millis(1),
                max_delay: Duration::from_millis(5),
                total: Duration::from_secs(20),
            },
            ..Settings::new(self.url(), TokenSource::Secret(SecretString::from(TOKEN)))
        }
    }

    pub(crate) fn gitlab(&self) -> GitLab {
        gitlab(&self.settings(), Arc::new(NoAccounting))
    }
}

pub(crate) fn gitlab(settings: &Settings, accounting: Arc<dyn Accounting>) -> GitLab {
    GitLab::new(
        settings,
        accounting,
        Clock::manual(UnixSeconds(1_767_614_400)),
    )
    .unwrap()
}

async fn serve(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request, usize) -> Reply + Send + Sync),
) {
    while let Some(request) = read(&mut stream).await {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        let (gate, reply) = match answer(&request, number) {
            Reply::Held(gate, reply) => (Some(gate), *reply),
            reply => (None, reply),
        };
        match reply {
            Reply::Held(..) => unreachable!("held twice"),
            Reply::Silence => std::future::pending().await,
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reply::Endless => {
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[";
                let _ = stream.write_all(head).await;
                let spaces = vec![b' '; 1 << 20];
                while stream.write_all(&spaces).await.is_ok() {}
                return;
            }
            Reply::Answer {
                status,
                headers,
                body,
            } => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    let _ = write!(head, "{name}: {value}\r\n");
                }
                head.push_str("\r\n");
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
                if let Some(gate) = gate {
                    gate.pass(&request).await;
                }
                if stream.write_all(&body).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request {
        method,
        target,
        headers,
        body: String::from_utf8(bytes[end..end + length].to_vec()).unwrap(),
    })
}

/// Keeps every account.
#[derive(Default)]
pub(crate) struct Accounts {
    pub(crate) requests: Mutex<Vec<(&'static str, &'static str, Outcome)>>,
    pub(crate) retries: Mutex<Vec<&'static str>>,
    pub(crate) throttled: Mutex<f64>,
    pub(crate) rate_limit: Mutex<Option<(u64, UnixSeconds)>>,
    pub(crate) complexity: Mutex<Vec<(&'static str, u32, u32)>>,
    pub(crate) server_time: Mutex<Vec<(&'static str, &'static str, f64)>>,
    pub(crate) concurrency: Mutex<Vec<u32>>,
}

impl Accounting for Accounts {
    fn request(&self, method: &'static str, endpoint: &'static str, outcome: Outcome, _: f64) {
        self.requests
            .lock()
            .unwrap()
            .push((method, endpoint, outcome));
    }

    fn server_time(&self, method: &'static str, endpoint: &'static str, seconds: f64) {
        let mut times = self.server_time.lock().unwrap();
        times.push((method, endpoint, seconds));
    }

    fn concurrency(&self, places: u32) {
        self.concurrency.lock().unwrap().push(places);
    }

    fn retry(&self, endpoint: &'static str) {
        self.retries.lock().unwrap().push(endpoint);
    }

    fn throttled(&self, waited: Duration) {
        *self.throttled.lock().unwrap() += waited.as_secs_f64();
    }

    fn rate_limit(&self, _limit: u64, remaining: u64, reset: UnixSeconds) {
        *self.rate_limit.lock().unwrap() = Some((remaining, reset));
    }

    fn complexity(&self, query: &'static str, score: u32, limit: u32) {
        self.complexity.lock().unwrap().push((query, score, limit));
    }
}

/// Everything that tracing recorded on this thread, spans with all their fields included.
#[derive(Clone, Default)]
pub(crate) struct Traces(Arc<Mutex<Vec<u8>>>);

impl Traces {
    /// Records until the guard is dropped, every level of every crate.
    pub(crate) fn record() -> (Self, tracing::subscriber::DefaultGuard) {
        // With a single subscriber alive, tracing asks only the thread that meets a call site first
        // whether a subscriber is interested, and remembers its no for all threads.
        static SECOND: LazyLock<tracing::Dispatch> =
            LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
        LazyLock::force(&SECOND);
        let traces = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
            .with_writer({
                let traces = traces.clone();
                move || traces.clone()
            })
            .finish();
        (traces, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Traces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A file of GitLab's own truth, collected outside the repository: below `$AGE_SHARED_DIR`, else
/// `../shared`. `None`, with a printed reason, where it is absent.
pub(crate) fn truth(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("AGE_SHARED_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")),
        PathBuf::from,
    );
    let file = root.join("truth").join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {} is absent", file.display());
    None
}
