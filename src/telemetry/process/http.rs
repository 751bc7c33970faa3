//! The exporter's own server: its connections, and what it refused.

use super::instruments::{Counter, Gauge, Meters};
use super::{OwnMetrics, number};
use crate::catalogue::exporter;
use crate::catalogue::labels::{NoLabels, ReasonLabels};

/// Why a request or a connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpRefusal {
    /// It is no HTTP.
    BadRequest,
    /// The head of the request took too long.
    SlowRequest,
    /// There were too many connections: an idle one made room, or there was none.
    TooManyConnections,
    /// Its client has as many connections as one may have.
    ClientLimit,
    /// The host of the address is not allowed.
    Host,
    /// The TLS handshake failed.
    Tls,
    /// User and password are missing or wrong.
    Unauthorized,
    /// Too many passwords are to be verified.
    TooManyLogins,
}

impl HttpRefusal {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BadRequest,
        Self::SlowRequest,
        Self::TooManyConnections,
        Self::ClientLimit,
        Self::Host,
        Self::Tls,
        Self::Unauthorized,
        Self::TooManyLogins,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::SlowRequest => "slow_request",
            Self::TooManyConnections => "too_many_connections",
            Self::ClientLimit => "client_limit",
            Self::Host => "host",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::TooManyLogins => "too_many_logins",
        }
    }
}

/// The instruments.
pub(super) struct Http {
    connections: Gauge<NoLabels>,
    refusals: Counter<ReasonLabels>,
}

impl Http {
    pub(super) fn new(meters: &Meters) -> Self {
        let http = Self {
            connections: meters.gauge(&exporter::HTTP_CONNECTIONS),
            refusals: meters.counter(&exporter::HTTP_REFUSALS),
        };
        http.connections.set(NoLabels {}, 0.0);
        for why in HttpRefusal::ALL {
            http.refused(why, 0.0);
        }
        http
    }

    fn refused(&self, why: HttpRefusal, count: f64) {
        let reason = why.as_str().into();
        self.refusals.add(ReasonLabels { reason }, count);
    }
}

impl OwnMetrics {
    /// The server refused something.
    pub fn http_refused(&self, why: HttpRefusal) {
        self.http.refused(why, 1.0);
    }

    /// So many connections are open.
    pub fn http_connections(&self, open: usize) {
        self.http.connections.set(NoLabels {}, number(open));
    }
}
