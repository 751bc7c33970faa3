//! The limiter of a process that shares its budget with others.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::sharing::{HEARTBEAT, Sharing};
use super::{Budget, Lane, LocalLimiter, NO_RATE, Observation, Rates, Turn};
use crate::gitlab::limiter::shared::{Answer, News, SharedBudget};

impl LocalLimiter {
    /// A limiter by a budget that others use as well. [`Self::keep_sharing`] is to run beside it.
    ///
    /// # Errors
    /// When the calls per second are not a positive number.
    pub fn sharing(budget: Budget, shared: Arc<dyn SharedBudget>) -> Result<Self, &'static str> {
        if !(budget.per_second.is_finite() && budget.per_second > 0.0) {
            return Err(NO_RATE);
        }
        let now = Instant::now();
        Ok(Self::by(
            Rates::Shared(Box::new(Sharing::new(budget, shared, now))),
            budget,
            now,
        ))
    }

    /// Shows the others that this process is there and hears their news, until `stop`; leaves them its share
    /// then. Without a shared budget it does nothing.
    pub async fn keep_sharing(&self, stop: CancellationToken) {
        let Rates::Shared(sharing) = &self.rates else {
            return;
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sharing.urgent.notified() => {}
                () = sleep(HEARTBEAT) => {}
            }
            self.ask_for(None, sharing).await;
        }
        sharing.shared.leave().await;
    }

    /// Asks for permits for the first call of a lane.
    pub(super) async fn ask(&self, lane: Lane) {
        if let Rates::Shared(sharing) = &self.rates {
            self.ask_for(Some(lane), sharing).await;
        }
    }

    async fn ask_for(&self, lane: Option<Lane>, sharing: &Sharing) {
        let _asking = sharing.asking.lock().await;
        let asked = Instant::now();
        let waiting = self.state().under_way.waiting();
        let Some(ask) = sharing.question(lane, waiting, asked) else {
            return;
        };
        let answer = sharing.shared.ask(&ask).await;
        let now = Instant::now();
        if let Some(answer) = sharing.answered(&ask, answer, asked, now) {
            self.heed(answer, now);
            self.shared.changed.notify_waiters();
        }
    }

    /// Takes in how many share the budget, and what GitLab said to them.
    fn heed(&self, answer: Answer, now: Instant) {
        let members = answer.members.max(1);
        let mut state = self.state();
        state.pauses.shared_by_others(members - 1);
        // All together have no more calls under way than one alone would.
        state
            .concurrency
            .set_ceiling(self.budget.at_once.div_ceil(members));
        state
            .share
            .set(self.budget.server_share / f64::from(members), now);
        for News {
            endpoint,
            seen,
            age,
        } in answer.news
        {
            state.pauses.hear(&endpoint, &seen, age, now);
        }
    }

    /// Passes on what others should know.
    pub(super) fn tell(&self, turn: &Turn, seen: &Observation) {
        let Rates::Shared(sharing) = &self.rates else {
            return;
        };
        let endpoint = turn.demand.endpoint;
        if self.state().pauses.is_news(endpoint, seen) {
            sharing.tell(News {
                endpoint: endpoint.to_owned(),
                seen: *seen,
                age: std::time::Duration::ZERO,
            });
        }
    }
}
