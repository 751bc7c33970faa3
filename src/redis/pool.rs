//! The open connections. Each carries any number of calls at once; a further one keeps a small call from
//! waiting behind a long answer.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::error::RedisError;
use super::open::{Connection, Opener};
use crate::locks::lock;

/// How long a connection above the least number stays open without a call.
const IDLE: Duration = Duration::from_secs(60);

/// The connections of one Redis.
pub(super) struct Pool {
    pub(super) opener: Opener,
    links: Mutex<Vec<Arc<Link>>>,
    /// One is opened at a time.
    opening: AsyncMutex<()>,
}

/// One connection.
struct Link {
    connection: Connection,
    /// Calls that wait for an answer.
    calls: AtomicUsize,
    used_at: Mutex<Instant>,
    /// Whether it failed: nothing more is sent on it.
    is_broken: AtomicBool,
}

/// A connection lent to one call.
pub(super) struct Lent(Arc<Link>);

impl Pool {
    pub(super) fn new(opener: Opener) -> Self {
        Self {
            opener,
            links: Mutex::default(),
            opening: AsyncMutex::default(),
        }
    }

    /// Opens connections until there are as many as are kept.
    pub(super) async fn fill(&self) -> Result<(), RedisError> {
        let _opening = self.opening.lock().await;
        while self.usable(|links| links.len()) < self.opener.options.min_idle_conns.max(1) {
            self.add().await?;
        }
        Ok(())
    }

    /// The connection for a call: one without calls, else a new one, else the one with the fewest.
    pub(super) async fn lend(self: &Arc<Self>) -> Result<Lent, RedisError> {
        let (free, count) = self.free();
        if count < self.opener.options.min_idle_conns && count > 0 {
            let pool = Arc::clone(self);
            // Whether it succeeds shows with the next call.
            drop(tokio::spawn(async move { pool.fill().await }));
        }
        if let Some(free) = free {
            return Ok(free);
        }
        if count > 0 && count >= self.opener.options.pool_size {
            return self.any().map_or_else(|| Err(self.none()), Ok);
        }
        let _opening = match count {
            0 => self.opening.lock().await,
            _ => match self.opening.try_lock() {
                Ok(opening) => opening,
                // Another is being opened: there is one to use until then.
                Err(_) => return self.any().map_or_else(|| Err(self.none()), Ok),
            },
        };
        // Another call may have opened one meanwhile.
        if let (Some(free), _) = self.free() {
            return Ok(free);
        }
        match self.add().await {
            Ok(link) => Ok(Lent::new(link)),
            Err(error) => self.any().ok_or(error),
        }
    }

    async fn add(&self) -> Result<Arc<Link>, RedisError> {
        let link = Arc::new(Link {
            connection: self.opener.open().await?,
            calls: AtomicUsize::new(0),
            used_at: Mutex::new(Instant::now()),
            is_broken: AtomicBool::new(false),
        });
        lock(&self.links).push(Arc::clone(&link));
        Ok(link)
    }

    /// A connection without calls, and how many there are.
    fn free(&self) -> (Option<Lent>, usize) {
        self.usable(|links| {
            let free = links.iter().find(|link| link.is_free());
            (free.map(|link| Lent::new(Arc::clone(link))), links.len())
        })
    }

    /// The connection with the fewest calls.
    fn any(&self) -> Option<Lent> {
        self.usable(|links| {
            let calls = |link: &&Arc<Link>| link.calls.load(Ordering::SeqCst);
            let least = links.iter().min_by_key(calls);
            least.map(|link| Lent::new(Arc::clone(link)))
        })
    }

    /// Looks at the connections, those that ended or are not needed any longer removed.
    fn usable<T>(&self, look: impl FnOnce(&[Arc<Link>]) -> T) -> T {
        let mut links = lock(&self.links);
        let now = Instant::now();
        let mut left = links.len();
        let keep = self.opener.options.min_idle_conns.max(1);
        links.retain(|link| {
            let is_idle = left > keep && link.is_free() && link.idle(now) > IDLE;
            let stays = !link.has_ended() && !is_idle;
            left -= usize::from(!stays);
            stays
        });
        look(&links)
    }

    fn none(&self) -> RedisError {
        let url = &self.opener.options.url;
        RedisError::unreachable(&url.to_string(), "the connection was lost")
    }
}

impl Link {
    fn is_free(&self) -> bool {
        self.calls.load(Ordering::SeqCst) == 0
    }

    fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*lock(&self.used_at))
    }

    fn has_ended(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst) || self.connection.has_ended()
    }
}

impl Lent {
    fn new(link: Arc<Link>) -> Self {
        link.calls.fetch_add(1, Ordering::SeqCst);
        Self(link)
    }

    /// To send by.
    pub(super) fn connection(&self) -> Connection {
        self.0.connection.clone()
    }

    /// Nothing more is sent on it.
    pub(super) fn discard(&self) {
        self.0.is_broken.store(true, Ordering::SeqCst);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *lock(&self.0.used_at) = Instant::now();
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}
