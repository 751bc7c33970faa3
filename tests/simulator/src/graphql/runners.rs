//! Runners and their managers.

use async_graphql::{Context, Object, Result, SimpleObject};

use super::page::{PageArguments, connection};
use super::scalars::{CiRunnerId, CiRunnerStatus, CiRunnerType, Time};
use super::{Asked, gid};
use crate::access::Right;
use crate::world::{Manager, ProjectId, Runner, World};

/// A runner.
#[derive(Clone, Debug)]
pub struct CiRunnerNode(pub Runner);

/// A process that works for a runner.
#[derive(Clone, Debug, SimpleObject)]
pub struct CiRunnerManager {
    system_id: String,
    version: Option<String>,
    platform_name: Option<String>,
    architecture_name: Option<String>,
}

connection!(CiRunnerConnection, CiRunnerEdge, CiRunnerNode {});
connection!(CiRunnerManagerConnection, CiRunnerManagerEdge, CiRunnerManager {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

impl CiRunnerConnection {
    /// All runners of the instance: for administrators.
    pub(super) fn of_instance(
        ctx: &Context<'_>,
        runner_type: Option<&CiRunnerType>,
        page: &PageArguments,
    ) -> Result<Option<Self>> {
        let asked = Asked::of(ctx);
        if !asked.viewer.is_admin() {
            return Err(super::NOT_THERE.into());
        }
        Self::cut(asked, &asked.world(), runner_type, page, |_| true).map(Some)
    }

    /// The runners that serve a project: for its Maintainers.
    pub(super) fn of_project(
        ctx: &Context<'_>,
        project: ProjectId,
        runner_type: Option<&CiRunnerType>,
        page: &PageArguments,
    ) -> Result<Option<Self>> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        if !asked.may(&world, project, Right::Runners) {
            return Err(super::NOT_THERE.into());
        }
        let Some(project) = world.project(project) else {
            return Ok(None);
        };
        Self::cut(asked, &world, runner_type, page, |runner| {
            world.serves(runner, project)
        })
        .map(Some)
    }

    fn cut(
        asked: &Asked,
        world: &World,
        runner_type: Option<&CiRunnerType>,
        page: &PageArguments,
        keep: impl Fn(&Runner) -> bool,
    ) -> Result<Self> {
        let rows = world
            .all_runners()
            .filter(|runner| {
                runner_type
                    .is_none_or(|wanted| wanted.0.eq_ignore_ascii_case(runner.runner_type.as_str()))
            })
            .filter(|runner| keep(runner))
            .map(|runner| ((0, runner.id), Some(CiRunnerNode(runner.clone()))))
            .collect();
        page.cut(rows, true, asked.page_maximum()).map(Self)
    }
}

#[Object(name = "CiRunner")]
impl CiRunnerNode {
    async fn id(&self) -> CiRunnerId {
        CiRunnerId(gid("Ci::Runner", self.0.id).0)
    }

    async fn description(&self) -> Option<&str> {
        Some(&self.0.description)
    }

    async fn runner_type(&self) -> CiRunnerType {
        self.0.runner_type.as_str().to_ascii_uppercase().into()
    }

    async fn paused(&self, ctx: &Context<'_>) -> bool {
        Asked::of(ctx).world().runner_details(self.0.id).paused
    }

    async fn contacted_at(&self, ctx: &Context<'_>) -> Option<Time> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let contact = world.contact_of(&world.runner_details(self.0.id));
        contact.map(|at| asked.time(at))
    }

    async fn status(&self, ctx: &Context<'_>) -> CiRunnerStatus {
        let world = Asked::of(ctx).world();
        let details = world.runner_details(self.0.id);
        world.runner_status(&details).to_ascii_uppercase().into()
    }

    async fn managers(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiRunnerManagerConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let asked = Asked::of(ctx);
        let managers = asked.world().runner_details(self.0.id).managers;
        let rows = managers.into_iter().zip(1..).map(|(manager, place)| {
            let Manager {
                system_id,
                version,
                platform,
                architecture,
                ..
            } = manager;
            let text = |text: Option<std::sync::Arc<str>>| text.map(|text| text.to_string());
            let node = CiRunnerManager {
                system_id: system_id.to_string(),
                version: text(version),
                platform_name: text(platform),
                architecture_name: text(architecture),
            };
            ((0, place), Some(node))
        });
        page.cut(rows.collect(), false, asked.page_maximum())
            .map(|page| Some(CiRunnerManagerConnection(page)))
    }
}
