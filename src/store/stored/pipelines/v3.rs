//! Jobs and downstream pipelines as version 3 stored them: without runners and tags.

use serde::{Deserialize, Serialize};

use super::super::keep::Map;
use super::v2::history;
use super::{
    History, StoredBridge, StoredChildPipelines, StoredClaimed, StoredJobSnapshot, StoredJobs,
    StoredJobsOfRef, StoredNewestChild, StoredRunClaim, StoredUnfinished,
};
use crate::types::Text;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobSnapshot {
    pub(super) id: u64,
    pub(super) is_bridge: bool,
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
    pub(super) id: u64,
    pub(super) status: Text,
    pub(super) holder: u64,
    pub(super) holder_created_at: i64,
    pub(super) parent_project: Text,
    pub(super) project: Text,
    pub(super) jobs: Vec<JobSnapshot>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct ChildPipelines {
    pub(super) claims: Map<u64, StoredRunClaim>,
    pub(super) foreign_claims: Map<u64, Map<u64, StoredRunClaim>>,
    pub(super) newest: History<Map<StoredBridge, NewestChild>>,
}

impl From<Jobs> for StoredJobs {
    fn from(stored: Jobs) -> Self {
        Self {
            claims: stored.claims,
            unfinished: stored.unfinished,
            newest: history(stored.newest, |known| StoredJobsOfRef {
                rests: known.rests,
                warnings: known.warnings,
                jobs: known.jobs.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

impl From<JobSnapshot> for StoredJobSnapshot {
    fn from(known: JobSnapshot) -> Self {
        Self {
            id: known.id,
            is_bridge: known.is_bridge,
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
            runner_description: None,
            tags: Vec::new(),
        }
    }
}

impl From<ChildPipelines> for StoredChildPipelines {
    fn from(stored: ChildPipelines) -> Self {
        let children = |known: Map<StoredBridge, NewestChild>| {
            let known = known.into_iter();
            known
                .map(|(bridge, child)| (bridge, child.into()))
                .collect()
        };
        Self {
            claims: stored.claims,
            foreign_claims: stored.foreign_claims,
            newest: history(stored.newest, children),
        }
    }
}

impl From<NewestChild> for StoredNewestChild {
    fn from(known: NewestChild) -> Self {
        Self {
            id: known.id,
            status: known.status,
            holder: known.holder,
            holder_created_at: known.holder_created_at,
            parent_project: known.parent_project,
            project: known.project,
            jobs: known.jobs.into_iter().map(Into::into).collect(),
        }
    }
}
