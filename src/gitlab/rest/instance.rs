//! The instance, the token, and whose it is.

use serde::Deserialize;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{CurrentUser, Metadata, TokenInfo};
use crate::types::ProjectId;

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
            Err(error) if error.is_not_found() => {
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

    /// Asks for one item of a project's list, or for the project, and leaves the answer unread.
    pub(in crate::gitlab) async fn try_list(
        &self,
        project: ProjectId,
        endpoint: &'static str,
        path: &[&str],
    ) -> Result<(), GitLabError> {
        let project = project.to_string();
        let segments = [&["projects", &project], path].concat();
        self.get(&Get::new(endpoint, &segments), None, Some(1))
            .await
            .map(drop)
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
