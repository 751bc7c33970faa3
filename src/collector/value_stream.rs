//! `value_stream`: how long items take through the stages, and issues from end to end.

use std::collections::BTreeSet;

use super::Measured;
use crate::catalogue::labels::{ProjectLabels, StageLabels};
use crate::catalogue::value_stream as metric;
use crate::gitlab::model::ValueStreams;
use crate::memory::Subject;

/// Measures a project's value streams. Where two streams have a stage of the same name, the first
/// one's is shown.
#[must_use]
pub fn measure(subject: Subject<'_>, found: &ValueStreams) -> Measured {
    let mut out = Measured::default();
    let mut taken = BTreeSet::new();
    for stage in found.stages.iter().flatten() {
        if !taken.insert(&stage.name) {
            continue;
        }
        let labels = StageLabels {
            project: subject.project.clone(),
            stage_name: stage.name.clone(),
        };
        let median = stage.median;
        out.states
            .extend(median.map(|median| metric::STAGE_DURATION.set(labels, median)));
    }
    let all = [
        (&metric::LEAD_TIME, found.lead_time),
        (&metric::CYCLE_TIME, found.cycle_time),
    ];
    for (metric, value) in all {
        let labels = ProjectLabels {
            project: subject.project.clone(),
        };
        out.states
            .extend(value.map(|value| metric.set(labels, value)));
    }
    out
}
