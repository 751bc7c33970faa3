//! Pipeline schedules, for a batch of projects.

use super::convert::{gid, maybe_time};
use super::holes::{ProjectHoles, key};
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{LastPipeline, Page, Schedule, Status, short_ref};
use crate::types::{PipelineId, ProjectId};
use queries::pipeline_schedules::{
    self, PipelineSchedulesProjectsNodes as ProjectNode,
    PipelineSchedulesProjectsNodesPipelineSchedulesNodes as Node,
};

/// The schedules of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectSchedules {
    /// The project.
    pub id: ProjectId,
    /// Its schedules; a `next` leads to [`GitLab::rest_of_schedules`].
    pub schedules: Page<Schedule>,
}

impl Messages for ProjectSchedules {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.schedules.skipped);
    }
}

impl GitLab {
    /// Most projects in one query for schedules.
    pub const SCHEDULE_PROJECTS: usize = 50;

    /// The first schedules of each of up to [`Self::SCHEDULE_PROJECTS`] projects.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn project_schedules(
        &self,
        ids: &[ProjectId],
    ) -> Result<Batch<ProjectSchedules>, GitLabError> {
        let variables = self.schedule_variables(ids, 20, None);
        self.over_projects::<queries::PipelineSchedules>(ids, variables)
            .await
    }

    /// One project's schedules, from their first page to their end. They have a `next` if the project
    /// goes meanwhile.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn rest_of_schedules(
        &self,
        id: ProjectId,
        first: Page<Schedule>,
    ) -> Result<Page<Schedule>, GitLabError> {
        let variables = |after| self.schedule_variables(&[id], 100, Some(after));
        let page_of = |read: ProjectSchedules| Some(read.schedules);
        self.rest_of::<queries::PipelineSchedules, _>(id, first, variables, page_of)
            .await
    }

    fn schedule_variables(
        &self,
        ids: &[ProjectId],
        first: u32,
        after: Option<String>,
    ) -> pipeline_schedules::Variables {
        pipeline_schedules::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            schedules: self.page_size(first),
            after,
        }
    }
}

over_projects!(queries::PipelineSchedules, pipeline_schedules, ProjectNode => ProjectSchedules, project);

fn project(node: ProjectNode, mut holes: ProjectHoles<'_>) -> Result<ProjectSchedules, String> {
    let id = ProjectId(gid("id", &node.id)?);
    let (nodes, next) = node.pipeline_schedules.map_or((None, None), |page| {
        let more = page.page_info.has_next_page;
        (page.nodes, page.page_info.end_cursor.filter(|_| more))
    });
    let place = [key("pipelineSchedules")];
    let schedules = holes.page(&place, nodes, next, |node, _, _| convert(node));
    Ok(ProjectSchedules { id, schedules })
}

fn convert(node: Node) -> Result<Schedule, String> {
    let last = node.last_pipeline.map(|last| {
        Ok::<_, String>(LastPipeline {
            id: PipelineId(gid("lastPipeline.id", &last.id)?),
            status: Status::from(last.status),
        })
    });
    Ok(Schedule {
        id: gid("id", &node.id)?,
        description: node.description.unwrap_or_default().into(),
        git_ref: short_ref(node.ref_.as_deref().unwrap_or_default()).into(),
        active: node.active,
        next_run_at: maybe_time("nextRunAt", node.next_run_at.as_deref())?,
        last_pipeline: last.transpose()?,
    })
}
