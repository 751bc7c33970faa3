//! Jobs and downstream pipelines as GitLab answers them.

use super::super::convert::{CHILD, MULTI_PROJECT, RawJob, gid, raw_pipeline, time};
use super::super::holes::{ProjectHoles, key};
use super::super::queries::pipeline_jobs::{
    JobsOfPipeline, JobsOfPipelineBridgesNodes, JobsOfPipelineJobsNodes, PipelineJobsPage,
    PipelineJobsProjectsNodes,
};
use super::{PipelineJobs, ProjectJobs};
use crate::gitlab::json::Step;
use crate::gitlab::model::{
    Downstream, DownstreamTarget, Job, Known, Page, Status, Upstream, sensible,
};
use crate::types::{PipelineId, ProjectId, Text};

pub(super) fn convert(
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
pub(in super::super) fn is_of_a_runner(id: Option<&str>) -> bool {
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
