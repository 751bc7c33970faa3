//! The change feed: which pipelines of which projects moved.

use super::convert::{CHILD, RawJob, gid, maybe_time, merge_request, raw_pipeline, time};
use super::holes::{ProjectHoles, key};
use super::jobs::is_of_a_runner;
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, JobsPart, Parts, PipelineJobs, Selected, Which, queries};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::json::Step;
use crate::gitlab::model::{
    Attributes, Features, Job, Known, Page, Pipeline, Project, Status, Upstream, merge_request_iid,
};
use crate::types::{PipelineId, ProjectId};
use queries::project_changes::{
    self, ActivePage, ActivePageNodes, ActivePageNodesJobsNodes, ChildPage, PipelinePage,
    ProjectChangesProjectsNodes, StartedBy,
};

/// What moved in one project.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectChanges {
    /// The project now; its default branch and the role in it are unread.
    pub project: Project,
    /// Pipelines that are no children, newest first. Coverage is left open: it costs GitLab a
    /// query each, and [`super::PipelineJobs::coverage`] has it.
    pub pipelines: Page<Pipeline>,
    /// Child pipelines, newest first.
    pub children: Page<Pipeline>,
    /// The jobs of pipelines that were asked for with it, where they are all there.
    pub active: Vec<PipelineJobs>,
}

/// Pipelines whose jobs are asked for together with what moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// Those that are no children.
    pub others: Vec<PipelineId>,
    /// Children. Together they are at most [`GitLab::PIPELINE_IDS`].
    pub children: Vec<PipelineId>,
    /// Whether all of their jobs are listed, or those that have not ended.
    pub all_jobs: bool,
}

impl Active {
    /// What is asked of each.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let jobs = match self.all_jobs {
            true => JobsPart::All,
            false => JobsPart::Active,
        };
        Parts {
            jobs,
            ..Parts::NONE
        }
    }
}

impl GitLab {
    /// Most projects in one query of the change feed.
    pub const CHANGES_PROJECTS: usize = 100;
    /// Most pipelines of each kind that a project shows in a query of that size.
    pub const CHANGES_PIPELINES: u32 = 20;
    /// Most projects in one query at their first poll, where answers are long.
    pub const FIRST_POLL_PROJECTS: usize = 25;
    /// Most pipelines of each kind that a project shows at its first poll.
    pub const FIRST_POLL_PIPELINES: u32 = 50;

    /// Most pipelines that can be asked for by their ids in one query.
    pub const PIPELINE_IDS: usize = 20;

    /// Most projects in one query of the change feed that brings jobs of active pipelines with it.
    pub const ACTIVE_PROJECTS: usize = 20;
    /// Most jobs of each of these pipelines.
    pub const ACTIVE_JOBS: u32 = 25;

    /// Pipelines of up to [`Self::CHANGES_PROJECTS`] projects, `first` of each kind per project.
    ///
    /// A page's `next` leads to [`GitLab::rest_of_pipelines`].
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn project_changes(
        &self,
        ids: &[ProjectId],
        which: Which<'_>,
        first: u32,
    ) -> Result<Batch<ProjectChanges>, GitLabError> {
        let Selected {
            since,
            status,
            pipeline_ids,
        } = which.selected();
        let variables = project_changes::Variables {
            since,
            status,
            pipeline_ids,
            pipelines: self.page_size(first),
            moved: which.has_others(),
            children: which.has_children(),
            ..unasked(ids)
        };
        self.over_projects::<queries::ProjectChanges>(ids, variables)
            .await
    }

    /// The same of up to [`Self::ACTIVE_PROJECTS`] projects, with the jobs of these pipelines of theirs.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn changes_with_jobs(
        &self,
        ids: &[ProjectId],
        since: UnixSeconds,
        active: &Active,
    ) -> Result<Batch<ProjectChanges>, GitLabError> {
        let which = Which::MovedSince(since);
        let pipelines = active.others.iter().chain(&active.children);
        let pipelines: Vec<PipelineId> = pipelines.copied().collect();
        let variables = project_changes::Variables {
            since: which.selected().since,
            pipelines: self.page_size(Self::CHANGES_PIPELINES),
            moved: true,
            children: true,
            active_ids: Which::Ids(&pipelines).selected().pipeline_ids,
            active_pipelines: Some(count(pipelines.len().max(1))),
            active: !active.others.is_empty(),
            active_children: !active.children.is_empty(),
            job_statuses: active.parts().statuses(),
            jobs_page: Some(self.page_size(Self::ACTIVE_JOBS)),
            ..unasked(ids)
        };
        self.over_projects::<queries::ProjectChanges>(ids, variables)
            .await
    }

    /// The next page of one project's newest pipelines, after this cursor; `None` when the project does not
    /// exist.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn more_newest_pipelines(
        &self,
        id: ProjectId,
        after: String,
    ) -> Result<Option<Page<Pipeline>>, GitLabError> {
        let variables = project_changes::Variables {
            pipelines: self.page_size(100),
            moved: true,
            moved_after: Some(after),
            ..unasked(&[id])
        };
        let asked = self.over_one_project::<queries::ProjectChanges>(id, variables);
        Ok(asked.await?.map(|(changes, _)| changes.pipelines))
    }

    /// One project's moved pipelines, or its moved child pipelines, from their first page to their end.
    /// They have a `next` if the project goes meanwhile.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn rest_of_pipelines(
        &self,
        id: ProjectId,
        which: Which<'_>,
        children: bool,
        first: Page<Pipeline>,
    ) -> Result<Page<Pipeline>, GitLabError> {
        let variables = |after: String| {
            let Selected {
                since,
                status,
                pipeline_ids,
            } = which.selected();
            let (moved_after, children_after) = match children {
                true => (None, Some(after)),
                false => (Some(after), None),
            };
            project_changes::Variables {
                since,
                status,
                pipeline_ids,
                pipelines: self.page_size(100),
                moved: !children,
                moved_after,
                children,
                children_after,
                ..unasked(&[id])
            }
        };
        let page_of = |changes: ProjectChanges| match children {
            true => Some(changes.children),
            false => Some(changes.pipelines),
        };
        self.rest_of::<queries::ProjectChanges, _>(id, first, variables, page_of)
            .await
    }
}

/// A query that asks nothing of these projects yet.
fn unasked(ids: &[ProjectId]) -> project_changes::Variables {
    project_changes::Variables {
        ids: gids(ids),
        projects: count(ids.len()),
        since: None,
        status: None,
        pipeline_ids: None,
        pipelines: 1,
        moved: false,
        moved_after: None,
        children: false,
        children_after: None,
        active_ids: None,
        active_pipelines: None,
        active: false,
        active_children: false,
        job_statuses: None,
        jobs_page: None,
    }
}

over_projects!(queries::ProjectChanges, project_changes, ProjectChangesProjectsNodes => ProjectChanges, convert);

impl Messages for ProjectChanges {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.pipelines.skipped);
        edit(&mut self.children.skipped);
        self.active.iter_mut().for_each(|jobs| jobs.messages(edit));
    }
}

fn convert(
    node: ProjectChangesProjectsNodes,
    mut holes: ProjectHoles<'_>,
) -> Result<ProjectChanges, String> {
    let feature = |value: Option<bool>| value.map_or(Known::Unread, Known::Value);
    let mut active = active(node.active, &[key("active")], &mut holes);
    let place = [key("activeChildren")];
    active.extend(self::active(node.active_children, &place, &mut holes));
    Ok(ProjectChanges {
        project: Project {
            id: ProjectId(gid("id", &node.id)?),
            full_path: node.full_path.into(),
            default_branch: Known::Unread,
            archived: node.archived.unwrap_or(false),
            last_activity_at: maybe_time("lastActivityAt", node.last_activity_at.as_deref())?,
            is_scheduled_for_deletion: node.marked_for_deletion.unwrap_or(false),
            role: Known::Unread,
            attributes: Attributes::default(),
            features: Features {
                public_jobs: feature(node.public_jobs),
                jobs: feature(node.jobs_enabled),
                merge_requests: feature(node.merge_requests_enabled),
            },
        },
        pipelines: pipelines(node.moved, &[key("moved")], &mut holes),
        children: children(node.children, &[key("children")], &mut holes),
        active,
    })
}

/// A null connection is an empty page: the token may not read them, or CI/CD is off.
fn pipelines(
    page: Option<PipelinePage>,
    place: &[Step],
    holes: &mut ProjectHoles<'_>,
) -> Page<Pipeline> {
    let Some(page) = page else {
        return Page::default();
    };
    let next = page
        .page_info
        .end_cursor
        .filter(|_| page.page_info.has_next_page);
    holes.page(place, page.nodes, next, |node, _, _| {
        let upstream = node.upstream.map(|raw| upstream(raw, String::new()));
        raw_pipeline!(node).convert(upstream.transpose()?)
    })
}

/// The same of child pipelines, which say what started them.
fn children(
    page: Option<ChildPage>,
    place: &[Step],
    holes: &mut ProjectHoles<'_>,
) -> Page<Pipeline> {
    let Some(page) = page else {
        return Page::default();
    };
    let next = page
        .page_info
        .end_cursor
        .filter(|_| page.page_info.has_next_page);
    holes.page(place, page.nodes, next, |mut node, _, _| {
        // All that were asked for have this source.
        node.source = node.source.or_else(|| Some(CHILD.to_owned()));
        let bridge = node.source_job.and_then(|job| job.name);
        let upstream = node
            .upstream
            .map(|raw| upstream(raw, bridge.unwrap_or_default()));
        raw_pipeline!(node).convert(upstream.transpose()?)
    })
}

/// The pipelines of a page whose jobs came whole. One that is missing is asked for by itself.
fn active(
    page: Option<ActivePage>,
    place: &[Step],
    holes: &mut ProjectHoles<'_>,
) -> Vec<PipelineJobs> {
    let nodes = page.and_then(|page| page.nodes);
    let page = holes.page(place, nodes, None, active_pipeline);
    let read = page.items.into_iter();
    read.filter(|pipeline| pipeline.jobs.next.is_none())
        .collect()
}

fn active_pipeline(
    node: ActivePageNodes,
    place: &[Step],
    holes: &mut ProjectHoles<'_>,
) -> Result<PipelineJobs, String> {
    let page = node.jobs.ok_or("jobs: null")?;
    let more = page.page_info.has_next_page;
    let next = page.page_info.end_cursor.filter(|_| more);
    let place = [place, &[key("jobs")]].concat();
    let nodes = page.nodes.map(|nodes| {
        let is_build = |node: &ActivePageNodesJobsNodes| is_of_a_runner(node.id.as_deref());
        let nodes = nodes.into_iter();
        nodes.map(|node| node.filter(is_build)).collect()
    });
    Ok(PipelineJobs {
        id: PipelineId(gid("id", &node.id)?),
        status: Status::from(node.status),
        updated_at: time("updatedAt", &node.updated_at)?,
        coverage: None,
        origin: None,
        jobs: holes.page(&place, nodes, next, |node, _, _| active_job(node)),
        downstream: Page::default(),
    })
}

fn active_job(node: ActivePageNodesJobsNodes) -> Result<Job, String> {
    RawJob {
        id: node.id,
        name: node.name,
        stage: None,
        status: node.status,
        retried: node.retried,
        allow_failure: Some(node.allow_failure),
        created_at: node.created_at,
        started_at: node.started_at,
        finished_at: node.finished_at,
        duration: node.duration,
        queued_duration: node.queued_duration,
        coverage: node.coverage,
        runner_type: node.runner.map(|runner| runner.runner_type),
        runner_description: None,
        tags: None,
        artifacts: Vec::new(),
    }
    .convert()
}

fn upstream(raw: StartedBy, bridge: String) -> Result<Upstream, String> {
    let git_ref = raw.ref_.unwrap_or_default();
    let (project_id, project) = match raw.project {
        Some(project) => (
            ProjectId(gid("upstream.project.id", &project.id)?),
            project.full_path,
        ),
        None => (ProjectId(0), String::new()),
    };
    Ok(Upstream {
        merge_request: merge_request(
            raw.merge_request
                .map(|mr| (mr.iid, mr.target_branch, mr.source_branch)),
            merge_request_iid(&git_ref).is_some(),
        )?,
        pipeline: PipelineId(gid("upstream.id", &raw.id)?),
        project_id,
        project: project.into(),
        git_ref: git_ref.into(),
        bridge: bridge.into(),
    })
}
