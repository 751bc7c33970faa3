//! Jobs and downstream pipelines, for a batch of projects or for one pipeline.

mod convert;

use super::projects::{Messages, count, gids, over_projects};
use super::selection::{BridgesPart, JobsPart, Parts, Selected, Which};
use super::{Batch, queries};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::{Cause, GRAPHQL, GitLabError};
use crate::gitlab::model::{Downstream, Job, Page, Status};
use crate::gitlab::pager::{Bounds, Pager};
use crate::types::{PipelineId, ProjectId, Text};
use convert::convert;
pub(super) use convert::is_of_a_runner;
use queries::pipeline_jobs::{self, PipelineJobsProjectsNodes};

/// Jobs of one project's pipelines.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectJobs {
    /// The project.
    pub id: ProjectId,
    /// Its pipelines that are no children, newest first.
    pub pipelines: Page<PipelineJobs>,
    /// Its child pipelines, newest first.
    pub children: Page<PipelineJobs>,
}

/// Jobs and downstream pipelines of one pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineJobs {
    /// The pipeline.
    pub id: PipelineId,
    /// Its status as the jobs were read.
    pub status: Status,
    /// When its status last changed, as the jobs were read.
    pub updated_at: UnixSeconds,
    /// Its coverage in percent: the mean of its jobs'.
    pub coverage: Option<f64>,
    /// The name of the trigger job that started it, where it was asked for and can be read.
    pub origin: Option<Text>,
    /// Its jobs, retried ones included, bridges not; a `next` leads to [`GitLab::jobs_of`].
    pub jobs: Page<Job>,
    /// Its bridges, retried ones included, with the pipelines that they started; a `next` leads to
    /// [`GitLab::jobs_of`].
    pub downstream: Page<Downstream>,
}

/// The lists of one pipeline that a page is asked of, each after its cursor; `None` leaves a list out.
#[derive(Clone, Default, PartialEq)]
struct Lists {
    jobs: Option<Option<String>>,
    bridges: Option<Option<String>>,
}

impl GitLab {
    /// Most projects in one query for jobs.
    pub const JOBS_PROJECTS: usize = 19;
    /// Most pipelines of each kind a project shows in one query for jobs.
    pub const JOBS_PIPELINES: u32 = 5;
    /// Most pipelines in a further page of one project's.
    pub const JOBS_LIST: u32 = 25;
    /// Most trigger jobs of a pipeline in one page.
    pub const BRIDGES_PAGE: u32 = 10;

    /// Whether lists of pipelines take ids: since GitLab 19.2.
    pub(crate) fn lists_by_ids(&self) -> bool {
        let gaps = &self.shared.gaps;
        !gaps.is_older_than((19, 2)) && !gaps.lacks_argument("Project", "pipelines", "ids")
    }

    /// Jobs and downstream pipelines of the wanted pipelines of up to [`Self::JOBS_PROJECTS`]
    /// projects. Where a page of pipelines has a `next`, take the others one by one with
    /// [`GitLab::jobs_of`].
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn pipeline_jobs(
        &self,
        ids: &[ProjectId],
        which: Which<'_>,
        parts: Parts,
        pipelines: u32,
    ) -> Result<Batch<ProjectJobs>, GitLabError> {
        let most = match which {
            Which::Ids(ids) | Which::ChildIds(ids) => count(ids.len().max(1)),
            _ => self.page_size(pipelines.min(Self::JOBS_PIPELINES)),
        };
        let variables = pipeline_jobs::Variables {
            moved: which.has_others(),
            children: which.has_children(),
            pipelines: Some(most),
            ..self.variables(ids, which, parts)
        };
        let asked = self.over_projects::<queries::PipelineJobs>(ids, variables);
        asked.await.map(|batch| Batch {
            items: batch.items.into_iter().map(|(jobs, _)| jobs).collect(),
            failed: batch.failed,
            bytes: batch.bytes,
            server_time: batch.server_time,
        })
    }

    /// The next page of a project's list, after this cursor; `None` when the project does not exist.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn more_pipeline_jobs(
        &self,
        id: ProjectId,
        which: Which<'_>,
        parts: Parts,
        children: bool,
        after: String,
    ) -> Result<Option<Page<PipelineJobs>>, GitLabError> {
        let (moved_after, children_after) = match children {
            true => (None, Some(after)),
            false => (Some(after), None),
        };
        let variables = pipeline_jobs::Variables {
            moved: !children,
            moved_after,
            children,
            children_after,
            pipelines: Some(self.page_size(Self::JOBS_LIST)),
            ..self.variables(&[id], which, parts)
        };
        let asked = self.over_one_project::<queries::PipelineJobs>(id, variables);
        let read = asked.await?;
        Ok(read.map(|((jobs, _), _)| match children {
            true => jobs.children,
            false => jobs.pipelines,
        }))
    }

    /// The variables of a query that lists no pipelines yet.
    fn variables(
        &self,
        ids: &[ProjectId],
        which: Which<'_>,
        parts: Parts,
    ) -> pipeline_jobs::Variables {
        let Selected {
            since,
            status,
            pipeline_ids,
        } = which.selected();
        pipeline_jobs::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            moved: false,
            moved_after: None,
            children: false,
            children_after: None,
            since,
            status,
            pipeline_ids,
            pipelines: None,
            one: false,
            iid: None,
            page: self.page_size(100),
            jobs: parts.jobs != JobsPart::None,
            jobs_after: None,
            statuses: parts.statuses(),
            stages: parts.stages,
            tags: parts.stages && self.shared.job_fields.tags,
            runners: self.shared.job_fields.runners,
            artifacts: parts.artifacts,
            coverage: parts.coverage,
            bridges: parts.bridges != BridgesPart::None,
            bridge_stages: parts.bridges >= BridgesPart::Stages,
            downstream: parts.bridges == BridgesPart::Started,
            bridges_page: self.page_size(Self::BRIDGES_PAGE),
            bridges_after: None,
            origin: parts.origin,
        }
    }

    /// What is asked of one pipeline, all of its jobs and bridges page after page. `None` when the project
    /// or the pipeline does not exist.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn jobs_of(
        &self,
        project: ProjectId,
        iid: u64,
        parts: Parts,
    ) -> Result<Option<PipelineJobs>, GitLabError> {
        let (mut jobs, mut downstream) = (Pager::new(Bounds::PROJECT), Pager::new(Bounds::PROJECT));
        let too_much = |excess| {
            let list = format!("{GRAPHQL} {}", pipeline_jobs::OPERATION_NAME);
            self.client().error(list, Cause::TooMuch(excess))
        };
        let mut wanted = Lists {
            jobs: (parts.jobs != JobsPart::None).then_some(None),
            bridges: (parts.bridges != BridgesPart::None).then_some(None),
        };
        let mut first: Option<PipelineJobs> = None;
        loop {
            let read = self.one_pipeline(project, iid, parts, &wanted).await?;
            let Some((read, bytes)) = read else {
                return Ok(None);
            };
            let kept = first.get_or_insert_with(|| PipelineJobs {
                jobs: Page::default(),
                downstream: Page::default(),
                ..read.clone()
            });
            (kept.status, kept.updated_at) = (read.status, read.updated_at);
            // A list that was not asked for is whole already.
            if wanted.jobs.is_some() {
                jobs.add(read.jobs, bytes).map_err(too_much)?;
            }
            if wanted.bridges.is_some() {
                downstream.add(read.downstream, bytes).map_err(too_much)?;
            }
            let next = |cursor: Option<&str>| cursor.map(|cursor| Some(cursor.to_owned()));
            wanted = Lists {
                jobs: next(jobs.next()),
                bridges: next(downstream.next()),
            };
            if wanted == Lists::default() {
                return Ok(first.map(|read| PipelineJobs {
                    jobs: jobs.end(),
                    downstream: downstream.end(),
                    ..read
                }));
            }
        }
    }

    /// One page of each of the lists.
    async fn one_pipeline(
        &self,
        project: ProjectId,
        iid: u64,
        parts: Parts,
        lists: &Lists,
    ) -> Result<Option<(PipelineJobs, usize)>, GitLabError> {
        let variables = pipeline_jobs::Variables {
            one: true,
            iid: Some(iid.to_string()),
            jobs: lists.jobs.is_some(),
            jobs_after: lists.jobs.clone().flatten(),
            bridges: lists.bridges.is_some(),
            bridges_after: lists.bridges.clone().flatten(),
            ..self.variables(&[project], Which::Newest, parts)
        };
        let asked = self.over_one_project::<queries::PipelineJobs>(project, variables);
        let read = asked.await?;
        Ok(read.and_then(|((_, one), bytes)| Some((one?, bytes))))
    }
}

over_projects!(queries::PipelineJobs, pipeline_jobs, PipelineJobsProjectsNodes => (ProjectJobs, Option<PipelineJobs>), convert);

impl Messages for (ProjectJobs, Option<PipelineJobs>) {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        let (project, one) = self;
        let lists = [&mut project.pipelines, &mut project.children];
        for list in lists {
            edit(&mut list.skipped);
            list.items.iter_mut().for_each(|jobs| jobs.messages(edit));
        }
        if let Some(one) = one {
            one.messages(edit);
        }
    }
}

impl Messages for PipelineJobs {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.jobs.skipped);
        edit(&mut self.downstream.skipped);
    }
}
