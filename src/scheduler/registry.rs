//! The tracked projects, and when each is to be read next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::discovery::Found;
use crate::gitlab::model::{Known, Project, ProjectId, Text};
use crate::project::ProjectMemory;
use crate::source::change_feed::Depth;
use crate::source::{Target, Tracked};

/// A failing project is read less and less often, down to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);

/// What a project is read for. A run holds its projects: there are never two runs of one reading
/// and one project at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// What moved.
    ChangeFeed,
    /// Which refs exist.
    Refs,
}

/// Where in each interval a project is read, so that the batches of one interval spread over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// When the first interval began.
    start: UnixSeconds,
    /// The batch, counted from 0.
    batch: usize,
    /// Batches of an interval.
    batches: usize,
}

impl Slot {
    /// The first time after `now` that is in the slot.
    fn after(self, now: UnixSeconds, interval: Duration) -> UnixSeconds {
        let length = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1);
        let share = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let offset = length.saturating_mul(share(self.batch)) / share(self.batches.max(1));
        let since = now.0.saturating_sub(self.start.0.saturating_add(offset));
        UnixSeconds(now.0.saturating_add(length - since.rem_euclid(length)))
    }
}

/// When a project is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// Not before this.
    pub due: UnixSeconds,
    /// Runs that failed in a row.
    pub failures: u32,
    /// Runs that ended, one way or the other.
    pub ended: u64,
}

impl Timer {
    /// Ends a run that succeeded. The rhythm stays: due times do not creep with the length of
    /// runs, and what was missed is not made up for.
    pub fn succeeded(&mut self, now: UnixSeconds, interval: Duration, slot: Slot) {
        self.failures = 0;
        self.ended += 1;
        self.due = slot.after(now, interval);
    }

    /// Ends a run that succeeded, and has the next follow at once: there is more to be read.
    pub fn go_on(&mut self, now: UnixSeconds) {
        self.failures = 0;
        self.ended += 1;
        self.due = now;
    }

    /// Ends a run that failed; the next waits longer with each failure in a row.
    pub fn failed(&mut self, now: UnixSeconds, interval: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.ended += 1;
        let back_off = interval
            .saturating_mul(1 << self.failures.min(8))
            .min(MAX_BACK_OFF);
        self.due = now.plus(back_off.max(interval));
    }
}

/// A tracked project.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number of this tracking, for [`Target::tracking`].
    pub tracking: u64,
    /// Where in each interval it is read.
    pub slot: Slot,
    /// As it was last seen.
    pub project: Project,
    /// Its settings.
    pub settings: Arc<ProjectSettings>,
    /// What is remembered of it.
    pub memory: Arc<ProjectMemory>,
    /// The change feed.
    pub feed: Timer,
    /// Refs.
    pub refs: Timer,
    /// When its states were last measured.
    pub measured_at: Option<UnixSeconds>,
    /// The last successful look of the change feed.
    pub succeeded_at: Option<UnixSeconds>,
    /// Why the last look failed.
    pub error: Option<String>,
}

impl Entry {
    /// When it is read for this.
    pub const fn timer_mut(&mut self, reading: Reading) -> &mut Timer {
        match reading {
            Reading::ChangeFeed => &mut self.feed,
            Reading::Refs => &mut self.refs,
        }
    }

    /// When it is read for this.
    #[must_use]
    pub const fn timer(&self, reading: Reading) -> &Timer {
        match reading {
            Reading::ChangeFeed => &self.feed,
            Reading::Refs => &self.refs,
        }
    }

    /// How deep its pipelines have been read; nothing before the first look.
    fn depth(&self) -> Option<Depth> {
        self.memory.feed.as_ref().map(|feed| feed.depth)
    }

    /// Whether it is read in its rhythm; if not, its next look is to follow at once.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.depth().is_none_or(|depth| depth == Depth::Everything)
    }

    /// The project as a source reads it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            tracking: self.tracking,
            project: self.project.clone(),
            settings: Arc::clone(&self.settings),
            memory: Arc::clone(&self.memory),
        }
    }
}

/// What a run holds of a project: which tracking of it, after how many runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// [`Entry::tracking`].
    pub tracking: u64,
    /// [`Timer::ended`].
    pub ended: u64,
}

/// A project that is tracked no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its id.
    pub id: ProjectId,
    /// The path its series bear.
    pub path: Text,
}

/// All tracked projects.
#[derive(Debug, Default)]
pub struct Registry {
    entries: BTreeMap<ProjectId, Entry>,
    tracked: Tracked,
    /// Memories of an earlier process, for projects that discovery has yet to find.
    remembered: BTreeMap<ProjectId, Arc<ProjectMemory>>,
    /// What runs hold, of projects that were let go meanwhile, too.
    held: BTreeSet<(Reading, ProjectId)>,
    /// Trackings so far.
    trackings: u64,
    /// When the first project was tracked.
    start: Option<UnixSeconds>,
}

impl Registry {
    /// A registry that knows what an earlier process remembered.
    #[must_use]
    pub fn new(remembered: Vec<(ProjectId, Arc<ProjectMemory>)>) -> Self {
        Self {
            remembered: remembered.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes in what discovery found; gives the projects that are tracked no more: those that went
    /// while no process ran, too, if nothing hid from discovery.
    pub fn update(&mut self, found: Found, is_complete: bool, now: UnixSeconds) -> Vec<Gone> {
        let gone: Vec<ProjectId> = self
            .entries
            .keys()
            .filter(|id| !found.contains_key(id))
            .copied()
            .collect();
        let mut gone: Vec<Gone> = gone.into_iter().filter_map(|id| self.remove(id)).collect();
        self.start.get_or_insert(now);
        for (id, (mut project, settings)) in found {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.settings = settings;
                continue;
            }
            let memory = self.remembered.remove(&id).unwrap_or_default();
            // Its series bear this path still: the next look finds that it was renamed.
            if !memory.path.is_empty() {
                project.full_path = memory.path.clone();
            }
            // And if its role fell meanwhile, the next look finds that, too.
            if let Some(role) = memory.role {
                project.role = Known::Value(role);
            }
            let timer = Timer {
                due: now,
                ..Timer::default()
            };
            self.trackings += 1;
            let entry = Entry {
                tracking: self.trackings,
                slot: Slot::default(),
                project,
                settings,
                memory,
                feed: timer,
                refs: timer,
                measured_at: None,
                succeeded_at: None,
                error: None,
            };
            self.entries.insert(id, entry);
        }
        self.index();
        if is_complete {
            let lost = std::mem::take(&mut self.remembered).into_iter();
            gone.extend(lost.map(|(id, memory)| Gone {
                id,
                path: memory.path.clone(),
            }));
        }
        gone
    }

    /// Stops tracking a project.
    pub fn remove(&mut self, id: ProjectId) -> Option<Gone> {
        let entry = self.entries.remove(&id)?;
        self.index();
        Some(Gone {
            id,
            path: entry.project.full_path,
        })
    }

    /// A project has a new path: the others name it in their states, which are measured anew.
    pub fn renamed(&mut self) {
        for entry in self.entries.values_mut() {
            entry.measured_at = None;
        }
        self.index();
    }

    /// Moves all times with a clock that was set back by `back`.
    pub fn clock_was_set_back(&mut self, back: Duration) {
        for entry in self.entries.values_mut() {
            for timer in [&mut entry.feed, &mut entry.refs] {
                timer.due = timer.due.minus(back);
            }
            for at in [&mut entry.measured_at, &mut entry.succeeded_at] {
                *at = at.map(|at| at.minus(back));
            }
        }
    }

    fn index(&mut self) {
        let batches = self.entries.len().div_ceil(super::FEED_BATCH);
        for (place, entry) in self.entries.values_mut().enumerate() {
            entry.slot = Slot {
                start: self.start.unwrap_or_default(),
                batch: place / super::FEED_BATCH,
                batches,
            };
        }
        let path = |(id, entry): (&ProjectId, &Entry)| (*id, entry.project.full_path.clone());
        self.tracked = Arc::new(self.entries.iter().map(path).collect());
    }

    /// The ids and paths of all tracked projects.
    #[must_use]
    pub fn tracked(&self) -> Tracked {
        Arc::clone(&self.tracked)
    }

    /// A tracked project.
    pub fn get_mut(&mut self, id: ProjectId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// All tracked projects.
    pub fn iter(&self) -> impl Iterator<Item = (ProjectId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many projects are tracked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is tracked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the projects whose change feed is due, in at most `batches` batches. What was never
    /// seen comes first. Those that are read equally deep go together, and of these those whose
    /// watermarks are near each other, since a batch is read from its earliest on.
    pub fn take_feed(&mut self, now: UnixSeconds, batches: usize) -> Vec<Vec<Target>> {
        let mut due: Vec<&Entry> = self
            .entries
            .values()
            .filter(|entry| entry.feed.due <= now)
            .collect();
        due.sort_by_key(|entry| {
            (
                entry.succeeded_at.is_some(),
                entry.feed.due,
                entry.depth(),
                entry.memory.feed.as_ref().map(|feed| feed.watermark),
            )
        });
        let size = |entry: &Entry| match entry.depth() {
            Some(Depth::Pipelines | Depth::Jobs) => super::DEEPER_BATCH,
            None | Some(Depth::Everything) => super::FEED_BATCH,
        };
        take(&mut self.held, Reading::ChangeFeed, due, size, batches)
    }

    /// Takes the projects whose refs are to be looked at, in at most `batches` batches.
    pub fn take_refs(&mut self, now: UnixSeconds, batches: usize) -> Vec<Vec<Target>> {
        let due = self
            .entries
            .values()
            .filter(|entry| entry.refs.due <= now)
            .filter(|entry| entry.depth() == Some(Depth::Everything))
            .filter(|entry| entry.memory.refs.is_due(&entry.project, now))
            .collect();
        let size = |_: &Entry| super::REFS_BATCH;
        take(&mut self.held, Reading::Refs, due, size, batches)
    }

    /// Lets go of a project that was held when [`Timer::ended`] was `ended`. If the run told
    /// nothing of it, it is read again as after a failure.
    pub fn release(
        &mut self,
        reading: Reading,
        id: ProjectId,
        holding: Holding,
        now: UnixSeconds,
        interval: Duration,
    ) {
        self.held.remove(&(reading, id));
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let tracking = entry.tracking;
        let timer = entry.timer_mut(reading);
        if holding
            == (Holding {
                tracking,
                ended: timer.ended,
            })
        {
            timer.failed(now, interval);
        }
    }

    /// How many projects wait for their change feed.
    #[must_use]
    pub fn due(&self, now: UnixSeconds) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.feed.due <= now)
            .filter(|entry| !self.held.contains(&(Reading::ChangeFeed, entry.project.id)))
            .count()
    }
}

/// Takes what nobody holds, in its order, in at most `batches` batches of projects that go
/// together: those of one `size`.
fn take(
    held: &mut BTreeSet<(Reading, ProjectId)>,
    reading: Reading,
    mut due: Vec<&Entry>,
    size: impl Fn(&Entry) -> usize,
    batches: usize,
) -> Vec<Vec<Target>> {
    due.retain(|entry| !held.contains(&(reading, entry.project.id)));
    let taken: Vec<Vec<Target>> = due
        .chunk_by(|one, next| one.depth() == next.depth())
        .flat_map(|alike| alike.chunks(size(alike[0]).max(1)))
        .take(batches)
        .map(|batch| batch.iter().map(|entry| entry.target()).collect())
        .collect();
    held.extend(taken.iter().flatten().map(|target| (reading, target.id())));
    taken
}

#[cfg(test)]
mod tests;
