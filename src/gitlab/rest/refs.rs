//! Branches and tags.

use serde::Deserialize;

use super::Get;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{GitRef, Page};
use crate::types::ProjectId;

#[derive(Deserialize)]
pub(super) struct RestRef {
    name: String,
}

impl TryFrom<RestRef> for GitRef {
    type Error = String;

    fn try_from(raw: RestRef) -> Result<Self, String> {
        if raw.name.is_empty() {
            return Err("name: empty".to_owned());
        }
        Ok(Self {
            name: raw.name.into(),
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
