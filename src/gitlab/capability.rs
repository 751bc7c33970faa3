//! What this token can see: version, edition, tier, scopes, roles.
//!
//! Tier is kept per project: on GitLab.com it belongs to the top-level group. Emptiness may be a
//! missing role, so what a role hides is said here once, for `check`, `/ready` and the status
//! page alike.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::GitLab;
use super::error::GitLabError;
use super::grants;
use super::graphql::batch::NotRead;
use super::graphql::{Batch, FailedProject, ProjectTier};
use super::model::Known;
use super::model::{CurrentUser, Metadata, TokenInfo};
use crate::clock::UnixSeconds;
use crate::types::{ProjectId, Tier};

/// Community or Enterprise Edition. The latter says nothing about the licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    /// Community Edition: always Free, and its GraphQL schema lacks all that is not.
    Community,
    /// Enterprise Edition.
    Enterprise,
}

impl Edition {
    /// GitLab's usual abbreviation: `CE`, `EE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Community => "CE",
            Self::Enterprise => "EE",
        }
    }
}

/// A GitLab instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Version as GitLab writes it: `19.3.0-ee`.
    pub version: String,
    /// Major and minor number; (0, 0) when the version is no version.
    pub release: (u32, u32),
    /// Short commit hash.
    pub revision: String,
    /// Edition.
    pub edition: Edition,
}

impl From<Metadata> for Instance {
    fn from(metadata: Metadata) -> Self {
        let mut numbers = metadata
            .version
            .split(|c: char| !c.is_ascii_digit())
            .map(|number| number.parse().unwrap_or(0));
        let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        // Before 15.6 only the version's ending shows the edition.
        let enterprise = metadata
            .enterprise
            .unwrap_or_else(|| metadata.version.ends_with("-ee"));
        Self {
            edition: if enterprise {
                Edition::Enterprise
            } else {
                Edition::Community
            },
            release,
            version: metadata.version,
            revision: metadata.revision,
        }
    }
}

impl Instance {
    /// Whether the instance is this release or a later one.
    #[must_use]
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        self.release >= (major, minor)
    }
}

/// What is known about the token and its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenState {
    /// Scopes and expiry; unread for OAuth and job tokens, which cannot ask.
    pub token: Known<TokenInfo>,
    /// The user; unread where the scope does not reach it.
    pub user: Known<CurrentUser>,
}

/// Something about the token that a person should fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the exporter cannot work with it.
    pub fatal: bool,
    /// A sentence that says what to do.
    pub text: String,
}

impl TokenState {
    /// Seconds until the token expires; `None` when it never does, or when that is unknown.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixSeconds> {
        self.token.as_ref().value()?.expires_at
    }

    /// What is wrong with the token at `now`, the worst first.
    #[must_use]
    pub fn findings(&self, now: UnixSeconds) -> Vec<Finding> {
        let Some(token) = self.token.as_ref().value() else {
            return Vec::new();
        };
        let mut findings = Vec::new();
        let mut find = |fatal, text: String| findings.push(Finding { fatal, text });
        if !token.active {
            find(
                true,
                "the token is revoked or expired; create a new one".into(),
            );
        }
        let reads = token
            .scopes
            .iter()
            .any(|scope| matches!(scope.as_str(), "api" | "read_api"));
        if !reads && !token.granular {
            find(
                true,
                format!(
                    "the token lacks the scope read_api (it has: {})",
                    token.scopes.join(", ")
                ),
            );
        }
        if token.scopes.iter().any(|scope| scope == "api") {
            find(
                false,
                "the token may write (scope api); read_api is enough".into(),
            );
        }
        if let Some(expiry) = token.expires_at.filter(|_| token.active) {
            let days = expiry.since(now).as_secs() / 86_400;
            if days < EXPIRES_SOON_DAYS {
                find(false, format!("the token expires in {days} days"));
            }
        }
        findings
    }
}

/// Days before a token's end from which it is worth a word.
const EXPIRES_SOON_DAYS: u64 = 14;

impl GitLab {
    /// Version and edition.
    ///
    /// # Errors
    /// Those of any call: the first thing that fails when address or token are wrong.
    pub async fn instance(&self) -> Result<Instance, GitLabError> {
        let instance = Instance::from(self.metadata().await?);
        let gaps = &self.shared.gaps;
        gaps.version_is(&instance.version, instance.release);
        self.granted(grants::METADATA);
        Ok(instance)
    }

    /// Scopes, expiry and user of the token, as far as it may ask.
    ///
    /// # Errors
    /// When GitLab cannot be reached or refuses the token altogether.
    pub async fn token_state(&self) -> Result<TokenState, GitLabError> {
        let token = self.if_allowed(self.token_self().await)?;
        if let Known::Value(token) = &token {
            self.note_kind_of_token(token.granular);
            self.granted(grants::TOKEN);
        }
        let user = self.if_allowed(self.current_user().await)?;
        if matches!(user, Known::Value(_)) {
            self.granted(grants::USER);
        }
        Ok(TokenState { token, user })
    }

    fn if_allowed<T>(&self, result: Result<T, GitLabError>) -> Result<Known<T>, GitLabError> {
        match result {
            Ok(value) => Ok(Known::Value(value)),
            Err(error) if matches!(error.status(), Some(400 | 403 | 404 | 405)) => {
                Ok(Known::Unread)
            }
            Err(error) => Err(error),
        }
    }

    /// Tiers of projects. Community Edition is Free without asking; without GraphQL the tier stays
    /// unread, and the setting `gitlab.tier` gives it.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn project_tiers(
        &self,
        ids: &[ProjectId],
        instance: &Instance,
        now: UnixSeconds,
    ) -> Result<Batch<ProjectTier>, Arc<GitLabError>> {
        if instance.edition == Edition::Community {
            return Ok(all(ids, Known::Value(Tier::Free)));
        }
        if !self.uses_graphql() {
            return Ok(all(ids, Known::Unread));
        }
        let read = self.shared.tiers.ask(
            ids,
            now,
            |found: &ProjectTier| found.id,
            async |ids: Vec<ProjectId>| self.tiers_of(&ids, instance, now).await,
        );
        let mut batch = Batch {
            items: Vec::new(),
            failed: Vec::new(),
            bytes: 0,
            server_time: Duration::ZERO,
        };
        let mut failure = None;
        for (id, read) in read.await {
            match read {
                Ok(tier) => batch.items.push(tier),
                Err(NotRead::NotFound) => {}
                Err(NotRead::Partial(why) | NotRead::TooMuch(why, _)) => {
                    batch.failed.push(failed(id, why));
                }
                Err(NotRead::Failed(error)) => {
                    let why = error.to_string();
                    batch.failed.push(failed(id, why));
                    failure = Some(error);
                }
            }
        }
        match failure {
            Some(error) if batch.failed.len() == ids.len() => Err(error),
            _ => Ok(batch),
        }
    }

    async fn tiers_of(
        &self,
        ids: &[ProjectId],
        instance: &Instance,
        now: UnixSeconds,
    ) -> Result<Batch<ProjectTier>, GitLabError> {
        if instance.at_least(18, 11) {
            match self.licensed_tiers(ids).await {
                // The field is an experiment and may go as it came.
                Err(error) if error.kind() == "graphql_schema" => {}
                result => return result,
            }
        }
        self.probed_tiers(ids, now).await
    }
}

const fn failed(id: ProjectId, why: String) -> FailedProject {
    FailedProject {
        id,
        why,
        too_much: None,
    }
}

fn all(ids: &[ProjectId], tier: Known<Tier>) -> Batch<ProjectTier> {
    Batch {
        items: ids.iter().map(|&id| ProjectTier { id, tier }).collect(),
        failed: Vec::new(),
        bytes: 0,
        server_time: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests;
