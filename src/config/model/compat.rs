//! Metrics under the names of another program.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Metrics of other exporters, for a migration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Compat {
    /// Export the metrics of gitlab-ci-pipelines-exporter (`gitlab_ci_*`) as well, from the same data and with
    /// its labels, so that its dashboards and alerts continue to work during a migration. Adds about as many
    /// series again. docs/migration.md lists the differences.
    pub gitlab_ci_metrics: bool,
}
