//! An OTLP receiver: gRPC and http/protobuf on one port, with or without TLS, that remembers what
//! it gets and answers as told.

mod record;
mod services;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use url::Url;

pub use record::{Log, Number, Point, Span};

/// An answer that is not plain success.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A gRPC status, or this HTTP status.
    Refuse(tonic::Code, u16),
    /// Success, but for this many items and for this reason.
    RejectPart(i64, &'static str),
    /// Success after the test has sent on the channel's other end.
    Hold(Arc<tokio::sync::Notify>),
}

/// One export request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `metrics`, `traces` or `logs`.
    pub signal: &'static str,
    /// Headers, or gRPC metadata, with lower-case names.
    pub headers: BTreeMap<String, String>,
    /// Whether it came by gRPC.
    pub grpc: bool,
    /// Size of the protobuf message, uncompressed.
    pub encoded_len: usize,
}

/// Everything received so far.
#[derive(Default)]
pub struct Received {
    /// Export requests, refused ones included, in order.
    pub requests: Vec<Request>,
    /// Data points in order of arrival, as series and point.
    pub points: Vec<(String, Point)>,
    /// Type, unit and description of each metric.
    pub metrics: BTreeMap<String, (&'static str, String, String)>,
    /// `service.instance.id` of the resources that each metric came with.
    pub instances: BTreeMap<String, BTreeSet<String>>,
    /// Spans in order of arrival.
    pub spans: Vec<Span>,
    /// Log records in order of arrival.
    pub logs: Vec<Log>,
    /// Attributes of the last resource.
    pub resource: BTreeMap<String, String>,
    /// Name and version of the last scope.
    pub scope: (String, String),
    answers: VecDeque<Answer>,
}

impl Received {
    /// The last point of every series.
    pub fn latest(&self) -> BTreeMap<&str, &Point> {
        let points = self.points.iter();
        points
            .map(|(series, point)| (series.as_str(), point))
            .collect()
    }

    /// The last value of every sample as Prometheus would show it: histograms as `_bucket`,
    /// `_sum` and `_count`; series whose last point says that they are gone are left out.
    pub fn samples(&self) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        for (series, point) in self.latest() {
            point.samples(series, &mut samples);
        }
        samples
    }

    /// Forgets what was received, not what to answer.
    pub fn clear(&mut self) {
        let answers = std::mem::take(&mut self.answers);
        *self = Self {
            answers,
            ..Self::default()
        };
    }
}

/// What the tasks of a receiver share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Received>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.0.lock().expect("no test panics while it looks")
    }
}

/// A running receiver on 127.0.0.1, on threads of its own: when it stops its connections end too.
pub struct Receiver {
    addr: SocketAddr,
    scheme: &'static str,
    shared: Shared,
    runtime: Option<Runtime>,
}

impl Receiver {
    /// Starts on a free port.
    pub async fn start() -> Self {
        Self::launch(([127, 0, 0, 1], 0).into(), None)
    }

    /// Starts on a port that an earlier receiver had.
    pub async fn start_at(addr: SocketAddr) -> Self {
        Self::launch(addr, None)
    }

    /// Starts on a free port with TLS.
    pub async fn start_tls(certificate_pem: &str, key_pem: &str) -> Self {
        let identity = Identity::from_pem(certificate_pem, key_pem);
        Self::launch(([127, 0, 0, 1], 0).into(), Some(identity))
    }

    fn launch(addr: SocketAddr, identity: Option<Identity>) -> Self {
        let listener = std::net::TcpListener::bind(addr).expect("127.0.0.1 has ports");
        listener.set_nonblocking(true).expect("it can be told so");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Shared::default();
        let scheme = if identity.is_some() { "https" } else { "http" };
        let mut builder = Server::builder().accept_http1(true);
        if let Some(identity) = identity {
            builder = builder
                .tls_config(ServerTlsConfig::new().identity(identity))
                .expect("the test's certificate is good");
        }
        let router = builder.add_routes(services::routes(&shared));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("there are threads");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("it is non-blocking");
            router
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .expect("the receiver runs until it is stopped");
        });
        Self {
            addr,
            scheme,
            shared,
            runtime: Some(runtime),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The endpoint for gRPC.
    pub fn grpc(&self) -> Url {
        let url = format!("{}://localhost:{}", self.scheme, self.addr.port());
        url.parse().expect("it is a URL")
    }

    /// The endpoint for http/protobuf of `signal`.
    pub fn http(&self, signal: &str) -> Url {
        let mut url = self.grpc();
        url.set_path(&format!("/v1/{signal}"));
        url
    }

    /// What it has received; hold it briefly.
    pub fn received(&self) -> MutexGuard<'_, Received> {
        self.shared.lock()
    }

    /// Answers the next request like this; several are used in order.
    pub fn answer(&self, answer: Answer) {
        self.shared.lock().answers.push_back(answer);
    }

    /// Answers all further requests plainly.
    pub fn answer_plainly(&self) {
        self.shared.lock().answers.clear();
    }

    /// Goes away: the port and all connections are closed when this returns.
    pub async fn stop(mut self) {
        let runtime = self.runtime.take();
        tokio::task::spawn_blocking(move || drop(runtime))
            .await
            .expect("the receiver did not panic");
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
