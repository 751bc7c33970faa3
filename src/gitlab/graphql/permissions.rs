//! What the token may read of projects.

use super::convert::gid;
use super::holes::ProjectHoles;
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Known, Permissions, Role};
use crate::types::ProjectId;
use queries::project_permissions::{self, ProjectPermissionsProjectsNodes as Node};

/// A project, and what the token may read of it.
pub type ProjectPermissions = (ProjectId, Permissions);

impl Messages for ProjectPermissions {}

impl GitLab {
    /// Most projects in one query for permissions.
    pub const PERMISSION_PROJECTS: usize = 100;

    /// What the token may read of up to [`Self::PERMISSION_PROJECTS`] projects.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch: all of
    /// them for a fine-grained token.
    pub async fn permissions(
        &self,
        ids: &[ProjectId],
    ) -> Result<Batch<ProjectPermissions>, GitLabError> {
        let variables = project_permissions::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
        };
        self.over_projects::<queries::ProjectPermissions>(ids, variables)
            .await
    }
}

over_projects!(queries::ProjectPermissions, project_permissions, Node => ProjectPermissions, convert);

fn convert(node: Node, _: ProjectHoles<'_>) -> Result<ProjectPermissions, String> {
    let id = ProjectId(gid("id", &node.id)?);
    let level = node.max_access_level.and_then(|level| level.integer_value);
    let role = level.and_then(|level| u32::try_from(level).ok()).map(Role);
    // Left out where the token may not ask for it.
    let Some(may) = node.user_permissions else {
        return Ok((id, Permissions::default()));
    };
    let permissions = Permissions {
        role: role.map_or(Known::Unread, Known::Value),
        admin: Known::Value(may.admin_project),
        code: Known::Value(may.download_code),
        analytics: Known::Value(may.read_cycle_analytics),
        environments: may.read_environment.map_or(Known::Unread, Known::Value),
        merge_requests: Known::Value(may.read_merge_request),
    };
    Ok((id, permissions))
}
