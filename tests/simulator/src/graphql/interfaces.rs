//! Jobs of the whole instance, which GitLab shows through interfaces.

#![expect(
    clippy::duplicated_attributes,
    reason = "fields of an interface may be of one type"
)]

use async_graphql::{Context, ID, Interface, Result};

use super::Asked;
use super::job::{CiJobNode, CiStage};
use super::page::{Page, PageArguments, connection};
use super::pipeline::PipelineNode;
use super::project::ProjectNode;
use super::runners::CiRunnerNode;
use super::scalars::{CiJobKind, CiJobStatus, Duration, JobId, Time};
use crate::world::JobKind;

/// A job.
#[derive(Clone, Debug, Interface)]
#[graphql(
    name = "CiJobInterface",
    field(name = "id", ty = "Option<JobId>"),
    field(name = "name", ty = "Option<&str>"),
    field(name = "status", ty = "Option<CiJobStatus>"),
    field(name = "stage", ty = "Option<CiStage>"),
    field(name = "kind", ty = "Option<CiJobKind>"),
    field(name = "allow_failure", ty = "Option<bool>"),
    field(name = "active", ty = "Option<bool>"),
    field(name = "created_at", ty = "Option<Time>"),
    field(name = "queued_at", ty = "Option<Time>"),
    field(name = "started_at", ty = "Option<Time>"),
    field(name = "finished_at", ty = "Option<Time>"),
    field(name = "duration", ty = "Option<i32>"),
    field(name = "queued_duration", ty = "Option<Duration>"),
    field(name = "coverage", ty = "Option<f64>"),
    field(name = "retried", ty = "Option<bool>"),
    field(name = "manual_job", ty = "Option<bool>"),
    field(name = "scheduled", ty = "Option<bool>"),
    field(name = "stuck", ty = "Option<bool>"),
    field(name = "tags", ty = "Option<Vec<String>>"),
    field(name = "ref_name", ty = "Option<String>"),
    field(name = "failure_message", ty = "Option<String>"),
    field(name = "runner", ty = "Option<CiRunnerNode>"),
    field(name = "pipeline", ty = "Option<PipelineInterface>"),
    field(
        name = "project",
        method = "project_interface",
        ty = "Option<ProjectInterface>"
    )
)]
pub enum CiJobInterface {
    /// The only kind that is shown.
    Job(CiJobNode),
}

/// A pipeline.
#[derive(Clone, Debug, Interface)]
#[graphql(
    name = "PipelineInterface",
    field(name = "id", ty = "Option<ID>"),
    field(name = "iid", ty = "Option<String>"),
    field(name = "path", ty = "Option<String>"),
    field(
        name = "project",
        method = "project_interface",
        ty = "Option<ProjectInterface>"
    )
)]
pub enum PipelineInterface {
    /// The only kind that is shown.
    Pipeline(PipelineNode),
}

/// A project.
#[derive(Clone, Debug, Interface)]
#[graphql(
    name = "ProjectInterface",
    field(name = "id", ty = "Option<ID>"),
    field(name = "full_path", ty = "Option<ID>"),
    field(name = "name", ty = "Option<String>"),
    field(name = "name_with_namespace", ty = "Option<String>"),
    field(name = "web_url", ty = "Option<String>")
)]
pub enum ProjectInterface {
    /// The only kind that is shown.
    Project(ProjectNode),
}

connection!(CiJobInterfaceConnection, CiJobInterfaceEdge, CiJobInterface {
    async fn count(&self, limit: Option<i32>) -> i32 {
        let limit = limit.unwrap_or(1_000).clamp(0, 1_000);
        i32::try_from(self.0.total).unwrap_or(i32::MAX).min(limit + 1)
    }
});

impl PipelineNode {
    async fn project_interface(&self, _: &Context<'_>) -> Result<Option<ProjectInterface>> {
        Ok(Some(ProjectNode(self.0.project_id).into()))
    }
}

impl CiJobNode {
    async fn project_interface(&self, ctx: &Context<'_>) -> Result<Option<ProjectInterface>> {
        let world = Asked::of(ctx).world();
        let pipeline = world.pipeline(self.0.pipeline_id);
        Ok(pipeline.map(|pipeline| ProjectNode(pipeline.project_id).into()))
    }
}

impl CiJobInterfaceConnection {
    /// All builds of the instance, newest first, for administrators; nothing for others.
    pub(super) fn of_instance(
        ctx: &Context<'_>,
        statuses: Option<&[CiJobStatus]>,
        page: &PageArguments,
    ) -> Result<Self> {
        let asked = Asked::of(ctx);
        if !asked.viewer.is_admin() {
            return Ok(Self(Page::empty()));
        }
        let world = asked.world();
        let rows = world
            .newest_jobs()
            .filter(|job| job.kind == JobKind::Build)
            .filter(|job| CiJobNode::matches(job, statuses, None, None))
            .map(|job| ((0, job.id), Some(CiJobNode(job.clone()).into())))
            .collect();
        page.cut(rows, true, asked.page_maximum()).map(Self)
    }
}
