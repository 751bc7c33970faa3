//! The instance, the token, and whose it is.

use serde::Deserialize;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;

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
    /// Whether the user is an administrator; only administrators see the field.
    #[serde(default)]
    pub is_admin: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct RestToken {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<String>,
    expires_at: Option<String>,
    active: Option<bool>,
    granular: Option<bool>,
}

impl TryFrom<RestToken> for TokenInfo {
    type Error = String;

    fn try_from(raw: RestToken) -> Result<Self, String> {
        let expires_at = raw
            .expires_at
            .map(|date| {
                UnixSeconds::parse(&format!("{date}T00:00:00Z"))
                    .map_err(|_| "expires_at: not a date".to_owned())
            })
            .transpose()?;
        Ok(Self {
            name: raw.name,
            scopes: raw.scopes,
            expires_at,
            active: raw.active.unwrap_or(true),
            granular: raw.granular.unwrap_or(false),
        })
    }
}

impl GitLab {
    /// Version and edition, from `/version` where there is no `/metadata` (before GitLab 15.2).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn metadata(&self) -> Result<Metadata, GitLabError> {
        let get = Get::new("/metadata", &["metadata"]);
        match self.get_one::<Metadata, _>(&get).await {
            Err(error) if error.means_gone() => {
                self.get_one::<Metadata, _>(&Get::new("/version", &["version"]))
                    .await
            }
            other => other,
        }
    }

    /// Scopes and expiry of the token in use.
    ///
    /// # Errors
    /// Refused or not found for OAuth and job tokens.
    pub async fn token_self(&self) -> Result<TokenInfo, GitLabError> {
        let get = Get::new(
            "/personal_access_tokens/self",
            &["personal_access_tokens", "self"],
        );
        self.get_one::<RestToken, _>(&get).await
    }

    /// The token's user.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn current_user(&self) -> Result<CurrentUser, GitLabError> {
        self.get_one::<CurrentUser, _>(&Get::new("/user", &["user"]))
            .await
    }
}
