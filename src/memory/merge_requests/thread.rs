//! What notes show of a review: requests, answers, their times, and the number of cycles.

use std::collections::BTreeMap;

use crate::clock::UnixSeconds;
use crate::gitlab::model::{Note, NoteKind, ReviewedMergeRequest, User};
use crate::people;
use crate::types::Text;

/// A thing that happened in a review.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// The first review, so many seconds after creation.
    FirstReview(f64),
    /// The first approval, so many seconds after creation.
    FirstApproval(f64),
    /// A review was asked for.
    Asked(User),
    /// A requested reviewer answered, so many seconds later.
    Answered(User, f64),
    /// An approval.
    Approved(User),
    /// A comment.
    Commented(User),
}

/// Where a merge request stands between pushes and reviews.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Unreviewed,
    Reviewed,
    Changed,
}

/// What is remembered of a merge request's notes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    pub(crate) begun: bool,
    /// The latest note that was taken in.
    pub(crate) last: u64,
    pub(crate) phase: Phase,
    pub(crate) approved: bool,
    pub(crate) reviewed: bool,
    /// How often it was changed after a review and reviewed again.
    pub cycles: u32,
    /// Who is asked and has not answered, by [`mark`], and since when.
    pub(crate) waiting: BTreeMap<Text, UnixSeconds>,
}

impl Thread {
    /// Whether notes were ever taken in: then all that are new are events.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes in the notes that are new, in their order, and returns what happened in them; `counts`
    /// says whether something of this time is an event, or history.
    ///
    /// An act is a reviewer's if its author is neither the merge request's author nor a bot.
    pub fn take(
        &mut self,
        one: &ReviewedMergeRequest,
        counts: impl Fn(UnixSeconds) -> bool,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        self.forget_names(one);
        if !one.notes_read {
            return acts;
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(one, &counts, &mut acts);
        }
        let mut notes: Vec<&Note> = one.notes.items.iter().collect();
        notes.retain(|note| note.id > self.last);
        notes.sort_by_key(|note| (note.created_at, note.id));
        for note in notes {
            self.last = self.last.max(note.id);
            let mut happened = Vec::new();
            self.note(one, note, &mut happened);
            if counts(note.created_at) {
                acts.extend(happened);
            }
        }
        acts
    }

    /// State of earlier versions has user names.
    fn forget_names(&mut self, one: &ReviewedMergeRequest) {
        if self.waiting.keys().all(|who| people::is_mark(who)) {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting
            .map(|(who, since)| match people::is_mark(&who) {
                true => (who, since),
                false => (mark(one, &who), since),
            })
            .collect();
    }

    /// Reviewers who were named when the merge request was made need no note that asks them.
    fn begin(
        &mut self,
        one: &ReviewedMergeRequest,
        counts: impl Fn(UnixSeconds) -> bool,
        acts: &mut Vec<Act>,
    ) {
        let noted: Vec<User> = named(one).map(|(name, _)| user_of(one, name)).collect();
        for reviewer in &one.reviewers {
            if !noted.iter().any(|user| user.is_same(&reviewer.user)) {
                let mut happened = Vec::new();
                self.ask(one, &reviewer.user, one.created_at, &mut happened);
                if counts(one.created_at) {
                    acts.extend(happened);
                }
            }
        }
    }

    fn note(&mut self, one: &ReviewedMergeRequest, note: &Note, acts: &mut Vec<Act>) {
        match &note.kind {
            NoteKind::Reviewers { asked, released } => {
                for username in asked {
                    self.ask(one, &user_of(one, username), note.created_at, acts);
                }
                for username in released {
                    self.stop_waiting(one, &user_of(one, username));
                }
            }
            NoteKind::Pushed if self.phase == Phase::Reviewed => self.phase = Phase::Changed,
            NoteKind::Comment
            | NoteKind::Approved
            | NoteKind::Reviewed
            | NoteKind::RequestedChanges => {
                let reviewer = note.author.as_ref();
                if let Some(reviewer) = reviewer.filter(|author| may_review(one, author)) {
                    self.review(one, note, reviewer, acts);
                }
            }
            NoteKind::Pushed | NoteKind::Other => {}
        }
    }

    fn ask(
        &mut self,
        one: &ReviewedMergeRequest,
        user: &User,
        at: UnixSeconds,
        acts: &mut Vec<Act>,
    ) {
        if may_review(one, user) {
            self.stop_waiting(one, user);
            self.waiting.insert(mark_of(one, user), at);
            acts.push(Act::Asked(user.clone()));
        }
    }

    /// Waits for a user no more; since when it did.
    fn stop_waiting(&mut self, one: &ReviewedMergeRequest, user: &User) -> Option<UnixSeconds> {
        let by_id = self.waiting.remove(&mark_of(one, user));
        // Earlier versions knew users by their names.
        by_id.or_else(|| self.waiting.remove(&mark(one, &user.username)))
    }

    fn waits_for(&self, one: &ReviewedMergeRequest, user: &User) -> bool {
        let marks = [mark_of(one, user), mark(one, &user.username)];
        marks.iter().any(|mark| self.waiting.contains_key(mark))
    }

    fn review(
        &mut self,
        one: &ReviewedMergeRequest,
        note: &Note,
        reviewer: &User,
        acts: &mut Vec<Act>,
    ) {
        let age = seconds(one.created_at, note.created_at);
        if !self.reviewed {
            self.reviewed = true;
            acts.push(Act::FirstReview(age));
        }
        if self.phase == Phase::Changed {
            self.cycles = self.cycles.saturating_add(1);
        }
        self.phase = Phase::Reviewed;
        if let Some(asked) = self.stop_waiting(one, reviewer) {
            let wait = seconds(asked, note.created_at);
            acts.push(Act::Answered(reviewer.clone(), wait));
        }
        match note.kind {
            NoteKind::Approved => {
                if !self.approved {
                    self.approved = true;
                    acts.push(Act::FirstApproval(age));
                }
                acts.push(Act::Approved(reviewer.clone()));
            }
            NoteKind::Comment => acts.push(Act::Commented(reviewer.clone())),
            _ => {}
        }
    }

    /// Whether a requested reviewer has not answered; GitLab's own statement is used where there is
    /// one.
    #[must_use]
    pub fn waits(&self, one: &ReviewedMergeRequest) -> bool {
        one.reviewers.iter().any(|reviewer| {
            let user = &reviewer.user;
            let noted = || self.waits_for(one, user);
            may_review(one, user) && reviewer.waits.unwrap_or_else(noted)
        })
    }
}

/// The users that notes name, in their order, and whether they are asked; else they are released.
fn named(one: &ReviewedMergeRequest) -> impl Iterator<Item = (&Text, bool)> {
    let notes = one.notes.items.iter();
    notes.flat_map(|note| {
        let (asked, released) = match &note.kind {
            NoteKind::Reviewers { asked, released } => (&asked[..], &released[..]),
            _ => (&[][..], &[][..]),
        };
        let asked = asked.iter().map(|name| (name, true));
        asked.chain(released.iter().map(|name| (name, false)))
    })
}

/// The user that a note names.
fn user_of(one: &ReviewedMergeRequest, username: &Text) -> User {
    let known = known_as(one, username).or_else(|| renamed(one, username));
    known
        .cloned()
        .unwrap_or_else(|| User::new(username, "", false))
}

fn known_as<'a>(one: &'a ReviewedMergeRequest, username: &Text) -> Option<&'a User> {
    let reviewers = one.reviewers.iter().map(|reviewer| &reviewer.user);
    let authors = one.notes.items.iter();
    let authors = authors.filter_map(|note| note.author.as_ref());
    let mut known = reviewers.chain(authors);
    known.find(|user| user.username == *username)
}

/// Notes keep the name that a user had: who is asked under a name that nobody has is the one reviewer
/// whom no note names, if there is one.
fn renamed<'a>(one: &'a ReviewedMergeRequest, username: &Text) -> Option<&'a User> {
    let mut asked: BTreeMap<&Text, bool> = BTreeMap::new();
    asked.extend(named(one));
    let mut nobodys = asked
        .iter()
        .filter(|(name, asked)| **asked && known_as(one, name).is_none());
    let (Some((name, _)), None) = (nobodys.next(), nobodys.next()) else {
        return None;
    };
    let reviewers = one.reviewers.iter().map(|reviewer| &reviewer.user);
    let mut unnamed = reviewers.filter(|user| !asked.contains_key(&user.username));
    match (unnamed.next(), unnamed.next()) {
        (Some(user), None) if *name == username && user.id.is_some() => Some(user),
        _ => None,
    }
}

/// What stands for a user in what is remembered of a merge request: by the account, which stays when
/// it is renamed, where GitLab gives it.
fn mark_of(one: &ReviewedMergeRequest, user: &User) -> Text {
    match user.id {
        // No user name has a space.
        Some(id) => mark(one, &format!("account {id}")),
        None => mark(one, &user.username),
    }
}

/// What stands for a user name in what is remembered of a merge request.
pub(crate) fn mark(one: &ReviewedMergeRequest, username: &str) -> Text {
    people::mark(&format!("{} {}", one.iid, one.created_at.0), username)
}

pub(crate) fn may_review(one: &ReviewedMergeRequest, user: &User) -> bool {
    let author = one.author.as_ref();
    !user.bot && author.is_none_or(|author| !author.is_same(user))
}

pub(crate) fn seconds(from: UnixSeconds, to: UnixSeconds) -> f64 {
    to.since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::merge_requests::tests::merge_request;

    /// Notes name ben as he was called then; he answers as benjamin.
    #[test]
    fn a_renamed_reviewer_answers_under_the_new_name() {
        use crate::gitlab::model::Reviewer;
        let ben = |name: &str| User::new(name, "", false).with_id(Some(7));
        let note = |id: u64, author: User, kind: NoteKind| Note {
            id,
            created_at: UnixSeconds(100 * i64::try_from(id).unwrap()),
            author: Some(author),
            kind,
        };
        let ada = User::new("ada", "", false).with_id(Some(1));
        let asked = NoteKind::Reviewers {
            asked: vec!["ben".into()],
            released: Vec::new(),
        };
        let asks = note(1, ada.clone(), asked);
        let answers = note(3, ben("benjamin"), NoteKind::Approved);
        let mut one = merge_request(7, 1);
        one.author = Some(ada);
        let reviewer = |name| Reviewer {
            user: ben(name),
            waits: None,
        };
        // Renamed after the request was read, and before.
        for names in [["ben", "benjamin"], ["benjamin", "benjamin"]] {
            let mut thread = Thread::default();
            one.reviewers = vec![reviewer(names[0])];
            one.notes.items = vec![asks.clone()];
            let acts = thread.take(&one, |_| true);
            assert_eq!(acts, [Act::Asked(ben(names[0]))]);
            assert!(thread.waits(&one));
            one.reviewers = vec![reviewer(names[1])];
            one.notes.items = vec![asks.clone(), answers.clone()];
            let acts = thread.take(&one, |_| true);
            let answered = Act::Answered(ben("benjamin"), 200.0);
            assert!(acts.contains(&answered), "{acts:?}");
            assert!(thread.waiting.is_empty() && !thread.waits(&one));
        }
    }

    #[test]
    fn names_that_an_earlier_version_remembered_become_marks() {
        let one = merge_request(7, 1);
        let (ada, ben) = (mark(&one, "ada"), mark(&one, "ben"));
        let mut thread = Thread {
            waiting: [
                ("ada".into(), UnixSeconds(1)),
                (ben.clone(), UnixSeconds(2)),
            ]
            .into(),
            ..Thread::default()
        };
        thread.take(&one, |_| true);
        let waiting = [(ada, UnixSeconds(1)), (ben, UnixSeconds(2))].into();
        assert_eq!(thread.waiting, waiting);
    }
}
