//! One file per source: what is read from GitLab together, once, for several collectors.
//!
//! A source asks [`crate::gitlab`] for a batch of projects and returns one result per project. It
//! counts nothing, measures nothing and shows nothing.

mod batches;
pub mod change_feed;
pub mod contributors;
pub mod dora;
pub mod environments;
mod erased;
pub mod merge_requests;
pub mod refs;
pub mod repository;
pub mod runners;
pub mod schedules;
pub mod security;
pub mod set;
pub mod test_reports;
mod unavailable;
pub mod value_stream;
pub mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::collector::{Measures, Subject};
use crate::config::ProjectSettings;
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Project, Role};
use crate::gitlab::{Cause, GitLabError};
use crate::project::ProjectMemory;
use crate::types::Tier;
use crate::types::{ProjectId, Text};

pub use erased::{AnySource, Facts};
pub use unavailable::Unavailable;

/// What a project is read for. A run holds its projects: there are never two runs of one reading
/// and one project at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading {
    /// What moved.
    ChangeFeed,
    /// Which refs exist.
    Refs,
    /// Merge requests and their reviews.
    MergeRequests,
    /// Environments and their deployments.
    Environments,
    /// Test reports of pipelines.
    TestReports,
    /// DORA metrics, or what they are computed from.
    Dora,
    /// Value stream analytics.
    ValueStream,
    /// Sizes and counts of repositories.
    Repository,
    /// Commits by contributor.
    Contributors,
    /// Pipeline schedules.
    Schedules,
    /// Runners.
    Runners,
    /// Vulnerabilities.
    Security,
    /// Variables of pipelines.
    Variables,
}

impl Reading {
    /// Whether the scheduler runs it by itself, not as one of the list in [`set`].
    #[must_use]
    pub const fn is_core(self) -> bool {
        matches!(self, Self::ChangeFeed | Self::Refs)
    }
}

/// One reading of GitLab in a rhythm of its own, and the collectors that measure it.
///
/// The change feed and refs have a form of their own: the first goes deeper step by step, the second
/// looks where something moved. Everything else has this one.
pub trait Source: Send + Sync + 'static {
    /// What is read of one project.
    type Facts: Send + Sync + 'static;

    /// What it reads for: one variant for each source.
    fn reading(&self) -> Reading;

    /// The enabled collectors that measure it; its errors are counted under the first.
    fn collectors(&self) -> &[Collector];

    /// How often a project is read.
    fn interval(&self) -> Duration;

    /// Projects in one run: as many as one query takes, or a few where each costs calls of its own.
    fn batch(&self) -> usize;

    /// Why the project has nothing for it, as far as that is known without a call.
    fn unavailable(&self, _target: &Target) -> Option<Unavailable> {
        None
    }

    /// Whether a project whose time has come is to be read; `false` when nothing can have moved
    /// since. It is asked again an interval later.
    fn wants(&self, _target: &Target, _now: UnixSeconds) -> bool {
        true
    }

    /// Reads some projects: one result for each.
    fn fetch(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> impl Future<Output = Vec<(ProjectId, Result<Self::Facts, SourceError>)>> + Send;

    /// What went wrong in a project and left the rest whole.
    fn problems<'a>(&self, _facts: &'a Self::Facts) -> &'a [Problem] {
        &[]
    }

    /// Lets the collectors measure what was read: pure. It changes only their own parts of the
    /// memory; a run whose record fails is measured again from the memory before it.
    fn measure(
        &self,
        subject: Subject<'_>,
        facts: &Self::Facts,
        memory: &mut ProjectMemory,
    ) -> Vec<Measures>;
}

/// Runs futures side by side, at most `at_once` of them, and gives their results in order.
// A `Vec`, not an iterator: a future that holds the closure which makes the others is not `Send`
// to today's compiler.
pub(crate) async fn side_by_side<F: Future>(at_once: usize, futures: Vec<F>) -> Vec<F::Output> {
    stream::iter(futures).buffered(at_once).collect().await
}

/// Nothing is looked up by other projects' paths when it is said what to read.
pub(crate) static NO_PATHS: BTreeMap<ProjectId, Text> = BTreeMap::new();

/// A tracked project, as a source reads it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Number of this tracking of the project: it has another when it went and came back.
    pub tracking: u64,
    /// The project as it was last seen.
    pub project: Project,
    /// Its settings.
    pub settings: Arc<ProjectSettings>,
    /// What is remembered of it.
    pub memory: Arc<ProjectMemory>,
    /// The tier that its licence gives, as far as it could be told.
    pub tier: Known<Tier>,
    /// Version and edition of GitLab; none where the token may not ask.
    pub instance: Option<Arc<Instance>>,
}

impl Target {
    /// The project's id.
    #[must_use]
    pub fn id(&self) -> ProjectId {
        self.project.id
    }

    /// What a collector looks at its memory with, to say what is to be read.
    pub(crate) fn subject<'a>(
        &'a self,
        paths: &'a BTreeMap<ProjectId, Text>,
        now: UnixSeconds,
    ) -> Subject<'a> {
        Subject {
            id: self.id(),
            project: &self.project.full_path,
            paths,
            settings: &self.settings,
            max_pipelines_per_ref: usize::MAX,
            refs: &self.memory.refs_seen,
            tier: self.tier,
            now,
        }
    }

    /// Why the project has nothing for what needs this tier and this role, as far as both are known.
    #[must_use]
    pub fn lacks(&self, tier: Tier, role: Role) -> Option<Unavailable> {
        if let Some(has) = self.project.role.value()
            && has < role
        {
            return Some(Unavailable::Role { needs: role, has });
        }
        match self.tier.value() {
            Some(has) if has < tier => Some(Unavailable::Tier { needs: tier, has }),
            _ => None,
        }
    }
}

/// The projects that are tracked now, with their full paths: what runs elsewhere is seen only from
/// upstream.
pub type Tracked = Arc<BTreeMap<ProjectId, Text>>;

/// Something that went wrong in one project and left the rest whole.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{project}: {sentence}")]
pub struct Problem {
    /// Full path of the project.
    pub project: Text,
    /// Value of the label `collector_type`.
    pub collector: &'static str,
    /// Value of the label `error_type`.
    pub kind: &'static str,
    /// What happened.
    pub sentence: String,
    /// Whether a call failed, so that what the collector knows is as old as before.
    pub is_failure: bool,
}

impl Problem {
    /// A failed call.
    #[must_use]
    pub fn call(project: &Text, collector: &'static str, error: &GitLabError) -> Self {
        Self {
            project: project.clone(),
            collector,
            kind: error.kind(),
            sentence: error.to_string(),
            is_failure: true,
        }
    }

    /// An item that made no sense and was left out.
    #[must_use]
    pub fn skipped(project: &Text, collector: &'static str, sentence: String) -> Self {
        Self {
            project: project.clone(),
            collector,
            kind: "decode",
            sentence,
            is_failure: false,
        }
    }
}

/// Why nothing could be read of a project.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// GitLab does not show the project to this token: deleted, or the role is gone.
    #[error("the project is gone, or the token may not see it any more")]
    Gone,
    /// The token's role is too low, and GitLab answers with emptiness instead of an error.
    #[error(
        "the token has the role {role} here; pipelines and jobs need Reporter or higher",
        role = .0.name()
    )]
    RoleTooLow(Role),
    /// The project has nothing for the source: no error, its states go and the reason is shown.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The batch was answered, this project's part of it was not.
    #[error("GitLab left the project out of its answer: {0}")]
    Partial(String),
    /// A call failed; a batch shares the error.
    #[error(transparent)]
    GitLab(#[from] Arc<GitLabError>),
}

impl From<GitLabError> for SourceError {
    /// A call about one project: a 403 is no failure, the project's data are not for this token.
    fn from(error: GitLabError) -> Self {
        if error.is_forbidden() {
            Unavailable::Forbidden(error.to_string()).into()
        } else if error.means_gone() {
            Self::Gone
        } else {
            Self::GitLab(Arc::new(error))
        }
    }
}

impl SourceError {
    /// Whether REST may answer where GraphQL did not.
    #[must_use]
    pub fn rest_may_answer(&self) -> bool {
        match self {
            Self::Gone | Self::RoleTooLow(_) | Self::Unavailable(_) => false,
            Self::Partial(_) => true,
            Self::GitLab(error) => {
                let too_heavy = matches!(
                    error.cause,
                    Cause::GraphQlTimeout(_) | Cause::GraphQlComplexity(_)
                );
                too_heavy || error.graphql_unavailable()
            }
        }
    }

    /// Value of the label `error_type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gone => "not_found",
            Self::RoleTooLow(_) | Self::Unavailable(_) => "forbidden",
            Self::Partial(_) => "graphql",
            Self::GitLab(error) => error.kind(),
        }
    }
}
