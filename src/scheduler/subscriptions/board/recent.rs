//! How many events of a project came within a minute.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// GitLab announces so many a minute and project, and drops the rest in silence.
const DROPPED_FROM: usize = 50;
/// From so many on, polling goes on as if nothing was announced.
const CROWDED: usize = DROPPED_FROM * 4 / 5;
const MINUTE: Duration = Duration::from_secs(60);

/// The last events of a project.
#[derive(Debug, Default)]
pub(super) struct Recent {
    at: VecDeque<Instant>,
    is_crowded: bool,
}

impl Recent {
    /// An event came.
    pub(super) fn note(&mut self, now: Instant) {
        if self.at.len() == CROWDED {
            self.at.pop_front();
        }
        self.at.push_back(now);
        self.pass(now);
    }

    /// Time passes.
    pub(super) fn pass(&mut self, now: Instant) {
        while let Some(first) = self.at.front()
            && now.saturating_duration_since(*first) > MINUTE
        {
            self.at.pop_front();
        }
        self.is_crowded = self.at.len() == CROWDED;
    }

    /// Whether so many came that GitLab may drop some.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded
    }
}
