//! How a run ended for a project, and what follows for the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Projects;
use super::entry::Priority;
use super::take::rhythm;
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::memory::ProjectMemory;
use crate::source::Source;
use crate::types::{ProjectId, Text};

/// What GitLab refused is asked for again this much later, or when the token or its rights changed.
const REFUSED: Duration = Duration::from_secs(900);

/// A project whose part in a run was measured.
#[derive(Debug)]
pub struct Ended {
    /// The project.
    pub id: ProjectId,
    /// Its new memory; none when nothing changed.
    pub memory: Option<Arc<ProjectMemory>>,
    /// What was read; none where the project has nothing for the source.
    pub facts: Option<Facts>,
    /// For each collector that measured, why it has nothing.
    pub unavailable: Vec<(Collector, Option<Unavailable>)>,
}

impl Ended {
    /// Calls that failed and left the rest of what was read whole: each sentence once, whatever the
    /// number of pipelines it is about.
    #[must_use]
    pub fn failures(&self) -> Vec<Problem> {
        let problems = self.facts.as_ref().map_or(&[][..], Facts::problems);
        let mut said = BTreeSet::new();
        let failures = problems.iter().filter(|problem| {
            problem.is_failure && said.insert((problem.activity, &*problem.sentence))
        });
        failures.cloned().collect()
    }
}

/// How a run ended for a project.
#[derive(Debug)]
pub enum Outcome {
    /// It was recorded.
    Recorded(Box<Ended>),
    /// It was measured, and could not be recorded for this reason: it is read again.
    NotRecorded(ProjectId, String),
    /// It could not be read for this reason.
    Failed(ProjectId, String),
}

impl Projects {
    /// Ends a run for some projects.
    pub fn end(&mut self, source: &dyn Source, outcomes: Vec<Outcome>, now: UnixSeconds) {
        let mut is_renamed = false;
        let mut refs_went = BTreeSet::new();
        for outcome in outcomes {
            match outcome {
                Outcome::Recorded(ended) => {
                    let before = self
                        .entries
                        .get(&ended.id)
                        .map(|entry| &entry.memory.removed_refs);
                    if let (Some(before), Some(memory)) = (before, &ended.memory)
                        && memory.removed_refs.adds_to(before)
                    {
                        refs_went.insert(ended.id);
                    }
                    is_renamed |= self.recorded(source, *ended, now);
                }
                Outcome::NotRecorded(id, why) | Outcome::Failed(id, why) => {
                    self.failed(source, id, why, now);
                }
            }
        }
        if is_renamed {
            self.renamed();
        }
        self.refs_went(&refs_went);
        if let Some(outbox) = self.outbox() {
            outbox.noted.extend(refs_went);
        }
    }

    /// A project is not as it was: who looks for projects polls its entry again.
    fn changed(&mut self, id: ProjectId) {
        match self.leads() {
            true => _ = self.changed.insert(id),
            false => {
                if let Some(outbox) = self.outbox() {
                    outbox.changed.insert(id);
                }
            }
        }
    }

    /// Whether the project has another path now.
    fn recorded(&mut self, source: &dyn Source, ended: Ended, now: UnixSeconds) -> bool {
        let reading = source.reading();
        let Some(entry) = self.entries.get_mut(&ended.id) else {
            return false;
        };
        let failures = ended.failures();
        let was_hinted = entry.events.has_marks(reading);
        entry.failures.replace(reading, failures, now);
        let is_backfill = matches!(ended.facts, Some(Facts::Backfill(_)));
        if let Some(memory) = ended.memory {
            entry.memory = memory;
            if matches!(
                ended.facts,
                Some(Facts::Feed(_) | Facts::Backfill(_) | Facts::Refs(_))
            ) {
                entry.measured_at = Some(now);
            }
        }
        let rhythm = rhythm(source, entry, now);
        let is_refused = ended
            .unavailable
            .iter()
            .any(|(_, why)| matches!(why, Some(Unavailable::Forbidden(_))));
        if is_refused {
            let slot = entry.slot;
            let timer = entry.timer_mut(reading);
            timer.succeeded(now, rhythm, slot);
            timer.not_before(now.plus(REFUSED));
        } else if entry.is_settled() || !is_backfill {
            let slot = entry.slot;
            entry.timer_mut(reading).succeeded(now, rhythm, slot);
        } else {
            entry.timer_mut(reading).go_on(now);
        }
        for (collector, why) in ended.unavailable {
            match why {
                Some(why) => {
                    entry.unavailable.insert(collector, why);
                    entry.unavailable_since.entry(collector).or_insert(now);
                }
                None => {
                    entry.unavailable.remove(&collector);
                    entry.unavailable_since.remove(&collector);
                }
            }
        }
        match ended.facts.as_ref().and_then(Facts::partly_hidden) {
            Some((family, false)) => {
                entry.hidden_since.remove(&family);
            }
            // Where it was never shown, nothing has been counted.
            Some((family, true)) if entry.memory.repository.commits.is_some() => {
                entry.hidden_since.entry(family).or_insert(now);
            }
            _ => {}
        }
        entry.errors.remove(&reading);
        let Some(Facts::Feed(read)) = ended.facts else {
            return false;
        };
        entry.succeeded_at = Some(now);
        let is_renamed = entry.project.full_path != read.project.full_path;
        let other_features = entry.project.features != read.project.features;
        if other_features {
            entry.permissions_due = now;
        }
        // States carry the old path, or are those of a feature that was switched off or on.
        if is_renamed || other_features {
            entry.read_others_at_once(now);
        }
        if !read.quiet || read.project.last_activity_at > entry.project.last_activity_at {
            entry.wake(now);
        }
        // What follows the end of a pipeline does not wait for its own interval either.
        if was_hinted && !read.quiet {
            for reading in [Reading::TestReports, Reading::Variables] {
                if let Some(timer) = entry.timers.get_mut(&reading) {
                    timer.hasten(now);
                }
            }
        }
        let is_other = entry.project.archived != read.project.archived;
        // The change feed does not read it; the last one known stays.
        let branch = entry.project.default_branch.clone();
        entry.project = read.project;
        entry.project.default_branch = entry.project.default_branch.clone().or(branch);
        if is_other {
            self.changed(ended.id);
        }
        if is_renamed && let Some(outbox) = self.outbox() {
            outbox.noted.insert(ended.id);
        }
        is_renamed
    }

    fn failed(&mut self, source: &dyn Source, id: ProjectId, why: String, now: UnixSeconds) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let interval = rhythm(source, entry, now).interval;
        entry.timer_mut(source.reading()).failed(now, interval);
        entry.errors.insert(source.reading(), why);
    }

    /// Why the last run of a source failed for a project, and its path; none if it is not tracked.
    #[must_use]
    pub fn last_error(&self, source: &dyn Source, id: ProjectId) -> Option<(Text, Option<&str>)> {
        let entry = self.entries.get(&id)?;
        let error = entry.errors.get(&source.reading()).map(String::as_str);
        Some((entry.project.full_path.clone(), error))
    }

    /// How much later than due a project was read; nothing where it was read for the first time, or for its
    /// past: backfill has no interval to be late against.
    #[must_use]
    pub fn lag(&self, source: &dyn Source, id: ProjectId, now: UnixSeconds) -> Option<Duration> {
        let entry = self.entries.get(&id)?;
        let is_backfill = entry.priority(source) == Priority::Backfill;
        (!is_backfill).then(|| now.since(entry.timer(source.reading()).due))
    }

    /// Notes that GitLab answered what a collector asked.
    pub fn answered(&mut self, collector: Collector, now: UnixSeconds) {
        self.answered.insert(collector, now);
    }

    /// Whether a collector waits for an answer in some project and has had none anywhere since.
    #[must_use]
    pub fn waits_for_answer(&self, collector: Collector) -> bool {
        let answered = self.answered.get(&collector).copied();
        let mut failures = self.entries.values().map(|entry| &entry.failures);
        failures.any(|failures| failures.since(collector.into()) > answered)
    }

    /// How many projects collectors have nothing of, by collector and reason.
    #[must_use]
    pub fn unavailable(&self) -> BTreeMap<(Collector, &'static str), usize> {
        let mut counts = BTreeMap::new();
        let entries = self.entries.values();
        for (collector, why) in entries.flat_map(|entry| &entry.unavailable) {
            *counts.entry((*collector, why.kind())).or_default() += 1;
        }
        counts
    }

    /// Whether no project has anything for a collector; never so while none is tracked.
    #[must_use]
    pub fn is_unavailable(&self, collector: Collector) -> bool {
        let mut entries = self.entries.values();
        !self.entries.is_empty() && entries.all(|entry| entry.unavailable.contains_key(&collector))
    }
}
