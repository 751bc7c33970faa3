//! Jobs and downstream pipelines, for a batch of projects or for one pipeline.

use super::convert::{CHILD, MULTI_PROJECT, RawJob, gid, iid, raw_pipeline, time};
use super::holes::{ProjectHoles, key};
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::{Cause, GRAPHQL, GitLabError};
use crate::gitlab::json::Step;
use crate::gitlab::model::{
    Downstream, DownstreamTarget, Job, Known, Page, Status, Upstream, sensible,
};
use crate::gitlab::pager::{Bounds, Pager};
use crate::types::{PipelineId, ProjectId, Text};
use queries::pipeline_jobs::{
    self, JobsOfPipeline, JobsOfPipelineDownstreamNodes, JobsOfPipelineJobsNodes, PipelineJobsPage,
    PipelineJobsProjectsNodes,
};

/// Which pipelines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Of pipelines whose status changed at or after this time.
    MovedSince(UnixSeconds),
    /// Of running pipelines: their jobs start and end without moving the pipeline.
    Running,
}

impl Which {
    /// The variables `since` and `status` of the queries.
    pub(super) fn variables(self) -> (Option<String>, Option<String>) {
        match self {
            Self::MovedSince(since) => (Some(since.to_string()), None),
            Self::Running => (None, Some("RUNNING".to_owned())),
        }
    }
}

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
    /// Its number in its project.
    pub iid: u64,
    /// Its status as the jobs were read.
    pub status: Status,
    /// When its status last changed, as the jobs were read.
    pub updated_at: UnixSeconds,
    /// Its coverage in percent: the mean of its jobs'.
    pub coverage: Option<f64>,
    /// Its jobs, retried ones included, bridges not; a `next` leads to [`GitLab::jobs_of`].
    pub jobs: Page<Job>,
    /// Pipelines started by its bridges that were not retried; a `next` leads to
    /// [`GitLab::jobs_of`].
    pub downstream: Page<Downstream>,
}

impl GitLab {
    /// Most projects in one query for jobs.
    pub const JOBS_PROJECTS: usize = 25;
    /// Most pipelines of each kind a project shows in one query for jobs.
    pub const JOBS_PIPELINES: u32 = 5;
    /// Most pipelines in a further page of one project's.
    pub const JOBS_LIST: u32 = 25;

    /// Jobs and downstream pipelines of the wanted pipelines of up to [`Self::JOBS_PROJECTS`]
    /// projects. Where a page of pipelines has a `next`, take the others one by one with
    /// [`GitLab::jobs_of`].
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn pipeline_jobs(
        &self,
        ids: &[ProjectId],
        which: Which,
        pipelines: u32,
    ) -> Result<Batch<ProjectJobs>, GitLabError> {
        let (since, status) = which.variables();
        let variables = pipeline_jobs::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            moved: true,
            moved_after: None,
            children: true,
            children_after: None,
            since,
            status,
            pipelines: Some(self.page_size(pipelines.min(Self::JOBS_PIPELINES))),
            one: false,
            iid: None,
            page: self.page_size(100),
            jobs: true,
            jobs_after: None,
            downstream: true,
            downstream_after: None,
        };
        let asked = self.over_projects::<queries::PipelineJobs>(ids, variables);
        asked.await.map(|batch| Batch {
            items: batch.items.into_iter().map(|(jobs, _)| jobs).collect(),
            failed: batch.failed,
            bytes: batch.bytes,
        })
    }

    /// The next page of a project's list, after this cursor; `None` when the project does not exist.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn more_pipeline_jobs(
        &self,
        id: ProjectId,
        which: Which,
        children: bool,
        after: String,
    ) -> Result<Option<Page<PipelineJobs>>, GitLabError> {
        let (since, status) = which.variables();
        let (moved_after, children_after) = match children {
            true => (None, Some(after)),
            false => (Some(after), None),
        };
        let variables = pipeline_jobs::Variables {
            ids: gids(&[id]),
            projects: 1,
            moved: !children,
            moved_after,
            children,
            children_after,
            since,
            status,
            pipelines: Some(self.page_size(Self::JOBS_LIST)),
            one: false,
            iid: None,
            page: self.page_size(100),
            jobs: true,
            jobs_after: None,
            downstream: true,
            downstream_after: None,
        };
        let asked = self.over_one_project::<queries::PipelineJobs>(id, variables);
        let read = asked.await?;
        Ok(read.map(|((jobs, _), _)| match children {
            true => jobs.children,
            false => jobs.pipelines,
        }))
    }

    /// All jobs and downstream pipelines of one pipeline, page after page. `None` when the project or
    /// the pipeline does not exist.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn jobs_of(
        &self,
        project: ProjectId,
        iid: u64,
    ) -> Result<Option<PipelineJobs>, GitLabError> {
        let (mut jobs, mut downstream) = (Pager::new(Bounds::PROJECT), Pager::new(Bounds::PROJECT));
        let too_much = |excess| {
            let list = format!("{GRAPHQL} {}", pipeline_jobs::OPERATION_NAME);
            self.client().error(list, Cause::TooMuch(excess))
        };
        let mut wanted = (Some(None), Some(None));
        let mut coverage = None;
        loop {
            let read = self
                .one_pipeline(project, iid, wanted.0.clone(), wanted.1.clone())
                .await?;
            let Some((read, bytes)) = read else {
                return Ok(None);
            };
            let coverage = *coverage.get_or_insert(read.coverage);
            // A list that was not asked for is whole already.
            if wanted.0.is_some() {
                jobs.add(read.jobs, bytes).map_err(too_much)?;
            }
            if wanted.1.is_some() {
                downstream.add(read.downstream, bytes).map_err(too_much)?;
            }
            let next = |cursor: Option<&str>| cursor.map(|cursor| Some(cursor.to_owned()));
            wanted = (next(jobs.next()), next(downstream.next()));
            if wanted == (None, None) {
                return Ok(Some(PipelineJobs {
                    jobs: jobs.end(),
                    downstream: downstream.end(),
                    id: read.id,
                    iid: read.iid,
                    status: read.status,
                    updated_at: read.updated_at,
                    coverage,
                }));
            }
        }
    }

    /// One page of either list; `None` leaves a list out, `Some(None)` is its first page.
    async fn one_pipeline(
        &self,
        project: ProjectId,
        iid: u64,
        jobs: Option<Option<String>>,
        downstream: Option<Option<String>>,
    ) -> Result<Option<(PipelineJobs, usize)>, GitLabError> {
        let variables = pipeline_jobs::Variables {
            ids: gids(&[project]),
            projects: 1,
            moved: false,
            moved_after: None,
            children: false,
            children_after: None,
            since: None,
            status: None,
            pipelines: None,
            one: true,
            iid: Some(iid.to_string()),
            page: self.page_size(100),
            jobs: jobs.is_some(),
            jobs_after: jobs.flatten(),
            downstream: downstream.is_some(),
            downstream_after: downstream.flatten(),
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

fn convert(
    node: PipelineJobsProjectsNodes,
    mut holes: ProjectHoles<'_>,
) -> Result<(ProjectJobs, Option<PipelineJobs>), String> {
    let id = ProjectId(gid("id", &node.id)?);
    let project = (id, Text::from(node.full_path));
    let jobs = ProjectJobs {
        id,
        pipelines: pipelines(node.moved, &[key("moved")], &project, &mut holes),
        children: pipelines(node.children, &[key("children")], &project, &mut holes),
    };
    let one = node
        .pipeline
        .map(|pipeline| pipeline_of(pipeline, &[key("pipeline")], &project, &mut holes))
        .transpose()?;
    Ok((jobs, one))
}

fn pipelines(
    page: Option<PipelineJobsPage>,
    place: &[Step],
    project: &(ProjectId, Text),
    holes: &mut ProjectHoles<'_>,
) -> Page<PipelineJobs> {
    let Some(page) = page else {
        return Page::default();
    };
    let next = page
        .page_info
        .end_cursor
        .filter(|_| page.page_info.has_next_page);
    holes.page(place, page.nodes, next, |node, place, holes| {
        pipeline_of(node, place, project, holes)
    })
}

fn pipeline_of(
    node: JobsOfPipeline,
    place: &[Step],
    (project_id, project): &(ProjectId, Text),
    holes: &mut ProjectHoles<'_>,
) -> Result<PipelineJobs, String> {
    let id = PipelineId(gid("id", &node.id)?);
    let upstream = Upstream {
        pipeline: id,
        project_id: *project_id,
        project: Text::clone(project),
        git_ref: node.ref_.unwrap_or_default().into(),
        merge_request: Known::Unread,
        bridge: Text::default(),
    };
    let within = |name: &str| [place, &[key(name)]].concat();
    let jobs = node.jobs.map_or_else(Page::default, |page| {
        let next = page
            .page_info
            .end_cursor
            .filter(|_| page.page_info.has_next_page);
        let nodes = page.nodes.map(|nodes| {
            let nodes = nodes.into_iter();
            nodes.map(|node| node.filter(is_build)).collect()
        });
        holes.page(&within("jobs"), nodes, next, |node, _, _| job(node))
    });
    let downstream = node.downstream.map_or_else(Page::default, |page| {
        let next = page
            .page_info
            .end_cursor
            .filter(|_| page.page_info.has_next_page);
        // A null node is a pipeline that the token may not read.
        let nodes = page
            .nodes
            .unwrap_or_default()
            .into_iter()
            .map(Some)
            .collect();
        holes.page(&within("downstream"), Some(nodes), next, |node, _, _| {
            downstream(node, &upstream)
        })
    });
    Ok(PipelineJobs {
        id,
        iid: iid(&node.iid)?,
        status: Status::from(node.status),
        updated_at: time("updatedAt", &node.updated_at)?,
        coverage: sensible(node.coverage).and_then(hundredths),
        jobs,
        downstream,
    })
}

/// REST writes a pipeline's coverage with two digits; so that both give the same, it is rounded here
/// as it is there: a half to the even digit.
fn hundredths(percent: f64) -> Option<f64> {
    format!("{percent:.2}").parse().ok()
}

/// Whether it is a job that a runner runs. Older GitLabs list trigger jobs and commit statuses with them.
fn is_build(node: &JobsOfPipelineJobsNodes) -> bool {
    let id = node.id.as_deref().unwrap_or_default();
    let others = [
        "gid://gitlab/Ci::Bridge/",
        "gid://gitlab/GenericCommitStatus/",
    ];
    !others.iter().any(|kind| id.starts_with(kind))
}

/// The type of the artifact that is a job's log.
const LOG: &str = "TRACE";

fn job(node: JobsOfPipelineJobsNodes) -> Result<Job, String> {
    RawJob {
        id: node.id,
        name: node.name,
        stage: node.stage.and_then(|stage| stage.name),
        status: node.status,
        retried: node.retried,
        created_at: node.created_at,
        started_at: node.started_at,
        finished_at: node.finished_at,
        duration: node.duration,
        queued_duration: node.queued_duration,
        coverage: node.coverage,
        runner_type: node.runner.map(|runner| runner.runner_type),
        artifacts: node
            .artifacts
            .and_then(|artifacts| artifacts.nodes)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|artifact| artifact.file_type.as_deref() != Some(LOG))
            .map(|artifact| artifact.size)
            .collect(),
    }
    .convert()
}

fn downstream(
    node: Option<JobsOfPipelineDownstreamNodes>,
    upstream: &Upstream,
) -> Result<Downstream, String> {
    let hidden = |bridge: Text| Downstream {
        bridge,
        target: None,
    };
    let Some(mut node) = node else {
        return Ok(hidden(Text::default()));
    };
    let bridge: Text = node
        .source_job
        .and_then(|job| job.name)
        .unwrap_or_default()
        .into();
    let Some(project) = node.project else {
        return Ok(hidden(bridge));
    };
    let upstream = Upstream {
        bridge: Text::clone(&bridge),
        ..upstream.clone()
    };
    let project_id = ProjectId(gid("project.id", &project.id)?);
    // Older GitLabs do not show the source; what a bridge starts has one of two.
    node.source = node.source.or_else(|| {
        let is_child = project_id == upstream.project_id;
        Some(if is_child { CHILD } else { MULTI_PROJECT }.to_owned())
    });
    Ok(Downstream {
        bridge,
        target: Some(DownstreamTarget {
            project_id,
            project: project.full_path.into(),
            pipeline: raw_pipeline!(node).convert(Some(upstream))?,
        }),
    })
}
