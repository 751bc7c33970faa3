//! `child_pipelines`: downstream pipelines by what started them.
//!
//! A downstream pipeline belongs to the project it runs in: if that project is tracked, its own
//! change feed shows the pipeline with its upstream, to any depth and across projects. Only
//! downstream pipelines of projects that are not tracked are seen from the upstream side. So each
//! is counted by exactly one project.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::history::{RefHistory, Remembered};
use super::pipelines::{
    NewEvents, RunClaim, claim_run, queued_seconds, retain_followed, status_values,
};
use super::refs::{RefName, counting_ref, is_watched, plain_ref, upstream_counting_ref};
use super::{Feed, FeedCollector, ForeignPipeline, Measured, PipelineFacts, Subject};
use crate::gitlab::model::{Known, Pipeline, PipelineId, Status, Text, Upstream};
use crate::telemetry::catalogue::Measurement;
use crate::telemetry::catalogue::child_pipelines as metric;
use crate::telemetry::catalogue::labels::{ChildLabels, ChildStatusLabels};

/// Downstream pipelines with a state per ref: bridges times what leads to them.
const MAX_BRIDGES_PER_REF: usize = 100;

/// The collector.
#[derive(Clone, Copy, Debug)]
pub struct ChildPipelines;

/// What is remembered of a project's downstream pipelines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Pipelines of this project.
    claims: BTreeMap<PipelineId, RunClaim>,
    /// Pipelines of projects that are not tracked, under the pipeline of this project that leads
    /// to them.
    foreign_claims: BTreeMap<PipelineId, BTreeMap<PipelineId, RunClaim>>,
    /// Newest downstream pipeline per bridge, under the ref of this project that it belongs to.
    newest: RefHistory<BTreeMap<Bridge, Newest>>,
}

/// What tells the series of two downstream pipelines of one ref apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Bridge {
    name: Text,
    parent_project: Text,
    parent_ref: Text,
    project: Text,
    git_ref: Text,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newest {
    id: PipelineId,
    status: Status,
}

impl FeedCollector for ChildPipelines {
    type Memory = Memory;

    fn absorb(&self, subject: Subject<'_>, feed: &Feed, memory: &mut Memory, out: &mut Measured) {
        for facts in &feed.pipelines {
            if !is_watched(&facts.pipeline, subject.settings) {
                continue;
            }
            if let Known::Value(upstream) = &facts.pipeline.upstream {
                own(subject, facts, upstream, memory, out);
            }
            foreign(subject, facts, memory, out);
        }
        retain_followed(&mut memory.claims, feed);
        retain_followed(&mut memory.foreign_claims, feed);
        memory.newest.forget_pipelines(&feed.deleted);
        memory.newest.forget_refs(subject, |_| true);
    }

    fn states(&self, subject: Subject<'_>, memory: &Memory, out: &mut Vec<Measurement>) {
        let mut newest: BTreeMap<&Bridge, &Newest> = BTreeMap::new();
        for (_, entry) in memory.newest.shown(subject) {
            for (bridge, run) in &entry.value {
                let place = newest.entry(bridge).or_insert(run);
                if run.id > place.id {
                    *place = run;
                }
            }
        }
        for (bridge, run) in newest {
            for (status, value) in status_values(subject, &run.status) {
                let labels = ChildStatusLabels {
                    bridge_name: bridge.name.clone(),
                    parent_project: bridge.parent_project.clone(),
                    parent_ref: bridge.parent_ref.clone(),
                    project: bridge.project.clone(),
                    git_ref: bridge.git_ref.clone(),
                    status,
                };
                out.push(metric::STATUS.set(labels, value));
            }
        }
    }
}

/// A pipeline of this project that another pipeline started.
fn own(
    subject: Subject<'_>,
    facts: &PipelineFacts,
    upstream: &Upstream,
    memory: &mut Memory,
    out: &mut Measured,
) {
    let pipeline = &facts.pipeline;
    let new = claim_run(&mut memory.claims, facts, pipeline);
    let labels = ChildLabels {
        bridge_name: upstream.bridge.clone(),
        parent_project: upstream.project.clone(),
        parent_ref: upstream_counting_ref(upstream, subject.settings),
        project: subject.project.clone(),
        git_ref: counting_ref(pipeline, subject.settings),
    };
    count(pipeline, new, labels, out);
    let name = RefName::of(pipeline);
    let bridge = Bridge {
        name: upstream.bridge.clone(),
        parent_project: upstream.project.clone(),
        parent_ref: plain_ref(&upstream.git_ref),
        project: subject.project.clone(),
        git_ref: name.name.clone(),
    };
    remember(memory, name, pipeline, bridge, pipeline);
}

/// Pipelines of projects that are not tracked, started by this project's pipeline.
fn foreign(subject: Subject<'_>, facts: &PipelineFacts, memory: &mut Memory, out: &mut Measured) {
    for ForeignPipeline { upstream, target } in &facts.foreign {
        let claims = memory.foreign_claims.entry(facts.pipeline.id).or_default();
        let new = claim_run(claims, facts, &target.pipeline);
        let bridge = Bridge {
            name: upstream.bridge.clone(),
            parent_project: upstream.project.clone(),
            parent_ref: plain_ref(&upstream.git_ref),
            project: target.project.clone(),
            git_ref: plain_ref(&target.pipeline.git_ref),
        };
        let labels = ChildLabels {
            bridge_name: bridge.name.clone(),
            parent_project: bridge.parent_project.clone(),
            parent_ref: upstream_counting_ref(upstream, subject.settings),
            project: bridge.project.clone(),
            git_ref: bridge.git_ref.clone(),
        };
        count(&target.pipeline, new, labels, out);
        remember(
            memory,
            RefName::of(&facts.pipeline),
            &facts.pipeline,
            bridge,
            &target.pipeline,
        );
    }
}

fn count(pipeline: &Pipeline, new: NewEvents, labels: ChildLabels, out: &mut Measured) {
    if new.created {
        out.events.push(metric::RUN_COUNT.add(labels.clone(), 1.0));
    } else {
        out.births.push(metric::RUN_COUNT.series(labels.clone()));
    }
    if !pipeline.status.is_terminal() {
        return;
    }
    if let Some(duration) = pipeline.duration {
        if new.finished {
            out.events
                .push(metric::DURATION.observe(labels.clone(), duration));
        } else {
            out.births.push(metric::DURATION.series(labels.clone()));
        }
    }
    if let Some(queued) = queued_seconds(pipeline) {
        if new.finished {
            out.events
                .push(metric::QUEUED_DURATION.observe(labels, queued));
        } else {
            out.births.push(metric::QUEUED_DURATION.series(labels));
        }
    }
}

/// Remembers `downstream` as the newest of its bridge, under the ref of `holder`.
fn remember(
    memory: &mut Memory,
    name: RefName,
    holder: &Pipeline,
    bridge: Bridge,
    downstream: &Pipeline,
) {
    let mut entry = memory
        .newest
        .newest(&name)
        .cloned()
        .unwrap_or_else(|| Remembered {
            id: holder.id,
            created_at: holder.created_at,
            value: BTreeMap::new(),
        });
    entry.id = entry.id.max(holder.id);
    entry.created_at = entry.created_at.max(holder.created_at);
    let newest = Newest {
        id: downstream.id,
        status: downstream.status.clone(),
    };
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
    memory.newest.put(name, entry, 1);
}
