//! Pipelines, what started them and what they start.

use serde::{Deserialize, Serialize};

use super::{Job, Known, Status};
use crate::clock::UnixSeconds;
use crate::types::{PipelineId, ProjectId, Text};

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

/// The source of a pipeline where GitLab does not show it.
pub const UNKNOWN_SOURCE: &str = "unknown";

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

/// A pipeline, as GraphQL's `Pipeline` or REST's single pipeline returns it.
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
    /// Seconds of running time of its own and all downstream jobs, as computed by GitLab.
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

/// A pipeline started by a bridge of another pipeline, seen from the upstream side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Downstream {
    /// The bridge. Its stage is empty where it was not asked for.
    pub bridge: Job,
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

/// A variable that a pipeline was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Key.
    pub key: Text,
    /// Value.
    pub value: Text,
    /// Whether its value is the content of a file.
    pub file: bool,
}

/// A pipeline as REST's lists give it: no times of start and finish, no durations, no tag flag.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineHead {
    /// Unique id.
    pub id: PipelineId,
    /// Number in its project.
    pub iid: u64,
    /// Ref as GitLab writes it.
    pub git_ref: Text,
    /// GitLab's lower-case source.
    pub source: Text,
    /// Status now.
    pub status: Status,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When its own status last changed.
    pub updated_at: UnixSeconds,
}

/// A trigger job and the pipeline it started.
#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    /// The trigger job itself.
    pub job: Job,
    /// The downstream pipeline; `None` until it exists. REST names it even where the token may
    /// not read its project.
    pub downstream: Option<BridgeTarget>,
}

/// The pipeline that a bridge started.
#[derive(Clone, Debug, PartialEq)]
pub struct BridgeTarget {
    /// Its project.
    pub project_id: ProjectId,
    /// What the list says about it.
    pub pipeline: PipelineHead,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_merge_request_refs_name_a_merge_request() {
        assert_eq!(merge_request_iid("refs/merge-requests/42/head"), Some(42));
        assert_eq!(merge_request_iid("refs/merge-requests/7/train"), Some(7));
        assert_eq!(merge_request_iid("merge-requests/42"), None);
        assert_eq!(merge_request_iid("42"), None);
        assert_eq!(merge_request_iid("refs/merge-requests/x/head"), None);
    }
}
