//! The receiver of GitLab webhooks.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::listen::ListenAddresses;
use crate::config::values::{Secret, optional_text};

/// The receiver of GitLab webhooks. An event only says which project to read now: the numbers are GitLab's
/// answers to the reads that follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Webhook {
    /// Receive webhooks under `/webhook`. Needs a secret token or a signing token.
    pub enabled: bool,
    /// Address on which `/webhook` alone is answered, with connections of its own, so that `/metrics` and the
    /// pages need not be reachable from GitLab; several are separated by commas. Empty =
    /// `server.listen_address`.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "optional-listen-addresses"))]
    pub listen_address: Option<ListenAddresses>,
    /// The secret token that GitLab sends with each webhook.
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    pub secret_token: Option<Secret>,
    /// File that holds the secret token. It is read again when a webhook comes with another.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub secret_token_file: Option<PathBuf>,
    /// More secret tokens, each as good as the first: the old and the new one during a rotation.
    pub secret_tokens: Vec<Secret>,
    /// Signing tokens (GitLab 19.0 and later), as GitLab shows them: `whsec_…`. A request with a valid
    /// signature needs no secret token.
    pub signing_tokens: Vec<Secret>,
    /// Accept webhooks from everybody, without any secret. Whoever reaches the address can then have tracked
    /// projects read more often, and nothing else.
    pub allow_unauthenticated: bool,
    /// A project whose last five changes were announced before a poll found them is polled at so many
    /// intervals, up to `collectors.max_poll_interval`; 1 = as often as the others. One change that was not
    /// announced ends it.
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
