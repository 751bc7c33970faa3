//! Operations on groups, projects, runners, tokens and licences.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::Event;
use super::model::{
    GitRef, Group, GroupId, Past, Project, ProjectId, ProjectSettings, Runner, RunnerId,
    RunnerType, Tier, Visibility,
};
use super::users::User;
use super::{Result, World, WorldError};
use crate::auth::{AccessLevel, Token};
use crate::time::{HOUR, Millis};

impl World {
    /// Makes a group, and the groups above it where they are missing. A group that exists is returned.
    pub fn add_group(&mut self, full_path: &str) -> GroupId {
        if let Some(group) = self.group_by_path(full_path) {
            return group.id;
        }
        let parent_id = full_path
            .rsplit_once('/')
            .map(|(parent, _)| self.add_group(parent));
        let id = self
            .groups
            .last_key_value()
            .map_or(101, |(last, _)| last + 1);
        let tier = Tier::default();
        self.groups.insert(
            id,
            Group {
                id,
                full_path: full_path.into(),
                name: None,
                visibility: None,
                parent_id,
                tier,
            },
        );
        id
    }

    /// Makes a user, whose projects are then not in a group. One that exists is returned.
    pub fn add_user(&mut self, name: &str) -> u64 {
        if let Some((id, _)) = self
            .users
            .iter()
            .find(|(_, known)| known.username.eq_ignore_ascii_case(name))
        {
            return *id;
        }
        let id = self
            .users
            .last_key_value()
            .map_or(100, |(last, _)| last + 1);
        self.users.insert(id, User::named(id, name));
        id
    }

    /// The group that a path is in, made where it is missing; `None` in a user's namespace.
    fn group_for(&mut self, full_path: &str) -> Option<GroupId> {
        let (namespace, _) = full_path.rsplit_once('/')?;
        if self
            .users
            .values()
            .any(|user| user.username.eq_ignore_ascii_case(namespace))
        {
            None
        } else {
            Some(self.add_group(namespace))
        }
    }

    /// Makes a project with a default branch `main`, and its group where it is missing.
    ///
    /// # Errors
    /// If the path is taken.
    pub fn add_project(&mut self, full_path: &str) -> Result<ProjectId> {
        if self.project_by_path(full_path).is_some() {
            return Err(WorldError::Taken(full_path.to_owned()));
        }
        let group_id = self.group_for(full_path);
        let id = self
            .projects
            .last_key_value()
            .map_or(1_001, |(last, _)| last + 1);
        let main: Arc<str> = "main".into();
        let sha = self.new_sha();
        let tip = GitRef {
            name: main.clone(),
            sha: sha.clone(),
            committed_at: self.now,
        };
        let path: Arc<str> = full_path.into();
        self.projects.insert(
            id,
            Project {
                id,
                group_id,
                full_path: path.clone(),
                created_at: self.now,
                last_activity_at: self.now,
                archived: false,
                visibility: Visibility::Private,
                settings: ProjectSettings::default(),
                default_branch: Some(main.clone()),
                branches: BTreeMap::from([(main, tip)]),
                tags: BTreeMap::new(),
                merge_requests: BTreeMap::new(),
                former_paths: Vec::new(),
                past: Past::default(),
                next_pipeline_iid: 1,
                pipelines: BTreeSet::new(),
                pipelines_by_update: BTreeSet::new(),
            },
        );
        self.begin_code(id);
        self.paths.insert(full_path.to_lowercase(), id);
        self.deliveries.project_added(id, sha);
        self.ledger.write(self.now, || Event::ProjectCreated {
            project_id: id,
            path,
        });
        Ok(id)
    }

    pub(super) fn project_mut(&mut self, id: ProjectId) -> Result<&mut Project> {
        self.projects
            .get_mut(&id)
            .ok_or_else(|| WorldError::not_found("project", id))
    }

    /// Renames a project or moves it to another group. The old path leads to it as a redirect.
    ///
    /// # Errors
    /// If there is no such project or the new path is taken.
    pub fn move_project(&mut self, id: ProjectId, full_path: &str) -> Result<()> {
        self.project_mut(id)?;
        if self
            .project_by_path(full_path)
            .is_some_and(|other| other.id != id)
        {
            return Err(WorldError::Taken(full_path.to_owned()));
        }
        let group_id = self.group_for(full_path);
        let to: Arc<str> = full_path.into();
        let project = self.project_mut(id)?;
        let from = std::mem::replace(&mut project.full_path, to.clone());
        project.former_paths.push(from.clone());
        project.group_id = group_id;
        self.paths.remove(&from.to_lowercase());
        self.former_paths.insert(from.to_lowercase(), id);
        self.paths.insert(full_path.to_lowercase(), id);
        self.former_paths.remove(&full_path.to_lowercase());
        self.ledger.write(self.now, || Event::ProjectMoved {
            project_id: id,
            from,
            to,
        });
        Ok(())
    }

    /// Makes a project read-only, or brings it back.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn set_archived(&mut self, id: ProjectId, archived: bool) -> Result<()> {
        self.project_mut(id)?.archived = archived;
        self.ledger.write(self.now, || Event::ProjectArchived {
            project_id: id,
            archived,
        });
        Ok(())
    }

    /// Changes who may see a project without being a member.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn set_visibility(&mut self, id: ProjectId, visibility: Visibility) -> Result<()> {
        self.project_mut(id)?.visibility = visibility;
        Ok(())
    }

    /// Changes what is set of a project.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn change_settings(
        &mut self,
        id: ProjectId,
        change: impl FnOnce(&mut ProjectSettings),
    ) -> Result<()> {
        change(&mut self.project_mut(id)?.settings);
        Ok(())
    }

    /// Gives a project a past: the iids of its pipelines move up by it, and lists whose cost grows with it
    /// are charged so.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn set_past(&mut self, id: ProjectId, past: Past) -> Result<()> {
        let project = self.project_mut(id)?;
        let before = std::mem::replace(&mut project.past, past).pipelines;
        project.next_pipeline_iid = project.next_pipeline_iid - before + past.pipelines;
        for pipeline in project.pipelines.clone() {
            if let Some(pipeline) = self.pipelines.get_mut(pipeline) {
                pipeline.iid = pipeline.iid - before + past.pipelines;
            }
        }
        Ok(())
    }

    /// Asks for the deletion of a project, as `DELETE /projects/:id` does: it is renamed at once, stays
    /// readable and listed, and goes weeks later.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn schedule_deletion(&mut self, id: ProjectId) -> Result<()> {
        let now = self.now;
        let project = self.project_mut(id)?;
        project.settings.deletion_asked_at = Some(now);
        let path = format!("{}-deletion_scheduled-{id}", project.full_path);
        self.move_project(id, &path)
    }

    /// Takes a project that is to be deleted back, under its old path.
    ///
    /// # Errors
    /// If there is no such project, or its old path is taken.
    pub fn restore_project(&mut self, id: ProjectId) -> Result<()> {
        let project = self.project_mut(id)?;
        project.settings.deletion_asked_at = None;
        let scheduled = format!("-deletion_scheduled-{id}");
        let path = project.full_path.trim_end_matches(&scheduled).to_owned();
        self.move_project(id, &path)
    }

    /// Moves or renames a group with everything in it. Nothing redirects from its old path.
    ///
    /// # Errors
    /// If there is no such group, or a path in the new one is taken.
    pub fn move_group(&mut self, from: &str, to: &str) -> Result<()> {
        if self.group_by_path(from).is_none() {
            return Err(WorldError::not_found("group", from));
        }
        let moved = |path: &str| {
            let rest = path.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        };
        for group in self.groups.values_mut() {
            if let Some(path) = moved(&group.full_path) {
                group.full_path = path.into();
            }
        }
        let projects = self.projects.values();
        let projects = projects.filter_map(|one| Some((one.id, moved(&one.full_path)?)));
        let projects: Vec<(ProjectId, String)> = projects.collect();
        for (id, path) in projects {
            self.move_project(id, &path)?;
        }
        Ok(())
    }

    /// Deletes a project with everything in it.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn delete_project(&mut self, id: ProjectId) -> Result<()> {
        let project = self
            .projects
            .remove(&id)
            .ok_or_else(|| WorldError::not_found("project", id))?;
        self.code.remove(&id);
        self.paths.remove(&project.full_path.to_lowercase());
        self.former_paths.retain(|_, target| *target != id);
        self.deliveries.project_deleted(id);
        for pipeline in &project.pipelines {
            let Some(pipeline) = self.pipelines.remove(*pipeline) else {
                continue;
            };
            for job in &pipeline.jobs {
                self.jobs.remove(*job);
            }
        }
        self.ledger.write(self.now, || Event::ProjectDeleted {
            project_id: id,
            path: project.full_path,
        });
        Ok(())
    }

    /// An event in a project (push, merge request, …): moves `last_activity_at`, at most once an hour.
    pub fn record_activity(&mut self, id: ProjectId) {
        let (now, throttled) = (self.now, self.quirks.activity_throttled);
        if let Some(project) = self.projects.get_mut(&id)
            && (!throttled || now - project.last_activity_at >= HOUR)
        {
            project.last_activity_at = now;
        }
    }

    /// Makes a runner.
    pub fn add_runner(&mut self, runner_type: RunnerType, description: &str) -> RunnerId {
        let id = self
            .runners
            .last_key_value()
            .map_or(1, |(last, _)| last + 1);
        self.runners.insert(
            id,
            Runner {
                id,
                runner_type,
                description: description.into(),
            },
        );
        id
    }

    /// Sets the licence of a top-level group.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn set_tier(&mut self, top_level_group: &str, tier: Tier) -> Result<()> {
        let id = self
            .group_by_path(top_level_group)
            .map(|group| group.id)
            .ok_or_else(|| WorldError::not_found("group", top_level_group))?;
        if let Some(group) = self.groups.get_mut(&id) {
            group.tier = tier;
        }
        Ok(())
    }

    /// Adds a token, or replaces the one with the same secret.
    pub fn add_token(&mut self, token: Token) {
        self.tokens.retain(|other| other.value != token.value);
        self.tokens.push(token);
    }

    fn token_mut(&mut self, value: &str) -> Result<&mut Token> {
        // The secret stays out of the message.
        self.tokens
            .iter_mut()
            .find(|token| token.value == value)
            .ok_or_else(|| WorldError::not_found("token", "with this value"))
    }

    /// Sets the role of a token in one project.
    ///
    /// # Errors
    /// If there is no such token.
    pub fn set_role(&mut self, token: &str, project: ProjectId, role: AccessLevel) -> Result<()> {
        self.token_mut(token)?.roles.insert(project, role);
        Ok(())
    }

    /// Sets the role of a token wherever none is set for the project.
    ///
    /// # Errors
    /// If there is no such token.
    pub fn set_default_role(&mut self, token: &str, role: AccessLevel) -> Result<()> {
        self.token_mut(token)?.default_role = role;
        Ok(())
    }

    /// Withdraws a token.
    ///
    /// # Errors
    /// If there is no such token.
    pub fn revoke_token(&mut self, token: &str) -> Result<()> {
        self.token_mut(token)?.revoked = true;
        Ok(())
    }

    /// Sets or lifts the end of a token.
    ///
    /// # Errors
    /// If there is no such token.
    pub fn set_token_expiry(&mut self, token: &str, expires_at: Option<Millis>) -> Result<()> {
        self.token_mut(token)?.expires_at = expires_at;
        Ok(())
    }
}
