//! The limiter of one process.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Exhausted, Kind, Lane, Limiter, Observation, RateLimit, Throttle, Turn};

/// Longest time one call waits for a pause or a window to end.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Longest pause that is believed.
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// First pause after a 429 that says nothing about time; it doubles.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after a 429 that says nothing about time.
const MAX_GUESS: Duration = Duration::from_secs(60);
/// After so many calls of the other lanes that went before it, a backfill call goes.
const BACKFILL_AFTER: u32 = 3;
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
    /// Calls under way at once, half of them GraphQL queries, but at least one; 0 counts as 1.
    pub at_once: u32,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// Token buckets per second and per hour, calls under way, GitLab's windows, pauses after 429, and two
/// lanes.
pub struct LocalLimiter {
    second: Bucket,
    hour: Option<Bucket>,
    ticks: Ticks,
    shared: Arc<SharedState>,
    /// The holder of a queue's lock is the next of that lane and kind: a query that waits for others
    /// to end delays no REST call.
    queues: [[Queue; 2]; Lane::COUNT],
    max_wait: Duration,
}

/// What calls under way share with the limiter.
struct SharedState {
    state: Mutex<LimiterState>,
    /// A call ended, or an urgent one started: another may start.
    changed: Notify,
}

/// Calls of one lane and kind that wait.
#[derive(Default)]
struct Queue {
    head: AsyncMutex<()>,
    /// Nanoseconds that heads have waited for other calls to end.
    held_up: AtomicU64,
}

#[derive(Default)]
struct LimiterState {
    paused: Option<Instant>,
    endpoints: HashMap<&'static str, Instant>,
    window: Option<Window>,
    /// Refusals in a row without a time to wait.
    refusals: u32,
    under_way: UnderWay,
}

/// How many calls are under way, and how many may be. Pairs have REST first.
#[derive(Default)]
struct UnderWay {
    now: [u32; 2],
    most: u32,
    most_queries: u32,
    /// Calls of other lanes that went since a backfill call has been waiting.
    overtaken: u32,
    /// Calls that wait to go, by lane and kind.
    waiting: [[usize; 2]; Lane::COUNT],
    /// Numbers given to calls as they came.
    tickets: u64,
    /// The numbers of the heads of the queues, by lane and kind: of two that may go, the one that came
    /// first does.
    heads: [[Option<u64>; 2]; Lane::COUNT],
}

/// What stands between the head of a queue and its call.
enum Next {
    /// Nothing: it goes.
    Go,
    /// Its endpoint was paused meanwhile.
    EndpointPaused,
    /// The rate limits, for so long.
    Rate(Duration),
    /// Other calls, which go first.
    Others,
    /// As many calls under way as may be.
    Full,
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
        let most = budget.at_once.max(1);
        let state = LimiterState {
            under_way: UnderWay {
                most,
                most_queries: (most / 2).max(1),
                ..UnderWay::default()
            },
            ..LimiterState::default()
        };
        Ok(Self {
            second: Bucket::direct_with_clock(second, ticks),
            hour: hourly(budget.per_hour).map(|quota| Bucket::direct_with_clock(quota, ticks)),
            ticks,
            shared: Arc::new(SharedState {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
            queues: Default::default(),
            max_wait: MAX_WAIT,
        })
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.shared.state()
    }

    fn ticket(&self) -> u64 {
        let under_way = &mut self.state().under_way;
        under_way.tickets += 1;
        under_way.tickets
    }

    const fn queue(&self, lane: Lane, kind: Kind) -> &Queue {
        &self.queues[lane as usize][kind as usize]
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

    /// Waits at the head of a queue until a call may go; nothing when `endpoint` was paused meanwhile.
    /// Who waits for time holds no place among the calls under way.
    async fn turn(
        &self,
        lane: Lane,
        kind: Kind,
        endpoint: &'static str,
    ) -> Result<Option<Place>, Exhausted> {
        loop {
            let changed = self.shared.changed.notified();
            match self.next(lane, kind, endpoint) {
                Next::Go => return Ok(Some(Place(Arc::clone(&self.shared), kind))),
                Next::EndpointPaused => return Ok(None),
                Next::Rate(wait) => {
                    self.affordable(wait)?;
                    sleep(wait).await;
                }
                Next::Others => changed.await,
                Next::Full => {
                    let begun = Instant::now();
                    changed.await;
                    let held_up = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    let queue = self.queue(lane, kind);
                    queue.held_up.fetch_add(held_up, Ordering::Relaxed);
                }
            }
        }
    }

    /// Takes one call off every budget, or says what is in its way.
    fn next(&self, lane: Lane, kind: Kind, endpoint: &'static str) -> Next {
        let mut state = self.state();
        if state.endpoint_until(endpoint, Instant::now()).is_some() {
            return Next::EndpointPaused;
        }
        if !state.under_way.has_place(kind) {
            return Next::Full;
        }
        if state.under_way.yields(lane, kind) {
            return Next::Others;
        }
        if let Some(wait) = state.wait(Instant::now()) {
            return Next::Rate(wait);
        }
        for bucket in std::iter::once(&self.second).chain(&self.hour) {
            if let Err(denied) = bucket.check() {
                return Next::Rate(denied.wait_time_from(self.ticks.now()));
            }
        }
        state.spend(Instant::now());
        state.under_way.goes(lane, kind);
        Next::Go
    }
}

impl SharedState {
    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    fn has_place(&self, kind: Kind) -> bool {
        let [rest, queries] = self.now;
        rest + queries < self.most && (kind == Kind::Rest || queries < self.most_queries)
    }

    /// Takes a call into account that goes.
    fn goes(&mut self, lane: Lane, kind: Kind) {
        self.now[kind as usize] += 1;
        let waits = self.waiting[Lane::Backfill as usize].iter().any(|n| *n > 0);
        self.overtaken = match lane {
            Lane::Urgent | Lane::Normal if waits => self.overtaken.saturating_add(1),
            _ => 0,
        };
    }

    /// The lanes whose calls go before those of this one. Where the budget is too small for the
    /// steady work, backfill continues all the same, slowly.
    fn go_before(&self, lane: Lane) -> &'static [Lane] {
        match (lane, self.overtaken >= BACKFILL_AFTER) {
            (Lane::Urgent, _) => &[],
            (Lane::Normal, true) => &[Lane::Urgent, Lane::Backfill],
            (Lane::Normal, false) | (Lane::Backfill, true) => &[Lane::Urgent],
            (Lane::Backfill, false) => &[Lane::Urgent, Lane::Normal],
        }
    }

    /// Whether another call is to go before the head of a queue: a more urgent one, or one that came first.
    /// Not one for which there is no place.
    fn yields(&self, lane: Lane, kind: Kind) -> bool {
        let other = match kind {
            Kind::Rest => Kind::GraphQl,
            Kind::GraphQl => Kind::Rest,
        };
        let urgent = |kind: Kind| {
            let mut lanes = self.go_before(lane).iter();
            lanes.any(|lane| self.waiting[*lane as usize][kind as usize] > 0)
        };
        let heads = &self.heads[lane as usize];
        let came_first = match (heads[other as usize], heads[kind as usize]) {
            (Some(other), Some(own)) => other < own,
            _ => false,
        };
        urgent(kind) || (self.has_place(other) && (urgent(other) || came_first))
    }
}

/// The head of a queue, until it goes.
struct Head<'a>(&'a SharedState, Lane, Kind);

impl<'a> Head<'a> {
    fn new(shared: &'a SharedState, lane: Lane, kind: Kind, ticket: u64) -> Self {
        shared.state().under_way.heads[lane as usize][kind as usize] = Some(ticket);
        Self(shared, lane, kind)
    }
}

impl Drop for Head<'_> {
    fn drop(&mut self) {
        let Self(shared, lane, kind) = self;
        shared.state().under_way.heads[*lane as usize][*kind as usize] = None;
        shared.changed.notify_waiters();
    }
}

/// One of the calls under way, until it is dropped.
struct Place(Arc<SharedState>, Kind);

impl Drop for Place {
    fn drop(&mut self) {
        let Self(shared, kind) = self;
        let mut state = shared.state();
        let now = &mut state.under_way.now[*kind as usize];
        *now = now.saturating_sub(1);
        drop(state);
        shared.changed.notify_waiters();
    }
}

/// Never more than `per_hour` calls in any hour: a tenth may go at once, the rest trickles.
fn hourly(per_hour: u32) -> Option<Quota> {
    let per_hour = NonZeroU32::new(per_hour)?;
    let burst = NonZeroU32::new(per_hour.get() / 10).unwrap_or(NonZeroU32::MIN);
    let trickle = NonZeroU32::new(per_hour.get() - burst.get()).unwrap_or(NonZeroU32::MIN);
    Some(Quota::per_hour(trickle).allow_burst(burst))
}

/// A call that waits; when dropped, it lets less urgent ones continue.
struct Waiting<'a>(&'a SharedState, Lane, Kind);

impl<'a> Waiting<'a> {
    fn new(shared: &'a SharedState, lane: Lane, kind: Kind) -> Self {
        shared.state().under_way.waiting[lane as usize][kind as usize] += 1;
        Self(shared, lane, kind)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Self(shared, lane, kind) = self;
        shared.state().under_way.waiting[*lane as usize][*kind as usize] -= 1;
        shared.changed.notify_waiters();
    }
}

#[async_trait]
impl Limiter for LocalLimiter {
    async fn acquire(
        &self,
        lane: Lane,
        kind: Kind,
        endpoint: &'static str,
    ) -> Result<Turn, Exhausted> {
        let begun = Instant::now();
        let queue = self.queue(lane, kind);
        let held_up_before = queue.held_up.load(Ordering::Relaxed);
        loop {
            self.endpoint_pause(endpoint).await?;
            let waiting = Waiting::new(&self.shared, lane, kind);
            let ticket = self.ticket();
            let _turn = queue.head.lock().await;
            let _head = Head::new(&self.shared, lane, kind, ticket);
            let place = self.turn(lane, kind, endpoint).await?;
            drop(waiting);
            if let Some(place) = place {
                let held_up = queue.held_up.load(Ordering::Relaxed) - held_up_before;
                let waited = begun
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(held_up));
                return Ok(Turn::new(waited, Box::new(place)));
            }
        }
    }

    async fn observe(&self, endpoint: &'static str, seen: &Observation) {
        self.state().observe(endpoint, seen, Instant::now());
    }
}

impl LimiterState {
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

#[cfg(test)]
mod tests;
