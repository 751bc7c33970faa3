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
    /// Its name, where it is not the last part of the path.
    pub name: Option<Arc<str>>,
    /// Who may see it; the least that what is in it allows where `None`.
    pub visibility: Option<Visibility>,
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

/// Who may use a part of a project: GitLab's `…_access_level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Everybody who sees the project.
    #[default]
    Enabled,
    /// Members only.
    Private,
    /// Nobody.
    Disabled,
}

impl Feature {
    /// GitLab's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Private => "private",
            Self::Disabled => "disabled",
        }
    }
}

/// The settings of a project that decide who may see what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProjectSettings {
    /// Name, where it is not the last part of the path.
    pub name: Option<Arc<str>>,
    /// `public_jobs`: whoever sees the project sees its CI.
    pub public_jobs: bool,
    /// CI.
    pub builds: Feature,
    /// Merge requests.
    pub merge_requests: Feature,
    /// Repository.
    pub repository: Feature,
    /// Environments and deployments.
    pub environments: Feature,
    /// Value stream analytics.
    pub analytics: Feature,
    /// Issues.
    pub issues: Feature,
    /// Releases.
    pub releases: Feature,
    /// When its deletion was asked for; it is then renamed and goes some weeks later.
    pub deletion_asked_at: Option<Millis>,
    /// Its repository is missing on disk.
    pub repository_missing: bool,
    /// Last change of the project itself; `None`: its last activity.
    pub updated_at: Option<Millis>,
    /// The project that it is a fork of.
    pub forked_from: Option<ProjectId>,
    /// Its topics.
    pub topics: Vec<Arc<str>>,
    /// Who made it.
    pub creator_id: Option<u64>,
    /// Id of the user's namespace that it is in.
    pub namespace_id: Option<u64>,
}

impl Default for ProjectSettings {
    fn default() -> Self {
        Self {
            name: None,
            public_jobs: true,
            builds: Feature::default(),
            merge_requests: Feature::default(),
            repository: Feature::default(),
            environments: Feature::default(),
            analytics: Feature::default(),
            issues: Feature::default(),
            releases: Feature::default(),
            deletion_asked_at: None,
            repository_missing: false,
            updated_at: None,
            forked_from: None,
            topics: Vec::new(),
            creator_id: None,
            namespace_id: None,
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
    /// What only some views show.
    #[serde(skip)]
    pub details: MergeRequestDetails,
}

/// What GitLab keeps of a merge request besides.
#[derive(Clone, Debug, Default)]
pub struct MergeRequestDetails {
    /// Text.
    pub description: Option<Arc<str>>,
    /// GitLab's `merge_status`, where it does not follow from the conflicts.
    pub merge_status: Option<Arc<str>>,
    /// User name of who merged it.
    pub merged_by: Option<Arc<str>>,
    /// User name of who closed it.
    pub closed_by: Option<Arc<str>>,
    /// Commit of the merge.
    pub merge_commit_sha: Option<Arc<str>>,
    /// When its diff and mergeability were first known.
    pub prepared_at: Option<Millis>,
    /// Its diff has not been made yet.
    pub without_diff: bool,
    /// User names of its assignees.
    pub assignees: Vec<Arc<str>>,
    /// Project of the source branch; its own where `None`.
    pub source_project_id: Option<ProjectId>,
}

/// What a project had before everything that the world holds of it. Its rows are nowhere; they only count
/// where the cost of a list depends on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Past {
    /// Pipelines, the children included; the project's own begin after them.
    pub pipelines: u64,
    /// Child pipelines among them.
    pub child_pipelines: u64,
    /// Merge requests; those that are made later have higher iids.
    pub merge_requests: u64,
    /// Deployments.
    pub deployments: u64,
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
    /// What else is set.
    #[serde(skip)]
    pub settings: ProjectSettings,
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
    /// What came before all that is held of it.
    #[serde(skip)]
    pub past: Past,
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

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.settings.name.as_deref().unwrap_or(self.path())
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
