//! Reviews of merge requests: who is asked, what is said, who approves; and the notes that GitLab writes
//! about it.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::evolve::Task;
use super::ledger::Event;
use super::model::{MergeRequest, MergeRequestState, ProjectId};
use super::{Result, World, WorldError};
use crate::time::{MINUTE, Millis};

/// Who works on merge requests in worlds that live on their own; the last is a program.
pub const PEOPLE: [&str; 5] = ["ada", "ben", "chiara", "dora", "project_7_bot_4f1c"];
/// A merge request is touched for its notes at most this often.
const TOUCH: Millis = MINUTE;

/// State of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewState {
    /// Asked, no answer.
    Unreviewed,
    /// Commented without a verdict.
    Reviewed,
    /// Wants changes.
    RequestedChanges,
    /// Approved.
    Approved,
    /// Took an approval back.
    Unapproved,
    /// Has begun.
    ReviewStarted,
}

impl ReviewState {
    /// REST's value; GraphQL's is the same in upper case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreviewed => "unreviewed",
            Self::Reviewed => "reviewed",
            Self::RequestedChanges => "requested_changes",
            Self::Approved => "approved",
            Self::Unapproved => "unapproved",
            Self::ReviewStarted => "review_started",
        }
    }
}

/// Somebody whose review is asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Reviewer {
    /// User name.
    pub username: Arc<str>,
    /// How far the review is.
    pub state: ReviewState,
    /// When it was last asked for.
    pub asked_at: Millis,
}

/// A note.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// Its id.
    pub id: u64,
    /// Made.
    pub created_at: Millis,
    /// User name of the author.
    pub author: Arc<str>,
    /// What GitLab notes by itself has an action; `None` is a comment.
    pub action: Option<&'static str>,
    /// Text.
    pub body: Arc<str>,
    /// What only some views show.
    #[serde(skip)]
    pub details: NoteDetails,
}

/// What GitLab keeps of a note besides.
#[derive(Clone, Debug, Default)]
pub struct NoteDetails {
    /// `DiscussionNote` in a thread that can be resolved.
    pub note_type: Option<Arc<str>>,
    /// Last changed; when it was made where `None`.
    pub updated_at: Option<Millis>,
    /// When its thread was resolved.
    pub resolved_at: Option<Millis>,
}

/// A note that a background job is to write: where, whose, what.
pub(super) type LateNote = (ProjectId, u64, Arc<str>, Option<&'static str>, String);

/// What a merge request holds besides its branches.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Review {
    /// User name of who opened it.
    pub author: Arc<str>,
    /// It cannot be merged.
    pub conflicts: bool,
    /// Whose review is asked for.
    pub reviewers: Vec<Reviewer>,
    /// User names of those whose approval it has, with the time.
    pub approved_by: Vec<(Arc<str>, Millis)>,
    /// Notes, oldest first.
    pub notes: Vec<Note>,
    /// Commits.
    pub commits: u32,
    /// Lines added.
    pub additions: u32,
    /// Lines deleted.
    pub deletions: u32,
    /// Files.
    pub files: u32,
}

impl Review {
    /// Comments of users.
    #[must_use]
    pub fn comments(&self) -> usize {
        let notes = self.notes.iter();
        notes.filter(|note| note.action.is_none()).count()
    }
}

/// Something that somebody does with a merge request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewAct<'a> {
    /// Writes a comment.
    Comment,
    /// Asks for reviews.
    Ask(&'a [&'a str]),
    /// Takes requests for reviews back.
    Release(&'a [&'a str]),
    /// Approves.
    Approve,
    /// Takes an approval back.
    Unapprove,
    /// Hands a review in without a verdict.
    Review,
    /// Asks for changes.
    RequestChanges,
}

/// Name to be called by.
#[must_use]
pub fn display_name(username: &str) -> String {
    let mut letters = username.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect::<String>() + " Example"
}

/// Whether a user is a program.
#[must_use]
pub fn is_bot(username: &str) -> bool {
    username.contains("_bot") || username.ends_with("-bot")
}

/// `@a`, `@a and @b`, `@a, @b, and @c`.
fn sentence(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("@{name}")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [most @ .., last] => format!("{}, and {last}", most.join(", ")),
    }
}

impl World {
    /// A merge request.
    #[must_use]
    pub fn merge_request(&self, project: ProjectId, iid: u64) -> Option<&MergeRequest> {
        self.project(project)?.merge_requests.get(&iid)
    }

    /// A merge request, to be changed without a touch.
    ///
    /// # Errors
    /// If there is no such project or merge request.
    pub fn merge_request_mut(&mut self, project: ProjectId, iid: u64) -> Result<&mut MergeRequest> {
        self.project_mut(project)?
            .merge_requests
            .get_mut(&iid)
            .ok_or_else(|| WorldError::not_found("merge request", iid))
    }

    /// Deletes a merge request, as an owner may.
    ///
    /// # Errors
    /// If there is no such project or merge request.
    pub fn delete_merge_request(&mut self, project: ProjectId, iid: u64) -> Result<()> {
        let gone = self.project_mut(project)?.merge_requests.remove(&iid);
        let gone = gone.ok_or_else(|| WorldError::not_found("merge request", iid));
        self.record_activity(project);
        gone.map(drop)
    }

    /// Marks a merge request as a draft, or as ready.
    ///
    /// # Errors
    /// If there is no such project or merge request.
    pub fn set_draft(&mut self, project: ProjectId, iid: u64, draft: bool) -> Result<()> {
        let now = self.now;
        let merge_request = self.merge_request_mut(project, iid)?;
        let title = merge_request.title.trim_start_matches("Draft: ").to_owned();
        let title = if draft {
            format!("Draft: {title}")
        } else {
            title
        };
        merge_request.title = title.into();
        merge_request.updated_at = now;
        Ok(())
    }

    /// Somebody does something with a merge request. What GitLab notes touches it at most once a
    /// minute.
    ///
    /// # Errors
    /// If there is no such project or merge request.
    pub fn review(
        &mut self,
        project: ProjectId,
        iid: u64,
        who: &str,
        act: ReviewAct<'_>,
    ) -> Result<()> {
        let now = self.now;
        let who: Arc<str> = who.into();
        let (action, body) = match act {
            ReviewAct::Comment => (None, "Looks good to me".to_owned()),
            ReviewAct::Ask(names) => (
                Some("reviewer"),
                format!("requested review from {}", sentence(names)),
            ),
            ReviewAct::Release(names) => (
                Some("reviewer"),
                format!("removed review request for {}", sentence(names)),
            ),
            ReviewAct::Approve => (Some("approved"), "approved this merge request".to_owned()),
            ReviewAct::Unapprove => (
                Some("unapproved"),
                "unapproved this merge request".to_owned(),
            ),
            ReviewAct::Review => (Some("reviewed"), "left review comments".to_owned()),
            ReviewAct::RequestChanges => {
                (Some("requested_changes"), "requested changes".to_owned())
            }
        };
        let merge_request = self.merge_request_mut(project, iid)?;
        let review = &mut merge_request.review;
        let mut told: Vec<(Arc<str>, &'static str)> = Vec::new();
        let answer = |review: &mut Review, state: ReviewState| {
            let mine = review.reviewers.iter_mut().find(|one| one.username == who);
            if let Some(mine) = mine {
                mine.state = state;
            }
        };
        match act {
            ReviewAct::Comment => told.push((who.clone(), "commented")),
            ReviewAct::Ask(names) => {
                for &name in names {
                    review.reviewers.retain(|one| &*one.username != name);
                    review.reviewers.push(Reviewer {
                        username: name.into(),
                        state: ReviewState::Unreviewed,
                        asked_at: now,
                    });
                    told.push((name.into(), "asked"));
                }
            }
            ReviewAct::Release(names) => {
                review
                    .reviewers
                    .retain(|one| !names.contains(&&*one.username));
                told.extend(names.iter().map(|&name| (name.into(), "released")));
            }
            ReviewAct::Approve => {
                review.approved_by.retain(|(name, _)| *name != who);
                review.approved_by.push((who.clone(), now));
                answer(review, ReviewState::Approved);
                told.push((who.clone(), "approved"));
            }
            ReviewAct::Unapprove => {
                review.approved_by.retain(|(name, _)| *name != who);
                answer(review, ReviewState::Unapproved);
                told.push((who.clone(), "unapproved"));
            }
            ReviewAct::Review => {
                answer(review, ReviewState::Reviewed);
                told.push((who.clone(), "reviewed"));
            }
            ReviewAct::RequestChanges => {
                answer(review, ReviewState::RequestedChanges);
                told.push((who.clone(), "requested_changes"));
            }
        }
        let asks = matches!(act, ReviewAct::Ask(_) | ReviewAct::Release(_));
        if asks || now - merge_request.updated_at >= TOUCH {
            merge_request.updated_at = now;
        }
        if matches!(act, ReviewAct::Approve) && self.background_delay > 0 {
            let late = (project, iid, who.clone(), action, body);
            self.note_late(late);
        } else {
            self.note(project, iid, &who, action, &body)?;
        }
        for (user, act) in told {
            self.tell(project, iid, user, act);
        }
        Ok(())
    }

    fn tell(&mut self, project: ProjectId, iid: u64, user: Arc<str>, act: &'static str) {
        let Some(found) = self.project(project) else {
            return;
        };
        let path = found.full_path.clone();
        let Some(merge_request) = found.merge_requests.get(&iid) else {
            return;
        };
        let (author, target) = (
            merge_request.review.author.clone(),
            merge_request.target_branch.clone(),
        );
        self.ledger.write(self.now, || Event::Reviewed {
            project_id: project,
            project_path: path,
            iid,
            target_branch: target,
            author,
            user,
            act,
        });
    }

    /// How long GitLab's background jobs take: so much later it notes an approval. At once unless said.
    pub fn set_background_delay(&mut self, delay: Millis) {
        self.background_delay = delay;
    }

    fn note_late(&mut self, note: LateNote) {
        let number = self.late_notes.last_key_value();
        let number = number.map_or(1, |(last, _)| last + 1);
        self.late_notes.insert(number, note);
        self.plan(self.background_delay, Task::WriteNote(number));
    }

    /// A background job writes a note.
    pub(super) fn write_late_note(&mut self, number: u64) {
        if let Some((project, iid, who, action, body)) = self.late_notes.remove(&number) {
            // The merge request may have been deleted meanwhile.
            self.note(project, iid, &who, action, &body).ok();
        }
    }

    fn note(
        &mut self,
        project: ProjectId,
        iid: u64,
        author: &Arc<str>,
        action: Option<&'static str>,
        body: &str,
    ) -> Result<()> {
        let (created_at, id) = (self.now, self.next_note_id);
        self.next_note_id += 1;
        let merge_request = self.merge_request_mut(project, iid)?;
        merge_request.review.notes.push(Note {
            id,
            created_at,
            author: author.clone(),
            action,
            body: body.into(),
            details: NoteDetails::default(),
        });
        self.record_activity(project);
        Ok(())
    }

    /// A push to the source branch of open merge requests: GitLab notes it in each.
    pub(super) fn note_push(&mut self, project: ProjectId, branch: &str) {
        let open: Vec<u64> = self
            .project(project)
            .into_iter()
            .flat_map(|project| project.merge_requests.values())
            .filter(|one| one.state == MergeRequestState::Opened && &*one.source_branch == branch)
            .map(|one| one.iid)
            .collect();
        for iid in open {
            let Ok(one) = self.merge_request_mut(project, iid) else {
                continue;
            };
            let review = &mut one.review;
            review.commits += 1;
            (review.additions, review.files) = (review.additions + 12, review.files.max(1));
            let author = review.author.clone();
            let body = "added 1 commit\n\n<ul><li>1f3a - More of it</li></ul>";
            self.note(project, iid, &author, Some("commit"), body).ok();
            self.tell(project, iid, author, "pushed");
        }
    }

    /// The review of a new merge request: who opened it and how much it changes follow from the
    /// world's seed.
    pub(super) fn begin_review(&self, project: ProjectId, iid: u64) -> Review {
        let mut rng = self.review_rng(project, iid);
        Review {
            author: PEOPLE[rng.random_range(0..PEOPLE.len() - 1)].into(),
            commits: rng.random_range(1..6),
            additions: rng.random_range(1..400),
            deletions: rng.random_range(0..200),
            files: rng.random_range(1..20),
            ..Review::default()
        }
    }

    fn review_rng(&self, project: ProjectId, salt: u64) -> ChaCha8Rng {
        let seed = self.config.seed.rotate_left(17) ^ project.rotate_left(33) ^ salt;
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// What somebody does with an open merge request of a living project, from random numbers of its
    /// own.
    pub(super) fn review_on(&mut self, project: ProjectId) {
        let mut rng = self.review_rng(project, self.now.unsigned_abs().rotate_left(9));
        let open: Vec<u64> = self
            .project(project)
            .into_iter()
            .flat_map(|project| project.merge_requests.values())
            .filter(|one| one.state == MergeRequestState::Opened)
            .map(|one| one.iid)
            .collect();
        if open.is_empty() {
            return;
        }
        let iid = open[rng.random_range(0..open.len())];
        let who = PEOPLE[rng.random_range(0..PEOPLE.len())];
        let asked = [PEOPLE[rng.random_range(0..PEOPLE.len() - 1)]];
        let act = match rng.random_range(0..8) {
            0 | 1 => ReviewAct::Ask(&asked),
            2 => ReviewAct::Approve,
            3 => ReviewAct::RequestChanges,
            4 => ReviewAct::Review,
            5 => ReviewAct::Unapprove,
            _ => ReviewAct::Comment,
        };
        self.review(project, iid, who, act).ok();
    }
}
