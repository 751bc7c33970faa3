//! The tracked projects: what is known of each, and when each is to be read for what.

mod end;
mod entry;
mod failures;
mod take;
#[cfg(test)]
mod tests;
pub mod timer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::discovery::Found;
use crate::facts::Reading;
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Role};
use crate::memory::ProjectMemory;
use crate::source::Tracked;
use crate::types::{ProjectId, Text, Tier};

pub use end::{Ended, Outcome};
pub use entry::{Entry, Priority};
pub use take::{Batch, FreeSlots, Taken};

/// The tracked projects, shared by all parts of the program.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Projects>);

impl Registry {
    /// A registry that knows what an earlier process remembered.
    #[must_use]
    pub fn new(remembered: Vec<(ProjectId, Arc<ProjectMemory>)>) -> Self {
        Self(Mutex::new(Projects {
            remembered: remembered.into_iter().collect(),
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
}

/// A project that is no longer tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its id.
    pub id: ProjectId,
    /// The path that its series carry.
    pub path: Text,
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
    /// Removed, or not as they were: discovery looks them up again.
    changed: BTreeSet<ProjectId>,
    /// No longer tracked, and not yet removed from the store.
    to_remove: Vec<Removed>,
}

impl Projects {
    /// Takes in what discovery found; returns the projects that are no longer tracked, also those
    /// that were removed while no process ran, if the listing was complete.
    pub fn update(
        &mut self,
        mut found: Found,
        is_complete: bool,
        now: UnixSeconds,
    ) -> Vec<Removed> {
        // Projects removed while discovery ran are left for the next run.
        found.retain(|id, _| self.entries.contains_key(id) || !self.changed.contains(id));
        let removed: Vec<ProjectId> = self
            .entries
            .keys()
            .filter(|id| !found.contains_key(id))
            .copied()
            .collect();
        let mut removed: Vec<Removed> = removed
            .into_iter()
            .filter_map(|id| self.remove(id))
            .collect();
        self.start.get_or_insert(now);
        for (id, (mut project, settings)) in found {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.set_settings(settings, now);
                let branch = project.default_branch;
                entry.project.default_branch = branch.or(entry.project.default_branch.clone());
                continue;
            }
            let memory = self.remembered.remove(&id).unwrap_or_default();
            // Its series carry this path still: the next run finds that it was renamed.
            if !memory.path.is_empty() {
                project.full_path = memory.path.clone();
            }
            // And if its role fell meanwhile, the next run finds that, too.
            if let Some(role) = memory.role {
                project.role = Known::Value(role);
            }
            self.trackings += 1;
            let entry = Entry::new(self.trackings, project, settings, memory, now);
            self.entries.insert(id, entry);
        }
        self.index();
        if is_complete {
            let lost = std::mem::take(&mut self.remembered).into_iter();
            removed.extend(lost.map(|(id, memory)| Removed {
                id,
                path: memory.path.clone(),
            }));
        }
        removed
    }

    /// Stops tracking a project.
    pub fn remove(&mut self, id: ProjectId) -> Option<Removed> {
        let entry = self.entries.remove(&id)?;
        self.index();
        Some(Removed {
            id,
            path: entry.project.full_path,
        })
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

    /// Has discovery look a project up again.
    pub fn look_up_again(&mut self, id: ProjectId) {
        self.changed.insert(id);
    }

    /// The projects that discovery is to look up again; they are not asked for twice.
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
        entries.any(|(id, entry)| names_from_elsewhere(entry, parent, *id))
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

    /// Whether the tier of a project is to be asked for.
    #[must_use]
    pub fn has_tier_due(&self, now: UnixSeconds) -> bool {
        let mut entries = self.entries.values();
        entries.any(|entry| entry.tier_due <= now)
    }

    /// The projects whose tier is to be asked for, with the role that is known there.
    #[must_use]
    pub fn tiers_due(&self, now: UnixSeconds) -> BTreeMap<ProjectId, Known<Role>> {
        let due = self.iter().filter(|(_, entry)| entry.tier_due <= now);
        due.map(|(id, entry)| (id, entry.project.role)).collect()
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

    /// How many projects have been read whole since the start, or failed.
    #[must_use]
    pub fn read_or_failed(&self) -> usize {
        let read = self.entries.values().filter(|entry| {
            (entry.succeeded_at.is_some() && entry.is_settled()) || entry.feed_fails()
        });
        read.count()
    }
}

fn names_from_elsewhere(entry: &Entry, parent: ProjectId, own: ProjectId) -> bool {
    entry
        .memory
        .child_pipelines
        .names_from_elsewhere(parent, own)
}
