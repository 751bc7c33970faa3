//! What says that a project is worth a poll: jobs that began in it, or a person who asks.

use std::collections::BTreeSet;

use super::timer::Rhythm;
use super::{Entry, Projects};
use crate::clock::UnixSeconds;
use crate::facts::Reading;
use crate::types::ProjectId;

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
