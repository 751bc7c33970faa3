//! Names of jobs that have counters and histograms, and when a pipeline of their ref last had each.
//!
//! Jobs are renamed and removed, and generated ones have names that never come again: what was counted under
//! them is removed some time after the last pipeline that had them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::jobs::JobsMemory;
use crate::clock::UnixSeconds;
use crate::types::Text;

/// How long the series of a name stay after the last pipeline that had it.
pub const QUIET: Duration = Duration::from_secs(30 * 24 * 3600);

/// How exactly that is noted: what runs is read at each poll, and is not to be written each time.
const EXACT: Duration = Duration::from_secs(3600);

/// A job by the labels of its series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobName {
    /// `ref`.
    pub git_ref: Text,
    /// `stage`.
    pub stage: Text,
    /// `job_name`.
    pub name: Text,
}

/// When a pipeline last had each name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobNames(pub(crate) BTreeMap<JobName, UnixSeconds>);

impl JobNames {
    /// Notes a name that has series, as last had at `at`, unless a later time is known.
    pub fn note(&mut self, name: JobName, at: UnixSeconds) {
        let last = self.0.entry(name).or_insert(at);
        if at.since(*last) >= EXACT {
            *last = at;
        }
    }

    /// Forgets the names that no pipeline has had for long, and returns them. Those of the newest pipeline of a
    /// ref stay, though it is old: its states are shown.
    #[must_use]
    pub fn remove_unused(&mut self, now: UnixSeconds, jobs: &JobsMemory) -> Vec<JobName> {
        let is_quiet = |last: &UnixSeconds| now.since(*last) > QUIET;
        if !self.0.values().any(is_quiet) {
            return Vec::new();
        }
        let shown: BTreeSet<JobName> = jobs.names().collect();
        let mut removed = Vec::new();
        self.0.retain(|name, last| {
            let stays = !is_quiet(last) || shown.contains(name);
            removed.extend((!stays).then(|| name.clone()));
            stays
        });
        removed
    }

    /// Forgets the names of refs whose series were removed; `stays` is asked with the label `ref`.
    pub fn retain_refs(&mut self, stays: impl Fn(&Text) -> bool) {
        self.0.retain(|name, _| stays(&name.git_ref));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> JobName {
        JobName {
            git_ref: "main".into(),
            stage: "test".into(),
            name: name.into(),
        }
    }

    #[test]
    fn times_are_noted_by_the_hour() {
        let mut names = JobNames::default();
        for at in [1000, 1060, 4599] {
            names.note(name("unit"), UnixSeconds(at));
            assert_eq!(names.0[&name("unit")], UnixSeconds(1000));
        }
        names.note(name("unit"), UnixSeconds(4600));
        assert_eq!(names.0[&name("unit")], UnixSeconds(4600));
    }
}
