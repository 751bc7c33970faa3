//! One run: read, measure, record. Times, traces, logs and counts errors for all collectors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Instrument, info_span};

use super::registry::{Entry, Gone, Holding, Reading};
use super::{Shared, retire};
use crate::clock::UnixSeconds;
use crate::collector::refs::{Candidate, RefName, is_gone};
use crate::collector::{Feed, Subject};
use crate::gitlab::model::ProjectId;
use crate::project::ProjectMemory;
use crate::recorder::{ProjectRun, RecordError, Recorder};
use crate::series::Retirement;
use crate::source::change_feed::FeedRead;
use crate::source::refs::RefsRead;
use crate::source::{Problem, SourceError, Target, Tracked};

/// States are measured again at least this often: ages move though nothing else does.
const MEASURE_INTERVAL: Duration = Duration::from_secs(600);

/// Measurements that are held in memory at once, so that a first reading of many projects leaves no
/// peak behind; those of one project stay together.
const PART: usize = 20_000;

/// What a run read of a project.
enum Read {
    Feed(FeedRead),
    Refs(RefsRead),
}

/// The projects that a run holds; they are free again when it ends, however it does.
struct Held {
    shared: Arc<Shared>,
    reading: Reading,
    projects: BTreeMap<ProjectId, Holding>,
}

impl Held {
    fn new(shared: &Arc<Shared>, reading: Reading, targets: &[Target]) -> Self {
        let mut registry = shared.registry();
        let projects = targets.iter().map(|target| {
            let entry = registry.get_mut(target.id());
            let ended = entry.map_or(0, |entry| entry.timer(reading).ended);
            let tracking = target.tracking;
            (target.id(), Holding { tracking, ended })
        });
        let projects = projects.collect();
        drop(registry);
        Self {
            projects,
            shared: Arc::clone(shared),
            reading,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (now, interval) = (self.shared.clock.now(), self.shared.feed_interval);
        let mut registry = self.shared.registry();
        for (id, holding) in &self.projects {
            registry.release(self.reading, *id, *holding, now, interval);
        }
    }
}

/// Looks projects up, and lets go of those that are no more.
pub(super) async fn discover(shared: Arc<Shared>) {
    let now = shared.clock.now();
    let started = Instant::now();
    let span = info_span!("run", otel.name = "discovery run");
    let (mut found, errors) = {
        let mut discovery = shared.discovery.lock().await;
        for id in std::mem::take(&mut *shared.changed()) {
            discovery.forget(id);
        }
        discovery.look(now).instrument(span).await
    };
    // What went meanwhile is for the next time to find, if it is there again.
    let changed = shared.changed().clone();
    let tracked = shared.registry().tracked();
    found.retain(|id, _| tracked.contains_key(id) || !changed.contains(id));
    for error in &errors {
        tracing::warn!("{error}");
        shared.observer.failed(super::DISCOVERY, error.error.kind());
    }
    // What is not there hides nothing.
    let is_complete = errors.iter().all(|error| error.error.means_gone());
    let gone = shared.registry().update(found, is_complete, now);
    forget(&shared, gone, now).await;
    shared.observer.ran(super::DISCOVERY, started.elapsed());
    if errors.is_empty() {
        shared
            .observer
            .succeeded(super::DISCOVERY, now, Duration::ZERO);
    }
    tell_projects(&shared);
}

/// Takes away the series that are gone.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let now = shared.clock.now();
    forget(&shared, Vec::new(), now).await;
    // Whoever holds it commits, too, and the next sweep is soon.
    let Ok(mut recorder) = shared.recorder.try_lock() else {
        return;
    };
    let swept = recorder.sweep(now).await;
    drop(recorder);
    if let Err(error) = &swept {
        shared.observer.store(is_kept(&swept));
        tracing::warn!("series that are gone stay for now: {error}");
    }
}

/// Looks at a batch of projects for what moved.
pub(super) async fn change_feed(shared: Arc<Shared>, targets: Vec<Target>) {
    let started = Instant::now();
    let held = Held::new(&shared, Reading::ChangeFeed, &targets);
    let tracked = shared.registry().tracked();
    let span = info_span!(
        "run",
        otel.name = "change_feed run",
        projects = targets.len()
    );
    let read = shared
        .feed
        .fetch(&targets, &tracked)
        .instrument(span.clone())
        .await;
    let read = read
        .into_iter()
        .map(|(id, read)| (id, read.map(Read::Feed)))
        .collect();
    conclude(&held, read).instrument(span).await;
    for collector in shared.collectors.enabled() {
        shared.observer.ran(collector.as_str(), started.elapsed());
    }
    tell_projects(&shared);
}

/// Looks at the refs of a batch of projects.
pub(super) async fn refs(shared: Arc<Shared>, targets: Vec<Target>) {
    let started = Instant::now();
    let held = Held::new(&shared, Reading::Refs, &targets);
    let now = shared.clock.now();
    let span = info_span!("run", otel.name = "refs run", projects = targets.len());
    let read = shared
        .refs
        .fetch(&targets, now)
        .instrument(span.clone())
        .await;
    let read = read
        .into_iter()
        .map(|(id, read)| (id, read.map(Read::Refs)))
        .collect();
    conclude(&held, read).instrument(span).await;
    shared.observer.ran(super::REFS, started.elapsed());
}

/// Measures and records what was read. It runs as a task of its own, so that a stop never cuts a
/// run between commit and show.
async fn conclude(held: &Held, read: Vec<(ProjectId, Result<Read, SourceError>)>) {
    let (shared, holdings) = (Arc::clone(&held.shared), held.projects.clone());
    let span = tracing::Span::current();
    let reading = held.reading;
    let record = async move { record(&shared, reading, &holdings, read).await };
    let task = tokio::spawn(record.instrument(span));
    if let Err(error) = task.await {
        tracing::error!("a run ended badly: {error}");
        held.shared.observer.failed("pipelines", super::PANIC);
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
                tell_problems(shared, read.problems());
                part.measure(shared, &recorder, id, read, &paths, now);
                if part.measurements >= PART {
                    std::mem::take(&mut part)
                        .record(shared, &mut recorder, now)
                        .await;
                }
            }
            Err(error @ (SourceError::Gone | SourceError::RoleTooLow(_))) => {
                shared.observer.failed("pipelines", error.kind());
                gone.extend(lose(shared, id, &error));
            }
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
        id: ProjectId,
        read: Read,
        paths: &Tracked,
        now: UnixSeconds,
    ) {
        let mut registry = shared.registry();
        let Some(entry) = registry.get_mut(id) else {
            return;
        };
        let run = measure(shared, recorder, entry, &read, paths, now);
        let memory = run.as_ref().and_then(|run| run.memory.clone());
        self.done.push(Done { id, memory, read });
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
const fn is_kept(recorded: &Result<(), RecordError>) -> bool {
    !matches!(recorded, Err(RecordError::Store(_)))
}

/// A project whose reading came to an end.
struct Done {
    id: ProjectId,
    /// Its new memory; none when nothing changed.
    memory: Option<Arc<ProjectMemory>>,
    read: Read,
}

fn end(shared: &Shared, done: Vec<Done>, recorded: &Result<(), RecordError>, now: UnixSeconds) {
    if let Err(error) = recorded {
        tracing::error!("{} projects are read again: {error}", done.len());
        shared.observer.failed("pipelines", error.kind());
    }
    let mut lag = None;
    let mut registry = shared.registry();
    let mut renamed = false;
    for Done { id, memory, read } in done {
        let Some(entry) = registry.get_mut(id) else {
            continue;
        };
        let (interval, slot) = (shared.feed_interval, entry.slot);
        let reading = match &read {
            Read::Feed(_) => Reading::ChangeFeed,
            Read::Refs(_) => Reading::Refs,
        };
        if let Err(error) = recorded {
            entry.timer_mut(reading).failed(now, interval);
            entry.error = Some(error.to_string());
            continue;
        }
        if let Some(memory) = memory {
            entry.memory = memory;
            entry.measured_at = Some(now);
        }
        let late = now.since(entry.timer(reading).due);
        if entry.is_settled() {
            entry.timer_mut(reading).succeeded(now, interval, slot);
        } else {
            entry.timer_mut(reading).go_on(now);
        }
        if reading == Reading::ChangeFeed {
            entry.succeeded_at = Some(now);
            entry.error = None;
            lag = lag.max(Some(late));
        }
        if let Read::Feed(read) = read {
            renamed |= entry.project.full_path != read.project.full_path;
            if entry.project.archived != read.project.archived {
                shared.changed().insert(id);
            }
            entry.project = read.project;
        }
    }
    if renamed {
        registry.renamed();
    }
    drop(registry);
    if let Some(lag) = lag {
        for collector in shared.collectors.enabled() {
            shared.observer.succeeded(collector.as_str(), now, lag);
        }
    }
}

impl Read {
    fn problems(&self) -> &[Problem] {
        match self {
            Self::Feed(read) => &read.problems,
            Self::Refs(read) => &read.problems,
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

/// Lets the collectors measure; nothing when nothing moved and the states are fresh.
fn measure(
    shared: &Shared,
    recorder: &Recorder,
    entry: &Entry,
    read: &Read,
    paths: &Tracked,
    now: UnixSeconds,
) -> Option<ProjectRun> {
    let fresh = entry
        .measured_at
        .is_some_and(|at| now.since(at) < MEASURE_INTERVAL);
    let mut memory = ProjectMemory::clone(&entry.memory);
    let mut path = entry.project.full_path.clone();
    let feed = match read {
        Read::Feed(read) => {
            let has_moved = read.project.full_path != path;
            if read.quiet && fresh && !has_moved {
                return None;
            }
            path = read.project.full_path.clone();
            memory.feed.clone_from(&read.state);
            read.feed.clone()
        }
        Read::Refs(read) => {
            memory.refs = read.state.clone();
            memory.refs_seen = read.seen.clone();
            let followed = memory
                .feed
                .iter()
                .flat_map(|feed| feed.followed.keys().copied());
            Feed {
                pipelines: read.found.clone(),
                followed: followed.collect(),
                deleted: read.deleted.clone(),
            }
        }
    };
    memory.path = path.clone();
    if let Read::Feed(read) = read {
        memory.role = read.project.role.value();
    }
    let mut refs = memory.latest_refs();
    for facts in &feed.pipelines {
        let latest = refs.entry(RefName::of(&facts.pipeline)).or_default();
        *latest = facts.pipeline.created_at.max(*latest);
    }
    let seen = memory.refs_seen.clone();
    let subject = Subject {
        id: entry.project.id,
        project: &path,
        paths,
        settings: &entry.settings,
        max_pipelines_per_ref: shared.max_pipelines_per_ref,
        refs: &seen,
        now,
    };
    let mut measured = shared.collectors.measure(subject, &feed, &mut memory);
    let after: BTreeSet<RefName> = memory.latest_refs().into_keys().collect();
    // What ended on a ref that was let go before has shown its series again.
    refs.retain(|name, newest| {
        let newest = *newest;
        !after.contains(name) && is_gone(Candidate { name, newest }, &entry.settings, &seen)
    });
    let mut retirements = retire::refs(&path, refs.keys(), &after);
    retire::withhold_births(&mut measured, &retirements);
    let mut births = Vec::new();
    if path != entry.project.full_path {
        tracing::info!(from = %entry.project.full_path, to = %path, "a project has a new path");
        births = recorder.renamed(&entry.project.full_path, &path);
        retirements.extend(retire::path(&entry.project.full_path));
    }
    Some(ProjectRun {
        project: entry.project.id,
        memory: Some(Arc::new(memory)),
        measured,
        births,
        retirements,
    })
}

fn failed(shared: &Shared, reading: Reading, id: ProjectId, error: &SourceError, now: UnixSeconds) {
    shared.observer.failed("pipelines", error.kind());
    let mut registry = shared.registry();
    let Some(entry) = registry.get_mut(id) else {
        return;
    };
    entry.timer_mut(reading).failed(now, shared.feed_interval);
    let text = error.to_string();
    if entry.error.as_ref() != Some(&text) {
        tracing::warn!(project = %entry.project.full_path, "{text}");
    }
    entry.error = Some(text);
}

/// Stops tracking a project that GitLab does not show any more.
fn lose(shared: &Shared, id: ProjectId, error: &SourceError) -> Option<Gone> {
    let gone = shared.registry().remove(id)?;
    tracing::info!(project = %gone.path, "tracked no more: {error}");
    shared.changed().insert(id);
    Some(gone)
}

/// Forgets projects that are tracked no more, with all their series; those, too, that could not be
/// forgotten before.
async fn forget(shared: &Shared, gone: Vec<Gone>, now: UnixSeconds) {
    let mut lost = std::mem::take(&mut *shared.lost());
    lost.extend(gone);
    // One that is back in the meantime is not to be forgotten.
    let tracked = shared.registry().tracked();
    lost.retain(|gone| !tracked.contains_key(&gone.id));
    if lost.is_empty() {
        return;
    }
    let runs = lost.iter().cloned().map(|Gone { id, path }| ProjectRun {
        project: id,
        memory: None,
        measured: Vec::new(),
        births: Vec::new(),
        retirements: vec![Retirement::Project { id, path }],
    });
    let mut recorder = shared.recorder.lock().await;
    let forgotten = recorder.record(runs.collect(), now).await;
    drop(recorder);
    shared.observer.store(is_kept(&forgotten));
    if let Err(error) = forgotten {
        tracing::error!("projects that are gone are forgotten later: {error}");
        shared.lost().extend(lost);
    }
}

fn tell_problems(shared: &Shared, problems: &[Problem]) {
    for problem in problems {
        tracing::warn!(collector = problem.collector, "{problem}");
        shared.observer.failed(problem.collector, problem.kind);
    }
}

fn tell_projects(shared: &Shared) {
    let registry = shared.registry();
    let read = registry.iter().filter(|(_, entry)| {
        let succeeded = entry.succeeded_at.is_some() && entry.is_settled();
        succeeded || entry.error.is_some()
    });
    shared.observer.projects(registry.len(), read.count());
}
