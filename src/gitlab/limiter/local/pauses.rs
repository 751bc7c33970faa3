//! When calls wait for GitLab's rate limits: pauses after a 429, and windows that are nearly used up.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::gitlab::limiter::{Observation, RateLimit, Throttle};

/// Longest pause that is believed.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// First pause after a 429 that says nothing about time; it doubles.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a 429 that says nothing about time.
const MAX_GUESS: Duration = Duration::from_secs(60);
/// Below this share of a window, what is left is spread over the time that is left.
const LOW_WATER: u64 = 10;

/// Pauses and the window.
#[derive(Default)]
pub(super) struct Pauses {
    paused: Option<Instant>,
    endpoints: HashMap<&'static str, Instant>,
    window: Option<Window>,
    /// Refusals in a row without a time to wait.
    refusals: u32,
}

/// GitLab's window as we know it, our calls under way already taken off.
struct Window {
    remaining: u64,
    limit: u64,
    ends: Instant,
    next: Instant,
}

impl Pauses {
    /// Until when an endpoint is paused.
    pub(super) fn of_endpoint(&mut self, endpoint: &'static str, now: Instant) -> Option<Instant> {
        let until = *self.endpoints.get(endpoint)?;
        if until > now {
            return Some(until);
        }
        self.endpoints.remove(endpoint);
        None
    }

    /// How long all calls wait for a pause or a window.
    pub(super) fn of_all(&mut self, now: Instant) -> Option<Duration> {
        if let Some(until) = self.paused {
            if until > now {
                return Some(until - now);
            }
            self.paused = None;
        }
        let window = self.window.as_ref()?;
        if window.ends <= now {
            self.window = None;
            return None;
        }
        let until = if window.remaining == 0 {
            window.ends
        } else {
            window.next
        };
        (until > now).then(|| until - now)
    }

    /// Takes a call that goes off the window.
    pub(super) fn spend(&mut self, now: Instant) {
        if let Some(window) = &mut self.window {
            window.remaining = window.remaining.saturating_sub(1);
            window.next = now + window.pace(now);
        }
    }

    /// Learns from an answer of `endpoint`.
    pub(super) fn observe(&mut self, endpoint: &'static str, seen: &Observation, now: Instant) {
        if let Some(rate_limit) = seen.rate_limit {
            self.see_window(rate_limit, now);
        }
        let Some(throttle) = seen.throttled else {
            self.refusals = 0;
            // A server that is down sends `Retry-After`, too; that is its guess, not a rule.
            if let Some(pause) = seen.retry_after {
                self.paused = self.paused.max(Some(now + pause.min(MAX_GUESS)));
            }
            return;
        };
        let announced = seen
            .retry_after
            .or(seen.rate_limit.map(|limit| limit.reset_in))
            .filter(|pause| !pause.is_zero());
        let pause = announced.unwrap_or_else(|| self.guess()).min(MAX_PAUSE);
        match throttle {
            Throttle::All => self.paused = self.paused.max(Some(now + pause)),
            Throttle::Endpoint => {
                let until = self.endpoints.entry(endpoint).or_insert(now);
                *until = (*until).max(now + pause);
            }
        }
    }

    fn guess(&mut self) -> Duration {
        let pause = MIN_PAUSE.saturating_mul(1 << self.refusals.min(10));
        self.refusals = self.refusals.saturating_add(1);
        pause.min(MAX_GUESS)
    }

    fn see_window(&mut self, seen: RateLimit, now: Instant) {
        let ends = now + seen.reset_in.min(MAX_PAUSE);
        // Answers overtake each other; within one window only the smallest remainder is true.
        if let Some(window) = &mut self.window
            && same_window(window.ends, ends)
        {
            window.remaining = window.remaining.min(seen.remaining);
            return;
        }
        let mut window = Window {
            remaining: seen.remaining,
            limit: seen.limit,
            ends,
            next: now,
        };
        window.next = now + window.pace(now);
        self.window = (ends > now).then_some(window);
    }
}

fn same_window(one: Instant, other: Instant) -> bool {
    let apart = one
        .saturating_duration_since(other)
        .max(other.saturating_duration_since(one));
    apart <= Duration::from_secs(2)
}

impl Window {
    /// Time between two calls: none while there is plenty, else what is left spread evenly.
    fn pace(&self, now: Instant) -> Duration {
        if self.remaining > self.limit / LOW_WATER {
            return Duration::ZERO;
        }
        let calls = u32::try_from(self.remaining + 1).unwrap_or(u32::MAX);
        self.ends.saturating_duration_since(now) / calls
    }
}
