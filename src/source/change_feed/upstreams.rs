//! What started which downstream pipeline, learned from the upstream side.
//!
//! GraphQL tells a downstream pipeline's upstream; REST tells only a bridge's downstream. What
//! was read of upstream pipelines is kept here for the projects that the downstream ones run in.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::{Place, Started, lock};
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Pipeline, PipelineId, Text, Upstream};

/// How long it is kept: a downstream pipeline is looked at long before.
const KEPT: Duration = Duration::from_secs(6 * 3600);

/// What started which pipeline.
#[derive(Debug, Default)]
pub(super) struct Upstreams(Mutex<HashMap<PipelineId, (UnixSeconds, Upstream)>>);

impl Upstreams {
    /// Takes in the downstream pipelines of a pipeline of the project at `place`.
    pub(super) fn learn(
        &self,
        place: &Place,
        upstream: &Pipeline,
        started: &[Started],
        now: UnixSeconds,
    ) {
        if started.is_empty() {
            return;
        }
        let mut known = lock(&self.0);
        known.retain(|_, (at, _)| now.since(*at) < KEPT);
        for Started {
            bridge, pipeline, ..
        } in started
        {
            known.insert(*pipeline, (now, upstream_of(place, upstream, bridge)));
        }
    }

    /// What started a pipeline.
    pub(super) fn find(&self, pipeline: PipelineId) -> Option<Upstream> {
        lock(&self.0)
            .get(&pipeline)
            .map(|(_, upstream)| upstream.clone())
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
