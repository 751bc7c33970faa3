//! The table's time goes on evenly ([`Clock::steady`](crate::clock::Clock::steady)): a clock that is set takes
//! nothing back that was shown, and cuts no initial zero short. Start times are for others, and follow the clock.

use std::sync::atomic::Ordering;

use super::record::seconds;
use super::table::Table;
use crate::clock::UnixSeconds;

/// Seconds by which the time of one call may be before that of another that came first.
const APART: u32 = 5;
/// Times that the clock was set back which are remembered.
const STEPS: usize = 16;

/// How start times are shown.
#[derive(Debug, Default)]
pub(super) struct StartTimes(Vec<SetBack>);

#[derive(Clone, Copy, Debug)]
struct SetBack {
    /// The table's time then.
    at: u32,
    /// The clock's after it.
    clock: u32,
}

impl StartTimes {
    /// The clock was set back.
    fn set_back(&mut self, at: u32, clock: u32) {
        if self.0.len() == STEPS {
            self.0.remove(0);
        }
        self.0.push(SetBack { at, clock });
    }

    /// When a series was initialized, by the clock as it was then. It is not after the time to which the clock
    /// was set back since, and changes only with that.
    pub(super) fn of(&self, initialized_at: u32) -> u32 {
        let steps = self.0.iter();
        steps.fold(initialized_at, |start, step| {
            match initialized_at.checked_sub(step.at) {
                Some(later) => step.clock.saturating_add(later),
                None => start.min(step.clock),
            }
        })
    }
}

impl Table {
    /// Takes in that the clock was set back to `clock`, at `now` by the table's time.
    pub fn clock_was_set_back(&self, clock: UnixSeconds, now: UnixSeconds) {
        let mut state = self.write();
        state.starts.set_back(seconds(now), seconds(clock));
    }

    /// The time by which something is shown at `now`: another call may have shown something by a later one.
    pub(super) fn follow_clock(&self, now: u32) -> u32 {
        // The last push is for no time.
        if now == u32::MAX {
            return now;
        }
        let shown_at = self.shown_at.fetch_max(now, Ordering::AcqRel);
        match now.saturating_add(APART) < shown_at {
            true => now,
            false => now.max(shown_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_times_follow_a_clock_that_is_set_back_and_are_never_after_it() {
        let mut starts = StartTimes::default();
        let of = |starts: &StartTimes| [900, 990, 1_000, 1_010].map(|at| starts.of(at));
        assert_eq!(of(&starts), [900, 990, 1_000, 1_010]);
        starts.set_back(1_000, 940);
        assert_eq!(of(&starts), [900, 940, 940, 950]);
        starts.set_back(1_005, 905);
        assert_eq!(of(&starts), [900, 905, 905, 910]);
    }
}
