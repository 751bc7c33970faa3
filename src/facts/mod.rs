//! What sources hand to collectors: what was read of one project, however it was read.

mod changes;
pub mod contributors;
pub mod dora;
pub mod environments;
pub mod feed;
pub mod merge_requests;
mod problem;
pub mod refs;
pub mod test_reports;
mod unavailable;

use crate::catalogue::FamilyId;
use crate::catalogue::repository::COMMIT_COUNT;
use crate::gitlab::model::{Known, RepositoryInfo, ValueStreams};
use crate::gitlab::model::{Runner, Schedule, Variable};
use crate::memory::ProjectMemory;
use crate::memory::refs::RefName;
use crate::types::PipelineId;

pub use changes::Change;
pub use problem::Problem;
pub use unavailable::Unavailable;

/// What a project is read for. A run holds its projects: there are never two runs of one reading
/// and one project at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading {
    /// What moved.
    ChangeFeed,
    /// What had come to rest before a project was first read.
    Backfill,
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
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ChangeFeed,
        Self::Backfill,
        Self::Refs,
        Self::MergeRequests,
        Self::Environments,
        Self::TestReports,
        Self::Dora,
        Self::ValueStream,
        Self::Repository,
        Self::Contributors,
        Self::Schedules,
        Self::Runners,
        Self::Security,
        Self::Variables,
    ];

    /// The one of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|reading| reading.as_str() == name)
    }

    /// Its name in traces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChangeFeed => "change_feed",
            Self::Backfill => "backfill",
            Self::Refs => "refs",
            Self::MergeRequests => "merge_requests",
            Self::Environments => "environments",
            Self::TestReports => "test_reports",
            Self::Dora => "dora",
            Self::ValueStream => "value_stream",
            Self::Repository => "repository",
            Self::Contributors => "contributors",
            Self::Schedules => "schedules",
            Self::Runners => "runners",
            Self::Security => "security",
            Self::Variables => "variables",
        }
    }
}

/// What one run of a source read of one project: one variant for each source.
#[derive(Debug)]
pub enum Facts {
    /// Pipelines that moved.
    Feed(Box<feed::FeedRead>),
    /// Details of pipelines that had come to rest before.
    Backfill(Box<feed::BackfillRead>),
    /// Which refs exist.
    Refs(refs::RefsRead),
    /// Merge requests and their reviews.
    MergeRequests(merge_requests::MergeRequestsRead),
    /// Environments and their deployments.
    Environments(environments::EnvironmentsRead),
    /// Test reports of pipelines.
    TestReports(test_reports::ReportsRead),
    /// DORA figures, or what they are computed from.
    Dora(dora::DoraRead),
    /// Value stream analytics.
    ValueStream(ValueStreamRead),
    /// Sizes and counts of the repository.
    Repository(Box<RepositoryRead>),
    /// Commits by contributor.
    Contributors(contributors::ContributorsRead),
    /// Pipeline schedules.
    Schedules(SchedulesRead),
    /// Runners.
    Runners(RunnersRead),
    /// Open vulnerabilities by severity.
    Security([u64; 6]),
    /// Variables of pipelines.
    Variables(VariablesRead),
}

impl Facts {
    /// Notes how far the project has been read. Returns the pipelines that the collectors of the change
    /// feed measure, if this has any.
    #[must_use]
    pub fn note_progress(&self, memory: &mut ProjectMemory) -> Option<feed::Feed> {
        match self {
            Self::Feed(read) => {
                let (feed, progress) = read.take_in(memory.feed.as_ref());
                memory.feed = progress;
                if let Some(is_whole) = read.is_whole {
                    memory.first_reading.is_whole = is_whole;
                }
                return Some(feed);
            }
            Self::Backfill(read) => return Some(read.take_in(memory.feed.as_mut()?)),
            Self::Refs(read) => {
                memory.refs = read.progress.clone();
                memory.refs_seen = read.seen.clone();
                memory.first_reading.has_merge_requests |= read.has_merge_requests;
                return Some(read.as_feed(memory));
            }
            Self::MergeRequests(read) => memory.merge_requests_progress = read.progress.clone(),
            Self::Environments(read) => memory.environments_progress = read.progress.clone(),
            Self::Dora(read) => memory.dora_progress = read.progress.clone(),
            Self::TestReports(_)
            | Self::ValueStream(_)
            | Self::Repository(_)
            | Self::Contributors(_)
            | Self::Schedules(_)
            | Self::Runners(_)
            | Self::Security(_)
            | Self::Variables(_) => {}
        }
        None
    }

    /// Why there is nothing for the collectors of the change feed.
    #[must_use]
    pub fn unavailable(&self) -> Option<&Unavailable> {
        match self {
            Self::Feed(read) => read.unavailable.as_ref(),
            _ => None,
        }
    }

    /// A metric that counts what GitLab does not show to everyone who may read the rest, and whether it is
    /// hidden now.
    #[must_use]
    pub fn partly_hidden(&self) -> Option<(FamilyId, bool)> {
        match self {
            Self::Repository(read) => {
                let family = FamilyId::of(&COMMIT_COUNT.desc)?;
                Some((family, read.info.statistics == Known::Hidden))
            }
            _ => None,
        }
    }

    /// What went wrong and left the rest whole.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Feed(read) => &read.problems,
            Self::Backfill(read) => &read.problems,
            Self::Refs(read) => &read.problems,
            Self::MergeRequests(read) => &read.problems,
            Self::Environments(read) => &read.problems,
            Self::TestReports(read) => &read.problems,
            Self::Dora(read) => &read.problems,
            Self::ValueStream(read) => &read.problems,
            Self::Repository(read) => &read.problems,
            Self::Contributors(read) => &read.problems,
            Self::Schedules(read) => &read.problems,
            Self::Runners(read) => &read.problems,
            Self::Variables(read) => &read.problems,
            Self::Security(_) => &[],
        }
    }
}

/// A pipeline and its variables; none when it was deleted.
pub type VariablesOf = (RefName, PipelineId, Vec<Variable>);

/// What was read of a project.
#[derive(Debug)]
pub struct VariablesRead {
    pub pipelines: Vec<VariablesOf>,
    pub problems: Vec<Problem>,
}

/// What was read of a project.
#[derive(Debug)]
pub struct RepositoryRead {
    pub info: RepositoryInfo,
    pub problems: Vec<Problem>,
}

/// The runners whose states belong to a project.
#[derive(Debug, Default)]
pub struct RunnersRead {
    pub runners: Vec<Runner>,
    pub problems: Vec<Problem>,
}

/// What was read of a project.
#[derive(Debug)]
pub struct SchedulesRead {
    pub schedules: Vec<Schedule>,
    pub problems: Vec<Problem>,
}

/// What was read of a project.
#[derive(Debug)]
pub struct ValueStreamRead {
    pub found: ValueStreams,
    pub problems: Vec<Problem>,
}
