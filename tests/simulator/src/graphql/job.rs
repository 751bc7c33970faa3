//! Jobs, bridges, their runners and artifacts.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::interfaces::PipelineInterface;
use super::page::{Page, PageArguments, connection};
use super::pipeline::PipelineNode;
use super::project::ProjectNode;
use super::runners::CiRunnerNode;
use super::scalars::{
    BigInt, CiJobArtifactId, CiJobKind, CiJobStatus, Duration, JobArtifactFileType, JobId, Time,
};
use super::{Asked, gid};
use crate::world::{Job, JobKind, Status, When};

/// A job or a bridge.
#[derive(Clone, Debug)]
pub struct CiJobNode(pub Arc<Job>);

connection!(CiJobConnection, CiJobEdge, CiJobNode {
    async fn count(&self, limit: Option<i32>) -> i32 {
        let limit = limit.unwrap_or(1_000).clamp(0, 1_000);
        i32::try_from(self.0.total).unwrap_or(i32::MAX).min(limit + 1)
    }
});

/// A stage.
#[derive(Clone, Debug, SimpleObject)]
pub struct CiStage {
    id: ID,
    name: Option<String>,
    status: Option<String>,
}

/// A file that a job left.
#[derive(Clone, SimpleObject)]
pub struct CiJobArtifact {
    id: CiJobArtifactId,
    name: Option<String>,
    file_type: Option<JobArtifactFileType>,
    size: BigInt,
}

/// A job that another one waits for.
#[derive(Clone, Debug, SimpleObject)]
pub struct CiBuildNeed {
    id: ID,
    name: Option<String>,
}

connection!(CiBuildNeedConnection, CiBuildNeedEdge, CiBuildNeed {});

connection!(CiJobArtifactConnection, CiJobArtifactEdge, CiJobArtifact {});

impl CiJobNode {
    pub(super) fn matches(
        job: &Job,
        statuses: Option<&[CiJobStatus]>,
        kind: Option<&CiJobKind>,
        retried: Option<bool>,
    ) -> bool {
        let bridge = job.kind == JobKind::Bridge;
        statuses.is_none_or(|statuses| {
            statuses
                .iter()
                .any(|status| status.0 == job.status.graphql())
        }) && kind.is_none_or(|kind| bridge == (kind.0 == "BRIDGE"))
            && retried.is_none_or(|retried| job.retried == retried)
    }
}

#[Object(name = "CiJob")]
impl CiJobNode {
    pub(super) async fn id(&self) -> Option<JobId> {
        let class = if self.0.kind == JobKind::Bridge {
            "Ci::Bridge"
        } else {
            "Ci::Build"
        };
        Some(JobId(gid(class, self.0.id).0))
    }

    pub(super) async fn name(&self) -> Option<&str> {
        Some(&self.0.name)
    }

    pub(super) async fn status(&self) -> Option<CiJobStatus> {
        Some(self.0.status.graphql().into())
    }

    pub(super) async fn stage(&self, ctx: &Context<'_>) -> Option<CiStage> {
        let made_up = self.0.pipeline_id * 100 + u64::from(self.0.stage_index);
        let world = Asked::of(ctx).world();
        let same = world
            .jobs_of(self.0.pipeline_id)
            .filter(|job| job.stage_index == self.0.stage_index);
        let status = crate::world::status::composite(same.map(|job| &**job));
        Some(CiStage {
            id: gid("Ci::Stage", self.0.details.stage_id.unwrap_or(made_up)),
            name: Some(self.0.stage.to_string()),
            status: status.map(|status| status.to_string()),
        })
    }

    pub(super) async fn kind(&self) -> CiJobKind {
        if self.0.kind == JobKind::Bridge {
            "BRIDGE".into()
        } else {
            "BUILD".into()
        }
    }

    pub(super) async fn allow_failure(&self) -> bool {
        self.0.allow_failure
    }

    pub(super) async fn active(&self) -> bool {
        self.0.status.is_active()
    }

    pub(super) async fn created_at(&self, ctx: &Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.created_at)
    }

    pub(super) async fn queued_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.queued_at.map(|at| Asked::of(ctx).time(at))
    }

    pub(super) async fn started_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.started_at.map(|at| Asked::of(ctx).time(at))
    }

    pub(super) async fn finished_at(&self, ctx: &Context<'_>) -> Option<Time> {
        self.0.finished_at.map(|at| Asked::of(ctx).time(at))
    }

    async fn erased_at(&self) -> Option<Time> {
        None
    }

    pub(super) async fn duration(&self, ctx: &Context<'_>) -> Option<i32> {
        let seconds = self.0.duration_seconds(Asked::of(ctx).world().now())?;
        Some(seconds as i32)
    }

    pub(super) async fn queued_duration(&self, ctx: &Context<'_>) -> Option<Duration> {
        self.0
            .queued_seconds(Asked::of(ctx).world().now())
            .map(Duration)
    }

    pub(super) async fn coverage(&self) -> Option<f64> {
        self.0.coverage.filter(|_| self.0.status.is_complete())
    }

    pub(super) async fn retried(&self) -> Option<bool> {
        Some(self.0.retried)
    }

    pub(super) async fn manual_job(&self) -> Option<bool> {
        Some(self.0.when == When::Manual)
    }

    pub(super) async fn scheduled(&self) -> bool {
        self.0.status == Status::Scheduled
    }

    pub(super) async fn stuck(&self) -> bool {
        false
    }

    pub(super) async fn tags(&self) -> Option<Vec<String>> {
        Some(self.0.tags.iter().map(ToString::to_string).collect())
    }

    pub(super) async fn ref_name(&self, ctx: &Context<'_>) -> Option<String> {
        let world = Asked::of(ctx).world();
        world
            .pipeline(self.0.pipeline_id)
            .map(|pipeline| pipeline.ref_name.to_string())
    }

    /// Prose; GraphQL has no field with GitLab's value.
    pub(super) async fn failure_message(&self, ctx: &Context<'_>) -> Option<String> {
        let reason = self.0.failure_reason.as_deref()?;
        // Of a script that failed nothing is said.
        if reason == "script_failure" && Asked::of(ctx).quirks.no_failure_reason_in_graphql {
            return None;
        }
        if !Asked::of(ctx).quirks.no_failure_reason_in_graphql {
            return Some(reason.to_owned());
        }
        Some(match reason {
            "runner_system_failure" => {
                "There has been a runner system failure, please try again".to_owned()
            }
            "job_execution_timeout" => {
                "The script exceeded the maximum execution time set for the job".to_owned()
            }
            "missing_dependency_failure" => {
                "There has been a missing dependency failure".to_owned()
            }
            "stuck_or_timeout_failure" => {
                "There has been a timeout failure or the job got stuck".to_owned()
            }
            "unknown_failure" => "There is an unknown failure, please try again".to_owned(),
            other => format!("There has been a failure: {}", other.replace('_', " ")),
        })
    }

    async fn exit_code(&self) -> Option<i32> {
        self.0.details.exit_code
    }

    async fn needs(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiBuildNeedConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let needs = self.0.details.needs.iter().zip(1..);
        let rows = needs.map(|(name, place)| {
            let id = gid("Ci::BuildNeed", self.0.id * 100 + place);
            let name = Some(name.to_string());
            ((0, place), Some(CiBuildNeed { id, name }))
        });
        page.cut(rows.collect(), false, Asked::of(ctx).page_maximum())
            .map(|page| Some(CiBuildNeedConnection(page)))
    }

    pub(super) async fn runner(&self, ctx: &Context<'_>) -> Option<CiRunnerNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let runner = world.runner(self.0.runner_id?)?;
        let project = world.pipeline(self.0.pipeline_id)?.project_id;
        if asked.quirks.runners_hidden_below_maintainer
            && !world
                .project(project)
                .is_some_and(|project| asked.viewer.reads_runner(project, runner))
        {
            return None;
        }
        Some(CiRunnerNode(runner.clone()))
    }

    async fn artifacts(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiJobArtifactConnection>> {
        if !self.0.status.is_complete() {
            return Ok(Some(CiJobArtifactConnection(Page::empty())));
        }
        let row = |(index, artifact): (usize, &crate::world::Artifact)| {
            let id = self.0.id * 100 + index as u64;
            let node = CiJobArtifact {
                id: CiJobArtifactId(gid("Ci::JobArtifact", id).0),
                name: Some(artifact.filename.to_string()),
                file_type: Some(artifact.file_type.to_ascii_uppercase().into()),
                size: BigInt(artifact.size.to_string()),
            };
            ((0, id), Some(node))
        };
        let rows = self.0.artifacts.iter().enumerate().map(row);
        let mut rows: Vec<_> = rows.collect();
        rows.reverse();
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        page.cut(rows, true, Asked::of(ctx).page_maximum())
            .map(|page| Some(CiJobArtifactConnection(page)))
    }

    async fn downstream_pipeline(&self, ctx: &Context<'_>) -> Option<PipelineNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let pipeline = world.pipeline(self.0.downstream_id?)?;
        asked
            .reads(&world, pipeline)
            .then(|| PipelineNode(pipeline.clone()))
    }

    pub(super) async fn pipeline(&self, ctx: &Context<'_>) -> Option<PipelineInterface> {
        let world = Asked::of(ctx).world();
        let pipeline = world.pipeline(self.0.pipeline_id)?;
        Some(PipelineNode(pipeline.clone()).into())
    }

    async fn project(&self, ctx: &Context<'_>) -> Option<ProjectNode> {
        let world = Asked::of(ctx).world();
        world
            .pipeline(self.0.pipeline_id)
            .map(|pipeline| ProjectNode(pipeline.project_id))
    }
}
