//! Projects.

use serde_json::{Map, Value, json};

use super::{View, at};
use crate::access::Right;
use crate::auth::AccessLevel;
use crate::time;
use crate::world::{Feature, Project};

impl View<'_> {
    /// The name of a project with those of the groups above.
    pub fn name_with_namespace(&self, project: &Project) -> String {
        let mut above: Vec<String> = Vec::new();
        let namespace = project.namespace();
        let mut path = String::new();
        for part in namespace.split('/') {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
            above.push(self.namespace_name(&path, part));
        }
        above.push(project.name().to_owned());
        above.join(" / ")
    }

    fn namespace_name(&self, path: &str, part: &str) -> String {
        let group = self.world.group_by_path(path);
        if let Some(name) = group.and_then(|group| group.name.clone()) {
            return name.to_string();
        }
        match self.world.user(part) {
            Some(user) if group.is_none() => self.world.account(user).name.to_string(),
            _ => part.to_owned(),
        }
    }

    fn namespace(&self, project: &Project) -> Value {
        let full_path = project.namespace();
        let path = full_path.rsplit('/').next().unwrap_or_default();
        let group = project.group_id.and_then(|id| self.world.group(id));
        let kind = if group.is_some() { "group" } else { "user" };
        let web = if group.is_some() { "/groups" } else { "" };
        let id = project.group_id.or(project.settings.namespace_id);
        json!({
            "id": id.unwrap_or(1),
            "name": self.namespace_name(full_path, path),
            "path": path,
            "kind": kind,
            "full_path": full_path,
            "parent_id": group.and_then(|group| group.parent_id),
            "avatar_url": null,
            "web_url": format!("{}{web}/{full_path}", self.base_url),
        })
    }

    /// A project; `simple` leaves most out.
    pub fn project(&self, project: &Project, simple: bool) -> Value {
        let (path, base_url) = (&project.full_path, self.base_url);
        let code = self.world.code(project.id);
        let mut value = json!({
            "id": project.id,
            "description": null,
            "name": project.name(),
            "name_with_namespace": self.name_with_namespace(project),
            "path": project.path(),
            "path_with_namespace": &**path,
            "created_at": at(project.created_at),
            "tag_list": [],
            "topics": project.settings.topics.iter().map(|topic| &**topic).collect::<Vec<_>>(),
            "ssh_url_to_repo": format!("git@gitlab.example.com:{path}.git"),
            "http_url_to_repo": format!("{base_url}/{path}.git"),
            "web_url": format!("{base_url}/{path}"),
            "avatar_url": null,
            "star_count": code.map_or(0, |code| code.stars),
            "last_activity_at": at(project.last_activity_at),
            "visibility": project.visibility.as_str(),
            "namespace": self.namespace(project),
        });
        let Some(fields) = value.as_object_mut() else {
            return value;
        };
        if self.viewer.may(project, Right::Code) {
            let branch = project.default_branch.as_deref();
            let shown = branch.or(project.settings.repository_missing.then_some("main"));
            fields.insert("default_branch".into(), shown.into());
            fields.insert("readme_url".into(), Value::Null);
            let forks = code.map_or(0, |code| code.forks);
            fields.insert("forks_count".into(), forks.into());
        }
        let original = project.settings.forked_from.filter(|_| !simple);
        if let Some(original) = original.and_then(|id| self.world.project(id)) {
            fields.insert("forked_from_project".into(), self.project(original, true));
        }
        if !simple {
            self.add_settings(project, fields);
        }
        value
    }

    fn add_settings(&self, project: &Project, fields: &mut Map<String, Value>) {
        let settings = &project.settings;
        let on = |feature: Feature| feature != Feature::Disabled;
        let deletion = settings.deletion_asked_at.map(time::date);
        let code = self.world.code(project.id);
        let open = code.map_or(0, |code| {
            let issues = code.issues.iter();
            issues.filter(|issue| issue.closed_at.is_none()).count()
        });
        let more = json!({
            "marked_for_deletion_at": deletion,
            "marked_for_deletion_on": deletion,
            "archived": project.archived,
            "issues_enabled": on(settings.issues),
            "merge_requests_enabled": on(settings.merge_requests),
            "jobs_enabled": on(settings.builds),
            "issues_access_level": settings.issues.as_str(),
            "repository_access_level": settings.repository.as_str(),
            "merge_requests_access_level": settings.merge_requests.as_str(),
            "builds_access_level": settings.builds.as_str(),
            "analytics_access_level": settings.analytics.as_str(),
            "releases_access_level": settings.releases.as_str(),
            "environments_access_level": settings.environments.as_str(),
            "updated_at": at(settings.updated_at.unwrap_or(project.last_activity_at)),
            "public_jobs": settings.public_jobs,
        });
        if let Value::Object(more) = more {
            fields.extend(more);
        }
        if on(settings.issues) {
            fields.insert("open_issues_count".into(), open.into());
        }
    }

    /// The roles of the viewer in a project, as a member of it and of a group above.
    pub fn permissions(&self, project: &Project) -> Value {
        let access = |role: AccessLevel| {
            (role > AccessLevel::None)
                .then(|| json!({"access_level": role.value(), "notification_level": 3}))
        };
        json!({
            "project_access": access(self.viewer.direct_role(project.id)),
            "group_access": access(self.viewer.group_role(project.id)),
        })
    }
}
