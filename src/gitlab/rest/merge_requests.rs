//! Merge requests: what the ref rules need of them.

use serde::Deserialize;

use super::Get;
use super::pipelines::time;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{MergeRequest, Page};
use crate::types::ProjectId;

/// Numbers in one call, so that the address stays short.
pub(super) const IIDS_PER_CALL: usize = 100;

#[derive(Deserialize)]
pub(super) struct RestMergeRequest {
    iid: u64,
    state: String,
    target_branch: String,
    source_branch: String,
    updated_at: String,
}

impl TryFrom<RestMergeRequest> for MergeRequest {
    type Error = String;

    fn try_from(raw: RestMergeRequest) -> Result<Self, String> {
        Ok(Self {
            iid: raw.iid,
            state: raw.state.to_lowercase().into(),
            target_branch: raw.target_branch.into(),
            source_branch: raw.source_branch.into(),
            updated_at: time("updated_at", &raw.updated_at)
                .map_err(|why| format!("merge request {}: {why}", raw.iid))?,
        })
    }
}

impl GitLab {
    /// One merge request (`GET /projects/:id/merge_requests/:iid`).
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when there is none of this number.
    pub async fn merge_request(
        &self,
        project: ProjectId,
        iid: u64,
    ) -> Result<MergeRequest, GitLabError> {
        let (project, iid) = (project.to_string(), iid.to_string());
        let get = Get::new(
            "/projects/:id/merge_requests/:iid",
            &["projects", &project, "merge_requests", &iid],
        );
        self.get_one::<RestMergeRequest, _>(&get).await
    }

    /// The open merge requests of a project that changed last, at most 100
    /// (`GET /projects/:id/merge_requests`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn open_merge_requests(
        &self,
        project: ProjectId,
    ) -> Result<Page<MergeRequest>, GitLabError> {
        let get = Get::new(
            "/projects/:id/merge_requests",
            &["projects", &project.to_string(), "merge_requests"],
        )
        .with("scope", "all")
        .with("state", "opened")
        .with("order_by", "updated_at");
        self.get_first::<RestMergeRequest, _>(&get).await
    }

    /// The merge requests of these numbers (`GET /projects/:id/merge_requests`); those that do
    /// not exist are left out.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn merge_requests(
        &self,
        project: ProjectId,
        iids: &[u64],
    ) -> Result<Page<MergeRequest>, GitLabError> {
        let mut all = Page::default();
        for iids in iids.chunks(IIDS_PER_CALL) {
            let mut get = Get::new(
                "/projects/:id/merge_requests",
                &["projects", &project.to_string(), "merge_requests"],
            )
            .with("scope", "all")
            .with("state", "all");
            for iid in iids {
                get = get.with("iids[]", iid);
            }
            let page = self.get_all::<RestMergeRequest, _>(&get).await?;
            all.items.extend(page.items);
            all.skipped.extend(page.skipped);
        }
        Ok(all)
    }
}
