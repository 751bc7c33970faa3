//! `child_pipelines`: downstream pipelines by what started them.
//!
//! A downstream pipeline belongs to the project it runs in: if that project is tracked, its own
//! change feed shows the pipeline with its upstream, to any depth and across projects. Only
//! downstream pipelines of projects that are not tracked are seen from the upstream side. So each
//! is counted by exactly one project.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::jobs::{job_snapshots, shown_reason};
use super::pipelines::{NewEvents, claim_run, queued_seconds, retain_followed, status_values};
use super::{FeedCollector, Measured};
use crate::catalogue::Measurement;
use crate::catalogue::child_pipelines as metric;
use crate::catalogue::labels::{ChildJobStatusLabels, ChildLabels, ChildStatusLabels};
use crate::facts::feed::{Feed, ForeignPipeline, PARENT_PIPELINE, PipelineFacts};
use crate::gitlab::model::{Known, Pipeline, Upstream};
use crate::memory::Subject;
use crate::memory::child_pipelines::{BridgeKey, ChildPipelinesMemory, NewestDownstream};
use crate::memory::history::Remembered;
use crate::memory::refs::{
    RefName, counting_ref_without_kind, is_watched, plain_ref, upstream_counting_ref,
};
use crate::types::{PipelineId, Text};

/// Downstream pipelines with a state per ref: bridges times what leads to them.
const MAX_BRIDGES_PER_REF: usize = 100;

/// The collector.
#[derive(Clone, Copy, Debug)]
pub struct ChildPipelines;

impl FeedCollector for ChildPipelines {
    type Memory = ChildPipelinesMemory;

    fn absorb(
        &self,
        subject: Subject<'_>,
        feed: &Feed,
        memory: &mut ChildPipelinesMemory,
        out: &mut Measured,
    ) {
        for facts in &feed.pipelines {
            if !is_watched(&facts.pipeline, subject.settings) {
                continue;
            }
            if let Known::Value(upstream) = &facts.pipeline.upstream {
                own(subject, facts, upstream, memory, out);
            } else if is_history(facts) {
                // History stays history, though it may be found later what started it.
                claim_run(&mut memory.claims, facts, &facts.pipeline);
            }
            foreign(subject, facts, memory, out);
        }
        retain_followed(&mut memory.claims, feed);
        retain_followed(&mut memory.foreign_claims, feed);
        forget_pipelines(memory, &feed.deleted);
        memory.newest.forget_refs(subject, |_| true);
    }

    fn states(
        &self,
        subject: Subject<'_>,
        memory: &ChildPipelinesMemory,
        out: &mut Vec<Measurement>,
    ) {
        let mut newest: BTreeMap<&BridgeKey, &NewestDownstream> = BTreeMap::new();
        for (_, entry) in memory.newest.shown(subject) {
            for (bridge, run) in &entry.value {
                let place = newest.entry(bridge).or_insert(run);
                if run.id > place.id {
                    *place = run;
                }
            }
        }
        for (bridge, run) in newest {
            let labels = ChildLabels {
                bridge_name: bridge.name.clone(),
                parent_project: subject.path_of(bridge.parent_project, &run.parent_project),
                parent_ref: bridge.parent_ref.clone(),
                project: subject.path_of(bridge.project, &run.project),
                git_ref: bridge.git_ref.clone(),
            };
            run_states(subject, &labels, run, out);
        }
    }
}

/// The states of a downstream pipeline and of its jobs.
fn run_states(
    subject: Subject<'_>,
    labels: &ChildLabels,
    run: &NewestDownstream,
    out: &mut Vec<Measurement>,
) {
    for (status, value) in status_values(subject, &run.status) {
        let labels = ChildStatusLabels {
            bridge_name: labels.bridge_name.clone(),
            parent_project: labels.parent_project.clone(),
            parent_ref: labels.parent_ref.clone(),
            project: labels.project.clone(),
            git_ref: labels.git_ref.clone(),
            status,
        };
        out.push(metric::STATUS.set(labels, value));
    }
    for job in &run.jobs {
        for (status, value) in status_values(subject, &job.status) {
            let labels = ChildJobStatusLabels {
                bridge_name: labels.bridge_name.clone(),
                failure_reason: shown_reason(job, *status == *job.status.as_str()),
                job_name: job.name.clone(),
                project: labels.project.clone(),
                git_ref: labels.git_ref.clone(),
                stage: job.stage.clone(),
                status,
            };
            out.push(metric::JOB_STATUS.set(labels, value));
        }
    }
}

/// Whether nothing of a pipeline counts so far.
fn is_history(facts: &PipelineFacts) -> bool {
    let pipeline = &facts.pipeline;
    let ended = pipeline.finished_at.is_some_and(|end| facts.counts(end));
    !facts.counts(pipeline.created_at) && !ended
}

/// A pipeline of this project that another pipeline started.
fn own(
    subject: Subject<'_>,
    facts: &PipelineFacts,
    upstream: &Upstream,
    memory: &mut ChildPipelinesMemory,
    out: &mut Measured,
) {
    let pipeline = &facts.pipeline;
    let new = claim_run(&mut memory.claims, facts, pipeline);
    let labels = ChildLabels {
        bridge_name: upstream.bridge.clone(),
        parent_project: subject.path_of(upstream.project_id, &upstream.project),
        parent_ref: upstream_counting_ref(upstream, subject.settings),
        project: subject.project.clone(),
        git_ref: counting_ref_without_kind(pipeline, subject.settings),
    };
    count(pipeline, new, labels, out);
    let name = RefName::of(pipeline);
    let bridge = BridgeKey {
        name: upstream.bridge.clone(),
        parent_project: upstream.project_id,
        parent_ref: plain_ref(&upstream.git_ref),
        project: subject.id,
        git_ref: name.without_kind(),
    };
    let mut newest = newest(pipeline, upstream, subject.project, pipeline);
    if &*pipeline.source == PARENT_PIPELINE {
        let known = memory.newest.newest(&name);
        let known = known.and_then(|entry| entry.value.get(&bridge));
        let known = known.filter(|known| known.id == newest.id);
        let before = known.map(|known| &*known.jobs).unwrap_or_default();
        newest.jobs = job_snapshots(facts, before).unwrap_or_else(|| before.to_vec());
    }
    remember(memory, name, bridge, newest);
}

/// Pipelines of projects that are not tracked, started by this project's pipeline.
fn foreign(
    subject: Subject<'_>,
    facts: &PipelineFacts,
    memory: &mut ChildPipelinesMemory,
    out: &mut Measured,
) {
    for ForeignPipeline { upstream, target } in &facts.foreign {
        let claims = memory.foreign_claims.entry(facts.pipeline.id).or_default();
        let new = claim_run(claims, facts, &target.pipeline);
        let labels = ChildLabels {
            bridge_name: upstream.bridge.clone(),
            parent_project: subject.path_of(upstream.project_id, &upstream.project),
            parent_ref: upstream_counting_ref(upstream, subject.settings),
            project: subject.path_of(target.project_id, &target.project),
            git_ref: counting_ref_without_kind(&target.pipeline, subject.settings),
        };
        let bridge = BridgeKey {
            name: upstream.bridge.clone(),
            parent_project: upstream.project_id,
            parent_ref: plain_ref(&upstream.git_ref),
            project: target.project_id,
            git_ref: RefName::of(&target.pipeline).without_kind(),
        };
        count(&target.pipeline, new, labels, out);
        let name = RefName::of(&facts.pipeline);
        let newest = newest(&facts.pipeline, upstream, &target.project, &target.pipeline);
        remember(memory, name, bridge, newest);
    }
}

fn newest(
    holder: &Pipeline,
    upstream: &Upstream,
    project: &Text,
    downstream: &Pipeline,
) -> NewestDownstream {
    NewestDownstream {
        id: downstream.id,
        status: downstream.status.clone(),
        holder: holder.id,
        holder_created_at: holder.created_at,
        parent_project: upstream.project.clone(),
        project: project.clone(),
        jobs: Vec::new(),
    }
}

fn count(pipeline: &Pipeline, new: NewEvents, labels: ChildLabels, out: &mut Measured) {
    if new.created {
        out.events.push(metric::RUN_COUNT.add(labels.clone(), 1.0));
    }
    if !new.finished {
        return;
    }
    if let Some(duration) = pipeline.duration {
        out.events
            .push(metric::DURATION.observe(labels.clone(), duration));
    }
    if let Some(queued) = queued_seconds(pipeline) {
        out.events
            .push(metric::QUEUED_DURATION.observe(labels, queued));
    }
}

/// Remembers a downstream pipeline as the newest of its bridge, under the ref of its holder.
fn remember(
    memory: &mut ChildPipelinesMemory,
    name: RefName,
    bridge: BridgeKey,
    newest: NewestDownstream,
) {
    let mut entry = memory
        .newest
        .newest(&name)
        .cloned()
        .unwrap_or_else(|| Remembered {
            id: newest.holder,
            created_at: newest.holder_created_at,
            skipped: false,
            value: BTreeMap::new(),
        });
    entry.id = entry.id.max(newest.holder);
    entry.created_at = entry.created_at.max(newest.holder_created_at);
    if entry
        .value
        .get(&bridge)
        .is_none_or(|known| known.id <= newest.id)
    {
        entry.value.insert(bridge, newest);
    }
    // Parents come and go (merge requests of another project): only the newest stay.
    while entry.value.len() > MAX_BRIDGES_PER_REF {
        let oldest = entry
            .value
            .iter()
            .min_by_key(|(_, run)| run.id)
            .map(|(bridge, _)| bridge);
        let Some(oldest) = oldest.cloned() else { break };
        entry.value.remove(&oldest);
    }
    memory.newest.put(name.clone(), entry);
    memory.newest.retain_of(&name, |place, _| place == 0);
}

/// Forgets deleted downstream pipelines, and what deleted pipelines led to.
fn forget_pipelines(memory: &mut ChildPipelinesMemory, deleted: &[PipelineId]) {
    if deleted.is_empty() {
        return;
    }
    memory.forget(|_, run| deleted.contains(&run.id) || deleted.contains(&run.holder));
}
