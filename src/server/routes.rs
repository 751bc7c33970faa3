//! What is answered on a listener: pages and metrics, or the probes alone, or what another part of the
//! program adds.

use std::sync::Arc;

use actix_web::middleware::Compress;
use actix_web::web::ServiceConfig;
use actix_web::{Resource, Route, guard, web};

use super::web::Protection;
use super::webhook::{self, Receiver};
use super::{Socket, answer, metrics, page, poll, probes, reload};
use crate::config::Server;

/// Addresses with the same routes. Their connections follow the rules of all others and have places of
/// their own, so that no other listener takes them.
pub struct Listener {
    pub(super) sockets: Vec<Socket>,
    pub(super) routes: Routes,
    pub(super) protection: Protection,
}

impl Listener {
    /// `routes` on `sockets`, which may be none.
    #[must_use]
    pub fn new(sockets: Vec<Socket>, routes: Routes) -> Self {
        Self {
            sockets,
            routes,
            protection: Protection::Full,
        }
    }

    /// Protected in another way than the web configuration says.
    #[must_use]
    pub fn protected_by(self, protection: Protection) -> Self {
        Self { protection, ..self }
    }
}

/// What is answered.
#[derive(Clone)]
pub struct Routes {
    add: Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>,
    /// Paths whose requests may have a body.
    pub(super) with_body: Vec<&'static str>,
    pub(super) has_probes: bool,
    /// Connections that may be open, where that is not the number of the others.
    pub(super) connections: Option<usize>,
}

impl Routes {
    /// Those that `add` registers. Paths `with_body` take one; theirs read it within a time of their
    /// own, since a connection whose head was read is busy until it is answered.
    pub fn new(
        with_body: &[&'static str],
        add: impl Fn(&mut ServiceConfig) + Send + Sync + 'static,
    ) -> Self {
        Self {
            add: Arc::new(add),
            with_body: with_body.to_vec(),
            has_probes: false,
            connections: None,
        }
    }

    /// `/health` and `/ready`.
    #[must_use]
    pub fn probes() -> Self {
        let add = |to: &mut ServiceConfig| {
            to.service(resource("/health", get().to(probes::health)))
                .service(resource("/ready", get().to(probes::ready)));
        };
        Self {
            has_probes: true,
            ..Self::new(&[], add)
        }
    }

    /// All pages, metrics and probes.
    #[must_use]
    pub fn pages(settings: &Server) -> Self {
        let (enable_poll, enable_reload) = (settings.enable_poll, settings.enable_reload);
        let add = move |to: &mut ServiceConfig| {
            if enable_poll {
                to.service(post("/-/poll", web::post().to(poll::poll)));
            }
            if enable_reload {
                to.service(post("/-/reload", web::post().to(reload::reload)));
            }
            to.service(resource("/metrics", get().to(metrics::metrics)))
                .service(resource("/config", get().to(page::config)).wrap(Compress::default()))
                .service(resource("/docs", get().to(page::docs)).wrap(Compress::default()))
                .service(resource("/", get().to(page::status)).wrap(Compress::default()));
        };
        Self::new(&[], add).and(Self::probes())
    }

    /// `/webhook`. GitLab opens a connection for each event, and does not try again.
    #[must_use]
    pub fn webhooks(receiver: Receiver) -> Self {
        let receiver = web::Data::new(receiver);
        let add = move |to: &mut ServiceConfig| {
            let resource = web::resource(webhook::PATH)
                .app_data(receiver.clone())
                .route(web::post().to(webhook::receive))
                .default_service(web::to(webhook::other_method));
            to.service(resource);
        };
        Self {
            connections: Some(webhook::CONNECTIONS),
            ..Self::new(&[webhook::PATH], add)
        }
    }

    /// These and `others`.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        let (first, second) = (self.add, others.add);
        Self {
            add: Arc::new(move |to| {
                first(to);
                second(to);
            }),
            with_body: [self.with_body, others.with_body].concat(),
            has_probes: self.has_probes || others.has_probes,
            connections: self.connections.max(others.connections),
        }
    }

    /// Registers them.
    pub(super) fn add_to(&self, config: &mut ServiceConfig) {
        (self.add)(config);
    }
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

/// A path with one route for POST.
fn post(path: &str, route: Route) -> Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(answer::post_alone))
}
