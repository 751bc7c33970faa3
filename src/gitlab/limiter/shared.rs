//! The budget of several processes: what one of them asks for, and what it gets.

use std::time::Duration;

use async_trait::async_trait;

use super::{Lane, Observation};

/// Something that GitLab said to one process and that all heed: a refusal, a window that is nearly used up,
/// or an answer that ends a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Endpoint template.
    pub endpoint: String,
    /// What the answer said.
    pub seen: Observation,
    /// How long ago.
    pub age: Duration,
}

/// What a process asks of the budget.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Lane of the first of the calls; none when it asks for no call, and only reports.
    pub lane: Option<Lane>,
    /// How many calls wait: at most so many permits are used.
    pub calls: u32,
    /// How long the first of them has been waiting for a permit.
    pub waited: Duration,
    /// Calls made without a permit since the last time, while the budget was away.
    pub spent: u32,
    /// Whether it uses its share without permits: the others are to keep it free.
    pub uses_share: bool,
    /// Processes that shared the budget at the last answer: an empty budget does not know them.
    pub members: u32,
    /// What GitLab said to this process since the last time.
    pub news: Vec<News>,
}

/// What it gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Permits for calls that are made at once.
    pub granted: u32,
    /// How long until there may be one, if there is none.
    pub wait: Duration,
    /// Processes that share the budget, this one included.
    pub members: u32,
    /// Whether this process was not among them before: the others hear of it next time they ask.
    pub is_new: bool,
    /// What GitLab said to others.
    pub news: Vec<News>,
}

/// The budget is not reachable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

/// A budget that several processes share. It hands out permits so that all together stay within the limits.
#[async_trait]
pub trait SharedBudget: Send + Sync {
    /// Asks for permits, and exchanges news.
    ///
    /// # Errors
    /// When it is away.
    async fn ask(&self, ask: &Ask) -> Result<Answer, Away>;

    /// Leaves the others the share of this process. They keep it free for a while otherwise.
    async fn leave(&self);

    /// How long a permit may be kept, counted from before it was asked for.
    fn permit_lifetime(&self) -> Duration;
}
