//! What started which downstream pipeline, learned from the upstream side.
//!
//! GraphQL returns a downstream pipeline's upstream; REST only a bridge's downstream. What was read
//! of upstream pipelines is kept here for the projects that the downstream ones run in.

use super::{Place, Started, lock};
use crate::gitlab::model::{Pipeline, Upstream};
use crate::types::{PipelineId, Text};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// How many are kept: a downstream pipeline may be retried, or wait for a manual action, for days.
/// The oldest, which have the lowest ids, are dropped first.
const KEPT: usize = 20_000;

/// What started which pipeline.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<BTreeMap<PipelineId, Upstream>>);

impl Upstreams {
    /// Takes in the downstream pipelines of a pipeline of the project at `place`.
    pub(super) fn learn(&self, place: &Place, upstream: &Pipeline, started: &[Started]) {
        if started.is_empty() {
            return;
        }
        let mut known = lock(&self.0);
        for Started {
            bridge, pipeline, ..
        } in started
        {
            known.insert(*pipeline, upstream_of(place, upstream, bridge));
        }
        while known.len() > KEPT {
            known.pop_first();
        }
    }

    /// What started a pipeline.
    pub(super) fn find(&self, pipeline: PipelineId) -> Option<Upstream> {
        lock(&self.0).get(&pipeline).cloned()
    }
}

/// A pipeline as the upstream of what its bridge started.
pub(super) fn upstream_of(
    (project_id, path): &Place,
    pipeline: &Pipeline,
    bridge: &Text,
) -> Upstream {
    Upstream {
        pipeline: pipeline.id,
        project_id: *project_id,
        project: path.clone(),
        git_ref: pipeline.git_ref.clone(),
        merge_request: pipeline.merge_request.clone(),
        bridge: bridge.clone(),
    }
}
