//! Pipeline schedules.

use async_graphql::{Context, ID, Object, Result};

use super::page::{Page, PageArguments, connection};
use super::pipeline::PipelineNode;
use super::scalars::{PipelineScheduleStatus, Time};
use super::{Asked, gid};
use crate::access::Right;
use crate::world::{ProjectId, Schedule, Visibility};

/// A pipeline schedule.
#[derive(Clone, Debug)]
pub struct PipelineScheduleNode(pub Schedule);

connection!(PipelineScheduleConnection, PipelineScheduleEdge, PipelineScheduleNode {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

impl PipelineScheduleConnection {
    pub(super) fn of_project(
        ctx: &Context<'_>,
        project: ProjectId,
        status: Option<&PipelineScheduleStatus>,
        page: &PageArguments,
    ) -> Result<Option<Self>> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        if !asked.has_ci(&world, project) {
            return asked.denied().map(|()| Some(Self(Page::empty())));
        }
        let may = asked.may(&world, project, Right::Schedules);
        if !may {
            asked.denied()?;
        }
        let open = world
            .project(project)
            .is_some_and(|project| project.visibility == Visibility::Public);
        let may = may && (open || asked.is_granted(&world, project, "read_pipeline_schedule"));
        let rows = world
            .schedules_of(project)
            .filter(|schedule| {
                status.is_none_or(|status| (status.0 == "ACTIVE") == schedule.active)
            })
            .map(|schedule| {
                let node = PipelineScheduleNode(schedule.clone());
                ((0, schedule.id), Some(node))
            });
        let mut rows: Vec<_> = rows.collect();
        rows.reverse();
        page.cut(rows, true, asked.page_maximum())
            .map(|page| Some(Self(page.keep(|_| may))))
    }
}

#[Object(name = "PipelineSchedule")]
impl PipelineScheduleNode {
    async fn id(&self) -> ID {
        gid("Ci::PipelineSchedule", self.0.id)
    }

    async fn description(&self) -> Option<&str> {
        Some(&self.0.description)
    }

    async fn active(&self) -> bool {
        self.0.active
    }

    async fn cron(&self) -> &str {
        &self.0.cron
    }

    async fn cron_timezone(&self) -> &str {
        "UTC"
    }

    async fn r#ref(&self) -> Option<String> {
        Some(self.0.ref_name.to_string())
    }

    async fn ref_for_display(&self) -> Option<&str> {
        Some(&self.0.ref_name)
    }

    async fn next_run_at(&self, ctx: &Context<'_>) -> Option<Time> {
        let asked = Asked::of(ctx);
        let next = asked.world().next_run_of(&self.0);
        Some(asked.time(next))
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.created_at)
    }

    async fn last_pipeline(&self, ctx: &Context<'_>) -> Option<PipelineNode> {
        let world = Asked::of(ctx).world();
        world.last_pipeline_of(&self.0).cloned().map(PipelineNode)
    }
}
