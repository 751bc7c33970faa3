//! What clients were refused: a counter each, and one line a minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::server::OwnFamilies;
use crate::telemetry::process::HttpRefusal;

/// Time between two lines.
const PAUSE: Duration = Duration::from_secs(60);

/// Counts refusals.
pub(in crate::server) struct Refusals {
    own: Arc<dyn OwnFamilies>,
    unsaid: Mutex<Unsaid>,
}

#[derive(Default)]
struct Unsaid {
    counts: [u64; HttpRefusal::ALL.len()],
    said_at: Option<Instant>,
}

impl Refusals {
    pub(in crate::server) fn new(own: Arc<dyn OwnFamilies>) -> Arc<Self> {
        Arc::new(Self {
            own,
            unsaid: Mutex::default(),
        })
    }

    /// Counts one.
    pub(in crate::server) fn count(&self, why: HttpRefusal, now: Instant) {
        self.own.http_refused(why);
        self.unsaid().counts[why as usize] += 1;
        self.say(now);
    }

    /// Shows how many connections are open, and says what has not been said.
    pub(super) fn report(&self, connections: usize, now: Instant) {
        self.own.http_connections(connections);
        self.say(now);
    }

    /// Says what was refused since the last line, unless that was a moment ago.
    fn say(&self, now: Instant) {
        let mut unsaid = self.unsaid();
        let is_due = unsaid
            .said_at
            .is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        if !is_due || unsaid.counts == [0; HttpRefusal::ALL.len()] {
            return;
        }
        unsaid.said_at = Some(now);
        let counts = std::mem::take(&mut unsaid.counts);
        drop(unsaid);
        let counts = HttpRefusal::ALL.into_iter().zip(counts);
        let said = counts.filter(|(_, count)| *count > 0);
        let said: Vec<String> = said
            .map(|(why, count)| format!("{} {count}", why.as_str()))
            .collect();
        tracing::warn!(
            "HTTP requests and connections refused since the last such message: {}",
            said.join(", ")
        );
    }

    fn unsaid(&self) -> MutexGuard<'_, Unsaid> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
