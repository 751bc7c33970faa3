//! Pipeline schedules.

use serde::Deserialize;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{LastPipeline, Page, Schedule, Status, short_ref};
use crate::types::{PipelineId, ProjectId};

#[derive(Deserialize)]
pub(super) struct RestSchedule {
    id: u64,
    description: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    #[serde(default)]
    active: bool,
    next_run_at: Option<String>,
    last_pipeline: Option<RestLastPipeline>,
}

#[derive(Deserialize)]
struct RestLastPipeline {
    id: u64,
    status: Status,
}

impl TryFrom<RestSchedule> for Schedule {
    type Error = String;

    fn try_from(raw: RestSchedule) -> Result<Self, String> {
        let next = raw.next_run_at.as_deref();
        Ok(Self {
            id: raw.id,
            description: raw.description.unwrap_or_default().into(),
            git_ref: short_ref(raw.git_ref.as_deref().unwrap_or_default()).into(),
            active: raw.active,
            next_run_at: next.and_then(|time| UnixSeconds::parse(time).ok()),
            last_pipeline: raw.last_pipeline.map(|last| LastPipeline {
                id: PipelineId(last.id),
                status: last.status,
            }),
        })
    }
}

impl GitLab {
    /// All pipeline schedules of a project, without their last pipelines
    /// (`GET /projects/:id/pipeline_schedules`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn schedules(&self, project: ProjectId) -> Result<Page<Schedule>, GitLabError> {
        let get = Get::new(
            "/projects/:id/pipeline_schedules",
            &["projects", &project.to_string(), "pipeline_schedules"],
        );
        self.get_all::<RestSchedule, _>(&get).await
    }

    /// A pipeline schedule with its last pipeline
    /// (`GET /projects/:id/pipeline_schedules/:pipeline_schedule_id`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn schedule(
        &self,
        project: ProjectId,
        schedule: u64,
    ) -> Result<Schedule, GitLabError> {
        let (project, schedule) = (project.to_string(), schedule.to_string());
        let get = Get::new(
            "/projects/:id/pipeline_schedules/:pipeline_schedule_id",
            &["projects", &project, "pipeline_schedules", &schedule],
        );
        self.get_one::<RestSchedule, _>(&get).await
    }
}
