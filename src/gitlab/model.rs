//! The entities that the rest of the program sees, however they were read.
//!
//! REST and GraphQL answers both become these types. Three kinds of *nothing* are told apart:
//! a value GitLab says is null (`Option::None`), a value this way of reading cannot give
//! ([`Known::Unread`]), and a value the token's role hides ([`Known::Hidden`]).
//! Times are cut to whole seconds ([`UnixSeconds`]).

mod beside;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::types::{JobId, PipelineId, ProjectId, Text};
pub(crate) use beside::short_ref;
pub use beside::{
    LastPipeline, Runner, RunnerManager, Schedule, TestCase, TestCounts, TestReport, TestSuite,
    Variable,
};

/// Status of a pipeline, a job or a bridge (`app/models/concerns/ci/has_status.rb`).
///
/// Values this program does not know are kept as GitLab wrote them, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Status {
    /// Exists, nothing asked for yet.
    Created,
    /// Waits for a resource group.
    WaitingForResource,
    /// Prerequisites are being made.
    Preparing,
    /// Waits for an external answer.
    WaitingForCallback,
    /// Waits for a runner.
    Pending,
    /// Runs.
    Running,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Is being stopped.
    Canceling,
    /// Was stopped.
    Canceled,
    /// Left out.
    Skipped,
    /// Blocked until somebody plays a manual job.
    Manual,
    /// Blocked until a delay is over.
    Scheduled,
    /// A status newer than this program.
    Other(Text),
}

impl Status {
    /// Every status GitLab has today, in the order of a pipeline's life.
    pub const KNOWN: [Self; 13] = [
        Self::Created,
        Self::WaitingForResource,
        Self::Preparing,
        Self::WaitingForCallback,
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Canceling,
        Self::Canceled,
        Self::Skipped,
        Self::Manual,
        Self::Scheduled,
    ];

    /// GitLab's own lower-case name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Created => "created",
            Self::WaitingForResource => "waiting_for_resource",
            Self::Preparing => "preparing",
            Self::WaitingForCallback => "waiting_for_callback",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceling => "canceling",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::Other(text) => text,
        }
    }

    /// Ended: nothing moves any more unless somebody retries.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped
        )
    }

    /// Waits for a person or a timer; moves only with a status change, perhaps in days.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        matches!(self, Self::Manual | Self::Scheduled)
    }

    /// Neither ended nor blocked: worth reading again at every look.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.is_terminal() && !self.is_blocked()
    }
}

impl From<&str> for Status {
    /// Reads REST's lower case and GraphQL's upper case alike.
    fn from(text: &str) -> Self {
        let lower = text.to_lowercase();
        Self::KNOWN
            .into_iter()
            .find(|status| status.as_str() == lower)
            .unwrap_or_else(|| Self::Other(lower.into()))
    }
}

impl From<String> for Status {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        status.as_str().to_owned()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value that one way of reading GitLab gives and another does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Known<T> {
    /// GitLab said so.
    Value(T),
    /// GitLab has no such value here (null).
    Nothing,
    /// The token's role is too low to see it, or it is null and a higher role might see it.
    Hidden,
    /// This way of reading cannot tell; another may.
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

    /// Whether asking in another way could tell more.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Hidden | Self::Unread)
    }

    /// This if it is settled, else `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_open() { other } else { self }
    }
}

/// What a pipeline runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefKind {
    /// A branch.
    Branch,
    /// A tag.
    Tag,
    /// A merge request: its source (detached), the merged result, or a merge train.
    MergeRequest,
}

impl RefKind {
    /// The value of the label `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::MergeRequest => "merge-request",
        }
    }
}

/// The iid of the merge request that a ref `refs/merge-requests/<iid>/(head|merge|train)` names.
#[must_use]
pub fn merge_request_iid(git_ref: &str) -> Option<u64> {
    let (iid, end) = git_ref
        .strip_prefix("refs/merge-requests/")?
        .split_once('/')?;
    matches!(end, "head" | "merge" | "train").then(|| iid.parse().ok())?
}

/// The merge request a pipeline runs for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineMergeRequest {
    /// Number of the merge request in its project.
    pub iid: u64,
    /// Branch it is to be merged into.
    pub target_branch: Text,
    /// Branch it comes from.
    pub source_branch: Text,
}

/// The pipeline that started a downstream pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// Id of the upstream pipeline.
    pub pipeline: PipelineId,
    /// Its project, which keeps its id when it is renamed; 0 when unknown.
    pub project_id: ProjectId,
    /// Full path of its project when it was read.
    pub project: Text,
    /// Its ref, as GitLab writes it.
    pub git_ref: Text,
    /// Merge request it runs for.
    pub merge_request: Known<PipelineMergeRequest>,
    /// Name of the bridge (trigger job) that started the downstream pipeline; empty when unknown.
    pub bridge: Text,
}

/// A pipeline, as GraphQL's `Pipeline` or REST's single pipeline gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Unique id.
    pub id: PipelineId,
    /// Number in its project.
    pub iid: u64,
    /// Ref as GitLab writes it: `main`, `v1.0`, `refs/merge-requests/42/head`.
    pub git_ref: Text,
    /// What it runs for.
    pub kind: RefKind,
    /// GitLab's lower-case source, unknown ones kept.
    pub source: Text,
    /// Status now.
    pub status: Status,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When its own status last changed.
    pub updated_at: UnixSeconds,
    /// When its first job ever started.
    pub started_at: Option<UnixSeconds>,
    /// When it last ended; an old time can stand here while it runs again.
    pub finished_at: Option<UnixSeconds>,
    /// Seconds of running time of its own and all downstream jobs, by GitLab's reckoning.
    pub duration: Option<f64>,
    /// Seconds from creation to start; null also when that is 0.
    pub queued_duration: Option<f64>,
    /// Percent of code covered by tests: the mean of its jobs' coverages.
    pub coverage: Option<f64>,
    /// Merge request it runs for, when `kind` says so and the token may see it.
    pub merge_request: Known<PipelineMergeRequest>,
    /// What started it, for child and multi-project pipelines.
    pub upstream: Known<Upstream>,
}

/// Who may take a job's runner (`instance_type`, `group_type`, `project_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerType {
    /// Every project of the instance.
    Instance,
    /// The projects of a group.
    Group,
    /// Chosen projects.
    Project,
    /// A type newer than this program.
    Other,
}

impl RunnerType {
    /// The value of the label `runner_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Group => "group",
            Self::Project => "project",
            Self::Other => "unknown",
        }
    }
}

impl From<&str> for RunnerType {
    /// Reads `instance_type` and `INSTANCE_TYPE` alike.
    fn from(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "instance_type" => Self::Instance,
            "group_type" => Self::Group,
            "project_type" => Self::Project,
            _ => Self::Other,
        }
    }
}

/// A job that a runner runs. Bridges are not jobs here; see [`Downstream`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Unique id; a retry has its own.
    pub id: JobId,
    /// Name in the CI configuration.
    pub name: Text,
    /// Name of its stage.
    pub stage: Text,
    /// Status now.
    pub status: Status,
    /// Whether a newer run of the same job has taken its place.
    pub retried: Known<bool>,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When a runner took it.
    pub started_at: Option<UnixSeconds>,
    /// When it ended.
    pub finished_at: Option<UnixSeconds>,
    /// Whole seconds it ran; of a running job, up to now.
    pub duration: Option<f64>,
    /// Seconds it waited for a runner.
    pub queued_duration: Option<f64>,
    /// Percent of code covered by tests, from its log.
    pub coverage: Option<f64>,
    /// Why it failed (`script_failure`, …); only REST tells.
    pub failure_reason: Known<Text>,
    /// Type of its runner; hidden below Maintainer for group and project runners in GraphQL.
    pub runner_type: Known<RunnerType>,
    /// Bytes of all its artifacts together; null when it has none.
    pub artifact_bytes: Option<u64>,
}

/// A pipeline started by a bridge of another pipeline, seen from the upstream side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Downstream {
    /// Name of the bridge.
    pub bridge: Text,
    /// The downstream pipeline's project; `None` when the token may not read it.
    pub target: Option<DownstreamTarget>,
}

/// A downstream pipeline that the token may read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DownstreamTarget {
    /// Its project's id.
    pub project_id: ProjectId,
    /// Its project's full path.
    pub project: Text,
    /// The pipeline.
    pub pipeline: Pipeline,
}

/// What the ref rules need to know of a merge request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRequest {
    /// Number in its project.
    pub iid: u64,
    /// GitLab's lower-case state: `opened`, `closed`, `merged`, `locked`.
    pub state: Text,
    /// Branch it is to be merged into.
    pub target_branch: Text,
    /// Branch it comes from.
    pub source_branch: Text,
    /// When it last changed; notes move it at most once a minute.
    pub updated_at: UnixSeconds,
}

/// What discovery and the change feed learn about a project.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Unique id.
    pub id: ProjectId,
    /// Full path, the value of the label `project`.
    pub full_path: Text,
    /// Default branch; nothing for an empty repository, unread by the change feed.
    pub default_branch: Known<Text>,
    /// Whether it is archived.
    pub archived: bool,
    /// Last event (push, merge request, issue, …), moved at most once an hour; CI moves it not.
    pub last_activity_at: Option<UnixSeconds>,
    /// Role of the token in this project, when it was asked for.
    pub role: Known<Role>,
}

/// A member's role, as GitLab's numeric access level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Role(pub u32);

impl Role {
    /// No membership: public or internal projects only.
    pub const NONE: Self = Self(0);
    /// Reads issues and public CI.
    pub const GUEST: Self = Self(10);
    /// Reads pipelines, jobs, code, analytics: what most collectors need.
    pub const REPORTER: Self = Self(20);
    /// Reads vulnerabilities.
    pub const DEVELOPER: Self = Self(30);
    /// Reads project and group runners, pipeline variables.
    pub const MAINTAINER: Self = Self(40);

    /// GitLab's name of the highest role that is not above this level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0..=4 => "none",
            5..=9 => "minimal",
            10..=14 => "guest",
            15..=19 => "planner",
            20..=29 => "reporter",
            30..=39 => "developer",
            40..=49 => "maintainer",
            _ => "owner",
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_both_cases_and_unknown_ones_kept() {
        assert_eq!(
            Status::from("WAITING_FOR_CALLBACK"),
            Status::WaitingForCallback
        );
        assert_eq!(Status::from("success"), Status::Success);
        let unknown = Status::from("HIBERNATING");
        assert_eq!(unknown.as_str(), "hibernating");
        assert!(unknown.is_active(), "an unknown status is looked at again");
    }

    #[test]
    fn blocked_is_neither_terminal_nor_active() {
        for status in [Status::Manual, Status::Scheduled] {
            assert!(status.is_blocked() && !status.is_active() && !status.is_terminal());
        }
    }

    #[test]
    fn only_merge_request_refs_name_a_merge_request() {
        assert_eq!(merge_request_iid("refs/merge-requests/42/head"), Some(42));
        assert_eq!(merge_request_iid("refs/merge-requests/7/train"), Some(7));
        assert_eq!(merge_request_iid("merge-requests/42"), None);
        assert_eq!(merge_request_iid("42"), None);
        assert_eq!(merge_request_iid("refs/merge-requests/x/head"), None);
    }
}
