//! `pipelines`: runs of branches, tags and merge requests, and the newest pipeline of each ref.
//!
//! A pipeline is counted when it is created, once per id. A run that ended is counted once per
//! (id, end) with a terminal status: a retry of the same pipeline is another run. Child pipelines
//! count here too, and have their states in `child_pipelines`.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::{FeedCollector, Measured};
use crate::catalogue::Measurement;
use crate::catalogue::labels::{
    ProjectStatusLabels, RefLabels, RefSourceLabels, RefSourceStatusLabels,
};
use crate::catalogue::pipelines as metric;
use crate::clock::UnixSeconds;
use crate::facts::feed::{Feed, PARENT_PIPELINE, PipelineFacts};
use crate::gitlab::model::{Pipeline, RefKind, Status};
use crate::memory::Subject;
use crate::memory::history::Remembered;
use crate::memory::pipelines::{PipelineSnapshot, PipelinesMemory, RunClaim};
use crate::memory::refs::{RefName, counting_ref, is_watched};
use crate::types::{PipelineId, Text};

/// The collector; `include_children` is `collectors.pipelines.include_child_pipelines`.
#[derive(Clone, Copy, Debug)]
pub struct Pipelines {
    /// Whether child pipelines count.
    pub include_children: bool,
}

/// The events of a pipeline that are counted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEvents {
    /// It was created.
    pub created: bool,
    /// A run of it finished.
    pub finished: bool,
}

/// Claims the events of a pipeline (that of the facts, or one downstream of it) and says which are
/// to be counted: each at most once, none twice.
pub fn claim_run(
    claims: &mut BTreeMap<PipelineId, RunClaim>,
    facts: &PipelineFacts,
    pipeline: &Pipeline,
) -> NewEvents {
    let known = claims.get(&pipeline.id).copied();
    let created = known.is_none() && facts.counts(pipeline.created_at);
    let last = known.and_then(|claim| claim.finished);
    let is_new = |end| last < Some(end) && facts.counts(end);
    let (end, finished) = match (pipeline.finished_at, pipeline.status.is_terminal()) {
        // An end under another status is that of an earlier run: it must not be taken for the next.
        (end, false) => (end, false),
        (Some(end), true) => (Some(end), is_new(end)),
        // GitLab gives a pipeline that was skipped no end. It moved last when it ended, unless something
        // else touched it long after that: of one that is not followed only its creation says so.
        (None, true) => {
            let end = pipeline.updated_at;
            let is_followed = known.is_some() || created;
            (Some(end), is_followed && last.is_none() && is_new(end))
        }
    };
    let claim = RunClaim {
        finished: last.max(end),
    };
    claims.insert(pipeline.id, claim);
    NewEvents { created, finished }
}

/// Forgets the claims of pipelines that can only come again by moving.
pub fn retain_followed<T>(claims: &mut BTreeMap<PipelineId, T>, feed: &Feed) {
    let followed: std::collections::BTreeSet<_> = feed.followed.iter().copied().collect();
    claims.retain(|id, _| followed.contains(id));
}

/// Seconds from creation to start; GitLab returns null for 0, and for a run that never started.
#[must_use]
pub fn queued_seconds(pipeline: &Pipeline) -> Option<f64> {
    pipeline
        .started_at
        .map(|_| pipeline.queued_duration.unwrap_or(0.0))
}

impl FeedCollector for Pipelines {
    type Memory = PipelinesMemory;

    fn absorb(
        &self,
        subject: Subject<'_>,
        feed: &Feed,
        memory: &mut PipelinesMemory,
        out: &mut Measured,
    ) {
        for facts in &feed.pipelines {
            let pipeline = &facts.pipeline;
            let is_child = &*pipeline.source == PARENT_PIPELINE;
            if !is_watched(pipeline, subject.settings) || (is_child && !self.include_children) {
                continue;
            }
            let new = claim_run(&mut memory.claims, facts, pipeline);
            count(subject, pipeline, new, out);
            if pipeline.status.is_active() {
                memory.active.insert(pipeline.id, pipeline.status.clone());
            } else {
                memory.active.remove(&pipeline.id);
            }
            if !is_child {
                remember(subject, pipeline, memory);
            }
        }
        retain_followed(&mut memory.claims, feed);
        retain_followed(&mut memory.active, feed);
        memory.newest.forget_pipelines(&feed.deleted);
        // Branches are few and stay until they are deleted. Tags and merge requests become more and more: their
        // counters leave with their states.
        memory
            .newest
            .forget_refs(subject, |name| name.kind != RefKind::Branch);
    }

    fn states(&self, subject: Subject<'_>, memory: &PipelinesMemory, out: &mut Vec<Measurement>) {
        for (name, entries) in memory.newest.shown_entries(subject) {
            let Some(newest) = entries.first() else {
                continue;
            };
            ref_states(subject, name, newest, out);
            if subject.settings.states.by_source {
                let mut sources = BTreeSet::from([&newest.value.source]);
                let others = entries.iter();
                for other in others.filter(|other| sources.insert(&other.value.source)) {
                    source_states(subject, name, &other.value, out);
                }
            }
        }
        active_states(subject, memory, out);
    }
}

fn source_labels(subject: Subject<'_>, pipeline: &Pipeline) -> RefSourceLabels {
    RefSourceLabels {
        kind: pipeline.kind.as_str().into(),
        project: subject.project.clone(),
        git_ref: counting_ref(pipeline, subject.settings),
        source: pipeline.source.clone(),
    }
}

fn count(subject: Subject<'_>, pipeline: &Pipeline, new: NewEvents, out: &mut Measured) {
    let labels = source_labels(subject, pipeline);
    let with_status = RefSourceStatusLabels {
        kind: labels.kind.clone(),
        project: labels.project.clone(),
        git_ref: labels.git_ref.clone(),
        source: labels.source.clone(),
        status: pipeline.status.as_str().into(),
    };
    if new.created {
        out.events.push(metric::RUN_COUNT.add(labels.clone(), 1.0));
    }
    if !new.finished {
        return;
    }
    out.events
        .push(metric::FINISHED.add(with_status.clone(), 1.0));
    // Rates of success compare these two: that none has succeeded, or failed, is a number, too.
    let other = match pipeline.status {
        Status::Success => Some(Status::Failed),
        Status::Failed => Some(Status::Success),
        _ => None,
    };
    out.initializations.extend(other.map(|other| {
        metric::FINISHED.series(RefSourceStatusLabels {
            status: other.as_str().into(),
            ..with_status.clone()
        })
    }));
    if let Some(duration) = pipeline.duration {
        out.events
            .push(metric::DURATION.observe(with_status, duration));
    }
    if let Some(queued) = queued_seconds(pipeline) {
        out.events
            .push(metric::QUEUED_DURATION.observe(labels, queued));
    }
}

fn remember(subject: Subject<'_>, pipeline: &Pipeline, memory: &mut PipelinesMemory) {
    let ended = pipeline.status.is_terminal();
    let name = RefName::of(pipeline);
    let value = PipelineSnapshot {
        running_since: running_since(pipeline, memory.newest.find(&name, pipeline.id)),
        source: pipeline.source.clone(),
        status: pipeline.status.clone(),
        updated_at: Some(pipeline.updated_at),
        // While it runs again, GitLab still shows the end of the run before.
        finished_at: pipeline.finished_at.filter(|_| ended),
        duration: pipeline.duration.filter(|_| ended),
        queued: queued_seconds(pipeline),
        coverage: pipeline.coverage,
    };
    let entry = Remembered {
        id: pipeline.id,
        created_at: pipeline.created_at,
        skipped: is_passed_over(pipeline, subject),
        value,
    };
    memory.newest.put(name.clone(), entry);
    let by_source = subject.settings.states.by_source;
    let mut sources = BTreeSet::new();
    memory.newest.retain_of(&name, |place, entry| {
        let is_first = sources.insert(entry.value.source.clone());
        place < subject.max_pipelines_per_ref || (by_source && is_first)
    });
}

/// Whether a pipeline gives the states of its ref only where there is no other.
#[must_use]
pub fn is_passed_over(pipeline: &Pipeline, subject: Subject<'_>) -> bool {
    pipeline.status == Status::Skipped && !subject.settings.states.include_skipped
}

/// Since when a pipeline runs. Of one that runs again GitLab shows the first start, and of some the earlier
/// end: it moved last when it began to.
fn running_since(
    pipeline: &Pipeline,
    before: Option<&Remembered<PipelineSnapshot>>,
) -> Option<UnixSeconds> {
    if pipeline.status != Status::Running {
        return None;
    }
    let before = before.map(|before| &before.value);
    if let Some(since) = before.and_then(|before| before.running_since) {
        return Some(since);
    }
    let had_ended = before.is_some_and(|before| before.status.is_terminal());
    match had_ended || pipeline.finished_at.is_some() {
        true => Some(pipeline.updated_at),
        false => pipeline.started_at,
    }
}

fn ref_states(
    subject: Subject<'_>,
    name: &RefName,
    newest: &Remembered<PipelineSnapshot>,
    out: &mut Vec<Measurement>,
) {
    let labels = RefLabels {
        kind: name.kind.as_str().into(),
        project: subject.project.clone(),
        git_ref: name.name.clone(),
    };
    let run = &newest.value;
    source_states(subject, name, run, out);
    #[expect(clippy::cast_precision_loss, reason = "ids stay far below 2^53")]
    out.push(metric::ID.set(labels.clone(), newest.id.0 as f64));
    out.push(metric::CREATED_TIMESTAMP.set(labels.clone(), newest.created_at.as_f64()));
    if let Some(updated_at) = run.updated_at {
        out.push(metric::UPDATED_TIMESTAMP.set(labels.clone(), updated_at.as_f64()));
    }
    if let Some(coverage) = run.coverage {
        out.push(metric::COVERAGE.set(labels.clone(), coverage));
    }
    if let Some(since) = run.running_since {
        out.push(metric::RUNNING_SINCE.set(labels.clone(), since.as_f64()));
    }
    if let Some(finished_at) = run.finished_at {
        out.push(metric::FINISHED_TIMESTAMP.set(labels, finished_at.as_f64()));
    }
}

/// The states that name what started the pipeline.
fn source_states(
    subject: Subject<'_>,
    name: &RefName,
    run: &PipelineSnapshot,
    out: &mut Vec<Measurement>,
) {
    let labels = RefSourceLabels {
        kind: name.kind.as_str().into(),
        project: subject.project.clone(),
        git_ref: name.name.clone(),
        source: run.source.clone(),
    };
    for (status, value) in status_values(subject, &run.status) {
        let labels = RefSourceStatusLabels {
            kind: labels.kind.clone(),
            project: labels.project.clone(),
            git_ref: labels.git_ref.clone(),
            source: labels.source.clone(),
            status,
        };
        out.push(metric::STATUS.set(labels, value));
    }
    if let Some(duration) = run.duration {
        out.push(metric::LAST_RUN_DURATION.set(labels.clone(), duration));
    }
    if let Some(queued) = run.queued {
        out.push(metric::LAST_RUN_QUEUED_DURATION.set(labels, queued));
    }
}

/// The values of a status metric: the current status alone, or all of them with
/// `output_sparse_status_metrics` off.
pub fn status_values(
    subject: Subject<'_>,
    current: &Status,
) -> impl Iterator<Item = (Text, f64)> + use<> {
    let current: Text = current.as_str().into();
    let others = if subject.settings.output_sparse_status_metrics {
        &[][..]
    } else {
        &Status::KNOWN[..]
    };
    let others: Vec<Text> = others
        .iter()
        .map(Status::as_str)
        .filter(|status| **status != *current)
        .map(Text::from)
        .collect();
    std::iter::once((current, 1.0)).chain(others.into_iter().map(|status| (status, 0.0)))
}

fn active_states(subject: Subject<'_>, memory: &PipelinesMemory, out: &mut Vec<Measurement>) {
    let mut by_status: BTreeMap<&Status, f64> = BTreeMap::new();
    for status in memory.active.values() {
        *by_status.entry(status).or_default() += 1.0;
    }
    for (status, count) in by_status {
        let labels = ProjectStatusLabels {
            project: subject.project.clone(),
            status: status.as_str().into(),
        };
        out.push(metric::ACTIVE.set(labels, count));
    }
}
