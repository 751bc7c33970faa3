//! Open connections: limits of their number, timeouts of their requests, and which one is closed for a new
//! one.
//!
//! actix-web has a timeout for the first request of a connection only, and stops accepting when there are
//! too many connections. So connections are counted here: the headers of each request have a timeout, idle
//! connections are closed sooner the more there are, and the one idle longest is closed for a new one. If all
//! are busy, a few more are accepted for the probes only.
//!
//! Times are the system's: workers have runtimes of their own.

mod connection;
mod refusals;
mod stream;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connection::End;
pub(super) use connection::{Answering, Connection};
pub(super) use refusals::Refusals;
pub(super) use stream::Watched;

use super::Limits;
use crate::telemetry::process::HttpRefusal;

/// Closing connections are dropped beyond this multiple of the limit.
const CLOSING: usize = 2;

/// All open connections of one listener, whichever of its addresses they came to.
pub(super) struct Connections {
    limits: Limits,
    /// Most connections of one client; 0 sets no limit.
    per_client: usize,
    open: Mutex<Open>,
    refusals: Arc<Refusals>,
}

#[derive(Default)]
struct Open {
    /// By number, which is the order in which they came.
    all: BTreeMap<u64, Arc<Connection>>,
    /// Those that are not being closed.
    live: usize,
    next: u64,
}

impl Connections {
    pub(super) fn new(limits: Limits, per_client: usize, refusals: Arc<Refusals>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            per_client,
            open: Mutex::default(),
            refusals,
        })
    }

    /// Accepts a new connection, or rejects it.
    pub(super) fn admit(&self, client: Option<IpAddr>, now: Instant) -> Option<Arc<Connection>> {
        let client = client.map(|address| address.to_canonical());
        let mut open = self.open();
        if !self.admit_client(&mut open, client, now) {
            drop(open);
            self.refuse(HttpRefusal::ClientLimit);
            return None;
        }
        while open.live >= self.limits.connections && open.end_longest_waiting(now, |_| true) {
            self.refuse(HttpRefusal::TooManyConnections);
        }
        // The closed one may have been one for the probes.
        let for_probes = open.live >= self.limits.connections;
        let places = self.limits.connections + self.limits.kept;
        if open.all.len() >= CLOSING * places {
            open.abandon_longest_ending();
        }
        if open.live >= places {
            drop(open);
            self.refuse(HttpRefusal::TooManyConnections);
            return None;
        }
        let number = open.next;
        let connection = Arc::new(Connection::new(number, client, for_probes, now));
        open.next += 1;
        open.live += 1;
        open.all.insert(number, Arc::clone(&connection));
        Some(connection)
    }

    /// Whether a client may have one more, if necessary by closing an idle one of its own.
    fn admit_client(&self, open: &mut Open, client: Option<IpAddr>, now: Instant) -> bool {
        if self.per_client == 0 || client.is_none() {
            return true;
        }
        let is_theirs = |connection: &Connection| connection.client == client;
        let live = open.all.values();
        let theirs = live.filter(|connection| is_theirs(connection) && !connection.is_ending());
        theirs.count() < self.per_client || open.end_longest_waiting(now, is_theirs)
    }

    /// Removes a closed connection.
    fn forget(&self, number: u64) {
        let mut open = self.open();
        if let Some(gone) = open.all.remove(&number)
            && !gone.is_ending()
        {
            open.live -= 1;
        }
    }

    /// Counts a rejection.
    pub(super) fn refuse(&self, why: HttpRefusal) {
        self.refusals.count(why, Instant::now());
    }

    /// Closes connections after their timeout; returns how many are open.
    fn sweep(&self, now: Instant) -> usize {
        let mut open = self.open();
        let idle = self.idle_limit(open.live);
        let mut slow = 0;
        let Open { all, live, .. } = &mut *open;
        for connection in all.values() {
            match connection.overdue(now, &self.limits, idle) {
                Some(end) => {
                    connection.end(end, now);
                    *live -= 1;
                    slow += u32::from(end == End::SlowRequest);
                }
                None => connection.abandon(now, self.limits.patience),
            }
        }
        let live = open.live;
        drop(open);
        for _ in 0..slow {
            self.refuse(HttpRefusal::SlowRequest);
        }
        live
    }

    /// The idle timeout: shorter the more connections are open, down to the timeout of headers.
    fn idle_limit(&self, live: usize) -> Duration {
        let Limits {
            keep_alive,
            request,
            connections,
            ..
        } = self.limits;
        let half = connections / 2;
        if live <= half || keep_alive <= request {
            return keep_alive;
        }
        let taken = u32::try_from((live - half).min(half)).unwrap_or(u32::MAX);
        let places = u32::try_from(half.max(1)).unwrap_or(u32::MAX);
        keep_alive - (keep_alive - request).mul_f64(f64::from(taken) / f64::from(places))
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn live(&self) -> usize {
        self.open().live
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Closes the connection that has been idle longest; false if all of them are busy.
    fn end_longest_waiting(
        &mut self,
        now: Instant,
        is_meant: impl Fn(&Connection) -> bool,
    ) -> bool {
        let meant = self.all.values().filter(|connection| is_meant(connection));
        let waiting =
            meant.filter_map(|connection| Some((connection.waiting_since()?, connection)));
        let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) else {
            return false;
        };
        longest.end(End::MadeRoom, now);
        self.live -= 1;
        true
    }

    /// Drops the connection that has been closing longest.
    fn abandon_longest_ending(&self) {
        let ending = self.all.values();
        let ending = ending.filter_map(|connection| Some((connection.ending_since()?, connection)));
        if let Some((since, longest)) = ending.min_by_key(|(since, _)| *since) {
            longest.abandon(since, Duration::ZERO);
        }
    }
}

/// Closes connections of all listeners after their timeouts, as long as it runs.
pub(super) async fn tend(
    limits: &Limits,
    listeners: &[Arc<Connections>],
    refusals: &Refusals,
) -> Infallible {
    let tick = (limits.request / 4).min(Duration::from_millis(250));
    loop {
        tokio::time::sleep(tick).await;
        let now = Instant::now();
        let open = listeners.iter().map(|listener| listener.sweep(now)).sum();
        refusals.report(open, now);
    }
}

#[cfg(test)]
mod tests;
