//! The four DORA figures, by tier of environment.

use super::labels::{EnvironmentTierLabels, ProjectSourceLabels};
use super::{Collector, CollectorDesc, Desc, Gauge, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "DORA",
    about: "\
With Ultimate the values come from GitLab; otherwise they are computed by GitLab's definitions from
deployments, merge requests and incidents. `age_dora_source` shows which, and
`collectors.dora.source` selects it. Durations are medians in seconds, not means; the failure rate
is a ratio, not a percentage.

All values are over 30 calendar days, including today. Computed values use UTC days; GitLab uses the
time zone of the instance. Medians are medians of daily medians, per environment, as computed by
GitLab. A tier without a deployment has the frequency 0 and no lead time; a project without
deployments and incidents has no failure rate. A computed lead time is available once the merge
requests of every deployment are known, which takes several polls for hundreds of deployments. With
several production environments, a computed failure rate counts an incident once; GitLab may count
it for each of them.",
    role: "Reporter",
    tier: "Free; GitLab's own values: Ultimate",
    requests: "Ultimate: one query per 50 projects; otherwise a REST list of deployments after pipeline changes, and batched queries for their merge requests and for incidents",
    queries: &[Query::Dora],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Dora,
        tier: Tier::Free,
        plan,
    }
}

/// Deployments a day.
pub static DEPLOYMENT_FREQUENCY: Gauge<EnvironmentTierLabels> = Gauge::new(spec(
    "age_dora_deployment_frequency",
    "",
    true,
    "Successful deployments per day over the last 30 calendar days (UTC), including today.",
));

/// Merge to deployment.
pub static LEAD_TIME: Gauge<EnvironmentTierLabels> = Gauge::new(spec(
    "age_dora_lead_time_for_changes_seconds",
    "s",
    true,
    "Median time from the merge of a merge request to the end of the successful deployment that \
     shipped it, over the last 30 days: the median of the daily medians.",
));

/// Life of incidents.
pub static TIME_TO_RESTORE: Gauge<EnvironmentTierLabels> = Gauge::new(spec(
    "age_dora_time_to_restore_service_seconds",
    "s",
    true,
    "Median time from creation to closing of incidents closed in the last 30 days: the median of \
     the daily medians. Production only.",
));

/// Incidents per deployment.
pub static CHANGE_FAILURE_RATE: Gauge<EnvironmentTierLabels> = Gauge::new(spec(
    "age_dora_change_failure_rate",
    "",
    true,
    "Incidents created in the last 30 days, without duplicates, per successful deployment; the ratio \
     can exceed 1. Production only.",
));

/// Where the figures come from.
pub static SOURCE: Gauge<ProjectSourceLabels> = Gauge::new(spec(
    "age_dora_source",
    "",
    false,
    "Always 1; the label source shows where the project's DORA metrics come from: from GitLab \
     (gitlab, needs Ultimate) or computed by the same definitions from deployments, merge requests \
     and incidents (computed).",
))
.merged(Merge::Largest);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &DEPLOYMENT_FREQUENCY.desc,
    &LEAD_TIME.desc,
    &TIME_TO_RESTORE.desc,
    &CHANGE_FAILURE_RATE.desc,
    &SOURCE.desc,
];
