//! The tracked projects: what is known of each, and when each is to be read for what.

mod end;
mod entry;
mod failures;
mod hints;
mod removal;
mod sharded;
mod take;
#[cfg(test)]
pub(crate) mod tests;
pub mod timer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::discovery::{Found, Selected};
use crate::facts::Reading;
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Permissions, Role};
use crate::memory::ProjectMemory;
use crate::memory::withdrawn::KEPT_FOR;
use crate::shards::Shard;
use crate::source::Source;
use crate::source::{Right, Tracked, forbids};
use crate::types::{ProjectId, Text, Tier};

pub use end::{Ended, Outcome};
pub use entry::{Entry, Priority};
pub use hints::{EventPolling, Events, ProjectActivity, Shown};
pub use removal::{Judged, Reason, Rule};
pub use sharded::{Note, Outbox};
pub use take::{Batch, FreeSlots, Taken};

/// The tracked projects, shared by all parts of the program.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Projects>);

impl Registry {
    /// A registry that knows what an earlier process remembered.
    #[must_use]
    pub fn new(remembered: Vec<(ProjectId, Arc<ProjectMemory>)>) -> Self {
        let remembered = remembered.into_iter();
        let (withdrawn, remembered) =
            remembered.partition(|(_, memory)| memory.withdrawn.removed_at.is_some());
        Self(Mutex::new(Projects {
            remembered,
            withdrawn,
            ..Projects::default()
        }))
    }

    /// The projects; nothing else is done with them meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, Projects> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a run holds of a project: which tracking of it, after how many runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// [`Entry::tracking`].
    pub tracking: u64,
    /// [`timer::Timer::ended`].
    pub ended: u64,
    /// When the run began: events that came later are not answered by it.
    pub began: Instant,
}

/// A project that is no longer tracked.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    /// Its id.
    pub id: ProjectId,
    /// The path that its series carry.
    pub path: Text,
    /// What is kept of it for when GitLab shows it again; none where nothing is.
    pub memory: Option<Arc<ProjectMemory>>,
}

/// Collectors that are off for a project.
#[derive(Clone, Debug)]
pub struct SwitchedOff {
    /// The project.
    pub id: ProjectId,
    /// The path that its series carry.
    pub path: Text,
    /// What is remembered of it.
    pub memory: Arc<ProjectMemory>,
    /// The collectors.
    pub collectors: Vec<Collector>,
}

/// All tracked projects.
#[derive(Debug, Default)]
pub struct Projects {
    entries: BTreeMap<ProjectId, Entry>,
    tracked: Tracked,
    /// Memories of an earlier process, for projects that discovery has yet to find.
    remembered: BTreeMap<ProjectId, Arc<ProjectMemory>>,
    /// Memories of projects that were removed and that GitLab may show again.
    withdrawn: BTreeMap<ProjectId, Arc<ProjectMemory>>,
    /// What runs hold, also of projects that were removed meanwhile.
    held: BTreeSet<(Reading, ProjectId)>,
    /// Runs under way.
    running: BTreeMap<Reading, usize>,
    /// Trackings so far.
    trackings: u64,
    /// When the first project was tracked.
    start: Option<UnixSeconds>,
    /// Version and edition of GitLab, as far as known.
    instance: Option<Arc<Instance>>,
    /// When GitLab last answered what a collector asked of a project.
    answered: BTreeMap<Collector, UnixSeconds>,
    /// Not as they were: discovery polls their entries again.
    changed: BTreeSet<ProjectId>,
    /// Those that may have to be removed.
    doubts: removal::Doubts,
    /// No longer tracked, and not yet removed from the store.
    to_remove: Vec<Removed>,
    /// Whether GitLab says where jobs begin.
    announced: bool,
    /// How projects are polled whose changes are announced; none where no events are received.
    event_polling: Option<EventPolling>,
    /// What projects are read by.
    sources: Sources,
    /// What is shared with other replicas; none for a single instance, which reads all.
    sharing: Option<sharded::Sharing>,
}

/// What projects are read by.
#[derive(Default)]
struct Sources(Vec<Arc<dyn Source>>);

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let readings = self.0.iter().map(|source| source.reading());
        f.debug_list().entries(readings).finish()
    }
}

/// How far the first sync is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstSync {
    /// First reads that are done: one for each project and source.
    pub done: usize,
    /// First reads in all.
    pub due: usize,
    /// Projects of which all are done.
    pub projects: usize,
}

impl FirstSync {
    /// The share that is done: 0 where there are no projects, 1 only where everything is.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        match self.due {
            0 => 0.0,
            due => self.done as f64 / due as f64,
        }
    }
}

impl Projects {
    /// Takes in what discovery found. What it did not find is tracked until GitLab's own word on it
    /// is known: [`Projects::judge`].
    pub fn update(&mut self, found: Found, now: UnixSeconds) {
        self.take_in(found, now);
        if let Some(outbox) = self.outbox() {
            outbox.is_listed = true;
        }
    }

    fn take_in(&mut self, found: Found, now: UnixSeconds) {
        self.start.get_or_insert(now);
        for (id, (project, settings)) in found {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.set_settings(settings, now);
                let branch = project.default_branch;
                entry.project.default_branch = branch.or(entry.project.default_branch.clone());
            } else {
                self.track(id, (project, settings), now);
            }
        }
        self.index();
    }

    /// Tracks a project from now on, with what an earlier process remembered of it.
    fn track(&mut self, id: ProjectId, (mut project, settings): Selected, now: UnixSeconds) {
        let remembered = self.remembered.remove(&id);
        let memory = remembered.or_else(|| self.withdrawn.remove(&id));
        let memory = memory.unwrap_or_default();
        // Its series carry this path still: the next run finds that it was renamed.
        if !memory.path.is_empty() {
            project.full_path = memory.path.clone();
        }
        self.trackings += 1;
        let mut entry = Entry::new(self.trackings, project, settings, memory, now);
        entry.is_announced = self.announced;
        entry.event_polling = self.event_polling;
        self.entries.insert(id, entry);
    }

    /// Stops tracking a project, or forgets one that an earlier process tracked. What is known of it is
    /// kept if GitLab may show it again.
    fn remove(&mut self, id: ProjectId, reason: Reason, now: UnixSeconds) -> Option<Removed> {
        let (path, memory) = match self.entries.remove(&id) {
            Some(entry) => (entry.project.full_path, entry.memory),
            None => {
                let memory = self.remembered.remove(&id)?;
                (memory.path.clone(), memory)
            }
        };
        self.index();
        let is_kept = reason.may_end() && memory.feed.is_some();
        let memory = is_kept.then(|| {
            let mut kept = ProjectMemory::clone(&memory);
            kept.withdrawn.removed_at = Some(now);
            Arc::new(kept)
        });
        if let Some(memory) = &memory {
            self.withdrawn.insert(id, Arc::clone(memory));
        }
        Some(Removed { id, path, memory })
    }

    /// Projects that were removed so long ago, or so many of them that the oldest are let go, that
    /// nothing is to be kept of them.
    pub fn take_forgotten(&mut self, oldest: usize, now: UnixSeconds) -> Vec<ProjectId> {
        let removed_at = |memory: &ProjectMemory| memory.withdrawn.removed_at.unwrap_or_default();
        let mut all: Vec<(UnixSeconds, ProjectId)> = self
            .withdrawn
            .iter()
            .map(|(id, memory)| (removed_at(memory), *id))
            .collect();
        all.sort_unstable();
        let forgotten = all.into_iter().enumerate();
        let forgotten: Vec<ProjectId> = forgotten
            .filter(|(place, (at, _))| *place < oldest || now.since(*at) >= KEPT_FOR)
            .map(|(_, (_, id))| id)
            .collect();
        for id in &forgotten {
            self.withdrawn.remove(id);
        }
        forgotten
    }

    /// Takes in what is remembered of a project now.
    pub fn set_memory(&mut self, id: ProjectId, memory: Arc<ProjectMemory>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.memory = memory;
        }
    }

    /// Collectors that are off for a project and that may have series of it: those of an earlier process,
    /// or of other settings before. Each is given once.
    pub fn take_switched_off(&mut self) -> Vec<SwitchedOff> {
        let mut all = Vec::new();
        for (id, entry) in &mut self.entries {
            let collectors = std::mem::take(&mut entry.switched_off);
            if !collectors.is_empty() {
                all.push(SwitchedOff {
                    id: *id,
                    path: entry.project.full_path.clone(),
                    memory: Arc::clone(&entry.memory),
                    collectors,
                });
            }
        }
        all
    }

    /// Keeps collectors that could not be switched off, for another try.
    pub fn switch_off_later(&mut self, switched_off: Vec<SwitchedOff>) {
        for off in switched_off {
            if let Some(entry) = self.entries.get_mut(&off.id) {
                entry.switched_off.extend(off.collectors);
            }
        }
    }

    /// The projects whose entries discovery is to poll again; each is given once.
    pub fn take_changed(&mut self) -> BTreeSet<ProjectId> {
        std::mem::take(&mut self.changed)
    }

    /// Keeps projects that could not be removed from the store, for another try.
    pub fn remove_later(&mut self, removed: Vec<Removed>) {
        self.to_remove.extend(removed);
    }

    /// The projects that are still to be removed from the store; one that is tracked again is not.
    pub fn take_to_remove(&mut self) -> Vec<Removed> {
        let mut removed = std::mem::take(&mut self.to_remove);
        removed.retain(|project| !self.entries.contains_key(&project.id));
        removed
    }

    /// A project has a new path: the others name it in their states, which are measured again.
    fn renamed(&mut self) {
        for entry in self.entries.values_mut() {
            entry.measured_at = None;
        }
        self.index();
    }

    /// Moves all times with a clock that was set back by `back`.
    pub fn clock_was_set_back(&mut self, back: Duration) {
        for entry in self.entries.values_mut() {
            entry.clock_was_set_back(back);
        }
        self.move_doubts_back(back);
    }

    fn index(&mut self) {
        let projects = self.entries.len();
        for (place, entry) in self.entries.values_mut().enumerate() {
            entry.slot = timer::Slot {
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
    #[must_use]
    pub fn get(&self, id: ProjectId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The path of a project that is tracked, or was by an earlier process.
    #[must_use]
    pub fn path(&self, id: ProjectId) -> Option<Text> {
        let tracked = self.entries.get(&id).map(|entry| &entry.project.full_path);
        let remembered = self.remembered.get(&id).map(|memory| &memory.path);
        tracked.or(remembered).cloned()
    }

    /// The id of the tracked project with this path, in any case.
    #[must_use]
    pub fn id_of(&self, path: &str) -> Option<ProjectId> {
        let mut entries = self.entries.iter();
        let has_path = |entry: &Entry| entry.project.full_path.eq_ignore_ascii_case(path);
        let found = entries.find(|(_, entry)| has_path(entry));
        found.map(|(id, _)| *id)
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

    /// Whether a ref of the project started a pipeline on another ref, in any project.
    #[must_use]
    pub fn is_named_elsewhere(&self, parent: ProjectId) -> bool {
        let mut entries = self.entries.iter();
        // What other replicas remember is not known here.
        self.is_shared() || entries.any(|(id, entry)| names_from_elsewhere(entry, parent, *id))
    }

    /// Refs of these projects were removed: projects that name them in their states are measured
    /// again.
    fn refs_went(&mut self, of: &BTreeSet<ProjectId>) {
        if of.is_empty() {
            return;
        }
        for (id, entry) in &mut self.entries {
            let mut parents = of.iter();
            if parents.any(|parent| names_from_elsewhere(entry, *parent, *id)) {
                entry.measured_at = None;
            }
        }
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

    /// Whether GitLab is to be asked what the token may read of some project.
    #[must_use]
    pub fn has_permissions_due(&self, now: UnixSeconds) -> bool {
        let mut entries = self.own();
        entries.any(|(_, entry)| entry.permissions_due <= now)
    }

    /// The projects for which GitLab is to be asked what the token may read.
    #[must_use]
    pub fn permissions_due(&self, now: UnixSeconds) -> Vec<ProjectId> {
        let due = self.own().filter(|(_, entry)| entry.permissions_due <= now);
        due.map(|(id, _)| id).collect()
    }

    /// Takes in what the token may read of a project; GitLab is asked again at `due`. What it may read
    /// now and could not before is read at once.
    pub fn set_permissions(
        &mut self,
        id: ProjectId,
        permissions: Permissions,
        due: UnixSeconds,
        now: UnixSeconds,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.permissions_due = due;
        entry.project.role = permissions.role;
        let before = std::mem::replace(&mut entry.permissions, permissions);
        let features = &entry.project.features;
        if forbids(features, &permissions, Right::Pipelines).is_none() {
            entry.permitted_at = now;
        }
        if before != permissions && before != Permissions::default() {
            entry.read_at_once(now);
        }
    }

    /// What the token may read of a project could not be asked for: again at `due`.
    pub fn ask_permissions_again(&mut self, id: ProjectId, due: UnixSeconds) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.permissions_due = due;
        }
    }

    /// Has GitLab asked again for all that the token may read: it is another token now, or has other
    /// rights.
    pub fn rights_changed(&mut self, now: UnixSeconds) {
        for entry in self.entries.values_mut() {
            entry.permissions_due = now;
            if !entry.unavailable.is_empty() {
                entry.read_at_once(now);
            }
        }
    }

    /// Whether the tier of a project is to be asked for.
    #[must_use]
    pub fn has_tier_due(&self, now: UnixSeconds) -> bool {
        let mut entries = self.own();
        entries.any(|(_, entry)| entry.tier_due <= now)
    }

    /// The projects whose tier is to be asked for, with the role that is known there.
    #[must_use]
    pub fn tiers_due(&self, now: UnixSeconds) -> BTreeMap<ProjectId, Known<Role>> {
        let due = self.own().filter(|(_, entry)| entry.tier_due <= now);
        due.map(|(id, entry)| (id, entry.permissions.reads_as()))
            .collect()
    }

    /// Takes in the tier of a project; unread leaves what was known before. It is asked for again
    /// at `due`.
    pub fn set_tier(
        &mut self,
        id: ProjectId,
        tier: Known<Tier>,
        due: UnixSeconds,
        now: UnixSeconds,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        entry.tier_due = due;
        let before = entry.tier;
        let tier = match (tier, before) {
            (Known::Unread, Some(known)) => known,
            (read, _) => read,
        };
        entry.tier = Some(tier);
        // What an upgrade brings, or a downgrade takes, shows with the next run.
        if before.is_some_and(|before| before != tier) {
            entry.read_others_at_once(now);
        }
    }

    /// The tier of a project could not be asked for: again at `due`.
    pub fn ask_tier_again(&mut self, id: ProjectId, due: UnixSeconds) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.tier_due = due;
        }
    }

    /// The highest tier of a project.
    #[must_use]
    pub fn highest_tier(&self) -> Option<Tier> {
        let tiers = self.entries.values();
        tiers.filter_map(|entry| entry.tier?.value()).max()
    }

    /// Says what projects are read by.
    pub fn set_sources(&mut self, sources: &[Arc<dyn Source>]) {
        self.sources = Sources(sources.to_vec());
    }

    /// How far the first sync is: what was read once of all that is due, since the start.
    pub fn first_sync(&mut self, now: UnixSeconds) -> FirstSync {
        let mut sync = FirstSync::default();
        let shards = self.shards();
        let is_own = |id: &ProjectId| shards.contains(Shard::of(*id));
        for (_, entry) in self.entries.iter_mut().filter(|(id, _)| is_own(id)) {
            let (done, due) = entry.first_reads(&self.sources.0, now);
            sync.done += done;
            sync.due += due;
            sync.projects += usize::from(done == due);
        }
        sync
    }
}

fn names_from_elsewhere(entry: &Entry, parent: ProjectId, own: ProjectId) -> bool {
    entry
        .memory
        .child_pipelines
        .names_from_elsewhere(parent, own)
}
