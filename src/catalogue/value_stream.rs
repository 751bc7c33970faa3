//! Value stream analytics.

use super::labels::{ProjectLabels, StageLabels};
use super::{Collector, CollectorDesc, Desc, Gauge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Value stream",
    about: "\
Medians, in seconds. GitLab's default stages are `issue`, `plan`, `code`, `test`, `review` and
`staging`.",
    role: "Reporter",
    tier: "Free; lead and cycle time: Premium",
    requests: "one query per 10 projects; with Premium a second one",
    queries: &[Query::ValueStreams, Query::FlowTimes],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::ValueStream,
        tier: Tier::Free,
        plan,
    }
}

/// Time in a stage.
pub static STAGE_DURATION: Gauge<StageLabels> = Gauge::new(spec(
    "age_value_stream_stage_duration_seconds",
    "s",
    true,
    "Median time that items spent in the stage over the last 30 days, without items still in it. \
     GitLab's default stages are issue, plan, code, test, review and staging; the Free tier has no \
     others.",
));

/// First commit to closing.
pub static CYCLE_TIME: Gauge<ProjectLabels> = Gauge::new(Spec {
    tier: Tier::Premium,
    ..spec(
        "age_value_stream_cycle_time_seconds",
        "s",
        true,
        "Median time from an issue's first mention in a commit to its closing, over the last \
         30 days.",
    )
});

/// Creation to closing.
pub static LEAD_TIME: Gauge<ProjectLabels> = Gauge::new(Spec {
    tier: Tier::Premium,
    ..spec(
        "age_value_stream_lead_time_seconds",
        "s",
        true,
        "Median time from an issue's creation to its closing, over the last 30 days.",
    )
});

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[&STAGE_DURATION.desc, &CYCLE_TIME.desc, &LEAD_TIME.desc];
