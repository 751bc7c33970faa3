//! A server under test and a client that shows what is on the wire.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::sample;
use crate::catalogue::buckets::BucketSettings;
use crate::catalogue::instruments::{Change, Delta};
use crate::catalogue::labels::{Labels, RefLabels, RefSourceLabels};
use crate::catalogue::{Collector, FamilyId, pipelines};
use crate::clock::{Clock, UnixSeconds};
use crate::config::{Changes, Config, LiveConfig};
use crate::events::Mark;
use crate::events::payload::{Event, Meaning};
use crate::series::{Block, Table, TableSettings, Update};
use crate::server::reload::Reload;
use crate::server::status::{ProjectQuery, ProjectStatus, Readiness, Status, StatusSource};
use crate::server::web::Web;
use crate::server::webhook::{EventSink, Outcome, Receiver};
use crate::server::{Context, LIMITS, Limits, Listener, OwnFamilies, Routes, Socket, serve_within};
use crate::telemetry::process::HttpRefusal;
use crate::telemetry::secrets::Secrets;
use crate::types::ProjectId;

/// No condition is waited for longer than this.
const DEADLINE: Duration = Duration::from_secs(60);

/// A project that is not tracked.
pub(super) const UNTRACKED: ProjectId = ProjectId(404);

/// The token in the configuration of every server under test.
pub(super) const TOKEN: &str = "glpat-very-secret-token";

/// What the server gets.
pub(super) struct World {
    pub(super) status: Mutex<Status>,
    pub(super) projects: Mutex<Vec<ProjectStatus>>,
    pub(super) readiness: Mutex<Readiness>,
    /// Everything that is asked panics.
    pub(super) broken: AtomicBool,
    /// Projects that a poll was asked for.
    pub(super) polled: Mutex<Vec<String>>,
    /// How a reload ends.
    pub(super) reloads: Mutex<Result<Changes, String>>,
    /// Events that came.
    pub(super) events: Mutex<Vec<(Event, Mark)>>,
    /// How requests with events ended.
    pub(super) outcomes: Mutex<Vec<(&'static str, Outcome)>>,
    /// What was refused.
    pub(super) refused: Mutex<Vec<HttpRefusal>>,
    /// How many connections were open last.
    pub(super) connections: AtomicUsize,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let registry = Registry::new();
        let gauge = Gauge::new("age_build_info", "The exporter.").unwrap();
        gauge.set(1.0);
        registry.register(Box::new(gauge)).unwrap();
        Self {
            status: Mutex::new(sample::status()),
            projects: Mutex::new(sample::projects(3)),
            readiness: Mutex::new(sample::readiness(3)),
            broken: AtomicBool::new(false),
            polled: Mutex::default(),
            reloads: Mutex::new(Ok(Changes::default())),
            events: Mutex::default(),
            outcomes: Mutex::default(),
            refused: Mutex::default(),
            connections: AtomicUsize::new(0),
            registry,
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn check(&self) {
        assert!(!self.broken.load(Ordering::SeqCst), "broken on purpose");
    }
}

impl StatusSource for World {
    fn status(&self, query: &ProjectQuery) -> Status {
        self.check();
        let mut status = self.status.lock().unwrap().clone();
        let sync = status.projects.counts.first_sync;
        status.projects = query.select(self.projects.lock().unwrap().clone());
        status.projects.counts.first_sync = sync;
        status
    }

    fn poll_now(&self, project: &str) -> bool {
        self.check();
        self.polled.lock().unwrap().push(project.to_owned());
        project == "group/app"
    }

    fn readiness(&self) -> Readiness {
        self.check();
        self.readiness.lock().unwrap().clone()
    }
}

impl Reload for World {
    fn reload(&self) -> Result<Changes, String> {
        self.check();
        self.reloads.lock().unwrap().clone()
    }
}

impl EventSink for World {
    fn take(&self, event: Event, mark: Mark) -> Outcome {
        self.check();
        self.events.lock().unwrap().push((event, mark));
        match event.meaning {
            Meaning::Moved { project, .. } if project == UNTRACKED => Outcome::Untracked,
            Meaning::Moved { .. } | Meaning::Listed => Outcome::Accepted,
            Meaning::Nothing => Outcome::Ignored,
        }
    }

    fn count(&self, kind: &'static str, outcome: Outcome, requests: u32) {
        for _ in 0..requests {
            self.outcomes.lock().unwrap().push((kind, outcome));
        }
    }
}

impl OwnFamilies for World {
    fn gather(&self) -> Vec<MetricFamily> {
        self.check();
        self.registry.gather()
    }

    fn http_refused(&self, why: HttpRefusal) {
        self.refused.lock().unwrap().push(why);
    }

    fn http_connections(&self, open: usize) {
        self.connections.store(open, Ordering::SeqCst);
    }
}

/// A server under test.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    /// Where the further listeners answer.
    pub(super) further: Vec<SocketAddr>,
    pub(super) world: Arc<World>,
    pub(super) table: Arc<Table>,
    pub(super) secrets: Secrets,
    pub(super) clock: Clock,
    pub(super) web: Arc<Web>,
    pub(super) handle: ServerHandle,
    pub(super) task: JoinHandle<std::io::Result<()>>,
}

impl Site {
    pub(super) fn start() -> Self {
        Self::start_with("", LIMITS)
    }

    /// With more settings, as YAML, and other limits.
    pub(super) fn start_with(settings: &str, limits: Limits) -> Self {
        Self::start_on(settings, limits, Vec::new())
    }

    /// At a Unix socket besides.
    #[cfg(unix)]
    pub(super) fn start_at(socket: std::os::unix::net::UnixListener) -> Self {
        Self::start_all("", LIMITS, Vec::new(), vec![Socket::Unix(socket)])
    }

    /// With further listeners.
    pub(super) fn start_on(settings: &str, limits: Limits, further: Vec<Routes>) -> Self {
        Self::start_all(settings, limits, further, Vec::new())
    }

    fn start_all(
        settings: &str,
        limits: Limits,
        further: Vec<Routes>,
        sockets: Vec<Socket>,
    ) -> Self {
        let yaml = format!(
            "gitlab: {{url: 'https://gitlab.example.com', token: {TOKEN}}}\n\
             projects: [{{name: g/p}}]\n{settings}"
        );
        let world = Arc::new(World::new());
        let table = Table::new(&TableSettings {
            birth_window: Duration::from_secs(120),
            cardinality_limit: 200_000,
            buckets: BucketSettings::default(),
        });
        let secrets = Secrets::new();
        secrets.register(TOKEN);
        let clock = Clock::manual(sample::NOW);
        let config = Config::from_yaml(&yaml).unwrap();
        let context = Context {
            table: Arc::clone(&table),
            own: world.clone(),
            web: Web::open(config.server.web_config_file.clone()).unwrap(),
            intervals: None,
            config: LiveConfig::new(config),
            reload: Some(world.clone()),
            status: world.clone(),
            secrets: secrets.clone(),
            clock: clock.clone(),
        };
        let (mut main, address) = socket();
        main.extend(sockets);
        let web = Arc::clone(&context.web);
        let config = context.config.now();
        let settings = &config.server;
        let mut routes = Routes::pages(settings);
        if settings.webhook.enabled {
            let receiver = Receiver::new(&settings.webhook, secrets.clone(), world.clone());
            routes = routes.and(Routes::webhooks(receiver.unwrap()));
        }
        let mut listeners = vec![Listener::new(main, routes)];
        let further = further.into_iter().map(|routes| {
            let (sockets, address) = socket();
            listeners.push(Listener::new(sockets, routes));
            address
        });
        let further = further.collect();
        let (server, handle) = serve_within(limits, listeners, context).unwrap();
        let task = tokio::spawn(server);
        Self {
            address,
            further,
            world,
            table,
            secrets,
            clock,
            web,
            handle,
            task,
        }
    }

    /// Shows `count` series.
    pub(super) fn fill(&self, count: usize) {
        let gauges = (0..count).map(|number| Delta {
            family: FamilyId::of(&pipelines::ID.desc).unwrap(),
            labels: RefLabels {
                kind: "branch".into(),
                project: "group/project".into(),
                git_ref: format!("a-branch-with-a-name-of-some-length-{number}").into(),
            }
            .into_values(),
            change: Change::Level(1.0),
        });
        let block = Block {
            project: ProjectId(1),
            collector: Collector::Pipelines,
        };
        let update = Update {
            blocks: vec![(block, gauges.collect())],
            ..Update::default()
        };
        self.table.apply(update, UnixSeconds(sample::NOW.0 - 1_000));
    }

    /// Counts a pipeline run.
    pub(super) fn count_run(&self) {
        let rise = Delta {
            family: FamilyId::of(&pipelines::RUN_COUNT.desc).unwrap(),
            labels: RefSourceLabels {
                kind: "branch".into(),
                project: "group/project".into(),
                git_ref: "main".into(),
                source: "push".into(),
            }
            .into_values(),
            change: Change::Rise(1.0),
        };
        let now = self.clock.steady();
        let rows = self.table.stage(&[rise], |_| ProjectId(1), now);
        let update = Update {
            rows,
            ..Update::default()
        };
        self.table.apply(update, now);
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut connection = self.connect().await;
        connection
            .write_all(format!("{head}\r\n").as_bytes())
            .await
            .unwrap();
        Reply::read(&mut connection).await
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// A port of its own.
fn socket() -> (Vec<Socket>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (vec![listener.into()], address)
}

/// An answer, as it came over the wire.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    /// Whether the body has the length or the end that its head promised.
    pub(super) complete: bool,
}

impl Reply {
    /// Reads until the server closes the connection, in whatever way.
    pub(super) async fn read(connection: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(DEADLINE, connection.read_to_end(&mut bytes)).await;
        // A reset is a way of closing, too.
        let _ = read.expect("the server closes the connection");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        let headers: BTreeMap<String, String> = rest
            .lines()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let body = bytes[end + 4..].to_vec();
        let (body, complete) = match headers.get("content-length") {
            Some(length) => {
                let complete = length.parse() == Ok(body.len());
                (body, complete)
            }
            None => unchunk(&body),
        };
        Self {
            status: first[9..12].parse().unwrap(),
            headers,
            body,
            complete,
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as text, unpacked if need be.
    pub(super) fn text(&self) -> String {
        if self.header("content-encoding") != "gzip" {
            return String::from_utf8(self.body.clone()).unwrap();
        }
        let mut text = String::new();
        flate2::read::GzDecoder::new(self.body.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let Some(chunk) = rest.get(end + 2..end + 2 + length) else {
            break;
        };
        if length == 0 {
            return (body, true);
        }
        body.extend(chunk);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
    (body, false)
}

/// Waits until `condition` holds.
pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "{what}: not within {DEADLINE:?}");
}
