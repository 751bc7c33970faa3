//! Runners that the token may see.

use super::labels::{RunnerInfoLabels, RunnerLabels};
use super::{Collector, CollectorDesc, Desc, Gauge, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Runners",
    about: "",
    role: "Maintainer; all of the instance: administrator",
    tier: "Free",
    requests: "administrators: one list; otherwise one query per 20 projects",
    queries: &[Query::Runners],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Runners,
        tier: Tier::Free,
        plan,
    }
}

/// Whether a runner is online.
pub static ONLINE: Gauge<RunnerLabels> = Gauge::new(spec(
    "age_runner_online",
    "",
    false,
    "Whether the runner has contacted GitLab within the last two hours: 1 yes, 0 no. With an \
     administrator's token all runners of the instance, otherwise those available to tracked projects \
     in which the token has the role Maintainer.",
))
.merged(Merge::Largest);

/// Whether a runner is paused.
pub static PAUSED: Gauge<RunnerLabels> = Gauge::new(spec(
    "age_runner_paused",
    "",
    false,
    "Whether the runner is paused and accepts no jobs: 1 yes, 0 no.",
))
.merged(Merge::Largest);

/// Last contact.
pub static CONTACTED_TIMESTAMP: Gauge<RunnerLabels> = Gauge::new(spec(
    "age_runner_contacted_timestamp",
    "s",
    false,
    "When the runner, or its most recent manager, last contacted GitLab, in seconds since the Unix \
     epoch; absent if never.",
))
.merged(Merge::Largest);

/// What GitLab knows about a runner.
pub static INFO: Gauge<RunnerInfoLabels> = Gauge::new(spec(
    "age_runner_info",
    "",
    false,
    "Always 1; the labels carry version, platform and architecture of the runner's managers, one \
     series per distinct combination, for the first 20 managers by GraphQL.",
))
.merged(Merge::Largest);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &ONLINE.desc,
    &PAUSED.desc,
    &CONTACTED_TIMESTAMP.desc,
    &INFO.desc,
];
