//! Permits of a budget that is shared with other processes, and this process's share of it while it is away.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use super::pauses::Wait;
use super::{Budget, Lane};
use crate::gitlab::limiter::shared::{Answer, Ask, Away, News, SharedBudget};
use crate::locks::lock;

/// How often a process shows that it is there, where it asks for nothing.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(300);
/// After so much silence of a process the others keep its share free; it waits as long before it uses it.
pub const SILENT_AFTER: Duration = Duration::from_secs(1);
/// How often it is asked again at least, while a call waits.
const POLL: Duration = Duration::from_secs(1);
/// So many calls ahead are asked for at once.
const AHEAD: Duration = Duration::from_millis(100);
/// Most news kept while the budget is away.
const MAX_NEWS: usize = 64;

/// The shared budget as this process sees it.
pub(super) struct Sharing {
    pub(super) shared: Arc<dyn SharedBudget>,
    budget: Budget,
    known: Mutex<Known>,
    /// One question at a time.
    pub(super) asking: AsyncMutex<()>,
    /// There is news that cannot wait.
    pub(super) urgent: Notify,
}

struct Known {
    /// Permits, and until when they may be used.
    permits: u32,
    expire: Instant,
    /// When each lane may be asked for again, and when there will be a permit.
    next: [Wait; Lane::COUNT],
    /// Since when the first call of each lane has been waiting for a permit.
    since: [Option<Instant>; Lane::COUNT],
    members: u32,
    /// When the budget answered last, counted from before it was asked: the next sign of life is due by it.
    contact: Instant,
    /// When this process came to those that share the budget.
    joined: Instant,
    /// This process's share, while the budget is away.
    share: Option<Share>,
    spent: u32,
    news: Vec<News>,
}

/// A bucket of one call.
#[derive(Clone, Copy, Debug)]
struct Share {
    calls: f64,
    at: Instant,
}

/// Whether a call has a permit.
pub(super) enum Permit {
    /// It has.
    Taken,
    /// Not before then.
    Wait(Wait),
    /// The budget is to be asked.
    Ask,
}

impl Sharing {
    pub(super) fn new(budget: Budget, shared: Arc<dyn SharedBudget>, now: Instant) -> Self {
        let next = Wait {
            until: now,
            end: now,
        };
        Self {
            shared,
            budget,
            known: Mutex::new(Known {
                permits: 0,
                expire: now,
                next: [next; Lane::COUNT],
                since: [None; Lane::COUNT],
                members: 1,
                contact: now,
                joined: now,
                share: None,
                spent: 0,
                news: Vec::new(),
            }),
            asking: AsyncMutex::default(),
            urgent: Notify::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// Calls a second that this process may make by itself.
    fn share_per_second(&self, members: u32) -> f64 {
        let mut rate = self.budget.per_second;
        if self.budget.per_hour > 0 {
            rate = rate.min(f64::from(self.budget.per_hour) / 3600.0);
        }
        rate / f64::from(members.max(1))
    }

    /// Takes a permit for a call of this lane.
    pub(super) fn take(&self, lane: Lane, now: Instant) -> Permit {
        let mut known = self.known();
        let known = &mut *known;
        let lane = lane as usize;
        if known.share.is_some() && known.contact < known.joined + SILENT_AFTER {
            // The others may not know of this process, and leave it no share.
            let until = now + POLL;
            return Permit::Wait(Wait { until, end: until });
        }
        if let Some(share) = &mut known.share {
            let per_second = self.share_per_second(known.members);
            if let Err(wait) = share.take(per_second, now) {
                let until = now + wait;
                return Permit::Wait(Wait { until, end: until });
            }
            known.spent = known.spent.saturating_add(1);
        } else if known.permits > 0 && now < known.expire {
            known.permits -= 1;
        } else if known.next[lane].until > now {
            return Permit::Wait(known.next[lane]);
        } else {
            return Permit::Ask;
        }
        known.since[lane] = None;
        Permit::Taken
    }

    /// What is asked for a call of this lane while so many wait in all; without a lane, only what is to be
    /// reported. Nothing when another question got the answer meanwhile.
    pub(super) fn question(&self, lane: Option<Lane>, waiting: usize, now: Instant) -> Option<Ask> {
        let mut known = self.known();
        let mut waited = Duration::ZERO;
        if let Some(lane) = lane {
            let lane = lane as usize;
            let has_permit = known.permits > 0 && now < known.expire;
            if has_permit || known.share.is_some() || known.next[lane].until > now {
                return None;
            }
            let since = *known.since[lane].get_or_insert(now);
            waited = now.saturating_duration_since(since);
        } else if known.news.is_empty() && now < known.contact + HEARTBEAT {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "of a positive number, and cut off at the largest"
        )]
        let ahead = (self.budget.per_second * AHEAD.as_secs_f64()) as u32;
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        Some(Ask {
            lane,
            calls: lane.map_or(0, |_| waiting.clamp(1, ahead.max(1))),
            waited,
            spent: known.spent,
            uses_share: known.share.is_some(),
            members: known.members,
            news: known.news.clone(),
        })
    }

    /// Takes in the answer to a question that was asked at `asked`; what is to be done with it.
    pub(super) fn answered(
        &self,
        ask: &Ask,
        answer: Result<Answer, Away>,
        asked: Instant,
        now: Instant,
    ) -> Option<Answer> {
        let lifetime = self.shared.permit_lifetime();
        let mut known = self.known();
        let answer = match answer {
            Ok(answer) => answer,
            Err(away) => {
                self.lost(&mut known, &away, now);
                return None;
            }
        };
        known.spent = known.spent.saturating_sub(ask.spent);
        let told = ask.news.len().min(known.news.len());
        known.news.drain(..told);
        known.members = answer.members.max(1);
        // Neither permits nor a time to wait: it stood in a queue for too long.
        let is_refused = ask.lane.is_some() && answer.granted == 0 && answer.wait.is_zero();
        let is_late = now > asked + lifetime;
        if is_late && (answer.granted > 0 || is_refused) {
            // Too late to be used: GitLab may see others' permits at the same time.
            self.lost(&mut known, &Away("it responds too slowly".to_owned()), now);
            return Some(answer);
        }
        known.contact = asked;
        if answer.is_new {
            known.joined = asked;
        }
        // While it is slow, permits would come too late again.
        if !is_late && known.share.take().is_some() {
            tracing::info!(
                replicas = known.members,
                "sharing the request budget by Redis again"
            );
        }
        if answer.granted > 0 {
            known.permits = answer.granted;
            known.expire = asked + lifetime;
        } else if let Some(lane) = ask.lane {
            let wait = answer.wait.max(Duration::from_millis(1));
            known.next[lane as usize] = Wait {
                until: now + wait.min(POLL),
                end: now + wait,
            };
        }
        Some(answer)
    }

    fn lost(&self, known: &mut Known, away: &Away, now: Instant) {
        if known.share.is_some() {
            return;
        }
        let per_second = self.share_per_second(known.members);
        tracing::warn!(
            error = %away,
            replicas = known.members,
            requests_per_second = per_second,
            "the request budget cannot be shared by Redis, using this replica's share"
        );
        known.permits = 0;
        known.share = Some(Share {
            calls: 0.0,
            // The question may have been heard, and only its answer lost: to the others this process is not
            // silent before then.
            at: now + SILENT_AFTER,
        });
    }

    /// Passes on to the others what GitLab said; at once where it is a refusal.
    pub(super) fn tell(&self, news: News) {
        let is_refusal = news.seen.throttled.is_some();
        let mut known = self.known();
        if known.news.len() < MAX_NEWS {
            known.news.push(news);
        }
        drop(known);
        if is_refusal {
            self.urgent.notify_one();
        }
    }
}

impl Share {
    /// Takes a call, or says how long until there is one.
    fn take(&mut self, per_second: f64, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.calls = (self.calls + passed * per_second).min(1.0);
        let late = self.at.saturating_duration_since(now);
        self.at = self.at.max(now);
        // Next to a whole: sums of fractions.
        if self.calls > 1.0 - 1e-6 {
            self.calls = 0.0;
            return Ok(());
        }
        let wait = Duration::try_from_secs_f64((1.0 - self.calls) / per_second);
        let wait = wait.unwrap_or(Duration::MAX).min(Duration::from_secs(3600));
        Err(late + wait.max(Duration::from_millis(1)))
    }
}
