//! The change feed: which pipelines of which projects moved.

use super::convert::{CHILD, gid, maybe_time, merge_request, raw_pipeline};
use super::holes::{ProjectHoles, key};
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, Selected, Which, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::json::Step;
use crate::gitlab::model::{
    Attributes, Features, Known, Page, Pipeline, Project, Upstream, merge_request_iid,
};
use crate::types::{PipelineId, ProjectId};
use queries::project_changes::{
    self, ChildPage, PipelinePage, ProjectChangesProjectsNodes, StartedBy,
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
            ids: gids(ids),
            projects: count(ids.len()),
            since,
            status,
            pipeline_ids,
            pipelines: self.page_size(first),
            moved: which.has_others(),
            moved_after: None,
            children: which.has_children(),
            children_after: None,
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
            ids: gids(&[id]),
            projects: 1,
            since: None,
            status: None,
            pipeline_ids: None,
            pipelines: self.page_size(100),
            moved: true,
            moved_after: Some(after),
            children: false,
            children_after: None,
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
                ids: gids(&[id]),
                projects: 1,
                since,
                status,
                pipeline_ids,
                pipelines: self.page_size(100),
                moved: !children,
                moved_after,
                children,
                children_after,
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

over_projects!(queries::ProjectChanges, project_changes, ProjectChangesProjectsNodes => ProjectChanges, convert);

impl Messages for ProjectChanges {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.pipelines.skipped);
        edit(&mut self.children.skipped);
    }
}

fn convert(
    node: ProjectChangesProjectsNodes,
    mut holes: ProjectHoles<'_>,
) -> Result<ProjectChanges, String> {
    let feature = |value: Option<bool>| value.map_or(Known::Unread, Known::Value);
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
