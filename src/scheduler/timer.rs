//! When a project is read next.

use std::time::Duration;

use crate::clock::UnixSeconds;

/// A failing project is read less and less often, down to this or its interval.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);
/// What is read seldom is read again sooner than that after a failure: twice this, and so on.
const FIRST_BACK_OFF: Duration = Duration::from_secs(30);

/// Where in each interval a project is read, so that the batches of one interval spread over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// When the first interval began.
    pub start: UnixSeconds,
    /// The project's place among all, counted from 0.
    pub place: usize,
    /// How many there are.
    pub projects: usize,
}

impl Slot {
    /// The first time after `now` that is in the slot, for batches of this many projects.
    fn after(self, now: UnixSeconds, rhythm: Rhythm) -> UnixSeconds {
        let length = i64::try_from(rhythm.interval.as_secs()).unwrap_or(i64::MAX);
        let length = length.max(1);
        let share = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (batch, batches) = (
            self.place / rhythm.batch,
            self.projects.div_ceil(rhythm.batch),
        );
        let offset = length.saturating_mul(share(batch)) / share(batches.max(1));
        let since = now.0.saturating_sub(self.start.0.saturating_add(offset));
        UnixSeconds(now.0.saturating_add(length - since.rem_euclid(length)))
    }
}

/// How often projects are read, and by how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Time between two looks at a project.
    pub interval: Duration,
    /// Projects in one run; at least 1.
    pub batch: usize,
}

impl Rhythm {
    /// A rhythm.
    #[must_use]
    pub fn new(interval: Duration, batch: usize) -> Self {
        let batch = batch.max(1);
        Self { interval, batch }
    }
}

/// When a project is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// Not before this.
    pub due: UnixSeconds,
    /// Runs that failed in a row.
    pub failures: u32,
    /// Runs that ended, one way or the other.
    pub ended: u64,
}

impl Timer {
    /// Ends a run that succeeded. The rhythm stays: due times do not creep with the length of
    /// runs, and what was missed is not made up for.
    pub fn succeeded(&mut self, now: UnixSeconds, rhythm: Rhythm, slot: Slot) {
        self.failures = 0;
        self.ended += 1;
        self.due = slot.after(now, rhythm);
    }

    /// Ends a run that succeeded, and has the next follow at once: there is more to be read.
    pub fn go_on(&mut self, now: UnixSeconds) {
        self.failures = 0;
        self.ended += 1;
        self.due = now;
    }

    /// Ends a run that failed; the next waits longer with each failure in a row.
    pub fn failed(&mut self, now: UnixSeconds, interval: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.ended += 1;
        let back_off = interval
            .min(FIRST_BACK_OFF)
            .saturating_mul(1 << self.failures.min(16))
            .min(interval.max(MAX_BACK_OFF));
        self.due = now.plus(back_off);
    }
}

/// The first of the tries that follow a failure of what is done seldom; each waits twice as long.
const FIRST_RETRY: Duration = Duration::from_secs(10);

/// Another try of what failed and is done seldom: soon at first, then less and less often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    failures: u32,
    due: Option<UnixSeconds>,
}

impl Retry {
    /// Ends a try.
    pub fn ended(&mut self, failed: bool, now: UnixSeconds) {
        if !failed {
            *self = Self::default();
            return;
        }
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now.plus(wait.min(MAX_BACK_OFF)));
    }

    /// Whether the time has come.
    #[must_use]
    pub fn is_due(&self, now: UnixSeconds) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Keeps the rhythm when the clock is set back.
    pub fn clock_was_set_back(&mut self, back: Duration) {
        self.due = self.due.map(|due| due.minus(back));
    }
}

#[cfg(test)]
mod tests {
    use super::Retry;
    use crate::clock::UnixSeconds;

    #[test]
    fn what_failed_is_tried_again_soon_and_then_less_often() {
        let (mut retry, mut now) = (Retry::default(), UnixSeconds(1000));
        assert!(!retry.is_due(now), "nothing failed");
        let mut waits = Vec::new();
        for _ in 0..8 {
            retry.ended(true, now);
            let before = now.0;
            while !retry.is_due(now) {
                now.0 += 1;
            }
            waits.push(now.0 - before);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
        retry.ended(false, now);
        assert!(!retry.is_due(UnixSeconds(i64::MAX)));
        retry.ended(true, now);
        assert!(retry.is_due(UnixSeconds(now.0 + 10)), "soon again");
    }
}
