//! The limiter of one process.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Exhausted, Lane, Limiter, Observation, RateLimit, Throttle};

/// Longest time one call waits for a pause or a window to end.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Longest pause that is believed.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// First pause after a 429 that says nothing about time; it doubles.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a 429 that says nothing about time.
const MAX_GUESS: Duration = Duration::from_secs(60);
/// Below this share of a window, what is left is spread over the time that is left.
const LOW_WATER: u64 = 10;

/// How many calls the settings allow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Calls per second in the long run; must be more than 0.
    pub per_second: f64,
    /// Calls at once after a pause; 0 counts as 1.
    pub burst: u32,
    /// Calls in any hour; 0 sets no limit.
    pub per_hour: u32,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// Token buckets per second and per hour, GitLab's windows, pauses after 429, and two lanes.
pub struct LocalLimiter {
    second: Bucket,
    hour: Option<Bucket>,
    ticks: Ticks,
    state: Mutex<State>,
    /// Whoever holds a lane's turn is the next of that lane to go.
    urgent: AsyncMutex<()>,
    normal: AsyncMutex<()>,
    urgent_waiting: AtomicUsize,
    urgent_changed: Notify,
    max_wait: Duration,
}

#[derive(Default)]
struct State {
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

/// governor's clock on tokio's time, so that tests can stand still.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    start: Instant,
}

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl LocalLimiter {
    /// A limiter with a full budget.
    ///
    /// # Errors
    /// When the calls per second are not a positive number.
    pub fn new(budget: Budget) -> Result<Self, &'static str> {
        let ticks = Ticks {
            start: Instant::now(),
        };
        let burst = NonZeroU32::new(budget.burst).unwrap_or(NonZeroU32::MIN);
        let second = Duration::try_from_secs_f64(1.0 / budget.per_second)
            .ok()
            .and_then(Quota::with_period)
            .ok_or("gitlab.max_requests_per_second must be more than 0")?
            .allow_burst(burst);
        Ok(Self {
            second: Bucket::direct_with_clock(second, ticks),
            hour: hourly(budget.per_hour).map(|quota| Bucket::direct_with_clock(quota, ticks)),
            ticks,
            state: Mutex::default(),
            urgent: AsyncMutex::default(),
            normal: AsyncMutex::default(),
            urgent_waiting: AtomicUsize::new(0),
            urgent_changed: Notify::new(),
            max_wait: MAX_WAIT,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `endpoint` alone is paused, without holding up the others.
    async fn endpoint_pause(&self, endpoint: &'static str) -> Result<(), Exhausted> {
        loop {
            let until = self.state().endpoint_until(endpoint, Instant::now());
            match until {
                None => return Ok(()),
                Some(until) => {
                    self.affordable(until.saturating_duration_since(Instant::now()))?;
                    sleep_until(until).await;
                }
            }
        }
    }

    fn affordable(&self, wait: Duration) -> Result<(), Exhausted> {
        if wait > self.max_wait {
            Err(Exhausted { wait })
        } else {
            Ok(())
        }
    }

    /// Waits at the head of a lane until a call may go; false when `endpoint` was paused meanwhile.
    async fn turn(&self, lane: Lane, endpoint: &'static str) -> Result<bool, Exhausted> {
        loop {
            if lane == Lane::Normal {
                self.let_urgent_pass().await;
            }
            if self
                .state()
                .endpoint_until(endpoint, Instant::now())
                .is_some()
            {
                return Ok(false);
            }
            let Some(wait) = self.take() else {
                return Ok(true);
            };
            self.affordable(wait)?;
            sleep(wait).await;
        }
    }

    async fn let_urgent_pass(&self) {
        loop {
            let changed = self.urgent_changed.notified();
            if self.urgent_waiting.load(Ordering::SeqCst) == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Takes one call off every budget, or says how long to wait first.
    fn take(&self) -> Option<Duration> {
        let mut state = self.state();
        if let Some(wait) = state.wait(Instant::now()) {
            return Some(wait);
        }
        for bucket in std::iter::once(&self.second).chain(&self.hour) {
            if let Err(denied) = bucket.check() {
                return Some(denied.wait_time_from(self.ticks.now()));
            }
        }
        state.spend(Instant::now());
        None
    }
}

/// Never more than `per_hour` calls in any hour: a tenth may go at once, the rest trickles.
fn hourly(per_hour: u32) -> Option<Quota> {
    let per_hour = NonZeroU32::new(per_hour)?;
    let burst = NonZeroU32::new(per_hour.get() / 10).unwrap_or(NonZeroU32::MIN);
    let trickle = NonZeroU32::new(per_hour.get() - burst.get()).unwrap_or(NonZeroU32::MIN);
    Some(Quota::per_hour(trickle).allow_burst(burst))
}

/// An urgent call that waits; going away, it lets the normal ones go on.
struct Waiting<'a>(&'a LocalLimiter);

impl<'a> Waiting<'a> {
    fn new(limiter: &'a LocalLimiter) -> Self {
        limiter.urgent_waiting.fetch_add(1, Ordering::SeqCst);
        Self(limiter)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.urgent_waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.urgent_changed.notify_waiters();
    }
}

#[async_trait]
impl Limiter for LocalLimiter {
    async fn acquire(&self, lane: Lane, endpoint: &'static str) -> Result<Duration, Exhausted> {
        let begun = Instant::now();
        loop {
            self.endpoint_pause(endpoint).await?;
            let waiting = (lane == Lane::Urgent).then(|| Waiting::new(self));
            let queue = match lane {
                Lane::Urgent => &self.urgent,
                Lane::Normal => &self.normal,
            };
            let _head = queue.lock().await;
            let gone = self.turn(lane, endpoint).await?;
            drop(waiting);
            if gone {
                return Ok(begun.elapsed());
            }
        }
    }

    async fn observe(&self, endpoint: &'static str, seen: &Observation) {
        self.state().observe(endpoint, seen, Instant::now());
    }
}

impl State {
    fn endpoint_until(&mut self, endpoint: &'static str, now: Instant) -> Option<Instant> {
        let until = *self.endpoints.get(endpoint)?;
        if until > now {
            return Some(until);
        }
        self.endpoints.remove(endpoint);
        None
    }

    /// How long all calls wait for a pause or a window.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
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

    fn spend(&mut self, now: Instant) {
        if let Some(window) = &mut self.window {
            window.remaining = window.remaining.saturating_sub(1);
            window.next = now + window.pace(now);
        }
    }

    fn observe(&mut self, endpoint: &'static str, seen: &Observation, now: Instant) {
        if let Some(rate_limit) = seen.rate_limit {
            self.see_window(rate_limit, now);
        }
        let Some(throttle) = seen.throttled else {
            self.refusals = 0;
            // A server that is down asks for patience; that is its guess, not a rule.
            if let Some(pause) = seen.retry_after {
                self.paused = self.paused.max(Some(now + pause.min(MAX_GUESS)));
            }
            return;
        };
        let told = seen
            .retry_after
            .or(seen.rate_limit.map(|limit| limit.reset_in))
            .filter(|pause| !pause.is_zero());
        let pause = told.unwrap_or_else(|| self.guess()).min(MAX_PAUSE);
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

#[cfg(test)]
mod tests;
