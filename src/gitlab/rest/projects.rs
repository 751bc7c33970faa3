//! Projects: one, or those of a group, a user, the instance.

use std::fmt;

use serde::Deserialize;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Known, Page, Project, Role};
use crate::types::ProjectId;

/// How a project is named in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectRef {
    /// By its id, which survives renames.
    Id(ProjectId),
    /// By its full path; the old path of a renamed project still leads to it.
    Path(String),
}

impl From<ProjectId> for ProjectRef {
    fn from(id: ProjectId) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for ProjectRef {
    fn from(path: &str) -> Self {
        Self::Path(path.to_owned())
    }
}

impl fmt::Display for ProjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Path(path) => path.fmt(f),
        }
    }
}

/// Which projects of a listing are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectFilter {
    /// Part of the name or path; empty for all.
    pub search: String,
    /// Only archived ones, only others, or (`None`) both.
    pub archived: Option<bool>,
    /// Only projects the token's user is a member of. Only for [`GitLab::all_projects`].
    pub membership: bool,
}

#[derive(Deserialize)]
pub(super) struct RestProject {
    id: u64,
    path_with_namespace: String,
    default_branch: Option<String>,
    #[serde(default)]
    archived: Option<bool>,
    last_activity_at: Option<String>,
    permissions: Option<Permissions>,
}

#[derive(Deserialize)]
struct Permissions {
    project_access: Option<Access>,
    group_access: Option<Access>,
}

#[derive(Deserialize)]
struct Access {
    access_level: u32,
}

impl TryFrom<RestProject> for Project {
    type Error = String;

    fn try_from(raw: RestProject) -> Result<Self, String> {
        // Both null is what an administrator sees, too: REST does not show the difference.
        let role = raw.permissions.and_then(|permissions| {
            let project = permissions.project_access.map(|access| access.access_level);
            let group = permissions.group_access.map(|access| access.access_level);
            project.max(group)
        });
        Ok(Self {
            id: ProjectId(raw.id),
            full_path: raw.path_with_namespace.into(),
            default_branch: match raw.default_branch.filter(|name| !name.is_empty()) {
                Some(name) => Known::Value(name.into()),
                None => Known::Nothing,
            },
            archived: raw.archived.unwrap_or(false),
            last_activity_at: raw
                .last_activity_at
                .and_then(|time| UnixSeconds::parse(&time).ok()),
            role: role.map_or(Known::Unread, |level| Known::Value(Role(level))),
        })
    }
}

impl ProjectFilter {
    fn apply(&self, get: Get) -> Get {
        let get = if self.search.is_empty() {
            get
        } else {
            get.with("search", &self.search)
        };
        get.maybe("archived", self.archived)
            .with("order_by", "id")
            .with("sort", "asc")
            .of_instance()
    }
}

impl GitLab {
    /// One project (`GET /projects/:id`).
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when it does not exist or the token may not see it.
    pub async fn project(&self, project: impl Into<ProjectRef>) -> Result<Project, GitLabError> {
        let project = project.into().to_string();
        let get = Get::new("/projects/:id", &["projects", &project]);
        self.get_one::<RestProject, _>(&get).await
    }

    /// All projects of a group, with or without its subgroups', without those shared with it
    /// (`GET /groups/:id/projects`).
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when the group does not exist or the token may not see it.
    pub async fn group_projects(
        &self,
        group: &str,
        include_subgroups: bool,
        filter: &ProjectFilter,
    ) -> Result<Page<Project>, GitLabError> {
        let get = Get::new("/groups/:id/projects", &["groups", group, "projects"])
            .with("include_subgroups", include_subgroups)
            .with("with_shared", false);
        self.get_all::<RestProject, _>(&filter.apply(get)).await
    }

    /// All projects that a user owns (`GET /users/:id/projects`).
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when there is no such user.
    pub async fn user_projects(
        &self,
        user: &str,
        filter: &ProjectFilter,
    ) -> Result<Page<Project>, GitLabError> {
        let get = Get::new("/users/:id/projects", &["users", user, "projects"]);
        self.get_all::<RestProject, _>(&filter.apply(get)).await
    }

    /// All projects that the token can see (`GET /projects`, keyset paging).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn all_projects(&self, filter: &ProjectFilter) -> Result<Page<Project>, GitLabError> {
        let mut get = Get::new("/projects", &["projects"]).with("pagination", "keyset");
        if filter.membership {
            get = get.with("membership", true);
        }
        self.get_all::<RestProject, _>(&filter.apply(get)).await
    }
}
