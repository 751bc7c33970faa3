//! Jobs of the whole instance, for its administrators.

use super::convert::gid;
use super::holes::Holes;
use super::queries;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::Page;
use crate::types::{JobId, ProjectId};
use queries::instance_jobs;

/// Which jobs of the instance are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceJobs {
    /// All, the newest first.
    Newest,
    /// Those that wait for a runner or run on one.
    Running,
}

impl GitLab {
    /// Whether jobs of the whole instance can be asked for at all; GitLab 15.3 does not have them.
    pub(crate) fn has_instance_jobs(&self) -> bool {
        self.uses_graphql() && self.refusal(instance_jobs::OPERATION_NAME).is_none()
    }

    /// A page of jobs with their projects, at most `first`; empty for a token that is no administrator's.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn instance_jobs(
        &self,
        which: InstanceJobs,
        first: u32,
        after: Option<String>,
    ) -> Result<Page<(JobId, ProjectId)>, GitLabError> {
        let statuses = match which {
            InstanceJobs::Newest => None,
            InstanceJobs::Running => Some(vec!["RUNNING".to_owned(), "PENDING".to_owned()]),
        };
        let variables = instance_jobs::Variables {
            statuses,
            first: self.page_size(first),
            after,
        };
        let answer = self.query::<queries::InstanceJobs>(variables, 0).await?;
        let name = instance_jobs::OPERATION_NAME;
        jobs(answer.data, answer.holes).map_err(|why| self.query_error(name, &why))
    }
}

/// The jobs of an answer.
///
/// # Errors
/// A sentence when some were lost.
pub(super) fn jobs(
    data: instance_jobs::ResponseData,
    holes: Holes,
) -> Result<Page<(JobId, ProjectId)>, String> {
    let skipped = holes.whole()?;
    let Some(page) = data.jobs else {
        return Ok(Page::default());
    };
    let more = page.page_info.has_next_page;
    let nodes = page.nodes.unwrap_or_default().into_iter().flatten();
    let jobs = nodes.filter_map(|node| {
        let project = node.pipeline?.project?.id;
        Some((gid("id", &node.id?).ok()?, gid("id", &project?).ok()?))
    });
    Ok(Page {
        items: jobs
            .map(|(job, project)| (JobId(job), ProjectId(project)))
            .collect(),
        next: page.page_info.end_cursor.filter(|_| more),
        skipped,
    })
}
