//! GitLab's own GraphQL subscriptions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// GitLab's own GraphQL subscriptions: GitLab reports changes of pipelines over a WebSocket connection that the
/// exporter opens with its token, so that they are shown within seconds without webhooks. An experimental
/// feature of GitLab 18.6 and later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Subscriptions {
    /// Subscribe to the pipelines of tracked projects. Reported changes are read immediately. Polling continues,
    /// less often for reliable projects, as with webhooks (`server.webhook.poll_factor`).
    pub enabled: bool,
    /// Maximum number of projects with a subscription: those with running pipelines first, then the most
    /// recently changed. Each uses up to 90 kB of GitLab's memory.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_projects: u32,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self {
            enabled: false,
            max_projects: 1000,
        }
    }
}
