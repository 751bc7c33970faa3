//! The budget of calls: one limiter stands in front of every exchange with GitLab. It says when a call
//! may go, and how many are under way at once.

mod headers;
mod local;

use std::time::Duration;

use async_trait::async_trait;

pub(crate) use headers::observation;
pub use local::{Budget, LocalLimiter};

use crate::clock::UnixSeconds;

/// How urgent a call is. A call waits while one of a more urgent lane does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// A user waits for the answer.
    Urgent,
    /// The steady work.
    #[default]
    Normal,
    /// What happened before: it has no date to keep. It gets a small share where all lanes wait.
    Backfill,
}

tokio::task_local! {
    /// The lane of all calls of the task, whichever client makes them.
    static LANE: Lane;
}

impl Lane {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    /// Makes all calls of a future in this lane.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        LANE.scope(self, future).await
    }

    /// The lane that this task was put in, if it was.
    pub(crate) fn of_task() -> Option<Self> {
        LANE.try_with(|lane| *lane).ok()
    }
}

/// How GitLab is asked. Of the calls under way only a share may be GraphQL queries: each keeps one of
/// GitLab's workers busy for seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// REST.
    Rest,
    /// A GraphQL query.
    GraphQl,
}

/// Leave to make one call, which counts as under way until this is dropped.
pub struct Turn {
    /// How long the call waited for the rate limits; not what it waited for others to end.
    pub waited: Duration,
    /// Gives the place up when it is dropped.
    _place: Box<dyn Send + Sync>,
}

impl Turn {
    /// A turn that holds `place` as long as it lasts.
    #[must_use]
    pub fn new(waited: Duration, place: Box<dyn Send + Sync>) -> Self {
        Self {
            waited,
            _place: place,
        }
    }
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

/// What an answer says about the budget.
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
    /// Waits until one exchange with `endpoint` is allowed. Dropping the future gives the place up.
    ///
    /// # Errors
    /// [`Exhausted`] when the rate limits would make it wait longer than the limiter lets a call wait.
    async fn acquire(
        &self,
        lane: Lane,
        kind: Kind,
        endpoint: &'static str,
    ) -> Result<Turn, Exhausted>;

    /// Learns from an answer of `endpoint`.
    async fn observe(&self, endpoint: &'static str, seen: &Observation);
}
