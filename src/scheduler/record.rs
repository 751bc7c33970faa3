//! What follows a reading: measure, record, and end the projects' part in the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::Instrument;

use super::Shared;
use super::measure::{measure, measure_other};
use super::registry::{Entry, Holding, Reading, Rhythm};
use super::run::{Held, forget, lose};
use super::success::Successes;
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::collector::Measured;
use crate::project::ProjectMemory;
use crate::recorder::{ProjectRun, RecordError, Recorder};
use crate::source::change_feed::FeedRead;
use crate::source::refs::RefsRead;
use crate::source::{Facts, Problem, SourceError, Tracked, Unavailable};
use crate::types::ProjectId;

/// Measurements that are held in memory at once, so that a first reading of many projects leaves no
/// peak behind; those of one project stay together.
const PART: usize = 20_000;

/// What a run read of a project.
pub(super) enum Read {
    Feed(FeedRead),
    Refs(RefsRead),
    /// Of any other source.
    Other(Box<dyn Facts>),
}

/// Measures and records what was read. It runs as a task of its own, so that a stop never cuts a
/// run between commit and show.
pub(super) async fn conclude(held: &Held, read: Vec<(ProjectId, Result<Read, SourceError>)>) {
    let (shared, holdings) = (Arc::clone(&held.shared), held.projects.clone());
    let span = tracing::Span::current();
    let reading = held.reading;
    let record = async move { record(&shared, reading, &holdings, read).await };
    let task = tokio::spawn(record.instrument(span));
    if let Err(error) = task.await {
        tracing::error!("a run ended badly: {error}");
        let name = held.shared.name(reading);
        held.shared.observer.failed(name, super::PANIC);
    }
}

async fn record(
    shared: &Shared,
    reading: Reading,
    holdings: &BTreeMap<ProjectId, Holding>,
    mut read: Vec<(ProjectId, Result<Read, SourceError>)>,
) {
    let now = shared.clock.now();
    let mut gone = Vec::new();
    let mut recorder = shared.recorder.lock().await;
    // A project that went meanwhile is not the one that was read, even if it has come back.
    read.retain(|(id, _)| {
        let mut registry = shared.registry();
        let tracking = registry.get_mut(*id).map(|entry| entry.tracking);
        tracking.is_some() && tracking == holdings.get(id).map(|holding| holding.tracking)
    });
    let paths = paths(shared, &read);
    let mut part = Part::default();
    for (id, read) in read {
        match read {
            Ok(read) => {
                tell_problems(shared, (reading, id), read.problems());
                part.measure(shared, &recorder, (reading, id), read, &paths, now);
                if part.measurements >= PART {
                    std::mem::take(&mut part)
                        .record(shared, &mut recorder, now)
                        .await;
                }
            }
            Err(error @ (SourceError::Gone | SourceError::RoleTooLow(_))) if reading.is_core() => {
                shared.observer.failed(shared.name(reading), error.kind());
                gone.extend(lose(shared, id, &error));
            }
            Err(SourceError::Unavailable(why)) => part.unavailable(shared, (reading, id), why),
            Err(error) => failed(shared, reading, id, &error, now),
        }
    }
    part.record(shared, &mut recorder, now).await;
    drop(recorder);
    forget(shared, gone, now).await;
}

/// A part of a run that is measured, and then recorded, together.
#[derive(Default)]
struct Part {
    runs: Vec<ProjectRun>,
    done: Vec<Done>,
    /// How many measurements that is.
    measurements: usize,
}

impl Part {
    fn measure(
        &mut self,
        shared: &Shared,
        recorder: &Recorder,
        (reading, id): (Reading, ProjectId),
        read: Read,
        paths: &Tracked,
        now: UnixSeconds,
    ) {
        let registry = shared.registry();
        let Some(entry) = registry.get(id) else {
            return;
        };
        let mut unavailable = Vec::new();
        let run = match &read {
            Read::Other(facts) => {
                let (run, why) = measure_other(shared, entry, facts.as_ref(), paths, now);
                unavailable = why;
                Some(run)
            }
            read => measure(shared, recorder, (&registry, entry), read, paths, now),
        };
        let memory = run.as_ref().and_then(|run| run.memory.clone());
        self.done.push(Done {
            id,
            reading,
            memory,
            read: Some(read),
            unavailable,
        });
        self.push(run);
    }

    /// Takes the states of a project that has nothing for a source away.
    fn unavailable(
        &mut self,
        shared: &Shared,
        (reading, id): (Reading, ProjectId),
        why: Unavailable,
    ) {
        let mut registry = shared.registry();
        let Some(entry) = registry.get_mut(id) else {
            return;
        };
        let collectors = shared.collectors_of(reading);
        let known = |who: &Collector| entry.unavailable.contains_key(who);
        if !collectors.iter().all(known) {
            let none = |who: &Collector| (*who, Measured::default());
            self.push(Some(ProjectRun {
                project: id,
                memory: Some(Arc::clone(&entry.memory)),
                measured: collectors.iter().map(none).collect(),
                births: Vec::new(),
                retirements: Vec::new(),
            }));
        }
        let unavailable = collectors.iter().map(|who| (*who, Some(why.clone())));
        self.done.push(Done {
            id,
            reading,
            memory: None,
            read: None,
            unavailable: unavailable.collect(),
        });
    }

    fn push(&mut self, run: Option<ProjectRun>) {
        if let Some(run) = run {
            let measured = run.measured.iter();
            self.measurements += measured.map(|(_, measured)| measured.len()).sum::<usize>();
            self.runs.push(run);
        }
    }

    async fn record(self, shared: &Shared, recorder: &mut Recorder, now: UnixSeconds) {
        let recorded = if self.runs.is_empty() {
            Ok(())
        } else {
            let recorded = recorder.record(self.runs, now).await;
            shared.observer.store(is_kept(&recorded));
            recorded
        };
        // The memories are in place before anything else is measured with them.
        end(shared, self.done, &recorded, now);
    }
}

/// Whether the store did its part.
pub(super) const fn is_kept(recorded: &Result<(), RecordError>) -> bool {
    !matches!(recorded, Err(RecordError::Store(_)))
}

/// A project whose reading came to an end.
struct Done {
    id: ProjectId,
    reading: Reading,
    /// Its new memory; none when nothing changed.
    memory: Option<Arc<ProjectMemory>>,
    /// What was read; none where the project has nothing for the source.
    read: Option<Read>,
    /// For each collector of another source, why it has nothing.
    unavailable: Vec<(Collector, Option<Unavailable>)>,
}

fn end(shared: &Shared, done: Vec<Done>, recorded: &Result<(), RecordError>, now: UnixSeconds) {
    let Some(reading) = done.first().map(|done| done.reading) else {
        return;
    };
    if let Err(error) = recorded {
        tracing::error!("{} projects are read again: {error}", done.len());
        shared.observer.failed(shared.name(reading), error.kind());
    }
    let rhythm = shared.rhythm(reading);
    let mut successes = Successes::of(shared.collectors_of(reading));
    let mut registry = shared.registry();
    let mut renamed = false;
    let mut refs_went = BTreeSet::new();
    for done in done {
        let Some(entry) = registry.get_mut(done.id) else {
            continue;
        };
        if let Err(error) = recorded {
            entry.timer_mut(reading).failed(now, rhythm.interval);
            entry.error = Some(error.to_string());
            continue;
        }
        let failures = done.failures();
        successes.add(
            done.read.as_ref(),
            &failures,
            now.since(entry.timer(reading).due),
        );
        entry.failures.replace(reading, failures, now);
        let path = entry.project.full_path.clone();
        if let Some(memory) = &done.memory
            && memory.gone.adds_to(&entry.memory.gone)
        {
            refs_went.insert(done.id);
        }
        if done.end(shared, entry, rhythm, now) {
            renamed |= entry.project.full_path != path;
        }
    }
    if renamed {
        registry.renamed();
    }
    registry.refs_went(&refs_went);
    let lag = successes.lag();
    for collector in successes.collectors(&mut registry, now) {
        shared.observer.succeeded(collector.as_str(), now, lag);
    }
}

impl Done {
    /// Calls that failed, and left the rest of what was read whole: each sentence once, however
    /// many pipelines it is about.
    fn failures(&self) -> Vec<Problem> {
        let problems = self.read.as_ref().map_or(&[][..], Read::problems);
        let mut said = BTreeSet::new();
        let failures = problems.iter().filter(|problem| {
            problem.is_failure && said.insert((problem.collector, &*problem.sentence))
        });
        failures.cloned().collect()
    }

    /// Ends a run that was recorded; whether the project may have another path now.
    fn end(self, shared: &Shared, entry: &mut Entry, rhythm: Rhythm, now: UnixSeconds) -> bool {
        let (slot, reading) = (entry.slot, self.reading);
        if let Some(memory) = self.memory {
            entry.memory = memory;
            if reading.is_core() {
                entry.measured_at = Some(now);
            }
        }
        if entry.is_settled() {
            entry.timer_mut(reading).succeeded(now, rhythm, slot);
        } else {
            entry.timer_mut(reading).go_on(now);
        }
        for (collector, why) in self.unavailable {
            match why {
                Some(why) => entry.unavailable.insert(collector, why),
                None => entry.unavailable.remove(&collector),
            };
        }
        match reading {
            Reading::ChangeFeed => {
                entry.succeeded_at = Some(now);
                entry.error = None;
            }
            Reading::Refs => {}
            other => {
                entry.errors.remove(&other);
            }
        }
        let Some(Read::Feed(read)) = self.read else {
            return false;
        };
        if entry.project.archived != read.project.archived {
            shared.changed().insert(self.id);
        }
        if entry.project.full_path != read.project.full_path {
            // Their states bear the old path.
            entry.hasten_others(now);
        }
        // The change feed does not read it; the last one known stays.
        let branch = entry.project.default_branch.clone();
        entry.project = read.project;
        entry.project.default_branch = entry.project.default_branch.clone().or(branch);
        true
    }
}

impl Read {
    fn problems(&self) -> &[Problem] {
        match self {
            Self::Feed(read) => &read.problems,
            Self::Refs(read) => &read.problems,
            Self::Other(facts) => facts.problems(),
        }
    }
}

/// The paths of all tracked projects, as they are with what was read just now.
fn paths(shared: &Shared, read: &[(ProjectId, Result<Read, SourceError>)]) -> Tracked {
    let mut paths = shared.registry().tracked();
    for (id, read) in read {
        if let Ok(Read::Feed(read)) = read
            && let Some(known) = paths.get(id)
            && *known != read.project.full_path
        {
            Arc::make_mut(&mut paths).insert(*id, read.project.full_path.clone());
        }
    }
    paths
}

fn failed(shared: &Shared, reading: Reading, id: ProjectId, error: &SourceError, now: UnixSeconds) {
    shared.observer.failed(shared.name(reading), error.kind());
    let interval = shared.rhythm(reading).interval;
    let mut registry = shared.registry();
    let Some(entry) = registry.get_mut(id) else {
        return;
    };
    entry.timer_mut(reading).failed(now, interval);
    let text = error.to_string();
    let before = if reading.is_core() {
        entry.error.replace(text.clone())
    } else {
        entry.errors.insert(reading, text.clone())
    };
    if before.as_ref() != Some(&text) {
        tracing::warn!(project = %entry.project.full_path, "{text}");
    }
}

/// Counts each, and says what was not said of the project at its last reading.
fn tell_problems(shared: &Shared, (reading, id): (Reading, ProjectId), problems: &[Problem]) {
    for problem in problems {
        shared.observer.failed(problem.collector, problem.kind);
    }
    let registry = shared.registry();
    let before = registry.get(id).map(|entry| &entry.failures);
    let mut said = BTreeSet::new();
    for problem in problems {
        let is_known = before.is_some_and(|before| before.has(reading, problem));
        if !is_known && said.insert(&problem.sentence) {
            tracing::warn!(collector = problem.collector, "{problem}");
        }
    }
}
