//! The entities that the rest of the program sees, however they were read.
//!
//! REST and GraphQL answers both become these types. Three kinds of *nothing* are distinguished: a
//! value GitLab says is null (`Option::None`), a value this way of reading cannot give
//! ([`Known::Unread`]), and a value the token's role hides ([`Known::Hidden`]). Times are cut to
//! whole seconds ([`crate::clock::UnixSeconds`]).

mod analytics;
mod comparison;
mod dora;
mod environment;
mod instance;
mod job;
mod merge_request;
mod pipeline;
mod project;
mod repository;
mod review;
mod runner;
mod schedule;
mod status;
mod test_report;

use serde::{Deserialize, Serialize};

pub use analytics::{SEVERITIES, StageMedian, ValueStreams, Vulnerabilities};
pub use comparison::Comparison;
pub use dora::{Days, DeploymentTier, DoraByTier, DoraFigures, ProjectDora};
pub use environment::{Deployment, DeploymentOrigin, Environment, Incident};
pub use instance::{CurrentUser, Metadata, TokenInfo};
pub use job::Job;
pub use merge_request::{
    CensusEntry, CensusPage, DiffStats, MergeRequest, ProjectMergeRequests, ReviewedMergeRequest,
    WhichMergeRequests,
};
pub use pipeline::{
    Bridge, BridgeTarget, Downstream, DownstreamTarget, Pipeline, PipelineHead,
    PipelineMergeRequest, RefKind, UNKNOWN_SOURCE, Upstream, Variable, merge_request_iid,
};
pub use project::{Attributes, Features, Owner, Permissions, Project, Role};
pub use repository::{Commit, GitRef, Language, RefCounts, Releases, RepositoryInfo, Statistics};
pub use review::{Note, NoteKind, Reviewer, User};
pub use runner::{Runner, RunnerManager, RunnerType};
pub(crate) use schedule::short_ref;
pub use schedule::{LastPipeline, Schedule};
pub use status::Status;
pub use test_report::{TestCase, TestCounts, TestReport, TestSuite};

impl From<Status> for String {
    fn from(status: Status) -> Self {
        status.as_str().to_owned()
    }
}

/// A value that one way of reading GitLab returns and another does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Known<T> {
    /// GitLab said so.
    Value(T),
    /// GitLab has no such value here (null).
    Nothing,
    /// The token's role is too low to see it, or it is null and a higher role might see it.
    Hidden,
    /// This way of reading cannot return it; another may.
    #[default]
    Unread,
}

impl<T> Known<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Hidden | Self::Unread => None,
        }
    }

    /// A borrowed view.
    pub const fn as_ref(&self) -> Known<&T> {
        match self {
            Self::Value(value) => Known::Value(value),
            Self::Nothing => Known::Nothing,
            Self::Hidden => Known::Hidden,
            Self::Unread => Known::Unread,
        }
    }

    /// Whether asking in another way could return more.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Hidden | Self::Unread)
    }

    /// This if it is settled, else `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_open() { other } else { self }
    }
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items that could be read.
    pub items: Vec<T>,
    /// Cursor of the next page; `None` on the last.
    pub next: Option<String>,
    /// Items left out because their content made no sense, each with a sentence that says why.
    pub skipped: Vec<String>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next: None,
            skipped: Vec::new(),
        }
    }
}

/// Seconds, percents and figures that make sense: finite and not negative.
pub(crate) fn sensible(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.is_finite() && *number >= 0.0)
}
