//! The only place that talks to GitLab.
//!
//! [`GitLab`] is the handle: cheap to clone, one limiter and one connection pool behind all its
//! clones. Its typed calls live in [`rest`] and [`graphql`]; both give the types of [`model`].
//! [`capability`] finds out what the token can see.

pub mod accounting;
mod answer;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod bodies;
pub mod cable;
pub mod capability;
mod client;
pub mod error;
pub mod grants;
pub mod graphql;
mod json;
pub mod limiter;
pub mod model;
#[cfg(test)]
mod mutation;
mod pager;
pub mod rest;
pub mod settings;
#[cfg(test)]
pub(crate) mod testing;
mod token;

use std::sync::Arc;
use std::time::Duration;

pub use accounting::{Accounting, NoAccounting, Outcome};
pub use cable::{Cable, CableEnd, CableError, CableMessage, CablePatience, Cables};
pub use error::{Cause, GitLabError};
pub use limiter::{Budget, Lane, Limiter, LocalLimiter, Pace};
pub use pager::Excess;
pub use settings::{JobFields, RetryPolicy, Settings, SetupError, TokenSource};
pub use token::ReadyToken;

use crate::clock::{Clock, UnixSeconds};
use client::Client;
use graphql::Learned;
use graphql::batch::{Batches, Breaker};

/// A GitLab instance and a token.
#[derive(Clone)]
pub struct GitLab {
    shared: Arc<Connection>,
    lane: Lane,
}

struct Connection {
    client: Client,
    use_graphql: bool,
    graphql_page_size: u32,
    rest_page_size: u32,
    job_fields: JobFields,
    /// What GraphQL lacks here.
    gaps: Learned,
    /// Queries for tiers; who asks for them repeats them by a rhythm of its own.
    tiers: Batches,
}

impl GitLab {
    /// Builds the client with a limiter of its own; makes no call.
    ///
    /// # Errors
    /// When the address, the token, the certificate file or the limits cannot be used.
    pub fn new(
        settings: &Settings,
        accounting: Arc<dyn Accounting>,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        let limiter = LocalLimiter::new(settings.budget()).map_err(SetupError::Limits)?;
        Self::with_limiter(settings, Arc::new(limiter), accounting, clock)
    }

    /// Builds the client with a limiter that others share; makes no call.
    ///
    /// # Errors
    /// When the address, the token or the certificate file cannot be used.
    pub fn with_limiter(
        settings: &Settings,
        limiter: Arc<dyn Limiter>,
        accounting: Arc<dyn Accounting>,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            shared: Arc::new(Connection {
                client: Client::new(settings, limiter, accounting, clock)?,
                use_graphql: settings.use_graphql,
                graphql_page_size: settings.graphql_page_size.clamp(1, 100),
                rest_page_size: settings.rest_page_size.clamp(1, 100),
                job_fields: settings.job_fields,
                gaps: Learned::default(),
                tiers: Batches::new(
                    &Breaker::pausing(settings.use_graphql, Duration::ZERO),
                    Self::TIER_PROJECTS,
                ),
            }),
            lane: Lane::Normal,
        })
    }

    /// The same GitLab, its calls in this lane.
    #[must_use]
    pub fn in_lane(&self, lane: Lane) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            lane,
        }
    }

    /// Whether the descriptions of runners are read with jobs.
    pub(crate) fn reads_runner_descriptions(&self) -> bool {
        self.shared.job_fields.runners
    }

    /// Reads a token, to go on with it.
    ///
    /// # Errors
    /// A sentence when the file cannot be read, or the token is empty or no header value.
    pub fn prepare_token(&self, source: &TokenSource) -> Result<ReadyToken, String> {
        ReadyToken::read(source)
    }

    /// Goes on with a token that was read.
    pub fn set_token(&self, token: ReadyToken) {
        self.client().set_token(token);
    }

    /// The lane of its calls: that of the task, or its own.
    fn lane(&self) -> Lane {
        Lane::of_task().unwrap_or(self.lane)
    }

    /// Whether the settings allow GraphQL.
    #[must_use]
    pub fn uses_graphql(&self) -> bool {
        self.shared.use_graphql
    }

    /// A breaker for queries that fail together; it lets none through where the settings do not allow
    /// GraphQL.
    pub(crate) fn breaker(&self) -> Arc<Breaker> {
        Breaker::new(self.uses_graphql())
    }

    /// The instance's root address, with a final slash and without secrets.
    #[must_use]
    pub fn url(&self) -> &str {
        self.client().root().as_str()
    }

    /// GitLab's own time by its latest answer (header `Date`); none before the first. This clock, not
    /// ours, separates history from events.
    #[must_use]
    pub fn server_time(&self) -> Option<UnixSeconds> {
        self.client().server_time()
    }

    /// How calls are paced now.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.client().pace()
    }

    /// A number that moves with each other token and each refusal of one: what the token may do is to be
    /// asked again.
    #[must_use]
    pub fn token_revision(&self) -> u64 {
        self.client().token_revision()
    }

    /// Why GitLab refuses the token now.
    #[must_use]
    pub fn token_refusal(&self) -> Option<String> {
        self.client().token_refusal()
    }

    /// Whether GitLab permits the token anything at all: it gave something a moment ago, or does so now.
    pub async fn permits_something(&self) -> bool {
        const A_MOMENT: Duration = Duration::from_secs(1);
        if self.client().succeeded_within(A_MOMENT) {
            return true;
        }
        match self.instance().await {
            Ok(_) => true,
            // A fine-grained token without this grant is a good token.
            Err(error) => matches!(
                &error.cause,
                Cause::Forbidden(why) if why.starts_with("insufficient_granular_scope")
            ),
        }
    }

    fn client(&self) -> &Client {
        &self.shared.client
    }
}
