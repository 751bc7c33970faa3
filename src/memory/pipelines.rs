//! What is remembered of a project's pipelines.

use std::collections::BTreeMap;

use super::Subject;
use super::history::RefHistory;
use super::refs::RefName;
use crate::clock::UnixSeconds;
use crate::gitlab::model::{RefKind, Status};
use crate::types::{PipelineId, Text};

/// What is remembered of a project's pipelines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PipelinesMemory {
    pub(crate) claims: BTreeMap<PipelineId, RunClaim>,
    pub(crate) newest: RefHistory<PipelineSnapshot>,
    pub(crate) active: BTreeMap<PipelineId, Status>,
}

impl PipelinesMemory {
    /// The refs whose pipelines are remembered, and when the newest of each was created.
    pub fn latest_refs(&self) -> impl Iterator<Item = (&RefName, UnixSeconds)> {
        self.newest.latest()
    }

    /// How many pipelines have neither ended nor are blocked.
    #[must_use]
    pub fn active_count(&self) -> usize {
        self.active.len()
    }

    /// Id and end of the remembered pipelines that ended, of each ref that is shown, newest first.
    #[must_use]
    pub fn ended(&self, subject: Subject<'_>) -> BTreeMap<RefName, Vec<(PipelineId, UnixSeconds)>> {
        let shown = self.newest.shown_entries(subject);
        let ended = shown.map(|(name, entries)| {
            let ends = entries
                .iter()
                .filter_map(|entry| Some((entry.id, entry.value.finished_at?)));
            (name.clone(), ends.collect::<Vec<_>>())
        });
        ended.filter(|(_, ends)| !ends.is_empty()).collect()
    }

    /// The newest pipeline of each ref that is shown.
    #[must_use]
    pub fn newest_shown(&self, subject: Subject<'_>) -> Vec<(RefName, PipelineId)> {
        let shown = self.newest.shown(subject);
        shown
            .map(|(name, entry)| (name.clone(), entry.id))
            .collect()
    }

    /// Every pipeline remembered.
    pub fn all_ids(&self) -> impl Iterator<Item = PipelineId> {
        let all = self.newest.iter().flat_map(|(_, entries)| entries);
        all.map(|entry| entry.id)
    }

    /// Coverage of the newest remembered pipeline of a branch that reports one.
    #[must_use]
    pub fn coverage_of(&self, branch: &Text) -> Option<f64> {
        let name = RefName {
            kind: RefKind::Branch,
            name: branch.clone(),
        };
        let (_, entries) = self.newest.iter().find(|(known, _)| **known == name)?;
        entries.iter().find_map(|entry| entry.value.coverage)
    }

    /// The newest pipeline of each ref, skipped or not, and the ref.
    pub fn newest_by_ref(&self) -> impl Iterator<Item = (&RefName, PipelineId)> {
        self.newest.iter().filter_map(|(name, entries)| {
            let ids = entries.iter().map(|entry| entry.id);
            Some((name, ids.max()?))
        })
    }

    /// The pipeline that gives the states of each ref.
    pub fn newest_ids(&self) -> impl Iterator<Item = PipelineId> {
        self.newest
            .iter()
            .filter_map(|(_, entries)| Some(entries.first()?.id))
    }
}

/// Which events of a pipeline have been claimed; its creation is, once it has a claim at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunClaim {
    /// Latest end seen: it was counted, is history, or stood there when the pipeline ran again.
    pub finished: Option<UnixSeconds>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PipelineSnapshot {
    pub(crate) source: Text,
    pub(crate) status: Status,
    /// When that last changed; none where an earlier version did not note it.
    pub(crate) updated_at: Option<UnixSeconds>,
    /// Since when it runs, while it does.
    pub(crate) running_since: Option<UnixSeconds>,
    pub(crate) finished_at: Option<UnixSeconds>,
    pub(crate) duration: Option<f64>,
    pub(crate) queued: Option<f64>,
    pub(crate) coverage: Option<f64>,
}
