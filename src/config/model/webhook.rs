//! The receiver of GitLab webhooks.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::listen::ListenAddresses;
use crate::config::values::{Secret, optional_text};

/// Receiver of GitLab webhooks. An event only says which project to read now; the values come from GitLab's
/// API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Webhook {
    /// Accept webhooks on `/webhook`. Requires a secret token or a signing token.
    pub enabled: bool,
    /// Separate address for `/webhook`, so that `/metrics` and the pages need not be reachable from GitLab;
    /// several are separated by commas. Empty = `server.listen_address`.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "optional-listen-addresses"))]
    pub listen_address: Option<ListenAddresses>,
    /// Secret token that GitLab sends with each webhook.
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    pub secret_token: Option<Secret>,
    /// File that contains the secret token; reloaded when a webhook has another token.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub secret_token_file: Option<PathBuf>,
    /// Further accepted secret tokens, for rotation.
    pub secret_tokens: Vec<Secret>,
    /// Accepted signing tokens (GitLab 19.0 and later), as shown by GitLab: `whsec_…`. A request with a valid
    /// signature needs no secret token.
    pub signing_tokens: Vec<Secret>,
    /// Accept webhooks without any secret. Anyone with access to the address can then cause additional reads of
    /// tracked projects, and nothing else.
    pub allow_unauthenticated: bool,
    /// Factor for the polling interval of reliable projects, whose last five changes were reported by events
    /// before a poll found them, up to `collectors.max_poll_interval`; 1 = poll normally. One change without an
    /// event restores the normal interval.
    #[schemars(range(min = 1, max = 1000))]
    pub poll_factor: u32,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            enabled: false,
            listen_address: None,
            secret_token: None,
            secret_token_file: None,
            secret_tokens: Vec::new(),
            signing_tokens: Vec::new(),
            allow_unauthenticated: false,
            poll_factor: 10,
        }
    }
}

impl Webhook {
    /// Every secret among the settings.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let tokens = self.secret_token.iter().chain(&self.secret_tokens);
        tokens.chain(&self.signing_tokens)
    }
}
