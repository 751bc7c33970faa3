//! The tracked projects, and when each is to be read next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::discovery::Found;
use crate::gitlab::model::{Project, ProjectId, Text};
use crate::project::ProjectMemory;
use crate::source::{Target, Tracked};

/// A failing project is read less and less often, down to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(300);

/// When a source reads a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    /// Not before this.
    pub due: UnixSeconds,
    /// A run holds the project: there are never two at once.
    pub running: bool,
    /// Runs that failed in a row.
    pub failures: u32,
}

impl Timer {
    fn is_due(&self, now: UnixSeconds) -> bool {
        !self.running && self.due <= now
    }

    /// Ends a run that succeeded. The rhythm stays: due times do not creep with the length of
    /// runs, and what was missed is not made up for.
    pub fn succeeded(&mut self, now: UnixSeconds, interval: Duration) {
        self.running = false;
        self.failures = 0;
        let next = self.due.plus(interval);
        self.due = if next > now { next } else { now.plus(interval) };
    }

    /// Ends a run that failed; the next waits longer with each failure in a row.
    pub fn failed(&mut self, now: UnixSeconds, interval: Duration) {
        self.running = false;
        self.failures = self.failures.saturating_add(1);
        let back_off = interval
            .saturating_mul(1 << self.failures.min(8))
            .min(MAX_BACK_OFF);
        self.due = now.plus(back_off.max(interval));
    }
}

/// A tracked project.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As it was last seen.
    pub project: Project,
    /// Its settings.
    pub settings: Arc<ProjectSettings>,
    /// What is remembered of it.
    pub memory: Arc<ProjectMemory>,
    /// The change feed.
    pub feed: Timer,
    /// How much later than its first look plus the interval its second look is due: so batches that
    /// were found together spread over the interval.
    pub phase: Duration,
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
    /// The project as a source reads it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            project: self.project.clone(),
            settings: Arc::clone(&self.settings),
            memory: Arc::clone(&self.memory),
        }
    }
}

/// A project that is tracked no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Its id.
    pub id: ProjectId,
    /// The path its series bear.
    pub path: Text,
}

/// How often projects are read, and how many together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rhythm {
    /// Between two looks at a project.
    pub interval: Duration,
    /// Projects in one batch.
    pub batch: usize,
}

impl Rhythm {
    /// The phase of the project number `place` of `count` that were found together.
    fn phase(self, place: usize, count: usize) -> Duration {
        let batch = self.batch.max(1);
        let batches = u32::try_from(count.div_ceil(batch).max(1)).unwrap_or(u32::MAX);
        let number = u32::try_from(place / batch).unwrap_or(u32::MAX);
        (self.interval / batches).saturating_mul(number)
    }
}

/// All tracked projects.
#[derive(Debug, Default)]
pub struct Registry {
    entries: BTreeMap<ProjectId, Entry>,
    tracked: Tracked,
    rhythm: Rhythm,
    /// Memories of an earlier process, for projects that discovery has yet to find.
    remembered: BTreeMap<ProjectId, Arc<ProjectMemory>>,
}

impl Registry {
    /// A registry that knows what an earlier process remembered.
    #[must_use]
    pub fn new(rhythm: Rhythm, remembered: Vec<(ProjectId, Arc<ProjectMemory>)>) -> Self {
        Self {
            rhythm,
            remembered: remembered.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes in what discovery found; gives the projects that are tracked no more.
    pub fn update(&mut self, found: Found, now: UnixSeconds) -> Vec<Gone> {
        let gone: Vec<ProjectId> = self
            .entries
            .keys()
            .filter(|id| !found.contains_key(id))
            .copied()
            .collect();
        let gone = gone.into_iter().filter_map(|id| self.remove(id)).collect();
        let new = found
            .keys()
            .filter(|id| !self.entries.contains_key(id))
            .count();
        let mut place = 0;
        for (id, (project, settings)) in found {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.settings = settings;
                continue;
            }
            let memory = self.remembered.remove(&id).unwrap_or_default();
            let timer = Timer {
                due: now,
                ..Timer::default()
            };
            let entry = Entry {
                project,
                settings,
                memory,
                feed: timer,
                phase: self.rhythm.phase(place, new),
                refs: timer,
                measured_at: None,
                succeeded_at: None,
                error: None,
            };
            place += 1;
            self.entries.insert(id, entry);
        }
        self.index();
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

    fn index(&mut self) {
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

    /// Takes the projects whose change feed is due, in at most `batches` batches; those whose
    /// watermarks are near each other go together, since a batch is read from its earliest on.
    pub fn take_feed(&mut self, now: UnixSeconds, size: usize, batches: usize) -> Vec<Vec<Target>> {
        let mut due: Vec<&mut Entry> = self
            .entries
            .values_mut()
            .filter(|entry| entry.feed.is_due(now))
            .collect();
        due.sort_by_key(|entry| {
            (
                entry.succeeded_at.is_some(),
                entry.feed.due,
                entry.memory.feed.as_ref().map(|feed| feed.watermark),
            )
        });
        take(due, size, batches, |entry| &mut entry.feed)
    }

    /// Takes the projects whose refs are to be looked at, in at most `batches` batches.
    pub fn take_refs(&mut self, now: UnixSeconds, size: usize, batches: usize) -> Vec<Vec<Target>> {
        let due = self
            .entries
            .values_mut()
            .filter(|entry| entry.refs.is_due(now) && entry.memory.feed.is_some())
            .filter(|entry| entry.memory.refs.is_due(&entry.project, now))
            .collect();
        take(due, size, batches, |entry| &mut entry.refs)
    }

    /// How many projects wait for their change feed.
    #[must_use]
    pub fn due(&self, now: UnixSeconds) -> usize {
        self.entries
            .values()
            .filter(|entry| entry.feed.is_due(now))
            .count()
    }
}

fn take(
    due: Vec<&mut Entry>,
    size: usize,
    batches: usize,
    timer: impl Fn(&mut Entry) -> &mut Timer,
) -> Vec<Vec<Target>> {
    let mut due = due
        .into_iter()
        .take(size.saturating_mul(batches))
        .peekable();
    let mut taken = Vec::new();
    while due.peek().is_some() {
        let batch = due.by_ref().take(size).map(|entry| {
            timer(entry).running = true;
            entry.target()
        });
        taken.push(batch.collect());
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitlab::model::Known;

    const NOW: UnixSeconds = UnixSeconds(1_000);
    const INTERVAL: Duration = Duration::from_secs(30);

    fn found(count: u64) -> Found {
        let project = |id| Project {
            id: ProjectId(id),
            full_path: format!("g/p{id}").into(),
            default_branch: Known::Unread,
            archived: false,
            last_activity_at: None,
            role: Known::Unread,
        };
        (1..=count)
            .map(|id| (ProjectId(id), (project(id), Arc::default())))
            .collect()
    }

    fn registry(count: u64) -> Registry {
        let rhythm = Rhythm {
            interval: INTERVAL,
            batch: 10,
        };
        let mut registry = Registry::new(rhythm, Vec::new());
        registry.update(found(count), NOW);
        registry
    }

    #[test]
    fn batches_found_together_spread_over_the_interval() {
        let registry = registry(30);
        let phases: Vec<u64> = registry
            .iter()
            .map(|(_, entry)| entry.phase.as_secs())
            .collect();
        assert_eq!(phases[..10], [0; 10]);
        assert_eq!(phases[10..20], [10; 10]);
        assert_eq!(phases[20..], [20; 10]);
    }

    #[test]
    fn a_project_is_in_one_run_at_a_time() {
        let mut registry = registry(25);
        let taken = registry.take_feed(NOW, 10, 2);
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
        let rest = registry.take_feed(NOW, 10, 8);
        assert_eq!(rest.iter().map(Vec::len).collect::<Vec<_>>(), [5]);
        assert!(registry.take_feed(NOW, 10, 8).is_empty(), "all are running");
        let one = registry.get_mut(ProjectId(1)).unwrap();
        one.feed.succeeded(NOW, INTERVAL);
        assert!(registry.take_feed(NOW, 10, 8).is_empty(), "not due yet");
        assert_eq!(registry.take_feed(NOW.plus(INTERVAL), 10, 8).len(), 1);
    }

    #[test]
    fn a_failing_project_waits_longer_each_time_and_recovers_at_once() {
        let mut timer = Timer {
            due: NOW,
            ..Timer::default()
        };
        let mut waits = Vec::new();
        for _ in 0..6 {
            timer.failed(NOW, INTERVAL);
            waits.push(timer.due.since(NOW).as_secs());
        }
        assert_eq!(waits, [60, 120, 240, 300, 300, 300]);
        timer.succeeded(NOW.plus(MAX_BACK_OFF), INTERVAL);
        assert_eq!(timer.failures, 0);
        assert_eq!(timer.due, NOW.plus(MAX_BACK_OFF).plus(INTERVAL));
    }

    #[test]
    fn due_times_do_not_creep_with_the_length_of_runs() {
        let mut timer = Timer {
            due: NOW,
            ..Timer::default()
        };
        timer.succeeded(NOW.plus(Duration::from_secs(7)), INTERVAL);
        assert_eq!(timer.due, NOW.plus(INTERVAL));
        let late = NOW.plus(Duration::from_secs(500));
        timer.succeeded(late, INTERVAL);
        assert_eq!(
            timer.due,
            late.plus(INTERVAL),
            "what was missed is not made up for"
        );
    }
}
