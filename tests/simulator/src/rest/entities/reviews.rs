//! Merge requests and notes.

use serde_json::{Value, json};

use super::{View, at, maybe};
use crate::world::{MergeRequest, MergeRequestState, Note, Project};

impl View<'_> {
    /// A note of a merge request.
    pub fn note(&self, merge_request: &MergeRequest, note: &Note) -> Value {
        let details = &note.details;
        let resolvable = details.note_type.as_deref() == Some("DiscussionNote");
        let mut value = json!({
            "id": note.id,
            "type": details.note_type.as_deref(),
            "body": &*note.body,
            "author": self.user(Some(&note.author)),
            "created_at": at(note.created_at),
            "updated_at": at(details.updated_at.unwrap_or(note.created_at)),
            "system": note.action.is_some(),
            "noteable_id": merge_request.id,
            "noteable_type": "MergeRequest",
            "project_id": merge_request.project_id,
            "resolvable": resolvable,
            "confidential": false,
            "internal": false,
            "imported": false,
            "imported_from": "none",
            "noteable_iid": merge_request.iid,
            "commands_changes": {},
        });
        if resolvable {
            value["resolved"] = details.resolved_at.is_some().into();
            value["resolved_at"] = maybe(details.resolved_at);
        }
        value
    }

    /// A merge request as lists show it.
    pub fn merge_request(&self, project: &Project, merge_request: &MergeRequest) -> Value {
        let reference = format!("!{}", merge_request.iid);
        let (review, details) = (&merge_request.review, &merge_request.details);
        let reviewers = review.reviewers.iter();
        let reviewers: Vec<Value> = reviewers
            .map(|one| self.user(Some(&one.username)))
            .collect();
        let assignees = details.assignees.iter();
        let assignees: Vec<Value> = assignees.map(|name| self.user(Some(name))).collect();
        let draft = merge_request.title.starts_with("Draft:");
        let (merged_by, closed_by) = (details.merged_by.as_deref(), details.closed_by.as_deref());
        let source = details.source_project_id;
        json!({
            "id": merge_request.id,
            "iid": merge_request.iid,
            "project_id": merge_request.project_id,
            "title": &*merge_request.title,
            "description": details.description.as_deref(),
            "state": merge_request.state.as_str(),
            "created_at": at(merge_request.created_at),
            "updated_at": at(merge_request.updated_at),
            "merged_by": self.user_or_null(merged_by),
            "merge_user": self.user_or_null(merged_by),
            "merged_at": maybe(merge_request.merged_at),
            "closed_by": self.user_or_null(closed_by),
            "closed_at": maybe(merge_request.closed_at),
            "target_branch": &*merge_request.target_branch,
            "source_branch": &*merge_request.source_branch,
            "user_notes_count": review.comments(),
            "upvotes": 0,
            "downvotes": 0,
            "author": self.user(Some(&review.author)),
            "assignees": assignees,
            "assignee": assignees.first(),
            "reviewers": reviewers,
            "labels": [],
            "source_project_id": source.unwrap_or(merge_request.project_id),
            "target_project_id": merge_request.project_id,
            "draft": draft,
            "work_in_progress": draft,
            "milestone": null,
            "merge_when_pipeline_succeeds": false,
            "merge_status": merge_status(merge_request),
            "has_conflicts": review.conflicts,
            "detailed_merge_status": detailed_merge_status(merge_request),
            "sha": sha(merge_request),
            "merge_commit_sha": details.merge_commit_sha.as_deref(),
            "squash_commit_sha": null,
            "discussion_locked": null,
            "should_remove_source_branch": null,
            "force_remove_source_branch": null,
            "prepared_at": maybe(details.prepared_at),
            "reference": reference.clone(),
            "references": {
                "short": reference.clone(),
                "relative": reference.clone(),
                "full": format!("{}{reference}", project.full_path),
            },
            "web_url": format!(
                "{}/{}/-/merge_requests/{}",
                self.base_url, project.full_path, merge_request.iid
            ),
            "squash": false,
        })
    }
}

/// The newest commit; null where the source branch has none.
fn sha(merge_request: &MergeRequest) -> Option<&str> {
    Some(&*merge_request.sha).filter(|sha| !sha.is_empty())
}

/// GitLab's `merge_status`.
pub fn merge_status(merge_request: &MergeRequest) -> &str {
    match merge_request.details.merge_status.as_deref() {
        Some("preparing") => "checking",
        Some(status) => status,
        None if merge_request.review.conflicts => "cannot_be_merged",
        None => "can_be_merged",
    }
}

fn detailed_merge_status(merge_request: &MergeRequest) -> &str {
    let status = merge_request.details.merge_status.as_deref();
    match (merge_request.state, status) {
        (_, Some("preparing")) => "preparing",
        (_, Some("checking")) => "checking",
        (MergeRequestState::Opened, Some("unchecked")) => "unchecked",
        (MergeRequestState::Opened, _) if merge_request.title.starts_with("Draft:") => {
            "draft_status"
        }
        (MergeRequestState::Opened, _) if merge_request.review.conflicts => "conflict",
        (MergeRequestState::Opened, _) => "mergeable",
        _ => "not_open",
    }
}
