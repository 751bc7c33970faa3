//! The budget of calls: one limiter stands in front of every exchange with GitLab.

mod headers;
mod local;

use std::time::Duration;

use async_trait::async_trait;

pub(crate) use headers::observation;
pub use local::{Budget, LocalLimiter};

use crate::clock::UnixSeconds;

/// How urgent a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// Goes before everything that waits in the other lane: somebody waits for the answer.
    Urgent,
    /// The steady work.
    #[default]
    Normal,
}

/// What GitLab's `RateLimit-*` headers say about the throttle that is nearest to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls a minute, however long the window is.
    pub limit: u64,
    /// Calls left in the window.
    pub remaining: u64,
    /// When the window ends, by GitLab's clock.
    pub reset: UnixSeconds,
    /// How long until then.
    pub reset_in: Duration,
}

/// Which of GitLab's two systems said 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Rack::Attack: counts all calls of the token's user, or of the address.
    All,
    /// The application's limit of one endpoint.
    Endpoint,
}

/// What an answer tells about the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The headers, where GitLab sent them.
    pub rate_limit: Option<RateLimit>,
    /// Set for a 429.
    pub throttled: Option<Throttle>,
    /// `Retry-After` of a 429 or 503.
    pub retry_after: Option<Duration>,
}

/// The call would have to wait longer than calls wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// How long until a call is allowed again.
    pub wait: Duration,
}

/// Shares the budget among all calls, of this process or of several.
#[async_trait]
pub trait Limiter: Send + Sync {
    /// Waits until one exchange with `endpoint` is allowed; gives the time waited. Dropping the
    /// future gives the place up.
    ///
    /// # Errors
    /// [`Exhausted`] when the wait would be longer than the limiter makes a call wait.
    async fn acquire(&self, lane: Lane, endpoint: &'static str) -> Result<Duration, Exhausted>;

    /// Learns from an answer of `endpoint`.
    async fn observe(&self, endpoint: &'static str, seen: &Observation);
}
