//! The tracked projects, and when each is to be read next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::failures::Failures;
pub use super::timer::{Rhythm, Slot, Timer};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::discovery::Found;
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Project};
use crate::project::ProjectMemory;
pub use crate::source::Reading;
use crate::source::change_feed::Depth;
use crate::source::{AnySource, Target, Tracked, Unavailable};
use crate::types::Tier;
use crate::types::{ProjectId, Text};

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
    /// Everything else.
    pub others: BTreeMap<Reading, Timer>,
    /// Its tier, as far as it could be told; none before it was asked for.
    pub tier: Option<Known<Tier>>,
    /// When its tier is to be asked for.
    pub tier_due: UnixSeconds,
    /// Why collectors have nothing of it.
    pub unavailable: BTreeMap<Collector, Unavailable>,
    /// Why the last reading of other things failed.
    pub errors: BTreeMap<Reading, String>,
    /// Calls that failed in the last reading and left the rest of it whole.
    pub failures: Failures,
    /// When its states were last measured.
    pub measured_at: Option<UnixSeconds>,
    /// The last successful look of the change feed.
    pub succeeded_at: Option<UnixSeconds>,
    /// Why the last look failed.
    pub error: Option<String>,
}

impl Entry {
    /// When it is read for this.
    pub fn timer_mut(&mut self, reading: Reading) -> &mut Timer {
        match reading {
            Reading::ChangeFeed => &mut self.feed,
            Reading::Refs => &mut self.refs,
            other => self.others.entry(other).or_default(),
        }
    }

    /// When it is read for this.
    #[must_use]
    pub fn timer(&self, reading: Reading) -> Timer {
        match reading {
            Reading::ChangeFeed => self.feed,
            Reading::Refs => self.refs,
            other => self.others.get(&other).copied().unwrap_or_default(),
        }
    }

    /// The same, due now if it was never read for this: it is not late from the beginning of time on.
    fn begin(&mut self, reading: Reading, now: UnixSeconds) -> Timer {
        if !reading.is_core() {
            let first = Timer {
                due: now,
                ..Timer::default()
            };
            self.others.entry(reading).or_insert(first);
        }
        self.timer(reading)
    }

    /// Has everything but the change feed and refs read again at once.
    pub fn hasten_others(&mut self, now: UnixSeconds) {
        for timer in self.others.values_mut() {
            timer.due = timer.due.min(now);
        }
    }

    /// Whether everything else than the change feed is to be read now.
    fn is_ready_for_others(&self) -> bool {
        self.tier.is_some() && self.depth() == Some(Depth::Everything)
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
    pub fn target(&self, instance: Option<&Arc<Instance>>) -> Target {
        Target {
            tracking: self.tracking,
            project: self.project.clone(),
            settings: Arc::clone(&self.settings),
            memory: Arc::clone(&self.memory),
            tier: self.tier.unwrap_or_default(),
            instance: instance.cloned(),
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
    /// Version and edition of GitLab, as far as known.
    instance: Option<Arc<Instance>>,
    /// When GitLab last answered what a collector asked of a project.
    pub answered: BTreeMap<Collector, UnixSeconds>,
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
                let branch = project.default_branch;
                entry.project.default_branch = branch.or(entry.project.default_branch.clone());
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
                others: BTreeMap::new(),
                tier: None,
                tier_due: UnixSeconds::default(),
                unavailable: BTreeMap::new(),
                errors: BTreeMap::new(),
                failures: Failures::default(),
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
            let core = [&mut entry.feed, &mut entry.refs].into_iter();
            for timer in core.chain(entry.others.values_mut()) {
                timer.due = timer.due.minus(back);
            }
            entry.tier_due = entry.tier_due.minus(back);
            for at in [&mut entry.measured_at, &mut entry.succeeded_at] {
                *at = at.map(|at| at.minus(back));
            }
        }
    }

    fn index(&mut self) {
        let projects = self.entries.len();
        for (place, entry) in self.entries.values_mut().enumerate() {
            entry.slot = Slot {
                start: self.start.unwrap_or_default(),
                place,
                projects,
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

    /// A tracked project.
    #[must_use]
    pub fn get(&self, id: ProjectId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Whether a ref of the project started a pipeline on another ref, in whichever project.
    #[must_use]
    pub fn is_named_elsewhere(&self, parent: ProjectId) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(id, entry)| names_from_elsewhere(entry, parent, *id))
    }

    /// Refs of these projects are gone: who names them in its states is measured anew.
    pub fn refs_went(&mut self, of: &BTreeSet<ProjectId>) {
        if of.is_empty() {
            return;
        }
        for (id, entry) in &mut self.entries {
            if of
                .iter()
                .any(|parent| names_from_elsewhere(entry, *parent, *id))
            {
                entry.measured_at = None;
            }
        }
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
        let take = Take {
            held: &mut self.held,
            reading: Reading::ChangeFeed,
            instance: self.instance.as_ref(),
        };
        take.batches(due, size, batches)
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
        let take = Take {
            held: &mut self.held,
            reading: Reading::Refs,
            instance: self.instance.as_ref(),
        };
        take.batches(due, size, batches)
    }

    /// Takes one batch of projects that are due for a source, unless a run of it is under way.
    pub fn take_other(&mut self, source: &dyn AnySource, now: UnixSeconds) -> Option<Vec<Target>> {
        let reading = source.reading();
        if self.is_read(reading) {
            return None;
        }
        let rhythm = Rhythm::new(source.interval(), source.batch());
        let ready = self.entries.values_mut();
        let ready = ready.filter(|entry| entry.is_ready_for_others());
        let mut wanted: Vec<&Entry> = Vec::new();
        for entry in ready {
            if entry.begin(reading, now).due > now {
                continue;
            }
            if source.wants(&entry.target(self.instance.as_ref()), now) {
                wanted.push(entry);
            } else {
                let slot = entry.slot;
                entry.timer_mut(reading).succeeded(now, rhythm, slot);
            }
        }
        wanted.sort_by_key(|entry| entry.timer(reading).due);
        let take = Take {
            held: &mut self.held,
            reading,
            instance: self.instance.as_ref(),
        };
        take.batches(wanted, |_| rhythm.batch, 1).pop()
    }

    /// When the first project is due for a source.
    #[must_use]
    pub fn first_due(&self, reading: Reading) -> Option<UnixSeconds> {
        let ready = self.entries.values();
        let ready = ready.filter(|entry| entry.is_ready_for_others());
        ready.map(|entry| entry.timer(reading).due).min()
    }

    /// Whether a run reads it now.
    fn is_read(&self, reading: Reading) -> bool {
        let all = (reading, ProjectId(0))..=(reading, ProjectId(u64::MAX));
        self.held.range(all).next().is_some()
    }

    /// How many runs of sources beside the change feed and refs are under way.
    #[must_use]
    pub fn others_under_way(&self) -> usize {
        let others = self.held.iter().map(|(reading, _)| *reading);
        let others: BTreeSet<Reading> = others.filter(|reading| !reading.is_core()).collect();
        others.len()
    }

    /// Takes in what GitLab is.
    pub fn set_instance(&mut self, instance: Option<Arc<Instance>>) {
        self.instance = instance;
    }

    /// What GitLab is, as far as known.
    #[must_use]
    pub fn instance(&self) -> Option<Arc<Instance>> {
        self.instance.clone()
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

fn names_from_elsewhere(entry: &Entry, parent: ProjectId, own: ProjectId) -> bool {
    entry
        .memory
        .child_pipelines
        .names_from_elsewhere(parent, own)
}

/// Takes what nobody holds.
struct Take<'a> {
    held: &'a mut BTreeSet<(Reading, ProjectId)>,
    reading: Reading,
    instance: Option<&'a Arc<Instance>>,
}

impl Take<'_> {
    /// In its order, in at most `batches` batches of projects that go together: those of one
    /// `size`.
    fn batches(
        self,
        mut due: Vec<&Entry>,
        size: impl Fn(&Entry) -> usize,
        batches: usize,
    ) -> Vec<Vec<Target>> {
        let Self {
            held,
            reading,
            instance,
        } = self;
        due.retain(|entry| !held.contains(&(reading, entry.project.id)));
        let target = |entry: &&Entry| entry.target(instance);
        let taken: Vec<Vec<Target>> = due
            .chunk_by(|one, next| one.depth() == next.depth())
            .flat_map(|alike| alike.chunks(size(alike[0]).max(1)))
            .take(batches)
            .map(|batch| batch.iter().map(target).collect())
            .collect();
        held.extend(taken.iter().flatten().map(|target| (reading, target.id())));
        taken
    }
}

#[cfg(test)]
mod tests;
