//! Value stream analytics: stages, lead time, cycle time.

use std::time::Duration;

use super::convert::gid;
use super::holes::ProjectHoles;
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{StageMedian, ValueStreams, sensible};
use crate::types::ProjectId;
use queries::flow_times::{self, FlowTimesProjectsNodes as FlowNode};
use queries::value_streams::{self, ValueStreamsProjectsNodes as StreamsNode};

/// Value streams of a project that are read.
const STREAMS: i64 = 5;
/// Flow metrics come in days.
const DAY_SECONDS: f64 = 86_400.0;

impl Messages for ValueStreams {}

/// Lead and cycle time of a project in seconds; `None` for a project whose licence or role hides
/// both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowTimes {
    /// The project.
    pub id: ProjectId,
    /// Whether GitLab showed the figures at all; they may still be empty.
    pub shown: bool,
    /// See [`ValueStreams::lead_time`].
    pub lead_time: Option<f64>,
    /// See [`ValueStreams::cycle_time`].
    pub cycle_time: Option<f64>,
}

impl Messages for FlowTimes {}

impl GitLab {
    /// Most projects in one query for value streams.
    pub const VALUE_STREAMS: usize = 10;

    /// Stages of the value streams of up to [`Self::VALUE_STREAMS`] projects, over the days that
    /// end with `now`.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn value_streams(
        &self,
        ids: &[ProjectId],
        period: Duration,
        now: UnixSeconds,
    ) -> Result<Batch<ValueStreams>, GitLabError> {
        let variables = value_streams::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            streams: STREAMS,
            timeframe: value_streams::Timeframe {
                start: day(now.minus(period)),
                end: day(now),
            },
        };
        self.over_projects::<queries::ValueStreams>(ids, variables)
            .await
    }

    /// Lead and cycle time of up to [`Self::VALUE_STREAMS`] projects; Enterprise Edition.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn flow_times(
        &self,
        ids: &[ProjectId],
        period: Duration,
        now: UnixSeconds,
    ) -> Result<Batch<FlowTimes>, GitLabError> {
        let variables = flow_times::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            from: now.minus(period).to_string(),
            to: now.to_string(),
        };
        self.over_projects::<queries::FlowTimes>(ids, variables)
            .await
    }
}

/// The UTC day of a time.
fn day(at: UnixSeconds) -> String {
    let text = at.to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

over_projects!(queries::ValueStreams, value_streams, StreamsNode => ValueStreams, stages);

fn stages(node: StreamsNode, _: ProjectHoles<'_>) -> Result<ValueStreams, String> {
    let streams = node.value_streams.map(|page| page.nodes);
    let stages = streams.map(|streams| {
        let streams = streams.into_iter().flatten().flatten();
        let stages = streams.flat_map(|stream| stream.stages.unwrap_or_default());
        let shown = stages.filter(|stage| !stage.hidden);
        shown
            .map(|stage| StageMedian {
                name: match stage.custom {
                    true => stage.name.into(),
                    false => stage.name.to_lowercase().into(),
                },
                median: sensible(stage.metrics.median.and_then(|median| median.value)),
            })
            .collect()
    });
    Ok(ValueStreams {
        id: ProjectId(gid("id", &node.id)?),
        stages,
        lead_time: None,
        cycle_time: None,
    })
}

over_projects!(queries::FlowTimes, flow_times, FlowNode => FlowTimes, flow);

fn flow(node: FlowNode, _: ProjectHoles<'_>) -> Result<FlowTimes, String> {
    let days = |value: Option<f64>| sensible(value).map(|days| days * DAY_SECONDS);
    let (lead, cycle) = match node.flow_metrics {
        Some(flow) => (flow.lead_time, flow.cycle_time),
        None => (None, None),
    };
    Ok(FlowTimes {
        id: ProjectId(gid("id", &node.id)?),
        shown: lead.is_some() || cycle.is_some(),
        lead_time: days(lead.and_then(|time| time.value)),
        cycle_time: days(cycle.and_then(|time| time.value)),
    })
}
