//! Vulnerabilities.

use super::labels::SeverityLabels;
use super::{Collector, CollectorDesc, Desc, Gauge, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Security",
    about: "",
    role: "Developer",
    tier: "Ultimate",
    requests: "one query per 50 projects",
    queries: &[Query::Vulnerabilities],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Security,
        tier: Tier::Ultimate,
        plan,
    }
}

/// Open vulnerabilities.
pub static VULNERABILITY_COUNT: Gauge<SeverityLabels> = Gauge::new(spec(
    "age_vulnerability_count",
    "",
    false,
    "Vulnerabilities of the default branch that are detected or confirmed, by severity: \
     critical, high, medium, low, info or unknown.",
))
.merged(Merge::Sum);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[&VULNERABILITY_COUNT.desc];
