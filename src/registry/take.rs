//! Which projects are read next, for what, and with which others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Entry, Priority};
use super::timer::Rhythm;
use super::{Holding, Projects, sharded};
use crate::clock::UnixSeconds;
use crate::events::Origin;
use crate::facts::Reading;
use crate::source::{Grouping, Needs, Source, Target, Wants};
use crate::types::ProjectId;

/// Projects that one run reads.
pub struct Batch {
    /// What they are read for.
    pub source: Arc<dyn Source>,
    /// The priority of the most urgent.
    pub priority: Priority,
    /// The projects.
    pub targets: Vec<Target>,
    /// The spans in which events were received that it answers.
    pub origins: Vec<Origin>,
}

/// How many runs may start.
#[derive(Clone, Copy, Debug)]
pub struct FreeSlots {
    /// Of any kind.
    pub runs: usize,
    /// Of these, runs that are kept for the change feed, less those of it that are under way: it never waits
    /// for what other sources read.
    pub feed: usize,
    /// Runs of sources other than the change feed and refs, so that pipelines never wait for them.
    pub others: usize,
    /// Runs that read what happened before, so that what is new never waits for them.
    pub backfill: usize,
}

/// What [`Projects::take`] returns.
#[derive(Default)]
pub struct Taken {
    /// Runs to be started.
    pub batches: Vec<Batch>,
    /// How much later than due the latest project is that waits, by priority.
    pub lag: [Duration; Priority::ALL.len()],
    /// Projects that wait for their change feed.
    pub queued: usize,
}

/// A project that is due for a source.
#[derive(Clone, Copy)]
struct Due {
    id: ProjectId,
    priority: Priority,
    /// Whether its change feed was ever read: what was never seen comes first.
    is_known: bool,
    due: UnixSeconds,
    grouping: Grouping,
}

/// Projects that go together.
struct Candidate<'a> {
    source: &'a Arc<dyn Source>,
    priority: Priority,
    rank: u8,
    turn: u8,
    due: UnixSeconds,
    projects: Vec<Due>,
}

impl Projects {
    /// Takes what is due and has room, the most urgent first, in batches that go together. What is
    /// taken is held until [`Projects::release`].
    pub fn take(
        &mut self,
        sources: &[Arc<dyn Source>],
        now: UnixSeconds,
        free: FreeSlots,
    ) -> Taken {
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for source in sources {
            let due = self.due_for(source.as_ref(), now);
            candidates.extend(together(source, due));
        }
        candidates.sort_by_key(|batch| (batch.priority, batch.rank, batch.turn, batch.due));
        let mut taken = Taken::default();
        let mut free = free;
        // A storm of events leaves one slot to the steady work.
        let has_steady = candidates
            .iter()
            .any(|candidate| candidate.priority == Priority::Current);
        for candidate in candidates {
            let is_last = candidate.priority == Priority::Urgent && has_steady && free.runs == 1;
            if !is_last && self.takes_slot(&candidate, &mut free) {
                taken.batches.push(self.hold(candidate));
                continue;
            }
            for project in &candidate.projects {
                let lag = &mut taken.lag[project.priority as usize];
                *lag = now.since(project.due).max(*lag);
            }
            if candidate.source.needs() == Needs::Nothing {
                taken.queued += candidate.projects.len();
            }
        }
        taken
    }

    /// The projects that are due for a source and that no run of it holds.
    fn due_for(&mut self, source: &dyn Source, now: UnixSeconds) -> Vec<Due> {
        let reading = source.reading();
        let mut due = Vec::new();
        for (id, entry) in &mut self.entries {
            if !sharded::is_read_here(self.sharing.as_ref(), reading, *id) {
                continue;
            }
            let is_off = source.interval(&entry.settings).is_none();
            // What other replicas have read of a project is not known where runners are read.
            let is_elsewhere = self.sharing.is_some() && reading == Reading::Runners;
            if is_off || !(is_elsewhere || entry.is_ready_for(source.needs())) {
                continue;
            }
            let timer = entry.begin(reading, now);
            if timer.due > now || self.held.contains(&(reading, *id)) {
                continue;
            }
            let wants = match timer.is_asked_for {
                true => Wants::Now,
                false => source.wants(&entry.project, &entry.memory, now),
            };
            match wants {
                Wants::Now => due.push(Due {
                    id: *id,
                    priority: entry.priority(source),
                    is_known: entry.succeeded_at.is_some(),
                    due: timer.due,
                    grouping: source.grouping(&entry.memory),
                }),
                Wants::AfterInterval => {
                    let (slot, rhythm) = (entry.slot, rhythm(source, entry, now));
                    entry.timer_mut(reading).succeeded(now, rhythm, slot);
                }
                Wants::WhenSomethingMoved => {}
            }
        }
        due
    }

    fn takes_slot(&self, candidate: &Candidate<'_>, free: &mut FreeSlots) -> bool {
        let source = candidate.source;
        let running = self.running.get(&source.reading()).copied();
        let is_other = source.needs() == Needs::Tier;
        let is_backfill = candidate.priority == Priority::Backfill;
        let is_feed = source.needs() == Needs::Nothing;
        let feeds = self.running.get(&Reading::ChangeFeed).copied();
        let kept = free.feed.saturating_sub(feeds.unwrap_or(0));
        // Backfill that waits for its share of GitLab's time leaves one of them to what is current.
        let others_left = free.others.saturating_sub(usize::from(is_backfill));
        let fits = free.runs > if is_feed { 0 } else { kept }
            && running.unwrap_or(0) < source.runs_at_once()
            && (!is_other || others_left > 0)
            && (!is_backfill || free.backfill > 0);
        if fits {
            free.runs -= 1;
            free.others -= usize::from(is_other);
            free.backfill -= usize::from(is_backfill);
        }
        fits
    }

    fn hold(&mut self, candidate: Candidate<'_>) -> Batch {
        let reading = candidate.source.reading();
        *self.running.entry(reading).or_default() += 1;
        let mut targets = Vec::with_capacity(candidate.projects.len());
        let mut origins = Vec::new();
        for project in candidate.projects {
            self.held.insert((reading, project.id));
            if let Some(entry) = self.entries.get_mut(&project.id) {
                let timer = entry.timer_mut(reading);
                let is_asked_for = std::mem::take(&mut timer.is_asked_for);
                timer.is_urgent = false;
                targets.push(Target {
                    is_asked_for,
                    ..entry.target(self.instance.as_ref())
                });
                origins.extend(entry.events.origins(reading));
            }
        }
        Batch {
            source: Arc::clone(candidate.source),
            priority: candidate.priority,
            targets,
            origins,
        }
    }

    /// What a run that begins holds of a project.
    #[must_use]
    pub fn holding(&self, reading: Reading, target: &Target) -> Holding {
        let entry = self.entries.get(&target.id());
        Holding {
            tracking: target.tracking,
            ended: entry.map_or(0, |entry| entry.timer(reading).ended),
            began: Instant::now(),
        }
    }

    /// Ends a run: its projects are free again. A project that the run said nothing of is read
    /// again as after a failure.
    pub fn release<'a>(
        &mut self,
        source: &dyn Source,
        holdings: impl IntoIterator<Item = (&'a ProjectId, &'a Holding)>,
        now: UnixSeconds,
    ) {
        let reading = source.reading();
        if let Some(running) = self.running.get_mut(&reading) {
            *running = running.saturating_sub(1);
        }
        for (id, holding) in holdings {
            self.held.remove(&(reading, *id));
            let Some(entry) = self.entries.get_mut(id) else {
                continue;
            };
            let is_same = entry.tracking == holding.tracking;
            if is_same && entry.timer(reading).ended == holding.ended {
                let interval = rhythm(source, entry, now).interval;
                entry.timer_mut(reading).failed(now, interval);
            }
        }
    }
}

/// How often a project is polled again that a source does not read: it is not taken.
const OFF: Duration = Duration::from_secs(3600);

/// How often a source reads a project, and by how many at once.
pub(super) fn rhythm(source: &dyn Source, entry: &Entry, now: UnixSeconds) -> Rhythm {
    let interval = source.interval(&entry.settings).unwrap_or(OFF);
    let rhythm = Rhythm::new(interval, source.batch());
    rhythm.slowed(entry.interval(source.reading(), interval, now))
}

/// Batches of projects of one priority and group; the first are those that wait longest.
fn together(source: &Arc<dyn Source>, mut due: Vec<Due>) -> Vec<Candidate<'_>> {
    due.sort_by_key(|one| {
        let Grouping {
            turn, group, near, ..
        } = one.grouping;
        (one.priority, turn, one.is_known, one.due, group, near)
    });
    let rank = match source.needs() {
        Needs::Nothing | Needs::FirstRead => 0,
        Needs::Pipelines => 1,
        Needs::Tier => 2,
    };
    let kind = |one: &Due| (one.priority, one.grouping.turn, one.grouping.group);
    let alike = |one: &Due, next: &Due| kind(one) == kind(next);
    let groups = due.chunk_by(alike);
    let batches = groups.flat_map(|group| {
        let size = group.first().map_or(1, |one| one.grouping.size);
        group.chunks(size.max(1))
    });
    let candidate = |projects: &[Due]| {
        let first = projects.first()?;
        Some(Candidate {
            source,
            priority: first.priority,
            rank,
            turn: first.grouping.turn,
            due: first.due,
            projects: projects.to_vec(),
        })
    };
    batches.filter_map(candidate).collect()
}
