//! Which projects are subscribed to, on which connection, and what is done next: rules without I/O and
//! without a clock.

mod choice;
mod recent;
mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::gitlab::Cable;
use crate::registry::ProjectActivity;
use crate::types::{PipelineId, ProjectId};
pub use slot::Standing;
use slot::{Phase, Slot};

/// All subscriptions of a connection lie in one process of GitLab, whose memory is limited.
const PER_CONNECTION: usize = 250;
/// A process of GitLab has four threads for them.
const UNANSWERED: usize = 4;
/// Between two subscribes.
const APART: Duration = Duration::from_millis(100);
/// A subscribe that is not answered by then is met with silence.
const ANSWER: Duration = Duration::from_secs(60);
/// After a refusal.
const REFUSED: Duration = Duration::from_secs(3600);
/// After a failure; it doubles with each in a row.
const FAILED: Duration = Duration::from_secs(1);
/// A connection that lasted so long is none that fails.
const LASTED: Duration = Duration::from_secs(60);
/// Distinct reasons of refusals that are remembered, so that each is logged once.
const REASONS: usize = 16;
/// No longer than that.
const FAILED_MOST: Duration = Duration::from_secs(300);
/// After GitLab ended one subscription; it doubles with each in a row.
const ENDED: Duration = Duration::from_secs(60);
/// A subscription that is not back by then: events can no longer be relied on.
const DOWN: Duration = Duration::from_secs(60);
/// Projects that are polled once together after they are subscribed to again.
const POLLED_TOGETHER: usize = 100;
/// What GitLab says of a field that it does not have.
const NO_FIELD: &str = "doesn't exist on type";

/// Number of a connection.
pub(super) type Link = u64;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Open a connection.
    Open(Link),
    /// Close it.
    Close(Link),
    /// Ask for a subscription.
    Subscribe(Link, Arc<str>),
    /// End one.
    Unsubscribe(Link, Arc<str>),
    /// A pipeline moved.
    Moved(ProjectId, PipelineId),
    /// Poll these once: something may have moved that was not announced.
    Poll(Vec<ProjectId>),
    /// Ask for what the token may read of a project.
    AskRights(ProjectId),
    /// No events come of a project any more.
    EventsEnded(ProjectId),
    /// So many events come of a project that GitLab may drop some, or no longer.
    Crowded(ProjectId, bool),
}

/// The state of all subscriptions.
#[derive(Debug)]
pub(super) struct Board {
    most: usize,
    slots: BTreeMap<ProjectId, Slot>,
    by_name: BTreeMap<Arc<str>, ProjectId>,
    links: BTreeMap<Link, LinkState>,
    last_link: Link,
    /// Why nothing is asked for, and until when.
    halt: Option<(String, Instant)>,
    /// What was reported last: the same is not reported again.
    reported: Option<String>,
    /// The same of single projects.
    reasons: BTreeSet<String>,
    connect_at: Instant,
    failures: u32,
    subscribe_at: Instant,
    to_poll: BTreeSet<ProjectId>,
    acts: Vec<Act>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Opening,
    Welcomed(Instant),
}

impl Board {
    /// At most so many projects.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        Self {
            most,
            slots: BTreeMap::new(),
            by_name: BTreeMap::new(),
            links: BTreeMap::new(),
            last_link: 0,
            halt: None,
            reported: None,
            reasons: BTreeSet::new(),
            connect_at: now,
            failures: 0,
            subscribe_at: now,
            to_poll: BTreeSet::new(),
            acts: Vec::new(),
        }
    }

    /// How many there are of each state.
    pub(super) fn standing(&self) -> Standing {
        let halted = self.halt.as_ref().map(|(why, _)| why);
        let mut counts = Standing {
            why: halted.cloned(),
            ..Standing::default()
        };
        for slot in self.slots.values() {
            match &slot.phase {
                _ if halted.is_some() => counts.refused += 1,
                Phase::Standing { .. } => counts.standing += 1,
                Phase::Refused { why, .. } => {
                    counts.refused += 1;
                    counts.why.get_or_insert_with(|| why.clone());
                }
                Phase::Waiting { .. } | Phase::Asked { .. } => counts.pending += 1,
            }
        }
        counts
    }

    /// Takes in the projects that could be subscribed to.
    pub(super) fn choose(&mut self, candidates: &[ProjectActivity], now: Instant) {
        let chosen = choice::choose(&self.slots, candidates, self.most);
        let gone = self.slots.keys().filter(|id| !chosen.contains(id));
        for id in gone.copied().collect::<Vec<_>>() {
            self.drop_slot(id);
        }
        for id in chosen {
            self.slots.entry(id).or_insert_with(|| Slot::new(now));
        }
    }

    fn drop_slot(&mut self, id: ProjectId) {
        let Some(mut slot) = self.slots.remove(&id) else {
            return;
        };
        if slot.has_stood {
            self.acts.push(Act::EventsEnded(id));
        }
        if slot.recent.is_crowded() {
            self.acts.push(Act::Crowded(id, false));
        }
        self.forget(slot.link(), slot.name.take());
    }

    /// Ends a subscription that GitLab may have.
    fn forget(&mut self, link: Option<Link>, name: Option<Arc<str>>) {
        let Some(name) = name else {
            return;
        };
        self.by_name.remove(&name);
        if let Some(link) = link.filter(|link| self.links.contains_key(link)) {
            self.acts.push(Act::Unsubscribe(link, name));
        }
    }

    /// A connection was welcomed.
    pub(super) fn welcomed(&mut self, link: Link, now: Instant) {
        if let Some(state) = self.links.get_mut(&link) {
            *state = LinkState::Welcomed(now);
        }
    }

    /// A connection was refused: none is opened for an hour. What stands on others goes on.
    pub(super) fn refused(&mut self, link: Link, why: &str, now: Instant) {
        if self.links.remove(&link).is_none() {
            return;
        }
        if self.links.is_empty() {
            self.halt(why, now);
        } else {
            self.connect_at = now + REFUSED;
            self.report(
                why,
                "GitLab refuses another connection for subscriptions, next attempt in one hour",
            );
        }
    }

    /// A connection failed before it was welcomed, or ended.
    pub(super) fn ended(&mut self, link: Link, why: &str, jitter: f64, now: Instant) {
        let Some(state) = self.links.remove(&link) else {
            return;
        };
        match state {
            LinkState::Opening => {
                self.report(why, "cannot connect for subscriptions, polling continues");
            }
            LinkState::Welcomed(_) => {
                tracing::debug!("connection for subscriptions ended: {why}");
            }
        }
        let has_lasted = |since: Instant| now.saturating_duration_since(since) >= LASTED;
        self.failures = match state {
            LinkState::Welcomed(since) if has_lasted(since) => 0,
            _ => self.failures.saturating_add(1),
        };
        let doubled = FAILED.saturating_mul(1 << self.failures.min(16));
        let wait = doubled.min(FAILED_MOST).mul_f64(0.5 + jitter / 2.0);
        self.connect_at = self.connect_at.max(now + wait);
        for slot in self.slots.values_mut() {
            if slot.link() == Some(link) {
                let name = slot.leave(Phase::Waiting { from: now }, now);
                name.map(|name| self.by_name.remove(&name));
            }
        }
    }

    /// Nothing is asked for until it makes sense again.
    pub(super) fn halt(&mut self, why: &str, now: Instant) {
        self.report(
            why,
            "GitLab refuses subscriptions, polling continues, next attempt in one hour",
        );
        self.close_all(now);
        self.halt = Some((why.to_owned(), now + REFUSED));
        for (id, slot) in &mut self.slots {
            slot.phase = Phase::Waiting { from: now };
            slot.down_since = None;
            if std::mem::take(&mut slot.has_stood) {
                self.acts.push(Act::EventsEnded(*id));
            }
        }
    }

    /// What made it refuse may be over: another token, or another version.
    pub(super) fn begin_again(&mut self, now: Instant) {
        self.close_all(now);
        self.halt = None;
        self.failures = 0;
        self.connect_at = now;
        for slot in self.slots.values_mut() {
            if let Phase::Refused { .. } = slot.phase {
                slot.phase = Phase::Waiting { from: now };
            }
        }
    }

    /// Whether nothing is asked for, for this reason.
    pub(super) fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    fn close_all(&mut self, now: Instant) {
        for link in std::mem::take(&mut self.links).into_keys() {
            self.acts.push(Act::Close(link));
        }
        self.by_name.clear();
        for slot in self.slots.values_mut() {
            if slot.link().is_some() {
                slot.leave(Phase::Waiting { from: now }, now);
            }
        }
    }

    /// Logs what was not logged last.
    fn report(&mut self, why: &str, what: &str) {
        if self.reported.as_deref() == Some(why) {
            tracing::debug!("{what}: {why}");
        } else {
            tracing::warn!("{what}: {why}");
            self.reported = Some(why.to_owned());
        }
    }

    /// The token may not subscribe at all.
    pub(super) fn rejected(&mut self, link: Link, name: &str, now: Instant) {
        let is_known = self.links.contains_key(&link) && self.by_name.contains_key(name);
        if is_known {
            let why = "GitLab rejects the subscription: the token needs the scope read_api, and must be valid";
            self.halt(why, now);
        }
    }

    /// A message of a subscription.
    pub(super) fn data(
        &mut self,
        name: &str,
        (pipeline, errors, more): (Option<PipelineId>, &[String], bool),
        now: Instant,
    ) {
        let Some(id) = self.by_name.get(name).copied() else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if !more {
            return self.taken_away(id, now);
        }
        match slot.phase {
            Phase::Asked { link, .. } => match errors {
                [] => self.stands(id, link),
                [why, ..] if why.contains(NO_FIELD) => self.halt(&why.clone(), now),
                [why, ..] => {
                    let (why, until) = (why.clone(), now + REFUSED);
                    if self.reasons.len() < REASONS && self.reasons.insert(why.clone()) {
                        tracing::warn!(
                            project = id.0,
                            "GitLab refuses a subscription, polling continues, next attempt in one hour: {why}"
                        );
                    }
                    let name = slot.leave(Phase::Refused { until, why }, now);
                    self.forget(Some(link), name);
                }
            },
            Phase::Standing { .. } => {
                slot.ended = 0;
                let was_crowded = slot.recent.is_crowded();
                slot.recent.note(now);
                if slot.recent.is_crowded() && !was_crowded {
                    self.acts.push(Act::Crowded(id, true));
                }
                match pipeline {
                    Some(pipeline) => self.acts.push(Act::Moved(id, pipeline)),
                    None => self.acts.push(Act::Poll(vec![id])),
                }
            }
            Phase::Waiting { .. } | Phase::Refused { .. } => {}
        }
    }

    fn stands(&mut self, id: ProjectId, link: Link) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.phase = Phase::Standing { link };
        slot.down_since = None;
        if std::mem::replace(&mut slot.has_stood, true) {
            self.to_poll.insert(id);
        }
        if self.reported.take().is_some() {
            tracing::info!("GitLab accepts subscriptions again");
        }
    }

    /// GitLab ended one subscription: the token may no longer read the project, as a rule.
    fn taken_away(&mut self, id: ProjectId, now: Instant) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let wait = ENDED.saturating_mul(1 << slot.ended.min(6)).min(REFUSED);
        slot.ended = slot.ended.saturating_add(1);
        let link = slot.link();
        let name = slot.leave(Phase::Waiting { from: now + wait }, now);
        self.forget(link, name);
        self.acts.push(Act::AskRights(id));
        self.acts.push(Act::Poll(vec![id]));
    }

    /// What is to be done now; `may_connect` says whether the token is good, as far as known.
    pub(super) fn next(&mut self, may_connect: bool, now: Instant) -> Vec<Act> {
        if self.halt.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.halt = None;
            self.connect_at = now;
        }
        self.look_at_slots(now);
        if self.halt.is_none() && may_connect {
            self.subscribe(now);
            self.open(now);
        }
        self.close_empty();
        let is_busy = self.unanswered() > 0;
        if !self.to_poll.is_empty() && (!is_busy || self.to_poll.len() >= POLLED_TOGETHER) {
            let together = std::mem::take(&mut self.to_poll);
            self.acts.push(Act::Poll(together.into_iter().collect()));
        }
        std::mem::take(&mut self.acts)
    }

    /// When there is something to be done again, whatever comes.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        const TICK: Duration = Duration::from_secs(1);
        let waits = self.slots.values().any(|slot| slot.is_ready(now));
        let has_room = self.unanswered() < UNANSWERED && !self.links.is_empty();
        match waits && has_room {
            true => self.subscribe_at.saturating_duration_since(now).max(APART),
            false => TICK,
        }
    }

    fn unanswered(&self) -> usize {
        let slots = self.slots.values();
        slots
            .filter(|slot| matches!(slot.phase, Phase::Asked { .. }))
            .count()
    }

    /// What time brings: no answer, silence for too long, fewer events.
    fn look_at_slots(&mut self, now: Instant) {
        let mut silent = Vec::new();
        for (id, slot) in &mut self.slots {
            if let Phase::Asked { link, at } = slot.phase
                && now.saturating_duration_since(at) >= ANSWER
            {
                let wait = ENDED.saturating_mul(1 << slot.ended.min(6)).min(REFUSED);
                slot.ended = slot.ended.saturating_add(1);
                silent.push((link, slot.leave(Phase::Waiting { from: now + wait }, now)));
            }
            let down = slot.down_since;
            if down.is_some_and(|since| now.saturating_duration_since(since) >= DOWN) {
                slot.down_since = None;
                slot.has_stood = false;
                self.acts.push(Act::EventsEnded(*id));
            }
            if slot.recent.is_crowded() {
                slot.recent.pass(now);
                if !slot.recent.is_crowded() {
                    self.acts.push(Act::Crowded(*id, false));
                }
            }
        }
        for (link, name) in silent {
            self.forget(Some(link), name);
        }
    }

    /// Slots by connection.
    fn load(&self) -> BTreeMap<Link, usize> {
        let mut load: BTreeMap<Link, usize> = self.links.keys().map(|link| (*link, 0)).collect();
        for link in self.slots.values().filter_map(Slot::link) {
            *load.entry(link).or_default() += 1;
        }
        load
    }

    fn subscribe(&mut self, now: Instant) {
        let mut free = UNANSWERED.saturating_sub(self.unanswered());
        let mut load = self.load();
        while free > 0 && self.subscribe_at <= now {
            let links = self.links.iter();
            let mut welcomed = links.filter(|(_, state)| matches!(state, LinkState::Welcomed(_)));
            let with_room = welcomed.find(|(link, _)| load[*link] < PER_CONNECTION);
            let Some(link) = with_room.map(|(link, _)| *link) else {
                return;
            };
            let mut slots = self.slots.iter_mut();
            let Some((id, slot)) = slots.find(|(_, slot)| slot.is_ready(now)) else {
                return;
            };
            let name = Cable::subscription(*id);
            slot.phase = Phase::Asked { link, at: now };
            slot.name = Some(Arc::clone(&name));
            self.by_name.insert(Arc::clone(&name), *id);
            self.acts.push(Act::Subscribe(link, name));
            self.subscribe_at = now + APART;
            *load.entry(link).or_default() += 1;
            free -= 1;
        }
    }

    /// Opens a connection where there is no room for what waits; one after the other.
    fn open(&mut self, now: Instant) {
        let is_opening = self
            .links
            .values()
            .any(|state| *state == LinkState::Opening);
        if is_opening || now < self.connect_at {
            return;
        }
        let waiting = self
            .slots
            .values()
            .filter(|slot| slot.is_ready(now))
            .count();
        let load = self.load();
        let room: usize = load
            .values()
            .map(|taken| PER_CONNECTION.saturating_sub(*taken))
            .sum();
        if waiting > room {
            self.last_link += 1;
            self.links.insert(self.last_link, LinkState::Opening);
            self.acts.push(Act::Open(self.last_link));
        }
    }

    /// Closes connections that nothing is on and nothing waits for.
    fn close_empty(&mut self) {
        let waits = |slot: &Slot| slot.link().is_none();
        if self.slots.values().any(waits) {
            return;
        }
        for (link, load) in self.load() {
            let is_welcomed = matches!(self.links.get(&link), Some(LinkState::Welcomed(_)));
            if load == 0 && is_welcomed {
                self.links.remove(&link);
                self.acts.push(Act::Close(link));
            }
        }
    }
}

#[cfg(test)]
#[path = "board_tests.rs"]
mod tests;
