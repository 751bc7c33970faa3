//! The budget of calls: one limiter stands in front of every exchange with GitLab. It says when a call
//! may go, and how many are under way at once.

mod concurrency;
mod headers;
mod local;
mod share;
pub mod shared;
mod times;

use std::time::Duration;

use async_trait::async_trait;

pub(crate) use headers::observation;
pub use local::{Budget, LocalLimiter, SILENT_AFTER};

use crate::clock::UnixSeconds;

/// How urgent a call is. A call waits while one of a more urgent lane does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// A user waits for the answer.
    Urgent,
    /// The steady work.
    #[default]
    Normal,
    /// What happened before: it has no date to keep. It gets a small share where all lanes wait, it is
    /// paced by GitLab's time, and it yields first when GitLab slows down.
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

/// How many of the places under way a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A small answer.
    Light,
    /// A GraphQL query or a long list: it keeps one of GitLab's workers busy for up to seconds.
    Heavy,
}

impl Weight {
    /// Places under way.
    #[must_use]
    pub const fn places(self) -> u32 {
        match self {
            Self::Light => 1,
            Self::Heavy => 2,
        }
    }
}

/// What a call asks of GitLab, as far as the limiter needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// How urgent it is.
    pub lane: Lane,
    /// Endpoint template, which GitLab's own limits are by.
    pub endpoint: &'static str,
    /// What times are compared by: the name of the GraphQL operation, or the endpoint.
    pub operation: &'static str,
    /// Which of the fields of the operation it asks for, as a number of its own for each choice.
    pub variant: u64,
    /// Projects that it asks for; at least 1.
    pub projects: usize,
    /// Places that it takes.
    pub weight: Weight,
    /// Whether it waits while its endpoint is paused: what can be asked for otherwise does not.
    pub waits: bool,
}

/// Leave to make one call, which counts as under way until this is dropped.
pub struct Turn {
    /// What the call asks for.
    pub demand: Demand,
    /// How long the call waited for the rate limits; not what it waited for others to end, nor for
    /// GitLab's time.
    pub waited: Duration,
    /// Moves with each decrease of the concurrency: the answer to a call that began in an earlier round
    /// says nothing about the present one.
    pub(crate) round: u64,
    /// Gives the places up when it is dropped.
    _places: Box<dyn Send + Sync>,
}

impl Turn {
    /// A turn in this round that holds `places` as long as it lasts.
    #[must_use]
    pub fn new(demand: Demand, waited: Duration, round: u64, places: Box<dyn Send + Sync>) -> Self {
        Self {
            demand,
            waited,
            round,
            _places: places,
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

/// What the end of a call says about how busy GitLab is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// Nothing: it was refused, or failed otherwise.
    #[default]
    Unknown,
    /// It was answered with what was asked for, so its time can be compared.
    Answered,
    /// Too busy: no answer in time, whole or in part, or a 502, 503 or 504.
    TooBusy,
}

/// What the end of a call says about the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The headers, where GitLab sent them.
    pub rate_limit: Option<RateLimit>,
    /// Set for a 429.
    pub throttled: Option<Throttle>,
    /// `Retry-After` of a 429 or 503.
    pub retry_after: Option<Duration>,
    /// How busy GitLab is.
    pub load: Load,
    /// How long GitLab worked for the call.
    pub server_time: Duration,
}

/// The call would have to wait longer than calls wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// How long until a call is allowed again.
    pub wait: Duration,
}

/// How the limiter paces calls now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Places under way now: small calls take one, GraphQL queries and long lists two.
    pub concurrency: u32,
    /// Most places under way.
    pub ceiling: u32,
    /// How long ago GitLab slowed down, while backfill yields for it.
    pub slowed: Option<Duration>,
    /// How long backfill waits until it has used no more of GitLab's time than its share.
    pub backfill_waits: Option<Duration>,
}

/// Shares the budget among all calls, of this process or of several.
#[async_trait]
pub trait Limiter: Send + Sync {
    /// Waits until one exchange with GitLab is allowed. Dropping the future gives the place up.
    ///
    /// # Errors
    /// [`Exhausted`] when the rate limits would make it wait longer than the limiter lets a call wait.
    async fn acquire(&self, demand: Demand) -> Result<Turn, Exhausted>;

    /// Learns from the end of a call.
    async fn observe(&self, turn: &Turn, seen: &Observation);

    /// How calls are paced now.
    fn pace(&self) -> Pace;
}
