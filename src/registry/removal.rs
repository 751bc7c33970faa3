//! Which projects are removed, and when: GitLab's own word on each decides, never a list that lacks
//! it or an answer that did not come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Projects, Removed};
use crate::clock::UnixSeconds;
use crate::discovery::{Found, Verdict};
use crate::types::ProjectId;

/// How soon a project that was there after all is asked for again.
const RECHECK: Duration = Duration::from_secs(300);
/// Projects that are asked for in one run of discovery: each is a call.
const CALLS: usize = 200;
/// From so many tracked projects on, the removal of more than one in [`MANY`] needs a complete list.
const SEVERAL: usize = 10;
const MANY: usize = 10;

/// Why a project is no longer tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// GitLab does not show it any more.
    Missing,
    /// It is marked for deletion.
    ScheduledForDeletion,
    /// It is archived.
    Archived,
    /// The settings do not select it any more.
    NotSelected,
}

impl Reason {
    /// Whether GitLab may show the project again.
    #[must_use]
    pub const fn may_end(self) -> bool {
        !matches!(self, Self::NotSelected)
    }

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "GitLab answers 404 for it: deleted, or hidden from the token",
            Self::ScheduledForDeletion => "it is scheduled for deletion",
            Self::Archived => "it is archived",
            Self::NotSelected => "the settings do not select it any more",
        }
    }
}

/// A project that may have to be removed.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// When GitLab first answered 404 for it, and did so since.
    missing_since: Option<UnixSeconds>,
    /// When GitLab was last asked for it.
    asked_at: Option<UnixSeconds>,
    /// Why it can be removed, as far as it is concerned.
    reason: Option<Reason>,
}

impl Doubt {
    /// Whether it may have to be removed still.
    const fn is_open(&self) -> bool {
        self.asked_at.is_none() || self.missing_since.is_some() || self.reason.is_some()
    }

    /// Whether GitLab showed it a short while ago.
    fn is_settled(&self, now: UnixSeconds) -> bool {
        let is_recent = |at: UnixSeconds| now.since(at) < RECHECK;
        !self.is_open() && self.asked_at.is_some_and(is_recent)
    }
}

/// Projects that may have to be removed.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    all: BTreeMap<ProjectId, Doubt>,
    /// How many removals were last reported to wait for a complete list.
    waiting: usize,
}

/// What a removal needs.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// `discovery.removal_grace`.
    pub grace: Duration,
    /// Whether all entries of the settings were polled just now, and answered.
    pub is_complete: bool,
    /// Whether GitLab as such answers.
    pub gitlab_answers: bool,
}

/// What follows from verdicts.
#[derive(Debug, Default)]
pub struct Judged {
    /// Projects that are no longer tracked.
    pub removed: Vec<(Removed, Reason)>,
    /// Projects that could be removed, and are too many of all without a complete list; none when
    /// they were reported before.
    pub waiting: Option<usize>,
}

impl Doubts {
    fn is_due(&self, grace: Duration, now: UnixSeconds) -> bool {
        let mut all = self.all.values();
        all.any(|doubt| match (doubt.missing_since, doubt.asked_at) {
            (_, None) => true,
            (Some(since), Some(asked)) => asked < since.plus(grace) && since.plus(grace) <= now,
            (None, Some(_)) => false,
        })
    }

    fn clock_was_set_back(&mut self, back: Duration) {
        for doubt in self.all.values_mut() {
            for at in [&mut doubt.missing_since, &mut doubt.asked_at] {
                *at = at.map(|at| at.minus(back));
            }
        }
    }
}

impl Projects {
    /// A run did not find a project: GitLab is to be asked for it.
    pub fn doubt(&mut self, id: ProjectId, now: UnixSeconds) {
        if !self.leads() {
            if let Some(outbox) = self.outbox() {
                outbox.doubts.insert(id);
            }
            return;
        }
        if !self.entries.contains_key(&id) && !self.remembered.contains_key(&id) {
            return;
        }
        let doubt = self.doubts.all.entry(id).or_default();
        if doubt.asked_at.is_some_and(|at| now.since(at) >= RECHECK) {
            doubt.asked_at = None;
        }
    }

    /// Whether GitLab is to be asked for a project now that may have to be removed.
    #[must_use]
    pub fn has_doubts_due(&self, grace: Duration, now: UnixSeconds) -> bool {
        self.doubts.is_due(grace, now)
    }

    /// How many projects GitLab answers 404 for and that wait for the grace to end, or for a complete
    /// list.
    #[must_use]
    pub fn removals_pending(&self) -> usize {
        let all = self.doubts.all.values();
        let pending = all.filter(|doubt| doubt.missing_since.is_some() || doubt.reason.is_some());
        pending.count()
    }

    /// Whether GitLab answers 404 for a project that is still tracked.
    #[must_use]
    pub fn is_missing(&self, id: ProjectId) -> bool {
        let doubt = self.doubts.all.get(&id);
        doubt.is_some_and(|doubt| doubt.missing_since.is_some())
    }

    /// The projects that GitLab is to be asked for: those that no entry lists, and those that runs did
    /// not find. The longest unasked come first.
    #[must_use]
    pub fn unconfirmed(&self, found: &Found, now: UnixSeconds) -> Vec<ProjectId> {
        let known = self.entries.keys().chain(self.remembered.keys());
        let unlisted = known.filter(|id| !found.contains_key(id));
        let all: BTreeSet<&ProjectId> = unlisted.chain(self.doubts.all.keys()).collect();
        let is_settled = |id: &ProjectId| {
            let doubt = self.doubts.all.get(id);
            doubt.is_some_and(|doubt| doubt.is_settled(now))
        };
        let all = all.into_iter().copied().filter(|id| !is_settled(id));
        let mut all: Vec<ProjectId> = all.collect();
        let asked_at = |id: &ProjectId| self.doubts.all.get(id).and_then(|doubt| doubt.asked_at);
        all.sort_by_key(asked_at);
        all.truncate(CALLS);
        all
    }

    /// Takes in GitLab's word on projects, and stops tracking those that are to be removed by it.
    pub fn judge(
        &mut self,
        verdicts: Vec<(ProjectId, Verdict)>,
        rule: Rule,
        now: UnixSeconds,
    ) -> Judged {
        for (id, verdict) in verdicts {
            self.take_verdict(id, verdict, rule.grace, now);
        }
        let is_known =
            |id: &ProjectId| self.entries.contains_key(id) || self.remembered.contains_key(id);
        let mut doubts = std::mem::take(&mut self.doubts);
        let is_over = |doubt: &Doubt| !doubt.is_open() && !doubt.is_settled(now);
        doubts
            .all
            .retain(|id, doubt| is_known(id) && !is_over(doubt));
        let removable = doubts.all.iter();
        let removable = removable.filter_map(|(id, doubt)| Some((*id, doubt.reason?)));
        let removable: Vec<(ProjectId, Reason)> = removable.collect();
        let known = self.entries.len() + self.remembered.len();
        let are_many = known >= SEVERAL && removable.len() * MANY > known;
        let mut judged = Judged::default();
        if !removable.is_empty() && (!rule.gitlab_answers || (are_many && !rule.is_complete)) {
            judged.waiting = (doubts.waiting != removable.len()).then_some(removable.len());
            doubts.waiting = removable.len();
        } else {
            doubts.waiting = 0;
            for (id, reason) in removable {
                doubts.all.remove(&id);
                let removed = self.remove(id, reason, now);
                if let Some(outbox) = self.outbox() {
                    outbox.removed.push((id, reason));
                }
                judged
                    .removed
                    .extend(removed.map(|removed| (removed, reason)));
            }
        }
        self.doubts = doubts;
        judged
    }

    fn take_verdict(&mut self, id: ProjectId, verdict: Verdict, grace: Duration, now: UnixSeconds) {
        let doubt = self.doubts.all.entry(id).or_default();
        let before = std::mem::replace(
            doubt,
            Doubt {
                asked_at: Some(now),
                ..Doubt::default()
            },
        );
        match verdict {
            Verdict::Missing => {
                let since = before.missing_since.unwrap_or(now);
                doubt.missing_since = Some(since);
                doubt.reason = (now.since(since) >= grace).then_some(Reason::Missing);
            }
            Verdict::ScheduledForDeletion => doubt.reason = Some(Reason::ScheduledForDeletion),
            Verdict::Archived => doubt.reason = Some(Reason::Archived),
            Verdict::NotSelected => doubt.reason = Some(Reason::NotSelected),
            // No proof of anything: what was known stays.
            Verdict::NoOwner | Verdict::NotAnswered(_) => {
                doubt.missing_since = before.missing_since;
            }
            Verdict::Selected(selected) => {
                if !self.entries.contains_key(&id) {
                    self.track(id, *selected, now);
                    self.index();
                }
            }
        }
    }

    pub(super) fn move_doubts_back(&mut self, back: Duration) {
        self.doubts.clock_was_set_back(back);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gitlab::{Cause, GitLabError};
    use crate::registry::tests::{found, project};

    const GRACE: Duration = Duration::from_secs(300);

    fn tracking(count: u64) -> Projects {
        let mut projects = Projects::default();
        projects.update(found(1..=count), UnixSeconds(0));
        projects
    }

    fn rule(is_complete: bool) -> Rule {
        Rule {
            grace: GRACE,
            is_complete,
            gitlab_answers: true,
        }
    }

    fn missing(ids: std::ops::RangeInclusive<u64>) -> Vec<(ProjectId, Verdict)> {
        ids.map(|id| (ProjectId(id), Verdict::Missing)).collect()
    }

    fn not_answered() -> Verdict {
        Verdict::NotAnswered(GitLabError {
            endpoint: "GET /projects/:id".into(),
            cause: Cause::Timeout,
        })
    }

    #[test]
    fn a_404_removes_when_it_is_repeated_after_the_grace() {
        let mut projects = tracking(3);
        for (at, removed, left) in [(0, 0, 3), (299, 0, 3), (300, 1, 2)] {
            let judged = projects.judge(missing(1..=1), rule(false), UnixSeconds(at));
            assert_eq!(
                (judged.removed.len(), projects.len()),
                (removed, left),
                "{at}"
            );
        }
        assert_eq!(projects.removals_pending(), 0);
    }

    #[test]
    fn a_project_that_was_there_in_between_begins_a_new_grace() {
        let mut projects = tracking(3);
        let one = ProjectId(1);
        projects.judge(missing(1..=1), rule(false), UnixSeconds(0));
        assert_eq!(projects.removals_pending(), 1);
        let there = Verdict::Selected(Box::new((project(1), Arc::default())));
        projects.judge(vec![(one, there)], rule(false), UnixSeconds(200));
        assert_eq!(projects.removals_pending(), 0);
        projects.judge(missing(1..=1), rule(false), UnixSeconds(400));
        assert_eq!(projects.len(), 3);
    }

    #[test]
    fn what_could_not_be_asked_proves_nothing() {
        let mut projects = tracking(3);
        let one = ProjectId(1);
        projects.judge(missing(1..=1), rule(false), UnixSeconds(0));
        for at in [300, 600, 900] {
            projects.judge(vec![(one, not_answered())], rule(true), UnixSeconds(at));
        }
        projects.judge(vec![(one, Verdict::NoOwner)], rule(true), UnixSeconds(1000));
        assert_eq!(projects.len(), 3);
        let away = Rule {
            gitlab_answers: false,
            ..rule(true)
        };
        let judged = projects.judge(missing(1..=1), away, UnixSeconds(1200));
        assert!(judged.removed.is_empty(), "GitLab as such does not answer");
        let judged = projects.judge(missing(1..=1), rule(false), UnixSeconds(1300));
        assert_eq!(judged.removed.len(), 1);
    }

    #[test]
    fn more_than_a_tenth_waits_for_a_complete_list_and_is_reported_once() {
        let mut projects = tracking(20);
        projects.judge(missing(1..=3), rule(false), UnixSeconds(0));
        let judged = projects.judge(missing(1..=3), rule(false), UnixSeconds(300));
        assert_eq!((judged.removed.len(), judged.waiting), (0, Some(3)));
        let judged = projects.judge(missing(1..=3), rule(false), UnixSeconds(600));
        assert_eq!((judged.removed.len(), judged.waiting), (0, None));
        assert_eq!(projects.removals_pending(), 3);
        let judged = projects.judge(Vec::new(), rule(true), UnixSeconds(900));
        assert_eq!(judged.removed.len(), 3);
        assert_eq!(projects.len(), 17);
        // Two of seventeen are more than a tenth; one is not.
        projects.judge(missing(5..=5), rule(false), UnixSeconds(1000));
        let judged = projects.judge(missing(5..=5), rule(false), UnixSeconds(1300));
        assert_eq!(judged.removed.len(), 1);
    }

    #[test]
    fn gitlabs_positive_word_needs_no_grace() {
        for (verdict, reason) in [
            (Verdict::ScheduledForDeletion, Reason::ScheduledForDeletion),
            (Verdict::Archived, Reason::Archived),
            (Verdict::NotSelected, Reason::NotSelected),
        ] {
            let mut projects = tracking(3);
            let judged = projects.judge(vec![(ProjectId(2), verdict)], rule(false), UnixSeconds(0));
            let reasons: Vec<Reason> = judged.removed.iter().map(|(_, why)| *why).collect();
            assert_eq!(reasons, [reason]);
        }
    }

    #[test]
    fn a_run_that_does_not_find_a_project_has_it_asked_for_once_in_a_while() {
        let mut projects = tracking(1);
        let one = ProjectId(1);
        let there = || Verdict::Selected(Box::new((project(1), Arc::default())));
        projects.doubt(one, UnixSeconds(0));
        assert!(projects.has_doubts_due(GRACE, UnixSeconds(0)));
        projects.judge(vec![(one, there())], rule(false), UnixSeconds(0));
        projects.doubt(one, UnixSeconds(60));
        assert!(!projects.has_doubts_due(GRACE, UnixSeconds(60)));
        projects.doubt(one, UnixSeconds(300));
        assert!(projects.has_doubts_due(GRACE, UnixSeconds(300)));
        projects.doubt(ProjectId(9), UnixSeconds(300));
        let asked = projects.unconfirmed(&Found::new(), UnixSeconds(300));
        assert_eq!(asked, [one], "one that is not tracked is not asked for");
    }
}
