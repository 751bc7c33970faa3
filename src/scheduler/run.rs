//! One run: read, then [`conclude`]. Times, traces, logs and counts errors for all collectors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Instrument, info_span};

use super::Shared;
use super::record::{Read, conclude, is_kept};
use super::registry::{Gone, Holding, Reading};
use crate::clock::UnixSeconds;
use crate::discovery::Scope;
use crate::recorder::ProjectRun;
use crate::series::Retirement;
use crate::source::{AnySource, SourceError, Target};
use crate::types::ProjectId;

/// The projects that a run holds; they are free again when it ends, however it does.
pub(super) struct Held {
    pub(super) shared: Arc<Shared>,
    pub(super) reading: Reading,
    pub(super) projects: BTreeMap<ProjectId, Holding>,
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
        let now = self.shared.clock.now();
        let interval = self.shared.rhythm(self.reading).interval;
        let mut registry = self.shared.registry();
        for (id, holding) in &self.projects {
            registry.release(self.reading, *id, *holding, now, interval);
        }
    }
}

/// Looks projects up, and lets go of those that are no more.
pub(super) async fn discover(shared: Arc<Shared>, scope: Scope) {
    let now = shared.clock.now();
    let started = Instant::now();
    let span = info_span!("run", otel.name = "discovery run");
    let (mut found, errors) = {
        let mut discovery = shared.discovery.lock().await;
        // Another try of some entries would not find what the others list.
        if scope == Scope::All {
            for id in std::mem::take(&mut *shared.changed()) {
                discovery.forget(id);
            }
        }
        discovery.look(scope, now).instrument(span.clone()).await
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
    shared
        .discovery_retry()
        .ended(!is_complete, shared.clock.now());
    let gone = shared.registry().update(found, is_complete, now);
    forget(&shared, gone, now).await;
    let took = started.elapsed();
    span.in_scope(|| shared.observer.ran(super::DISCOVERY, took));
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
    conclude(&held, read).instrument(span.clone()).await;
    span.in_scope(|| {
        for collector in shared.collectors.enabled() {
            shared.observer.ran(collector.as_str(), started.elapsed());
        }
    });
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
    conclude(&held, read).instrument(span.clone()).await;
    span.in_scope(|| shared.observer.ran(super::REFS, started.elapsed()));
}

/// Reads a batch of projects for one of the other sources.
pub(super) async fn other(shared: Arc<Shared>, source: Arc<dyn AnySource>, targets: Vec<Target>) {
    let started = Instant::now();
    let held = Held::new(&shared, source.reading(), &targets);
    let now = shared.clock.now();
    let name = source
        .collectors()
        .first()
        .map_or("", |first| first.as_str());
    let span = info_span!(
        "run",
        otel.name = format!("{name} run"),
        projects = targets.len()
    );
    let mut read = Vec::new();
    let mut able = Vec::new();
    for target in targets {
        match source.unavailable(&target) {
            Some(why) => read.push((target.id(), Err(why.into()))),
            None => able.push(target),
        }
    }
    if !able.is_empty() {
        let fetched = source.fetch(&able, now).instrument(span.clone()).await;
        let fetched = fetched.into_iter();
        read.extend(fetched.map(|(id, read)| (id, read.map(Read::Other))));
    }
    conclude(&held, read).instrument(span.clone()).await;
    span.in_scope(|| {
        for collector in source.collectors() {
            shared.observer.ran(collector.as_str(), started.elapsed());
        }
    });
    tell_availability(&shared, source.as_ref());
}

/// Whether the collectors of a source have something of at least one project.
fn tell_availability(shared: &Shared, source: &dyn AnySource) {
    let registry = shared.registry();
    for collector in source.collectors() {
        let mut entries = registry.iter();
        let none = entries.all(|(_, entry)| entry.unavailable.contains_key(collector));
        let available = registry.is_empty() || !none;
        shared.observer.availability(*collector, available);
    }
}

/// Stops tracking a project that GitLab does not show any more.
pub(super) fn lose(shared: &Shared, id: ProjectId, error: &SourceError) -> Option<Gone> {
    let gone = shared.registry().remove(id)?;
    tracing::info!(project = %gone.path, "tracked no more: {error}");
    shared.changed().insert(id);
    Some(gone)
}

/// Forgets projects that are tracked no more, with all their series; those, too, that could not be
/// forgotten before.
pub(super) async fn forget(shared: &Shared, gone: Vec<Gone>, now: UnixSeconds) {
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

pub(super) fn tell_projects(shared: &Shared) {
    let registry = shared.registry();
    let read = registry.iter().filter(|(_, entry)| {
        let succeeded = entry.succeeded_at.is_some() && entry.is_settled();
        succeeded || entry.error.is_some()
    });
    shared.observer.projects(registry.len(), read.count());
}
