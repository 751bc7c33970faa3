//! How much of GitLab's time the exporter has used in the last minutes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::UnixSeconds;

/// The minutes that are looked back on.
const WINDOW: Duration = Duration::from_secs(300);
/// How finely they are kept, in seconds.
const SLOT: i64 = 10;
/// Before this nothing is said: the first requests after a start are not what is used in the long run.
const ENOUGH: Duration = Duration::from_secs(30);

/// GitLab's time by the end of the requests that it worked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    began: Option<UnixSeconds>,
    /// Slots of time with the seconds that GitLab worked, oldest first.
    slots: VecDeque<(i64, f64)>,
}

impl Load {
    /// GitLab worked so long for a request that ended now.
    pub(super) fn worked(&mut self, seconds: f64, now: UnixSeconds) {
        // A clock that was set back begins again: what seems to lie ahead would never leave.
        if self
            .slots
            .back()
            .is_some_and(|(slot, _)| *slot > now.0 / SLOT)
        {
            *self = Self::default();
        }
        self.began.get_or_insert(now);
        let slot = now.0 / SLOT;
        match self.slots.back_mut() {
            Some((latest, sum)) if *latest == slot => *sum += seconds,
            _ => self.slots.push_back((slot, seconds)),
        }
        let oldest = first_slot(now);
        while self.slots.front().is_some_and(|(slot, _)| *slot < oldest) {
            self.slots.pop_front();
        }
    }

    /// How many workers of GitLab were busy on average; nothing right after the start.
    pub(super) fn workers(&self, now: UnixSeconds) -> Option<f64> {
        let lasted = now.since(self.began?);
        if lasted < ENOUGH {
            return None;
        }
        let oldest = first_slot(now);
        let slots = self.slots.iter().filter(|(slot, _)| *slot >= oldest);
        let sum: f64 = slots.map(|(_, seconds)| seconds).sum();
        Some(sum / lasted.min(WINDOW).as_secs_f64())
    }
}

fn first_slot(now: UnixSeconds) -> i64 {
    now.minus(WINDOW).0 / SLOT + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: UnixSeconds = UnixSeconds(1_767_614_400);

    fn at(seconds: u64) -> UnixSeconds {
        NOON.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn it_is_the_share_of_the_last_minutes() {
        let mut load = Load::default();
        assert_eq!(load.workers(NOON), None, "nothing was asked for");
        for second in 0..60 {
            load.worked(0.25, at(second));
        }
        assert_eq!(load.workers(at(29)), None, "too early");
        assert_eq!(load.workers(at(60)), Some(0.25));
        assert_eq!(load.workers(at(150)), Some(0.1));
        // What is long past counts no more.
        load.worked(3.0, at(1000));
        assert_eq!(load.workers(at(1000)), Some(0.01));
        assert_eq!(load.slots.len(), 1);
        assert_eq!(load.workers(at(2000)), Some(0.0));
    }

    #[test]
    fn a_clock_that_is_set_back_begins_again() {
        let mut load = Load::default();
        load.worked(100.0, at(1000));
        load.worked(3.0, at(0));
        assert_eq!(load.workers(at(60)), Some(0.05));
    }
}
