//! Another try of what failed and is done seldom.

use std::time::Duration;

use crate::clock::UnixSeconds;

/// The longest wait between two tries.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);
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
