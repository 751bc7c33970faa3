//! What is remembered of a project's downstream pipelines.

use std::collections::{BTreeMap, BTreeSet};

use super::history::RefHistory;
use super::jobs::JobSnapshot;
use super::pipelines::RunClaim;
use crate::clock::UnixSeconds;
use crate::gitlab::model::Status;
use crate::types::{PipelineId, ProjectId, Text};

/// What is remembered of a project's downstream pipelines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChildPipelinesMemory {
    /// Pipelines of this project.
    pub(crate) claims: BTreeMap<PipelineId, RunClaim>,
    /// Pipelines of projects that are not tracked, under the pipeline of this project that leads
    /// to them.
    pub(crate) foreign_claims: BTreeMap<PipelineId, BTreeMap<PipelineId, RunClaim>>,
    /// NewestDownstream downstream pipeline per bridge, under the ref of this project that it belongs to.
    pub(crate) newest: RefHistory<BTreeMap<BridgeKey, NewestDownstream>>,
}

/// What distinguishes the series of two downstream pipelines of one ref. Projects are identified by
/// id, which survives a rename.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BridgeKey {
    pub(crate) name: Text,
    pub(crate) parent_project: ProjectId,
    pub(crate) parent_ref: Text,
    pub(crate) project: ProjectId,
    pub(crate) git_ref: Text,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewestDownstream {
    pub(crate) id: PipelineId,
    pub(crate) status: Status,
    /// The pipeline of this project that it is, or that leads to it.
    pub(crate) holder: PipelineId,
    pub(crate) holder_created_at: UnixSeconds,
    /// Path of the parent project as it was read.
    pub(crate) parent_project: Text,
    /// Path of the downstream project as it was read.
    pub(crate) project: Text,
    /// The newest job of each name of a child pipeline. Those of a multi-project pipeline are jobs of the
    /// project that it runs in.
    pub(crate) jobs: Vec<JobSnapshot>,
}

impl ChildPipelinesMemory {
    /// The newest downstream pipelines of this project that have a state.
    pub fn newest_ids(&self) -> impl Iterator<Item = PipelineId> {
        let entries = self.newest.iter().flat_map(|(_, entries)| entries);
        let runs = entries.flat_map(|entry| entry.value.values());
        runs.filter(|run| run.id == run.holder).map(|run| run.id)
    }

    /// Whether a ref of `parent` started a pipeline on another ref, seen from this project, `own`.
    #[must_use]
    pub fn names_from_elsewhere(&self, parent: ProjectId, own: ProjectId) -> bool {
        let entries = self.newest.iter().flat_map(|(_, entries)| entries);
        let mut bridges = entries.flat_map(|entry| entry.value.keys());
        bridges.any(|bridge| {
            let elsewhere = own != parent || bridge.git_ref != bridge.parent_ref;
            bridge.parent_project == parent && elsewhere
        })
    }

    /// Whether what is shown of a ref of this project is that a ref of another one started it: its
    /// newest pipeline.
    #[must_use]
    pub fn is_newest_from(&self, parent: ProjectId, name: &Text) -> bool {
        self.newest
            .iter()
            .flat_map(|(_, entries)| entries)
            .any(|entry| {
                let mut bridges = entry.value.iter();
                bridges.any(|(bridge, run)| {
                    let is_from = bridge.parent_project == parent && bridge.parent_ref == *name;
                    is_from && run.holder == entry.id
                })
            })
    }

    /// Forgets what removed refs started; `is_removed` gets project and ref of what started a pipeline,
    /// and its own time. Returns the removed refs.
    pub fn forget_parents(
        &mut self,
        is_removed: impl Fn(ProjectId, &Text, UnixSeconds) -> bool,
    ) -> BTreeSet<(ProjectId, Text)> {
        let mut removed = BTreeSet::new();
        self.forget(|bridge, run| {
            let (parent, name) = (bridge.parent_project, &bridge.parent_ref);
            let goes = is_removed(parent, name, run.holder_created_at);
            if goes {
                removed.insert((parent, name.clone()));
            }
            goes
        });
        removed
    }

    /// Forgets what refs of other projects started before `time`, but for the newest pipeline of
    /// each ref of this project; `is_there` is asked with project and ref of what started it.
    pub fn forget_quiet(
        &mut self,
        own: ProjectId,
        time: UnixSeconds,
        is_there: impl Fn(ProjectId, &Text) -> bool,
    ) {
        let entries = self.newest.iter().flat_map(|(_, entries)| entries);
        let newest: BTreeSet<PipelineId> = entries.map(|entry| entry.id).collect();
        self.forget(|bridge, run| {
            let parent = bridge.parent_project;
            let is_quiet = parent != own && run.holder_created_at < time;
            is_quiet && !newest.contains(&run.holder) && !is_there(parent, &bridge.parent_ref)
        });
    }

    pub(crate) fn forget(&mut self, mut goes: impl FnMut(&BridgeKey, &NewestDownstream) -> bool) {
        self.newest.retain(|entry| {
            let before = entry.value.len();
            let left = &mut entry.value;
            left.retain(|bridge, run| !goes(bridge, run));
            if left.len() == before {
                return true;
            }
            let Some(newest) = left.values().max_by_key(|run| run.holder) else {
                return false;
            };
            entry.id = newest.holder;
            entry.created_at = newest.holder_created_at;
            true
        });
    }
}
