//! How a world lives on its own: a heap of tasks in time order, each of which may plan others. Only
//! pipelines made with `auto` take part; everything else waits for explicit operations.

use std::cmp::Reverse;
use std::sync::Arc;

use rand::RngExt;

use super::World;
use super::generate::Mix;
use super::model::{
    Job, JobId, JobKind, MergeRequestState, PipelineId, PipelineKind, ProjectId, RunnerId, Status,
    When,
};
use super::spec::{JobSpec, PipelineSpec};
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

    fn plan(&mut self, after: Millis, task: Task) {
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

    fn mix(&self) -> Mix {
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

    /// One thing that somebody does in a project.
    fn act(&mut self, project: ProjectId) {
        let dice: f64 = self.rng.random();
        let open: Vec<u64> = self
            .project(project)
            .into_iter()
            .flat_map(|project| project.merge_requests.values())
            .filter(|merge_request| merge_request.state == MergeRequestState::Opened)
            .map(|merge_request| merge_request.iid)
            .collect();
        let branch = self
            .project(project)
            .and_then(|project| project.default_branch.clone())
            .unwrap_or_else(|| "main".into());
        match (dice, self.pick(&open)) {
            (0.0..0.30, Some(iid)) => self.push_to_merge_request(project, iid),
            (0.30..0.42, Some(iid)) => self.merge(project, iid, &branch),
            (0.42..0.45, Some(iid)) => {
                self.set_merge_request_state(project, iid, MergeRequestState::Closed)
                    .ok();
            }
            (0.45..0.60, _) => self.open_merge_request(project, &branch),
            (0.60..0.66, _) => self.release(project),
            (0.66..0.74, _) => {
                self.run_auto(project, PipelineSpec::branch(&branch).source("schedule"))
            }
            (0.74..0.78, _) => {
                let source = self.pick(&["web", "api", "trigger"]).unwrap_or("web");
                self.run_auto(project, PipelineSpec::branch(&branch).source(source));
            }
            _ => {
                self.push(project, &branch).ok();
                self.run_auto(project, PipelineSpec::branch(&branch));
            }
        }
    }

    fn push_to_merge_request(&mut self, project: ProjectId, iid: u64) {
        let source = self
            .project(project)
            .and_then(|project| project.merge_requests.get(&iid))
            .map(|merge_request| merge_request.source_branch.clone());
        let Some(source) = source else { return };
        self.push(project, &source).ok();
        let kind = match self.rng.random::<f64>() {
            0.0..0.5 => PipelineKind::MergeRequest,
            0.5..0.8 => PipelineKind::MergedResult,
            _ => PipelineKind::MergeTrain,
        };
        self.run_auto(project, PipelineSpec::for_merge_request(iid, kind));
    }

    fn open_merge_request(&mut self, project: ProjectId, target: &str) {
        let number = self.between(1, 1_000_000);
        let source = format!("feature-{number}");
        if self.push(project, &source).is_err() {
            return;
        }
        if self.chance(0.5) {
            self.run_auto(project, PipelineSpec::branch(&source));
        }
        if let Ok(iid) = self.create_merge_request(project, &source, target) {
            self.run_auto(project, PipelineSpec::merge_request(iid));
        }
    }

    fn merge(&mut self, project: ProjectId, iid: u64, target: &str) {
        let source = self
            .project(project)
            .and_then(|project| project.merge_requests.get(&iid))
            .map(|merge_request| merge_request.source_branch.clone());
        self.set_merge_request_state(project, iid, MergeRequestState::Merged)
            .ok();
        if let Some(source) = source
            && self.chance(0.8)
        {
            self.delete_branch(project, &source).ok();
        }
        self.run_auto(project, PipelineSpec::branch(target));
    }

    fn release(&mut self, project: ProjectId) {
        let tags = self
            .project(project)
            .map_or(0, |project| project.tags.len());
        let tag = format!("v1.{tags}.0");
        self.create_tag(project, &tag).ok();
        self.run_auto(project, PipelineSpec::tag(&tag));
    }

    /// Makes an auto pipeline with the jobs of the project's template, or one of the odd ones.
    fn run_auto(&mut self, project: ProjectId, spec: PipelineSpec) {
        let mix = self.mix();
        let spec = if self.chance(mix.config_error) {
            spec.config_error("jobs:deploy config contains unknown keys: scripts")
        } else if self.chance(mix.skipped) {
            spec.skipped()
        } else {
            let jobs = self.template(project);
            spec.jobs(jobs)
        };
        self.create_pipeline(project, &spec.auto()).ok();
    }

    fn template(&mut self, project: ProjectId) -> Vec<JobSpec> {
        let mix = self.mix();
        let mut jobs = plain_jobs(self.config.jobs_per_pipeline);
        if self.chance(mix.coverage)
            && let Some(job) = jobs.iter_mut().find(|job| &*job.stage == "test")
        {
            job.coverage = Some(self.between(5_000, 9_900) as f64 / 100.0);
        }
        if self.chance(mix.blocked) {
            jobs.push(JobSpec::new("approve", "approve").manual());
            jobs.push(JobSpec::new("production", "deploy to production"));
        } else if self.chance(mix.optional_manual) {
            jobs.push(
                JobSpec::new("production", "deploy to review")
                    .manual()
                    .allow_failure(),
            );
        }
        if self.chance(mix.cleanup) {
            jobs.push(JobSpec::new("cleanup", "report failure").when(When::OnFailure));
        }
        if self.chance(mix.child) {
            let mut child = plain_jobs(3);
            if self.chance(0.5) {
                child.push(JobSpec::child_bridge(
                    "trigger",
                    "grandchild",
                    false,
                    plain_jobs(2),
                ));
            }
            let depend = self.chance(0.6);
            jobs.push(JobSpec::child_bridge("trigger", "child", depend, child));
        }
        if self.chance(mix.multi_project)
            && let Some(bridge) = self.chain(project)
        {
            jobs.push(bridge);
        }
        jobs
    }

    /// A bridge to the next project, whose pipeline triggers one in the project after that.
    fn chain(&mut self, project: ProjectId) -> Option<JobSpec> {
        let second = self.project_after(project)?;
        let mut jobs = plain_jobs(2);
        if let Some(third) = self.project_after(second).filter(|third| *third != project) {
            jobs.push(JobSpec::multi_project_bridge(
                "downstream",
                "trigger third",
                third,
                false,
                plain_jobs(2),
            ));
        }
        let depend = self.chance(0.5);
        Some(JobSpec::multi_project_bridge(
            "downstream",
            "trigger second",
            second,
            depend,
            jobs,
        ))
    }

    fn project_after(&self, project: ProjectId) -> Option<ProjectId> {
        let next = self
            .projects
            .range(project + 1..)
            .next()
            .or_else(|| self.projects.iter().next());
        next.map(|(id, _)| *id).filter(|id| *id != project)
    }
}

/// `count` plain jobs in stages build, test and deploy.
pub(super) fn plain_jobs(count: usize) -> Vec<JobSpec> {
    let builds = count.div_ceil(4);
    let deploys = count / 6;
    (0..count)
        .map(|index| {
            let (stage, name): (&str, Arc<str>) = if index < builds {
                ("build", format!("build {index}").into())
            } else if index < count - deploys {
                ("test", format!("test {index}").into())
            } else {
                ("deploy", format!("deploy {index}").into())
            };
            let job = JobSpec {
                name,
                ..JobSpec::new(stage, "")
            }
            .artifact("trace", "job.log", 2_048 + index as u64);
            match index % 5 {
                0 => job
                    .artifact("archive", "artifacts.zip", 100_000 + index as u64)
                    .tag("linux"),
                3 => job.allow_failure(),
                _ => job,
            }
        })
        .collect()
}
