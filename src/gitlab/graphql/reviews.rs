//! Merge requests with their notes, and the census of all merge requests.

use super::convert::{gid, iid, maybe_time, natural, time};
use super::holes::{ProjectHoles, key};
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::json::Step;
use crate::gitlab::model::{
    CensusEntry, CensusPage, DiffStats, Note, NoteKind, Page, ProjectMergeRequests,
    ReviewedMergeRequest, Reviewer, User, WhichMergeRequests,
};
use crate::types::ProjectId;
use queries::merge_request_census::{self, MergeRequestCensusProjectsNodes as Counted};
use queries::merge_request_reviews::{
    self, MergeRequestReviewsProjectsNodes as ProjectNode,
    MergeRequestReviewsProjectsNodesMergeRequestsNodes as Node,
    MergeRequestReviewsProjectsNodesMergeRequestsNodesNotesNodes as NoteNode,
};

impl Messages for ProjectMergeRequests {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.page.skipped);
        for one in &mut self.page.items {
            edit(&mut one.notes.skipped);
        }
    }
}

impl Messages for CensusPage {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.entries.skipped);
    }
}

impl GitLab {
    /// Most projects in one query for merge requests.
    pub const REVIEWS_PROJECTS: usize = 100;
    /// Merge requests of each project in one query.
    pub const REVIEWS_PAGE: u32 = 20;
    /// Merge requests of each project in one query of a census.
    pub const CENSUS_PAGE: u32 = 100;

    /// Merge requests of up to [`Self::REVIEWS_PROJECTS`] projects with their notes: one page of
    /// each project, [`Self::rest_of_merge_requests`] gives the others and [`Self::rest_of_notes`] the
    /// further notes.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn reviewed_merge_requests(
        &self,
        ids: &[ProjectId],
        which: WhichMergeRequests,
    ) -> Result<Batch<ProjectMergeRequests>, GitLabError> {
        let variables = self.wanted(ids, which, None);
        let asked = self.over_projects::<queries::MergeRequestReviews>(ids, variables);
        let batch = asked.await?;
        self.note_authors(&batch);
        Ok(batch)
    }

    /// Notes whether the token sees authors: without a grant for users a fine-grained one sees none.
    fn note_authors(&self, batch: &Batch<ProjectMergeRequests>) {
        let pages = batch.items.iter().map(|read| &read.page.items);
        let mut authors = pages.flatten().map(|one| one.author.is_some()).peekable();
        // Of one merge request alone the account may be gone.
        if authors.peek().is_some() {
            let shown = authors.any(|shown| shown);
            let is_known = self.has_fine_grained_token() || shown;
            if is_known {
                self.shared.gaps.shown("MergeRequest", "author", shown);
            }
        }
    }

    /// A project's merge requests, from their first page to their end. They have a `next` if the project
    /// goes meanwhile.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn rest_of_merge_requests(
        &self,
        project: ProjectId,
        which: WhichMergeRequests,
        first: Page<ReviewedMergeRequest>,
    ) -> Result<Page<ReviewedMergeRequest>, GitLabError> {
        let variables = |after| self.wanted(&[project], which, Some(after));
        let page_of = |read: ProjectMergeRequests| Some(read.page);
        self.rest_of::<queries::MergeRequestReviews, _>(project, first, variables, page_of)
            .await
    }

    /// The notes of a merge request, from their first page to their end. They have a `next` if it goes
    /// meanwhile.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn rest_of_notes(
        &self,
        project: ProjectId,
        iid: u64,
        first: Page<Note>,
    ) -> Result<Page<Note>, GitLabError> {
        let variables = |after| merge_request_reviews::Variables {
            iids: Some(vec![iid.to_string()]),
            notes_after: Some(after),
            state: None,
            ..self.wanted(&[project], WhichMergeRequests::Open, None)
        };
        let page_of = |read: ProjectMergeRequests| {
            let mut found = read.page.items.into_iter();
            found.find(|one| one.iid == iid).map(|one| one.notes)
        };
        self.rest_of::<queries::MergeRequestReviews, _>(project, first, variables, page_of)
            .await
    }

    /// State and target branch of the merge requests of these numbers in up to
    /// [`Self::REVIEWS_PROJECTS`] projects, and how many each project has.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn merge_request_census(
        &self,
        ids: &[ProjectId],
        numbers: std::ops::RangeInclusive<u64>,
        counted: bool,
    ) -> Result<Batch<CensusPage>, GitLabError> {
        let variables = merge_request_census::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            first: i64::from(Self::CENSUS_PAGE),
            iids: numbers.map(|iid| iid.to_string()).collect(),
            counted,
        };
        self.over_projects::<queries::MergeRequestCensus>(ids, variables)
            .await
    }

    fn wanted(
        &self,
        ids: &[ProjectId],
        which: WhichMergeRequests,
        after: Option<String>,
    ) -> merge_request_reviews::Variables {
        let (state, since) = match which {
            WhichMergeRequests::Open => (Some("opened".to_owned()), None),
            WhichMergeRequests::MovedSince(since) => (None, Some(since.to_string())),
        };
        merge_request_reviews::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            iids: None,
            state,
            since,
            first: self.page_size(Self::REVIEWS_PAGE),
            after,
            notes: self.page_size(100),
            notes_after: None,
        }
    }
}

over_projects!(
    queries::MergeRequestReviews,
    merge_request_reviews,
    ProjectNode => ProjectMergeRequests,
    project
);

fn project(node: ProjectNode, mut holes: ProjectHoles<'_>) -> Result<ProjectMergeRequests, String> {
    let project = ProjectId(gid("id", &node.id)?);
    let page = node.merge_requests.map_or_else(Page::default, |page| {
        let info = page.page_info;
        let next = info.end_cursor.filter(|_| info.has_next_page);
        let place = [key("mergeRequests")];
        holes.page(&place, page.nodes, next, merge_request)
    });
    Ok(ProjectMergeRequests { project, page })
}

fn merge_request(
    node: Node,
    place: &[Step],
    holes: &mut ProjectHoles<'_>,
) -> Result<ReviewedMergeRequest, String> {
    let info = node.notes.page_info;
    let next = info.end_cursor.filter(|_| info.has_next_page);
    let place = [place, &[key("notes")]].concat();
    let notes = holes.page(&place, node.notes.nodes, next, |node, _, _| note(node));
    let reviewers = node.reviewers.and_then(|page| page.nodes);
    let reviewers = reviewers.into_iter().flatten().flatten().map(|node| {
        let state = node.merge_request_interaction;
        let state = state.and_then(|interaction| interaction.review_state);
        Reviewer {
            user: User::new(&node.username, &node.name, node.bot).with_id(gid("id", &node.id).ok()),
            waits: state.map(|state| Reviewer::is_waited_for(&state)),
        }
    });
    let approvals = node.approved_by.and_then(|page| page.nodes);
    Ok(ReviewedMergeRequest {
        iid: iid(&node.iid)?,
        state: node.state.to_lowercase().into(),
        draft: node.draft,
        conflicts: node.conflicts,
        target_branch: node.target_branch.into(),
        created_at: time("createdAt", &node.created_at)?,
        updated_at: time("updatedAt", &node.updated_at)?,
        merged_at: maybe_time("mergedAt", node.merged_at.as_deref())?,
        closed_at: maybe_time("closedAt", node.closed_at.as_deref())?,
        author: node.author.map(|author| {
            User::new(&author.username, &author.name, author.bot)
                .with_id(gid("id", &author.id).ok())
        }),
        commits: node.commit_count.and_then(natural),
        comments: node.user_notes_count.and_then(natural),
        diff: node.diff_stats_summary.and_then(|diff| {
            Some(DiffStats {
                additions: natural(diff.additions)?,
                deletions: natural(diff.deletions)?,
                files: natural(diff.file_count)?,
            })
        }),
        approvals: approvals.map(|users| {
            let users = users.iter().flatten().count();
            u64::try_from(users).unwrap_or(u64::MAX)
        }),
        reviewers: reviewers.collect(),
        notes,
        notes_read: true,
    })
}

fn note(node: NoteNode) -> Result<Note, String> {
    let action = node.system_note_metadata.and_then(|about| about.action);
    Ok(Note {
        id: gid("id", &node.id)?,
        created_at: time("createdAt", &node.created_at)?,
        author: node.author.map(|author| {
            User::new(&author.username, &author.name, author.bot)
                .with_id(gid("id", &author.id).ok())
        }),
        kind: NoteKind::of(node.system, action.as_deref(), &node.body),
    })
}

over_projects!(queries::MergeRequestCensus, merge_request_census, Counted => CensusPage, counted);

fn counted(node: Counted, mut holes: ProjectHoles<'_>) -> Result<CensusPage, String> {
    let project = ProjectId(gid("id", &node.id)?);
    let count = node.all.and_then(|all| natural(all.count));
    let mut last = 0;
    if let Some(newest) = node.newest {
        for node in newest.nodes.into_iter().flatten().flatten() {
            last = iid(&node.iid)?;
        }
    }
    let nodes = node.merge_requests.and_then(|page| page.nodes);
    let place = [key("mergeRequests")];
    let entries = holes.page(&place, nodes, None, |node, _, _| {
        Ok(CensusEntry {
            iid: iid(&node.iid)?,
            state: node.state.to_lowercase().into(),
            target_branch: node.target_branch.into(),
        })
    });
    Ok(CensusPage {
        project,
        count,
        last,
        entries,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gitlab::graphql::{projects, read};

    /// REST knows bots by their names alone, so the names count here, too.
    #[test]
    fn bots_are_known_by_their_names_and_by_what_gitlab_says() {
        let time = "2026-01-05T12:00:00Z";
        let user = |username: &str, bot: bool| {
            json!({"id": "gid://gitlab/User/1", "username": username,
                "name": "N", "bot": bot})
        };
        let note = |id: u64, username: &str, bot: bool| {
            json!({"id": format!("gid://gitlab/Note/{id}"), "createdAt": time, "system": false,
                "body": "…", "author": user(username, bot), "systemNoteMetadata": null})
        };
        let notes = [
            note(1, "ada", false),
            note(2, "renovate-bot", false),
            note(3, "duo", true),
        ];
        let one = json!({"iid": "1", "state": "opened", "draft": false, "conflicts": false,
            "targetBranch": "main", "createdAt": time, "updatedAt": time,
            "author": user("project_7_bot_4f1c", false),
            "reviewers": {"nodes": [user("alert-bot", false)]},
            "notes": {"nodes": notes, "pageInfo": {"hasNextPage": false}}});
        let node = json!({"id": "gid://gitlab/Project/1", "mergeRequests":
            {"nodes": [one], "pageInfo": {"hasNextPage": false}}});
        let body = json!({"data": {"projects": {"nodes": [node]}}}).to_string();
        let answer = read(body.as_bytes()).expect("an answer");
        let batch = projects::read::<queries::MergeRequestReviews>(&[ProjectId(1)], answer);
        let batch = batch.expect("projects");
        let one = &batch.items[0].page.items[0];
        assert!(one.author.as_ref().is_some_and(|author| author.bot));
        assert!(one.reviewers[0].user.bot);
        let notes = one.notes.items.iter();
        let bots: Vec<bool> = notes
            .filter_map(|note| Some(note.author.as_ref()?.bot))
            .collect();
        assert_eq!(bots, [false, true, true]);
    }
}
