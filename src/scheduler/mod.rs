//! What runs when: discovery, the change feed and refs, each in its rhythm, never two runs of one
//! (source, project) at once.
//!
//! [`Scheduler::round`] runs all that is due to its end; [`Scheduler::run`] goes on until it is
//! told to stop. What a run does is in [`run`].

pub mod capability;
pub mod failures;
mod measure;
pub mod observer;
mod record;
pub mod registry;
mod retire;
mod run;
mod success;
pub mod timer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::collector::set::FeedCollectors;
use crate::config::{Settings, TierSetting};
use crate::discovery::{Discovery, Scope};
use crate::gitlab::{GitLab, Lane};
use crate::project::ProjectMemory;
use crate::recorder::Recorder;
use crate::source::AnySource;
use crate::source::change_feed::{ChangeFeed, WayOfReading};
use crate::source::refs::RefsSource;
use crate::source::set::{Sources, sources};
use crate::types::ProjectId;
use capability::Capability;
use observer::Observer;
use registry::{Gone, Reading, Registry, Rhythm};
use timer::Retry;

/// The value of `collector_type` for looking projects up.
pub const DISCOVERY: &str = "discovery";
/// The value of `collector_type` for looking at refs.
pub const REFS: &str = "refs";

/// Projects in one run of the change feed: as many as one query takes.
const FEED_BATCH: usize = GitLab::CHANGES_PROJECTS;
/// Projects in one run of the change feed that goes deeper than the first: as many as share a query
/// for jobs.
const DEEPER_BATCH: usize = GitLab::JOBS_PROJECTS;
/// Projects in one run of refs, which takes a few calls each.
const REFS_BATCH: usize = 10;
/// Kind of failure of a run that panicked, which none should.
const PANIC: &str = "panic";
/// Runs at once; what does not fit stays due.
const RUNS_AT_ONCE: usize = 8;
/// Of these, runs of sources beside the change feed and refs: pipelines never wait for them.
const OTHER_RUNS_AT_ONCE: usize = 4;
/// How often the clock is looked at when nothing else wakes the scheduler.
const TICK: Duration = Duration::from_secs(1);
/// How often series that are gone are taken away, and births that are over are noted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Runs sources over projects.
pub struct Scheduler {
    shared: Arc<Shared>,
    running: JoinSet<()>,
    discovery_due: UnixSeconds,
    /// Discovery under way.
    discovering: Option<Id>,
    /// A look at what GitLab is under way.
    probing: Option<Id>,
    sweep_due: UnixSeconds,
    /// What the clock showed last.
    last_now: UnixSeconds,
}

/// What runs share.
pub struct Shared {
    clock: Clock,
    gitlab: GitLab,
    tier: TierSetting,
    capability: Mutex<Capability>,
    feed: ChangeFeed,
    refs: RefsSource,
    others: Sources,
    collectors: FeedCollectors,
    max_pipelines_per_ref: usize,
    feed_interval: Duration,
    discovery_interval: Duration,
    discovery: tokio::sync::Mutex<Discovery>,
    /// When discovery tries again what failed.
    discovery_retry: Mutex<Retry>,
    /// Projects that are gone, or not as they were: discovery shall look them up anew.
    changed: Mutex<BTreeSet<ProjectId>>,
    /// Projects that are tracked no more and that the store could not forget yet.
    lost: Mutex<Vec<Gone>>,
    /// Held from measuring to showing: one run at a time.
    recorder: tokio::sync::Mutex<Recorder>,
    registry: Mutex<Registry>,
    observer: Arc<dyn Observer>,
}

impl Shared {
    /// The tracked projects.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How projects are read now.
    #[must_use]
    pub fn way_of_reading(&self, now: UnixSeconds) -> WayOfReading {
        self.feed.way_of_reading(now)
    }

    fn capability(&self) -> MutexGuard<'_, Capability> {
        self.capability
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a reading is done, and by how many projects at once.
    fn rhythm(&self, reading: Reading) -> Rhythm {
        let other = self.others.iter().find(|other| other.reading() == reading);
        match other {
            Some(other) => Rhythm::new(other.interval(), other.batch()),
            None => Rhythm::new(self.feed_interval, FEED_BATCH),
        }
    }

    /// The collectors that measure a reading.
    fn collectors_of(&self, reading: Reading) -> Vec<Collector> {
        if reading == Reading::ChangeFeed {
            return self.collectors.enabled().collect();
        }
        let other = self.others.iter().find(|other| other.reading() == reading);
        other.map_or_else(Vec::new, |other| other.collectors().to_vec())
    }

    /// The value of `collector_type` that a reading's errors are counted under.
    fn name(&self, reading: Reading) -> &'static str {
        let other = self.others.iter().find(|other| other.reading() == reading);
        let first = other.and_then(|other| other.collectors().first());
        first.map_or(Collector::Pipelines.as_str(), |first| first.as_str())
    }

    fn discovery_retry(&self) -> MutexGuard<'_, Retry> {
        self.discovery_retry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Projects that discovery shall look up anew.
    fn changed(&self) -> MutexGuard<'_, BTreeSet<ProjectId>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Projects that are still to be forgotten.
    fn lost(&self) -> MutexGuard<'_, Vec<Gone>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is being recorded has been shown.
    pub async fn settled(&self) {
        drop(self.recorder.lock().await);
    }
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
        // What an earlier process counted with collectors that are off now would stand still for
        // ever.
        for collector in switched_off(settings) {
            recorder.retire(collector, clock.now());
        }
        let collectors = FeedCollectors::new(&settings.collectors);
        let wishes = collectors.wishes(&settings.collectors);
        let pipelines = &settings.collectors.pipelines;
        let discovery = Discovery::new(
            gitlab.in_lane(Lane::Urgent),
            &settings.projects,
            &settings.wildcards,
        );
        let shared = Shared {
            feed: ChangeFeed::new(gitlab.clone(), wishes, clock.clone()),
            refs: RefsSource::new(gitlab.clone(), wishes.jobs),
            others: sources(settings, gitlab),
            gitlab: gitlab.clone(),
            tier: settings.gitlab.tier,
            capability: Mutex::default(),
            collectors,
            max_pipelines_per_ref: usize::try_from(pipelines.max_pipelines_per_ref)
                .unwrap_or(usize::MAX),
            feed_interval: feed_interval(settings),
            discovery_interval: settings.discovery.interval,
            discovery: tokio::sync::Mutex::new(discovery),
            discovery_retry: Mutex::default(),
            changed: Mutex::default(),
            lost: Mutex::default(),
            recorder: tokio::sync::Mutex::new(recorder),
            registry: Mutex::new(Registry::new(remembered)),
            observer,
            clock,
        };
        Self {
            shared: Arc::new(shared),
            running: JoinSet::new(),
            discovery_due: UnixSeconds::default(),
            discovering: None,
            probing: None,
            sweep_due: UnixSeconds::default(),
            last_now: UnixSeconds::default(),
        }
    }

    /// What the scheduler's runs share: the registry of projects above all.
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs all that is due now, to its end; what that makes due (projects just found) too.
    pub async fn round(&mut self) {
        loop {
            self.start_due();
            if self.running.is_empty() {
                return;
            }
            while let Some(ended) = self.running.join_next_with_id().await {
                self.ended(ended);
            }
        }
    }

    /// Runs what is due, as it becomes due, until `stop`; then lets go of the calls under way.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.start_due();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = tokio::time::sleep(TICK) => {}
            }
        }
        self.running.shutdown().await;
        self.shared.settled().await;
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    tracing::error!("a run ended badly: {error}");
                    self.shared.observer.failed("pipelines", PANIC);
                }
                error.id()
            }
        };
        for under_way in [&mut self.discovering, &mut self.probing] {
            if *under_way == Some(id) {
                *under_way = None;
            }
        }
    }

    /// Keeps the rhythm when the clock is set back: what was due in a minute still is.
    fn mind_the_clock(&mut self, now: UnixSeconds) {
        let back = self.last_now.since(now);
        self.last_now = now;
        if back.is_zero() {
            return;
        }
        tracing::warn!(seconds = back.as_secs(), "the clock was set back");
        self.discovery_due = self.discovery_due.minus(back);
        self.shared.discovery_retry().clock_was_set_back(back);
        self.sweep_due = self.sweep_due.minus(back);
        let mut capability = self.shared.capability();
        capability.instance_due = capability.instance_due.minus(back);
        drop(capability);
        self.shared.registry().clock_was_set_back(back);
    }

    fn start_due(&mut self) {
        let now = self.shared.clock.now();
        self.mind_the_clock(now);
        if self.sweep_due <= now {
            self.sweep_due = now.plus(SWEEP_INTERVAL);
            // Not worth a trace: it makes no call.
            self.running.spawn(run::sweep(Arc::clone(&self.shared)));
        }
        self.start_discovery(now);
        if self.probing.is_none() && capability::is_due(&self.shared, now) {
            let probing = self.spawn(capability::look(Arc::clone(&self.shared)), "capability");
            self.probing = Some(probing);
        }
        let free = RUNS_AT_ONCE.saturating_sub(self.running.len());
        let feed = self.shared.registry().take_feed(now, free);
        let free = free.saturating_sub(feed.len());
        let refs = self.shared.registry().take_refs(now, free);
        for targets in feed {
            self.spawn(
                run::change_feed(Arc::clone(&self.shared), targets),
                "change_feed",
            );
        }
        for targets in refs {
            self.spawn(run::refs(Arc::clone(&self.shared), targets), "refs");
        }
        self.start_others(now);
        let queued = self.shared.registry().due(now);
        self.shared.observer.tasks(queued, self.running.len());
    }

    fn start_discovery(&mut self, now: UnixSeconds) {
        let scope = if self.discovery_due <= now {
            Scope::All
        } else if self.shared.discovery_retry().is_due(now) {
            Scope::Failed
        } else {
            return;
        };
        if self.discovering.is_some() {
            return;
        }
        if scope == Scope::All {
            self.discovery_due = now.plus(self.shared.discovery_interval);
        }
        let run = run::discover(Arc::clone(&self.shared), scope);
        self.discovering = Some(self.spawn(run, DISCOVERY));
    }

    /// Starts what is due beside the change feed and refs: what has waited longest first.
    fn start_others(&mut self, now: UnixSeconds) {
        let shared = Arc::clone(&self.shared);
        let registry = shared.registry();
        let due = |other: &Arc<dyn AnySource>| registry.first_due(other.reading());
        let mut others: Vec<_> = shared
            .others
            .iter()
            .filter_map(|other| Some((due(other).filter(|due| *due <= now)?, other)))
            .collect();
        let under_way = registry.others_under_way();
        drop(registry);
        others.sort_by_key(|(due, other)| (*due, other.reading()));
        let free = RUNS_AT_ONCE.saturating_sub(self.running.len());
        let mut free = free.min(OTHER_RUNS_AT_ONCE.saturating_sub(under_way));
        for (_, other) in others {
            if free == 0 {
                return;
            }
            let taken = shared.registry().take_other(other.as_ref(), now);
            if let Some(targets) = taken {
                free -= 1;
                let run = run::other(Arc::clone(&shared), Arc::clone(other), targets);
                let name = other
                    .collectors()
                    .first()
                    .map_or("", |first| first.as_str());
                self.spawn(run, name);
            }
        }
    }

    fn spawn(&mut self, run: impl Future<Output = ()> + Send + 'static, task: &'static str) -> Id {
        let span = tracing::info_span!("task", otel.name = task, task);
        self.running.spawn(run.instrument(span)).id()
    }
}

/// The collectors that the settings do not enable.
fn switched_off(settings: &Settings) -> impl Iterator<Item = Collector> {
    let switches = settings.collectors.switches();
    let all = Collector::ALL.into_iter();
    all.filter(move |collector| switches.contains(&(collector.as_str(), false)))
}

/// The change feed serves several collectors: it runs as often as the quickest of them asks.
fn feed_interval(settings: &Settings) -> Duration {
    let pipelines = &settings.collectors.pipelines;
    let jobs = &settings.collectors.jobs;
    let intervals = [
        pipelines.enabled.then_some(pipelines.interval),
        jobs.enabled.then_some(jobs.interval),
    ];
    intervals
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(pipelines.interval)
}
