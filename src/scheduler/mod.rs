//! What runs when, and nothing else: discovery, the sources over the projects that are due, and what
//! GitLab is. What follows a run is [`crate::ingest`]'s.
//!
//! [`Scheduler::round`] runs all that is due to its end; [`Scheduler::run`] continues until it is
//! stopped. There are never two runs of one source over one project.

pub mod capability;
pub(crate) mod discover;
mod instance_feed;
mod retry;
pub mod subscriptions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use crate::catalogue::{Activity, Collector};
use crate::clock::{Clock, UnixSeconds};
use crate::config::{Config, Settings};
use crate::events::Origin;
use crate::events::queue::HintQueue;
use crate::facts::{Facts, Unavailable};
use crate::gitlab::{GitLab, Lane};
use crate::ingest::{Ingest, activity};
use crate::locks::lock;
use crate::memory::ProjectMemory;
use crate::observer::Observer;
use crate::recorder::Recorder;
use crate::registry::{Batch, EventPolling, FreeSlots, Holding, Priority, Projects, Registry};
use crate::source::change_feed::ChangeFeed;
use crate::source::sources;
use crate::source::{Context, Fetched, Source, SourceError};
use crate::types::ProjectId;
use capability::CapabilityTask;
use discover::DiscoveryTask;
use instance_feed::InstanceFeed;

/// Runs at once; what does not fit stays due.
const RUNS_AT_ONCE: usize = 8;
/// Of these, runs of sources other than the change feed and refs: pipelines never wait for them.
const OTHER_RUNS_AT_ONCE: usize = 4;
/// Of these, runs that are kept for the change feed: what others read may take long.
const FEED_RUNS: usize = 2;
/// Of these, runs that read what happened before: what is new never waits for them.
const BACKFILL_RUNS_AT_ONCE: usize = 4;
/// How often the clock is read without another event.
const TICK: Duration = Duration::from_secs(1);
/// How often retired series are removed, and initial zeros that are over are noted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Settings that changed while the scheduler runs.
#[derive(Debug, Default)]
pub struct Updates(std::sync::Mutex<Option<Arc<Config>>>);

impl Updates {
    /// Has the scheduler go on by these, within a second.
    pub fn put(&self, config: Arc<Config>) {
        *lock(&self.0) = Some(config);
    }

    fn take(&self) -> Option<Arc<Config>> {
        lock(&self.0).take()
    }
}

/// Runs sources over projects.
pub struct Scheduler {
    clock: Clock,
    gitlab: GitLab,
    registry: Arc<Registry>,
    sources: Vec<Arc<dyn Source>>,
    feed: Arc<ChangeFeed>,
    ingest: Arc<Ingest>,
    discovery: Arc<DiscoveryTask>,
    capability: Arc<CapabilityTask>,
    instance_feed: Arc<InstanceFeed>,
    hints: Arc<HintQueue>,
    updates: Arc<Updates>,
    observer: Arc<dyn Observer>,
    running: JoinSet<()>,
    /// What each task under way does, for one that panics.
    activities: BTreeMap<Id, Activity>,
    /// Runs that read what happened before.
    backfills: Vec<Id>,
    /// Runs of sources other than the change feed and refs.
    others: Vec<Id>,
    sweep_due: UnixSeconds,
    /// What the clock showed last.
    last_now: UnixSeconds,
}

impl Scheduler {
    /// A scheduler by the settings; `remembered` is what an earlier process knew of projects.
    #[must_use]
    pub fn new(
        settings: &Settings,
        gitlab: &GitLab,
        recorder: Recorder,
        remembered: Vec<(ProjectId, Arc<ProjectMemory>)>,
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Self {
        // What an earlier process counted with collectors that are off now would never move again.
        for collector in switched_off(settings) {
            recorder.retire(collector, clock.steady());
        }
        let registry = Arc::new(Registry::new(remembered));
        registry.lock().rely_on_events(event_polling(settings));
        let feed = Arc::new(ChangeFeed::new(settings, gitlab, clock.clone()));
        let sources = sources(settings, gitlab, &feed);
        registry.lock().set_sources(&sources);
        let ingest = Ingest::new(
            settings,
            &sources,
            Arc::clone(&registry),
            recorder,
            Arc::clone(&observer),
            clock.clone(),
        );
        let ingest = Arc::new(ingest);
        Self {
            discovery: Arc::new(DiscoveryTask::new(
                settings, gitlab, &ingest, &registry, &observer,
            )),
            capability: Arc::new(CapabilityTask::new(settings, gitlab, &registry, &observer)),
            instance_feed: Arc::new(InstanceFeed::new(settings, gitlab, &registry)),
            gitlab: gitlab.clone(),
            registry,
            sources,
            feed,
            ingest,
            hints: Arc::default(),
            updates: Arc::default(),
            observer,
            clock,
            running: JoinSet::new(),
            activities: BTreeMap::new(),
            backfills: Vec::new(),
            others: Vec::new(),
            sweep_due: UnixSeconds::default(),
            last_now: UnixSeconds::default(),
        }
    }

    /// What takes in what runs read.
    #[must_use]
    pub fn ingest(&self) -> Arc<Ingest> {
        Arc::clone(&self.ingest)
    }

    /// The tracked projects.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// The change feed, which knows how projects are read now.
    #[must_use]
    pub fn feed(&self) -> Arc<ChangeFeed> {
        Arc::clone(&self.feed)
    }

    /// Where hints of GitLab's events are put, which [`Scheduler::run`] follows.
    #[must_use]
    pub fn hints(&self) -> Arc<HintQueue> {
        Arc::clone(&self.hints)
    }

    /// Where settings are put that changed.
    #[must_use]
    pub fn updates(&self) -> Arc<Updates> {
        Arc::clone(&self.updates)
    }

    /// Goes on by other settings: what is read, measured and looked for. Runs under way end as they began.
    fn reconfigure(&mut self, settings: &Settings, now: UnixSeconds) {
        self.feed = Arc::new(self.feed.reconfigured(settings));
        self.sources = sources(settings, &self.gitlab, &self.feed);
        {
            let mut projects = self.registry.lock();
            projects.set_sources(&self.sources);
            projects.rely_on_events(event_polling(settings));
        }
        self.ingest.reconfigure(settings, &self.sources);
        self.discovery.reconfigure(settings, now);
    }

    /// Runs all that is due now, to its end; what that makes due (projects just found) too.
    pub async fn round(&mut self) {
        loop {
            self.start_due();
            if self.running.is_empty() {
                return self.ingest.log_failures(self.clock.now(), true);
            }
            while let Some(ended) = self.running.join_next_with_id().await {
                self.ended(ended);
            }
        }
    }

    /// Runs what is due, as it becomes due, until `stop`; then drops the calls under way.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.start_due();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = self.hints.ready() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
        self.running.shutdown().await;
        self.ingest.settled().await;
        self.ingest.log_failures(self.clock.now(), true);
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, error) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let activity = self.activities.remove(&id);
        if let (Some(activity), Some(error)) = (activity, error) {
            self.ingest.task_failed(activity, &error);
        }
        self.backfills.retain(|run| *run != id);
        self.others.retain(|run| *run != id);
    }

    fn is_running(&self, activity: Activity) -> bool {
        self.activities.values().any(|running| *running == activity)
    }

    /// Keeps the rhythm when the clock is set back: what was due in a minute still is.
    fn follow_clock(&mut self, now: UnixSeconds) {
        let back = self.last_now.since(now);
        self.last_now = now;
        if back.is_zero() {
            return;
        }
        tracing::warn!(seconds = back.as_secs(), "clock was set back");
        self.sweep_due = self.sweep_due.minus(back);
        self.discovery.clock_was_set_back(back);
        self.capability.clock_was_set_back(back);
        self.instance_feed.clock_was_set_back(back);
        self.registry.lock().clock_was_set_back(back);
        let ingest = Arc::clone(&self.ingest);
        let id = self
            .running
            .spawn(async move { ingest.clock_was_set_back(now).await })
            .id();
        self.activities.insert(id, Activity::Cleanup);
    }

    fn start_due(&mut self) {
        let now = self.clock.now();
        self.follow_clock(now);
        if let Some(config) = self.updates.take() {
            self.reconfigure(&config, now);
        }
        self.ingest.log_failures(now, false);
        if self.sweep_due <= now {
            self.sweep_due = now.plus(SWEEP_INTERVAL);
            let ingest = Arc::clone(&self.ingest);
            // Not worth a trace: it makes no call.
            let id = self.running.spawn(async move { ingest.sweep().await }).id();
            self.activities.insert(id, Activity::Cleanup);
        }
        self.take_hints(now);
        if !self.is_running(Activity::Discovery)
            && let Some(scope) = self.discovery.take_due(now)
        {
            let discovery = Arc::clone(&self.discovery);
            let run = async move { discovery.run(scope, now).await };
            self.spawn(run, Activity::Discovery, "discovery");
        }
        if !self.is_running(Activity::Capability) && self.capability.is_due(now) {
            let capability = Arc::clone(&self.capability);
            let run = async move { capability.run(now).await };
            self.spawn(run, Activity::Capability, "capability");
        }
        if !self.is_running(Activity::InstanceFeed) && self.instance_feed.is_due(now) {
            let feed = Arc::clone(&self.instance_feed);
            let run = async move { feed.run(now).await };
            self.spawn(run, Activity::InstanceFeed, "instance feed");
        }
        self.start_runs(now);
    }

    /// Has what GitLab's events announced read now.
    fn take_hints(&self, now: UnixSeconds) {
        let ready = self.hints.take(tokio::time::Instant::now());
        if ready.lists {
            self.discovery.ask(now);
        }
        let mut projects = self.registry.lock();
        for (id, reading, marks) in ready.projects {
            let is_read = |source: &Arc<dyn Source>, projects: &Projects| {
                let entry = projects.get(id);
                source.reading() == reading
                    && entry.is_some_and(|entry| source.interval(entry.settings()).is_some())
            };
            if self.sources.iter().any(|source| is_read(source, &projects)) {
                projects.hint(id, reading, marks, now);
            }
        }
    }

    fn start_runs(&mut self, now: UnixSeconds) {
        let free = FreeSlots {
            runs: RUNS_AT_ONCE.saturating_sub(self.running.len()),
            feed: FEED_RUNS,
            others: OTHER_RUNS_AT_ONCE.saturating_sub(self.others.len()),
            backfill: BACKFILL_RUNS_AT_ONCE.saturating_sub(self.backfills.len()),
        };
        let taken = self.registry.lock().take(&self.sources, now, free);
        for batch in taken.batches {
            self.start(batch);
        }
        self.observer.tasks(taken.queued, self.running.len());
        self.observer.waiting(taken.lag);
    }

    fn start(&mut self, batch: Batch) {
        let activity = activity(batch.source.as_ref());
        let is_other = batch.source.needs() == crate::source::Needs::Tier;
        let is_backfill = batch.priority == Priority::Backfill;
        let name = batch.source.reading().as_str();
        let origins = batch.origins.clone();
        let run = run(
            Arc::clone(&self.registry),
            Arc::clone(&self.ingest),
            self.gitlab.clone(),
            batch,
            self.clock.clone(),
        );
        let id = self.spawn_after(&origins, run, activity, name);
        if is_other {
            self.others.push(id);
        }
        if is_backfill {
            self.backfills.push(id);
        }
    }

    fn spawn(
        &mut self,
        run: impl Future<Output = ()> + Send + 'static,
        activity: Activity,
        task: &'static str,
    ) -> Id {
        self.spawn_after(&[], run, activity, task)
    }

    /// The same, for what events announced that were received in these spans.
    fn spawn_after(
        &mut self,
        origins: &[Origin],
        run: impl Future<Output = ()> + Send + 'static,
        activity: Activity,
        task: &'static str,
    ) -> Id {
        let span = info_span!("task", otel.name = task, task);
        Origin::adopt(&span, origins);
        let id = self.running.spawn(run.instrument(span)).id();
        self.activities.insert(id, activity);
        id
    }
}

/// The projects that a run holds; they are free again when it ends, however it does.
struct Held {
    registry: Arc<Registry>,
    source: Arc<dyn Source>,
    projects: BTreeMap<ProjectId, Holding>,
    clock: Clock,
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = self.clock.now();
        let mut projects = self.registry.lock();
        projects.release(self.source.as_ref(), &self.projects, now);
    }
}

/// One run of a source over a batch of projects: reads, and hands over what was read.
async fn run(
    registry: Arc<Registry>,
    ingest: Arc<Ingest>,
    gitlab: GitLab,
    batch: Batch,
    clock: Clock,
) {
    let started = Instant::now();
    let Batch {
        source,
        priority,
        targets,
        ..
    } = batch;
    let lane = match priority {
        Priority::Urgent => Lane::Urgent,
        Priority::Current => Lane::Normal,
        Priority::Backfill => Lane::Backfill,
    };
    let reading = source.reading();
    let (projects, tracked) = {
        let registry = registry.lock();
        let held = targets.iter();
        let held = held.map(|target| (target.id(), registry.holding(reading, target)));
        (held.collect(), registry.tracked())
    };
    let held = Held {
        registry,
        source: Arc::clone(&source),
        projects,
        clock: clock.clone(),
    };
    let span = info_span!(
        "run",
        otel.name = format!("{} run", reading.as_str()),
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
        let context = Context {
            now: clock.now(),
            tracked,
        };
        let fetch = async {
            let mut read = source.fetch(&able, &context).await;
            doubt_refusals(&gitlab, &mut read).await;
            read
        };
        read.extend(lane.scope(fetch).instrument(span.clone()).await);
    }
    ingest
        .conclude(&source, held.projects.clone(), read)
        .instrument(span.clone())
        .await;
    span.in_scope(|| ingest.report_run(source.as_ref(), started.elapsed()));
    ingest.report_availability(source.as_ref());
    ingest.report_projects();
}

/// A 403 says what the token may not read only while GitLab answers it something else: a blocked user or
/// a scope that was taken away makes no project's collectors unavailable.
async fn doubt_refusals(gitlab: &GitLab, read: &mut Fetched) {
    let is_refused = |read: &Result<Facts, SourceError>| {
        matches!(
            read,
            Err(SourceError::Unavailable(Unavailable::Forbidden(_)))
        )
    };
    if !read.iter().any(|(_, read)| is_refused(read)) || gitlab.permits_something().await {
        return;
    }
    for (_, read) in read {
        if let Err(SourceError::Unavailable(Unavailable::Forbidden(why))) = read {
            *read = Err(SourceError::Refused(std::mem::take(why)));
        }
    }
}

/// How projects are polled whose changes are announced; none where no events are received.
fn event_polling(settings: &Settings) -> Option<EventPolling> {
    let webhook = &settings.server.webhook;
    let is_announced = webhook.enabled || settings.gitlab.subscriptions.enabled;
    is_announced.then_some(EventPolling {
        factor: webhook.poll_factor,
        longest: settings.collectors.max_poll_interval,
    })
}

/// The collectors that are off for every project.
fn switched_off(settings: &Settings) -> impl Iterator<Item = Collector> {
    let all = Collector::ALL.into_iter();
    let compat = (!settings.compat.gitlab_ci_metrics).then_some(Collector::Compat);
    all.filter(|collector| !settings.enabled_anywhere(*collector))
        .chain(compat)
}

#[cfg(test)]
mod tests;
