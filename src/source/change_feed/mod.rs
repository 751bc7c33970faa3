//! The change feed: which pipelines moved, and the jobs and downstream pipelines of those.
//!
//! Two phases. *Changes*: one query for many projects says which pipelines moved since their
//! watermarks. *Details*: jobs and downstream pipelines, only of pipelines that moved or are
//! active. The collectors `pipelines`, `jobs` and `child_pipelines` all measure this one read.
//! GraphQL does both in batches; where it is off, refused or failing, REST gives the same facts
//! with more calls.

mod foreign;
mod graphql;
mod rest;
mod state;
#[cfg(test)]
mod tests;
mod upstreams;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Context, Fetched, Grouping, Needs, Source, SourceError, Target, Tracked, fetched, side_by_side,
};
use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::config::{ProjectSettings, Settings};
use crate::facts::feed::FeedRead;
use crate::facts::{Facts, Problem};
use crate::gitlab::GitLab;
use crate::gitlab::GitLabError;
use crate::gitlab::model::{Downstream, DownstreamTarget, Job, Known, Pipeline, Project, Role};
use crate::memory::ProjectMemory;
use crate::memory::feed::Depth;
use crate::types::{PipelineId, ProjectId, Text};
use foreign::Foreign;
use graphql::GraphQl;
use rest::Rest;
pub use state::{Details, Look, Wishes};
use upstreams::Upstreams;

/// How long REST stands in before GraphQL is tried again.
const GRAPHQL_PAUSE: Duration = Duration::from_secs(600);

/// Calls of one look that run side by side.
const CALLS_AT_ONCE: usize = 8;

/// What moved in a project.
#[derive(Clone, Debug)]
struct Changes {
    project: Project,
    pipelines: Vec<Pipeline>,
    skipped: Vec<String>,
    /// At a first look, whether there are older pipelines, too.
    has_more: bool,
}

/// A pipeline whose details are wanted.
#[derive(Clone, Debug)]
struct Wanted {
    project: ProjectId,
    path: Text,
    pipeline: Pipeline,
    /// Whether it may be read by itself, if it cannot be read together with others.
    alone: bool,
}

/// A project and its full path.
type Place = (ProjectId, Text);

impl Wanted {
    fn place(&self) -> Place {
        (self.project, self.path.clone())
    }
}

/// A pipeline's details as they were read.
#[derive(Clone, Debug)]
struct RawDetails {
    jobs: Vec<Job>,
    downstream: Vec<Started>,
    coverage: Known<f64>,
    skipped: Vec<String>,
}

/// A downstream pipeline that a bridge started and that the token may read.
#[derive(Clone, Debug)]
struct Started {
    bridge: Text,
    project: ProjectId,
    pipeline: PipelineId,
    /// The pipeline itself, where the same answer told it.
    target: Option<DownstreamTarget>,
}

impl Started {
    /// What GraphQL tells of a downstream pipeline; nothing of one that the token may not read.
    fn from_downstream(downstream: Downstream) -> Option<Self> {
        let Downstream { bridge, target } = downstream;
        let target = target?;
        Some(Self {
            bridge,
            project: target.project_id,
            pipeline: target.pipeline.id,
            target: Some(target),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The details of a pipeline; none when GitLab does not have the pipeline any more.
type DetailsRead = Result<Option<RawDetails>, Arc<GitLabError>>;

/// How projects are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WayOfReading {
    /// By GraphQL.
    GraphQl,
    /// By REST, because the settings say so.
    Rest,
    /// By REST, because GraphQL refused for this reason.
    RestFallBack(String),
}

/// The source.
pub struct ChangeFeed {
    collectors: Vec<Collector>,
    interval: Duration,
    gitlab: GitLab,
    wishes: Wishes,
    clock: Clock,
    graphql: GraphQl,
    rest: Rest,
    upstreams: Upstreams,
    foreign: Foreign,
}

impl ChangeFeed {
    /// The change feed of a GitLab, as the settings want it.
    #[must_use]
    pub fn new(settings: &Settings, gitlab: &GitLab, clock: Clock) -> Self {
        let collectors = &settings.collectors;
        let children = collectors.pipelines.include_child_pipelines;
        let enabled = [
            (Collector::Pipelines, collectors.pipelines.enabled),
            (Collector::Jobs, collectors.jobs.enabled),
            (
                Collector::ChildPipelines,
                collectors.pipelines.enabled && children,
            ),
        ];
        let enabled = enabled.into_iter().filter(|(_, enabled)| *enabled);
        let intervals = [
            (collectors.pipelines.enabled, collectors.pipelines.interval),
            (collectors.jobs.enabled, collectors.jobs.interval),
        ];
        let intervals = intervals.into_iter().filter(|(enabled, _)| *enabled);
        let interval = intervals.map(|(_, interval)| interval).min();
        let wishes = Wishes {
            children,
            jobs: collectors.jobs.enabled,
            foreign: collectors.pipelines.enabled && children,
            runner_details: collectors.jobs.include_runner_details,
        };
        let gitlab = gitlab.clone();
        Self {
            collectors: enabled.map(|(collector, _)| collector).collect(),
            // It serves several collectors, and follows the shortest of their intervals.
            interval: interval.unwrap_or(collectors.pipelines.interval),
            graphql: GraphQl::new(gitlab.clone(), GRAPHQL_PAUSE),
            rest: Rest::new(gitlab.clone()),
            foreign: Foreign::new(gitlab.clone()),
            upstreams: Upstreams::default(),
            gitlab,
            wishes,
            clock,
        }
    }

    /// How often projects are read.
    #[must_use]
    pub fn shortest_interval(&self) -> Duration {
        self.interval
    }

    /// How projects are read at `now`.
    #[must_use]
    pub fn way_of_reading(&self, now: UnixSeconds) -> WayOfReading {
        self.graphql.way(now)
    }

    /// Reads a batch of projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        tracked: &Tracked,
    ) -> Vec<(ProjectId, Result<FeedRead, SourceError>)> {
        let now = self.gitlab_now();
        let looked_at = self.looked_at();
        let mut failed = Vec::new();
        let mut looks = BTreeMap::new();
        let targets_by_id: BTreeMap<_, _> =
            targets.iter().map(|target| (target.id(), target)).collect();
        for (id, changes) in self.changes(targets).await {
            let Some(target) = targets_by_id.get(&id) else {
                continue;
            };
            match changes.and_then(|changes| self.begin(target, changes, now, looked_at)) {
                Ok(reading) => {
                    looks.insert(id, reading);
                }
                Err(error) => failed.push((id, Err(error))),
            }
        }
        if self.wishes.details() {
            // Intervals are ours to keep; GitLab's clock only tells history from news.
            self.details(&mut looks, tracked, self.clock.now()).await;
        }
        let read = looks
            .into_iter()
            .map(|(id, reading)| (id, Ok(self.end(reading))));
        read.chain(failed).collect()
    }

    /// When a look that begins now begins, to be on the safe side: by GitLab's clock or ours,
    /// whichever is behind; nothing while GitLab has not told its time.
    fn looked_at(&self) -> UnixSeconds {
        self.gitlab
            .server_time()
            .map(|time| time.min(self.clock.now()))
            .unwrap_or_default()
    }

    /// GitLab's clock where an answer has told it, else ours.
    fn gitlab_now(&self) -> UnixSeconds {
        self.gitlab
            .server_time()
            .unwrap_or_else(|| self.clock.now())
    }

    async fn changes(&self, targets: &[Target]) -> Vec<(ProjectId, Result<Changes, SourceError>)> {
        let targets: Vec<&Target> = targets.iter().collect();
        let mut read = Vec::new();
        let mut by_rest = targets.clone();
        if self.graphql.is_open(self.clock.now()) {
            by_rest.clear();
            let answers = self.graphql.changes(&targets).await;
            let answered = answers.iter().any(|(_, result)| is_answer(result));
            for (target, result) in answers {
                match result {
                    Err(error) if error.rest_may_answer() => {
                        self.stand_in(&error, answered);
                        by_rest.push(target);
                    }
                    result => read.push((target.id(), result)),
                }
            }
        }
        read.extend(self.rest.changes(&by_rest, self.clock.now()).await);
        read
    }

    /// REST stands in for a project, and for all if GraphQL did not answer for any other.
    fn stand_in(&self, error: &SourceError, answered: bool) {
        match error {
            SourceError::GitLab(error) if !answered || !error.may_be_one_items_fault() => {
                self.graphql.close(error, self.clock.now());
            }
            error => tracing::debug!(%error, "REST stands in for one project"),
        }
    }

    fn begin<'a>(
        &self,
        target: &'a Target,
        changes: Changes,
        now: UnixSeconds,
        looked_at: UnixSeconds,
    ) -> Result<Reading<'a>, SourceError> {
        let Changes {
            project,
            pipelines,
            skipped,
            has_more: _,
        } = changes;
        let remembered = target.memory.feed.as_ref();
        let role = project.role.value();
        let too_low = role.is_some_and(|role| role < Role::REPORTER);
        if let (true, Some(role), Some(before)) = (too_low, role, target.project.role.value())
            && before >= Role::REPORTER
        {
            return Err(SourceError::RoleTooLow(role));
        }
        let collector = Collector::Pipelines;
        let problems = skipped
            .into_iter()
            .map(|sentence| Problem::skipped(&project.full_path, collector, sentence))
            .collect();
        // Emptiness below Reporter is no first look: what a higher role shows later is history.
        let blind = too_low && remembered.is_none() && pipelines.is_empty();
        let mut look = Look::begin(&target.settings, self.wishes, remembered, now);
        if !self.graphql.is_open(self.clock.now()) {
            look.leave_nothing();
        }
        look.changes(pipelines, looked_at);
        Ok(Reading {
            project,
            look,
            blind,
            problems,
        })
    }

    /// Reads the details of every pipeline that wants them.
    async fn details(
        &self,
        looks: &mut BTreeMap<ProjectId, Reading<'_>>,
        tracked: &Tracked,
        now: UnixSeconds,
    ) {
        let wanted: Vec<Wanted> = looks
            .iter()
            .flat_map(|(id, reading)| {
                reading.look.wanted().map(|pipeline| Wanted {
                    project: *id,
                    path: reading.project.full_path.clone(),
                    pipeline: pipeline.clone(),
                    alone: pipeline.status.is_active() || reading.look.depth() == Depth::Everything,
                })
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let read = self.read_details(&wanted).await;
        for wanted in &wanted {
            let Some(details) = read.get(&wanted.pipeline.id) else {
                continue;
            };
            if let Ok(Some(details)) = details {
                let (place, started) = (wanted.place(), &details.downstream);
                self.upstreams.learn(&place, &wanted.pipeline, started);
            }
        }
        let finish = wanted
            .iter()
            .map(|wanted| self.finish(wanted, read.get(&wanted.pipeline.id), looks, tracked, now));
        let finished = side_by_side(CALLS_AT_ONCE, finish.collect()).await;
        for (wanted, finished) in wanted.iter().zip(finished) {
            if let Some(reading) = looks.get_mut(&wanted.project) {
                reading.take(wanted, finished, now);
            }
        }
    }

    async fn read_details(&self, wanted: &[Wanted]) -> BTreeMap<PipelineId, DetailsRead> {
        if !self.graphql.is_open(self.clock.now()) {
            return self.rest.details(wanted, self.wishes).await;
        }
        let mut read = self.graphql.details(wanted).await;
        let answered = read.values().any(Result::is_ok);
        let refused: Vec<Wanted> = wanted
            .iter()
            .filter(|wanted| match read.get(&wanted.pipeline.id) {
                // It answered what moved, or others: only this pipeline is beyond it.
                Some(Err(error)) if error.may_be_one_items_fault() => {
                    if !answered && wanted_are_many(read.len()) {
                        self.graphql.close(error, self.clock.now());
                    }
                    true
                }
                Some(Err(error)) if error.graphql_unavailable() => {
                    self.graphql.close(error, self.clock.now());
                    true
                }
                _ => false,
            })
            .cloned()
            .collect();
        read.extend(self.rest.details(&refused, self.wishes).await);
        read
    }

    /// Adds what the first way of reading could not tell: labels, and downstream pipelines of
    /// projects that are not tracked.
    async fn finish(
        &self,
        wanted: &Wanted,
        details: Option<&DetailsRead>,
        looks: &BTreeMap<ProjectId, Reading<'_>>,
        tracked: &Tracked,
        now: UnixSeconds,
    ) -> Finished {
        let raw = match details {
            Some(Ok(Some(raw))) => raw.clone(),
            Some(Ok(None)) => return Finished::Gone,
            Some(Err(error)) => return Finished::Failed(Arc::clone(error)),
            None => return Finished::Later,
        };
        let RawDetails {
            mut jobs,
            downstream,
            coverage,
            skipped,
        } = raw;
        let asks = self.wishes.jobs
            && looks
                .get(&wanted.project)
                .is_some_and(|reading| reading.look.wants_labels(wanted.pipeline.id, &jobs, now));
        let labels = if asks {
            Some(self.rest.labels(wanted, &mut jobs).await)
        } else {
            None
        };
        let foreign = if self.wishes.foreign {
            self.foreign
                .follow(
                    wanted,
                    downstream,
                    tracked,
                    self.graphql.is_open(now),
                    &self.upstreams,
                )
                .await
        } else {
            Ok(Vec::new())
        };
        Finished::Read {
            labels,
            skipped,
            foreign_error: foreign.as_ref().err().cloned(),
            details: Details {
                jobs,
                foreign: foreign.unwrap_or_default(),
                coverage,
            },
        }
    }

    fn end(&self, mut reading: Reading<'_>) -> FeedRead {
        reading.look.upstreams(|id| self.upstreams.find(id));
        let Reading {
            project,
            look,
            blind,
            problems,
        } = reading;
        let quiet = look.is_quiet();
        let (feed, progress) = look.end();
        FeedRead {
            project,
            feed,
            progress: (!blind).then_some(progress),
            quiet,
            problems,
        }
    }
}

#[async_trait]
impl Source for ChangeFeed {
    fn reading(&self) -> crate::facts::Reading {
        crate::facts::Reading::ChangeFeed
    }

    fn collectors(&self) -> &[Collector] {
        &self.collectors
    }

    fn interval(&self, _: &ProjectSettings) -> Duration {
        self.interval
    }

    fn batch(&self) -> usize {
        GitLab::CHANGES_PROJECTS
    }

    /// Those that are read equally deep go together, and of these those whose watermarks are near
    /// each other, since a batch is read from its earliest on.
    fn grouping(&self, memory: &ProjectMemory) -> Grouping {
        let feed = memory.feed.as_ref();
        let (group, size) = match feed.map(|feed| feed.depth) {
            None => (0, GitLab::CHANGES_PROJECTS),
            Some(Depth::Pipelines) => (1, GitLab::JOBS_PROJECTS),
            Some(Depth::Jobs) => (2, GitLab::JOBS_PROJECTS),
            Some(Depth::Everything) => (3, GitLab::CHANGES_PROJECTS),
        };
        Grouping {
            group,
            near: feed.map(|feed| feed.watermark).unwrap_or_default(),
            size,
        }
    }

    fn runs_at_once(&self) -> usize {
        usize::MAX
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, &context.tracked).await;
        fetched(read, |read| Facts::Feed(Box::new(read)))
    }
}

/// Whether GraphQL had an answer for a project, even if it is not what was hoped for.
const fn is_answer(result: &Result<Changes, SourceError>) -> bool {
    !matches!(result, Err(SourceError::GitLab(_)))
}

/// Whether so many pipelines that failed one and all are no coincidence.
const fn wanted_are_many(failed: usize) -> bool {
    failed > 2
}

/// A project while it is read.
struct Reading<'a> {
    project: Project,
    look: Look<'a>,
    blind: bool,
    problems: Vec<Problem>,
}

/// How the reading of a pipeline's details ended.
enum Finished {
    Read {
        details: Details,
        /// Whether labels were asked for, and what came of it.
        labels: Option<Result<(), Arc<GitLabError>>>,
        foreign_error: Option<Arc<GitLabError>>,
        skipped: Vec<String>,
    },
    Gone,
    Failed(Arc<GitLabError>),
    /// Not read this time; it stays due.
    Later,
}

impl Reading<'_> {
    fn take(&mut self, wanted: &Wanted, finished: Finished, now: UnixSeconds) {
        let path = self.project.full_path.clone();
        let id = wanted.pipeline.id;
        match finished {
            Finished::Gone => self.look.gone(id),
            Finished::Failed(error) => {
                self.problems
                    .push(Problem::call(&path, Collector::Jobs, &error))
            }
            Finished::Later => {}
            Finished::Read {
                details,
                labels,
                foreign_error,
                skipped,
            } => {
                let skipped = skipped.into_iter();
                self.problems
                    .extend(skipped.map(|text| Problem::skipped(&path, Collector::Jobs, text)));
                match labels {
                    Some(Ok(())) => self.look.labels_read(id, now),
                    Some(Err(error)) => {
                        self.problems
                            .push(Problem::call(&path, Collector::Jobs, &error))
                    }
                    None => {}
                }
                self.look.details(id, details);
                if let Some(error) = foreign_error {
                    self.look.details_due(id);
                    self.problems
                        .push(Problem::call(&path, Collector::ChildPipelines, &error));
                }
            }
        }
    }
}
