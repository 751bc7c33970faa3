//! `jobs`: runs, waits, failures, retries, and the newest job of each name.
//!
//! A run is a job that started and ended; each retry is a job of its own id. A job's event waits
//! until its labels are settled (`failure_reason` and the runner's type may need a second way of
//! reading). Trigger jobs (bridges) have states and failures and no runs: no runner runs them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::pipelines::{is_passed_over, retain_followed, status_values};
use super::{FeedCollector, Measured};
use crate::catalogue::Measurement;
use crate::catalogue::jobs as metric;
use crate::catalogue::labels::{
    JobFailureLabels, JobLabels, JobRunLabels, JobRunnerInfoLabels, JobStatusLabels, ProjectLabels,
    RefLabels, RunnerTypeLabels,
};
use crate::config::{self, Pattern};
use crate::facts::feed::{Feed, PARENT_PIPELINE, PipelineFacts};
use crate::gitlab::model::{Job, Known, RunnerType, Status};
use crate::memory::Subject;
use crate::memory::history::Remembered;
use crate::memory::jobs::{JobClaims, JobSnapshot, JobsMemory, JobsOfRef, UnfinishedJobs};
use crate::memory::refs::{RefName, counting_ref_without_kind, is_watched};
use crate::types::Text;

/// Pipelines of a ref whose jobs are remembered, at most.
const KEPT: usize = 2;

/// The collector.
#[derive(Clone, Copy, Debug)]
pub struct Jobs {
    /// `collectors.jobs.include_runner_details`: without it, `runner_type` is `unknown`.
    pub runner_details: bool,
    /// `collectors.pipelines.include_child_pipelines`: whether jobs of child pipelines count.
    pub include_children: bool,
}

/// Which runners and tags are shown.
#[derive(Clone, Debug, Default)]
pub struct RunnerLabels {
    /// `collectors.jobs.runner_description_regexp`.
    pub description: Option<Pattern>,
    /// `collectors.jobs.tags_regexp`.
    pub tags: Option<Pattern>,
}

impl RunnerLabels {
    /// By the settings.
    #[must_use]
    pub fn new(settings: &config::Jobs) -> Self {
        Self {
            description: settings.runner_description_regexp.clone(),
            tags: settings.tags_regexp.clone(),
        }
    }

    /// Whether neither is shown.
    fn is_empty(&self) -> bool {
        self.description.is_none() && self.tags.is_none()
    }

    /// What the expression matches of the description of a job's runner; empty where nothing.
    pub(super) fn description_of(&self, job: &JobSnapshot) -> Text {
        let regexp = self.description.as_ref().map(Pattern::regex);
        let description = job.runner_description.as_deref().unwrap_or_default();
        let found = regexp.and_then(|regexp| regexp.find(description));
        found.map(|found| found.as_str().into()).unwrap_or_default()
    }

    /// The tags that the expression matches, separated by commas.
    pub(super) fn tags_of(&self, job: &JobSnapshot) -> Text {
        let Some(regexp) = &self.tags else {
            return Text::default();
        };
        let tags = job.tags.iter().filter(|tag| regexp.is_match(tag));
        let tags: Vec<&str> = tags.map(|tag| &**tag).collect();
        tags.join(",").into()
    }

    /// The states of the jobs of the newest pipeline of each ref.
    pub fn states(&self, subject: Subject<'_>, memory: &JobsMemory, out: &mut Vec<Measurement>) {
        if self.is_empty() {
            return;
        }
        for (name, entry) in memory.newest.shown(subject) {
            for job in &entry.value.jobs {
                let (description, tags) = (self.description_of(job), self.tags_of(job));
                if description.is_empty() && tags.is_empty() {
                    continue;
                }
                let labels = JobRunnerInfoLabels {
                    job_name: job.name.clone(),
                    project: subject.project.clone(),
                    git_ref: name.without_kind(),
                    runner_description: description,
                    stage: job.stage.clone(),
                    tags,
                };
                out.push(metric::RUNNER_INFO.set(labels, 1.0));
            }
        }
    }
}

impl FeedCollector for Jobs {
    type Memory = JobsMemory;

    fn absorb(
        &self,
        subject: Subject<'_>,
        feed: &Feed,
        memory: &mut JobsMemory,
        out: &mut Measured,
    ) {
        let mut read = BTreeSet::new();
        for facts in &feed.pipelines {
            let pipeline = &facts.pipeline;
            let is_child = &*pipeline.source == PARENT_PIPELINE;
            if !is_watched(pipeline, subject.settings) || (is_child && !self.include_children) {
                continue;
            }
            if !pipeline.status.is_active() {
                memory.unfinished.remove(&pipeline.id);
            }
            let Some(jobs) = &facts.jobs else { continue };
            let claims = memory.claims.entry(pipeline.id).or_default();
            let git_ref = counting_ref_without_kind(pipeline, subject.settings);
            let mut events = Events {
                subject,
                facts,
                git_ref,
                collector: self,
                out,
            };
            for job in jobs {
                events.ended(job, claims.entry(job.id).or_default());
                events.replaced(job, jobs, claims.entry(job.id).or_default());
            }
            for bridge in facts.bridges.iter().flatten() {
                events.ended(bridge, claims.entry(bridge.id).or_default());
            }
            if pipeline.status.is_active() {
                memory.unfinished.insert(pipeline.id, unfinished(jobs));
            }
            if !is_child {
                remember(subject, facts, jobs, memory);
                read.insert(RefName::of(pipeline));
            }
        }
        // After all: which pipelines there are does not depend on their order.
        read.iter().for_each(|name| trim(name, memory));
        retain_followed(&mut memory.claims, feed);
        retain_followed(&mut memory.unfinished, feed);
        memory.newest.forget_pipelines(&feed.deleted);
        memory.newest.forget_refs(subject, |_| true);
    }

    fn states(&self, subject: Subject<'_>, memory: &JobsMemory, out: &mut Vec<Measurement>) {
        for (name, entry) in memory.newest.shown(subject) {
            if entry.value.warnings {
                let labels = RefLabels {
                    kind: name.kind.as_str().into(),
                    project: subject.project.clone(),
                    git_ref: name.name.clone(),
                };
                out.push(metric::PIPELINE_WARNINGS.set(labels, 1.0));
            }
            let git_ref = name.without_kind();
            for job in &entry.value.jobs {
                job_states(subject, &git_ref, job, out);
            }
        }
        let total = memory
            .unfinished
            .values()
            .fold(UnfinishedJobs::default(), |sum, jobs| UnfinishedJobs {
                pending: sum.pending + jobs.pending,
                running: sum.running + jobs.running,
            });
        let labels = ProjectLabels {
            project: subject.project.clone(),
        };
        out.push(metric::PENDING.set(labels.clone(), f64::from(total.pending)));
        out.push(metric::RUNNING.set(labels, f64::from(total.running)));
    }
}

/// Finds the events of one pipeline's jobs.
struct Events<'a> {
    subject: Subject<'a>,
    facts: &'a PipelineFacts,
    git_ref: Text,
    collector: &'a Jobs,
    out: &'a mut Measured,
}

impl Events<'_> {
    fn labels(&self, job: &Job) -> JobLabels {
        JobLabels {
            job_name: job.name.clone(),
            project: self.subject.project.clone(),
            git_ref: self.git_ref.clone(),
            stage: job.stage.clone(),
        }
    }

    /// The job ended: a run if it had started, a failure if it failed.
    fn ended(&mut self, job: &Job, claimed: &mut JobClaims) {
        let Some(finished_at) = job.finished_at.filter(|_| job.status.is_terminal()) else {
            return;
        };
        claimed.history |= !self.facts.counts(finished_at);
        if claimed.ended || !self.collector.is_settled(job) {
            return;
        }
        claimed.ended = true;
        if claimed.history {
            return;
        }
        let labels = self.labels(job);
        if job.status == Status::Failed {
            let failure = JobFailureLabels {
                failure_reason: failure_reason(job),
                job_name: labels.job_name.clone(),
                project: labels.project.clone(),
                git_ref: labels.git_ref.clone(),
                stage: labels.stage.clone(),
            };
            let family = match job.allow_failure {
                true => &metric::ALLOWED_FAILURES,
                false => &metric::FAILURES,
            };
            self.out.events.push(family.add(failure, 1.0));
        }
        if job.started_at.is_some() && !job.is_bridge {
            self.run(job, labels);
        }
    }

    fn run(&mut self, job: &Job, labels: JobLabels) {
        let runner_type = self.collector.runner_type(job);
        let run = JobRunLabels {
            job_name: labels.job_name.clone(),
            project: labels.project.clone(),
            git_ref: labels.git_ref.clone(),
            runner_type: runner_type.into(),
            stage: labels.stage.clone(),
            status: job.status.as_str().into(),
        };
        let by_runners = RunnerTypeLabels {
            project: labels.project.clone(),
            runner_type: runner_type.into(),
        };
        let events = &mut self.out.events;
        events.push(metric::RUN_COUNT.add(labels.clone(), 1.0));
        if let Some(duration) = job.duration {
            events.push(metric::DURATION.observe(run, duration));
            events.push(metric::COMPUTE_SECONDS.add(by_runners.clone(), duration));
        }
        if let Some(queued) = job.queued_duration {
            events.push(metric::QUEUED_DURATION.observe(labels, queued));
            events.push(metric::RUNNER_QUEUED_DURATION.observe(by_runners, queued));
        }
    }

    /// A newer run of the same job took its place; flaky if it had failed and a newer one succeeded.
    fn replaced(&mut self, job: &Job, jobs: &[Job], claimed: &mut JobClaims) {
        if job.retried.value() != Some(true) {
            return;
        }
        let newer = || {
            jobs.iter()
                .filter(|other| other.id > job.id && other.name == job.name)
        };
        if !claimed.retried
            && let Some(next) = newer().min_by_key(|other| other.id)
        {
            claimed.retried = true;
            if self.facts.counts(next.created_at) {
                self.out
                    .events
                    .push(metric::RETRIES.add(self.labels(job), 1.0));
            }
        }
        let success = newer()
            .filter(|other| other.status == Status::Success)
            .filter_map(|other| other.finished_at)
            .min();
        if job.status == Status::Failed
            && !claimed.flaky
            && let Some(succeeded_at) = success
        {
            claimed.flaky = true;
            if self.facts.counts(succeeded_at) {
                self.out
                    .events
                    .push(metric::FLAKY.add(self.labels(job), 1.0));
            }
        }
    }
}

impl Jobs {
    /// Whether everything a job's labels need is known, so that its end can be counted.
    #[must_use]
    pub fn is_settled(&self, job: &Job) -> bool {
        let reason = job.status != Status::Failed || !job.failure_reason.is_open();
        let runner = !self.runner_details || !job.runner_type.is_open() || job.started_at.is_none();
        reason && runner
    }

    fn runner_type(&self, job: &Job) -> &'static str {
        match job.runner_type {
            Known::Value(runner_type) if self.runner_details => runner_type.as_str(),
            _ => RunnerType::Other.as_str(),
        }
    }
}

/// Why a job failed; empty unless it did.
fn failure_reason(job: &Job) -> Text {
    match &job.failure_reason {
        Known::Value(reason) if job.status == Status::Failed => reason.clone(),
        Known::Nothing | Known::Hidden if job.status == Status::Failed => "unknown".into(),
        _ => "".into(),
    }
}

fn unfinished(jobs: &[Job]) -> UnfinishedJobs {
    let mut count = UnfinishedJobs::default();
    for job in jobs {
        match job.status {
            Status::Pending => count.pending += 1,
            Status::Running | Status::Canceling => count.running += 1,
            _ => {}
        }
    }
    count
}

/// Remembers the newest job of each name.
fn remember(subject: Subject<'_>, facts: &PipelineFacts, jobs: &[Job], memory: &mut JobsMemory) {
    let pipeline = &facts.pipeline;
    let name = RefName::of(pipeline);
    let before = memory.newest.find(&name, pipeline.id);
    let before = before.map(|before| &*before.value.jobs).unwrap_or_default();
    let bridges = facts.bridges.as_deref();
    let is_warning = |job: &Job| job.status == Status::Failed && job.allow_failure;
    let all = newest_jobs(jobs.iter().chain(bridges.unwrap_or_default()));
    let value = JobsOfRef {
        rests: !pipeline.status.is_active(),
        warnings: pipeline.status == Status::Success && all.clone().any(is_warning),
        jobs: snapshots(all, bridges.is_some(), before),
    };
    let entry = Remembered {
        id: pipeline.id,
        created_at: pipeline.created_at,
        skipped: is_passed_over(pipeline, subject),
        value,
    };
    memory.newest.put(name, entry);
}

/// Keeps the newest pipeline of a ref, and the one before while the newest goes on: it may yet be skipped.
fn trim(name: &RefName, memory: &mut JobsMemory) {
    let mut goes_on = true;
    memory.newest.retain_of(name, |place, entry| {
        let stays = goes_on && place < KEPT;
        goes_on &= !entry.value.rests;
        stays
    });
}

/// The newest job of each name, in the order of stages and names.
fn newest_jobs<'a>(jobs: impl Iterator<Item = &'a Job>) -> impl Iterator<Item = &'a Job> + Clone {
    let mut newest: BTreeMap<(&Text, &Text), &Job> = BTreeMap::new();
    for job in jobs.filter(|job| job.retried != Known::Value(true)) {
        let place = newest.entry((&job.stage, &job.name)).or_insert(job);
        if job.id > place.id {
            *place = job;
        }
    }
    newest.into_values().collect::<Vec<_>>().into_iter()
}

/// What is remembered of a pipeline's jobs: of trigger jobs, what was known `before` where they were not read.
fn snapshots<'a>(
    jobs: impl Iterator<Item = &'a Job>,
    has_bridges: bool,
    before: &[JobSnapshot],
) -> Vec<JobSnapshot> {
    let read = jobs.map(|job| snapshot(job, before.iter().find(|known| known.id == job.id)));
    let kept = before.iter().filter(|job| job.is_bridge && !has_bridges);
    read.chain(kept.cloned()).collect()
}

/// The jobs of a pipeline as states show them, after what was known of them `before`; none where they were
/// not read.
pub(super) fn job_snapshots(
    facts: &PipelineFacts,
    before: &[JobSnapshot],
) -> Option<Vec<JobSnapshot>> {
    let jobs = facts.jobs.as_deref()?;
    let bridges = facts.bridges.as_deref();
    let all = newest_jobs(jobs.iter().chain(bridges.unwrap_or_default()));
    Some(snapshots(all, bridges.is_some(), before))
}

/// What is remembered of a job. Its reason, once known, stays: not every way of reading returns it.
fn snapshot(job: &Job, before: Option<&JobSnapshot>) -> JobSnapshot {
    let before = before.filter(|before| before.status == job.status);
    let known = || before.and_then(|before| before.failure_reason.clone());
    JobSnapshot {
        id: job.id,
        is_bridge: job.is_bridge,
        name: job.name.clone(),
        stage: job.stage.clone(),
        status: job.status.clone(),
        failure_reason: Some(failure_reason(job))
            .filter(|reason| !reason.is_empty())
            .or_else(known),
        created_at: job.created_at,
        running_since: job.started_at.filter(|_| job.status == Status::Running),
        duration: job.duration.filter(|_| job.status.is_terminal()),
        queued_duration: job.queued_duration.filter(|_| job.started_at.is_some()),
        coverage: job.coverage,
        artifact_bytes: job.artifact_bytes,
        runner_description: job.runner_description.clone(),
        tags: job.tags.clone().unwrap_or_default(),
    }
}

/// The label `failure_reason` of a status of a job, which may not be its `current` one.
pub(super) fn shown_reason(job: &JobSnapshot, current: bool) -> Text {
    match &job.failure_reason {
        Some(reason) if current => reason.clone(),
        _ => "".into(),
    }
}

fn job_states(subject: Subject<'_>, git_ref: &Text, job: &JobSnapshot, out: &mut Vec<Measurement>) {
    let labels = JobLabels {
        job_name: job.name.clone(),
        project: subject.project.clone(),
        git_ref: git_ref.clone(),
        stage: job.stage.clone(),
    };
    for (status, value) in status_values(subject, &job.status) {
        let current = *status == *job.status.as_str();
        let labels = JobStatusLabels {
            failure_reason: shown_reason(job, current),
            job_name: labels.job_name.clone(),
            project: labels.project.clone(),
            git_ref: labels.git_ref.clone(),
            stage: labels.stage.clone(),
            status,
        };
        out.push(metric::STATUS.set(labels, value));
    }
    #[expect(clippy::cast_precision_loss, reason = "ids stay far below 2^53")]
    out.push(metric::ID.set(labels.clone(), job.id.0 as f64));
    out.push(metric::CREATED_TIMESTAMP.set(labels.clone(), job.created_at.as_f64()));
    #[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^53")]
    if let Some(bytes) = job.artifact_bytes {
        out.push(metric::ARTIFACT_SIZE.set(labels.clone(), bytes as f64));
    }
    if let Some(since) = job.running_since {
        out.push(metric::RUNNING_SINCE.set(labels.clone(), since.as_f64()));
    }
    if let Some(duration) = job.duration {
        out.push(metric::LAST_RUN_DURATION.set(labels.clone(), duration));
    }
    if let Some(queued) = job.queued_duration {
        out.push(metric::LAST_RUN_QUEUED_DURATION.set(labels.clone(), queued));
    }
    if let Some(coverage) = job.coverage {
        out.push(metric::COVERAGE.set(labels, coverage));
    }
}
