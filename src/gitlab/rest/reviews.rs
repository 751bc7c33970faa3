//! Merge requests with their notes by REST: a list, and three calls for each that moved.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::merge_requests::IIDS_PER_CALL;
use super::pipelines::{maybe_time, time};
use super::{Get, read_list};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{
    CensusEntry, CensusPage, Note, NoteKind, Page, ReviewedMergeRequest, Reviewer, User,
    WhichMergeRequests,
};
use crate::types::ProjectId;

const LIST: &str = "/projects/:id/merge_requests";

#[derive(Deserialize)]
pub(super) struct RestUser {
    id: Option<u64>,
    username: String,
    #[serde(default)]
    name: String,
    /// Where GitLab says it.
    #[serde(default)]
    bot: bool,
}

impl From<RestUser> for User {
    fn from(raw: RestUser) -> Self {
        Self::new(&raw.username, &raw.name, raw.bot).with_id(raw.id)
    }
}

#[derive(Deserialize)]
pub(super) struct RestReviewed {
    iid: u64,
    state: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    has_conflicts: bool,
    target_branch: String,
    created_at: String,
    updated_at: String,
    merged_at: Option<String>,
    closed_at: Option<String>,
    author: Option<RestUser>,
    user_notes_count: Option<u64>,
    #[serde(default)]
    reviewers: Vec<RestUser>,
}

impl TryFrom<RestReviewed> for ReviewedMergeRequest {
    type Error = String;

    fn try_from(raw: RestReviewed) -> Result<Self, String> {
        let at = |why: String| format!("merge request {}: {why}", raw.iid);
        let reviewers = raw.reviewers.into_iter().map(|user| Reviewer {
            user: user.into(),
            waits: None,
        });
        Ok(Self {
            iid: raw.iid,
            state: raw.state.to_lowercase().into(),
            draft: raw.draft,
            conflicts: raw.has_conflicts,
            target_branch: raw.target_branch.into(),
            created_at: time("created_at", &raw.created_at).map_err(at)?,
            updated_at: time("updated_at", &raw.updated_at).map_err(at)?,
            merged_at: maybe_time("merged_at", raw.merged_at.as_deref()).map_err(at)?,
            closed_at: maybe_time("closed_at", raw.closed_at.as_deref()).map_err(at)?,
            author: raw.author.map(User::from),
            commits: None,
            comments: raw.user_notes_count,
            diff: None,
            approvals: None,
            reviewers: reviewers.collect(),
            notes: Page::default(),
            notes_read: false,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct RestNote {
    id: u64,
    created_at: String,
    #[serde(default)]
    system: bool,
    #[serde(default)]
    body: String,
    author: Option<RestUser>,
}

impl TryFrom<RestNote> for Note {
    type Error = String;

    fn try_from(raw: RestNote) -> Result<Self, String> {
        Ok(Self {
            id: raw.id,
            created_at: time("created_at", &raw.created_at)
                .map_err(|why| format!("note {}: {why}", raw.id))?,
            author: raw.author.map(User::from),
            kind: NoteKind::of(raw.system, None, &raw.body),
        })
    }
}

#[derive(Deserialize)]
struct RestApprovals {
    approved_by: Vec<serde::de::IgnoredAny>,
}

struct Approvals(u64);

impl From<RestApprovals> for Approvals {
    fn from(raw: RestApprovals) -> Self {
        Self(u64::try_from(raw.approved_by.len()).unwrap_or(u64::MAX))
    }
}

#[derive(Deserialize)]
pub(super) struct RestReviewer {
    user: RestUser,
    state: String,
}

impl From<RestReviewer> for Reviewer {
    fn from(raw: RestReviewer) -> Self {
        Self {
            waits: Some(Self::is_waited_for(&raw.state)),
            user: raw.user.into(),
        }
    }
}

#[derive(Deserialize)]
struct RestCounted {
    iid: u64,
    state: String,
    target_branch: String,
}

impl From<RestCounted> for CensusEntry {
    fn from(raw: RestCounted) -> Self {
        Self {
            iid: raw.iid,
            state: raw.state.to_lowercase().into(),
            target_branch: raw.target_branch.into(),
        }
    }
}

fn list(project: &str) -> Get {
    Get::new(LIST, &["projects", project, "merge_requests"]).with("scope", "all")
}

impl GitLab {
    /// Merge requests of a project (`GET /projects/:id/merge_requests`); their notes and approvals
    /// are left open, and so are lines and commits, which no list has.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn listed_merge_requests(
        &self,
        project: ProjectId,
        which: WhichMergeRequests,
    ) -> Result<Page<ReviewedMergeRequest>, GitLabError> {
        let get = list(&project.to_string())
            .with("order_by", "updated_at")
            .with("sort", "asc");
        let get = match which {
            WhichMergeRequests::Open => get.with("state", "opened"),
            WhichMergeRequests::MovedSince(since) => get.with("updated_after", since),
        };
        self.get_all::<RestReviewed, _>(&get).await
    }

    /// Fills in what a list leaves open: who has still to review, and with `notes` also notes and
    /// approvals (`/reviewers`, `/notes` and `/approvals` of
    /// `GET /projects/:id/merge_requests/:iid`).
    ///
    /// # Errors
    /// Those of any call; [`GitLabError::is_not_found`] when it was deleted.
    pub async fn complete_merge_request(
        &self,
        project: ProjectId,
        one: &mut ReviewedMergeRequest,
        notes: bool,
    ) -> Result<(), GitLabError> {
        let (project, iid) = (project.to_string(), one.iid.to_string());
        let below = |what| ["projects", &project, "merge_requests", &iid, what];
        if !one.reviewers.is_empty() {
            let get = Get::new(
                "/projects/:id/merge_requests/:iid/reviewers",
                &below("reviewers"),
            )
            .in_one_page();
            one.reviewers = self.get_all::<RestReviewer, _>(&get).await?.items;
        }
        if !notes {
            return Ok(());
        }
        let get = Get::new("/projects/:id/merge_requests/:iid/notes", &below("notes"))
            .with("order_by", "created_at")
            .with("sort", "asc");
        one.notes = self.get_all::<RestNote, _>(&get).await?;
        let get = Get::new(
            "/projects/:id/merge_requests/:iid/approvals",
            &below("approvals"),
        );
        let approvals: Approvals = self.get_one::<RestApprovals, _>(&get).await?;
        one.approvals = Some(approvals.0);
        one.notes_read = true;
        Ok(())
    }

    /// When merge requests were closed, of those of these numbers that are closed
    /// (`GET /projects/:id/merge_requests`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn closing_times(
        &self,
        project: ProjectId,
        iids: &[u64],
    ) -> Result<BTreeMap<u64, UnixSeconds>, GitLabError> {
        let mut times = BTreeMap::new();
        for iids in iids.chunks(IIDS_PER_CALL) {
            let mut get = list(&project.to_string()).with("state", "closed");
            for iid in iids {
                get = get.with("iids[]", iid);
            }
            let page = self.get_all::<RestReviewed, ReviewedMergeRequest>(&get);
            let closed = page.await?.items.into_iter();
            times.extend(closed.filter_map(|one| Some((one.iid, one.closed_at?))));
        }
        Ok(times)
    }

    /// State and target branch of the merge requests of these numbers, and how many there are
    /// (header `X-Total`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn listed_census(
        &self,
        project: ProjectId,
        numbers: std::ops::RangeInclusive<u64>,
    ) -> Result<CensusPage, GitLabError> {
        let id = project.to_string();
        let newest = list(&id)
            .with("state", "all")
            .with("order_by", "created_at")
            .with("sort", "desc");
        let (call, answer) = self.get(&newest, None, Some(1)).await?;
        let (found, _) = self.decoded(
            &call,
            &answer,
            read_list::<RestCounted, CensusEntry>(&answer.body),
        )?;
        let total = answer.headers.get("x-total");
        let mut get = list(&id).with("state", "all");
        let asks = !numbers.is_empty();
        for iid in numbers {
            get = get.with("iids[]", iid);
        }
        // Without a number it would be all that there are.
        let entries = match found.is_empty() || !asks {
            true => Page::default(),
            false => self.get_all::<RestCounted, _>(&get).await?,
        };
        Ok(CensusPage {
            project,
            count: total.and_then(|total| total.to_str().ok()?.trim().parse().ok()),
            last: found.first().map_or(0, |newest| newest.iid),
            entries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of a sample of GitLab's; none where the samples are not at hand.
    fn sample(name: &str) -> Option<Vec<u8>> {
        let file = crate::gitlab::testing::truth(&format!("rest/samples/{name}"))?;
        std::fs::read(file).ok()
    }

    #[test]
    fn gitlabs_samples_are_read() {
        let Some(body) = sample("list-merge-request-notes--devlake.json") else {
            return;
        };
        let (notes, skipped) = read_list::<RestNote, Note>(&body).unwrap();
        assert!(skipped.is_empty(), "{skipped:?}");
        let count = |kind: NoteKind| notes.iter().filter(|note| note.kind == kind).count();
        assert_eq!(count(NoteKind::Approved), 5);
        assert!(count(NoteKind::Pushed) >= 5);
        assert!(count(NoteKind::Comment) >= 4);
        let said = notes.iter().find(|note| note.id == 186_439_132).unwrap();
        assert_eq!(said.created_at.to_string(), "2019-06-28T10:56:46Z");
        assert_eq!(&*said.author.as_ref().unwrap().username, "emilie");

        let body = sample("merge-request-reviewers--docs.json").unwrap();
        let (reviewers, _) = read_list::<RestReviewer, Reviewer>(&body).unwrap();
        let waits: Vec<_> = reviewers.iter().map(|one| one.waits).collect();
        assert_eq!(waits, [Some(true), Some(false)]);

        let body = sample("merge-request-approvals--docs.json").unwrap();
        let approvals: Approvals = super::super::read_one::<RestApprovals, _>(&body).unwrap();
        assert_eq!(approvals.0, 1);

        let body = sample("list-merge-requests--docs.json").unwrap();
        let (found, skipped) = read_list::<RestReviewed, ReviewedMergeRequest>(&body).unwrap();
        assert!(skipped.is_empty(), "{skipped:?}");
        let one = &found[0];
        assert_eq!(
            (one.iid, &*one.state, &*one.target_branch),
            (1, "merged", "main")
        );
        assert!(one.merged_at.is_some() && one.author.is_some());
    }
}
