//! When calls wait for GitLab's rate limits: pauses after a 429 or 503, and windows that are nearly used
//! up. In a long one a call tries now and then whether it is over: one wrong header stops nothing for long.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::gitlab::limiter::{Load, Observation, RateLimit, Throttle, Weight};

/// Longest pause that is believed.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// First pause after a 429 that says nothing about time; it doubles.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a 429 that says nothing about time.
const MAX_GUESS: Duration = Duration::from_secs(60);
/// Below this share of a window, what is left is spread over the time that is left.
const LOW_WATER: u64 = 10;
/// Longest time between two calls while something is left of a window.
const MAX_PACE: Duration = Duration::from_secs(60);
/// In longer pauses a call tries, first after this time, then after doubling times.
const FIRST_TRIAL: Duration = Duration::from_secs(120);
/// Longest time between two trials.
const MAX_BETWEEN_TRIALS: Duration = Duration::from_secs(600);
/// A small call is the better trial: heavy ones wait so much longer.
const TRIAL_OF_HEAVY: Duration = Duration::from_secs(15);

/// Pauses and the window.
#[derive(Default)]
pub(super) struct Pauses {
    paused: Option<Pause>,
    endpoints: HashMap<String, Pause>,
    window: Option<Window>,
    /// Whether an answer showed that a window was not empty when its header said so.
    is_window_doubted: bool,
    /// Refusals in a row without a time to wait.
    refusals: u32,
    /// Other processes that use the same window.
    others: u32,
}

/// How long calls wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// When one may go: a trial, where that is earlier than the end.
    pub(super) until: Instant,
    /// When all may.
    pub(super) end: Instant,
}

/// A time in which no call goes, but for trials.
struct Pause {
    until: Instant,
    trial_at: Instant,
    between_trials: Duration,
    /// Whether a call tries now.
    is_tried: bool,
}

/// GitLab's window as we know it, our calls under way already taken off.
struct Window {
    remaining: u64,
    limit: u64,
    ends: Instant,
    next: Instant,
    /// Once nothing remains.
    empty: Option<Pause>,
}

impl Pause {
    fn new(until: Instant, now: Instant) -> Self {
        Self {
            until,
            trial_at: now + FIRST_TRIAL,
            between_trials: FIRST_TRIAL,
            is_tried: false,
        }
    }

    /// How long a call waits; nothing when it may go.
    fn wait(&self, weight: Weight, now: Instant) -> Option<Wait> {
        let trial_at = match weight {
            Weight::Light => self.trial_at,
            Weight::Heavy => self.trial_at + TRIAL_OF_HEAVY,
        };
        let (until, end) = (self.until.min(trial_at), self.until);
        (until > now).then_some(Wait { until, end })
    }

    /// A call goes: a trial, if it is not over.
    fn spend(&mut self, now: Instant) {
        if now < self.until {
            self.between_trials = (2 * self.between_trials).min(MAX_BETWEEN_TRIALS);
            self.trial_at = now + self.between_trials;
            self.is_tried = true;
        }
    }

    /// It is asked for again.
    fn extend(&mut self, until: Instant) {
        self.until = self.until.max(until);
        self.is_tried = false;
    }
}

/// Begins a pause, or makes the one that there is longer.
fn pause(known: &mut Option<Pause>, until: Instant, now: Instant) {
    match known {
        Some(known) if known.until > now => known.extend(until),
        _ => *known = Some(Pause::new(until, now)),
    }
}

impl Pauses {
    /// How long calls of an endpoint wait.
    pub(super) fn of_endpoint(&mut self, endpoint: &str, now: Instant) -> Option<Wait> {
        let pause = self.endpoints.get(endpoint)?;
        let wait = pause.wait(Weight::Light, now);
        if pause.until <= now {
            self.endpoints.remove(endpoint);
        }
        wait
    }

    /// How long calls of all endpoints wait for a pause or a window.
    pub(super) fn of_all(&mut self, weight: Weight, now: Instant) -> Option<Wait> {
        if self.paused.as_ref().is_some_and(|pause| pause.until <= now) {
            self.paused = None;
        }
        if let Some(wait) = self
            .paused
            .as_ref()
            .and_then(|pause| pause.wait(weight, now))
        {
            return Some(wait);
        }
        let window = self.window.as_ref()?;
        if window.ends <= now {
            self.window = None;
            return None;
        }
        match &window.empty {
            Some(empty) => empty.wait(weight, now),
            None => (window.next > now).then_some(Wait {
                until: window.next,
                end: window.next,
            }),
        }
    }

    /// Takes a call that goes off the window, and counts it as a trial in a pause.
    pub(super) fn spend(&mut self, endpoint: &str, now: Instant) {
        let of_endpoint = self.endpoints.get_mut(endpoint);
        for pause in self.paused.iter_mut().chain(of_endpoint) {
            pause.spend(now);
        }
        if let Some(window) = &mut self.window {
            window.spend(self.others, now);
        }
    }

    /// Learns from an answer of `endpoint`.
    pub(super) fn observe(&mut self, endpoint: &str, seen: &Observation, now: Instant) {
        if seen.load == Load::Answered {
            self.trial_succeeded(endpoint);
        }
        if let Some(rate_limit) = seen.rate_limit {
            self.see_window(rate_limit, now);
        }
        let Some(throttle) = seen.throttled else {
            self.refusals = 0;
            if let Some(asked) = seen.retry_after {
                pause(&mut self.paused, now + asked.min(MAX_PAUSE), now);
            }
            return;
        };
        self.is_window_doubted = false;
        let announced = seen
            .retry_after
            .or(seen.rate_limit.map(|limit| limit.reset_in))
            .filter(|pause| !pause.is_zero());
        let asked = announced.unwrap_or_else(|| self.guess()).min(MAX_PAUSE);
        match throttle {
            Throttle::All => pause(&mut self.paused, now + asked, now),
            Throttle::Endpoint => {
                let mut known = self.endpoints.remove(endpoint);
                pause(&mut known, now + asked, now);
                let known = known.map(|pause| (endpoint.to_owned(), pause));
                self.endpoints.extend(known);
            }
        }
    }

    /// Whether processes that share the budget should know what an answer says, before it is observed.
    pub(super) fn is_news(&self, endpoint: &str, seen: &Observation) -> bool {
        let is_tried = |pause: Option<&Pause>| pause.is_some_and(|pause| pause.is_tried);
        let window = self.window.as_ref();
        let was_trial = is_tried(self.paused.as_ref())
            || is_tried(self.endpoints.get(endpoint))
            || is_tried(window.and_then(|window| window.empty.as_ref()));
        let is_low = |limit: RateLimit| limit.remaining <= limit.limit / LOW_WATER;
        seen.throttled.is_some()
            || seen.retry_after.is_some()
            || seen.rate_limit.is_some_and(is_low)
            || (was_trial && seen.load == Load::Answered)
    }

    /// Learns from an answer to another process, which was so long ago.
    pub(super) fn hear(&mut self, endpoint: &str, seen: &Observation, age: Duration, now: Instant) {
        let left = |time: Duration| time.saturating_sub(age);
        let mut seen = *seen;
        if seen.load == Load::Answered {
            // It was a trial there; here, too.
            let of_endpoint = self.endpoints.get_mut(endpoint);
            let of_window = self
                .window
                .as_mut()
                .and_then(|window| window.empty.as_mut());
            for pause in self.paused.iter_mut().chain(of_endpoint).chain(of_window) {
                pause.is_tried = true;
            }
        }
        seen.retry_after = seen.retry_after.map(left);
        let window = seen.rate_limit.map(|limit| RateLimit {
            reset_in: left(limit.reset_in),
            ..limit
        });
        seen.rate_limit = window.filter(|limit| !limit.reset_in.is_zero());
        let announced = seen.retry_after.or(window.map(|limit| limit.reset_in));
        let is_over = announced.map_or(age > MAX_GUESS, |left| left.is_zero());
        if seen.throttled.is_some() && is_over {
            return;
        }
        self.observe(endpoint, &seen, now);
    }

    /// How many other processes use the same window.
    pub(super) fn shared_by_others(&mut self, others: u32) {
        self.others = others;
    }

    /// A call got what it asked for. If it was a trial, the pause is over.
    fn trial_succeeded(&mut self, endpoint: &str) {
        if self.paused.as_ref().is_some_and(|pause| pause.is_tried) {
            self.paused = None;
        }
        if self
            .endpoints
            .get(endpoint)
            .is_some_and(|pause| pause.is_tried)
        {
            self.endpoints.remove(endpoint);
        }
        let empty = self
            .window
            .as_ref()
            .and_then(|window| window.empty.as_ref());
        if empty.is_some_and(|pause| pause.is_tried) {
            self.window = None;
            self.is_window_doubted = true;
        }
    }

    fn guess(&mut self) -> Duration {
        let pause = MIN_PAUSE.saturating_mul(1 << self.refusals.min(10));
        self.refusals = self.refusals.saturating_add(1);
        pause.min(MAX_GUESS)
    }

    fn see_window(&mut self, seen: RateLimit, now: Instant) {
        // No window of GitLab's is longer than an hour, so the header is wrong.
        let is_absurd = seen.reset_in > MAX_PAUSE;
        if is_absurd || (seen.remaining == 0 && self.is_window_doubted) {
            return;
        }
        let ends = now + seen.reset_in;
        // Answers overtake each other; within one window only the smallest remainder is true.
        if let Some(window) = &mut self.window
            && same_window(window.ends, ends)
        {
            window.remaining = window.remaining.min(seen.remaining);
            window.note_empty(now);
            return;
        }
        let mut window = Window {
            remaining: seen.remaining,
            limit: seen.limit,
            ends,
            next: now,
            empty: None,
        };
        window.next = now + window.pace(self.others, now);
        window.note_empty(now);
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
    /// Time between two calls: none while there is plenty, else what is left spread evenly over all processes.
    fn pace(&self, others: u32, now: Instant) -> Duration {
        if self.remaining > self.limit / LOW_WATER {
            return Duration::ZERO;
        }
        let calls = u32::try_from(self.remaining + 1).unwrap_or(u32::MAX);
        let between = self.ends.saturating_duration_since(now) / calls;
        between.saturating_mul(others + 1).min(MAX_PACE)
    }

    fn spend(&mut self, others: u32, now: Instant) {
        if let Some(empty) = &mut self.empty {
            empty.spend(now);
            return;
        }
        self.remaining = self.remaining.saturating_sub(1);
        self.next = now + self.pace(others, now);
        self.note_empty(now);
    }

    fn note_empty(&mut self, now: Instant) {
        if self.remaining == 0 && self.empty.is_none() {
            self.empty = Some(Pause::new(self.ends, now));
        }
    }
}
