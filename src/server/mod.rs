//! The HTTP server: `/metrics`, `/health`, `/ready`, `/config`, the status page on `/`, and the metrics
//! explained on `/docs`; `/-/poll` where it is on.
//!
//! [`serve`] takes listeners that the caller bound, each with its routes, and returns the server as a
//! future and a handle; when it ends is the caller's decision. [`listener`] accepts connections,
//! [`connections`] bounds them, each listener's by itself. Whatever may take a while (writing metrics,
//! asking for the status) runs outside the server's own threads, so that no request blocks another.

mod answer;
mod connections;
mod hosts;
mod listener;
mod metrics;
mod page;
mod poll;
mod probes;
pub mod reload;
mod routes;
mod socket;
pub mod status;
#[cfg(test)]
mod tests;
mod transport;
pub mod web;
pub mod webhook;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, Error};

use crate::clock::Clock;
use crate::config::LiveConfig;
use crate::delivery::Intervals;
use crate::series::Table;
use crate::telemetry::process::{Exemplars, HttpRefusal, OwnMetrics};
use crate::telemetry::secrets::Secrets;
use connections::{Connections, Refusals};
use hosts::Hosts;
use listener::Handover;
use reload::Reload;
pub use routes::{Listener, Routes};
pub use socket::{Address, Socket};
use status::StatusSource;
use web::Web;

/// What the server shows.
#[derive(Clone)]
pub struct Context {
    /// All series of GitLab's facts.
    pub table: Arc<Table>,
    /// The exporter's own metrics.
    pub own: Arc<dyn OwnFamilies>,
    /// The effective configuration.
    pub config: Arc<LiveConfig>,
    /// Reads the configuration again; none where it cannot be.
    pub reload: Option<Arc<dyn Reload>>,
    /// How things are.
    pub status: Arc<dyn StatusSource>,
    /// TLS, users and headers.
    pub web: Arc<Web>,
    /// Watches how often scrapes come; none where the birth window is fixed.
    pub intervals: Option<Arc<Intervals>>,
    /// What no page may hold.
    pub secrets: Secrets,
    /// Now.
    pub clock: Clock,
}

/// The exporter's own metrics, as a registry gathers them.
pub trait OwnFamilies: Send + Sync {
    /// All of them as they are now.
    fn gather(&self) -> Vec<prometheus::proto::MetricFamily>;

    /// The traces behind some of them; asked for first.
    fn exemplars(&self) -> Exemplars {
        Exemplars::default()
    }

    /// Takes note of a request or connection that was refused.
    fn http_refused(&self, _why: HttpRefusal) {}

    /// Takes note of how many connections are open.
    fn http_connections(&self, _open: usize) {}
}

impl OwnFamilies for OwnMetrics {
    fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        Self::gather(self)
    }

    fn exemplars(&self) -> Exemplars {
        Self::exemplars(self)
    }

    fn http_refused(&self, why: HttpRefusal) {
        Self::http_refused(self, why);
    }

    fn http_connections(&self, open: usize) {
        Self::http_connections(self, open);
    }
}

/// How long the server waits for its clients, and how many there may be at once.
#[derive(Clone, Copy)]
struct Limits {
    /// A client may take so long to send the head of a request.
    request: Duration,
    /// A client may leave data lying for so long before it is given up.
    patience: Duration,
    /// An idle connection stays open for so long, while there are few.
    keep_alive: Duration,
    /// Open connections.
    connections: usize,
    /// Further ones for the probes alone, when all of those are busy.
    kept: usize,
    /// How long a graceful stop waits for requests under way, in seconds.
    stop_seconds: u64,
}

const LIMITS: Limits = Limits {
    request: Duration::from_secs(5),
    patience: Duration::from_secs(30),
    // Longer than scrapers pause between two scrapes.
    keep_alive: Duration::from_secs(90),
    connections: 512,
    kept: 32,
    stop_seconds: 5,
};

/// What handlers of one listener are given.
struct HandlerContext {
    context: Context,
    patience: Duration,
    hosts: Hosts,
    refusals: Arc<Refusals>,
    /// Paths whose requests may have a body.
    with_body: Vec<&'static str>,
}

/// A server on all `listeners`: a future that runs it, to be spawned on or awaited in a tokio runtime,
/// and a handle whose `stop` ends it. Signals are left to the caller.
///
/// # Errors
/// When a listener cannot be used.
pub fn serve(
    listeners: Vec<Listener>,
    context: Context,
) -> io::Result<(
    impl Future<Output = io::Result<()>> + Send + 'static,
    ServerHandle,
)> {
    serve_within(LIMITS, listeners, context)
}

fn serve_within(
    limits: Limits,
    listeners: Vec<Listener>,
    context: Context,
) -> io::Result<(
    impl Future<Output = io::Result<()>> + Send + 'static,
    ServerHandle,
)> {
    let config = context.config.now();
    let settings = &config.server;
    let per_client = usize::try_from(settings.max_connections_per_client).unwrap_or(usize::MAX);
    let refusals = Refusals::new(Arc::clone(&context.own));
    let mut tables = Vec::new();
    let mut builder = listener::builder(limits.stop_seconds);
    for Listener {
        sockets,
        routes,
        protection,
    } in listeners
    {
        let kept = if routes.has_probes { limits.kept } else { 0 };
        let connections = routes.connections.unwrap_or(limits.connections);
        let limits = Limits {
            kept,
            connections,
            ..limits
        };
        let table = Connections::new(limits, per_client, Arc::clone(&refusals));
        let shared = Data::new(HandlerContext {
            hosts: Hosts::new(&settings.allowed_hosts),
            context: context.clone(),
            patience: limits.patience,
            refusals: Arc::clone(&refusals),
            with_body: routes.with_body.clone(),
        });
        let app = move || application(shared.clone(), routes.clone());
        for socket in sockets {
            socket.give_up_deaf_clients(limits.patience)?;
            let to = Handover {
                connections: Arc::clone(&table),
                web: Arc::clone(&context.web),
                protection,
            };
            builder = listener::listen(builder, socket, to, app.clone())?;
        }
        tables.push(table);
    }
    let server = builder.run();
    let handle = server.handle();
    let watching = Arc::clone(&context.web).watch();
    let serving = async move {
        tokio::select! {
            ended = server => ended,
            never = connections::tend(&limits, &tables, &refusals) => match never {},
            never = watching => match never {},
        }
    };
    Ok((serving, handle))
}

/// What answers on one listener.
fn application(
    shared: Data<HandlerContext>,
    routes: Routes,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(shared)
        .configure(|config| routes.add_to(config))
        .default_service(actix_web::web::to(answer::not_found))
        .wrap(from_fn(answer::guard))
}
