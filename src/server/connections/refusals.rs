//! Rejected requests and connections: a counter by reason, and one log line per minute.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::server::OwnFamilies;
use crate::telemetry::process::HttpRefusal;

/// Time between two log lines.
const PAUSE: Duration = Duration::from_secs(60);

/// Counts refusals.
pub(in crate::server) struct Refusals {
    own: Arc<dyn OwnFamilies>,
    unreported: Mutex<Unreported>,
}

#[derive(Default)]
struct Unreported {
    counts: [u64; HttpRefusal::ALL.len()],
    reported_at: Option<Instant>,
}

impl Refusals {
    pub(in crate::server) fn new(own: Arc<dyn OwnFamilies>) -> Arc<Self> {
        Arc::new(Self {
            own,
            unreported: Mutex::default(),
        })
    }

    /// Counts one.
    pub(in crate::server) fn count(&self, why: HttpRefusal, now: Instant) {
        self.own.http_refused(why);
        self.unreported().counts[why as usize] += 1;
        self.log(now);
    }

    /// Exports how many connections are open, and logs rejections.
    pub(super) fn report(&self, connections: usize, now: Instant) {
        self.own.http_connections(connections);
        self.log(now);
    }

    /// Logs the rejections since the last line, at most once per [`PAUSE`].
    fn log(&self, now: Instant) {
        let mut unreported = self.unreported();
        let is_due = unreported
            .reported_at
            .is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        if !is_due || unreported.counts == [0; HttpRefusal::ALL.len()] {
            return;
        }
        unreported.reported_at = Some(now);
        let counts = std::mem::take(&mut unreported.counts);
        drop(unreported);
        let counts = HttpRefusal::ALL.into_iter().zip(counts);
        let reasons = counts.filter(|(_, count)| *count > 0);
        let reasons: Vec<String> = reasons
            .map(|(why, count)| format!("{} {count}", why.as_str()))
            .collect();
        tracing::warn!(
            reasons = reasons.join(", "),
            "HTTP requests or connections rejected since the last such message"
        );
    }

    fn unreported(&self) -> MutexGuard<'_, Unreported> {
        self.unreported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
