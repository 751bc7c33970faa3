//! Pipeline schedules, for a batch of projects.

use super::changes::count;
use super::convert::{gid, maybe_time, project_gid};
use super::holes::{Partial, key};
use super::{Batch, Messages, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{LastPipeline, Page, Schedule, Status, short_ref};
use crate::types::{PipelineId, ProjectId};
use queries::pipeline_schedules::{
    self, PipelineSchedulesProjectsNodesPipelineSchedulesNodes as Node,
};

/// The schedules of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectSchedules {
    /// The project.
    pub id: ProjectId,
    /// Its schedules; a `next` leads to [`GitLab::more_schedules`].
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
        self.schedules_query(ids, 20, None).await
    }

    /// The next page of one project's schedules. `None` when the project is gone.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn more_schedules(
        &self,
        id: ProjectId,
        after: &str,
    ) -> Result<Option<Page<Schedule>>, GitLabError> {
        let batch = self
            .schedules_query(&[id], 100, Some(after.to_owned()))
            .await?;
        let page = self.only("PipelineSchedules", batch)?;
        Ok(page.map(|read| read.schedules))
    }

    async fn schedules_query(
        &self,
        ids: &[ProjectId],
        first: u32,
        after: Option<String>,
    ) -> Result<Batch<ProjectSchedules>, GitLabError> {
        let variables = pipeline_schedules::Variables {
            ids: ids.iter().copied().map(project_gid).collect(),
            projects: count(ids.len()),
            schedules: self.page_size(first),
            after,
        };
        let answer = self.query::<queries::PipelineSchedules>(variables).await?;
        batch(ids, answer)
            .map_err(|why| self.query_error("PipelineSchedules", &why))
            .map(|batch| self.tidy("PipelineSchedules", batch))
    }
}

pub(super) fn batch(
    ids: &[ProjectId],
    answer: Partial<pipeline_schedules::ResponseData>,
) -> Result<Batch<ProjectSchedules>, String> {
    let nodes = answer.data.projects.and_then(|projects| projects.nodes);
    answer.holes.split(
        ids,
        nodes.unwrap_or_default(),
        |node| &node.id,
        |node, mut holes| {
            let id = ProjectId(gid("id", &node.id)?);
            let (nodes, next) = node.pipeline_schedules.map_or((None, None), |page| {
                let more = page.page_info.has_next_page;
                (page.nodes, page.page_info.end_cursor.filter(|_| more))
            });
            let place = [key("pipelineSchedules")];
            let schedules = holes.page(&place, nodes, next, |node, _, _| convert(node));
            Ok(ProjectSchedules { id, schedules })
        },
    )
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
