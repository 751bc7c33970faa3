//! State and branches of merge requests.

use super::convert::{iid, project_gid, time};
use super::holes::{Partial, key};
use super::{Batch, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{MergeRequest, Page};
use crate::types::ProjectId;
use queries::merge_request_states::{
    MergeRequestStatesProjectsNodesMergeRequestsNodes as Node, ResponseData, Variables,
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
                ids: vec![project_gid(project)],
                iids: iids.iter().map(ToString::to_string).collect(),
                first: size,
            };
            let answer = self.query::<queries::MergeRequestStates>(variables).await?;
            let batch = batch(&[project], answer)
                .map_err(|why| self.query_error("MergeRequestStates", &why))?;
            let Some(page) =
                self.only("MergeRequestStates", self.tidy("MergeRequestStates", batch))?
            else {
                return Ok(None);
            };
            all.items.extend(page.items);
            all.skipped.extend(page.skipped);
        }
        Ok(Some(all))
    }
}

pub(super) fn batch(
    ids: &[ProjectId],
    answer: Partial<ResponseData>,
) -> Result<Batch<Page<MergeRequest>>, String> {
    let nodes = answer.data.projects.and_then(|projects| projects.nodes);
    answer.holes.split(
        ids,
        nodes.unwrap_or_default(),
        |node| &node.id,
        |node, mut holes| {
            let nodes = node.merge_requests.and_then(|page| page.nodes);
            let place = [key("mergeRequests")];
            Ok(holes.page(&place, nodes, None, |node, _, _| convert(node)))
        },
    )
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
