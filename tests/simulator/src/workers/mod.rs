//! GitLab's workers, behaving: answers come as late as a GitLab of so many workers would give them, and
//! what takes too long is broken off. Costs are charged whatever becomes of the answer: what a client
//! gives up is computed all the same.

mod crew;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use serde::{Deserialize, Serialize};

use crate::cost::Cost;
pub use crew::{Crew, Ended, THREADS, TURN, Tally, Work};

/// Seconds after which a GraphQL query is broken off: `Timeout on Type.field`, the rest null.
pub const GRAPHQL_LIMIT: f64 = 30.0;
/// Seconds after which every other request is broken off (`rack-timeout`): 500.
pub const REST_LIMIT: f64 = 60.0;

/// How GitLab's workers behave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Puma workers, of 8 threads each.
    pub workers: usize,
    /// Share of the workers' time that other users take, from 0 to 1.
    pub load: f64,
    /// Modelled seconds that pass in one second. Answers come so much earlier; `X-Runtime` and the time
    /// limits are in modelled seconds. A client's own time limits and intervals must be so much shorter.
    pub speed: f64,
    /// Same seed, same other users.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 2,
            load: 0.0,
            speed: 1.0,
            seed: 1,
        }
    }
}

/// How it went so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The settings.
    pub settings: Settings,
    /// Modelled seconds since the start.
    pub seconds: f64,
    /// Requests in workers now, without those of other users.
    pub active: usize,
    /// Requests that wait for a worker now.
    pub queued: usize,
    /// Sums.
    pub tally: Tally,
    /// How much longer requests of other users take than without ours: 1 = as long.
    pub others_slowdown: f64,
}

struct Inner {
    crew: Crew,
    waiting: HashMap<u64, oneshot::Sender<Ended>>,
    next_id: u64,
}

struct Shared {
    settings: Settings,
    undisturbed: f64,
    begin: Instant,
    inner: Mutex<Inner>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> f64 {
        self.begin.elapsed().as_secs_f64() * self.settings.speed
    }

    fn advance(&self, inner: &mut Inner) {
        for ended in inner.crew.advance(self.now()) {
            if let Some(waiting) = inner.waiting.remove(&ended.id) {
                // Whoever gave up does not hear of it.
                waiting.send(ended).ok();
            }
        }
    }

    fn drive(&self) {
        let mut inner = self.inner();
        while !self.stopped.load(Ordering::SeqCst) {
            self.advance(&mut inner);
            let seconds = inner.crew.next().unwrap_or(1.0) / self.settings.speed;
            let wait = Duration::from_secs_f64(seconds.clamp(0.000_1, 1.0));
            inner = match self.changed.wait_timeout(inner, wait) {
                Ok((inner, _)) => inner,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// Running workers; they end when this is dropped.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
        self.0.changed.notify_all();
    }
}

impl Running {
    fn start(settings: Settings) -> Self {
        let settings = Settings {
            speed: settings.speed.max(0.001),
            load: settings.load.clamp(0.0, 0.95),
            ..settings
        };
        let Settings {
            workers,
            load,
            seed,
            ..
        } = settings;
        let shared = Arc::new(Shared {
            settings,
            undisturbed: Crew::undisturbed(workers, load, seed),
            begin: Instant::now(),
            inner: Mutex::new(Inner {
                crew: Crew::new(workers, load, seed),
                waiting: HashMap::new(),
                next_id: 1,
            }),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let driven = Arc::clone(&shared);
        thread::spawn(move || driven.drive());
        Self(shared)
    }
}

/// The workers, where they behave; otherwise every answer comes at once.
#[derive(Clone, Default)]
pub struct Workers(Arc<RwLock<Option<Arc<Running>>>>);

impl Workers {
    /// Starts workers with these settings, or stops them.
    pub fn set(&self, settings: Option<Settings>) {
        let running = settings.map(|settings| Arc::new(Running::start(settings)));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = running;
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether they behave.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.running().is_some()
    }

    /// How it went so far; `None` where they do not behave.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        let running = self.running()?;
        let shared = &running.0;
        let mut inner = shared.inner();
        shared.advance(&mut inner);
        let tally = inner.crew.tally();
        let slowdown = tally.others_mean() / shared.undisturbed;
        Some(Report {
            settings: shared.settings,
            seconds: shared.now(),
            active: inner.crew.active(),
            queued: inner.crew.queued(),
            tally,
            others_slowdown: if tally.others == 0 { 1.0 } else { slowdown },
        })
    }

    /// Waits as long as a request of this cost takes; `None` where they do not behave.
    pub(crate) async fn work(&self, cost: &Cost, limit: f64) -> Option<Ended> {
        let running = self.running()?;
        let shared = &running.0;
        let ended = {
            let mut inner = shared.inner();
            shared.advance(&mut inner);
            let id = inner.next_id;
            inner.next_id += 1;
            let (send, receive) = oneshot::channel();
            inner.waiting.insert(id, send);
            inner.crew.take(id, work(cost), limit);
            shared.changed.notify_all();
            receive
        };
        ended.await.ok()
    }
}

fn work(cost: &Cost) -> Work {
    Work {
        cpu: cost.cpu_ms / 1_000.0,
        database: cost.database_ms / 1_000.0,
        queries: cost.queries,
    }
}
