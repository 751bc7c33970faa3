//! Jobs and downstream pipelines, for a batch of projects or for one pipeline.

use super::convert::{CHILD, MULTI_PROJECT, RawJob, gid, raw_pipeline, time};
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
    self, JobsOfPipeline, JobsOfPipelineBridgesNodes, JobsOfPipelineJobsNodes, PipelineJobsPage,
    PipelineJobsProjectsNodes,
};

/// Which pipelines of a project are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// The newest that are no children: by the order of ids, which an index has.
    Newest,
    /// The newest children. For these GitLab reads all that the project ever had.
    NewestChildren,
    /// Those whose status changed at or after this time. For these GitLab reads every pipeline that the
    /// project ever had.
    MovedSince(UnixSeconds),
    /// Those that have this status now, in upper case.
    Status(&'static str),
    /// Those that have this status since then, or longer and were touched since. An index has them.
    StatusSince(&'static str, UnixSeconds),
    /// These that are no children: at most [`GitLab::PIPELINE_IDS`]. A project lists its own.
    Ids(&'a [PipelineId]),
    /// These children, as many.
    ChildIds(&'a [PipelineId]),
}

/// The variables of the queries that say which pipelines are listed.
pub(super) struct Selected {
    pub(super) since: Option<String>,
    pub(super) status: Option<String>,
    pub(super) pipeline_ids: Option<Vec<String>>,
}

impl Which<'_> {
    /// Running pipelines: their jobs start and end without moving the pipeline.
    pub const RUNNING: Self = Self::Status("RUNNING");

    pub(super) fn selected(self) -> Selected {
        let (since, status) = match self {
            Self::MovedSince(since) => (Some(since.to_string()), None),
            Self::Status(status) => (None, Some(status.to_owned())),
            Self::StatusSince(status, since) => (Some(since.to_string()), Some(status.to_owned())),
            Self::Newest | Self::NewestChildren | Self::Ids(_) | Self::ChildIds(_) => (None, None),
        };
        let pipeline_ids = match self {
            Self::Ids(ids) | Self::ChildIds(ids) => {
                let gid = |id: &PipelineId| format!("gid://gitlab/Ci::Pipeline/{id}");
                Some(ids.iter().map(gid).collect())
            }
            _ => None,
        };
        Selected {
            since,
            status,
            pipeline_ids,
        }
    }

    /// Whether child pipelines are listed.
    pub(super) fn has_children(self) -> bool {
        !matches!(self, Self::Newest | Self::Ids(_))
    }

    /// Whether pipelines that are no children are listed.
    pub(super) fn has_others(self) -> bool {
        !matches!(self, Self::NewestChildren | Self::ChildIds(_))
    }
}

/// What is asked of each pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parts {
    /// Its jobs.
    pub jobs: JobsPart,
    /// The stages of these jobs, which cost GitLab a query for each.
    pub stages: bool,
    /// Their artifacts, which cost it a query for each.
    pub artifacts: bool,
    /// The coverage of the pipeline, which costs it one or two.
    pub coverage: bool,
    /// Its trigger jobs.
    pub bridges: BridgesPart,
    /// The trigger job that started it, which costs GitLab a query for each.
    pub origin: bool,
}

/// What is asked of trigger jobs. Where there are none, all of it costs GitLab one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BridgesPart {
    /// Nothing.
    None,
    /// How they are.
    Status,
    /// The same, and their stages, which cost GitLab a query for each.
    Stages,
    /// The same, and the pipelines they started, which cost it up to twelve for each.
    Started,
}

/// Which jobs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobsPart {
    /// None.
    None,
    /// Those that have not ended.
    Active,
    /// All.
    All,
}

/// The statuses of jobs that have not ended, as far as every GitLab knows them.
const ACTIVE_JOBS: [&str; 5] = [
    "CREATED",
    "WAITING_FOR_RESOURCE",
    "PREPARING",
    "PENDING",
    "RUNNING",
];

impl Parts {
    /// Everything that is to be known of a pipeline.
    pub const WHOLE: Self = Self {
        jobs: JobsPart::All,
        stages: true,
        artifacts: true,
        coverage: true,
        bridges: BridgesPart::Started,
        origin: false,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        jobs: JobsPart::None,
        stages: false,
        artifacts: false,
        coverage: false,
        bridges: BridgesPart::None,
        origin: false,
    };
    /// What it started.
    pub const BRIDGES: Self = Self {
        bridges: BridgesPart::Started,
        ..Self::NONE
    };
    /// The trigger job that started it.
    pub const ORIGIN: Self = Self {
        origin: true,
        ..Self::NONE
    };

    pub(super) fn statuses(self) -> Option<Vec<String>> {
        let active = || ACTIVE_JOBS.map(str::to_owned).to_vec();
        (self.jobs == JobsPart::Active).then(active)
    }
}

impl Status {
    /// Whether a job of this status is among those of [`JobsPart::Active`].
    #[must_use]
    pub fn is_listed_active(&self) -> bool {
        let name = self.as_str();
        ACTIVE_JOBS
            .iter()
            .any(|active| active.eq_ignore_ascii_case(name))
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
    let downstream = node.bridges.map_or_else(Page::default, |page| {
        let next = page
            .page_info
            .end_cursor
            .filter(|_| page.page_info.has_next_page);
        let nodes = page.nodes.map(|nodes| {
            let nodes = nodes.into_iter();
            nodes.map(|node| node.filter(is_bridge)).collect()
        });
        holes.page(&within("bridges"), nodes, next, |node, _, _| {
            downstream(node, &upstream)
        })
    });
    Ok(PipelineJobs {
        id,
        status: Status::from(node.status),
        updated_at: time("updatedAt", &node.updated_at)?,
        coverage: sensible(node.coverage).and_then(hundredths),
        origin: node.source_job.and_then(|job| job.name).map(Text::from),
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
pub(super) fn is_of_a_runner(id: Option<&str>) -> bool {
    let id = id.unwrap_or_default();
    let others = [
        "gid://gitlab/Ci::Bridge/",
        "gid://gitlab/GenericCommitStatus/",
    ];
    !others.iter().any(|kind| id.starts_with(kind))
}

fn is_build(node: &JobsOfPipelineJobsNodes) -> bool {
    is_of_a_runner(node.id.as_deref())
}

/// Whether it is a trigger job. Older GitLabs list other jobs with them.
fn is_bridge(node: &JobsOfPipelineBridgesNodes) -> bool {
    let id = node.id.as_deref().unwrap_or_default();
    let others = [
        "gid://gitlab/Ci::Build/",
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
        allow_failure: Some(node.allow_failure),
        created_at: node.created_at,
        started_at: node.started_at,
        finished_at: node.finished_at,
        duration: node.duration,
        queued_duration: node.queued_duration,
        coverage: node.coverage,
        tags: node.tags,
        runner_description: node
            .runner
            .as_ref()
            .and_then(|runner| runner.description.clone()),
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

fn downstream(node: JobsOfPipelineBridgesNodes, upstream: &Upstream) -> Result<Downstream, String> {
    let started = node.downstream_pipeline;
    let job = RawJob {
        id: node.id,
        name: node.name,
        stage: node.stage.and_then(|stage| stage.name),
        status: node.status,
        retried: node.retried,
        allow_failure: Some(node.allow_failure),
        created_at: node.created_at,
        started_at: node.started_at,
        finished_at: node.finished_at,
        duration: None,
        queued_duration: None,
        coverage: None,
        tags: None,
        runner_description: None,
        runner_type: None,
        artifacts: Vec::new(),
    };
    let job = Job {
        is_bridge: true,
        duration: None,
        runner_type: Known::Nothing,
        ..job.convert()?
    };
    let bridge = job.name.clone();
    let hidden = |bridge: Job| Downstream {
        bridge,
        target: None,
    };
    // Not started yet, or the token may not read it.
    let Some(mut node) = started else {
        return Ok(hidden(job));
    };
    let Some(project) = node.project else {
        return Ok(hidden(job));
    };
    let upstream = Upstream {
        bridge,
        ..upstream.clone()
    };
    let project_id = ProjectId(gid("project.id", &project.id)?);
    // Older GitLabs do not show the source; what a bridge starts has one of two.
    node.source = node.source.or_else(|| {
        let is_child = project_id == upstream.project_id;
        Some(if is_child { CHILD } else { MULTI_PROJECT }.to_owned())
    });
    Ok(Downstream {
        bridge: job,
        target: Some(DownstreamTarget {
            project_id,
            project: project.full_path.into(),
            pipeline: raw_pipeline!(node).convert(Some(upstream))?,
        }),
    })
}
