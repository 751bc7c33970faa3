//! Jobs.

use std::collections::BTreeSet;

use super::{Newest, Read, WITH_WARNINGS, pipeline_labels, status_values};
use crate::catalogue::compat as metric;
use crate::catalogue::labels::{OldJobLabels, OldJobStatusLabels, OldPipelineLabels};
use crate::collector::Measured;
use crate::collector::jobs::{Jobs, RunnerLabels};
use crate::facts::feed::{Feed, PARENT_PIPELINE, PipelineFacts};
use crate::gitlab::model::{Job, Status};
use crate::memory::jobs::JobClaims;
use crate::memory::refs::{RefName, is_watched};
use crate::memory::{ProjectMemory, Subject};
use crate::types::Text;

/// Counts runs when they end, each once, as the collector of jobs does.
pub(super) fn count(subject: Subject<'_>, feed: &Feed, read: &Read<'_>, out: &mut Measured) {
    for facts in &feed.pipelines {
        let pipeline = &facts.pipeline;
        if !is_watched(pipeline, subject.settings) || &*pipeline.source == PARENT_PIPELINE {
            continue;
        }
        let claims = read.claims.jobs.get(&pipeline.id);
        let name = RefName::of(pipeline);
        for job in facts.jobs.iter().flatten() {
            let claimed = claims.and_then(|claims| claims.get(&job.id));
            if is_new_run(read.jobs, facts, job, claimed.copied().unwrap_or_default()) {
                let labels = pipeline_labels(subject, &name, &pipeline.source, Text::default());
                let labels = job_labels(labels, &job.stage, &job.name, Text::default());
                out.events.push(metric::JOB_RUN_COUNT.add(labels, 1.0));
            }
        }
    }
}

/// Whether a run ended that was not counted before.
fn is_new_run(collector: Jobs, facts: &PipelineFacts, job: &Job, before: JobClaims) -> bool {
    let end = job.finished_at.filter(|_| job.status.is_terminal());
    let is_new = end.is_some_and(|end| facts.counts(end)) && !before.history && !before.ended;
    is_new && collector.is_settled(job) && job.started_at.is_some() && !job.is_bridge
}

/// Remembers which jobs failed though they may, of those that others remember.
pub(super) fn remember(feed: &Feed, memory: &mut ProjectMemory) {
    let allowed = &mut memory.compat.allowed_failures;
    for job in feed
        .pipelines
        .iter()
        .flat_map(|facts| facts.jobs.iter().chain(&facts.bridges).flatten())
    {
        match job.status == Status::Failed && job.allow_failure {
            true => allowed.insert(job.id),
            false => allowed.remove(&job.id),
        };
    }
    let entries = memory.jobs.newest.iter().flat_map(|(_, entries)| entries);
    let known: BTreeSet<_> = entries
        .flat_map(|entry| entry.value.jobs.iter().map(|job| job.id))
        .collect();
    allowed.retain(|id| known.contains(id));
}

fn job_labels(
    of: OldPipelineLabels,
    stage: &Text,
    name: &Text,
    failure_reason: Text,
) -> OldJobLabels {
    OldJobLabels {
        failure_reason,
        job_name: name.clone(),
        kind: of.kind,
        project: of.project,
        git_ref: of.git_ref,
        runner_description: Text::default(),
        source: of.source,
        stage: stage.clone(),
        tag_list: Text::default(),
        topics: of.topics,
        variables: of.variables,
    }
}

/// The states of the jobs of the newest pipeline of each ref.
pub(super) fn states(
    (subject, runners): (Subject<'_>, &RunnerLabels),
    memory: &ProjectMemory,
    newest: &Newest,
    out: &mut Measured,
) {
    for (name, (id, of)) in newest {
        let Some(entry) = memory.jobs.newest.find(name, *id) else {
            continue;
        };
        for job in &entry.value.jobs {
            let reason = job.failure_reason.clone().unwrap_or_default();
            let labels = OldJobLabels {
                runner_description: runners.description_of(job),
                tag_list: runners.tags_of(job),
                ..job_labels(of.clone(), &job.stage, &job.name, reason)
            };
            let is_allowed = memory.compat.allowed_failures.contains(&job.id);
            let status = if is_allowed {
                WITH_WARNINGS
            } else {
                job.status.as_str()
            };
            for (status, value) in status_values(subject, status) {
                out.states
                    .push(metric::JOB_STATUS.set(with_status(&labels, status), value));
            }
            let running = job
                .running_since
                .map(|since| subject.now.since(since).as_secs_f64());
            #[expect(
                clippy::cast_precision_loss,
                reason = "ids and sizes stay far below 2^53"
            )]
            let (id, bytes) = (
                job.id.0 as f64,
                job.artifact_bytes.unwrap_or_default() as f64,
            );
            for (metric, value) in [
                (&metric::JOB_ID, id),
                (
                    &metric::JOB_DURATION,
                    job.duration.or(running).unwrap_or_default(),
                ),
                (&metric::JOB_QUEUED, job.queued_duration.unwrap_or_default()),
                (&metric::JOB_TIMESTAMP, job.created_at.as_f64()),
                (&metric::JOB_ARTIFACT_SIZE, bytes),
            ] {
                out.states.push(metric.set(labels.clone(), value));
            }
            if !job.is_bridge {
                let counted = OldPipelineLabels {
                    variables: Text::default(),
                    ..of.clone()
                };
                let counted = job_labels(counted, &job.stage, &job.name, Text::default());
                out.initializations
                    .push(metric::JOB_RUN_COUNT.series(counted));
            }
        }
    }
}

fn with_status(labels: &OldJobLabels, status: Text) -> OldJobStatusLabels {
    let labels = labels.clone();
    OldJobStatusLabels {
        failure_reason: labels.failure_reason,
        job_name: labels.job_name,
        kind: labels.kind,
        project: labels.project,
        git_ref: labels.git_ref,
        runner_description: labels.runner_description,
        source: labels.source,
        stage: labels.stage,
        status,
        tag_list: labels.tag_list,
        topics: labels.topics,
        variables: labels.variables,
    }
}
