//! Events that GitLab sends by itself, as hints: which project is to be read now, and for what.
//!
//! An event never carries a number of ours. It names what moved; the ordinary read, measure and record
//! follow, so nothing can be counted twice, or invented by a forged request. What senders say of
//! themselves is checked by [`senders`], what a webhook's body means by [`payload`]; hints wait in a
//! [`queue`] until they are gathered, and [`proof`] says whether polling may rely on them.

mod origin;
pub mod payload;
pub mod proof;
pub mod queue;
pub mod senders;
mod time;

use tokio::time::Instant;

use crate::facts::Reading;
use crate::types::ProjectId;

pub use origin::Origin;
pub use time::UnixMillis;

/// What brought a read about, as the label `trigger`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// Its interval was over.
    Poll,
    /// A webhook.
    Webhook,
    /// A GraphQL subscription.
    Subscription,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Poll, Self::Webhook, Self::Subscription];

    /// The value of the label `trigger`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Poll => "poll",
            Self::Webhook => "webhook",
            Self::Subscription => "subscription",
        }
    }
}

/// One event, as far as it is remembered until what it announced is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What brought it.
    pub trigger: Trigger,
    /// What moved: a pipeline's id, a merge request's number, a deployment's id.
    pub subject: Option<u64>,
    /// GitLab's time of the event, where it gives one.
    pub at: Option<UnixMillis>,
    /// When it came here.
    pub arrived: Instant,
    /// Whether a job moved, and not its pipeline.
    pub is_job: bool,
    /// The span in which it was received.
    pub origin: Option<Origin>,
}

/// A project that is to be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Which one.
    pub project: ProjectId,
    /// For what.
    pub reading: Reading,
    /// The event.
    pub mark: Mark,
}
