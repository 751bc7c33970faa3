//! Groups, projects and what belongs to them, in GitLab's own words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// Id of a group.
pub type GroupId = u64;
/// Id of a project.
pub type ProjectId = u64;
/// Id of a pipeline, unique on the instance.
pub type PipelineId = u64;
/// Id of a job or bridge, unique on the instance.
pub type JobId = u64;
/// Id of a runner.
pub type RunnerId = u64;

/// What a top-level group has paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Nothing.
    #[default]
    Free,
    /// Premium.
    Premium,
    /// Ultimate.
    Ultimate,
}

/// A group or subgroup.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Path with all parents.
    pub full_path: Arc<str>,
    /// The group it is in.
    pub parent_id: Option<GroupId>,
    /// Licence; counts only at the top level.
    pub tier: Tier,
}

/// Who may see a project without being a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Members only.
    #[default]
    Private,
    /// Everybody who has signed in.
    Internal,
    /// Everybody.
    Public,
}

impl Visibility {
    /// GitLab's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }
}

/// A branch or a tag.
#[derive(Clone, Debug, Serialize)]
pub struct GitRef {
    /// Name without `refs/heads/` or `refs/tags/`.
    pub name: Arc<str>,
    /// Commit it points to.
    pub sha: Arc<str>,
    /// Time of that commit.
    pub committed_at: Millis,
}

/// State of a merge request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeRequestState {
    /// Open.
    Opened,
    /// Closed without a merge.
    Closed,
    /// Being merged.
    Locked,
    /// Merged.
    Merged,
}

impl MergeRequestState {
    /// GitLab's value, the same in REST and GraphQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Locked => "locked",
            Self::Merged => "merged",
        }
    }
}

/// A merge request.
#[derive(Clone, Debug, Serialize)]
pub struct MergeRequest {
    /// Its id on the instance.
    pub id: u64,
    /// Its number in the project.
    pub iid: u64,
    /// Its project.
    pub project_id: ProjectId,
    /// Title.
    pub title: Arc<str>,
    /// State.
    pub state: MergeRequestState,
    /// Branch that is to be merged.
    pub source_branch: Arc<str>,
    /// Branch that it is to be merged into.
    pub target_branch: Arc<str>,
    /// Newest commit.
    pub sha: Arc<str>,
    /// Made.
    pub created_at: Millis,
    /// Last changed.
    pub updated_at: Millis,
    /// What is said and done about it.
    #[serde(skip)]
    pub review: super::reviews::Review,
    /// Merged.
    pub merged_at: Option<Millis>,
    /// Closed.
    pub closed_at: Option<Millis>,
}

/// A project.
#[derive(Clone, Debug, Serialize)]
pub struct Project {
    /// Its id; survives renames.
    pub id: ProjectId,
    /// The group it is in; `None` for a project in a user's namespace.
    pub group_id: Option<GroupId>,
    /// Path with all groups.
    pub full_path: Arc<str>,
    /// Made.
    pub created_at: Millis,
    /// Last event, as GitLab shows it (moves at most once an hour).
    pub last_activity_at: Millis,
    /// Read-only since.
    pub archived: bool,
    /// Who may see it.
    pub visibility: Visibility,
    /// Default branch; `None` for an empty repository.
    pub default_branch: Option<Arc<str>>,
    /// Branches by name.
    pub branches: BTreeMap<Arc<str>, GitRef>,
    /// Tags by name.
    pub tags: BTreeMap<Arc<str>, GitRef>,
    /// Merge requests by iid.
    pub merge_requests: BTreeMap<u64, MergeRequest>,
    /// Paths it once had.
    pub former_paths: Vec<Arc<str>>,
    /// The iid the next pipeline gets.
    #[serde(skip)]
    pub next_pipeline_iid: u64,
    /// Pipelines by id.
    #[serde(skip)]
    pub pipelines: BTreeSet<PipelineId>,
    /// Pipelines by time of change.
    #[serde(skip)]
    pub pipelines_by_update: BTreeSet<(Millis, PipelineId)>,
}

impl Project {
    /// Last part of the path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.full_path.rsplit('/').next().unwrap_or(&self.full_path)
    }

    /// First part of the path: the top-level group or user, whose licence counts.
    #[must_use]
    pub fn top_level(&self) -> &str {
        self.full_path.split('/').next().unwrap_or(&self.full_path)
    }

    /// Everything before the last part of the path.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.full_path
            .rsplit_once('/')
            .map_or("", |(namespace, _)| namespace)
    }
}

/// Whom a runner serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerType {
    /// All projects.
    InstanceType,
    /// The projects of a group.
    GroupType,
    /// Some projects.
    ProjectType,
}

impl RunnerType {
    /// REST's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InstanceType => "instance_type",
            Self::GroupType => "group_type",
            Self::ProjectType => "project_type",
        }
    }
}

/// A runner.
#[derive(Clone, Debug, Serialize)]
pub struct Runner {
    /// Its id.
    pub id: RunnerId,
    /// Whom it serves.
    pub runner_type: RunnerType,
    /// Text.
    pub description: Arc<str>,
}
