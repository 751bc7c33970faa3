//! Builders for the tests of collectors: pipelines and jobs as sentences, and a watched project.
//!
//! Times are small numbers of seconds.

mod watched;

pub use watched::{ANY, NONE, Watched};

use crate::clock::UnixSeconds;
use crate::facts::feed::{ForeignPipeline, PipelineFacts};
use crate::gitlab::model::{
    DownstreamTarget, Job, Known, Pipeline, PipelineMergeRequest, RefKind, RunnerType, Status,
    Upstream,
};
use crate::types::{JobId, PipelineId, ProjectId};

/// The project that tests watch, unless they say otherwise.
pub const PROJECT: &str = "group/project";

/// The id of a project: a number for each path.
pub fn project_id(path: &str) -> ProjectId {
    let number = |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
    ProjectId(path.bytes().fold(1, number))
}

/// A pipeline that was just created on `main` by a push.
pub fn pipeline(id: u64, created: i64) -> PipelineFacts {
    let created_at = UnixSeconds(created);
    let pipeline = Pipeline {
        id: PipelineId(id),
        iid: id,
        git_ref: "main".into(),
        kind: RefKind::Branch,
        source: "push".into(),
        status: Status::Created,
        created_at,
        updated_at: created_at,
        started_at: None,
        finished_at: None,
        duration: None,
        queued_duration: None,
        coverage: None,
        merge_request: Known::Nothing,
        upstream: Known::Nothing,
    };
    PipelineFacts {
        pipeline,
        floor: None,
        jobs: None,
        bridges: None,
        foreign: Vec::new(),
    }
}

impl PipelineFacts {
    pub fn on_branch(mut self, name: &str) -> Self {
        self.pipeline.git_ref = name.into();
        self
    }

    pub fn on_tag(mut self, name: &str) -> Self {
        self.pipeline.kind = RefKind::Tag;
        self.on_branch(name)
    }

    /// A pipeline of a merge request from `feature` to `main`; `end` is `head` for its source,
    /// `merge` for the merged result, `train` for a merge train.
    pub fn on_merge_request(mut self, iid: u64, end: &str) -> Self {
        self.pipeline.kind = RefKind::MergeRequest;
        self.pipeline.merge_request = Known::Value(PipelineMergeRequest {
            iid,
            target_branch: "main".into(),
            source_branch: "feature".into(),
        });
        self.on_branch(&format!("refs/merge-requests/{iid}/{end}"))
            .from("merge_request_event")
    }

    pub fn from(mut self, source: &str) -> Self {
        self.pipeline.source = source.into();
        self
    }

    /// Moves to a status that neither starts nor ends it.
    pub fn turns(mut self, status: impl Into<Status>, at: i64) -> Self {
        self.pipeline.status = status.into();
        self.pipeline.updated_at = UnixSeconds(at);
        self
    }

    /// Runs from now on, for the first time or again: the end of an earlier run stays.
    pub fn runs(mut self, at: i64) -> Self {
        let started = *self.pipeline.started_at.get_or_insert(UnixSeconds(at));
        let queued = started.since(self.pipeline.created_at).as_secs_f64();
        self.pipeline.queued_duration = Some(queued).filter(|seconds| *seconds > 0.0);
        self.turns(Status::Running, at)
    }

    /// Is retried as a whole: GitLab takes the end of the earlier run away.
    pub fn is_retried(mut self, at: i64) -> Self {
        self.pipeline.finished_at = None;
        self.runs(at)
    }

    /// Ends; its duration is the time since its first start.
    pub fn ends(mut self, status: impl Into<Status>, at: i64) -> Self {
        let end = UnixSeconds(at);
        self.pipeline.finished_at = Some(end);
        let started = self.pipeline.started_at;
        self.pipeline.duration = started.map(|start| end.since(start).as_secs_f64());
        self.turns(status, at)
    }

    pub fn covers(mut self, percent: f64) -> Self {
        self.pipeline.coverage = Some(percent);
        self
    }

    /// A child of a pipeline of the same project.
    pub fn child_of(self, parent: &Self, bridge: &str) -> Self {
        let Pipeline { git_ref, kind, .. } = parent.pipeline.clone();
        let mut child = self
            .started_by(PROJECT, parent, bridge)
            .from("parent_pipeline");
        child.pipeline.git_ref = git_ref;
        child.pipeline.kind = kind;
        child.pipeline.merge_request = parent.pipeline.merge_request.clone();
        child
    }

    /// A multi-project pipeline, started by a pipeline of `project`.
    pub fn started_by(mut self, project: &str, upstream: &Self, bridge: &str) -> Self {
        self.pipeline.upstream = Known::Value(Upstream {
            pipeline: upstream.pipeline.id,
            project_id: project_id(project),
            project: project.into(),
            git_ref: upstream.pipeline.git_ref.clone(),
            merge_request: upstream.pipeline.merge_request.clone(),
            bridge: bridge.into(),
        });
        self.from("pipeline")
    }

    /// What started it has not been read yet.
    pub fn upstream_unread(mut self) -> Self {
        self.pipeline.upstream = Known::Unread;
        self
    }

    pub fn with_jobs(mut self, jobs: impl IntoIterator<Item = Job>) -> Self {
        self.jobs = Some(jobs.into_iter().collect());
        self
    }

    pub fn with_bridges(mut self, bridges: impl IntoIterator<Item = Job>) -> Self {
        self.bridges = Some(bridges.into_iter().collect());
        self
    }

    /// Leads to `downstream`, which runs in `project`, and that is not tracked.
    pub fn leads_to(mut self, project: &str, downstream: &Self) -> Self {
        let Known::Value(upstream) = downstream.pipeline.upstream.clone() else {
            panic!("say what started the downstream pipeline first");
        };
        let target = DownstreamTarget {
            project_id: project_id(project),
            project: project.into(),
            pipeline: downstream.pipeline.clone(),
        };
        self.foreign.push(ForeignPipeline { upstream, target });
        self
    }
}

/// A job of stage `test` that was just created.
pub fn job(id: u64, name: &str, created: i64) -> Job {
    Job {
        id: JobId(id),
        is_bridge: false,
        name: name.into(),
        stage: "test".into(),
        status: Status::Created,
        retried: Known::Value(false),
        allow_failure: false,
        created_at: UnixSeconds(created),
        started_at: None,
        finished_at: None,
        duration: None,
        queued_duration: None,
        coverage: None,
        failure_reason: Known::Nothing,
        runner_type: Known::Nothing,
        runner_description: None,
        tags: None,
        artifact_bytes: None,
    }
}

/// A trigger job of stage `test` that was just created.
pub fn bridge(id: u64, name: &str, created: i64) -> Job {
    Job {
        is_bridge: true,
        ..job(id, name, created)
    }
}

impl Job {
    pub fn in_stage(mut self, stage: &str) -> Self {
        self.stage = stage.into();
        self
    }

    pub fn turns(mut self, status: impl Into<Status>) -> Self {
        self.status = status.into();
        self
    }

    /// An instance runner takes it, after it waited since it was created.
    pub fn runs(mut self, at: i64) -> Self {
        self.started_at = Some(UnixSeconds(at));
        self.queued_duration = Some(UnixSeconds(at).since(self.created_at).as_secs_f64());
        self.runner_type = Known::Value(RunnerType::Instance);
        self.turns(Status::Running)
    }

    pub fn on_runner(mut self, runner_type: Known<RunnerType>) -> Self {
        self.runner_type = runner_type;
        self
    }

    pub fn succeeds(self, at: i64) -> Self {
        self.ends(Status::Success, at)
    }

    pub fn fails(mut self, reason: &str, at: i64) -> Self {
        self.failure_reason = Known::Value(reason.into());
        self.ends(Status::Failed, at)
    }

    pub fn ends(mut self, status: impl Into<Status>, at: i64) -> Self {
        let end = UnixSeconds(at);
        self.finished_at = Some(end);
        self.duration = self.started_at.map(|start| end.since(start).as_secs_f64());
        self.turns(status)
    }

    /// Its pipeline may succeed though it fails.
    pub fn may_fail(mut self) -> Self {
        self.allow_failure = true;
        self
    }

    /// A newer run of the same job has taken its place.
    pub fn replaced(mut self) -> Self {
        self.retried = Known::Value(true);
        self
    }
}
