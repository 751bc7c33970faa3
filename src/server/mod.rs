//! The HTTP server: `/metrics`, `/health`, `/ready`, `/config`, the status page on `/`, and the metrics
//! explained on `/docs`; `/-/poll` where it is on.
//!
//! [`serve`] takes a listener that the caller bound and returns the server as a future and a handle;
//! when it ends is the caller's decision. Whatever may take a while (writing metrics, asking for
//! the status) runs outside the server's own threads, so that no request blocks another.

mod answer;
mod metrics;
mod page;
mod poll;
mod probes;
pub mod status;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App, HttpServer, Resource, Route, guard, web};

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::Intervals;
use crate::series::Table;
use crate::telemetry::process::{Exemplars, OwnMetrics};
use crate::telemetry::secrets::Secrets;
use status::StatusSource;

/// Threads that answer requests.
const WORKERS: usize = 2;
/// Threads of each worker that write metrics and pages; what does not fit waits.
const BLOCKING_THREADS: usize = 4;
/// Open connections per worker; further ones wait to be accepted.
const CONNECTIONS: usize = 256;
/// An idle connection stays open longer than scrapers pause between two scrapes.
const KEEP_ALIVE: Duration = Duration::from_secs(90);
/// How long a client may take to close its connection.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a graceful stop waits for requests under way, in seconds.
const STOP_SECONDS: u64 = 3;

/// What the server shows.
#[derive(Clone)]
pub struct Context {
    /// All series of GitLab's facts.
    pub table: Arc<Table>,
    /// The exporter's own metrics.
    pub own: Arc<dyn OwnFamilies>,
    /// The effective configuration.
    pub config: Arc<Config>,
    /// How things are.
    pub status: Arc<dyn StatusSource>,
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
}

impl OwnFamilies for OwnMetrics {
    fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        Self::gather(self)
    }

    fn exemplars(&self) -> Exemplars {
        Self::exemplars(self)
    }
}

/// How long the server waits for its clients.
#[derive(Clone, Copy)]
struct Limits {
    /// A new connection may take so long to send the head of its request.
    request: Duration,
    /// A client may leave data lying for so long before it is given up.
    patience: Duration,
}

const LIMITS: Limits = Limits {
    request: Duration::from_secs(5),
    patience: Duration::from_secs(30),
};

/// What handlers are given.
struct HandlerContext {
    context: Context,
    patience: Duration,
}

/// A server on `listener`: a future that runs it, to be spawned on or awaited in a tokio runtime,
/// and a handle whose `stop` ends it. Signals are left to the caller.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, context: Context) -> io::Result<(Server, ServerHandle)> {
    serve_within(LIMITS, listener, context)
}

fn serve_within(
    limits: Limits,
    listener: TcpListener,
    context: Context,
) -> io::Result<(Server, ServerHandle)> {
    give_up_deaf_clients(&listener, limits.patience)?;
    let shared = web::Data::new(HandlerContext {
        context,
        patience: limits.patience,
    });
    let polls = shared.context.config.server.enable_poll;
    let app = move || {
        let mut app = App::new();
        if polls {
            app = app.service(poll_resource());
        }
        app.app_data(shared.clone())
            .service(resource("/metrics", get().to(metrics::metrics)))
            .service(resource("/health", get().to(probes::health)))
            .service(resource("/ready", get().to(probes::ready)))
            .service(resource("/config", get().to(page::config)).wrap(Compress::default()))
            .service(resource("/docs", get().to(page::docs)).wrap(Compress::default()))
            .service(resource("/", get().to(page::status)).wrap(Compress::default()))
            .default_service(web::to(answer::not_found))
            .wrap(from_fn(answer::guard))
    };
    let server = HttpServer::new(app)
        .workers(WORKERS)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        .max_connections(CONNECTIONS)
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(limits.request)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .shutdown_timeout(STOP_SECONDS)
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    Ok((server, handle))
}

/// A route for GET, and for HEAD, which is GET without the body.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A path with one route; other methods are refused.
fn resource(path: &str, route: Route) -> Resource {
    let refuse = web::to(answer::method_not_allowed);
    web::resource(path).route(route).default_service(refuse)
}

/// Where a poll is asked for.
fn poll_resource() -> Resource {
    web::resource("/-/poll")
        .route(web::post().to(poll::poll))
        .default_service(web::to(answer::post_alone))
}

/// Has the kernel close connections whose client takes no data any more: accepted connections
/// inherit it from the listener. Elsewhere such connections stay until the client goes.
fn give_up_deaf_clients(listener: &TcpListener, patience: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(listener).set_tcp_user_timeout(Some(patience))?;
    #[cfg(not(target_os = "linux"))]
    let _ = (listener, patience);
    Ok(())
}
