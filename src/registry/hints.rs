//! What says that a project is worth a poll: jobs that began in it, GitLab's events, or a person who asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::timer::Rhythm;
use super::{Entry, Projects};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::events::proof::Proof;
use crate::events::{Mark, Origin, Trigger};
use crate::facts::{Change, Reading};
use crate::types::ProjectId;

/// Events of one project and reading that are remembered singly until they are shown.
const MARKS: usize = 256;
/// For so long after the last event of a job, jobs are believed to be announced.
const JOBS_ARE_TOLD: Duration = Duration::from_secs(600);

/// How projects are polled whose changes are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPolling {
    /// `server.webhook.poll_factor`.
    pub factor: u32,
    /// `collectors.max_poll_interval`.
    pub longest: Duration,
}

impl EventPolling {
    /// The interval of what is polled at `interval` otherwise.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Duration {
        let longer = interval.saturating_mul(self.factor).min(self.longest);
        longer.max(interval)
    }
}

/// What GitLab's events say of a project.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// What was announced and is not shown yet.
    marks: BTreeMap<Reading, Vec<Mark>>,
    proofs: BTreeMap<Reading, Proof>,
    /// What announced the last change, and when it was shown.
    last: Option<(Trigger, Option<Duration>)>,
    job_at: Option<UnixSeconds>,
    /// Whether GitLab may drop some.
    are_crowded: bool,
}

impl Events {
    /// Whether what is read was announced often enough to poll it less.
    pub(super) fn are_proven(&self, reading: Reading) -> bool {
        let proof = self.proofs.get(&reading);
        !self.are_crowded && proof.is_some_and(Proof::is_given)
    }

    /// Whether something was announced that is not shown yet.
    pub(super) fn has_marks(&self, reading: Reading) -> bool {
        self.marks.contains_key(&reading)
    }

    /// The spans in which events were received that are not shown yet, some of them.
    pub(super) fn origins(&self, reading: Reading) -> impl Iterator<Item = Origin> {
        const LINKS: usize = 8;
        let marks = self.marks.get(&reading).into_iter().flatten();
        marks.filter_map(|mark| mark.origin).take(LINKS)
    }

    /// Whether jobs have events, too.
    pub(super) fn tell_of_jobs(&self, now: UnixSeconds) -> bool {
        self.job_at.is_some_and(|at| now.since(at) <= JOBS_ARE_TOLD)
    }

    /// What brought the last change, and how old it was when it was shown; none before the first.
    #[must_use]
    pub fn last(&self) -> Option<(Trigger, Option<Duration>)> {
        self.last
    }

    /// Whether polling relies on them for anything.
    #[must_use]
    pub fn are_relied_on(&self) -> bool {
        self.proofs.values().any(Proof::is_given)
    }

    pub(super) fn clock_was_set_back(&mut self, back: Duration) {
        for proof in self.proofs.values_mut() {
            proof.clock_was_set_back(back);
        }
        self.job_at = self.job_at.map(|at| at.minus(back));
    }
}

/// How busy a project is that can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectActivity {
    /// Which one.
    pub id: ProjectId,
    /// Whether a pipeline of it goes on.
    pub is_active: bool,
    /// When a pipeline of it last moved.
    pub moved_at: UnixSeconds,
}

/// What a run showed of a project, as far as events go.
#[derive(Debug, Default)]
pub struct Shown {
    /// Events whose changes were read.
    pub marks: Vec<Mark>,
    /// Changes that no event had announced by then.
    pub polled: Vec<Change>,
    /// Changes that GitLab should have announced some time ago.
    pub missed: usize,
}

impl Projects {
    /// Whether some project is polled less often than the settings say, for nothing moves in it.
    #[must_use]
    pub fn has_quiet(&self) -> bool {
        self.entries.values().any(Entry::is_polled_slowly)
    }

    /// From now on GitLab says where jobs begin, or no longer does.
    pub fn announce(&mut self, announced: bool) {
        self.announced = announced;
        for entry in self.entries.values_mut() {
            entry.is_announced = announced;
        }
    }

    /// Whether GitLab says where jobs begin.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced
    }

    /// Has those polled now in which jobs began.
    pub fn jobs_began(&mut self, projects: &BTreeSet<ProjectId>, now: UnixSeconds) {
        for id in projects {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.timer_mut(Reading::ChangeFeed).wake(now);
            }
        }
    }

    /// Has all polled as soon as they would be if GitLab did not say where jobs begin, so many together.
    pub fn poll_as_usual(&mut self, batch: usize, now: UnixSeconds) {
        for entry in self.entries.values_mut() {
            let rhythm = Rhythm::new(entry.usual_feed_interval(now), batch);
            let slot = entry.slot;
            let timer = entry.timer_mut(Reading::ChangeFeed);
            if timer.is_slowed {
                timer.at_latest(now, rhythm, slot);
            }
        }
    }

    /// From now on projects are polled less often where events announce what moves; not so with none.
    pub fn rely_on_events(&mut self, polling: Option<EventPolling>) {
        self.event_polling = polling;
        for entry in self.entries.values_mut() {
            entry.event_polling = polling;
        }
    }

    /// Has a project read now for what events announced.
    pub fn hint(&mut self, id: ProjectId, reading: Reading, marks: Vec<Mark>, now: UnixSeconds) {
        if !self.is_own(id)
            && let Some(outbox) = self.outbox()
        {
            outbox.hints.push((id, reading, marks));
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.begin(reading, now);
        let timer = entry.timer_mut(reading);
        timer.ask(now);
        timer.is_urgent = true;
        let events = &mut entry.events;
        let proof = events.proofs.entry(reading).or_default();
        for mark in &marks {
            proof.announced(mark.subject);
        }
        if marks.iter().any(|mark| mark.is_job) {
            events.job_at = Some(now);
        }
        let waiting = events.marks.entry(reading).or_default();
        waiting.extend(marks);
        if waiting.len() > MARKS {
            waiting.truncate(MARKS);
            // It stands for those that were dropped, whatever they announced.
            if let Some(last) = waiting.last_mut() {
                last.subject = None;
            }
        }
    }

    /// How busy each project is whose pipelines are polled and could be read.
    #[must_use]
    pub fn activity(&self) -> Vec<ProjectActivity> {
        let entries = self.entries.iter();
        let readable = entries.filter(|(_, entry)| {
            entry.feed_setting().is_some() && !entry.unavailable.contains_key(&Collector::Pipelines)
        });
        let activity = readable.filter_map(|(id, entry)| {
            let feed = entry.memory.feed.as_ref()?;
            Some(ProjectActivity {
                id: *id,
                is_active: feed.has_active(),
                moved_at: feed.last_moved(),
            })
        });
        activity.collect()
    }

    /// Has a project read now, although nothing announced a change of it.
    pub fn read_now(&mut self, id: ProjectId, reading: Reading, now: UnixSeconds) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.begin(reading, now);
            entry.timer_mut(reading).ask(now);
        }
    }

    /// No events come of a project any more: nothing can be missed, and it is polled as before.
    pub fn events_ended(&mut self, id: ProjectId, reading: Reading, now: UnixSeconds) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let was_given = entry.events.are_proven(reading);
            entry.events.proofs.remove(&reading);
            if was_given {
                entry.timer_mut(reading).wake(now);
            }
        }
    }

    /// So many events come of a project that GitLab may drop some, or no longer: it is polled as if there
    /// were none meanwhile.
    pub fn events_are_crowded(&mut self, id: ProjectId, crowded: bool, now: UnixSeconds) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.events.are_crowded = crowded;
            if crowded {
                entry.timer_mut(Reading::ChangeFeed).wake(now);
            }
        }
    }

    /// Takes in that what was read by a run that began at `began` is shown: which events it answers, what
    /// moved without any, and what should have been announced.
    pub fn shown(
        &mut self,
        id: ProjectId,
        (reading, began): (Reading, Instant),
        changes: &[Change],
        now: UnixSeconds,
    ) -> Shown {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Shown::default();
        };
        let events = &mut entry.events;
        let waiting = events.marks.remove(&reading).unwrap_or_default();
        let (marks, later): (Vec<Mark>, Vec<Mark>) =
            waiting.into_iter().partition(|mark| mark.arrived <= began);
        if !later.is_empty() {
            events.marks.insert(reading, later.clone());
        }
        let is_announced = |change: &Change, marks: &[Mark]| {
            let mut marks = marks.iter();
            marks.any(|mark| mark.subject.is_none_or(|subject| subject == change.subject))
        };
        let polled = changes.iter().copied();
        let polled: Vec<Change> = polled
            .filter(|change| !is_announced(change, &marks))
            .collect();
        let mut missed = 0;
        if entry.event_polling.is_some() {
            let proof = events.proofs.entry(reading).or_default();
            for change in changes.iter().filter(|change| change.is_announced) {
                let was_announced = is_announced(change, &marks);
                // Its event is here, and waits for the next run.
                if was_announced || !is_announced(change, &later) {
                    proof.found(change.subject, was_announced, now);
                }
            }
            let was_given = proof.is_given();
            missed = proof.take_missed(now);
            if was_given && !proof.is_given() {
                entry.timer_mut(reading).wake(now);
            }
        }
        Shown {
            marks,
            polled,
            missed,
        }
    }

    /// Takes note of how fresh what is shown of a project was.
    pub fn note_freshness(&mut self, id: ProjectId, trigger: Trigger, age: Option<Duration>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.events.last = Some((trigger, age));
        }
    }

    /// Has everything of one project polled now. False where it is not tracked.
    pub fn poll_now(&mut self, id: ProjectId, now: UnixSeconds) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else {
            return false;
        };
        let timer = entry.timer_mut(Reading::ChangeFeed);
        timer.ask(now);
        timer.is_urgent = true;
        entry.read_others_at_once(now);
        true
    }
}
