//! Merge requests, their reviews and notes.

use std::sync::Arc;

use super::rows::{MergeRequestRow, NoteRow, Rows};
use super::{Names, RecordedError, Result, unknown};
use crate::world::model::MergeRequestDetails;
use crate::world::reviews::{NoteDetails, Review};
use crate::world::{MergeRequest, Note, Reviewer, World};

/// What GitLab notes by itself.
const ACTIONS: &[&str] = &[
    "approved",
    "assignee",
    "branch",
    "commit",
    "description",
    "discussion",
    "merge",
    "requested_changes",
    "reviewed",
    "reviewer",
    "title",
    "unapproved",
];

impl World {
    pub(super) fn read_reviews(&mut self, rows: &Rows, names: &Names) -> Result<()> {
        for row in &rows.merge_requests {
            let merge_request = self.merge_request_of(rows, row, names)?;
            let project = self.projects.get_mut(&row.project_id);
            let project = project.ok_or(RecordedError::Missing {
                what: "project",
                id: row.project_id,
            })?;
            project.merge_requests.insert(row.iid, merge_request);
        }
        Ok(())
    }

    fn merge_request_of(
        &self,
        rows: &Rows,
        row: &MergeRequestRow,
        names: &Names,
    ) -> Result<MergeRequest> {
        let project = self.project(row.project_id);
        // Without a diff yet, the source branch's commit is shown.
        let tip = project
            .and_then(|project| project.branches.get(&row.source_branch))
            .map(|branch| branch.sha.clone());
        let head = row.diff.head_sha.clone();
        Ok(MergeRequest {
            id: row.id,
            iid: row.iid,
            project_id: row.project_id,
            title: row.title.clone(),
            state: row.state,
            source_branch: row.source_branch.clone(),
            target_branch: row.target_branch.clone(),
            sha: head.or(tip).unwrap_or_else(|| "".into()),
            created_at: row.created_at.millis(),
            updated_at: row.updated_at.millis(),
            review: review(rows, row, names)?,
            merged_at: row.merged_at.map(|at| at.millis()),
            closed_at: row.closed_at.map(|at| at.millis()),
            details: MergeRequestDetails {
                description: row.description.clone(),
                merge_status: Some(row.merge_status.clone()),
                merged_by: names.maybe(row.merged_by_id)?,
                closed_by: names.maybe(row.closed_by_id)?,
                merge_commit_sha: row.merge_commit_sha.clone(),
                prepared_at: row.prepared_at.map(|at| at.millis()),
                without_diff: row.diff.state.is_none(),
                assignees: row
                    .assignee_ids
                    .iter()
                    .map(|id| names.of(*id))
                    .collect::<Result<_>>()?,
                source_project_id: row.source_project_id,
            },
        })
    }
}

fn review(rows: &Rows, row: &MergeRequestRow, names: &Names) -> Result<Review> {
    let reviewers: Result<Vec<Reviewer>> = row
        .reviewers
        .iter()
        .map(|reviewer| {
            Ok(Reviewer {
                username: names.of(reviewer.user_id)?,
                state: reviewer.state,
                asked_at: reviewer.created_at.millis(),
            })
        })
        .collect();
    let approved_by: Result<Vec<(Arc<str>, i64)>> = row
        .approvals
        .iter()
        .map(|approval| Ok((names.of(approval.user_id)?, approval.created_at.millis())))
        .collect();
    let own = rows.notes.iter().filter(|note| {
        note.project_id == row.project_id && note.merge_request_iid == Some(row.iid)
    });
    let notes: Result<Vec<Note>> = own.map(|note| note_of(note, names)).collect();
    Ok(Review {
        author: names.of(row.author_id)?,
        conflicts: &*row.merge_status == "cannot_be_merged",
        reviewers: reviewers?,
        approved_by: approved_by?,
        notes: notes?,
        commits: row.diff.commits_count.unwrap_or_default(),
        additions: row.diff.additions.unwrap_or_default(),
        deletions: row.diff.deletions.unwrap_or_default(),
        files: row.diff.files_count.unwrap_or_default(),
    })
}

fn note_of(row: &NoteRow, names: &Names) -> Result<Note> {
    let action = match row.action.as_deref() {
        None => None,
        Some(text) => {
            let known = ACTIONS.iter().find(|action| **action == text);
            Some(*known.ok_or_else(|| unknown("action of a note", text))?)
        }
    };
    Ok(Note {
        id: row.id,
        created_at: row.created_at.millis(),
        author: names.of(row.author_id)?,
        action,
        body: row.body.clone(),
        details: NoteDetails {
            note_type: row.note_type.clone(),
            updated_at: Some(row.updated_at.millis()),
            resolved_at: row.resolved_at.map(|at| at.millis()),
        },
    })
}
