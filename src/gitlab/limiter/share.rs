//! The share of GitLab's time that backfill may use: a bucket of seconds that GitLab worked.

use std::time::Duration;

use tokio::time::Instant;

/// How long the share may be saved up: so much of it may be used at once, so that a first reading
/// begins without waiting.
const SAVED: f64 = 120.0;

/// Seconds of GitLab's time, filled at the rate of the share.
#[derive(Clone, Debug)]
pub(super) struct ServerShare {
    /// Seconds of GitLab's time for each second; 0 sets no limit.
    share: f64,
    /// What may be used now, in seconds; below 0, backfill waits.
    balance: f64,
    at: Instant,
}

impl ServerShare {
    /// A full bucket. A share that is no positive number sets no limit.
    pub(super) fn new(share: f64, now: Instant) -> Self {
        let share = if share.is_finite() {
            share.max(0.0)
        } else {
            0.0
        };
        Self {
            share,
            balance: share * SAVED,
            at: now,
        }
    }

    /// Sets another share from now on.
    pub(super) fn set(&mut self, share: f64, now: Instant) {
        let balance = self.balance(now);
        let share = Self::new(share, now).share;
        *self = Self {
            share,
            balance: balance.min(share * SAVED),
            at: now,
        };
    }

    /// How long until a call may go. What it will cost is not known before it ends: it may go while
    /// nothing is owed, and is charged afterwards.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let balance = self.balance(now);
        if self.share == 0.0 || balance >= 0.0 {
            return None;
        }
        let wait = Duration::try_from_secs_f64(-balance / self.share).unwrap_or(Duration::MAX);
        // Never nothing, whatever the rounding: it is slept.
        Some(wait.saturating_add(Duration::from_millis(1)))
    }

    /// Takes off what GitLab worked for a call.
    pub(super) fn charge(&mut self, server_time: Duration, now: Instant) {
        self.balance = self.balance(now) - server_time.as_secs_f64();
        self.at = now;
    }

    fn balance(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.balance + passed * self.share).min(self.share * SAVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    #[test]
    fn in_the_long_run_no_more_than_the_share_is_used() {
        let begun = Instant::now();
        let mut share = ServerShare::new(0.5, begun);
        let (mut now, mut used) = (begun, 0.0);
        while now < begun + seconds(3600.0) {
            match share.wait(now) {
                None => {
                    share.charge(seconds(2.0), now);
                    used += 2.0;
                }
                Some(wait) => now += wait,
            }
        }
        assert!(
            (1859.0..=1863.0).contains(&used),
            "{used}: 60 at once, then half"
        );
    }

    #[test]
    fn two_minutes_of_the_share_may_be_used_at_once() {
        let now = Instant::now();
        for (share, burst) in [(0.5, 60.0), (2.0, 240.0), (0.01, 1.2)] {
            let mut bucket = ServerShare::new(share, now);
            bucket.charge(seconds(burst), now);
            assert_eq!(bucket.wait(now), None, "{share}");
            bucket.charge(seconds(share), now);
            let wait = bucket.wait(now).unwrap().as_secs_f64();
            assert!((wait - 1.0).abs() < 0.01, "{share}: {wait}");
            // No more is saved up, however long nothing is used.
            let later = now + seconds(86_400.0);
            bucket.charge(seconds(burst + share), later);
            assert!(bucket.wait(later).is_some());
        }
    }

    #[test]
    fn no_share_is_no_limit() {
        let now = Instant::now();
        for share in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut bucket = ServerShare::new(share, now);
            bucket.charge(seconds(1e6), now);
            assert_eq!(bucket.wait(now), None, "{share}");
        }
    }

    #[test]
    fn a_debt_that_cannot_be_paid_is_a_long_wait_and_no_panic() {
        let now = Instant::now();
        let mut bucket = ServerShare::new(1e-300, now);
        bucket.charge(Duration::MAX, now);
        assert_eq!(bucket.wait(now), Some(Duration::MAX));
    }
}
