//! The newest pipelines of each ref as version 1 stored them: a skipped one hid those before it, and nothing was
//! known of what runs since when, nor of jobs that may fail.

use serde::{Deserialize, Serialize};

use super::super::keep::{Keep as _, Map};
use super::super::refs::StoredRefName;
use super::{History, StoredBridge, StoredClaimed, StoredRunClaim, StoredUnfinished, v2};
use crate::memory::refs::RefName;
use crate::types::Text;

type HistoryV1<T> = Map<StoredRefName, (i64, Vec<(u64, i64, T)>)>;

#[derive(Debug, Serialize, Deserialize)]
struct PipelineSnapshot {
    source: Text,
    status: Text,
    finished_at: Option<i64>,
    duration: Option<f64>,
    queued: Option<f64>,
    coverage: Option<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Pipelines {
    claims: Map<u64, StoredRunClaim>,
    newest: HistoryV1<PipelineSnapshot>,
    active: Map<u64, Text>,
}

#[derive(Debug, Serialize, Deserialize)]
struct JobSnapshot {
    id: u64,
    name: Text,
    stage: Text,
    status: Text,
    failure_reason: Option<Text>,
    created_at: i64,
    duration: Option<f64>,
    queued_duration: Option<f64>,
    coverage: Option<f64>,
    artifact_bytes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct Jobs {
    claims: Map<u64, Map<u64, StoredClaimed>>,
    unfinished: Map<u64, StoredUnfinished>,
    newest: HistoryV1<Vec<JobSnapshot>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::store) struct ChildPipelines {
    claims: Map<u64, StoredRunClaim>,
    foreign_claims: Map<u64, Map<u64, StoredRunClaim>>,
    newest: HistoryV1<Map<StoredBridge, v2::NewestChild>>,
}

/// The same refs, each value with whether its pipeline was skipped; skipped ones come last.
fn history<V1, T>(stored: HistoryV1<V1>, now: impl Fn(V1) -> (bool, T)) -> History<T> {
    let refs = stored.into_iter().map(|(name, (newest, entries))| {
        let entries = entries.into_iter().map(|(id, created_at, value)| {
            let (skipped, value) = now(value);
            (id, created_at, skipped, value)
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(_, _, skipped, _)| *skipped);
        (name, (newest, entries))
    });
    refs.collect()
}

impl From<Pipelines> for v2::Pipelines {
    fn from(stored: Pipelines) -> Self {
        Self {
            claims: stored.claims,
            newest: history(stored.newest, |known| {
                let skipped = &*known.status == "skipped";
                (skipped, known.into())
            }),
            active: stored.active,
        }
    }
}

impl From<PipelineSnapshot> for v2::PipelineSnapshot {
    fn from(known: PipelineSnapshot) -> Self {
        Self {
            source: known.source,
            status: known.status,
            running_since: None,
            finished_at: known.finished_at,
            duration: known.duration,
            queued: known.queued,
            coverage: known.coverage,
        }
    }
}

impl From<Jobs> for v2::Jobs {
    fn from(stored: Jobs) -> Self {
        Self {
            claims: stored.claims,
            unfinished: stored.unfinished,
            newest: history(stored.newest, |jobs| {
                let jobs = jobs.into_iter().map(Into::into).collect();
                let of_ref = v2::JobsOfRef {
                    rests: true,
                    warnings: false,
                    jobs,
                };
                (false, of_ref)
            }),
        }
    }
}

impl From<JobSnapshot> for v2::JobSnapshot {
    fn from(known: JobSnapshot) -> Self {
        Self {
            id: known.id,
            name: known.name,
            stage: known.stage,
            status: known.status,
            failure_reason: known.failure_reason,
            created_at: known.created_at,
            running_since: None,
            duration: known.duration,
            queued_duration: known.queued_duration,
            coverage: known.coverage,
            artifact_bytes: known.artifact_bytes,
        }
    }
}

impl From<ChildPipelines> for v2::ChildPipelines {
    fn from(mut stored: ChildPipelines) -> Self {
        for (name, (_, entries)) in &mut stored.newest {
            let bridges = entries.iter_mut().flat_map(|(_, _, bridges)| bridges);
            bridges.for_each(|(bridge, _)| bridge.name_tag(name));
        }
        Self {
            claims: stored.claims,
            foreign_claims: stored.foreign_claims,
            newest: history(stored.newest, |bridges| (false, bridges)),
        }
    }
}

impl StoredBridge {
    /// Tags were written as branches, `ref` without `kind`.
    fn name_tag(&mut self, holder: &StoredRefName) {
        if let Ok(holder) = RefName::from_stored(holder.clone())
            && self.git_ref == holder.name
        {
            self.git_ref = holder.without_kind();
        }
    }
}
