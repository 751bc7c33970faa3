//! Wires the parts together: start-up, readiness, and the order of shutdown.
//!
//! Start: table and own metrics, telemetry, GitLab client, store, recorder, scheduler, push, server.
//! Shutdown, within [`SHUTDOWN_DEADLINE`]: the scheduler cancels the calls under way, what is being
//! recorded is shown, a last push carries it, spans and logs are flushed, and the server answers
//! until then.

pub mod check;
mod events;
mod load;
mod part_settings;
mod probe;
mod reload;
mod replicas;
mod sockets;
pub mod state_move;
mod status;
mod watch;
pub mod webhooks;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::catalogue::instruments::{Instruments, InstrumentsError};
use crate::catalogue::{Activity, Collector};
use crate::clock::Clock;
use crate::cluster::Parts;
use crate::config::{Config, ListenAddress, ListenAddresses, LiveConfig, Signal, Sources};
use crate::delivery::Intervals;
use crate::delivery::push::{MAX_MESSAGE_BYTES, PushSettings, Pusher, PusherHandle};
use crate::gitlab::{Cables, Cause, GitLab, SetupError};
use crate::ingest::plausibility::IMPLAUSIBLE;
use crate::recorder::Recorder;
use crate::redis::RedisError;
use crate::scheduler::Scheduler;
use crate::scheduler::discover::INCOMPLETE_LIST;
use crate::scheduler::subscriptions::Subscriptions;
use crate::series::Table;
use crate::server::reload::Reload as _;
use crate::server::web::{Protection, Web, WebError};
use crate::server::webhook::Receiver;
use crate::server::{self, Address, Listener, Routes};
use crate::store::{FileStore, MemoryStore, OpenError, Opening, Store, StoreError};
use crate::telemetry::otlp::ClientError;
use crate::telemetry::process::OwnMetrics;
use crate::telemetry::secrets::Secrets;
use crate::telemetry::{self, Guard, LogLevel, TelemetryError, TelemetrySettings};
use events::EventIntake;
use probe::Probe;
use reload::{ReloadStatus, Reloader};
use replicas::{Joined, Replica};
pub use sockets::{BindError, Sockets};
use status::AppStatus;
use watch::Watch;

/// How long a shutdown may take: container platforms kill after 10 seconds or more.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(9);
/// The last push's share of it.
const PUSH_DEADLINE: Duration = Duration::from_secs(5);
/// Spans' and log messages' share of it.
const TELEMETRY_DEADLINE: Duration = Duration::from_secs(2);

/// Why the exporter could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The GitLab client cannot be built.
    #[error(transparent)]
    GitLab(#[from] SetupError),
    /// The instruments cannot be built.
    #[error(transparent)]
    Instruments(#[from] InstrumentsError),
    /// The exporter's own metrics cannot be built.
    #[error("the exporter's own metrics cannot be built: {0}")]
    Own(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// What was remembered cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The push cannot be set up.
    #[error("otel.metrics: {0}")]
    Push(#[from] ClientError),
    /// Logs or traces cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// Redis cannot be used.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// TLS or users of the server cannot be set up.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The server cannot be set up.
    #[error("the HTTP server cannot listen: {0}")]
    Server(#[from] io::Error),
}

/// An exporter that is put together and not started yet.
pub struct App {
    config: Arc<Config>,
    /// Where the configuration can be read again.
    sources: Option<Sources>,
    /// Sets the log level, once logs are set up.
    log_level: OnceLock<LogLevel>,
    clock: Clock,
    table: Arc<Table>,
    /// Sets the table's birth windows; none where they are fixed.
    intervals: Option<Arc<Intervals>>,
    own: Arc<OwnMetrics>,
    watch: Arc<Watch>,
    secrets: Secrets,
    instance_id: String,
    store: Arc<dyn Store>,
    /// None for a single instance.
    replica: Option<Replica>,
}

/// What is done with the state file at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateFile {
    /// It is restored.
    #[default]
    GoOn,
    /// It is put aside, and the exporter starts with an empty state (`--state-reset`).
    Reset,
}

impl App {
    /// Puts an exporter together, with the state of its state file, if it has one; makes no call and
    /// listens nowhere. Waits up to a minute for a state file that another process holds; `notify` is
    /// called then.
    ///
    /// # Errors
    /// When the state file cannot be used, or the SDK refuses a metric of the catalogue.
    pub fn new(
        config: Config,
        clock: Clock,
        state: StateFile,
        notify: impl FnMut(Opening),
    ) -> Result<Self, StartError> {
        let file = match part_settings::state(&config, state) {
            Some(settings) => Some(FileStore::open(&settings, &clock, notify)?),
            None => None,
        };
        let secrets = part_settings::secrets(&config);
        let table = Table::redacting(&part_settings::table(&config), secrets.redaction());
        let intervals = match config.telemetry.birth_window {
            None => Some(Arc::new(Intervals::new(Arc::clone(&table)))),
            Some(_) => None,
        };
        let types: Vec<&'static str> = config
            .enabled_collectors()
            .map(Collector::as_str)
            .chain([Activity::Discovery, Activity::Refs].map(Activity::as_str))
            .collect();
        let mut error_types = Cause::KINDS.to_vec();
        error_types.extend([INCOMPLETE_LIST, IMPLAUSIBLE]);
        let own = OwnMetrics::new(Arc::clone(&table), &clock, &types, &error_types)?;
        let replica = Replica::new(&config, &secrets, &table)?;
        let (instance_id, store): (_, Arc<dyn Store>) = match (file, &replica) {
            (Some(file), _) => (file.instance_id().to_owned(), Arc::new(file)),
            (None, Some(replica)) => (
                part_settings::instance_id(&config),
                Arc::clone(&replica.store) as _,
            ),
            (None, None) => (
                part_settings::instance_id(&config),
                Arc::<MemoryStore>::default(),
            ),
        };
        Ok(Self {
            watch: Arc::new(Watch::new(
                Arc::clone(&own),
                clock.clone(),
                &config.gitlab.url,
                secrets.clone(),
            )),
            secrets,
            config: Arc::new(config),
            sources: None,
            log_level: OnceLock::new(),
            clock,
            table,
            intervals,
            own,
            instance_id,
            store,
            replica,
        })
    }

    /// The same, whose configuration came from these sources and can be read from them again.
    #[must_use]
    pub fn reloading_from(self, sources: Sources) -> Self {
        Self {
            sources: Some(sources),
            ..self
        }
    }

    /// Sets up logs and traces for the whole process. Once; within a tokio runtime.
    ///
    /// # Errors
    /// When no client can be made for an OTLP target.
    pub fn install_telemetry(&self) -> Result<Guard, StartError> {
        let settings = TelemetrySettings {
            logs: part_settings::logs(&self.config),
            traces: part_settings::traces(&self.config),
            resource: self.resource(),
            secrets: self.secrets.clone(),
            exports: Arc::clone(&self.watch) as _,
        };
        let guard = telemetry::init(settings)?;
        // Logs are set up once.
        let _ = self.log_level.set(guard.log_level());
        Ok(guard)
    }

    fn resource(&self) -> opentelemetry_sdk::Resource {
        telemetry::resource::resource(&self.instance_id, self.config.resource_attributes())
    }

    /// The resource of GitLab's metrics, the same for all replicas.
    fn shared_resource(&self) -> opentelemetry_sdk::Resource {
        let id = part_settings::redis_prefix(&self.config);
        telemetry::resource::resource(&id, self.config.resource_attributes())
    }

    /// Starts everything; `sockets` are where the server answers.
    ///
    /// # Errors
    /// When the GitLab client, the store, the push or the server cannot be set up.
    pub async fn start(mut self, sockets: impl Into<Sockets>) -> Result<Running, StartError> {
        let sockets = sockets.into();
        let mut addresses = sockets.addresses()?.into_iter();
        let address = addresses.next();
        let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let replica = self.shared().await?;
        let Self {
            config,
            clock,
            table,
            own,
            watch,
            ..
        } = &self;
        let settings = part_settings::gitlab(config);
        let accounting = Arc::clone(watch) as _;
        let gitlab = match &replica {
            Some(replica) => {
                GitLab::with_limiter(&settings, replica.limiter(), accounting, clock.clone())?
            }
            None => GitLab::new(&settings, accounting, clock.clone())?,
        };
        let buckets = part_settings::buckets(config);
        let instruments = match config.compat.gitlab_ci_metrics {
            true => Instruments::with_compat(&buckets)?,
            false => Instruments::new(&buckets)?,
        };
        let mut recorder = Recorder::new(instruments, Arc::clone(table), Arc::clone(&self.store))
            .with_max_label_length(part_settings::max_label_length(&self.config))
            .with_labels(part_settings::label_rules(&self.config));
        // What replicas remember comes with their shards.
        let remembered = match &replica {
            Some(_) => Vec::new(),
            None => recorder.restore(clock.steady()).await?,
        };
        let scheduler = Scheduler::new(
            config,
            &gitlab,
            recorder,
            remembered,
            Arc::clone(watch) as _,
            clock.clone(),
        );
        reload::announce_collectors(own, config);
        let subscriptions = self.subscriptions(&gitlab, &scheduler)?;
        let pusher = self.start_push(replica.is_some())?;
        let stop = CancellationToken::new();
        let live = LiveConfig::new(Config::clone(config));
        let replica = replica.map(|replica| self.join(replica, &live, &scheduler));
        let probe = Probe::new(gitlab.clone(), Arc::clone(own), clock.clone());
        let web = Web::open(config.server.web_config_file.clone())?;
        let reloader = Arc::new(Reloader {
            sources: self.sources.clone(),
            live: Arc::clone(&live),
            web: Arc::clone(&web),
            gitlab: gitlab.clone(),
            updates: scheduler.updates(),
            log_level: self.log_level.get().cloned(),
            own: Arc::clone(own),
            secrets: self.secrets.clone(),
            clock: clock.clone(),
            status: ReloadStatus::new(clock.now()),
            turn: Mutex::default(),
        });
        let status = AppStatus {
            config: Arc::clone(&live),
            reload: Arc::clone(&reloader.status),
            clock: clock.clone(),
            started_at: clock.now(),
            gitlab,
            watch: Arc::clone(watch),
            probe: Arc::clone(&probe),
            registry: scheduler.registry(),
            feed: scheduler.feed(),
            subscriptions: subscriptions.as_ref().map(Subscriptions::standing),
            replicas: replica
                .as_ref()
                .map(|replica| Arc::clone(&replica.standing)),
            first_round: AtomicBool::default(),
        };
        let listeners = self.listeners(sockets, &scheduler)?;
        let scheme = match web.speaks_tls() {
            true => "https",
            false => "http",
        };
        let (serving, server) = server::serve(
            listeners,
            server::Context {
                table: Arc::clone(table),
                own: Arc::clone(own) as _,
                web,
                intervals: self.intervals.clone(),
                config: live,
                reload: Some(Arc::clone(&reloader) as _),
                status: Arc::new(status),
                secrets: self.secrets.clone(),
                clock: clock.clone(),
            },
        )?;
        Ok(Running {
            address,
            reloader,
            scheme,
            further_addresses: addresses.collect(),
            socket_files: socket_files(&config.server),
            scheduler: tokio::spawn(scheduler.run(stop.clone())),
            probe: tokio::spawn(probe.run(stop.clone())),
            subscriptions: subscriptions.map(|all| tokio::spawn(all.run(stop.clone()))),
            replica,
            serving: tokio::spawn(serving),
            server,
            pusher,
            stop,
        })
    }

    /// The replica that is to join others, if Redis can be used; else the state is kept in memory.
    async fn shared(&mut self) -> Result<Option<Replica>, StartError> {
        let Some(replica) = self.replica.take() else {
            return Ok(None);
        };
        if replica.check().await? {
            return Ok(Some(replica));
        }
        self.store = Arc::<MemoryStore>::default();
        Ok(None)
    }

    fn join(&self, replica: Replica, live: &Arc<LiveConfig>, scheduler: &Scheduler) -> Joined {
        let store = Arc::clone(&replica.store);
        replica.join(Parts {
            config: Arc::clone(live),
            store,
            leases: Arc::clone(self.table.leases()),
            registry: scheduler.registry(),
            ingest: scheduler.ingest(),
            hints: scheduler.hints(),
            observer: Arc::clone(&self.watch) as _,
            clock: self.clock.clone(),
        })
    }

    /// GitLab's subscriptions, where the settings ask for them.
    fn subscriptions(
        &self,
        gitlab: &GitLab,
        scheduler: &Scheduler,
    ) -> Result<Option<Subscriptions>, SetupError> {
        let settings = &self.config.gitlab.subscriptions;
        if !settings.enabled {
            return Ok(None);
        }
        for outcome in ["welcomed", "refused", "failed"] {
            self.own.subscriptions_connected(outcome, 0.0);
        }
        let cables = Cables::new(&part_settings::gitlab(&self.config), gitlab)?;
        Ok(Some(Subscriptions::new(
            usize::try_from(settings.max_projects).unwrap_or(usize::MAX),
            cables,
            gitlab,
            (scheduler.registry(), scheduler.hints()),
            Arc::clone(&self.watch) as _,
            self.clock.clone(),
        )))
    }

    /// What is answered where.
    fn listeners(&self, sockets: Sockets, scheduler: &Scheduler) -> io::Result<Vec<Listener>> {
        let settings = &self.config.server;
        let mut pages = Routes::pages(settings);
        let mut listeners =
            vec![Listener::new(sockets.probes, Routes::probes()).protected_by(Protection::Nothing)];
        if settings.webhook.enabled {
            let events = EventIntake {
                registry: scheduler.registry(),
                hints: scheduler.hints(),
                own: Arc::clone(&self.own),
            };
            let receiver =
                Receiver::new(&settings.webhook, self.secrets.clone(), Arc::new(events))?;
            let webhooks = Routes::webhooks(receiver);
            if settings.webhook.listen_address.is_some() {
                let listener = Listener::new(sockets.webhook, webhooks);
                listeners.push(listener.protected_by(Protection::WithoutClientCertificates));
            } else {
                pages = pages.and(webhooks);
            }
        }
        listeners.push(Listener::new(sockets.main, pages));
        Ok(listeners)
    }

    fn start_push(&self, is_replica: bool) -> Result<Option<PusherHandle>, StartError> {
        let Some(target) = self.config.otlp(Signal::Metrics) else {
            return Ok(None);
        };
        let settings = PushSettings {
            otlp: part_settings::otlp(target),
            interval: target.interval,
            resource: self.resource(),
            gitlab_resource: is_replica.then(|| self.shared_resource()),
            max_message_bytes: MAX_MESSAGE_BYTES,
            intervals: self.intervals.clone(),
        };
        let (table, own) = (Arc::clone(&self.table), Arc::clone(&self.own));
        Ok(Some(Pusher::start(
            &settings,
            table,
            own,
            Arc::clone(&self.watch) as _,
            self.clock.clone(),
        )?))
    }
}

/// A running exporter.
pub struct Running {
    address: Address,
    reloader: Arc<Reloader>,
    /// `http` or `https`.
    scheme: &'static str,
    further_addresses: Vec<Address>,
    /// Unix sockets, to be removed at the end.
    socket_files: Vec<PathBuf>,
    scheduler: JoinHandle<()>,
    probe: JoinHandle<()>,
    subscriptions: Option<JoinHandle<()>>,
    replica: Option<Joined>,
    serving: JoinHandle<io::Result<()>>,
    server: ServerHandle,
    pusher: Option<PusherHandle>,
    stop: CancellationToken,
}

impl Running {
    /// Where the server answers: the first of `server.listen_address`.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The address of `path` there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        match &self.address {
            Address::Tcp(address) => format!("{}://{address}{path}", self.scheme),
            unix @ Address::Unix(_) => format!("{unix}, {path}"),
        }
    }

    /// Where else it answers.
    #[must_use]
    pub fn further_addresses(&self) -> &[Address] {
        &self.further_addresses
    }

    /// Reads the configuration again, as `POST /-/reload` does. How it ends is logged.
    pub async fn reload(&self) {
        let reloader = Arc::clone(&self.reloader);
        let reloaded = tokio::task::spawn_blocking(move || drop(reloader.reload()));
        ended("reload", reloaded.await);
    }

    /// Stops everything in order, and carries what was recorded to the OTLP receiver a last time.
    pub async fn stop(self, telemetry: Option<Guard>) {
        let orderly = async {
            self.stop.cancel();
            ended("scheduler", self.scheduler.await);
            ended("probe", self.probe.await);
            if let Some(subscriptions) = self.subscriptions {
                ended("subscriptions", subscriptions.await);
            }
            // Others go on at once, with all that was recorded.
            if let Some(replica) = self.replica {
                replica.leave().await;
            }
            // Scrapes under way may end; the last push has the same values.
            let push = async {
                if let Some(pusher) = self.pusher {
                    pusher.shutdown(PUSH_DEADLINE).await;
                }
            };
            tokio::join!(push, self.server.stop(true));
            ended("server", self.serving.await);
        };
        if tokio::time::timeout(SHUTDOWN_DEADLINE - TELEMETRY_DEADLINE, orderly)
            .await
            .is_err()
        {
            tracing::warn!("shutdown timed out");
        }
        for path in &self.socket_files {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
        if let Some(telemetry) = telemetry {
            telemetry.shutdown(TELEMETRY_DEADLINE).await;
        }
    }
}

/// The Unix sockets that the settings name.
fn socket_files(settings: &crate::config::Server) -> Vec<PathBuf> {
    let probes = settings.probes.listen_address.as_ref();
    let webhook = settings.webhook.listen_address.as_ref();
    let webhook = webhook.filter(|_| settings.webhook.enabled);
    let all = [Some(&settings.listen_address), probes, webhook];
    let all = all.into_iter().flatten().flat_map(ListenAddresses::iter);
    let paths = all.filter_map(|address| match address {
        ListenAddress::Unix(path) => Some(path.clone()),
        ListenAddress::Tcp { .. } | ListenAddress::Systemd(_) => None,
    });
    paths.collect()
}

fn ended<T>(part: &'static str, result: Result<T, tokio::task::JoinError>) {
    if let Err(error) = result {
        tracing::error!(task = part, %error, "task failed");
    }
}
