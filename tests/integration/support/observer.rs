//! An observer that remembers what it heard, for tests to ask.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::Activity;
use amazing_gitlab_exporter::clock::UnixSeconds;
use amazing_gitlab_exporter::events::Trigger;
use amazing_gitlab_exporter::observer::Observer;

/// What an exporter's runs told about themselves.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    failed: BTreeMap<(&'static str, &'static str), usize>,
    succeeded: BTreeMap<&'static str, UnixSeconds>,
    tracked: usize,
    missed: usize,
    shown: Vec<(Trigger, Option<Duration>)>,
}

impl Heard {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a collector failed in a way.
    pub fn failures(&self, collector: &str, kind: &str) -> usize {
        let notes = self.notes();
        let found = notes
            .failed
            .iter()
            .find(|(failure, _)| **failure == (collector, kind));
        found.map_or(0, |(_, count)| *count)
    }

    /// Every failure: collector, kind, how often.
    pub fn all_failures(&self) -> BTreeMap<(&'static str, &'static str), usize> {
        self.notes().failed.clone()
    }

    /// When a collector's run last ended well.
    pub fn succeeded_at(&self, collector: &str) -> Option<UnixSeconds> {
        self.notes().succeeded.get(collector).copied()
    }

    /// Changes that no event announced although it should have.
    pub fn missed(&self) -> usize {
        self.notes().missed
    }

    /// What was shown of what moved: what brought it, and how old it was.
    pub fn shown(&self) -> Vec<(Trigger, Option<Duration>)> {
        self.notes().shown.clone()
    }

    /// Projects tracked at the last word.
    pub fn tracked(&self) -> usize {
        self.notes().tracked
    }
}

impl Observer for Heard {
    fn ran(&self, _: Activity, _: Duration) {}

    fn failed(&self, activity: Activity, kind: &'static str) {
        let collector = activity.as_str();
        *self.notes().failed.entry((collector, kind)).or_default() += 1;
    }

    fn succeeded(&self, activity: Activity, at: UnixSeconds, _: Option<Duration>) {
        let collector = activity.as_str();
        self.notes().succeeded.insert(collector, at);
    }

    fn tasks(&self, _: usize, _: usize) {}

    fn projects(&self, tracked: usize, _: f64) {
        self.notes().tracked = tracked;
    }

    fn shown(&self, _: Activity, trigger: Trigger, age: Option<Duration>, _: Option<Duration>) {
        self.notes().shown.push((trigger, age));
    }

    fn events_missed(&self, _: Activity, changes: usize) {
        self.notes().missed += changes;
    }

    fn store(&self, _: bool) {}
}
