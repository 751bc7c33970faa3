//! What a token may besides its user's role: scopes, and the permissions of fine-grained tokens.

use super::{ApiError, Call};
use crate::access::Right;
use crate::world::{Project, Visibility, World};

/// Scopes that an endpoint takes besides those of the whole API, and how it names all it takes.
pub(super) fn scopes(path: &str) -> (&'static [&'static str], &'static str) {
    const ANY: &[&str] = &[
        "read_user",
        "read_repository",
        "write_repository",
        "ai_features",
        "ai_workflows",
        "self_rotate",
    ];
    const USER: &[&str] = &["read_user", "ai_workflows"];
    const METADATA: &[&str] = &["read_user", "ai_features", "ai_workflows"];
    const PROJECTS: &[&str] = &["ai_workflows"];
    let path = path.strip_prefix("/api/v4").unwrap_or(path);
    match path {
        // A token may always read its own record.
        "/personal_access_tokens/self" => (ANY, "api read_api"),
        "/user" => (USER, "read_user ai_workflows api read_api"),
        "/metadata" | "/version" => (METADATA, "read_user ai_features ai_workflows api read_api"),
        // One pipeline.
        _ if path.starts_with("/projects/") && is_below(path, "pipelines", 2) => {
            (PROJECTS, "mcp mcp mcp ai_workflows api read_api")
        }
        _ if path.starts_with("/projects") && !path.contains("/dora/") => {
            (PROJECTS, "ai_workflows api read_api")
        }
        _ => (&[], "api read_api"),
    }
}

/// Whether a path is a project's, its next part is this, and has so many parts from there on.
fn is_below(path: &str, name: &str, parts: usize) -> bool {
    let mut rest = path.split('/').skip(3);
    rest.next() == Some(name) && 1 + rest.count() == parts
}

/// Whether the project is looked for before it is asked what the token may: so a missing one is not found.
pub(super) fn looks_for_project(path: &str) -> bool {
    let path = path.strip_prefix("/api/v4").unwrap_or(path);
    path.starts_with("/projects/") && is_below(path, "pipelines", 1)
}

/// The permission that GitLab wants for this of a project, and its name for people. `None`: no more than
/// that of the project.
fn permission(right: Right, endpoint: &str) -> Option<(&'static str, &'static str)> {
    Some(match right {
        Right::Pipelines if endpoint.contains("/jobs") || endpoint.contains("/bridges") => {
            ("read_job", "Job")
        }
        Right::Pipelines | Right::Variables => ("read_pipeline", "Pipeline"),
        Right::Schedules => ("read_pipeline_schedule", "Pipeline Schedule"),
        Right::Environments => ("read_environment", "Environment"),
        Right::Deployments => ("read_deployment", "Deployment"),
        Right::MergeRequests => ("read_merge_request", "Merge Request"),
        Right::Code if endpoint.ends_with("/branches") => ("read_branch", "Branch"),
        Right::Code if endpoint.ends_with("/tags") => ("read_repository_tag", "Repository Tag"),
        Right::Code if endpoint.contains("/commits") => ("read_commit", "Commit"),
        Right::Code => ("read_repository", "Repository"),
        Right::Runners => ("read_runner", "Runner"),
        Right::Releases => ("read_release", "Release"),
        Right::Issues => ("read_work_item", "Work Item"),
        Right::Statistics | Right::Analytics => return None,
    })
}

impl Call {
    /// Whether a fine-grained token asks.
    pub(super) fn is_granular(&self) -> bool {
        let token = self.viewer.token.as_ref();
        token.is_some_and(|token| token.grants.is_some())
    }

    /// The permissions that a fine-grained token has in a project; `None` for every other token.
    fn grants_in(
        &self,
        world: &World,
        project: &Project,
    ) -> Option<Option<&std::collections::BTreeSet<String>>> {
        let grants = self.viewer.token.as_ref()?.grants.as_ref()?;
        let top = world.group_by_path(project.top_level());
        Some(top.and_then(|group| grants.groups.get(&group.id)))
    }

    /// A project outside the groups of a fine-grained token does not exist for it.
    pub(super) fn within_grants(&self, world: &World, project: &Project) -> Result<(), ApiError> {
        match self.grants_in(world, project) {
            Some(None) => Err(ApiError::NotFound("404 Not Found")),
            _ => Ok(()),
        }
    }

    /// The permission of a fine-grained token for this of a project. What everybody sees of a public
    /// project needs none.
    pub(super) fn granted(
        &self,
        world: &World,
        project: &Project,
        right: Right,
    ) -> Result<(), ApiError> {
        let Some(Some(permissions)) = self.grants_in(world, project) else {
            return Ok(());
        };
        let endpoint = self.request.match_pattern().unwrap_or_default();
        let open = matches!(
            right,
            Right::Code | Right::Schedules | Right::Issues | Right::Releases | Right::Pipelines
        );
        if project.visibility == Visibility::Public && open {
            return Ok(());
        }
        match permission(right, &endpoint) {
            Some((wanted, name)) if !permissions.contains(wanted) => Err(ApiError::NotGranted(
                format!("project permissions: [{name}: Read]"),
            )),
            _ => Ok(()),
        }
    }

    /// The permission of a fine-grained token over the user's own things.
    pub(super) fn granted_of_user(&self, wanted: &str, name: &str) -> Result<(), ApiError> {
        let token = self.viewer.token.as_ref();
        match token.and_then(|token| token.grants.as_ref()) {
            Some(grants) if !grants.user.contains(wanted) => Err(ApiError::NotGranted(format!(
                "user permissions: [{name}: Read]"
            ))),
            _ => Ok(()),
        }
    }

    /// The permission of a fine-grained token over the instance.
    pub(super) fn granted_of_instance(&self, wanted: &str, name: &str) -> Result<(), ApiError> {
        let token = self.viewer.token.as_ref();
        match token.and_then(|token| token.grants.as_ref()) {
            Some(grants) if !grants.instance.contains(wanted) => Err(ApiError::NotGranted(
                format!("instance permissions: [{name}: Read]"),
            )),
            _ => Ok(()),
        }
    }
}
