//! What the token may do, asked at the start and daily: a new token is picked up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::clock::{Clock, UnixSeconds};
use crate::gitlab::GitLab;
use crate::gitlab::capability::TokenState;
use crate::telemetry::process::OwnMetrics;

/// How long what was found holds.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// How soon a failed poll is repeated.
const RETRY: Duration = Duration::from_secs(60);
/// How often the clock is checked.
const TICK: Duration = Duration::from_secs(1);

/// Asks, and remembers the answer.
pub(super) struct Probe {
    gitlab: GitLab,
    own: Arc<OwnMetrics>,
    clock: Clock,
    token: Mutex<Option<TokenState>>,
}

impl Probe {
    pub(super) fn new(gitlab: GitLab, own: Arc<OwnMetrics>, clock: Clock) -> Arc<Self> {
        let token = Mutex::default();
        Arc::new(Self {
            gitlab,
            own,
            clock,
            token,
        })
    }

    /// Scopes, expiry, user, as far as asked for.
    pub(super) fn token(&self) -> Option<TokenState> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.clone()
    }

    /// Asks whenever it is due, until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let asking = async {
            let mut due = UnixSeconds::default();
            let mut failure = None;
            let mut revision = self.gitlab.token_revision();
            loop {
                let now = self.clock.now();
                // Another token has another name and end.
                let current = self.gitlab.token_revision();
                if std::mem::replace(&mut revision, current) != current {
                    due = due.min(now);
                }
                if due <= now {
                    due = now.plus(match traced(self.poll(&mut failure)).await {
                        true => HOLDS,
                        false => RETRY,
                    });
                }
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = stop.cancelled() => {}
        }
    }

    fn forget(&self) {
        self.own.token_expiry(None);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Asks once; whether that worked. The same failure is logged once.
    async fn poll(&self, failure: &mut Option<String>) -> bool {
        match self.gitlab.token_state().await {
            Ok(token) => {
                *failure = None;
                self.own.token_expiry(token.expires_at());
                for finding in token.findings(self.clock.now()) {
                    tracing::warn!(finding = finding.text, "token check found a problem");
                }
                *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
                true
            }
            Err(error) => {
                let text = error.to_string();
                if error.is_token_refused() {
                    // What was known is about a token that is no more.
                    self.forget();
                } else if failure.as_ref() != Some(&text) {
                    tracing::warn!(error = text, "token check failed, will retry");
                }
                *failure = Some(text);
                false
            }
        }
    }
}

/// Traces a poll like the scheduler's tasks: one task, one run, a span for each call.
async fn traced(poll: impl Future<Output = bool>) -> bool {
    let task = tracing::info_span!("task", otel.name = "probe", task = "probe");
    let run = tracing::info_span!(parent: &task, "run", otel.name = "probe run");
    poll.instrument(run).instrument(task).await
}
