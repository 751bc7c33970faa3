//! Projects: one, or those of a group, a user, the instance.

use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Attributes, Features, Known, Owner, Page, Project, Role};
use crate::types::{ProjectId, Text};

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
    marked_for_deletion_on: Option<String>,
    /// Its name before GitLab 16.
    marked_for_deletion_at: Option<String>,
    last_activity_at: Option<String>,
    permissions: Option<Permissions>,
    /// Its name before GitLab 19: `public_builds`.
    #[serde(alias = "public_builds")]
    public_jobs: Option<bool>,
    builds_access_level: Option<String>,
    merge_requests_access_level: Option<String>,
    topics: Option<Vec<Text>>,
    forked_from_project: Option<IgnoredAny>,
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

/// Whether a feature is on for anybody.
fn is_on(access_level: Option<&str>) -> Known<bool> {
    access_level.map_or(Known::Unread, |level| Known::Value(level != "disabled"))
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
            is_scheduled_for_deletion: raw
                .marked_for_deletion_on
                .or(raw.marked_for_deletion_at)
                .is_some(),
            last_activity_at: raw
                .last_activity_at
                .and_then(|time| UnixSeconds::parse(&time).ok()),
            role: role.map_or(Known::Unread, |level| Known::Value(Role(level))),
            features: Features {
                public_jobs: raw.public_jobs.map_or(Known::Unread, Known::Value),
                jobs: is_on(raw.builds_access_level.as_deref()),
                merge_requests: is_on(raw.merge_requests_access_level.as_deref()),
            },
            attributes: Attributes {
                topics: raw.topics.map_or(Known::Unread, Known::Value),
                is_fork: Known::Value(raw.forked_from_project.is_some()),
            },
        })
    }
}

#[derive(Deserialize)]
struct RestGroup {
    id: u64,
    full_path: String,
}

impl TryFrom<RestGroup> for Owner {
    type Error = String;

    fn try_from(raw: RestGroup) -> Result<Self, String> {
        Ok(Self {
            id: raw.id,
            path: raw.full_path.into(),
        })
    }
}

#[derive(Deserialize)]
struct RestUser {
    id: u64,
    username: String,
}

impl TryFrom<RestUser> for Owner {
    type Error = String;

    fn try_from(raw: RestUser) -> Result<Self, String> {
        Ok(Self {
            id: raw.id,
            path: raw.username.into(),
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

    /// A group by its id or full path (`GET /groups/:id`). GitLab does not redirect a path that it had
    /// before.
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when it does not exist or the token may not see it.
    pub async fn group(&self, group: &str) -> Result<Owner, GitLabError> {
        let get = Get::new("/groups/:id", &["groups", group]).with("with_projects", false);
        self.get_one::<RestGroup, _>(&get).await
    }

    /// A user by name (`GET /users`); none where there is no such user.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn user(&self, name: &str) -> Result<Option<Owner>, GitLabError> {
        let get = Get::new("/users", &["users"]).with("username", name);
        let page = self.get_first::<RestUser, Owner>(&get).await?;
        Ok(page.items.into_iter().next())
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
