//! `collectors.environments` of some projects.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::config::values::Pattern;

/// The switch, the interval and the selection of environments for some projects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EnvironmentsOverride {
    /// Enable the collector; unset = as under `collectors`.
    pub enabled: Option<bool>,
    /// Polling interval in seconds; unset = as under `collectors`.
    #[serde(rename = "interval_seconds", with = "duration::optional_seconds")]
    #[schemars(schema_with = "duration::optional_seconds::schema")]
    pub interval: Option<Duration>,
    /// Regular expression that the name must match; unset = as under `collectors`.
    pub regexp: Option<Pattern>,
    /// Exclude stopped environments; unset = as under `collectors`.
    pub exclude_stopped: Option<bool>,
}

/// Which environments of a project are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvironmentSelection {
    /// Expression that the name matches.
    pub regexp: Pattern,
    /// Whether stopped ones are left out.
    pub exclude_stopped: bool,
}

impl EnvironmentSelection {
    /// Whether an environment of this name is watched.
    #[must_use]
    pub fn watches(&self, name: &str) -> bool {
        self.regexp.is_match(name)
    }
}
