//! Merge requests, and the census of them.

use serde::{Deserialize, Serialize};

use super::{Note, Page, Reviewer, User};
use crate::clock::UnixSeconds;
use crate::types::{ProjectId, Text};

/// What the ref rules need to know of a merge request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeRequest {
    /// Number in its project.
    pub iid: u64,
    /// GitLab's lower-case state: `opened`, `closed`, `merged`, `locked`.
    pub state: Text,
    /// Branch it is to be merged into.
    pub target_branch: Text,
    /// Branch it comes from.
    pub source_branch: Text,
    /// When it last changed; notes move it at most once a minute.
    pub updated_at: UnixSeconds,
}

/// Lines and files that a merge request changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffStats {
    /// Lines added.
    pub additions: u64,
    /// Lines deleted.
    pub deletions: u64,
    /// Files.
    pub files: u64,
}

/// A merge request with its notes.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewedMergeRequest {
    /// Its number in the project.
    pub iid: u64,
    /// GitLab's lower-case state.
    pub state: Text,
    /// Whether it is marked as a draft.
    pub draft: bool,
    /// Whether it conflicts with its target branch.
    pub conflicts: bool,
    /// The branch it goes into.
    pub target_branch: Text,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When it last changed; notes in quick succession move it once.
    pub updated_at: UnixSeconds,
    /// When it was merged.
    pub merged_at: Option<UnixSeconds>,
    /// When it was closed without a merge.
    pub closed_at: Option<UnixSeconds>,
    /// Who opened it; none when the account was deleted.
    pub author: Option<User>,
    /// Commits; none where GitLab does not say.
    pub commits: Option<u64>,
    /// Comments of users; none where GitLab does not say.
    pub comments: Option<u64>,
    /// Changed lines and files; none where GitLab does not say.
    pub diff: Option<DiffStats>,
    /// Users whose approval it has; none where GitLab does not say.
    pub approvals: Option<u64>,
    /// Whose review is asked for.
    pub reviewers: Vec<Reviewer>,
    /// What was said and done, oldest first; a `next` leads to more.
    pub notes: Page<Note>,
    /// Whether notes were read: by REST they cost calls of their own.
    pub notes_read: bool,
}

/// State and target branch of a merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CensusEntry {
    /// Its number in the project.
    pub iid: u64,
    /// GitLab's lower-case state.
    pub state: Text,
    /// The branch it goes into.
    pub target_branch: Text,
}

/// Some of a project's merge requests, and how many there are.
#[derive(Clone, Debug, PartialEq)]
pub struct CensusPage {
    /// The project.
    pub project: ProjectId,
    /// How many there are; none where GitLab does not count so far.
    pub count: Option<u64>,
    /// The highest number of one; 0 when there is none.
    pub last: u64,
    /// Those of the numbers that were asked for.
    pub entries: Page<CensusEntry>,
}

/// Merge requests of a project, with their notes.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectMergeRequests {
    /// The project.
    pub project: ProjectId,
    /// The merge requests, the oldest change first.
    pub page: Page<ReviewedMergeRequest>,
}

/// Which merge requests are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichMergeRequests {
    /// Those that changed at this time or later.
    MovedSince(UnixSeconds),
    /// Those that are open.
    Open,
}
