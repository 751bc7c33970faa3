//! One connection: its phase, and whether it is to be closed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;

use crate::server::Limits;

/// One open connection. The stream, the requests on it and the table of all of them share it.
pub(in crate::server) struct Connection {
    pub(super) number: u64,
    pub(super) client: Option<IpAddr>,
    /// Whether it was accepted for the probes only.
    pub(in crate::server) for_probes: bool,
    state: Mutex<State>,
    /// The task that reads from it.
    reader: AtomicWaker,
}

struct State {
    phase: Phase,
    since: Instant,
    /// Whether it has sent a request before.
    is_known: bool,
    end: Option<End>,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of a request was received.
    Idle,
    /// Headers of a request are received.
    Head,
    /// A request is processed; whether bytes of a next one were received meanwhile.
    Busy { more: bool },
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum End {
    /// It was idle for too long.
    Idle,
    /// The headers of its request took too long.
    SlowRequest,
    /// It was closed for a new one.
    MadeRoom,
    /// Its client did not read the end of the stream either: it is dropped.
    Abandoned,
}

impl Connection {
    pub(super) fn new(number: u64, client: Option<IpAddr>, for_probes: bool, now: Instant) -> Self {
        Self {
            number,
            client,
            for_probes,
            state: Mutex::new(State {
                phase: Phase::Idle,
                since: now,
                is_known: false,
                end: None,
            }),
            reader: AtomicWaker::new(),
        }
    }

    /// Bytes were received.
    pub(super) fn received(&self) {
        let mut state = self.state();
        match &mut state.phase {
            Phase::Idle => state.enter(Phase::Head),
            Phase::Head => {}
            Phase::Busy { more } => *more = true,
        }
    }

    /// A request was received; the response is complete when the guard is dropped.
    pub(in crate::server) fn begin(self: Arc<Self>) -> Answering {
        let mut state = self.state();
        state.enter(Phase::Busy { more: false });
        state.is_known = true;
        drop(state);
        Answering(self)
    }

    /// Since when it has waited for a request; none while a request is processed or it is closing.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        let waits = !matches!(state.phase, Phase::Busy { .. }) && state.end.is_none();
        waits.then_some(state.since)
    }

    /// Since when it has been closing, unless it was dropped.
    pub(super) fn ending_since(&self) -> Option<Instant> {
        let state = self.state();
        let ends = state.end.is_some_and(|end| end != End::Abandoned);
        ends.then_some(state.since)
    }

    /// Why it is to be closed at `now`, if it is; `idle` is the idle timeout.
    pub(super) fn overdue(&self, now: Instant, limits: &Limits, idle: Duration) -> Option<End> {
        let state = self.state();
        if state.end.is_some() {
            return None;
        }
        let (limit, end) = match state.phase {
            Phase::Busy { .. } => return None,
            Phase::Head => (limits.request, End::SlowRequest),
            // A new connection is expected to send a request.
            Phase::Idle if !state.is_known => (limits.request, End::Idle),
            Phase::Idle => (idle, End::Idle),
        };
        (now.saturating_duration_since(state.since) >= limit).then_some(end)
    }

    /// Closes it.
    pub(super) fn end(&self, end: End, now: Instant) {
        let mut state = self.state();
        state.end = Some(end);
        state.since = now;
        drop(state);
        self.reader.wake();
    }

    /// Drops it if it is not closed within `patience`.
    pub(super) fn abandon(&self, now: Instant, patience: Duration) {
        let mut state = self.state();
        let is_late = now.saturating_duration_since(state.since) >= patience;
        if is_late && state.end.is_some_and(|end| end != End::Abandoned) {
            state.end = Some(End::Abandoned);
            drop(state);
            self.reader.wake();
        }
    }

    /// Whether it is closing.
    pub(super) fn is_ending(&self) -> bool {
        self.state().end.is_some()
    }

    /// Why it is to be closed, if it is; otherwise the reader is woken then.
    pub(super) fn poll_end(&self, context: &Context<'_>) -> Option<End> {
        self.reader.register(context.waker());
        self.state().end
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        // The time of closing is kept.
        if self.end.is_none() {
            self.since = Instant::now();
        }
    }
}

/// A request that is processed.
pub(in crate::server) struct Answering(Arc<Connection>);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let next = match state.phase {
            Phase::Busy { more: true } => Phase::Head,
            _ => Phase::Idle,
        };
        state.enter(next);
    }
}
