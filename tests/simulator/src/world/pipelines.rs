//! Pipelines: how they come into being, follow their jobs, and go.

use std::sync::Arc;

use super::ci::{
    Job, JobDetails, JobKind, Pipeline, PipelineDetails, PipelineKind, Status, Upstream,
};
use super::ledger::Event;
use super::model::{JobId, PipelineId, ProjectId};
use super::spec::{JobSpec, PipelineSpec};
use super::status::{self, composite, next, prior};
use super::{Result, World, WorldError};
use crate::time::Millis;

impl World {
    /// Makes a pipeline. Its first stage waits for runners at once, as in GitLab; beyond that it does
    /// nothing on its own unless the spec says `auto`.
    ///
    /// # Errors
    /// If the project or the merge request does not exist.
    pub fn create_pipeline(
        &mut self,
        project: ProjectId,
        spec: &PipelineSpec,
    ) -> Result<PipelineId> {
        self.insert_pipeline(project, spec, None)
    }

    pub(super) fn insert_pipeline(
        &mut self,
        project_id: ProjectId,
        spec: &PipelineSpec,
        upstream: Option<Upstream>,
    ) -> Result<PipelineId> {
        let sha = self.sha_for(project_id, spec)?;
        let present = self.now;
        self.now = spec.created_at.unwrap_or(present);
        let id = self.pipelines.next_id();
        let project = self
            .projects
            .get_mut(&project_id)
            .ok_or_else(|| WorldError::not_found("project", project_id))?;
        let iid = project.next_pipeline_iid;
        project.next_pipeline_iid += 1;
        project.pipelines.insert(id);
        project.pipelines_by_update.insert((self.now, id));
        self.pipelines.push(Pipeline {
            id,
            iid,
            project_id,
            sha,
            ref_name: spec.ref_name.clone(),
            kind: spec.kind,
            source: spec.source.clone(),
            status: Status::Created,
            created_at: self.now,
            updated_at: self.now,
            started_at: None,
            finished_at: None,
            duration: None,
            coverage: spec.coverage,
            yaml_errors: spec.config_error.clone(),
            merge_request_iid: spec.merge_request_iid,
            upstream,
            jobs: Vec::new(),
            auto: spec.auto,
            details: PipelineDetails::default(),
        });
        self.insert_jobs(id, &spec.jobs);
        self.record_pipeline(id, |pipeline, _| Event::PipelineCreated {
            pipeline,
            status: Status::Created,
        });
        if spec.config_error.is_some() {
            self.transition(id, Status::Failed);
        } else if spec.skipped {
            self.transition(id, Status::Skipped);
        } else {
            self.refresh(id);
        }
        self.now = present;
        Ok(id)
    }

    fn sha_for(&mut self, project_id: ProjectId, spec: &PipelineSpec) -> Result<Arc<str>> {
        let project = self
            .project(project_id)
            .ok_or_else(|| WorldError::not_found("project", project_id))?;
        if let Some(iid) = spec.merge_request_iid {
            let merge_request = project
                .merge_requests
                .get(&iid)
                .ok_or_else(|| WorldError::not_found("merge request", iid))?;
            return Ok(merge_request.sha.clone());
        }
        let refs = if spec.kind == PipelineKind::Tag {
            &project.tags
        } else {
            &project.branches
        };
        match refs.get(&spec.ref_name) {
            Some(found) => Ok(found.sha.clone()),
            None => Ok(self.new_sha()),
        }
    }

    pub(super) fn insert_jobs(&mut self, pipeline_id: PipelineId, specs: &[JobSpec]) {
        let mut stages: Vec<Arc<str>> = Vec::new();
        for job in self.jobs_of(pipeline_id) {
            if !stages.contains(&job.stage) {
                stages.push(job.stage.clone());
            }
        }
        for spec in specs {
            let index = stages
                .iter()
                .position(|stage| *stage == spec.stage)
                .unwrap_or_else(|| {
                    stages.push(spec.stage.clone());
                    stages.len() - 1
                });
            let job = self.new_job(pipeline_id, spec, u32::try_from(index).unwrap_or(u32::MAX));
            let id = self.jobs.push(job);
            if let Some(pipeline) = self.pipelines.get_mut(pipeline_id) {
                pipeline.jobs.push(id);
            }
            self.await_deployment(id);
        }
    }

    fn new_job(&self, pipeline_id: PipelineId, spec: &JobSpec, stage_index: u32) -> Job {
        Job {
            id: self.jobs.next_id(),
            pipeline_id,
            name: spec.name.clone(),
            stage: spec.stage.clone(),
            stage_index,
            kind: spec.kind(),
            when: spec.when,
            allow_failure: spec.allow_failure,
            status: Status::Created,
            created_at: self.now,
            queued_at: None,
            started_at: None,
            finished_at: None,
            retried: false,
            failure_reason: None,
            runner_id: None,
            coverage: spec.coverage,
            artifacts: spec.artifacts.clone(),
            tags: spec.tags.clone(),
            trigger: spec.trigger.clone(),
            downstream_id: None,
            details: JobDetails {
                environment: spec.environment.clone(),
                ..JobDetails::default()
            },
        }
    }

    /// Lets the jobs that may start now wait for runners, and the pipeline's status follow its jobs.
    pub(super) fn refresh(&mut self, id: PipelineId) {
        self.process(id);
        let Some(status) = composite(self.jobs_of(id).map(|job| &**job)) else {
            return;
        };
        self.transition(id, status);
    }

    /// Enqueues, skips or offers for play the created jobs whose earlier stages are over.
    fn process(&mut self, id: PipelineId) {
        let stages: std::collections::BTreeSet<u32> = self
            .jobs_of(id)
            .filter(|job| !job.retried && job.status == Status::Created)
            .map(|job| job.stage_index)
            .collect();
        for stage in stages {
            let earlier = prior(
                self.jobs_of(id)
                    .map(|job| &**job)
                    .filter(|job| job.stage_index < stage),
            );
            let moves: Vec<(JobId, Status)> = self
                .jobs_of(id)
                .filter(|job| {
                    !job.retried && job.status == Status::Created && job.stage_index == stage
                })
                .filter_map(|job| Some((job.id, next(job.when, earlier)?)))
                .collect();
            if moves.is_empty() {
                return;
            }
            for (job, status) in moves {
                self.move_waiting_job(job, status);
            }
        }
    }

    fn move_waiting_job(&mut self, id: JobId, status: Status) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if status == Status::Pending && job.trigger.is_none() {
            job.queued_at = Some(now);
        }
        job.status = status;
        self.deployment_follows(id);
        self.plan_job(id);
    }

    /// GitLab's state machine of a pipeline: what else changes with its status.
    pub(super) fn transition(&mut self, id: PipelineId, to: Status) {
        let now = self.now;
        let Some(pipeline) = self.pipelines.get(id) else {
            return;
        };
        let from = pipeline.status.clone();
        if from == to {
            return;
        }
        let started_at = pipeline
            .started_at
            .or((to == Status::Running).then_some(now));
        let duration = if started_at.is_some() && (to.has_finish() || to == Status::Manual) {
            Some(self.duration_of(id))
        } else {
            pipeline.duration
        };
        self.touch_pipeline(id);
        let Some(pipeline) = self.pipelines.get_mut(id) else {
            return;
        };
        pipeline.started_at = started_at;
        pipeline.duration = duration;
        pipeline.status = to.clone();
        if to.has_finish() {
            pipeline.finished_at = Some(now);
        }
        self.record_pipeline(id, |pipeline, _| Event::PipelineStatusChanged {
            pipeline,
            from,
            to: to.clone(),
        });
        if to.has_finish() {
            self.record_finish(id);
        }
        self.announce_status(id);
        self.plan_pipeline(id);
        if let Some(pipeline) = self.pipelines.get(id).cloned() {
            self.pipeline_delivers(&pipeline, &pipeline.status);
        }
        self.mirror_to_bridge(id);
    }

    fn record_finish(&mut self, id: PipelineId) {
        self.record_pipeline(id, |facts, world| {
            let pipeline = world.pipeline(facts.id);
            Event::PipelineFinished {
                status: pipeline.map_or(Status::Success, |pipeline| pipeline.status.clone()),
                started_at: pipeline.and_then(|pipeline| pipeline.started_at),
                finished_at: world.now,
                duration: pipeline.and_then(|pipeline| pipeline.duration),
                queued_duration: pipeline.and_then(|pipeline| pipeline.queued_seconds()),
                coverage: pipeline.and_then(|pipeline| world.coverage_of(pipeline)),
                pipeline: facts,
            }
        });
        let cases = self.cases_run(id);
        if !cases.is_empty() {
            self.record_pipeline(id, |pipeline, _| Event::TestsReported { pipeline, cases });
        }
    }

    pub(super) fn record_pipeline(
        &mut self,
        id: PipelineId,
        event: impl FnOnce(Arc<super::ledger::PipelineFacts>, &Self) -> Event,
    ) {
        let Some(pipeline) = self.pipelines.get(id) else {
            return;
        };
        let event = event(Arc::new(self.pipeline_facts(pipeline)), self);
        self.ledger.write(self.now, || event);
    }

    /// Moves `updated_at`, and the index with it.
    pub(super) fn touch_pipeline(&mut self, id: PipelineId) {
        let now = self.now;
        let Some(pipeline) = self.pipelines.get_mut(id) else {
            return;
        };
        let before = std::mem::replace(&mut pipeline.updated_at, now);
        if let Some(project) = self.projects.get_mut(&pipeline.project_id) {
            project.pipelines_by_update.remove(&(before, id));
            project.pipelines_by_update.insert((now, id));
        }
    }

    /// Seconds of running time of a pipeline's builds and of those of all pipelines downstream.
    fn duration_of(&self, id: PipelineId) -> i64 {
        let mut seen = vec![id];
        let mut at = 0;
        while let Some(pipeline) = seen.get(at).copied() {
            at += 1;
            let below: Vec<PipelineId> = self
                .jobs_of(pipeline)
                .filter(|job| !job.retried)
                .filter_map(|job| job.downstream_id)
                .filter(|id| !seen.contains(id))
                .collect();
            seen.extend(below);
        }
        let jobs = seen
            .into_iter()
            .flat_map(|id| self.jobs_of(id))
            .map(|job| &**job);
        status::running_seconds(jobs, self.now)
    }

    /// A bridge that depends on its downstream pipeline shows that pipeline's status.
    fn mirror_to_bridge(&mut self, id: PipelineId) {
        let Some(pipeline) = self.pipelines.get(id) else {
            return;
        };
        let Some(upstream) = pipeline.upstream else {
            return;
        };
        let status = pipeline.status.clone();
        let Some(bridge) = self.job(upstream.job_id) else {
            return;
        };
        if bridge.retried
            || !bridge
                .trigger
                .as_ref()
                .is_some_and(|trigger| trigger.depend)
        {
            return;
        }
        match status {
            Status::Success | Status::Failed | Status::Canceled | Status::Skipped => {
                let shown = if status == Status::Skipped {
                    Status::Failed
                } else {
                    status
                };
                self.end_bridge(upstream.job_id, shown);
            }
            Status::Pending | Status::Running => self.reopen_bridge(upstream.job_id),
            _ => {}
        }
    }

    /// Sets a status as it stands, known to GitLab or not, without any of the rules but `updated_at`.
    ///
    /// # Errors
    /// If there is no such pipeline.
    pub fn set_pipeline_status(&mut self, id: PipelineId, status: &str) -> Result<()> {
        self.pipelines
            .get(id)
            .ok_or_else(|| WorldError::not_found("pipeline", id))?;
        self.touch_pipeline(id);
        if let Some(pipeline) = self.pipelines.get_mut(id) {
            pipeline.status = Status::parse(status);
        }
        self.announce_status(id);
        Ok(())
    }

    /// Changes fields of a pipeline as they stand, without any rule: for oddities such as a start without
    /// a duration. `updated_at` moves to now.
    ///
    /// # Errors
    /// If there is no such pipeline.
    pub fn edit_pipeline(
        &mut self,
        id: PipelineId,
        edit: impl FnOnce(&mut Pipeline),
    ) -> Result<()> {
        self.touch_pipeline(id);
        let pipeline = self
            .pipelines
            .get_mut(id)
            .ok_or_else(|| WorldError::not_found("pipeline", id))?;
        let updated_at = pipeline.updated_at;
        edit(pipeline);
        pipeline.updated_at = updated_at;
        Ok(())
    }

    /// Moves all times of a pipeline and its jobs back, as an import leaves them: a new id, and the times
    /// that it had elsewhere.
    ///
    /// # Errors
    /// If there is no such pipeline.
    pub fn backdate_pipeline(&mut self, id: PipelineId, by: Millis) -> Result<()> {
        let pipeline = self
            .pipelines
            .get_mut(id)
            .ok_or_else(|| WorldError::not_found("pipeline", id))?;
        let moved = pipeline.updated_at;
        for time in [&mut pipeline.created_at, &mut pipeline.updated_at] {
            *time -= by;
        }
        for time in [&mut pipeline.started_at, &mut pipeline.finished_at] {
            *time = time.map(|time| time - by);
        }
        let (project, jobs) = (pipeline.project_id, pipeline.jobs.clone());
        if let Some(project) = self.projects.get_mut(&project) {
            project.pipelines_by_update.remove(&(moved, id));
            project.pipelines_by_update.insert((moved - by, id));
        }
        for job in jobs {
            self.edit_job(job, |job| {
                job.created_at -= by;
                let times = [
                    &mut job.queued_at,
                    &mut job.started_at,
                    &mut job.finished_at,
                ];
                for time in times {
                    *time = time.map(|time| time - by);
                }
            })?;
        }
        Ok(())
    }

    /// Retries a pipeline by hand: the same id, `finished_at` cleared, every failed or canceled job anew.
    ///
    /// # Errors
    /// If there is no such pipeline, or nothing in it to retry.
    pub fn retry_pipeline(&mut self, id: PipelineId) -> Result<Vec<JobId>> {
        let pipeline = self
            .pipelines
            .get(id)
            .ok_or_else(|| WorldError::not_found("pipeline", id))?;
        let state = pipeline.status.to_string();
        let targets: Vec<JobId> = self
            .jobs_of(id)
            .filter(|job| !job.retried && matches!(job.status, Status::Failed | Status::Canceled))
            .map(|job| job.id)
            .collect();
        if targets.is_empty() {
            return Err(WorldError::WrongState {
                what: "pipeline",
                id,
                state,
                verb: "retry",
            });
        }
        if let Some(pipeline) = self.pipelines.get_mut(id) {
            pipeline.finished_at = None;
        }
        let fresh = targets
            .into_iter()
            .filter_map(|job| self.replace_job(job))
            .collect();
        self.reset_later_jobs(id);
        self.refresh(id);
        Ok(fresh)
    }

    /// Cancels every job that is not over, in child pipelines too. Running jobs of auto pipelines take
    /// some seconds for it (`canceling`); others are canceled at once.
    ///
    /// # Errors
    /// If there is no such pipeline, or it is over.
    pub fn cancel_pipeline(&mut self, id: PipelineId) -> Result<()> {
        let pipeline = self
            .pipelines
            .get(id)
            .ok_or_else(|| WorldError::not_found("pipeline", id))?;
        if pipeline.status.is_complete() {
            let state = pipeline.status.to_string();
            return Err(WorldError::WrongState {
                what: "pipeline",
                id,
                state,
                verb: "cancel",
            });
        }
        let auto = pipeline.auto;
        let open: Vec<JobId> = self
            .jobs_of(id)
            .filter(|job| !job.retried && !job.status.is_complete())
            .map(|job| job.id)
            .collect();
        let children: Vec<PipelineId> = open
            .iter()
            .filter_map(|job| self.job(*job)?.downstream_id)
            .filter(|child| self.pipeline(*child).is_some_and(|child| child.is_child()))
            .collect();
        for job in open {
            let runs = self
                .job(job)
                .is_some_and(|job| job.status == Status::Running && job.kind == JobKind::Build);
            match (auto, runs) {
                (true, true) => self.start_canceling(job),
                _ => self.end_job(job, Status::Canceled, None),
            }
        }
        self.refresh(id);
        for child in children {
            // One that is over already stays as it is.
            self.cancel_pipeline(child).ok();
        }
        Ok(())
    }

    /// Deletes a pipeline with its jobs. It leaves no trace but in the ledger.
    ///
    /// # Errors
    /// If there is no such pipeline.
    pub fn delete_pipeline(&mut self, id: PipelineId) -> Result<()> {
        let pipeline = self
            .pipelines
            .remove(id)
            .ok_or_else(|| WorldError::not_found("pipeline", id))?;
        for job in &pipeline.jobs {
            self.jobs.remove(*job);
        }
        if let Some(project) = self.projects.get_mut(&pipeline.project_id) {
            project.pipelines.remove(&id);
            project
                .pipelines_by_update
                .remove(&(pipeline.updated_at, id));
        }
        let project_id = pipeline.project_id;
        self.ledger
            .write(self.now, || Event::PipelineDeleted { id, project_id });
        Ok(())
    }

    /// When the pipeline last reached a terminal status with a time of finish, if it is in one now.
    pub(super) fn terminal_since(&self, id: PipelineId) -> Option<Millis> {
        let pipeline = self.pipeline(id)?;
        if pipeline.status.is_complete() {
            pipeline.finished_at.or(Some(pipeline.updated_at))
        } else {
            None
        }
    }
}
