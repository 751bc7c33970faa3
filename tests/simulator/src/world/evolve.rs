//! How a world lives on its own: a heap of tasks in time order, each of which may plan others. Only
//! pipelines made with `auto` take part; everything else waits for explicit operations.

use std::cmp::Reverse;

use rand::RngExt;

use super::World;
use super::ci::{Job, JobKind, Status};
use super::generate::Mix;
use super::model::{JobId, PipelineId, ProjectId, RunnerId};
use crate::time::{DAY, HOUR, MINUTE, Millis, SECOND};

/// Something that is going to happen, if it still can by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// Somebody does something in a project; comes again and again.
    Activity(ProjectId),
    StartJob(JobId),
    FinishJob(JobId),
    TriggerBridge(JobId),
    RetryJob(JobId),
    RetryPipeline(PipelineId),
    PlayManual(JobId),
    CancelPipeline(PipelineId),
    EndCancel(JobId),
    /// A background job writes a note down.
    WriteNote(u64),
}

/// Why auto jobs fail, most frequent first.
const FAILURE_REASONS: [&str; 6] = [
    "script_failure",
    "script_failure",
    "runner_system_failure",
    "job_execution_timeout",
    "stuck_or_timeout_failure",
    "missing_dependency_failure",
];

impl World {
    /// Moves the clock forward, and lets happen what was due by then. Never moves it back.
    pub fn advance_to(&mut self, at: Millis) {
        while let Some(Reverse((due, _, _))) = self.queue.peek()
            && *due <= at
        {
            let Some(Reverse((due, _, task))) = self.queue.pop() else {
                break;
            };
            self.now = self.now.max(due);
            self.perform(task);
        }
        self.now = self.now.max(at);
    }

    /// Moves the clock forward by a span.
    pub fn advance(&mut self, span: Millis) {
        self.advance_to(self.now + span);
    }

    /// Lets somebody act in a project from now on, at random intervals around the configured pace.
    pub fn enliven(&mut self, project: ProjectId) {
        let pace = self.config.pushes_per_hour;
        if pace <= 0.0 {
            return;
        }
        let uniform: f64 = self.rng.random();
        let wait = -(1.0 - uniform).ln() / pace * HOUR as f64;
        self.plan(wait as Millis + SECOND, Task::Activity(project));
    }

    /// Lets nobody act any more; what runs comes to its end.
    pub fn calm(&mut self) {
        self.is_calm = true;
        let mut planned = std::mem::take(&mut self.queue);
        planned.retain(|Reverse((_, _, task))| !self.is_act(*task));
        self.queue = planned;
    }

    /// Whether somebody does it, not GitLab or a runner.
    fn is_act(&self, task: Task) -> bool {
        match task {
            Task::Activity(_)
            | Task::RetryJob(_)
            | Task::RetryPipeline(_)
            | Task::CancelPipeline(_) => true,
            Task::PlayManual(job) => self
                .job(job)
                .is_none_or(|job| job.status != Status::Scheduled),
            Task::StartJob(_)
            | Task::FinishJob(_)
            | Task::TriggerBridge(_)
            | Task::EndCancel(_)
            | Task::WriteNote(_) => false,
        }
    }

    pub(super) fn plan(&mut self, after: Millis, task: Task) {
        if self.is_calm && self.is_act(task) {
            return;
        }
        self.sequence += 1;
        self.queue
            .push(Reverse((self.now + after, self.sequence, task)));
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.rng.random::<f64>() < probability
    }

    pub(super) fn between(&mut self, low: Millis, high: Millis) -> Millis {
        self.rng.random_range(low..high)
    }

    pub(super) fn mix(&self) -> Mix {
        self.config.mix.clone()
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Activity(project) => {
                if self
                    .project(project)
                    .is_some_and(|project| !project.archived)
                {
                    self.act(project);
                    self.enliven(project);
                }
            }
            Task::StartJob(job) => {
                let runner = self.pick_runner();
                // A job that was canceled in the meantime refuses; that is no error here.
                self.start_job(job, runner).ok();
            }
            Task::FinishJob(job) => self.finish_auto_job(job),
            Task::TriggerBridge(job) => {
                self.trigger_bridge(job).ok();
            }
            Task::RetryJob(job) => {
                if self.job(job).is_some_and(|old| !old.retried) && self.may_reopen_for(job, task) {
                    self.retry_job(job).ok();
                }
            }
            Task::RetryPipeline(pipeline) => {
                if self.may_reopen(pipeline, task) {
                    self.retry_pipeline(pipeline).ok();
                }
            }
            Task::PlayManual(job) => {
                if self.may_reopen_for(job, task) {
                    self.play_manual(job).ok();
                }
            }
            Task::CancelPipeline(pipeline) => {
                self.cancel_pipeline(pipeline).ok();
            }
            Task::EndCancel(job) => {
                self.cancel_job(job).ok();
            }
            Task::WriteNote(number) => self.write_late_note(number),
        }
    }

    fn may_reopen_for(&mut self, job: JobId, task: Task) -> bool {
        let Some(pipeline) = self.job(job).map(|job| job.pipeline_id) else {
            return false;
        };
        self.may_reopen(pipeline, task)
    }

    /// Whether a finished pipeline, and those whose bridges depend on it, finished long enough ago
    /// (`min_refinish_gap`) to run again; otherwise the task is put off until then.
    fn may_reopen(&mut self, pipeline: PipelineId, task: Task) -> bool {
        let mut at = Some(pipeline);
        let mut ready = self.now;
        while let Some(id) = at {
            if let Some(since) = self.terminal_since(id) {
                ready = ready.max(since + self.config.min_refinish_gap);
            }
            at = self
                .pipeline(id)
                .and_then(|pipeline| pipeline.upstream)
                .map(|upstream| upstream.pipeline_id);
        }
        if ready > self.now {
            self.plan(ready - self.now + SECOND, task);
            return false;
        }
        true
    }

    fn pick_runner(&mut self) -> Option<RunnerId> {
        if self.chance(0.02) {
            return None;
        }
        let ids: Vec<RunnerId> = self.runners.keys().copied().collect();
        let index = self.rng.random_range(0..ids.len().max(1));
        ids.get(index).copied()
    }

    fn finish_auto_job(&mut self, id: JobId) {
        let Some(job) = self
            .job(id)
            .filter(|job| job.status == Status::Running)
            .cloned()
        else {
            return;
        };
        let mix = self.mix();
        let attempts = self
            .jobs_of(job.pipeline_id)
            .filter(|other| other.name == job.name)
            .count();
        if !self.chance(mix.job_failure) {
            self.end_job(id, Status::Success, None);
            self.refresh_after(&job);
            return;
        }
        let reason = FAILURE_REASONS[self.rng.random_range(0..FAILURE_REASONS.len())];
        self.end_job(id, Status::Failed, Some(reason));
        // GitLab's `retry:` keyword puts the new job in its place before the pipeline looks at it.
        if attempts < 3 && self.chance(mix.automatic_retry) {
            self.replace_job(id);
        } else if self.chance(mix.job_retry_by_hand) {
            let wait = self.between(MINUTE, 30 * MINUTE);
            self.plan(wait, Task::RetryJob(id));
        }
        self.refresh_after(&job);
    }

    fn refresh_after(&mut self, job: &Job) {
        if !self.quirks.updated_at_on_own_transitions {
            self.touch_pipeline(job.pipeline_id);
        }
        self.refresh(job.pipeline_id);
    }

    /// What an auto job does next, after its status changed.
    pub(super) fn plan_job(&mut self, id: JobId) {
        let Some(job) = self.job(id).cloned() else {
            return;
        };
        if !self
            .pipeline(job.pipeline_id)
            .is_some_and(|pipeline| pipeline.auto)
        {
            return;
        }
        let (wait, task) = match (&job.status, job.kind) {
            (Status::Pending, JobKind::Build) => (self.between(0, 45 * SECOND), Task::StartJob(id)),
            (Status::Pending, JobKind::Bridge) => {
                (self.between(500, 4 * SECOND), Task::TriggerBridge(id))
            }
            (Status::Running, JobKind::Build) => {
                let longest = self.config.longest_job.max(6 * SECOND);
                (self.between(5 * SECOND, longest), Task::FinishJob(id))
            }
            (Status::Canceling, _) => (self.between(SECOND, 15 * SECOND), Task::EndCancel(id)),
            (Status::Scheduled, _) => (self.between(MINUTE, 40 * MINUTE), Task::PlayManual(id)),
            (Status::Manual, _) => {
                if !self.chance(self.config.mix.played) {
                    return;
                }
                let longest = if self.chance(0.3) { 3 * DAY } else { HOUR };
                (self.between(2 * MINUTE, longest), Task::PlayManual(id))
            }
            _ => return,
        };
        self.plan(wait, task);
    }

    /// What somebody does with an auto pipeline, after its status changed.
    pub(super) fn plan_pipeline(&mut self, id: PipelineId) {
        let Some(pipeline) = self.pipeline(id).cloned() else {
            return;
        };
        if !pipeline.auto {
            return;
        }
        let mix = self.mix();
        let later = self.config.min_refinish_gap + self.between(SECOND, HOUR);
        match pipeline.status {
            Status::Running if self.chance(mix.canceled) => {
                let wait = self.between(10 * SECOND, 5 * MINUTE);
                self.plan(wait, Task::CancelPipeline(id));
            }
            Status::Failed | Status::Canceled if self.chance(mix.pipeline_retry) => {
                self.plan(later, Task::RetryPipeline(id));
            }
            Status::Success if self.chance(mix.good_job_retry) => {
                let jobs: Vec<JobId> = self
                    .jobs_of(id)
                    .filter(|job| {
                        !job.retried && job.kind == JobKind::Build && job.status == Status::Success
                    })
                    .map(|job| job.id)
                    .collect();
                if let Some(job) = self.pick(&jobs) {
                    self.plan(later, Task::RetryJob(job));
                }
            }
            _ => {}
        }
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        let index = self.rng.random_range(0..from.len());
        from.get(index).cloned()
    }
}
