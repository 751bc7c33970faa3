//! One file per source: what is read from GitLab together, once, for several collectors.
//!
//! A source asks [`crate::gitlab`] for a batch of projects and returns one result per project. It
//! counts nothing, measures nothing and shows nothing.

mod batches;
pub mod change_feed;
pub mod contributors;
pub mod dora;
pub mod environments;
pub mod merge_requests;
pub mod refs;
pub mod repository;
mod rights;
pub mod runners;
pub mod schedules;
pub mod security;
pub mod test_reports;
pub mod value_stream;
pub mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, StreamExt};

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::{ProjectSettings, Settings};
pub use crate::facts::Reading;
use crate::facts::{Facts, Unavailable};
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Permissions, Project};
use crate::gitlab::{Cause, GitLab, GitLabError};
use crate::memory::{ProjectMemory, Subject};
use crate::types::{ProjectId, Text, Tier};
use change_feed::{Backfill, ChangeFeed};
use contributors::ContributorsSource;
use dora::DoraSource;
use environments::EnvironmentsSource;
use merge_requests::MergeRequestsSource;
use refs::RefsSource;
use repository::RepositorySource;
pub use rights::{Right, forbids};
use runners::RunnersSource;
use schedules::SchedulesSource;
use security::SecuritySource;
use test_reports::TestReportsSource;
use value_stream::ValueStreamSource;
use variables::VariablesSource;

/// One reading of GitLab, and the collectors that measure it.
#[async_trait]
pub trait Source: Send + Sync {
    /// What it reads for: one variant for each source.
    fn reading(&self) -> Reading;

    /// The collectors that measure it and that are on for some project; its errors are counted under
    /// the first.
    fn collectors(&self) -> &[Collector];

    /// How often a project with these settings is read; none where it is not.
    fn interval(&self, settings: &ProjectSettings) -> Option<Duration> {
        settings.shortest_interval(self.collectors())
    }

    /// Projects in one run: as many as one query takes, or a few where each costs calls of its own.
    fn batch(&self) -> usize;

    /// Which projects go together in a run, and how many of them.
    fn grouping(&self, _memory: &ProjectMemory) -> Grouping {
        Grouping {
            size: self.batch(),
            ..Grouping::default()
        }
    }

    /// Runs of it at once.
    fn runs_at_once(&self) -> usize {
        1
    }

    /// What must be known of a project before it is read for this.
    fn needs(&self) -> Needs {
        Needs::Tier
    }

    /// Why the project has nothing for it, as far as that is known without a call.
    fn unavailable(&self, _target: &Target) -> Option<Unavailable> {
        None
    }

    /// Whether a project that is due is to be read.
    fn wants(&self, _project: &Project, _memory: &ProjectMemory, _now: UnixSeconds) -> Wants {
        Wants::Now
    }

    /// Reads some projects: one result for each.
    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched;
}

/// What a run read of each project.
pub type Fetched = Vec<(ProjectId, Result<Facts, SourceError>)>;

/// Results of one kind as facts of any kind.
fn fetched<T>(
    read: Vec<(ProjectId, Result<T, SourceError>)>,
    facts: impl Fn(T) -> Facts,
) -> Fetched {
    let read = read.into_iter();
    read.map(|(id, read)| (id, read.map(&facts))).collect()
}

/// What a run of a source knows besides its projects.
#[derive(Clone, Debug)]
pub struct Context {
    /// The time of the run.
    pub now: UnixSeconds,
    /// All tracked projects.
    pub tracked: Tracked,
}

/// Which projects go together in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grouping {
    /// Projects of a lower turn are read before those of a higher one, however long these have waited.
    pub turn: u8,
    /// Projects of different groups are never read together.
    pub group: u8,
    /// Within a group, those near each other go together.
    pub near: UnixSeconds,
    /// Projects in one run.
    pub size: usize,
}

/// What must be known of a project before a source reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it is the first to read a project.
    Nothing,
    /// The project was read for the first time.
    FirstRead,
    /// The project's pipelines have been read once, whole.
    Pipelines,
    /// That, and its tier was asked for.
    Tier,
}

/// Whether a project that is due is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Yes.
    Now,
    /// No: nothing can have changed; it is asked again an interval later.
    AfterInterval,
    /// No; it is asked again as soon as something else was read of the project.
    WhenSomethingMoved,
}

/// The sources of whose collectors one is on for some project.
#[must_use]
pub fn sources(
    settings: &Settings,
    gitlab: &GitLab,
    feed: &Arc<ChangeFeed>,
) -> Vec<Arc<dyn Source>> {
    let collectors = &settings.collectors;
    let all: [Arc<dyn Source>; 14] = [
        Arc::clone(feed) as _,
        Arc::new(Backfill::new(feed)),
        Arc::new(RefsSource::new(gitlab)),
        Arc::new(MergeRequestsSource::new(settings, gitlab)),
        Arc::new(EnvironmentsSource::new(gitlab)),
        Arc::new(DoraSource::new(&collectors.dora, gitlab)),
        Arc::new(RepositorySource::new(&collectors.repository, gitlab)),
        Arc::new(ValueStreamSource::new(gitlab)),
        Arc::new(SecuritySource::new(gitlab)),
        Arc::new(TestReportsSource::new(&collectors.test_reports, gitlab)),
        Arc::new(SchedulesSource::new(gitlab)),
        Arc::new(VariablesSource::new(&collectors.variables, gitlab)),
        Arc::new(RunnersSource::new(gitlab)),
        Arc::new(ContributorsSource::new(&settings.labels, gitlab)),
    ];
    let is_on = |source: &Arc<dyn Source>| {
        let mut collectors = source.collectors().iter();
        source.needs() != Needs::Tier || collectors.any(|one| settings.enabled_anywhere(*one))
    };
    all.into_iter().filter(is_on).collect()
}

/// Runs futures side by side, at most `at_once` of them, and returns their results in order.
// A `Vec`, not an iterator: a future that holds the closure which makes the others is not `Send`
// to today's compiler.
pub(crate) async fn side_by_side<F: Future>(at_once: usize, futures: Vec<F>) -> Vec<F::Output> {
    stream::iter(futures).buffered(at_once).collect().await
}

/// Time after a project was first listed in which every source reads it for the first time.
const FIRST_READINGS: Duration = Duration::from_secs(3600);

/// Nothing is looked up by other projects' paths when it is said what to read.
pub(crate) static NO_PATHS: BTreeMap<ProjectId, Text> = BTreeMap::new();

/// A tracked project, as a source reads it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Number of this tracking of the project: it changes when the project is removed and added again.
    pub tracking: u64,
    /// The project as it was last seen.
    pub project: Project,
    /// Its settings.
    pub settings: Arc<ProjectSettings>,
    /// What is remembered of it.
    pub memory: Arc<ProjectMemory>,
    /// The tier that its licence gives, as far as known.
    pub tier: Known<Tier>,
    /// What the token may read of it, as far as GitLab said.
    pub permissions: Permissions,
    /// When GitLab last said that its pipelines may be read.
    pub permitted_at: UnixSeconds,
    /// Version and edition of GitLab; none where the token may not ask.
    pub instance: Option<Arc<Instance>>,
    /// Whether the run was asked for: what did not move is read, too.
    pub is_asked_for: bool,
}

impl Target {
    /// The project's id.
    #[must_use]
    pub fn id(&self) -> ProjectId {
        self.project.id
    }

    /// When the project was first listed, by GitLab's clock: where history ends for what is read of it
    /// for the first time at `clock`. What could not be read for long begins with its first reading.
    pub(crate) fn first_listed(&self, clock: UnixSeconds) -> UnixSeconds {
        let listed = self.memory.feed.as_ref().map(|feed| feed.first_seen);
        let listed = listed.filter(|at| clock.since(*at) <= FIRST_READINGS);
        listed.map_or(clock, |at| at.min(clock))
    }

    /// What a collector checks its memory with, to say what is to be read.
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
}

/// The projects that are tracked now, with their full paths: what runs elsewhere is seen only from
/// upstream.
pub type Tracked = Arc<BTreeMap<ProjectId, Text>>;

/// Why nothing could be read of a project.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// GitLab does not show the project to this token: deleted, or the role is gone.
    #[error("the project was removed, or is no longer visible to the token")]
    NotFound,
    /// The project has nothing for the source: no error, its states go and the reason is shown.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// GitLab answers 403, and not only for the project.
    #[error("GitLab denies all access to the token: {0}")]
    Refused(String),
    /// The batch was answered, this project's part of it was not.
    #[error("the response of GitLab lacks the project: {0}")]
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
        } else if error.is_not_found() {
            Self::NotFound
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
            Self::NotFound | Self::Unavailable(_) | Self::Refused(_) => false,
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

    /// Whether GitLab refuses the token as such, which is reported once for all.
    #[must_use]
    pub fn is_token_refused(&self) -> bool {
        matches!(self, Self::GitLab(error) if error.is_token_refused())
    }

    /// What happened, without the call that it happened to: the same for all that fails alike.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::GitLab(error) => error.cause.to_string(),
            other => other.to_string(),
        }
    }

    /// Value of the label `error_type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Unavailable(_) | Self::Refused(_) => "forbidden",
            Self::Partial(_) => "graphql",
            Self::GitLab(error) => error.kind(),
        }
    }
}
