//! Pipelines and jobs, in GitLab's own words.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::model::{JobId, PipelineId, ProjectId, RunnerId};
use crate::time::Millis;

/// Status of a pipeline or a job. `Other` is a value that this simulator does not know, as a newer
/// GitLab would send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Waits for earlier stages.
    Created,
    /// Waits for a resource group.
    WaitingForResource,
    /// Prerequisites are being prepared.
    Preparing,
    /// Waits for an external service.
    WaitingForCallback,
    /// Waits for a runner.
    Pending,
    /// Runs.
    Running,
    /// Done, good.
    Success,
    /// Done, bad.
    Failed,
    /// Being canceled.
    Canceling,
    /// Canceled.
    Canceled,
    /// Never to run.
    Skipped,
    /// Waits for somebody to play it.
    Manual,
    /// Waits for its delay to pass.
    Scheduled,
    /// A value of a newer GitLab, in lower case.
    Other(Arc<str>),
}

impl Status {
    /// The 13 statuses GitLab knows, in its own order.
    pub const ALL: [Self; 13] = [
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

    /// The value of REST and webhooks: lower case.
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
            Self::Other(raw) => raw,
        }
    }

    /// The value of GraphQL: upper case.
    #[must_use]
    pub fn graphql(&self) -> String {
        self.as_str().to_ascii_uppercase()
    }

    /// Reads a status in either case; an unknown one becomes `Other`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == lower)
            .unwrap_or_else(|| Self::Other(lower.into()))
    }

    /// Success, failed, canceled or skipped.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped
        )
    }

    /// Complete with a time of finish: success, failed or canceled.
    #[must_use]
    pub fn has_finish(&self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled)
    }

    /// GitLab's `active`: something is being done or waited for.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(
            self,
            Self::WaitingForResource
                | Self::Preparing
                | Self::WaitingForCallback
                | Self::Pending
                | Self::Running
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}

/// What a pipeline was made for: GraphQL's `Pipeline.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineKind {
    /// A branch.
    Branch,
    /// A tag.
    Tag,
    /// A merge request's head.
    MergeRequest,
    /// A merge request merged into its target beforehand.
    MergedResult,
    /// A merge request in a train.
    MergeTrain,
}

impl PipelineKind {
    /// The value of GraphQL's `Pipeline.type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::MergeRequest => "merge_request",
            Self::MergedResult => "merged_result",
            Self::MergeTrain => "merge_train",
        }
    }

    /// The value of GraphQL's `PipelineMergeRequestEventType`.
    #[must_use]
    pub fn event_type(self) -> Option<&'static str> {
        match self {
            Self::Branch | Self::Tag => None,
            Self::MergeRequest => Some("DETACHED"),
            Self::MergedResult => Some("MERGED_RESULT"),
            Self::MergeTrain => Some("MERGE_TRAIN"),
        }
    }

    /// The last part of the ref of a merge-request pipeline.
    #[must_use]
    pub fn ref_suffix(self) -> &'static str {
        match self {
            Self::MergedResult => "merge",
            Self::MergeTrain => "train",
            Self::Branch | Self::Tag | Self::MergeRequest => "head",
        }
    }
}

/// The bridge that triggered a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Upstream {
    /// Pipeline of the bridge.
    pub pipeline_id: PipelineId,
    /// The bridge.
    pub job_id: JobId,
}

/// A pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct Pipeline {
    /// Its id on the instance.
    pub id: PipelineId,
    /// Its number in the project.
    pub iid: u64,
    /// Its project.
    pub project_id: ProjectId,
    /// Commit.
    pub sha: Arc<str>,
    /// Branch or tag name, or `refs/merge-requests/<iid>/head|merge|train`.
    #[serde(rename = "ref")]
    pub ref_name: Arc<str>,
    /// What it was made for.
    pub kind: PipelineKind,
    /// GitLab's value, lower case, such as `push`.
    pub source: Arc<str>,
    /// Status.
    pub status: Status,
    /// Made.
    pub created_at: Millis,
    /// Last transition of its own status.
    pub updated_at: Millis,
    /// First time it ran; kept over retries.
    pub started_at: Option<Millis>,
    /// Last time it succeeded, failed or was canceled; cleared by a retry of the pipeline.
    pub finished_at: Option<Millis>,
    /// Seconds of running time of its jobs and those downstream, computed at completion.
    pub duration: Option<i64>,
    /// Overrides the coverage that jobs give.
    pub coverage: Option<f64>,
    /// What is wrong in its configuration.
    pub yaml_errors: Option<Arc<str>>,
    /// Its merge request.
    pub merge_request_iid: Option<u64>,
    /// The bridge that triggered it.
    pub upstream: Option<Upstream>,
    /// Its jobs and bridges, retried ones included, by id.
    pub jobs: Vec<JobId>,
    /// It lives on its own as the world evolves.
    #[serde(skip)]
    pub auto: bool,
    /// What only single views show.
    #[serde(skip)]
    pub details: PipelineDetails,
}

/// What GitLab keeps of a pipeline besides.
#[derive(Clone, Debug, Default)]
pub struct PipelineDetails {
    /// User name of who started it; the exporter's bot where `None`.
    pub user: Option<Arc<str>>,
    /// The commit before the push; zeros where `None`.
    pub before_sha: Option<Arc<str>>,
    /// Its row has no such commit.
    pub without_before_sha: bool,
    /// Whether the ref it ran for was protected.
    pub protected: bool,
    /// The schedule that started it.
    pub schedule_id: Option<u64>,
    /// Its name.
    pub name: Option<Arc<str>>,
}

impl Pipeline {
    /// Made for a tag.
    #[must_use]
    pub fn tag(&self) -> bool {
        self.kind == PipelineKind::Tag
    }

    /// Name of the user who started it.
    #[must_use]
    pub fn user(&self) -> &str {
        let user = self.details.user.as_deref();
        user.unwrap_or(crate::rest::USERNAME)
    }

    /// Triggered by a pipeline of the same project.
    #[must_use]
    pub fn is_child(&self) -> bool {
        &*self.source == "parent_pipeline"
    }

    /// Whole seconds between creation and start, as GitLab counts them: `None` where neither start nor
    /// finish is known; 0 is left to the reader (GitLab shows null).
    #[must_use]
    pub fn queued_seconds(&self) -> Option<i64> {
        self.started_at
            .or(self.finished_at)
            .map(|until| (until - self.created_at) / 1_000)
    }
}

/// Build or bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Runs on a runner.
    Build,
    /// Triggers a downstream pipeline.
    Bridge,
}

/// When a job may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When all earlier stages went well.
    #[default]
    OnSuccess,
    /// When an earlier job failed.
    OnFailure,
    /// In any case.
    Always,
    /// When somebody plays it.
    Manual,
    /// Some time after all earlier stages went well (`when: delayed`).
    Delayed,
}

/// A file that a job left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// REST's value, such as `archive`, `trace`, `junit`.
    pub file_type: Arc<str>,
    /// File name.
    pub filename: Arc<str>,
    /// Bytes.
    pub size: u64,
}

/// A job or a bridge.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// Its id on the instance.
    pub id: JobId,
    /// Its pipeline.
    pub pipeline_id: PipelineId,
    /// Name.
    pub name: Arc<str>,
    /// Stage.
    pub stage: Arc<str>,
    /// Place of the stage in the pipeline.
    pub stage_index: u32,
    /// Build or bridge.
    pub kind: JobKind,
    /// When it may start.
    pub when: When,
    /// Its failure does not fail the pipeline.
    pub allow_failure: bool,
    /// Status.
    pub status: Status,
    /// Made.
    pub created_at: Millis,
    /// Began to wait for a runner.
    pub queued_at: Option<Millis>,
    /// Began to run.
    pub started_at: Option<Millis>,
    /// Ended.
    pub finished_at: Option<Millis>,
    /// Replaced by a newer job of the same name.
    pub retried: bool,
    /// Why it failed, GitLab's value.
    pub failure_reason: Option<Arc<str>>,
    /// Who ran it.
    pub runner_id: Option<RunnerId>,
    /// Coverage in percent.
    pub coverage: Option<f64>,
    /// What it left.
    pub artifacts: Vec<Artifact>,
    /// Tags it asks of a runner.
    pub tags: Vec<Arc<str>>,
    /// What it triggers, for a bridge.
    pub trigger: Option<Arc<Trigger>>,
    /// The pipeline it triggered.
    pub downstream_id: Option<PipelineId>,
    /// What only some views show.
    #[serde(skip)]
    pub details: JobDetails,
}

/// What GitLab keeps of a job besides.
#[derive(Clone, Debug, Default)]
pub struct JobDetails {
    /// The parts of its times below a millisecond.
    pub below: BelowMillis,
    /// Id of its stage; made up where `None`.
    pub stage_id: Option<u64>,
    /// User name of who started it; the pipeline's where `None`.
    pub user: Option<Arc<str>>,
    /// Number of the process that ran it among its runner's, from 0.
    pub manager_id: Option<u64>,
    /// Exit code of its script.
    pub exit_code: Option<i32>,
    /// Environment that it deploys to, or acts on.
    pub environment: Option<Arc<str>>,
    /// Names of the jobs that it waits for, where it says so.
    pub needs: Vec<Arc<str>>,
}

/// Bytes of the log of each build.
const LOG_SIZE: u64 = 25;

/// Microseconds that GitLab keeps of a job's times below the millisecond: durations count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BelowMillis {
    /// Of the time at which it began to wait.
    pub queued: i64,
    /// Of its start.
    pub started: i64,
    /// Of its end.
    pub finished: i64,
}

/// Seconds between two moments of milliseconds and microseconds below them.
fn seconds(from: (Millis, i64), to: (Millis, i64)) -> f64 {
    let micros = (to.0 - from.0) * 1_000 + to.1 - from.1;
    micros.max(0) as f64 / 1_000_000.0
}

impl Job {
    /// Keeps the log of a build that ran: it is an artifact, too.
    pub(super) fn keep_log(&mut self) {
        if self
            .artifacts
            .iter()
            .any(|file| &*file.file_type == "trace")
        {
            return;
        }
        self.artifacts.push(Artifact {
            file_type: "trace".into(),
            filename: "job.log".into(),
            size: LOG_SIZE,
        });
    }

    /// What it leaves but its log.
    pub(super) fn files(&self) -> Vec<Artifact> {
        let files = self.artifacts.iter();
        let files = files.filter(|file| &*file.file_type != "trace");
        files.cloned().collect()
    }

    /// Seconds it ran, up to `now` while it runs.
    #[must_use]
    pub fn duration_seconds(&self, now: Millis) -> Option<f64> {
        let below = self.details.below;
        let end = self.finished_at.map_or((now, 0), |at| (at, below.finished));
        Some(seconds((self.started_at?, below.started), end))
    }

    /// Seconds it waited for a runner, up to `now` while it waits.
    #[must_use]
    pub fn queued_seconds(&self, now: Millis) -> Option<f64> {
        let below = self.details.below;
        let start = self.started_at.map(|at| (at, below.started));
        let end = start.or(self.finished_at.map(|at| (at, below.finished)));
        Some(seconds(
            (self.queued_at?, below.queued),
            end.unwrap_or((now, 0)),
        ))
    }
}

/// What a bridge triggers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// Project of the downstream pipeline; `None` for a child pipeline.
    pub project_id: Option<ProjectId>,
    /// Ref of a pipeline in another project; its default branch where `None`.
    pub ref_name: Option<Arc<str>>,
    /// The bridge mirrors the downstream pipeline's status (`strategy: depend`).
    #[serde(default)]
    pub depend: bool,
    /// Jobs of the downstream pipeline.
    #[serde(default)]
    pub jobs: Vec<super::spec::JobSpec>,
}
