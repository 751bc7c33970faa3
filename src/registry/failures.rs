//! Calls for a project that fail while the rest of it is read.

use std::collections::BTreeMap;

use crate::catalogue::Activity;
use crate::clock::UnixSeconds;
use crate::facts::{Problem, Reading};

/// What failed of a project the last time, by the reading it is part of.
#[derive(Clone, Debug, Default)]
pub struct Failures(BTreeMap<Reading, Vec<Failure>>);

#[derive(Clone, Debug)]
struct Failure {
    problem: Problem,
    /// When a call for the same collector first failed, without one reading in which none did.
    since: UnixSeconds,
}

impl Failures {
    /// Takes the place of what failed in a reading before.
    pub fn replace(&mut self, reading: Reading, problems: Vec<Problem>, now: UnixSeconds) {
        let before = self.0.remove(&reading).unwrap_or_default();
        let since = |problem: &Problem| {
            let same = |known: &&Failure| known.problem.activity == problem.activity;
            before.iter().find(same).map_or(now, |known| known.since)
        };
        let failures: Vec<_> = problems
            .into_iter()
            .map(|problem| Failure {
                since: since(&problem),
                problem,
            })
            .collect();
        if !failures.is_empty() {
            self.0.insert(reading, failures);
        }
    }

    /// Whether the same was said of a reading the last time.
    #[must_use]
    pub fn has(&self, reading: Reading, problem: &Problem) -> bool {
        let mut known = self.0.get(&reading).into_iter().flatten();
        known.any(|known| known.problem.sentence == problem.sentence)
    }

    /// Since when a collector waits for an answer, if it does.
    #[must_use]
    pub fn since(&self, activity: Activity) -> Option<UnixSeconds> {
        let all = self.0.values().flatten();
        let of_collector = all.filter(|failure| failure.problem.activity == activity);
        of_collector.map(|failure| failure.since).min()
    }

    /// What to say of it.
    #[must_use]
    pub fn sentence(&self) -> Option<&str> {
        let first = self.0.values().flatten().next();
        first.map(|failure| &*failure.problem.sentence)
    }
}
