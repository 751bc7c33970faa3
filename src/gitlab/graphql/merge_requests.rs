//! State and branches of merge requests.

use super::convert::{iid, time};
use super::holes::{ProjectHoles, key};
use super::projects::{gids, over_projects};
use super::queries;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{MergeRequest, Page};
use crate::types::ProjectId;
use queries::merge_request_states::{
    self, MergeRequestStatesProjectsNodes as ProjectNode,
    MergeRequestStatesProjectsNodesMergeRequestsNodes as Node, Variables,
};

impl GitLab {
    /// The merge requests of these numbers; those that do not exist are left out. `None` when
    /// the project is gone.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn merge_request_states(
        &self,
        project: ProjectId,
        iids: &[u64],
    ) -> Result<Option<Page<MergeRequest>>, GitLabError> {
        let mut all = Page::default();
        let size = self.page_size(100);
        for iids in iids.chunks(usize::try_from(size).unwrap_or(1)) {
            let variables = Variables {
                ids: gids(&[project]),
                iids: iids.iter().map(ToString::to_string).collect(),
                first: size,
            };
            let asked = self.over_one_project::<queries::MergeRequestStates>(project, variables);
            let Some((page, _)) = asked.await? else {
                return Ok(None);
            };
            all.items.extend(page.items);
            all.skipped.extend(page.skipped);
        }
        Ok(Some(all))
    }
}

over_projects!(queries::MergeRequestStates, merge_request_states, ProjectNode => Page<MergeRequest>, project);

fn project(node: ProjectNode, mut holes: ProjectHoles<'_>) -> Result<Page<MergeRequest>, String> {
    let nodes = node.merge_requests.and_then(|page| page.nodes);
    let place = [key("mergeRequests")];
    Ok(holes.page(&place, nodes, None, |node, _, _| convert(node)))
}

fn convert(node: Node) -> Result<MergeRequest, String> {
    Ok(MergeRequest {
        iid: iid(&node.iid)?,
        state: node.state.to_lowercase().into(),
        target_branch: node.target_branch.into(),
        source_branch: node.source_branch.into(),
        updated_at: time("updatedAt", &node.updated_at)?,
    })
}
