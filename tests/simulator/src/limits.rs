//! GitLab's two rate limiters. The per-user throttle (Rack::Attack) is off by default, as on self-managed
//! instances, and speaks in headers; application limits count calls of one endpoint and say nothing until
//! they answer 429.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::time::{Millis, SECOND};

/// Which clock the limiters' windows follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The machine's: for clients that really wait.
    #[default]
    Wall,
    /// The world's: for tests that move time.
    World,
}

/// So many calls in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Calls.
    pub calls: u64,
    /// Seconds.
    pub period: u64,
}

#[derive(Debug)]
struct Inner {
    clock: Clock,
    throttle: Option<Limit>,
    application: HashMap<String, Limit>,
    /// Calls in the window, by limiter and token.
    windows: HashMap<(String, Option<String>), (u64, u64)>,
}

/// The limits in force.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Mutex<Inner>>);

impl Default for Limits {
    fn default() -> Self {
        // The only limit that every instance has.
        let jobs = Limit {
            calls: 600,
            period: 60,
        };
        let application = HashMap::from([("/api/v4/projects/:id/jobs".to_owned(), jobs)]);
        let (clock, throttle, windows) = (Clock::default(), None, HashMap::new());
        Self(Arc::new(Mutex::new(Inner {
            clock,
            throttle,
            application,
            windows,
        })))
    }
}

/// Where a call stands in the throttle's window: what the headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// `RateLimit-Limit`: calls a minute, whatever the period.
    pub per_minute: u64,
    pub observed: u64,
    pub remaining: u64,
    /// Unix seconds.
    pub reset: u64,
}

/// What the limiters say to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on; with headers if the throttle is on.
    Pass(Option<Standing>),
    /// Too many of this user.
    Throttled(Standing, u64),
    /// Too many of this endpoint.
    TooMany(u64),
}

impl Limits {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches the per-user throttle on or off. Headers then come with every answer.
    pub fn set_throttle(&self, limit: Option<Limit>) {
        self.inner().throttle = limit;
    }

    /// Limits an endpoint template, or lifts its limit.
    pub fn set_application_limit(&self, endpoint: &str, limit: Option<Limit>) {
        let mut inner = self.inner();
        match limit {
            Some(limit) => inner.application.insert(endpoint.to_owned(), limit),
            None => inner.application.remove(endpoint),
        };
    }

    /// Chooses the clock.
    pub fn set_clock(&self, clock: Clock) {
        self.inner().clock = clock;
    }

    pub(crate) fn count(&self, endpoint: &str, token: Option<&str>, world: Millis) -> Verdict {
        let mut inner = self.inner();
        let now = match inner.clock {
            Clock::World => u64::try_from(world / SECOND).unwrap_or_default(),
            Clock::Wall => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        };
        let mut standing = None;
        if let Some(limit) = inner.throttle.filter(|limit| limit.period > 0) {
            let (observed, reset) = inner.hit("throttle", token, limit, now);
            let found = Standing {
                per_minute: (limit.calls * 60).div_ceil(limit.period),
                observed,
                remaining: limit.calls.saturating_sub(observed),
                reset,
            };
            if observed > limit.calls {
                return Verdict::Throttled(found, reset - now);
            }
            standing = Some(found);
        }
        if let Some(limit) = inner
            .application
            .get(endpoint)
            .copied()
            .filter(|limit| limit.period > 0)
        {
            let (observed, _) = inner.hit(endpoint, token, limit, now);
            if observed > limit.calls {
                // Its interval, not the rest of it.
                return Verdict::TooMany(limit.period);
            }
        }
        Verdict::Pass(standing)
    }
}

impl Inner {
    /// Counts a call; gives the calls in its window and the window's end.
    fn hit(&mut self, limiter: &str, token: Option<&str>, limit: Limit, now: u64) -> (u64, u64) {
        let window = now / limit.period;
        let key = (limiter.to_owned(), token.map(str::to_owned));
        let (known, calls) = self.windows.entry(key).or_insert((window, 0));
        if *known != window {
            (*known, *calls) = (window, 0);
        }
        *calls += 1;
        (*calls, (window + 1) * limit.period)
    }
}
