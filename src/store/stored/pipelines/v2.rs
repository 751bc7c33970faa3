//! Pipelines, jobs and downstream pipelines as version 2 stored them: without the last change of a pipeline,
//! without trigger jobs, and without the jobs of child pipelines.

use serde::{Deserialize, Serialize};

use super::super::keep::Map;
use super::{
    History, StoredBridge, StoredClaimed, StoredPipelineSnapshot, StoredPipelines, StoredRunClaim,
    StoredUnfinished, v3,
};
use crate::types::Text;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PipelineSnapshot {
    pub(super) source: Text,
    pub(super) status: Text,
    pub(super) running_since: Option<i64>,
    pub(super) finished_at: Option<i64>,
    pub(super) duration: Option<f64>,
    pub(super) queued: Option<f64>,
    pub(super) coverage: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Pipelines {
    pub(super) claims: Map<u64, StoredRunClaim>,
    pub(super) newest: History<PipelineSnapshot>,
    pub(super) active: Map<u64, Text>,
}

impl From<Pipelines> for StoredPipelines {
    fn from(stored: Pipelines) -> Self {
        Self {
            claims: stored.claims,
            newest: history(stored.newest, Into::into),
            active: stored.active,
        }
    }
}

impl From<PipelineSnapshot> for StoredPipelineSnapshot {
    fn from(known: PipelineSnapshot) -> Self {
        Self {
            source: known.source,
            status: known.status,
            updated_at: None,
            running_since: known.running_since,
            finished_at: known.finished_at,
            duration: known.duration,
            queued: known.queued,
            coverage: known.coverage,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobSnapshot {
    pub(super) id: u64,
    pub(super) name: Text,
    pub(super) stage: Text,
    pub(super) status: Text,
    pub(super) failure_reason: Option<Text>,
    pub(super) created_at: i64,
    pub(super) running_since: Option<i64>,
    pub(super) duration: Option<f64>,
    pub(super) queued_duration: Option<f64>,
    pub(super) coverage: Option<f64>,
    pub(super) artifact_bytes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobsOfRef {
    pub(super) rests: bool,
    pub(super) warnings: bool,
    pub(super) jobs: Vec<JobSnapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Jobs {
    pub(super) claims: Map<u64, Map<u64, StoredClaimed>>,
    pub(super) unfinished: Map<u64, StoredUnfinished>,
    pub(super) newest: History<JobsOfRef>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NewestChild {
    id: u64,
    status: Text,
    holder: u64,
    holder_created_at: i64,
    parent_project: Text,
    project: Text,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct ChildPipelines {
    pub(super) claims: Map<u64, StoredRunClaim>,
    pub(super) foreign_claims: Map<u64, Map<u64, StoredRunClaim>>,
    pub(super) newest: History<Map<StoredBridge, NewestChild>>,
}

/// The same refs, with another value each.
pub(super) fn history<V2, T>(stored: History<V2>, now: impl Fn(V2) -> T) -> History<T> {
    let refs = stored.into_iter().map(|(name, (newest, entries))| {
        let entries = entries.into_iter();
        let entries =
            entries.map(|(id, created_at, skipped, value)| (id, created_at, skipped, now(value)));
        (name, (newest, entries.collect()))
    });
    refs.collect()
}

impl From<Jobs> for v3::Jobs {
    fn from(stored: Jobs) -> Self {
        Self {
            claims: stored.claims,
            unfinished: stored.unfinished,
            newest: history(stored.newest, |known| v3::JobsOfRef {
                rests: known.rests,
                warnings: known.warnings,
                jobs: known.jobs.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

impl From<JobSnapshot> for v3::JobSnapshot {
    fn from(known: JobSnapshot) -> Self {
        Self {
            id: known.id,
            is_bridge: false,
            name: known.name,
            stage: known.stage,
            status: known.status,
            failure_reason: known.failure_reason,
            created_at: known.created_at,
            running_since: known.running_since,
            duration: known.duration,
            queued_duration: known.queued_duration,
            coverage: known.coverage,
            artifact_bytes: known.artifact_bytes,
        }
    }
}

impl From<ChildPipelines> for v3::ChildPipelines {
    fn from(stored: ChildPipelines) -> Self {
        Self {
            claims: stored.claims,
            foreign_claims: stored.foreign_claims,
            newest: history(stored.newest, |known| {
                let known = known.into_iter();
                known
                    .map(|(bridge, child)| (bridge, child.into()))
                    .collect()
            }),
        }
    }
}

impl From<NewestChild> for v3::NewestChild {
    fn from(known: NewestChild) -> Self {
        Self {
            id: known.id,
            status: known.status,
            holder: known.holder,
            holder_created_at: known.holder_created_at,
            parent_project: known.parent_project,
            project: known.project,
            jobs: Vec::new(),
        }
    }
}
