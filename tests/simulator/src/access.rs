//! Who may see what: the rules that REST and GraphQL share.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::auth::{AccessLevel, Token};
use crate::world::{Group, Project, ProjectId, Runner, RunnerType, Visibility, World};

/// The world behind a lock that survives a panicking test.
#[derive(Clone, Debug)]
pub struct SharedWorld(Arc<RwLock<World>>);

impl SharedWorld {
    /// Shares a world.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self(Arc::new(RwLock::new(world)))
    }

    /// For reading.
    pub fn read(&self) -> RwLockReadGuard<'_, World> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For changing.
    pub fn write(&self) -> std::sync::RwLockWriteGuard<'_, World> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks. A request without token sees public things only.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The token.
    pub token: Option<Token>,
}

impl Viewer {
    /// The role in a project.
    #[must_use]
    pub fn role(&self, project: ProjectId) -> AccessLevel {
        self.token
            .as_ref()
            .map_or(AccessLevel::None, |token| token.role(project))
    }

    /// Whether the project exists for the viewer.
    #[must_use]
    pub fn sees(&self, project: &Project) -> bool {
        match project.visibility {
            Visibility::Public => true,
            Visibility::Internal if self.token.is_some() => true,
            _ => self.role(project.id) >= AccessLevel::Guest,
        }
    }

    /// Whether the group exists for the viewer: whoever sees a project in it does.
    #[must_use]
    pub fn sees_group(&self, world: &World, group: &Group) -> bool {
        let everywhere = |token: &Token| token.admin || token.default_role >= AccessLevel::Guest;
        let below = format!("{}/", group.full_path);
        self.token.as_ref().is_some_and(everywhere)
            || world
                .projects()
                .any(|project| project.full_path.starts_with(&below) && self.sees(project))
    }

    /// Whether the viewer is a member.
    #[must_use]
    pub fn is_member(&self, project: &Project) -> bool {
        self.role(project.id) >= AccessLevel::Guest
    }

    /// Whether pipelines, jobs and code are readable: Reporter, or public CI.
    #[must_use]
    pub fn reads_ci(&self, project: &Project) -> bool {
        self.sees(project)
            && (project.visibility != Visibility::Private
                || self.role(project.id) >= AccessLevel::Reporter)
    }

    /// Whether GraphQL shows a runner of a job in this project.
    #[must_use]
    pub fn reads_runner(&self, project: ProjectId, runner: &Runner) -> bool {
        runner.runner_type == RunnerType::InstanceType
            || self.role(project) >= AccessLevel::Maintainer
    }
}
