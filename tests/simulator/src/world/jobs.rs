//! Jobs and bridges: how they start, end, are retried, played and canceled.

use std::sync::Arc;

use super::ci::{Job, JobDetails, JobKind, Status, Upstream, When};
use super::ledger::Event;
use super::model::{JobId, PipelineId, RunnerId};
use super::spec::{Finish, JobSpec, PipelineSpec};
use super::{Result, World, WorldError};

impl World {
    fn job_or_error(&self, id: JobId) -> Result<&Arc<Job>> {
        self.job(id).ok_or_else(|| WorldError::not_found("job", id))
    }

    fn refuse<T>(job: &Job, verb: &'static str) -> Result<T> {
        Err(WorldError::WrongState {
            what: "job",
            id: job.id,
            state: job.status.to_string(),
            verb,
        })
    }

    /// A runner picks a pending job up (`None`: a job without runner).
    ///
    /// # Errors
    /// If there is no such job, or it does not wait for a runner.
    pub fn start_job(&mut self, id: JobId, runner: Option<RunnerId>) -> Result<()> {
        let job = self.job_or_error(id)?;
        if job.status != Status::Pending || job.kind == JobKind::Bridge {
            return Self::refuse(job, "start");
        }
        let (now, pipeline) = (self.now, job.pipeline_id);
        if let Some(job) = self.jobs.get_mut(id) {
            job.status = Status::Running;
            job.started_at = Some(now);
            job.runner_id = runner;
        }
        self.deployment_follows(id);
        self.plan_job(id);
        self.job_changed(pipeline);
        Ok(())
    }

    /// A job ends. One that still waits is started first, on the runner the finish names, as long ago as
    /// its duration says.
    ///
    /// # Errors
    /// If there is no such job, or it neither runs nor waits for a runner.
    pub fn finish_job(&mut self, id: JobId, finish: &Finish) -> Result<()> {
        let job = self.job_or_error(id)?;
        if !matches!(
            job.status,
            Status::Pending | Status::Running | Status::Canceling
        ) {
            return Self::refuse(job, "finish");
        }
        if job.kind == JobKind::Bridge {
            return Self::refuse(
                job,
                "finish by hand (a bridge follows its downstream pipeline)",
            );
        }
        let (pipeline, waits) = (job.pipeline_id, job.status == Status::Pending);
        if waits {
            self.start_job(id, finish.runner_id)?;
        }
        let now = self.now;
        if let Some(job) = self.jobs.get_mut(id) {
            if let Some(duration) = finish.duration {
                let start = (now - duration).max(job.created_at);
                job.started_at = Some(start);
                job.queued_at = job.queued_at.map(|queued| queued.min(start));
            }
            job.coverage = finish.coverage.or(job.coverage);
        }
        let status = match (&finish.failure_reason, finish.canceled) {
            (_, true) => Status::Canceled,
            (Some(_), _) => Status::Failed,
            (None, _) => Status::Success,
        };
        self.end_job(id, status, finish.failure_reason.as_deref());
        self.job_changed(pipeline);
        Ok(())
    }

    /// Runs a pending job from start to end at once: it took `duration` and ended now.
    ///
    /// # Errors
    /// As [`Self::finish_job`].
    pub fn run_job(&mut self, id: JobId, runner: Option<RunnerId>, finish: &Finish) -> Result<()> {
        self.finish_job(
            id,
            &Finish {
                runner_id: runner.or(finish.runner_id),
                ..finish.clone()
            },
        )
    }

    /// Runs every job of a pipeline, stage by stage, as if each took `duration`; bridges trigger. Blocking
    /// manual jobs and their successors stay.
    ///
    /// # Errors
    /// If there is no such pipeline.
    pub fn finish_pipeline(&mut self, id: PipelineId, finish: &Finish) -> Result<()> {
        self.pipeline(id)
            .ok_or_else(|| WorldError::not_found("pipeline", id))?;
        loop {
            let open = self
                .jobs_of(id)
                .find(|job| {
                    !job.retried
                        && (job.status == Status::Pending
                            || job.status == Status::Running && job.kind == JobKind::Build)
                })
                .map(|job| (job.id, job.kind));
            match open {
                None => return Ok(()),
                Some((job, JobKind::Build)) => self.finish_job(job, finish)?,
                Some((job, JobKind::Bridge)) => {
                    self.trigger_bridge(job)?;
                }
            }
        }
    }

    pub(super) fn end_job(&mut self, id: JobId, status: Status, reason: Option<&str>) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        job.failure_reason =
            (status == Status::Failed).then(|| reason.unwrap_or("unknown_failure").into());
        job.status = status;
        job.finished_at = Some(now);
        if job.kind == JobKind::Build && job.started_at.is_some() {
            job.keep_log();
        }
        self.record_job_finish(id);
        self.deployment_follows(id);
        self.plan_job(id);
    }

    fn record_job_finish(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id).cloned() else {
            return;
        };
        let Some(facts) = self.job_facts(&job) else {
            return;
        };
        let runner_type = job
            .runner_id
            .and_then(|id| self.runner(id))
            .map(|runner| runner.runner_type);
        let (now, started) = (self.now, job.started_at.is_some());
        let flaky = if job.status == Status::Success {
            self.failed_before(&job)
        } else {
            Vec::new()
        };
        let finished = Event::JobFinished {
            job: facts.clone(),
            status: job.status.clone(),
            failure_reason: job.failure_reason.clone(),
            runner_type,
            started_at: job.started_at,
            finished_at: now,
            queued_at: job.queued_at,
            duration: job.duration_seconds(now),
            queued_duration: if started {
                job.queued_seconds(now)
            } else {
                None
            },
            coverage: job.coverage,
            artifacts_size: job.artifacts.iter().map(|artifact| artifact.size).sum(),
        };
        self.ledger.write(now, || finished);
        if !flaky.is_empty() {
            self.ledger.write(now, || Event::JobFlaky {
                job: facts,
                failed_ids: flaky,
            });
        }
    }

    /// Retried jobs of the same name in the same pipeline that failed, and that no earlier success
    /// has followed: each failure turns out to be flaky once.
    fn failed_before(&self, job: &Job) -> Vec<JobId> {
        let earlier = || {
            let jobs = self.jobs_of(job.pipeline_id);
            jobs.filter(|other| other.name == job.name && other.id < job.id)
        };
        let successes = earlier().filter(|other| other.status == Status::Success);
        let last = successes.map(|other| other.id).max();
        earlier()
            .filter(|other| other.retried && other.status == Status::Failed)
            .filter(|other| last.is_none_or(|last| other.id > last))
            .map(|other| other.id)
            .collect()
    }

    /// Retries one job by hand: a new job of the same name; the old one becomes `retried`.
    ///
    /// # Errors
    /// If there is no such job, or it is not over, or was retried already.
    pub fn retry_job(&mut self, id: JobId) -> Result<JobId> {
        let job = self.job_or_error(id)?;
        if job.retried || !job.status.has_finish() {
            return Self::refuse(job, "retry");
        }
        let pipeline = job.pipeline_id;
        if !self.quirks.job_retry_keeps_finished_at
            && let Some(pipeline) = self.pipelines.get_mut(pipeline)
        {
            pipeline.finished_at = None;
        }
        let fresh = self
            .replace_job(id)
            .ok_or_else(|| WorldError::not_found("job", id))?;
        self.reset_later_jobs(pipeline);
        self.job_changed(pipeline);
        Ok(fresh)
    }

    /// Puts a new job in the place of one that is over; it is not enqueued yet.
    pub(super) fn replace_job(&mut self, id: JobId) -> Option<JobId> {
        let now = self.now;
        let old = self.jobs.get(id)?.clone();
        let fresh = self.jobs.next_id();
        let when = match old.when {
            When::Manual | When::Delayed => When::OnSuccess,
            other => other,
        };
        self.jobs.push(Job {
            id: fresh,
            when,
            status: Status::Created,
            created_at: now,
            queued_at: None,
            started_at: None,
            finished_at: None,
            retried: false,
            failure_reason: None,
            runner_id: None,
            downstream_id: None,
            artifacts: old.files(),
            details: JobDetails {
                stage_id: old.details.stage_id,
                environment: old.details.environment.clone(),
                ..JobDetails::default()
            },
            ..(*old).clone()
        });
        self.jobs.get_mut(id)?.retried = true;
        self.pipelines.get_mut(old.pipeline_id)?.jobs.push(fresh);
        self.await_deployment(fresh);
        let (facts, old_status) = (self.job_facts(&old)?, old.status.clone());
        self.ledger.write(now, || Event::JobRetried {
            old: facts,
            old_status,
            new_id: fresh,
        });
        Some(fresh)
    }

    /// After a retry, later jobs that were skipped get another chance.
    pub(super) fn reset_later_jobs(&mut self, pipeline: PipelineId) {
        let first_open = self
            .jobs_of(pipeline)
            .filter(|job| !job.retried && job.status == Status::Created)
            .map(|job| job.stage_index)
            .min();
        let Some(first_open) = first_open else { return };
        let skipped: Vec<JobId> = self
            .jobs_of(pipeline)
            .filter(|job| {
                !job.retried && job.status == Status::Skipped && job.stage_index > first_open
            })
            .map(|job| job.id)
            .collect();
        for id in skipped {
            if let Some(job) = self.jobs.get_mut(id) {
                job.status = Status::Created;
            }
            self.deployment_follows(id);
        }
    }

    /// Plays a manual job, or a delayed one before (or when) its time comes.
    ///
    /// # Errors
    /// If there is no such job, or it does not wait to be played.
    pub fn play_manual(&mut self, id: JobId) -> Result<()> {
        let job = self.job_or_error(id)?;
        if job.retried || !matches!(job.status, Status::Manual | Status::Scheduled) {
            return Self::refuse(job, "play");
        }
        let (now, pipeline) = (self.now, job.pipeline_id);
        if let Some(job) = self.jobs.get_mut(id) {
            job.status = Status::Pending;
            job.queued_at = (job.kind == JobKind::Build).then_some(now);
        }
        self.deployment_follows(id);
        self.plan_job(id);
        self.job_changed(pipeline);
        Ok(())
    }

    /// Asks a running job to stop: it is `canceling` while its runner cleans up, until
    /// [`Self::cancel_job`] ends it.
    ///
    /// # Errors
    /// If there is no such job, or it does not run.
    pub fn request_cancel(&mut self, id: JobId) -> Result<()> {
        let job = self.job_or_error(id)?;
        if job.status != Status::Running || job.kind == JobKind::Bridge {
            return Self::refuse(job, "request the cancellation of");
        }
        let pipeline = job.pipeline_id;
        self.start_canceling(id);
        self.job_changed(pipeline);
        Ok(())
    }

    pub(super) fn start_canceling(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.status = Status::Canceling;
        }
        self.plan_job(id);
    }

    /// Cancels one job at once.
    ///
    /// # Errors
    /// If there is no such job, or it is over.
    pub fn cancel_job(&mut self, id: JobId) -> Result<()> {
        let job = self.job_or_error(id)?;
        if job.status.is_complete() {
            return Self::refuse(job, "cancel");
        }
        let pipeline = job.pipeline_id;
        self.end_job(id, Status::Canceled, None);
        self.job_changed(pipeline);
        Ok(())
    }

    /// Adds a job or bridge to a pipeline that exists.
    ///
    /// # Errors
    /// If there is no such pipeline.
    pub fn add_job(&mut self, pipeline: PipelineId, spec: &JobSpec) -> Result<JobId> {
        self.pipeline(pipeline)
            .ok_or_else(|| WorldError::not_found("pipeline", pipeline))?;
        let id = self.jobs.next_id();
        self.insert_jobs(pipeline, std::slice::from_ref(spec));
        self.job_changed(pipeline);
        Ok(id)
    }

    /// Changes fields of a job as they stand, without any rule: for oddities such as a job without
    /// queue time.
    ///
    /// # Errors
    /// If there is no such job.
    pub fn edit_job(&mut self, id: JobId, edit: impl FnOnce(&mut Job)) -> Result<()> {
        edit(
            self.jobs
                .get_mut(id)
                .ok_or_else(|| WorldError::not_found("job", id))?,
        );
        Ok(())
    }

    /// A pending bridge triggers its downstream pipeline. Without `depend` it succeeds at once, with it
    /// it runs until that pipeline is over.
    ///
    /// # Errors
    /// If there is no such bridge, it does not wait, or the downstream project is gone (the bridge then
    /// failed).
    pub fn trigger_bridge(&mut self, id: JobId) -> Result<PipelineId> {
        let job = self.job_or_error(id)?.clone();
        let Some(trigger) = job
            .trigger
            .clone()
            .filter(|_| job.status == Status::Pending)
        else {
            return Self::refuse(&job, "trigger");
        };
        let upstream = self
            .pipeline(job.pipeline_id)
            .ok_or_else(|| WorldError::not_found("pipeline", job.pipeline_id))?;
        let auto = upstream.auto;
        let target = trigger.project_id.unwrap_or(upstream.project_id);
        let mut spec = match trigger.project_id {
            None => PipelineSpec {
                kind: upstream.kind,
                merge_request_iid: upstream.merge_request_iid,
                ..PipelineSpec::branch(&upstream.ref_name).source("parent_pipeline")
            },
            Some(project) => {
                let default = self
                    .project(project)
                    .and_then(|project| project.default_branch.clone());
                let ref_name = trigger
                    .ref_name
                    .clone()
                    .or(default)
                    .unwrap_or_else(|| "main".into());
                PipelineSpec::branch(&ref_name).source("pipeline")
            }
        };
        spec.auto = auto;
        spec.jobs.clone_from(&trigger.jobs);
        if self.project(target).is_none() {
            self.end_job(
                id,
                Status::Failed,
                Some("downstream_bridge_project_not_found"),
            );
            self.job_changed(job.pipeline_id);
            return Err(WorldError::not_found("project", target));
        }
        let now = self.now;
        let downstream = self.pipelines.next_id();
        if let Some(job) = self.jobs.get_mut(id) {
            job.downstream_id = Some(downstream);
            if trigger.depend {
                job.status = Status::Running;
                job.started_at = Some(now);
            }
        }
        self.insert_pipeline(
            target,
            &spec,
            Some(Upstream {
                pipeline_id: job.pipeline_id,
                job_id: id,
            }),
        )?;
        if !trigger.depend {
            self.end_job(id, Status::Success, None);
        }
        self.job_changed(job.pipeline_id);
        Ok(downstream)
    }

    /// A depending bridge takes the end of its downstream pipeline over.
    pub(super) fn end_bridge(&mut self, id: JobId, status: Status) {
        let Some(bridge) = self.job(id).cloned() else {
            return;
        };
        if bridge.status.is_complete() {
            return;
        }
        self.end_job(id, status, Some("unknown_failure"));
        self.job_changed(bridge.pipeline_id);
    }

    /// A depending bridge runs again, because its downstream pipeline does.
    pub(super) fn reopen_bridge(&mut self, id: JobId) {
        let Some(bridge) = self.job(id).cloned() else {
            return;
        };
        if !bridge.status.is_complete() {
            return;
        }
        if let Some(job) = self.jobs.get_mut(id) {
            job.status = Status::Running;
            job.finished_at = None;
            job.failure_reason = None;
        }
        self.reset_later_jobs_after(&bridge);
        self.job_changed(bridge.pipeline_id);
    }

    fn reset_later_jobs_after(&mut self, bridge: &Job) {
        let skipped: Vec<JobId> = self
            .jobs_of(bridge.pipeline_id)
            .filter(|job| {
                !job.retried
                    && job.status == Status::Skipped
                    && job.stage_index > bridge.stage_index
            })
            .map(|job| job.id)
            .collect();
        for id in skipped {
            if let Some(job) = self.jobs.get_mut(id) {
                job.status = Status::Created;
            }
            self.deployment_follows(id);
        }
    }

    /// After any change of a job: its pipeline follows.
    fn job_changed(&mut self, pipeline: PipelineId) {
        if !self.quirks.updated_at_on_own_transitions {
            self.touch_pipeline(pipeline);
        }
        self.refresh(pipeline);
    }
}
