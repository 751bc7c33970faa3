//! Branches and tags.

use serde::Deserialize;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::Page;
use crate::types::{ProjectId, Text};

/// A branch or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitRef {
    /// Its name, without `refs/heads/` or `refs/tags/`.
    pub name: Text,
    /// When its commit was made.
    pub committed_at: Option<UnixSeconds>,
    /// Whether it is the default branch.
    pub default: bool,
}

#[derive(Deserialize)]
pub(super) struct RestRef {
    name: String,
    commit: Option<Commit>,
    #[serde(default)]
    default: Option<bool>,
}

#[derive(Deserialize)]
struct Commit {
    committed_date: Option<String>,
}

impl TryFrom<RestRef> for GitRef {
    type Error = String;

    fn try_from(raw: RestRef) -> Result<Self, String> {
        if raw.name.is_empty() {
            return Err("name: empty".to_owned());
        }
        Ok(Self {
            name: raw.name.into(),
            committed_at: raw
                .commit
                .and_then(|commit| commit.committed_date)
                .and_then(|time| UnixSeconds::parse(&time).ok()),
            default: raw.default.unwrap_or(false),
        })
    }
}

impl GitLab {
    /// All branches (`GET /projects/:id/repository/branches`).
    ///
    /// # Errors
    /// Those of any call; 404 also where the project has no repository.
    pub async fn branches(&self, project: ProjectId) -> Result<Page<GitRef>, GitLabError> {
        let get = Get::new(
            "/projects/:id/repository/branches",
            &["projects", &project.to_string(), "repository", "branches"],
        );
        self.get_all::<RestRef, _>(&get).await
    }

    /// All tags (`GET /projects/:id/repository/tags`).
    ///
    /// # Errors
    /// Those of any call; 404 also where the project has no repository.
    pub async fn tags(&self, project: ProjectId) -> Result<Page<GitRef>, GitLabError> {
        let get = Get::new(
            "/projects/:id/repository/tags",
            &["projects", &project.to_string(), "repository", "tags"],
        );
        self.get_all::<RestRef, _>(&get).await
    }
}
