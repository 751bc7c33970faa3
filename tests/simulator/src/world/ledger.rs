//! What happened, in GitLab's vocabulary: the ground on which a test computes what an exporter must
//! show. It never passes through the code under test.

use std::sync::Arc;

use serde::Serialize;

use super::World;
use super::ci::{Job, Pipeline, PipelineKind, Status};
use super::code::CommitSpec;
use super::delivery::{DeploymentId, DeploymentStatus};
use super::model::{JobId, PipelineId, ProjectId, RunnerType};
use crate::time::Millis;

/// The facts of a pipeline that labels are made of, as they were when the entry was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineFacts {
    /// Id.
    pub id: PipelineId,
    /// Number in its project.
    pub iid: u64,
    /// Project.
    pub project_id: ProjectId,
    /// Path of the project at that time.
    pub project_path: Arc<str>,
    /// Branch, tag, or `refs/merge-requests/<iid>/…`.
    #[serde(rename = "ref")]
    pub ref_name: Arc<str>,
    /// What it was made for.
    pub kind: PipelineKind,
    /// Number of its merge request.
    pub merge_request_iid: Option<u64>,
    /// Target branch of its merge request.
    pub target_branch: Option<Arc<str>>,
    /// Source branch of its merge request.
    pub source_branch: Option<Arc<str>>,
    /// GitLab's `source`.
    pub source: Arc<str>,
    /// Made for a tag.
    pub tag: bool,
    /// Made.
    pub created_at: Millis,
    /// What triggered it.
    pub upstream: Option<Arc<UpstreamFacts>>,
}

/// The upstream side of a downstream pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamFacts {
    /// The bridge.
    pub bridge_id: JobId,
    /// Name of the bridge.
    pub bridge_name: Arc<str>,
    /// The upstream pipeline, with its own upstream.
    pub pipeline: PipelineFacts,
}

/// The facts of a job that labels are made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobFacts {
    /// Id.
    pub id: JobId,
    /// Name.
    pub name: Arc<str>,
    /// Stage.
    pub stage: Arc<str>,
    /// Is a bridge.
    pub bridge: bool,
    /// May fail.
    pub allow_failure: bool,
    /// Its pipeline.
    pub pipeline: Arc<PipelineFacts>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the fields say what they are; see the variants"
)]
pub enum Event {
    /// A pipeline came into being.
    PipelineCreated {
        pipeline: Arc<PipelineFacts>,
        status: Status,
    },
    /// A pipeline succeeded, failed or was canceled; once for each run.
    PipelineFinished {
        pipeline: Arc<PipelineFacts>,
        status: Status,
        started_at: Option<Millis>,
        finished_at: Millis,
        /// Seconds, as GitLab will show them.
        duration: Option<i64>,
        /// Seconds; 0 where GitLab shows null.
        queued_duration: Option<i64>,
        coverage: Option<f64>,
    },
    /// A pipeline changed its status in any way.
    PipelineStatusChanged {
        pipeline: Arc<PipelineFacts>,
        from: Status,
        to: Status,
    },
    /// The test cases that a pipeline's report held when it ended; none of those left out.
    TestsReported {
        pipeline: Arc<PipelineFacts>,
        /// Suite and name.
        cases: Vec<(Arc<str>, Arc<str>)>,
    },
    /// A pipeline was deleted.
    PipelineDeleted {
        id: PipelineId,
        project_id: ProjectId,
    },
    /// A job succeeded, failed or was canceled.
    JobFinished {
        job: JobFacts,
        status: Status,
        failure_reason: Option<Arc<str>>,
        runner_type: Option<RunnerType>,
        /// `None`: it never ran.
        started_at: Option<Millis>,
        finished_at: Millis,
        queued_at: Option<Millis>,
        /// Seconds, with fraction.
        duration: Option<f64>,
        /// Seconds, with fraction.
        queued_duration: Option<f64>,
        coverage: Option<f64>,
        artifacts_size: u64,
    },
    /// A job was replaced by a newer one of the same name.
    JobRetried {
        old: JobFacts,
        old_status: Status,
        new_id: JobId,
    },
    /// A job succeeded that had failed before in the same pipeline.
    JobFlaky {
        job: JobFacts,
        failed_ids: Vec<JobId>,
    },
    /// A branch came into being.
    BranchCreated {
        project_id: ProjectId,
        name: Arc<str>,
    },
    /// A branch was deleted.
    BranchDeleted {
        project_id: ProjectId,
        name: Arc<str>,
    },
    /// A branch was moved to a commit that does not descend from its last one.
    ForcePushed {
        project_id: ProjectId,
        name: Arc<str>,
    },
    /// A commit came to the default branch.
    Committed {
        project_id: ProjectId,
        project_path: Arc<str>,
        branch: Arc<str>,
        commit: CommitSpec,
    },
    /// A tag came into being.
    TagCreated {
        project_id: ProjectId,
        name: Arc<str>,
    },
    /// A tag was deleted.
    TagDeleted {
        project_id: ProjectId,
        name: Arc<str>,
    },
    /// A merge request was opened, closed, merged or reopened.
    MergeRequestChanged {
        project_id: ProjectId,
        project_path: Arc<str>,
        iid: u64,
        state: &'static str,
        target_branch: Arc<str>,
    },
    /// Somebody did something in a review, or was asked for one.
    Reviewed {
        project_id: ProjectId,
        project_path: Arc<str>,
        iid: u64,
        target_branch: Arc<str>,
        /// Who opened the merge request.
        author: Arc<str>,
        /// Who did it, or is asked.
        user: Arc<str>,
        /// `asked`, `released`, `commented`, `approved`, `unapproved`, `reviewed`,
        /// `requested_changes` or `pushed`.
        act: &'static str,
    },
    /// A deployment started: its job, or itself where no job deploys.
    DeploymentStarted {
        project_id: ProjectId,
        project_path: Arc<str>,
        environment: Arc<str>,
        id: DeploymentId,
    },
    /// A deployment succeeded, failed or was canceled.
    DeploymentFinished {
        project_id: ProjectId,
        project_path: Arc<str>,
        environment: Arc<str>,
        id: DeploymentId,
        status: DeploymentStatus,
        /// Seconds, of its job or else of itself, with fraction; `None`: it never began.
        duration: Option<f64>,
    },
    /// A project came into being.
    ProjectCreated {
        project_id: ProjectId,
        path: Arc<str>,
    },
    /// A project was renamed or moved.
    ProjectMoved {
        project_id: ProjectId,
        from: Arc<str>,
        to: Arc<str>,
    },
    /// A project was archived or brought back.
    ProjectArchived {
        project_id: ProjectId,
        archived: bool,
    },
    /// A project was deleted.
    ProjectDeleted {
        project_id: ProjectId,
        path: Arc<str>,
    },
}

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// World time.
    pub at: Millis,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// All that happened since recording began (for generated worlds: since the end of their history).
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    paused: bool,
}

impl Ledger {
    /// Everything, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Forgets everything so far.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Stops or goes on recording.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn write(&mut self, at: Millis, event: impl FnOnce() -> Event) {
        if !self.paused {
            self.entries.push(Entry { at, event: event() });
        }
    }
}

impl World {
    /// What labels are made of, for a pipeline as it is now.
    #[must_use]
    pub fn pipeline_facts(&self, pipeline: &Pipeline) -> PipelineFacts {
        let project = self.project(pipeline.project_id);
        let merge_request = pipeline
            .merge_request_iid
            .and_then(|iid| project.and_then(|project| project.merge_requests.get(&iid)));
        let upstream = pipeline.upstream.and_then(|upstream| {
            let parent = self.pipeline(upstream.pipeline_id)?;
            Some(Arc::new(UpstreamFacts {
                bridge_id: upstream.job_id,
                bridge_name: self.job(upstream.job_id)?.name.clone(),
                pipeline: self.pipeline_facts(parent),
            }))
        });
        PipelineFacts {
            id: pipeline.id,
            iid: pipeline.iid,
            project_id: pipeline.project_id,
            project_path: project.map_or_else(|| "".into(), |project| project.full_path.clone()),
            ref_name: pipeline.ref_name.clone(),
            kind: pipeline.kind,
            merge_request_iid: pipeline.merge_request_iid,
            target_branch: merge_request.map(|mr| mr.target_branch.clone()),
            source_branch: merge_request.map(|mr| mr.source_branch.clone()),
            source: pipeline.source.clone(),
            tag: pipeline.tag(),
            created_at: pipeline.created_at,
            upstream,
        }
    }

    /// What labels are made of, for a job as it is now.
    #[must_use]
    pub fn job_facts(&self, job: &Job) -> Option<JobFacts> {
        let pipeline = self.pipeline(job.pipeline_id)?;
        Some(JobFacts {
            id: job.id,
            name: job.name.clone(),
            stage: job.stage.clone(),
            bridge: job.trigger.is_some(),
            allow_failure: job.allow_failure,
            pipeline: Arc::new(self.pipeline_facts(pipeline)),
        })
    }
}
