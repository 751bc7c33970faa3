//! The HTTP server: `/metrics`, `/health`, `/ready`, `/config`, the status page on `/`, and the metrics
//! explained on `/docs`; `/-/poll` where it is on.
//!
//! [`serve`] takes listeners that the caller bound and returns the server as a future and a handle;
//! when it ends is the caller's decision. [`listener`] accepts connections, [`connections`] bounds them. Whatever may take a while (writing metrics, asking for
//! the status) runs outside the server's own threads, so that no request blocks another.

mod answer;
mod connections;
mod hosts;
mod listener;
mod metrics;
mod page;
mod poll;
mod probes;
pub mod status;
#[cfg(test)]
mod tests;
pub mod webhook;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Compress, from_fn};
use actix_web::{App, Error, Resource, Route, guard, web};

use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::Intervals;
use crate::series::Table;
use crate::telemetry::process::{Exemplars, HttpRefusal, OwnMetrics};
use crate::telemetry::secrets::Secrets;
use connections::{Connections, Refusals};
use hosts::Hosts;
use status::StatusSource;
use webhook::{EventSink, Receiver};

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
    /// Takes GitLab's events.
    pub events: Arc<dyn EventSink>,
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

/// The path of webhooks.
const WEBHOOK: &str = "/webhook";

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
}

const LIMITS: Limits = Limits {
    request: Duration::from_secs(5),
    patience: Duration::from_secs(30),
    // Longer than scrapers pause between two scrapes.
    keep_alive: Duration::from_secs(90),
    connections: 512,
    kept: 32,
};

/// GitLab opens a connection for each event, and does not try again.
const WITH_WEBHOOKS: Limits = Limits {
    connections: 2048,
    ..LIMITS
};

/// What handlers are given.
struct HandlerContext {
    context: Context,
    patience: Duration,
    hosts: Hosts,
    connections: Arc<Connections>,
}

/// A server on `listeners`: a future that runs it, to be spawned on or awaited in a tokio runtime,
/// and a handle whose `stop` ends it. Signals are left to the caller.
///
/// # Errors
/// When a listener cannot be used.
pub fn serve(
    listeners: Vec<TcpListener>,
    context: Context,
) -> io::Result<(
    impl Future<Output = io::Result<()>> + Send + 'static,
    ServerHandle,
)> {
    let limits = match context.config.server.webhook.enabled {
        true => WITH_WEBHOOKS,
        false => LIMITS,
    };
    serve_within(limits, listeners, context)
}

fn serve_within(
    limits: Limits,
    listeners: Vec<TcpListener>,
    context: Context,
) -> io::Result<(
    impl Future<Output = io::Result<()>> + Send + 'static,
    ServerHandle,
)> {
    let settings = &context.config.server;
    let per_client = usize::try_from(settings.max_connections_per_client).unwrap_or(usize::MAX);
    let refusals = Refusals::new(Arc::clone(&context.own));
    let connections = Connections::new(limits, per_client, refusals);
    let shared = web::Data::new(HandlerContext {
        hosts: Hosts::new(&settings.allowed_hosts),
        context,
        patience: limits.patience,
        connections: Arc::clone(&connections),
    });
    let receiver = match settings_of(&shared).webhook.enabled {
        true => Some(web::Data::new(receiver(&shared)?)),
        false => None,
    };
    let app = move || application(shared.clone(), receiver.clone());
    let mut builder = listener::builder();
    for listener in listeners {
        give_up_deaf_clients(&listener, limits.patience)?;
        builder = listener::listen(builder, listener, Arc::clone(&connections), app.clone())?;
    }
    let server = builder.run();
    let handle = server.handle();
    let serving = async move {
        tokio::select! {
            ended = server => ended,
            never = connections.tend() => match never {},
        }
    };
    Ok((serving, handle))
}

fn settings_of(shared: &HandlerContext) -> &crate::config::Server {
    &shared.context.config.server
}

fn receiver(shared: &HandlerContext) -> io::Result<Receiver> {
    let context = &shared.context;
    let settings = &context.config.server.webhook;
    Receiver::new(
        settings,
        context.secrets.clone(),
        Arc::clone(&context.events),
    )
}

/// Pages, probes and webhooks.
fn application(
    shared: web::Data<HandlerContext>,
    receiver: Option<web::Data<Receiver>>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let mut app = App::new();
    if shared.context.config.server.enable_poll {
        app = app.service(poll_resource());
    }
    if let Some(receiver) = receiver {
        app = app.app_data(receiver).service(webhook_resource());
    }
    app.app_data(shared)
        .service(resource("/metrics", get().to(metrics::metrics)))
        .service(resource("/health", get().to(probes::health)))
        .service(resource("/ready", get().to(probes::ready)))
        .service(resource("/config", get().to(page::config)).wrap(Compress::default()))
        .service(resource("/docs", get().to(page::docs)).wrap(Compress::default()))
        .service(resource("/", get().to(page::status)).wrap(Compress::default()))
        .default_service(web::to(answer::not_found))
        .wrap(from_fn(answer::guard))
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

/// Where webhooks come in.
fn webhook_resource() -> Resource {
    web::resource(WEBHOOK)
        .route(web::post().to(webhook::receive))
        .default_service(web::to(webhook::other_method))
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
