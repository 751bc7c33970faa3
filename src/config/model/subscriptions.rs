//! GitLab's own GraphQL subscriptions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// GitLab's own GraphQL subscriptions, so that a pipeline's change is shown within seconds without webhooks: a
/// WebSocket connection from here to GitLab, with the same token. Experimental at GitLab, which has them from
/// 18.6 on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Subscriptions {
    /// Subscribe to the pipelines of tracked projects. What is announced is read at once; polling goes on, and
    /// becomes rarer as with webhooks (`server.webhook.poll_factor`).
    pub enabled: bool,
    /// Projects to subscribe to at most, those with running pipelines and the most recently moved first. Each
    /// takes GitLab up to 90 kB of memory.
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
