//! The limiter of one process.

mod pauses;
mod places;
mod shared;
mod sharing;

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
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::concurrency::{Change, Concurrency};
use super::share::ServerShare;
use super::{Demand, Exhausted, Lane, Limiter, Observation, Pace, Turn, Weight};
use pauses::{Pauses, Wait};
use places::{Room, UnderWay};
pub use sharing::SILENT_AFTER;
use sharing::{Permit, Sharing};

/// Longest time one call waits for a pause or a window to end.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// What is said of a budget without calls.
const NO_RATE: &str = "gitlab.max_requests_per_second must be more than 0";

/// How many calls the settings allow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Calls per second in the long run; must be more than 0.
    pub per_second: f64,
    /// Calls at once after a pause; 0 counts as 1.
    pub burst: u32,
    /// Calls in any hour; 0 sets no limit.
    pub per_hour: u32,
    /// Most places under way; 0 counts as 1.
    pub at_once: u32,
    /// GitLab's time that backfill may use, in seconds per second; 0 sets no limit.
    pub server_share: f64,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// Token buckets per second and per hour, calls under way, GitLab's windows, pauses after 429, a share of
/// GitLab's time for backfill, and lanes.
pub struct LocalLimiter {
    budget: Budget,
    rates: Rates,
    shared: Arc<SharedState>,
    /// The holder of a queue's lock is the next of that lane: they go in the order in which they came,
    /// so that no stream of small calls keeps a heavy one waiting.
    queues: [Queue; Lane::COUNT],
    max_wait: Duration,
}

/// What limits how many calls begin.
enum Rates {
    /// Buckets of this process.
    Own {
        second: Bucket,
        hour: Option<Bucket>,
        ticks: Ticks,
    },
    /// Permits that processes share.
    Shared(Box<Sharing>),
}

/// What calls under way share with the limiter.
struct SharedState {
    state: Mutex<LimiterState>,
    /// A call ended, one that waited goes, or there is more room: another may start.
    changed: Notify,
}

/// Calls of one lane that wait.
#[derive(Default)]
struct Queue {
    head: AsyncMutex<()>,
    /// Nanoseconds that heads have waited for anything but the rate limits.
    held_up: AtomicU64,
}

struct LimiterState {
    pauses: Pauses,
    under_way: UnderWay,
    concurrency: Concurrency,
    share: ServerShare,
    /// Whether the call that is next found no place.
    is_wanted: bool,
}

/// What stands between the head of a queue and its call.
enum Next {
    /// Nothing: it goes.
    Go(Begun),
    /// Its endpoint was paused meanwhile.
    EndpointPaused,
    /// The rate limits, for so long.
    Rate(Wait),
    /// A permit is to be asked for.
    Ask,
    /// Backfill's share of GitLab's time, for so long.
    Share(Duration),
    /// Other calls, which go first.
    Others,
    /// As many calls under way as may be, until one ends, or until then.
    Full(Option<Instant>),
}

/// A call that goes.
struct Begun {
    /// Its number among those under way.
    number: u64,
    /// The concurrency's round.
    round: u64,
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
        let start = Instant::now();
        let ticks = Ticks { start };
        let burst = NonZeroU32::new(budget.burst).unwrap_or(NonZeroU32::MIN);
        let second = Duration::try_from_secs_f64(1.0 / budget.per_second)
            .ok()
            .and_then(Quota::with_period)
            .ok_or(NO_RATE)?
            .allow_burst(burst);
        let hour = hourly(budget.per_hour).map(|quota| Bucket::direct_with_clock(quota, ticks));
        let second = Bucket::direct_with_clock(second, ticks);
        let rates = Rates::Own {
            second,
            hour,
            ticks,
        };
        Ok(Self::by(rates, budget, start))
    }

    fn by(rates: Rates, budget: Budget, start: Instant) -> Self {
        let state = LimiterState {
            pauses: Pauses::default(),
            under_way: UnderWay::default(),
            concurrency: Concurrency::new(budget.at_once),
            share: ServerShare::new(budget.server_share, start),
            is_wanted: false,
        };
        Self {
            budget,
            rates,
            shared: Arc::new(SharedState {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
            queues: Default::default(),
            max_wait: MAX_WAIT,
        }
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.shared.state()
    }

    const fn queue(&self, lane: Lane) -> &Queue {
        &self.queues[lane as usize]
    }

    /// Waits while `endpoint` alone is paused, without holding up the others.
    async fn endpoint_pause(&self, demand: &Demand) -> Result<(), Exhausted> {
        loop {
            let now = Instant::now();
            let wait = self.state().pauses.of_endpoint(demand.endpoint, now);
            match wait {
                None => return Ok(()),
                Some(Wait { until, .. }) if !demand.waits => {
                    let wait = until.saturating_duration_since(now);
                    return Err(Exhausted { wait });
                }
                Some(wait) => self.wait(wait).await?,
            }
        }
    }

    /// Waits, but for no pause that is longer than a call waits: whoever comes when a trial is due makes
    /// it.
    async fn wait(&self, Wait { until, end }: Wait) -> Result<(), Exhausted> {
        let wait = end.saturating_duration_since(Instant::now());
        if wait > self.max_wait {
            return Err(Exhausted { wait });
        }
        sleep_until(until).await;
        Ok(())
    }

    /// Waits at the head of a queue until a call may go; nothing when its endpoint was paused meanwhile.
    /// Who waits for time holds no place among the calls under way.
    async fn turn(&self, demand: Demand) -> Result<Option<(Places, u64)>, Exhausted> {
        let queue = self.queue(demand.lane);
        loop {
            let changed = self.shared.changed.notified();
            let begun = Instant::now();
            match self.next(&demand) {
                Next::Go(Begun { number, round }) => {
                    let places = Places {
                        shared: Arc::clone(&self.shared),
                        number,
                        demand,
                    };
                    return Ok(Some((places, round)));
                }
                Next::EndpointPaused => return Ok(None),
                Next::Rate(wait) => self.wait(wait).await?,
                Next::Ask => self.ask(demand.lane).await,
                Next::Others => changed.await,
                Next::Full(until) => {
                    match until {
                        // Whether it came or not, it is looked at again.
                        Some(until) => drop(timeout_at(until, changed).await),
                        None => changed.await,
                    }
                    queue.was_held_up(begun);
                }
                // However long: what is owed is a share, not a limit, and backfill has no date to keep.
                Next::Share(wait) => {
                    sleep(wait).await;
                    queue.was_held_up(begun);
                }
            }
        }
    }

    /// Takes one call off every budget, or says what is in its way.
    fn next(&self, demand: &Demand) -> Next {
        let now = Instant::now();
        let mut state = self.state();
        if state.pauses.of_endpoint(demand.endpoint, now).is_some() {
            return Next::EndpointPaused;
        }
        if let Some(wait) = state.share_wait(demand.lane, now) {
            return Next::Share(wait);
        }
        if let Err(until) = state.has_room(demand, now) {
            return Next::Full(until);
        }
        let backfill_may_go = state.backfill_may_go(now);
        if state.under_way.yields(demand.lane, backfill_may_go) {
            // What goes first may take more places than this one would.
            let has_room = state.has_room_for(Weight::Heavy);
            return if has_room {
                Next::Others
            } else {
                Next::Full(None)
            };
        }
        if let Some(wait) = state.pauses.of_all(demand.weight, now) {
            return Next::Rate(wait);
        }
        match self.rates.take(demand.lane, now) {
            Permit::Taken => {}
            Permit::Wait(wait) => return Next::Rate(wait),
            Permit::Ask => return Next::Ask,
        }
        state.pauses.spend(demand.endpoint, now);
        state.is_wanted = false;
        Next::Go(Begun {
            number: state.under_way.begins(demand, now),
            round: state.concurrency.round(),
        })
    }
}

impl Queue {
    fn was_held_up(&self, since: Instant) {
        let held_up = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.held_up.fetch_add(held_up, Ordering::Relaxed);
    }
}

impl SharedState {
    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rates {
    /// Takes one call off every bucket, or a permit.
    fn take(&self, lane: Lane, now: Instant) -> Permit {
        match self {
            Self::Own {
                second,
                hour,
                ticks,
            } => {
                for bucket in std::iter::once(second).chain(hour) {
                    if let Err(denied) = bucket.check() {
                        let until = now + denied.wait_time_from(ticks.now());
                        return Permit::Wait(Wait { until, end: until });
                    }
                }
                Permit::Taken
            }
            Self::Shared(sharing) => sharing.take(lane, now),
        }
    }
}

impl LimiterState {
    /// How long a call of this lane waits for its share of GitLab's time: only backfill has one.
    fn share_wait(&self, lane: Lane, now: Instant) -> Option<Duration> {
        match lane {
            Lane::Backfill => self.share.wait(now),
            Lane::Urgent | Lane::Normal => None,
        }
    }

    /// Whether there is a place for it; if not, when there will be at the latest, if that is known. While
    /// GitLab is slow, backfill has one call under way at most.
    fn has_room(&mut self, demand: &Demand, now: Instant) -> Result<(), Option<Instant>> {
        let is_backfill = demand.lane == Lane::Backfill;
        if is_backfill && self.under_way.backfill() > 0 && self.concurrency.slowed(now).is_some() {
            return Err(None);
        }
        if self.has_room_for(demand.weight) {
            return Ok(());
        }
        self.is_wanted = true;
        match self.under_way.has_room_from(demand.weight, self.room()) {
            Some(from) if from <= now => Ok(()),
            from => Err(from),
        }
    }

    const fn has_room_for(&self, weight: Weight) -> bool {
        self.under_way.has_room(weight, self.room())
    }

    const fn room(&self) -> Room {
        Room {
            places: self.concurrency.places(),
            ceiling: self.concurrency.ceiling(),
        }
    }

    /// Whether backfill may go before others at all now.
    fn backfill_may_go(&self, now: Instant) -> bool {
        self.concurrency.slowed(now).is_none() && self.share.wait(now).is_none()
    }

    /// Takes in what the end of a call says; true when others may go for it.
    fn ended(&mut self, turn: &Turn, seen: &Observation, now: Instant) -> bool {
        let demand = &turn.demand;
        self.pauses.observe(demand.endpoint, seen, now);
        if demand.lane == Lane::Backfill {
            self.share.charge(seen.server_time, now);
        }
        let before = self.concurrency.places();
        let change = self.concurrency.ended(turn, seen, self.is_wanted, now);
        let reason = match change {
            Change::None => return false,
            Change::More => return true,
            Change::TimeDoubled => "response times doubled",
            Change::TooBusy => "timeout, 502, 503 or 504",
        };
        let concurrency = self.concurrency.places();
        if concurrency == before {
            tracing::debug!(
                operation = demand.operation,
                reason,
                concurrency,
                "GitLab is slow"
            );
            return false;
        }
        tracing::info!(
            operation = demand.operation,
            reason,
            concurrency,
            before,
            "GitLab slowed down, reducing concurrency"
        );
        false
    }
}

/// A call that waits; when dropped, it lets less urgent ones continue.
struct Waiting<'a>(&'a SharedState, Lane);

impl<'a> Waiting<'a> {
    fn new(shared: &'a SharedState, lane: Lane) -> Self {
        shared.state().under_way.waits(lane);
        Self(shared, lane)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Self(shared, lane) = self;
        shared.state().under_way.waits_no_longer(*lane);
        shared.changed.notify_waiters();
    }
}

/// The places of one of the calls under way, until it is dropped.
struct Places {
    shared: Arc<SharedState>,
    number: u64,
    demand: Demand,
}

impl Drop for Places {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.under_way.ends(self.number, &self.demand);
        drop(state);
        self.shared.changed.notify_waiters();
    }
}

/// Never more than `per_hour` calls in any hour: a tenth may go at once, the rest trickles.
fn hourly(per_hour: u32) -> Option<Quota> {
    let per_hour = NonZeroU32::new(per_hour)?;
    let burst = NonZeroU32::new(per_hour.get() / 10).unwrap_or(NonZeroU32::MIN);
    let trickle = NonZeroU32::new(per_hour.get() - burst.get()).unwrap_or(NonZeroU32::MIN);
    Some(Quota::per_hour(trickle).allow_burst(burst))
}

#[async_trait]
impl Limiter for LocalLimiter {
    async fn acquire(&self, demand: Demand) -> Result<Turn, Exhausted> {
        let begun = Instant::now();
        let queue = self.queue(demand.lane);
        let held_up_before = queue.held_up.load(Ordering::Relaxed);
        loop {
            self.endpoint_pause(&demand).await?;
            let waiting = Waiting::new(&self.shared, demand.lane);
            let _head = queue.head.lock().await;
            let places = self.turn(demand).await?;
            drop(waiting);
            if let Some((places, round)) = places {
                let held_up = queue.held_up.load(Ordering::Relaxed) - held_up_before;
                let waited = begun
                    .elapsed()
                    .saturating_sub(Duration::from_nanos(held_up));
                return Ok(Turn::new(demand, waited, round, Box::new(places)));
            }
        }
    }

    async fn observe(&self, turn: &Turn, seen: &Observation) {
        self.tell(turn, seen);
        let has_room = self.state().ended(turn, seen, Instant::now());
        if has_room {
            self.shared.changed.notify_waiters();
        }
    }

    fn pace(&self) -> Pace {
        let now = Instant::now();
        let state = self.state();
        Pace {
            concurrency: state.concurrency.places(),
            ceiling: state.concurrency.ceiling(),
            slowed: state.concurrency.slowed(now),
            backfill_waits: state.share.wait(now),
        }
    }
}

#[cfg(test)]
mod tests;
