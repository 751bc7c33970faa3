//! The exporter's own configuration; entries of [`super::exporter`].

use super::labels::NoLabels;
use super::{Collector, Gauge, Spec};
use crate::types::Tier;

const fn spec(name: &'static str, unit: &'static str, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Exporter,
        tier: Tier::Free,
        plan: false,
    }
}

/// Whether the last reload worked.
pub static LAST_RELOAD_SUCCESSFUL: Gauge<NoLabels> = Gauge::new(spec(
    "age_config_last_reload_successful",
    "",
    "Whether the last attempt to load the configuration succeeded (1) or not (0). After a failure the \
     previous configuration still applies.",
));

/// When the configuration was last loaded.
pub static LAST_RELOAD_SUCCESS: Gauge<NoLabels> = Gauge::new(spec(
    "age_config_last_reload_success_timestamp_seconds",
    "s",
    "Time of the last successful load of the configuration, as a Unix timestamp.",
));
