//! Environments and their deployments.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

use super::merge_requests::UserCore;
use super::page::{Page, PageArguments, connection};
use super::scalars::{DeploymentStatus, DeploymentTier, SortDirectionEnum, Time};
use super::{Asked, gid};
use crate::access::Right;
use crate::rest::USERNAME;
use crate::world::{Deployment, Environment, ProjectId};

/// An environment.
#[derive(Clone, Debug)]
pub struct EnvironmentNode(pub Environment);

connection!(EnvironmentConnection, EnvironmentEdge, EnvironmentNode {});

/// How deployments are sorted.
#[derive(Clone, Debug, InputObject)]
#[graphql(name = "DeploymentsOrderByInput")]
pub struct DeploymentsOrderBy {
    created_at: Option<SortDirectionEnum>,
    finished_at: Option<SortDirectionEnum>,
}

impl EnvironmentConnection {
    /// The environments of a project, newest first; those that may not be seen leave gaps in the pages.
    pub(super) fn of_project(
        ctx: &Context<'_>,
        project: ProjectId,
        (name, search, states): (Option<&str>, Option<&str>, Option<&[String]>),
        page: &PageArguments,
    ) -> Result<Option<Self>> {
        let asked = Asked::of(ctx);
        if !asked.first_parent(ctx, "Project", project) {
            return Ok(None);
        }
        let world = asked.world();
        if !asked.has_ci(&world, project) {
            return Ok(Some(Self(Page::empty())));
        }
        let may = asked.may(&world, project, Right::Environments)
            && asked.is_granted(&world, project, "read_environment");
        let mut rows: Vec<_> = world
            .delivery(project)
            .into_iter()
            .flat_map(|delivery| delivery.environments.values())
            .filter(|environment| name.is_none_or(|name| *environment.name == *name))
            .filter(|environment| search.is_none_or(|text| environment.name.contains(text)))
            .filter(|environment| {
                states.is_none_or(|states| {
                    states
                        .iter()
                        .any(|state| state == environment.state.as_str())
                })
            })
            .map(|environment| {
                let node = EnvironmentNode(environment.clone());
                ((0, environment.id), Some(node))
            })
            .collect();
        rows.reverse();
        let page = page.cut(rows, true, asked.page_maximum())?;
        Ok(Some(Self(page.keep(|_| may))))
    }
}

#[Object(name = "Environment")]
#[expect(clippy::too_many_arguments, reason = "the arguments are GitLab's")]
impl EnvironmentNode {
    async fn id(&self) -> ID {
        gid("Environment", self.0.id)
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn tier(&self) -> Option<DeploymentTier> {
        Some(self.0.tier.as_str().to_ascii_uppercase().into())
    }

    async fn state(&self) -> &str {
        self.0.state.as_str()
    }

    async fn external_url(&self) -> Option<&str> {
        self.0.external_url.as_deref()
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Option<Time> {
        Some(Asked::of(ctx).time(self.0.created_at))
    }

    async fn updated_at(&self, ctx: &Context<'_>) -> Option<Time> {
        Some(Asked::of(ctx).time(self.0.updated_at))
    }

    async fn last_deployment(
        &self,
        ctx: &Context<'_>,
        status: DeploymentStatus,
    ) -> Option<DeploymentNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let project = self.0.project_id;
        // Whatever a fine-grained token may read, this it does not.
        if asked.is_granular() || !asked.may(&world, project, Right::Deployments) {
            return None;
        }
        let deployments = world.delivery(project)?.deployments.values();
        deployments
            .filter(|found| found.environment_id == self.0.id)
            .filter(|found| status.0.eq_ignore_ascii_case(found.status.as_str()))
            .max_by_key(|found| found.id)
            .cloned()
            .map(DeploymentNode)
    }

    async fn deployments(
        &self,
        ctx: &Context<'_>,
        statuses: Option<Vec<DeploymentStatus>>,
        order_by: Option<DeploymentsOrderBy>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<DeploymentConnection>> {
        let asked = Asked::of(ctx);
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        if !asked.first_parent(ctx, "Environment", self.0.id) {
            return Ok(None);
        }
        let named = |text: &str| {
            let statuses = statuses.as_deref();
            statuses.is_none_or(|all| all.iter().any(|one| one.0.eq_ignore_ascii_case(text)))
        };
        let order = order_by.as_ref();
        let by_finish = order.and_then(|order| order.finished_at.as_ref());
        let ended = |status: &DeploymentStatus| {
            matches!(&*status.0, "SUCCESS" | "FAILED" | "CANCELED" | "SKIPPED")
        };
        if by_finish.is_some() && !statuses.as_deref().is_some_and(|all| all.iter().all(ended)) {
            // GitLab's finder raises here, and nothing rescues it.
            asked.fail();
            return Ok(None);
        }
        let direction = by_finish.or_else(|| order.and_then(|order| order.created_at.as_ref()));
        let descending = direction.is_none_or(|direction| direction.0 == "DESC");
        let world = asked.world();
        let may = asked.may(&world, self.0.project_id, Right::Deployments);
        let mut rows: Vec<_> = world
            .delivery(self.0.project_id)
            .into_iter()
            .flat_map(|delivery| delivery.deployments.values())
            .filter(|found| found.environment_id == self.0.id && named(found.status.as_str()))
            .map(|found| {
                let at = match by_finish {
                    Some(_) => found.finished_at.unwrap_or_default(),
                    None => found.created_at,
                };
                ((at, found.id), Some(DeploymentNode(found.clone())))
            })
            .collect();
        rows.sort_by_key(|(key, _)| *key);
        if descending {
            rows.reverse();
        }
        let page = page.cut(rows, descending, asked.page_maximum())?;
        Ok(Some(DeploymentConnection(page.keep(|_| may))))
    }
}

/// A deployment.
#[derive(Clone, Debug)]
pub struct DeploymentNode(pub Deployment);

connection!(DeploymentConnection, DeploymentEdge, DeploymentNode {});

#[Object(name = "Deployment")]
impl DeploymentNode {
    async fn id(&self) -> Option<ID> {
        Some(gid("Deployment", self.0.id))
    }

    async fn iid(&self) -> Option<String> {
        Some(self.0.iid.to_string())
    }

    async fn status(&self) -> Option<DeploymentStatus> {
        Some(self.0.status.as_str().to_ascii_uppercase().into())
    }

    async fn sha(&self) -> Option<&str> {
        Some(&self.0.sha)
    }

    async fn r#ref(&self) -> Option<&str> {
        Some(&self.0.ref_name)
    }

    async fn tag(&self, ctx: &Context<'_>) -> Option<bool> {
        Some(Asked::of(ctx).world().is_tag_of(&self.0))
    }

    async fn triggerer(&self, ctx: &Context<'_>) -> Option<UserCore> {
        let name = self.0.user.clone();
        let name = name.unwrap_or_else(|| USERNAME.into());
        Asked::of(ctx).shows_users().then_some(UserCore(name))
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Option<Time> {
        Some(Asked::of(ctx).time(self.0.created_at))
    }

    async fn updated_at(&self, ctx: &Context<'_>) -> Option<Time> {
        Some(Asked::of(ctx).time(self.0.updated_at))
    }

    async fn finished_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.finished_at.map(|at| Asked::of(ctx).time(at))
    }

    async fn web_path(&self, ctx: &Context<'_>) -> Option<String> {
        let world = Asked::of(ctx).world();
        let project = world.project(self.0.project_id)?;
        Some(format!(
            "/{}/-/environments/{}/deployments/{}",
            project.full_path, self.0.environment_id, self.0.iid
        ))
    }

    async fn job(&self, ctx: &Context<'_>) -> Option<super::job::CiJobNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        if !asked.may(&world, self.0.project_id, Right::Pipelines) {
            return None;
        }
        let job = world.job_of_deployment(&self.0)?;
        Some(super::job::CiJobNode(job))
    }
}

/// What a viewer may do with a project.
#[derive(SimpleObject)]
pub struct ProjectPermissions {
    admin_all_resources: bool,
    admin_project: bool,
    create_pipeline: bool,
    download_code: bool,
    push_code: bool,
    read_cycle_analytics: bool,
    read_environment: bool,
    read_merge_request: bool,
    read_project: bool,
}

impl ProjectPermissions {
    /// Those of the viewer.
    pub(super) fn of(asked: &Asked, project: ProjectId) -> Option<Self> {
        let world = asked.world();
        let found = world.project(project)?;
        let viewer = &asked.viewer;
        let may = |right| viewer.may(found, right);
        let role = viewer.role(project);
        let admin = viewer.is_admin();
        // Nobody changes what is to be deleted.
        let open = !found.archived && found.settings.deletion_asked_at.is_none();
        let develops = admin || role >= crate::auth::AccessLevel::Developer;
        Some(Self {
            admin_all_resources: admin,
            admin_project: admin || role >= crate::auth::AccessLevel::Maintainer,
            create_pipeline: open && develops,
            download_code: may(Right::Code),
            push_code: open && develops && may(Right::Code),
            read_cycle_analytics: may(Right::Analytics),
            read_environment: may(Right::Environments),
            read_merge_request: may(Right::MergeRequests),
            read_project: true,
        })
    }
}
