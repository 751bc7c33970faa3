//! One connection: what it does now, and whether it is to end.

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
    /// Whether it has one of the places that are kept for the probes.
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

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of a request has come.
    Idle,
    /// The head of a request is coming.
    Head,
    /// A request is answered; whether bytes of a next one came meanwhile.
    Busy { more: bool },
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum End {
    /// It was idle for too long.
    Idle,
    /// The head of its request took too long.
    SlowRequest,
    /// It makes room for another.
    MadeRoom,
    /// Its client does not take the end either: it is given up.
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

    /// Bytes came.
    pub(super) fn received(&self) {
        let mut state = self.state();
        match &mut state.phase {
            Phase::Idle => state.enter(Phase::Head),
            Phase::Head => {}
            Phase::Busy { more } => *more = true,
        }
    }

    /// A request is there; the answer is over when the guard is dropped.
    pub(in crate::server) fn begin(self: Arc<Self>) -> Answering {
        let mut state = self.state();
        state.enter(Phase::Busy { more: false });
        state.is_known = true;
        drop(state);
        Answering(self)
    }

    /// Since when it has waited for its client to ask something; none while a request is answered,
    /// and when it is being closed.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        let waits = !matches!(state.phase, Phase::Busy { .. }) && state.end.is_none();
        waits.then_some(state.since)
    }

    /// Since when it has been closing, unless it was given up.
    pub(super) fn ending_since(&self) -> Option<Instant> {
        let state = self.state();
        let ends = state.end.is_some_and(|end| end != End::Abandoned);
        ends.then_some(state.since)
    }

    /// Why it is to be closed at `now`, if it is; it may be `idle` for so long.
    pub(super) fn overdue(&self, now: Instant, limits: &Limits, idle: Duration) -> Option<End> {
        let state = self.state();
        if state.end.is_some() {
            return None;
        }
        let (limit, end) = match state.phase {
            Phase::Busy { .. } => return None,
            Phase::Head => (limits.request, End::SlowRequest),
            // Who connects wants something.
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

    /// Gives it up where its end has not come within `patience`.
    pub(super) fn abandon(&self, now: Instant, patience: Duration) {
        let mut state = self.state();
        let is_late = now.saturating_duration_since(state.since) >= patience;
        if is_late && state.end.is_some_and(|end| end != End::Abandoned) {
            state.end = Some(End::Abandoned);
            drop(state);
            self.reader.wake();
        }
    }

    /// Whether it is being closed.
    pub(super) fn is_ending(&self) -> bool {
        self.state().end.is_some()
    }

    /// Why it is to end, if it is; else the reader is woken when it is.
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
        // What is being closed is given up by the time since then.
        if self.end.is_none() {
            self.since = Instant::now();
        }
    }
}

/// A request that is being answered.
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
