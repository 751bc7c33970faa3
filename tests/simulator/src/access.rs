//! Who may see what: the rules that REST and GraphQL share.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::auth::{AccessLevel, Token};
use crate::world::{
    Feature, Group, GroupId, Project, ProjectId, Runner, RunnerType, Visibility, World,
};

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

/// Something of a project that a role allows to see, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Pipelines, jobs, bridges and test reports.
    Pipelines,
    /// Pipeline schedules.
    Schedules,
    /// Environments.
    Environments,
    /// Deployments.
    Deployments,
    /// Merge requests.
    MergeRequests,
    /// Branches, tags, commits, contributors, comparisons.
    Code,
    /// Statistics.
    Statistics,
    /// Runners.
    Runners,
    /// Variables of pipelines.
    Variables,
    /// Value stream analytics.
    Analytics,
    /// Issues.
    Issues,
    /// Releases.
    Releases,
}

/// Who asks. A request without token sees public things only.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// The token.
    pub token: Option<Token>,
    /// Roles that come from groups, by project.
    inherited: BTreeMap<ProjectId, AccessLevel>,
}

impl Viewer {
    /// Who asks with this token.
    #[must_use]
    pub fn new(world: &World, token: Option<Token>) -> Self {
        let groups = token.as_ref().map(|token| &token.group_roles);
        let inherited = groups
            .filter(|groups| !groups.is_empty())
            .into_iter()
            .flat_map(|groups| {
                world.projects().filter_map(|project| {
                    let above = ancestors(world, project.group_id?);
                    let role = above.filter_map(|group| groups.get(&group)).max()?;
                    Some((project.id, *role))
                })
            })
            .collect();
        Self { token, inherited }
    }

    /// The role in a project, as a member of it or of a group above: an administrator may have none.
    #[must_use]
    pub fn role(&self, project: ProjectId) -> AccessLevel {
        let direct = self.direct_role(project);
        direct.max(self.group_role(project))
    }

    /// The role as a member of the project itself.
    #[must_use]
    pub fn direct_role(&self, project: ProjectId) -> AccessLevel {
        self.token
            .as_ref()
            .map_or(AccessLevel::None, |token| token.role(project))
    }

    /// The role as a member of a group above.
    #[must_use]
    pub fn group_role(&self, project: ProjectId) -> AccessLevel {
        self.inherited
            .get(&project)
            .copied()
            .unwrap_or(AccessLevel::None)
    }

    /// Whether an administrator asks.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.admin)
    }

    /// Whether the project exists for the viewer.
    #[must_use]
    pub fn sees(&self, project: &Project) -> bool {
        let inside = self.token.as_ref().is_some_and(|token| !token.external);
        self.is_admin()
            || match project.visibility {
                Visibility::Public => true,
                Visibility::Internal if inside => true,
                _ => self.role(project.id) >= AccessLevel::Guest,
            }
    }

    /// Whether the viewer may see this of a project: GitLab's policy.
    #[must_use]
    pub fn may(&self, project: &Project, right: Right) -> bool {
        if !self.sees(project) {
            return false;
        }
        let role = if self.is_admin() {
            AccessLevel::Owner
        } else {
            self.role(project.id)
        };
        let settings = &project.settings;
        let open = project.visibility != Visibility::Private;
        let member = role >= AccessLevel::Guest;
        let reporter = role >= AccessLevel::Reporter;
        let (on, private) = (
            |feature: Feature| feature != Feature::Disabled,
            |feature: Feature| feature == Feature::Private,
        );
        let ci = on(settings.builds) && on(settings.repository);
        // CI for members only is so where the repository is.
        let ci_private = private(settings.builds) || private(settings.repository);
        match right {
            Right::Pipelines | Right::Schedules => {
                ci && (reporter || settings.public_jobs && (member || open && !ci_private))
            }
            Right::Environments | Right::Deployments => {
                ci && on(settings.environments)
                    && (reporter
                        || open && !private(settings.environments) && (member || !ci_private))
            }
            Right::MergeRequests => {
                let kept = private(settings.merge_requests) || private(settings.repository);
                let read = reporter || !kept && (open || role >= AccessLevel::Planner);
                on(settings.merge_requests) && on(settings.repository) && read
            }
            Right::Code => {
                let read = if open {
                    member || !private(settings.repository)
                } else {
                    role >= AccessLevel::Planner
                };
                on(settings.repository) && read
            }
            Right::Statistics => reporter,
            Right::Runners => role >= AccessLevel::SecurityManager && self.sees_runners(role),
            Right::Variables => {
                let kept = settings.deletion_asked_at.is_none();
                ci && kept && role >= AccessLevel::Maintainer
            }
            Right::Analytics => on(settings.analytics) && (member || open),
            Right::Issues => on(settings.issues) && (member || open && !private(settings.issues)),
            Right::Releases => {
                on(settings.releases) && (member || open && !private(settings.releases))
            }
        }
    }

    /// Security Managers see runners; Developers, whose number is higher, do not.
    fn sees_runners(&self, role: AccessLevel) -> bool {
        role != AccessLevel::Developer
    }

    /// Whether the group exists for the viewer: its members and whoever sees a project in it see it, and
    /// everybody a public one.
    #[must_use]
    pub fn sees_group(&self, world: &World, group: &Group) -> bool {
        let everywhere = |token: &Token| token.admin || token.default_role >= AccessLevel::Guest;
        let is_member = |token: &Token| {
            ancestors(world, group.id).any(|above| token.group_roles.contains_key(&above))
        };
        let inside = self.token.as_ref().is_some_and(|token| !token.external);
        let shown = match group.visibility {
            Some(Visibility::Public) => true,
            Some(Visibility::Internal) => inside,
            _ => false,
        };
        let below = format!("{}/", group.full_path);
        shown
            || self.token.as_ref().is_some_and(everywhere)
            || self.token.as_ref().is_some_and(is_member)
            || world
                .projects()
                .any(|project| project.full_path.starts_with(&below) && self.sees(project))
    }

    /// Whether the viewer is a member.
    #[must_use]
    pub fn is_member(&self, project: &Project) -> bool {
        self.role(project.id) >= AccessLevel::Guest
    }

    /// Whether GraphQL shows a runner of a job in this project.
    #[must_use]
    pub fn reads_runner(&self, project: &Project, runner: &Runner) -> bool {
        (runner.runner_type == RunnerType::InstanceType && self.token.is_some())
            || self.may(project, Right::Runners)
    }
}

/// A group and those above it.
fn ancestors(world: &World, group: GroupId) -> impl Iterator<Item = GroupId> {
    std::iter::successors(Some(group), |id| world.group(*id)?.parent_id)
}
