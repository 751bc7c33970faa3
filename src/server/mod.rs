//! The HTTP server: `/metrics`, `/health`, `/ready`, `/config`, the status page on `/`, and
//! `/debug/pprof` when it is enabled.
//!
//! [`serve`] takes a listener that the caller bound and gives the server as a future and a handle;
//! when it ends is the caller's decision. Everything that may take a while (writing metrics,
//! asking for the status) runs beside the server's own threads, so that a slow request holds up no
//! other.

pub mod status;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};

use crate::clock::Clock;
use crate::config::Config;
use crate::series::Table;
use crate::telemetry::process::OwnMetrics;
use crate::telemetry::secrets::Secrets;
use status::StatusSource;

/// What the server shows.
#[derive(Clone)]
pub struct Context {
    /// All series of GitLab's facts.
    pub table: Arc<Table>,
    /// The exporter's own metrics.
    pub own: Arc<dyn OwnFamilies>,
    /// The effective configuration; `server.enable_pprof` decides whether profiles are served.
    pub config: Arc<Config>,
    /// How things are.
    pub status: Arc<dyn StatusSource>,
    /// What no answer may hold.
    pub secrets: Secrets,
    /// Now.
    pub clock: Clock,
}

/// The exporter's own metrics, as a registry gathers them.
pub trait OwnFamilies: Send + Sync {
    /// All of them as they are now.
    fn gather(&self) -> Vec<prometheus::proto::MetricFamily>;
}

impl OwnFamilies for OwnMetrics {
    fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        Self::gather(self)
    }
}

/// A server on `listener`: a future that runs it, to be spawned on or awaited in a tokio runtime,
/// and a handle whose `stop` ends it. Signals are left to the caller.
///
/// # Errors
/// When the listener cannot be used.
pub fn serve(listener: TcpListener, context: Context) -> io::Result<(Server, ServerHandle)> {
    let context = web::Data::new(context);
    let server = HttpServer::new(move || App::new().app_data(context.clone()))
        .workers(2)
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    Ok((server, handle))
}
