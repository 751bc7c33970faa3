//! The instance, the token, and whose it is.

use serde::Deserialize;

use crate::clock::UnixSeconds;

/// Version and edition (`GET /metadata`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// Version as GitLab writes it: `19.3.0-ee`.
    pub version: String,
    /// Short commit hash.
    #[serde(default)]
    pub revision: String,
    /// Enterprise edition, whatever its licence; `None` before GitLab 15.6.
    #[serde(default)]
    pub enterprise: Option<bool>,
}

/// The token in use (`GET /personal_access_tokens/self`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// The name its owner gave it.
    pub name: String,
    /// Its scopes: `read_api`, `api`, …
    pub scopes: Vec<String>,
    /// Midnight (UTC) at which it stops working; `None` when it never does.
    pub expires_at: Option<UnixSeconds>,
    /// Whether it is neither revoked nor expired.
    pub active: bool,
    /// Whether it is fine-grained, that is bound to chosen permissions instead of scopes.
    pub granular: bool,
}

/// The token's user (`GET /user`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CurrentUser {
    /// Unique id.
    pub id: u64,
    /// User name; project and group tokens have bot users.
    pub username: String,
}
