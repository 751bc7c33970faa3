//! The rows as they are written down.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::time::Millis;
use crate::world::model::{Feature, MergeRequestState, RunnerType, Visibility};
use crate::world::reviews::ReviewState;

/// A moment in microseconds, of which the world keeps milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// The millisecond, the rest cut off.
    pub fn millis(self) -> Millis {
        self.0.div_euclid(1_000)
    }

    /// Seconds that have passed since another moment.
    pub fn since(self, other: Self) -> f64 {
        (self.0 - other.0) as f64 / 1_000_000.0
    }

    /// Microseconds below the millisecond.
    pub fn below(self) -> i64 {
        self.0.rem_euclid(1_000)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(at.as_microsecond()))
    }
}

/// All rows of an instance.
#[derive(Debug, Deserialize)]
pub struct Rows {
    pub gitlab: InstanceRow,
    pub groups: Vec<GroupRow>,
    pub projects: Vec<ProjectRow>,
    pub members: Vec<MemberRow>,
    pub redirects: Vec<RedirectRow>,
    pub users: Vec<UserRow>,
    pub identities: Vec<IdentityRow>,
    pub refs: Vec<RefRow>,
    pub commits: Vec<CommitRow>,
    pub pipelines: Vec<PipelineRow>,
    pub jobs: Vec<JobRow>,
    pub pipeline_variables: Vec<VariableRow>,
    pub schedules: Vec<ScheduleRow>,
    pub runners: Vec<RunnerRow>,
    pub runner_managers: Vec<ManagerRow>,
    pub environments: Vec<EnvironmentRow>,
    pub deployments: Vec<DeploymentRow>,
    pub merge_requests: Vec<MergeRequestRow>,
    pub notes: Vec<NoteRow>,
    pub issues: Vec<IssueRow>,
    pub releases: Vec<ReleaseRow>,
    pub statistics: Vec<StatisticsRow>,
}

#[derive(Debug, Deserialize)]
pub struct InstanceRow {
    pub version: String,
    pub enterprise: bool,
}

#[derive(Debug, Deserialize)]
pub struct GroupRow {
    pub id: u64,
    pub full_path: Arc<str>,
    pub name: Arc<str>,
    pub parent_id: Option<u64>,
    pub visibility: Visibility,
}

#[derive(Debug, Deserialize)]
pub struct ProjectRow {
    pub id: u64,
    pub path_with_namespace: Arc<str>,
    pub name: Arc<str>,
    pub namespace_id: u64,
    pub visibility: Visibility,
    pub archived: bool,
    pub marked_for_deletion_on: Option<Arc<str>>,
    pub public_jobs: bool,
    pub creator_id: Option<u64>,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub last_activity_at: Moment,
    pub star_count: u32,
    pub forked_from_project_id: Option<u64>,
    pub builds_access_level: Feature,
    pub merge_requests_access_level: Feature,
    pub repository_access_level: Feature,
    pub environments_access_level: Feature,
    pub issues_access_level: Feature,
    pub releases_access_level: Feature,
    pub analytics_access_level: Feature,
    pub default_branch: Option<Arc<str>>,
}

#[derive(Debug, Deserialize)]
pub struct MemberRow {
    pub source_type: String,
    pub source_id: u64,
    pub user_id: u64,
    pub access_level: i64,
}

#[derive(Debug, Deserialize)]
pub struct RedirectRow {
    pub from: String,
    pub project_id: u64,
}

#[derive(Debug, Deserialize)]
pub struct UserRow {
    pub id: u64,
    pub username: Arc<str>,
    pub name: Arc<str>,
    pub state: String,
    pub admin: bool,
    pub external: bool,
    pub bot: bool,
    pub created_at: Moment,
}

#[derive(Debug, Deserialize)]
pub struct IdentityRow {
    #[serde(rename = "as")]
    pub name: String,
    pub user_id: Option<u64>,
    pub scopes: Option<Vec<String>>,
    pub expires_at: Option<String>,
    #[serde(default)]
    pub revoked: bool,
    #[serde(default)]
    pub grants: Vec<GrantRow>,
}

#[derive(Debug, Deserialize)]
pub struct GrantRow {
    pub access: String,
    pub group_id: Option<u64>,
    pub permissions: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
pub struct RefRow {
    pub project_id: u64,
    pub kind: String,
    pub name: Arc<str>,
    pub commit: Arc<str>,
}

#[derive(Debug, Deserialize)]
pub struct CommitRow {
    pub project_id: u64,
    pub id: Arc<str>,
    pub parent_ids: Vec<Arc<str>>,
    pub author_name: Arc<str>,
    pub author_email: Arc<str>,
    pub authored_date: Moment,
    pub committer_name: Arc<str>,
    pub committer_email: Arc<str>,
    pub committed_date: Moment,
    pub message: Arc<str>,
    pub additions: Option<u64>,
    pub deletions: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct PipelineRow {
    pub id: u64,
    pub iid: u64,
    pub project_id: u64,
    pub status: String,
    pub source: Arc<str>,
    #[serde(rename = "ref")]
    pub ref_name: Arc<str>,
    pub tag: bool,
    pub sha: Arc<str>,
    pub before_sha: Option<Arc<str>>,
    pub yaml_errors: Option<Arc<str>>,
    pub name: Option<Arc<str>>,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    pub duration: Option<i64>,
    pub user_id: Option<u64>,
    pub pipeline_schedule_id: Option<u64>,
    pub protected: Option<bool>,
    pub merge_request_iid: Option<u64>,
    pub upstream_pipeline_id: Option<u64>,
    pub upstream_job_id: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct JobRow {
    pub id: u64,
    pub pipeline_id: u64,
    pub name: Arc<str>,
    pub stage: Arc<str>,
    pub stage_id: u64,
    pub stage_idx: u32,
    pub status: String,
    pub retried: bool,
    pub allow_failure: bool,
    pub failure_reason: Option<Arc<str>>,
    pub exit_code: Option<i32>,
    pub when: Option<String>,
    pub created_at: Moment,
    pub queued_at: Option<Moment>,
    pub started_at: Option<Moment>,
    pub finished_at: Option<Moment>,
    pub coverage: Option<f64>,
    pub user_id: Option<u64>,
    pub runner_id: Option<u64>,
    pub runner_manager_id: Option<u64>,
    pub environment: Option<Arc<str>>,
    pub tag_list: Vec<Arc<str>>,
    pub needs: Vec<Arc<str>>,
    pub downstream_pipeline_id: Option<u64>,
    pub artifacts: Vec<ArtifactRow>,
    pub test_report: Option<ReportRow>,
    pub kind: String,
}

#[derive(Debug, Deserialize)]
pub struct ArtifactRow {
    pub file_type: Arc<str>,
    pub filename: Arc<str>,
    pub size: u64,
}

#[derive(Debug, Deserialize)]
pub struct ReportRow {
    pub tests: CountsRow,
}

#[derive(Debug, Deserialize)]
pub struct CountsRow {
    pub failed: usize,
    pub errored: usize,
    pub skipped: usize,
    pub success: usize,
    pub duration: f64,
    pub suite_error: Option<Arc<str>>,
}

#[derive(Debug, Deserialize)]
pub struct VariableRow {
    pub pipeline_id: u64,
    pub key: Arc<str>,
    pub value: Arc<str>,
    pub variable_type: Arc<str>,
    pub raw: bool,
}

#[derive(Debug, Deserialize)]
pub struct ScheduleRow {
    pub id: u64,
    pub project_id: u64,
    pub description: Arc<str>,
    #[serde(rename = "ref")]
    pub ref_name: Arc<str>,
    pub cron: Arc<str>,
    pub next_run_at: Option<Moment>,
    pub active: bool,
    pub owner_id: Option<u64>,
    pub created_at: Moment,
}

#[derive(Debug, Deserialize)]
pub struct RunnerRow {
    pub id: u64,
    pub runner_type: RunnerType,
    pub description: Arc<str>,
    pub creator_id: Option<u64>,
    pub created_at: Moment,
    pub projects: Vec<u64>,
    pub groups: Vec<u64>,
    pub paused: bool,
    pub contacted_at_cached: Option<Moment>,
}

#[derive(Debug, Deserialize)]
pub struct ManagerRow {
    pub id: u64,
    pub runner_id: u64,
    pub system_id: Arc<str>,
    pub version: Option<Arc<str>>,
    pub revision: Option<Arc<str>>,
    pub platform: Option<Arc<str>>,
    pub architecture: Option<Arc<str>>,
    pub created_at: Moment,
    pub contacted_at_cached: Option<Moment>,
}

#[derive(Debug, Deserialize)]
pub struct EnvironmentRow {
    pub id: u64,
    pub project_id: u64,
    pub name: Arc<str>,
    pub slug: Arc<str>,
    pub state: String,
    pub tier: String,
    pub external_url: Option<Arc<str>>,
    pub auto_stop_at: Option<Moment>,
    pub created_at: Moment,
    pub updated_at: Moment,
}

#[derive(Debug, Deserialize)]
pub struct DeploymentRow {
    pub id: u64,
    pub iid: u64,
    pub project_id: u64,
    pub environment_id: u64,
    #[serde(rename = "ref")]
    pub ref_name: Arc<str>,
    pub sha: Arc<str>,
    pub status: String,
    pub user_id: Option<u64>,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub finished_at: Option<Moment>,
    pub deployable_job_id: Option<u64>,
    pub merge_request_iids: Vec<u64>,
}

#[derive(Debug, Deserialize)]
pub struct MergeRequestRow {
    pub id: u64,
    pub iid: u64,
    pub project_id: u64,
    pub source_project_id: Option<u64>,
    pub state: MergeRequestState,
    pub title: Arc<str>,
    pub description: Option<Arc<str>>,
    pub source_branch: Arc<str>,
    pub target_branch: Arc<str>,
    pub author_id: u64,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub prepared_at: Option<Moment>,
    pub merge_status: Arc<str>,
    pub merge_commit_sha: Option<Arc<str>>,
    pub merged_at: Option<Moment>,
    pub merged_by_id: Option<u64>,
    pub closed_at: Option<Moment>,
    pub closed_by_id: Option<u64>,
    pub metrics_pipeline_id: Option<u64>,
    pub assignee_ids: Vec<u64>,
    pub reviewers: Vec<ReviewerRow>,
    pub approvals: Vec<ApprovalRow>,
    pub diff: DiffRow,
}

#[derive(Debug, Deserialize)]
pub struct ReviewerRow {
    pub user_id: u64,
    pub state: ReviewState,
    pub created_at: Moment,
}

#[derive(Debug, Deserialize)]
pub struct ApprovalRow {
    pub user_id: u64,
    pub created_at: Moment,
}

#[derive(Debug, Deserialize)]
pub struct DiffRow {
    pub state: Option<String>,
    pub head_sha: Option<Arc<str>>,
    pub commits_count: Option<u32>,
    pub additions: Option<u32>,
    pub deletions: Option<u32>,
    pub files_count: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub struct NoteRow {
    pub id: u64,
    pub project_id: u64,
    pub merge_request_iid: Option<u64>,
    pub author_id: u64,
    #[serde(rename = "type")]
    pub note_type: Option<Arc<str>>,
    pub body: Arc<str>,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub resolved_at: Option<Moment>,
    pub action: Option<Arc<str>>,
}

#[derive(Debug, Deserialize)]
pub struct IssueRow {
    pub id: u64,
    pub iid: u64,
    pub project_id: u64,
    pub issue_type: Arc<str>,
    pub title: Arc<str>,
    pub author_id: u64,
    pub created_at: Moment,
    pub updated_at: Moment,
    pub closed_at: Option<Moment>,
    pub duplicated_to_iid: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct ReleaseRow {
    pub project_id: u64,
    pub tag_name: Arc<str>,
    pub name: Option<Arc<str>>,
    pub author_id: Option<u64>,
    pub created_at: Moment,
    pub released_at: Moment,
}

#[derive(Debug, Deserialize)]
pub struct StatisticsRow {
    pub project_id: u64,
    pub commit_count: u64,
    pub storage_size: u64,
    pub repository_size: u64,
    pub wiki_size: u64,
    pub lfs_objects_size: u64,
    pub build_artifacts_size: u64,
    pub packages_size: u64,
    pub snippets_size: u64,
    pub uploads_size: u64,
    pub pipeline_artifacts_size: u64,
    pub container_registry_size: u64,
}
