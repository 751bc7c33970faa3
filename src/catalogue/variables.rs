//! Variables of pipelines.

use super::labels::VariableLabels;
use super::{Collector, CollectorDesc, Desc, Gauge, Merge, Spec};
use crate::types::Tier;

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Variables",
    about: "",
    role: "Maintainer",
    tier: "Free",
    requests: "one query per 40 new pipelines with a state; one REST request per pipeline with a matching variable",
    queries: &[],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Variables,
        tier: Tier::Free,
        plan,
    }
}

/// A variable.
pub static INFO: Gauge<VariableLabels> = Gauge::new(spec(
    "age_pipeline_variable_info",
    "",
    false,
    "Always 1; the labels carry key and value of a variable that the newest pipeline of the ref was \
     started with. Only keys that match collectors.variables.regexp, no files, and the first 256 \
     characters of a value. Needs Maintainer and collectors.pipelines.",
))
.merged(Merge::Largest);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[&INFO.desc];
