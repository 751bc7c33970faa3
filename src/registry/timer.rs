//! When a project is read next.

use std::time::Duration;

use crate::clock::UnixSeconds;

/// A failing project is read less and less often, down to this or its interval.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);
/// What is read seldom is read again sooner than that after a failure: twice this, and so on.
const FIRST_BACK_OFF: Duration = Duration::from_secs(30);

/// What is read later than due by more than so many intervals is late.
const LATE_INTERVALS: u32 = 3;

/// A lag as it is shown: nothing before it exceeds a few intervals, for a poll waits a little for others.
#[must_use]
pub fn shown_lag(lag: Duration, interval: Duration) -> Duration {
    match lag > interval.saturating_mul(LATE_INTERVALS) {
        true => lag,
        false => Duration::ZERO,
    }
}

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
    /// Time between two polls of a project.
    pub interval: Duration,
    /// Projects in one run; at least 1.
    pub batch: usize,
    /// Whether the interval is longer than the settings say, for nothing moves in the project.
    pub is_slowed: bool,
}

impl Rhythm {
    /// A rhythm.
    #[must_use]
    pub fn new(interval: Duration, batch: usize) -> Self {
        Self {
            interval,
            batch: batch.max(1),
            is_slowed: false,
        }
    }

    /// The same at a longer interval.
    #[must_use]
    pub fn slowed(self, interval: Duration) -> Self {
        Self {
            interval: interval.max(self.interval),
            is_slowed: interval > self.interval,
            ..self
        }
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
    /// Whether a run ever succeeded.
    pub has_succeeded: bool,
    /// Whether the next run is awaited.
    pub is_urgent: bool,
    /// Whether a run is to follow the one that is under way, and to read what did not move, too.
    pub is_asked_for: bool,
    /// Whether the next run is later than the settings say, for nothing moved in the project.
    pub is_slowed: bool,
}

impl Timer {
    /// Due now, for the first time.
    #[must_use]
    pub fn starting(now: UnixSeconds) -> Self {
        Self {
            due: now,
            ..Self::default()
        }
    }

    /// Ends a run that succeeded. The rhythm stays: due times do not creep with the length of
    /// runs, and what was missed is not made up for.
    pub fn succeeded(&mut self, now: UnixSeconds, rhythm: Rhythm, slot: Slot) {
        self.failures = 0;
        self.ended += 1;
        self.has_succeeded = true;
        self.is_slowed = rhythm.is_slowed;
        self.due = match self.is_asked_for {
            true => now,
            false => slot.after(now, rhythm),
        };
    }

    /// Ends a wait that was longer than the settings say: something moved.
    pub fn wake(&mut self, now: UnixSeconds) {
        if self.is_slowed {
            self.is_slowed = false;
            self.due = self.due.min(now);
        }
    }

    /// Due now, if it was waited for longer than that.
    pub fn hasten(&mut self, now: UnixSeconds) {
        self.due = self.due.min(now);
    }

    /// Due no later than a rhythm has it from now on.
    pub fn at_latest(&mut self, now: UnixSeconds, rhythm: Rhythm, slot: Slot) {
        self.due = self.due.min(slot.after(now, rhythm));
    }

    /// Puts the next run off, unless it is asked for.
    pub fn not_before(&mut self, time: UnixSeconds) {
        if !self.is_asked_for {
            self.due = self.due.max(time);
        }
    }

    /// Due now, whatever the rhythm. A run that is under way began too early.
    pub fn ask(&mut self, now: UnixSeconds) {
        self.due = self.due.min(now);
        self.is_asked_for = true;
    }

    /// Ends a run that succeeded, and has the next follow at once: there is more to be read.
    pub fn go_on(&mut self, now: UnixSeconds) {
        self.failures = 0;
        self.ended += 1;
        self.has_succeeded = true;
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
