//! What started which downstream pipeline, learned from the upstream side.
//!
//! GraphQL tells a downstream pipeline's upstream; REST tells only a bridge's downstream. What
//! was read of upstream pipelines is kept here for the projects that the downstream ones run in.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Started, Wanted};
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Pipeline, PipelineId, Text, Upstream};

/// How long it is kept: a downstream pipeline is looked at long before.
const KEPT: Duration = Duration::from_secs(6 * 3600);

/// What started which pipeline.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<HashMap<PipelineId, (UnixSeconds, Upstream)>>);

impl Upstreams {
    /// Takes in the downstream pipelines of a pipeline.
    pub(super) fn learn(&self, wanted: &Wanted, started: &[Started], now: UnixSeconds) {
        if started.is_empty() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| now.since(*at) < KEPT);
        for Started {
            bridge, pipeline, ..
        } in started
        {
            let upstream = upstream_of(&wanted.path, &wanted.pipeline, bridge);
            known.insert(*pipeline, (now, upstream));
        }
    }

    /// What started a pipeline.
    pub(super) fn find(&self, pipeline: PipelineId) -> Option<Upstream> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&pipeline).map(|(_, upstream)| upstream.clone())
    }
}

/// A pipeline as the upstream of what its bridge started.
pub(super) fn upstream_of(path: &Text, pipeline: &Pipeline, bridge: &Text) -> Upstream {
    Upstream {
        pipeline: pipeline.id,
        project: path.clone(),
        git_ref: pipeline.git_ref.clone(),
        merge_request: pipeline.merge_request.clone(),
        bridge: bridge.clone(),
    }
}
