//! Pipelines.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::job::{CiJobConnection, CiJobNode};
use super::merge_requests::MergeRequestNode;
use super::page::{PageArguments, connection};
use super::project::ProjectNode;
use super::reports::TestReportSummary;
use super::scalars::{
    CiJobKind, CiJobStatus, Duration, PipelineMergeRequestEventType, PipelineStatusEnum, ShaFormat,
    Time,
};
use super::{Asked, gid};
use crate::access::Right;
use crate::cost::lists;
use crate::time::Millis;
use crate::world::{Pipeline, PipelineId, PipelineKind, ProjectId, Status, World};

/// A pipeline.
#[derive(Clone, Debug)]
pub struct PipelineNode(pub Arc<Pipeline>);

connection!(PipelineConnection, PipelineEdge, PipelineNode {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

/// What a list of pipelines is narrowed to; the same in REST and GraphQL.
#[derive(Clone, Debug, Default)]
pub struct PipelineFilter {
    /// One status, in either case.
    pub status: Option<String>,
    /// `running`, `pending`, `finished`, `branches` or `tags`, in either case.
    pub scope: Option<String>,
    /// One ref.
    pub ref_name: Option<String>,
    /// One commit.
    pub sha: Option<String>,
    /// One source.
    pub source: Option<String>,
    /// Changed at or after.
    pub updated_after: Option<Millis>,
    /// Changed at or before.
    pub updated_before: Option<Millis>,
    /// Of one user.
    pub username: Option<String>,
    /// One of these.
    pub ids: Option<Vec<PipelineId>>,
}

impl PipelineFilter {
    /// The pipelines of a project that pass, newest id first. Children are left out unless their source
    /// is asked for.
    #[must_use]
    pub fn list(&self, world: &World, project: ProjectId) -> Vec<Arc<Pipeline>> {
        let keep = |pipeline: &Arc<Pipeline>| self.passes(world, pipeline);
        match self.updated_after {
            Some(since) => world
                .pipelines_updated_since(project, since)
                .into_iter()
                .filter(keep)
                .collect(),
            None => world
                .pipelines_of(project)
                .filter(|pipeline| keep(pipeline))
                .cloned()
                .collect(),
        }
    }

    fn passes(&self, world: &World, pipeline: &Pipeline) -> bool {
        if world.uncommitted.contains(&pipeline.id) {
            return false;
        }
        if world.quirks.children_left_out
            && pipeline.is_child()
            && self.source.as_deref() != Some("parent_pipeline")
        {
            return false;
        }
        let equal = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        self.status
            .as_deref()
            .is_none_or(|status| pipeline.status == Status::parse(status))
            && equal(&self.ref_name, &pipeline.ref_name)
            && equal(&self.sha, &pipeline.sha)
            && equal(&self.source, &pipeline.source)
            && equal(&self.username, pipeline.user())
            && self
                .ids
                .as_ref()
                .is_none_or(|ids| ids.contains(&pipeline.id))
            && self
                .updated_before
                .is_none_or(|until| pipeline.updated_at <= until)
            && self.in_scope(world, pipeline)
    }

    fn in_scope(&self, world: &World, pipeline: &Pipeline) -> bool {
        let Some(scope) = &self.scope else {
            return true;
        };
        match scope.to_ascii_lowercase().as_str() {
            "running" => pipeline.status == Status::Running,
            "pending" => pipeline.status == Status::Pending,
            "finished" => pipeline.status.has_finish(),
            "branches" => is_newest(world, pipeline, PipelineKind::Branch),
            "tags" => is_newest(world, pipeline, PipelineKind::Tag),
            _ => true,
        }
    }
}

/// Whether a pipeline is the newest of a branch, or a tag, that there is.
fn is_newest(world: &World, pipeline: &Pipeline, kind: PipelineKind) -> bool {
    let there = world.project(pipeline.project_id).is_some_and(|project| {
        let refs = match kind {
            PipelineKind::Tag => &project.tags,
            _ => &project.branches,
        };
        refs.contains_key(&pipeline.ref_name)
    });
    let mut same = world.pipelines_of(pipeline.project_id).filter(|other| {
        other.kind == kind && other.ref_name == pipeline.ref_name && !other.is_child()
    });
    pipeline.kind == kind && there && same.next().map(|newest| newest.id) == Some(pipeline.id)
}

impl PipelineConnection {
    pub(super) fn of_project(
        ctx: &Context<'_>,
        project: ProjectId,
        filter: &PipelineFilter,
        page: &PageArguments,
    ) -> Result<Self> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let rows = filter.list(&world, project);
        let rows = rows
            .into_iter()
            .map(|row| ((0, row.id), Some(PipelineNode(row))))
            .collect();
        let page = page.cut(rows, true, asked.page_maximum())?;
        let read = lists::pipelines(&world, project, filter, page.rows.len());
        asked.note_list(ctx, project, read);
        Ok(Self(page))
    }
}

/// A variable that a pipeline was started with.
#[derive(Clone, Debug, SimpleObject)]
pub struct PipelineManualVariable {
    id: ID,
    key: Option<String>,
    value: Option<String>,
}

connection!(
    PipelineManualVariableConnection,
    PipelineManualVariableEdge,
    PipelineManualVariable {}
);

#[Object(name = "Pipeline")]
#[expect(clippy::too_many_arguments, reason = "the arguments are GitLab's")]
impl PipelineNode {
    pub(super) async fn id(&self) -> ID {
        gid("Ci::Pipeline", self.0.id)
    }

    pub(super) async fn iid(&self) -> String {
        self.0.iid.to_string()
    }

    async fn name(&self) -> Option<String> {
        None
    }

    async fn sha(&self, format: Option<ShaFormat>) -> Option<String> {
        let short = format.is_some_and(|format| format.0 == "SHORT");
        Some(
            self.0
                .sha
                .chars()
                .take(if short { 8 } else { 40 })
                .collect(),
        )
    }

    async fn r#ref(&self) -> Option<&str> {
        Some(&self.0.ref_name)
    }

    async fn ref_path(&self) -> Option<String> {
        Some(match self.0.kind {
            PipelineKind::Branch => format!("refs/heads/{}", self.0.ref_name),
            PipelineKind::Tag => format!("refs/tags/{}", self.0.ref_name),
            _ => self.0.ref_name.to_string(),
        })
    }

    pub(super) async fn path(&self, ctx: &Context<'_>) -> Option<String> {
        let world = Asked::of(ctx).world();
        let project = world.project(self.0.project_id)?;
        Some(format!("/{}/-/pipelines/{}", project.full_path, self.0.id))
    }

    async fn status(&self) -> PipelineStatusEnum {
        self.0.status.graphql().into()
    }

    async fn source(&self) -> Option<&str> {
        Some(&self.0.source)
    }

    async fn r#type(&self) -> &str {
        self.0.kind.as_str()
    }

    async fn created_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.created_at)
    }

    async fn updated_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.updated_at)
    }

    async fn started_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.started_at.map(|at| Asked::of(ctx).time(at))
    }

    async fn finished_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.finished_at.map(|at| Asked::of(ctx).time(at))
    }

    async fn duration(&self) -> Option<i32> {
        self.0
            .duration
            .and_then(|seconds| i32::try_from(seconds).ok())
    }

    async fn queued_duration(&self, ctx: &Context<'_>) -> Option<Duration> {
        let keep_zero = !Asked::of(ctx).quirks.null_instead_of_zero_queue;
        self.0
            .queued_seconds()
            .filter(|seconds| keep_zero || *seconds != 0)
            .map(|seconds| Duration(seconds as f64))
    }

    async fn coverage(&self, ctx: &Context<'_>) -> Option<f64> {
        Asked::of(ctx).world().coverage_of(&self.0)
    }

    async fn complete(&self) -> bool {
        self.0.status.is_complete()
    }

    async fn active(&self) -> bool {
        self.0.status.is_active()
    }

    async fn child(&self) -> bool {
        self.0.is_child()
    }

    async fn latest(&self, ctx: &Context<'_>) -> bool {
        let world = Asked::of(ctx).world();
        let newest = world
            .pipelines_of(self.0.project_id)
            .find(|other| other.ref_name == self.0.ref_name && !other.is_child())
            .map(|other| other.id);
        newest == Some(self.0.id)
    }

    async fn yaml_errors(&self) -> bool {
        self.0.yaml_errors.is_some()
    }

    async fn yaml_error_messages(&self) -> Option<&str> {
        self.0.yaml_errors.as_deref()
    }

    async fn failure_reason(&self) -> Option<&str> {
        match (&self.0.status, &self.0.yaml_errors) {
            (Status::Failed, Some(_)) => Some("config_error"),
            _ => None,
        }
    }

    /// Enterprise; nothing is metered here.
    async fn compute_minutes(&self) -> Option<f64> {
        None
    }

    async fn stuck(&self) -> bool {
        false
    }

    async fn total_jobs(&self, ctx: &Context<'_>) -> i32 {
        let world = Asked::of(ctx).world();
        i32::try_from(world.jobs_of(self.0.id).filter(|job| !job.retried).count())
            .unwrap_or(i32::MAX)
    }

    async fn merge_request_event_type(&self) -> Option<PipelineMergeRequestEventType> {
        self.0.kind.event_type().map(Into::into)
    }

    async fn merge_request(&self, ctx: &Context<'_>) -> Option<MergeRequestNode> {
        let world = Asked::of(ctx).world();
        let merge_requests = &world.project(self.0.project_id)?.merge_requests;
        merge_requests
            .get(&self.0.merge_request_iid?)
            .cloned()
            .map(MergeRequestNode)
    }

    async fn upstream(&self, ctx: &Context<'_>) -> Option<PipelineNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let pipeline = world.pipeline(self.0.upstream?.pipeline_id)?;
        asked
            .reads(&world, pipeline)
            .then(|| PipelineNode(pipeline.clone()))
    }

    async fn source_job(&self, ctx: &Context<'_>) -> Option<CiJobNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let upstream = self.0.upstream?;
        let readable = asked.reads(&world, world.pipeline(upstream.pipeline_id)?);
        world
            .job(upstream.job_id)
            .filter(|_| readable)
            .cloned()
            .map(CiJobNode)
    }

    async fn downstream(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<PipelineConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let asked = Asked::of(ctx);
        let world = asked.world();
        let as_null = asked.quirks.inaccessible_downstream_null;
        let rows = world
            .downstream_of(&self.0)
            .into_iter()
            .map(|row| {
                let shown = !as_null || asked.reads(&world, &row);
                ((0, row.id), shown.then_some(PipelineNode(row)))
            })
            .collect();
        page.cut(rows, true, asked.page_maximum())
            .map(|page| Some(PipelineConnection(page)))
    }

    async fn jobs(
        &self,
        ctx: &Context<'_>,
        job_kind: Option<CiJobKind>,
        retried: Option<bool>,
        statuses: Option<Vec<CiJobStatus>>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiJobConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let asked = Asked::of(ctx);
        let world = asked.world();
        let rows = world
            .jobs_of(self.0.id)
            .rev()
            .filter(|job| CiJobNode::matches(job, statuses.as_deref(), job_kind.as_ref(), retried))
            .map(|job| ((0, job.id), Some(CiJobNode(job.clone()))))
            .collect();
        page.cut(rows, true, asked.page_maximum())
            .map(|page| Some(CiJobConnection(page)))
    }

    async fn test_report_summary(&self, ctx: &Context<'_>) -> Result<TestReportSummary> {
        if Asked::of(ctx).is_granular() {
            return Err(super::cannot_be_null("Pipeline", "testReportSummary"));
        }
        Ok(TestReportSummary(self.0.id))
    }

    async fn manual_variables(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<PipelineManualVariableConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let asked = Asked::of(ctx);
        let world = asked.world();
        let shown = asked.may(&world, self.0.project_id, Right::Variables);
        let rows = world.variables_of(&self.0).into_iter().zip(1..);
        let rows = rows.map(|(variable, place)| {
            let node = PipelineManualVariable {
                id: gid("Ci::PipelineVariable", self.0.id * 100 + place),
                key: Some(variable.key.to_string()),
                value: shown.then(|| variable.value.to_string()),
            };
            ((0, place), Some(node))
        });
        page.cut(rows.collect(), false, asked.page_maximum())
            .map(|page| Some(PipelineManualVariableConnection(page)))
    }

    async fn project(&self) -> Option<ProjectNode> {
        Some(ProjectNode(self.0.project_id))
    }
}
