//! What follows a run: its facts are measured, recorded, and the registry learns how it ended.

mod events;
mod failures;
mod measure;
pub(crate) mod plausibility;
mod remove;
mod retire;
mod sharded;
mod success;
mod withdraw;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tracing::Instrument;

use crate::catalogue::{Activity, Collector};
use crate::clock::{Clock, UnixSeconds};
use crate::collector::{Collectors, Measured};
use crate::config::Settings;
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::observer::Observer;
use crate::recorder::{ProjectRun, RecordError, Recorder};
use crate::registry::{Ended, Holding, Outcome, Registry};
use crate::source::{Fetched, Needs, Source, SourceError, Tracked};
use crate::types::{ProjectId, Text};
use failures::{FailureLog, What};
use plausibility::Reported;
use success::Successes;

/// Kind of failure of a task that panicked, which none should.
const PANIC: &str = "panic";

/// Measurements that are held in memory at once, so that a first reading of many projects leaves no
/// peak behind; those of one project stay together.
const PART: usize = 20_000;

/// Takes in what runs read.
pub struct Ingest {
    registry: Arc<Registry>,
    /// What the settings say.
    rules: RwLock<Arc<Rules>>,
    /// Held from measuring to showing: one run at a time.
    recorder: tokio::sync::Mutex<Recorder>,
    observer: Arc<dyn Observer>,
    clock: Clock,
    /// Drops implausible values.
    implausible: Reported,
    failures: FailureLog,
    /// Projects renamed since the last log line about that: before and after.
    renames: std::sync::Mutex<Vec<(Text, Text)>>,
}

/// How is measured, by the settings.
struct Rules {
    collectors: Collectors,
    /// Collectors that measure something else than pipelines: a rename takes their states away
    /// until they are read again.
    others: Vec<Collector>,
    max_pipelines_per_ref: usize,
    /// `discovery.removal_grace`.
    grace: Duration,
}

impl Rules {
    fn new(settings: &Settings, sources: &[Arc<dyn Source>]) -> Arc<Self> {
        let max = settings.collectors.pipelines.max_pipelines_per_ref;
        let others = sources
            .iter()
            .filter(|source| source.needs() == Needs::Tier);
        Arc::new(Self {
            collectors: Collectors::new(settings),
            others: others
                .flat_map(|source| source.collectors().iter().copied())
                .collect(),
            max_pipelines_per_ref: usize::try_from(max).unwrap_or(usize::MAX),
            grace: settings.discovery.removal_grace,
        })
    }
}

impl Ingest {
    /// By the settings, for these sources.
    #[must_use]
    pub fn new(
        settings: &Settings,
        sources: &[Arc<dyn Source>],
        registry: Arc<Registry>,
        recorder: Recorder,
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Self {
        Self {
            registry,
            rules: RwLock::new(Rules::new(settings, sources)),
            recorder: tokio::sync::Mutex::new(recorder),
            observer,
            clock,
            implausible: Reported::default(),
            failures: FailureLog::default(),
            renames: std::sync::Mutex::default(),
        }
    }

    /// Goes on by other settings, for these sources.
    pub fn reconfigure(&self, settings: &Settings, sources: &[Arc<dyn Source>]) {
        let rules = Rules::new(settings, sources);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Measures and records what a run read. It runs as a task of its own, so that a stop never cuts
    /// a run between commit and show.
    pub async fn conclude(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        holdings: BTreeMap<ProjectId, Holding>,
        read: Fetched,
    ) {
        let (ingest, run) = (Arc::clone(self), Arc::clone(source));
        let record = async move { ingest.take_in(run.as_ref(), &holdings, read).await };
        let task = tokio::spawn(record.instrument(tracing::Span::current()));
        if let Err(error) = task.await {
            self.task_failed(activity(source.as_ref()), &error);
        }
    }

    /// Counts and logs a task that did not come to its end.
    pub fn task_failed(&self, activity: Activity, error: &tokio::task::JoinError) {
        if error.is_panic() {
            tracing::error!(activity = activity.as_str(), %error, "task panicked");
            self.observer.failed(activity, PANIC);
        }
    }

    /// Logs what failed, once for each cause; all that there is when `is_last`.
    pub fn log_failures(&self, now: UnixSeconds, is_last: bool) {
        self.failures.report(now, is_last);
    }

    /// Keeps what is shown when the clock is set back.
    pub async fn clock_was_set_back(&self, now: UnixSeconds) {
        self.failures.clock_was_set_back(now);
        let recorder = self.recorder.lock().await;
        recorder.clock_was_set_back(now, self.clock.steady());
    }

    /// Waits until what is being recorded has been shown.
    pub async fn settled(&self) {
        drop(self.recorder.lock().await);
    }

    async fn take_in(
        &self,
        source: &dyn Source,
        holdings: &BTreeMap<ProjectId, Holding>,
        mut read: Fetched,
    ) {
        let now = self.clock.now();
        let mut recorder = self.recorder.lock().await;
        // A project that was removed meanwhile is not the one that was read, even if it was added again.
        read.retain(|(id, _)| {
            let tracking = self.registry.lock().get(*id).map(|entry| entry.tracking());
            tracking.is_some() && tracking == holdings.get(id).map(|holding| holding.tracking)
        });
        self.bring_back(&mut recorder, source, &read).await;
        let paths = self.paths(&read);
        let mut part = Part::default();
        let mut refused = Vec::new();
        for (id, read) in read {
            match read {
                Ok(facts) => {
                    self.report_problems(source.reading(), id, facts.problems(), now);
                    let is_hidden = matches!(facts.partly_hidden(), Some((_, true)));
                    if facts.unavailable().is_some() || is_hidden {
                        refused.push(id);
                    }
                    self.measure(&mut part, &recorder, (source, id), facts, &paths, now);
                    if part.measurements >= PART {
                        let part = std::mem::take(&mut part);
                        self.record(source, part, holdings, &mut recorder, now)
                            .await;
                    }
                }
                Err(SourceError::Unavailable(why)) => {
                    self.unavailable(&mut part, (source, id), &why);
                    refused.push(id);
                }
                Err(error) => self.failed(source, id, &error, now),
            }
        }
        self.record(source, part, holdings, &mut recorder, now)
            .await;
        self.log_renames();
        self.withdraw_overdue(&mut recorder, source, &refused, now)
            .await;
    }

    /// The paths of all tracked projects, as they are with what was read just now.
    fn paths(&self, read: &Fetched) -> Tracked {
        let mut paths = self.registry.lock().tracked();
        for (id, read) in read {
            if let Ok(Facts::Feed(read)) = read
                && let Some(known) = paths.get(id)
                && *known != read.project.full_path
            {
                Arc::make_mut(&mut paths).insert(*id, read.project.full_path.clone());
            }
        }
        paths
    }

    fn measure(
        &self,
        part: &mut Part,
        recorder: &Recorder,
        (source, id): (&dyn Source, ProjectId),
        facts: Facts,
        paths: &Tracked,
        now: UnixSeconds,
    ) {
        let projects = self.registry.lock();
        let Some(entry) = projects.get(id) else {
            return;
        };
        let measured = measure::measure(self, recorder, (&projects, entry), &facts, paths, now);
        let (run, unavailable) = match measured {
            Some((run, unavailable)) => (Some(run), unavailable),
            None => (None, Vec::new()),
        };
        let unavailable = match source.needs() {
            Needs::Tier => unavailable,
            Needs::Nothing => {
                let collectors = source.collectors().iter();
                let why = facts.unavailable();
                collectors.map(|who| (*who, why.cloned())).collect()
            }
            // They measure what the change feed reads.
            Needs::FirstRead | Needs::Pipelines => Vec::new(),
        };
        part.ended.push(Ended {
            id,
            memory: run.as_ref().and_then(|run| run.memory.clone()),
            facts: Some(facts),
            unavailable,
        });
        part.push(run);
    }

    /// Takes the states of a project that has nothing for a source away.
    fn unavailable(
        &self,
        part: &mut Part,
        (source, id): (&dyn Source, ProjectId),
        why: &Unavailable,
    ) {
        let projects = self.registry.lock();
        let Some(entry) = projects.get(id) else {
            return;
        };
        let collectors = source.collectors();
        let is_known = |who: &Collector| entry.unavailable().contains_key(who);
        if !collectors.iter().all(is_known) {
            let none = |who: &Collector| (*who, Measured::default());
            part.push(Some(ProjectRun {
                project: id,
                memory: Some(Arc::clone(entry.memory())),
                measured: collectors.iter().map(none).collect(),
                initializations: Vec::new(),
                retirements: Vec::new(),
            }));
        }
        let unavailable = collectors.iter().map(|who| (*who, Some(why.clone())));
        part.ended.push(Ended {
            id,
            memory: None,
            facts: None,
            unavailable: unavailable.collect(),
        });
    }

    async fn record(
        &self,
        source: &dyn Source,
        part: Part,
        holdings: &BTreeMap<ProjectId, Holding>,
        recorder: &mut Recorder,
        now: UnixSeconds,
    ) {
        for part in part.by_shard(recorder.is_sharded()) {
            self.record_part(source, part, holdings, recorder, now)
                .await;
        }
    }

    async fn record_part(
        &self,
        source: &dyn Source,
        part: Part,
        holdings: &BTreeMap<ProjectId, Holding>,
        recorder: &mut Recorder,
        now: UnixSeconds,
    ) {
        let recorded = if part.runs.is_empty() {
            Ok(())
        } else {
            let span = tracing::info_span!("commit", projects = part.runs.len());
            let recorded = recorder
                .record(part.runs, self.clock.steady())
                .instrument(span)
                .await;
            self.observer.store(is_kept(&recorded));
            recorded
        };
        // The memories are in place before anything else is measured with them.
        let read = read_now(&part.ended);
        self.end(source, part.ended, holdings, &recorded, now);
        if recorded.is_ok()
            && let Err(error) = recorder.note_read(&read, now)
        {
            self.observer.failed(activity(source), error.kind());
        }
    }

    fn end(
        &self,
        source: &dyn Source,
        ended: Vec<Ended>,
        holdings: &BTreeMap<ProjectId, Holding>,
        recorded: &Result<(), RecordError>,
        now: UnixSeconds,
    ) {
        if ended.is_empty() {
            return;
        }
        let mut projects = self.registry.lock();
        if let Err(error) = recorded {
            tracing::error!(projects = ended.len(), %error, "recording failed, will retry");
            self.observer.failed(activity(source), error.kind());
            let outcome = |ended: Ended| Outcome::NotRecorded(ended.id, error.to_string());
            projects.end(source, ended.into_iter().map(outcome).collect(), now);
            return;
        }
        let mut successes = Successes::of(source.collectors());
        for ended in &ended {
            let lag = projects.lag(source, ended.id, now);
            successes.add(ended.facts.as_ref(), &ended.failures(), lag);
        }
        let changes = Self::changes(&projects, &ended);
        let outcomes = ended.into_iter();
        let outcomes = outcomes.map(|ended| Outcome::Recorded(Box::new(ended)));
        let outcomes = outcomes.collect();
        projects.end(source, outcomes, now);
        self.report_shown(&mut projects, source, changes, holdings, now);
        let lag = successes.lag();
        for collector in successes.collectors(&mut projects, now) {
            self.observer.succeeded(collector.into(), now, lag);
        }
    }

    fn failed(&self, source: &dyn Source, id: ProjectId, error: &SourceError, now: UnixSeconds) {
        self.observer.failed(activity(source), error.kind());
        let text = error.to_string();
        let mut projects = self.registry.lock();
        if let Some((project, before)) = projects.last_error(source, id)
            && before != Some(&text)
            && !error.is_token_refused()
        {
            let cause = error.cause();
            let about = (&project, activity(source));
            self.failures.note(What::Poll, about, (&cause, &text), now);
        }
        projects.end(source, vec![Outcome::Failed(id, text)], now);
        if matches!(error, SourceError::NotFound) {
            projects.doubt(id, now);
        }
    }

    /// Counts each problem, and logs what was not reported of the project by its last run.
    fn report_problems(
        &self,
        reading: Reading,
        id: ProjectId,
        problems: &[Problem],
        now: UnixSeconds,
    ) {
        for problem in problems {
            self.observer.failed(problem.activity, problem.kind);
        }
        let projects = self.registry.lock();
        let entry = projects.get(id);
        let mut said = std::collections::BTreeSet::new();
        for problem in problems {
            let is_known = entry.is_some_and(|entry| entry.has_problem(reading, problem));
            let is_about_the_token = problem.kind == "auth";
            if !is_known && !is_about_the_token && said.insert(&problem.sentence) {
                let what = match problem.is_failure {
                    true => What::Call,
                    false => What::Item,
                };
                let (about, text) = ((&problem.project, problem.activity), &*problem.sentence);
                // Behind the endpoint: different calls fail for one cause.
                let cause = text.split_once(": ").filter(|_| problem.is_failure);
                let cause = cause.map_or(text, |(_, cause)| cause);
                self.failures.note(what, about, (cause, text), now);
            }
        }
    }

    /// Projects renamed since the last log line about that.
    fn renames(&self) -> std::sync::MutexGuard<'_, Vec<(Text, Text)>> {
        self.renames
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One line however many projects a group's rename moves.
    fn log_renames(&self) {
        let renames = std::mem::take(&mut *self.renames());
        match renames.as_slice() {
            [] => {}
            [(from, to)] => tracing::info!(%from, %to, "project renamed"),
            [(from, to), ..] => tracing::info!(
                projects = renames.len(),
                example_from = %from,
                example_to = %to,
                "projects renamed"
            ),
        }
    }

    /// Says of the collectors of a source whether they have something of at least one project.
    pub fn report_availability(&self, source: &dyn Source) {
        let projects = self.registry.lock();
        self.observer.unavailable(projects.unavailable());
        if source.needs() != Needs::Tier {
            return;
        }
        for collector in source.collectors() {
            let is_available = !projects.is_unavailable(*collector);
            self.observer.availability(*collector, is_available);
        }
    }

    /// Says how many projects are tracked, and how far the first sync is.
    pub fn report_projects(&self) {
        let now = self.clock.now();
        let mut projects = self.registry.lock();
        let progress = projects.first_sync(now).ratio();
        self.observer.projects(projects.own().count(), progress);
        self.observer.removals_pending(projects.removals_pending());
    }

    /// Says that a run took this long.
    pub fn report_run(&self, source: &dyn Source, took: Duration) {
        if source.reading() == Reading::Refs {
            self.observer.ran(Activity::Refs, took);
            return;
        }
        for collector in source.collectors() {
            self.observer.ran((*collector).into(), took);
        }
    }
}

/// What a source's runs and errors are counted under.
pub(crate) fn activity(source: &dyn Source) -> Activity {
    let first = source.collectors().first().copied();
    first.unwrap_or(Collector::Pipelines).into()
}

/// A part of a run that is measured, and then recorded, together.
#[derive(Default)]
struct Part {
    runs: Vec<ProjectRun>,
    ended: Vec<Ended>,
    /// How many measurements that is.
    measurements: usize,
}

impl Part {
    fn push(&mut self, run: Option<ProjectRun>) {
        if let Some(run) = run {
            let measured = run.measured.iter();
            self.measurements += measured.map(|(_, measured)| measured.len()).sum::<usize>();
            self.runs.push(run);
        }
    }
}

/// The projects whose pipelines were read, and their paths.
fn read_now(ended: &[Ended]) -> Vec<(ProjectId, Text)> {
    let read = ended.iter().filter_map(|ended| match &ended.facts {
        Some(Facts::Feed(read)) if read.unavailable.is_none() => {
            Some((ended.id, read.project.full_path.clone()))
        }
        _ => None,
    });
    read.collect()
}

/// Whether the store did its part.
const fn is_kept(recorded: &Result<(), RecordError>) -> bool {
    !matches!(recorded, Err(RecordError::Store(_)))
}
