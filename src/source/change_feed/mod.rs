//! The change feed: which pipelines moved, and the jobs and downstream pipelines of those.
//!
//! Two phases. *Changes*: one query for many projects says which pipelines moved since their
//! watermarks. *Details*: jobs and downstream pipelines, only of pipelines that moved or are
//! active. The collectors `pipelines`, `jobs` and `child_pipelines` all measure this one read.
//! GraphQL does both in batches; where it is off, refused or failing, REST returns the same facts
//! with more calls.

mod backfill;
mod children;
mod foreign;
mod graphql;
#[cfg(test)]
mod old_tests;
mod rest;
mod state;
#[cfg(test)]
mod tests;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Context, Fetched, Grouping, Needs, Right, Source, SourceError, Target, Tracked, fetched,
    forbids, side_by_side,
};
use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::config::{ProjectSettings, Settings};
use crate::facts::feed::{BackfillRead, FeedRead};
use crate::facts::{Facts, Problem};
use crate::gitlab::GitLab;
use crate::gitlab::GitLabError;
use crate::gitlab::model::{Downstream, DownstreamTarget, Job, Known, Pipeline, Project};
use crate::memory::ProjectMemory;
use crate::memory::feed::{Depth, FeedProgress, Followed};
use crate::types::{PipelineId, ProjectId, Text};
pub use backfill::Backfill;
use foreign::Foreign;
use graphql::GraphQl;
use rest::Rest;
pub use state::{Details, Poll, ReadOptions};
use upstreams::Upstreams;

/// Calls of one poll that run concurrently.
const CALLS_AT_ONCE: usize = 8;

/// How far the header with GitLab's time may be behind the times that GitLab notes: it is of the answer
/// before.
const HEADER_LAG: Duration = Duration::from_secs(300);

/// Pipelines of one project that a poll reads by calls of their own while other projects wait for it
/// to end.
const FEW: usize = 20;

/// The same where it is the only project.
const MANY: usize = 50;

/// A project with more pipelines than this to be read is read in a run of its own.
const TOO_MANY: usize = 50;

/// What moved in a project.
#[derive(Clone, Debug)]
struct Changes {
    project: Project,
    pipelines: Vec<Pipeline>,
    skipped: Vec<String>,
    /// At a first poll, whether there are older pipelines, too.
    has_more: bool,
    /// What moved after this is not all read: the next poll begins there.
    until: Option<UnixSeconds>,
    /// Pipelines that could not be read.
    failed: Vec<Arc<GitLabError>>,
}

/// A pipeline whose details are wanted.
#[derive(Clone, Debug)]
struct Wanted {
    project: ProjectId,
    path: Text,
    pipeline: Pipeline,
    /// What of it is wanted.
    options: ReadOptions,
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
    /// Why its downstream pipelines could not be read.
    failed: Option<Arc<GitLabError>>,
}

/// A downstream pipeline that a bridge started and that the token may read.
#[derive(Clone, Debug)]
struct Started {
    bridge: Text,
    project: ProjectId,
    pipeline: PipelineId,
    /// The pipeline itself, where the same answer contains it.
    target: Option<DownstreamTarget>,
}

impl Started {
    /// What GraphQL returns of a downstream pipeline; nothing of one that the token may not read.
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

/// Pipelines that take calls of their own, shared out among the projects of a poll.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Most of one project.
    most: usize,
    /// Number of the poll: where there are more, each has its turn.
    turn: usize,
}

impl Share {
    /// Those that are read now, what still changes and the newest first.
    fn take(self, mut wanted: Vec<&Wanted>) -> Vec<&Wanted> {
        wanted.sort_by_key(|wanted| {
            (
                wanted.project,
                !wanted.pipeline.status.is_active(),
                std::cmp::Reverse(wanted.pipeline.id),
            )
        });
        let of_projects = wanted.chunk_by_mut(|one, next| one.project == next.project);
        let mut taken = Vec::new();
        for of_project in of_projects {
            let first = self.turn.wrapping_mul(self.most) % of_project.len().max(1);
            if of_project.len() > self.most {
                of_project.rotate_left(first);
            }
            taken.extend(of_project.iter().take(self.most).copied());
        }
        taken
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
    /// `collectors.pipelines.include_child_pipelines`.
    include_children: bool,
    /// `collectors.jobs.include_runner_details`.
    runner_details: bool,
    gitlab: GitLab,
    clock: Clock,
    graphql: GraphQl,
    rest: Rest,
    upstreams: Upstreams,
    foreign: Foreign,
    /// Polls so far.
    polls: AtomicUsize,
}

impl ChangeFeed {
    /// The change feed of a GitLab, by the settings.
    #[must_use]
    pub fn new(settings: &Settings, gitlab: &GitLab, clock: Clock) -> Self {
        let all = [
            Collector::Pipelines,
            Collector::Jobs,
            Collector::ChildPipelines,
        ];
        let on = all.into_iter();
        let on = on.filter(|collector| settings.enabled_anywhere(*collector));
        Self {
            collectors: on.collect(),
            include_children: settings.collectors.pipelines.include_child_pipelines,
            runner_details: settings.collectors.jobs.include_runner_details,
            graphql: GraphQl::new(gitlab.clone()),
            rest: Rest::new(gitlab.clone()),
            foreign: Foreign::new(gitlab.clone()),
            upstreams: Upstreams::default(),
            gitlab: gitlab.clone(),
            clock,
            polls: AtomicUsize::new(0),
        }
    }

    /// What is wanted of a project.
    fn options(&self, settings: &ProjectSettings) -> ReadOptions {
        let is_on = |collector| settings.interval(collector).is_some();
        let children = match is_on(Collector::Pipelines) {
            true => is_on(Collector::ChildPipelines),
            // Without pipelines only their jobs count.
            false => self.include_children,
        };
        ReadOptions {
            children,
            jobs: is_on(Collector::Jobs),
            foreign: is_on(Collector::ChildPipelines),
            runner_details: self.runner_details,
        }
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
        let polled_at = self.polled_at();
        let mut failed = Vec::new();
        let mut polls = BTreeMap::new();
        let targets_by_id: BTreeMap<_, _> =
            targets.iter().map(|target| (target.id(), target)).collect();
        for (id, changes) in self.changes(targets).await {
            let Some(target) = targets_by_id.get(&id) else {
                continue;
            };
            match changes.and_then(|changes| self.begin(target, changes, now, polled_at)) {
                Ok(Begun::Reading(reading)) => {
                    polls.insert(id, *reading);
                }
                Ok(Begun::Unavailable(read)) => failed.push((id, Ok(*read))),
                Err(error) => failed.push((id, Err(error))),
            }
        }
        // Intervals follow our clock; GitLab's clock only separates history from new events.
        self.details(&mut polls, tracked, self.clock.now()).await;
        let read = polls
            .into_iter()
            .map(|(id, reading)| (id, Ok(self.end(reading))));
        read.chain(failed).collect()
    }

    /// Reads a step of the backfill for a batch of projects: one result for each that was read before.
    async fn read_backfill(
        &self,
        targets: &[Target],
        tracked: &Tracked,
    ) -> Vec<(ProjectId, Result<BackfillRead, SourceError>)> {
        let now = self.gitlab_now();
        let mut polls = BTreeMap::new();
        for target in targets {
            let Some(progress) = &target.memory.feed else {
                continue;
            };
            let mut poll = Poll::backfill(
                &target.settings,
                self.options(&target.settings),
                progress,
                now,
            );
            if !self.graphql.is_open(self.clock.now()) {
                poll.leave_nothing();
            }
            let reading = Reading {
                project: target.project.clone(),
                poll,
                problems: Vec::new(),
            };
            polls.insert(target.id(), reading);
        }
        self.details(&mut polls, tracked, self.clock.now()).await;
        let read = polls.into_iter().map(|(id, reading)| {
            let FeedRead {
                feed,
                progress,
                problems,
                ..
            } = self.end(reading);
            let progress = progress.unwrap_or_else(|| FeedProgress::new(now));
            let read = BackfillRead {
                pipelines: feed.pipelines,
                deleted: feed.deleted,
                progress,
                problems,
            };
            (id, Ok(read))
        });
        read.collect()
    }

    /// The start time of a poll that begins now, by GitLab's clock or ours, whichever is behind;
    /// nothing while GitLab's time is unknown.
    fn polled_at(&self) -> UnixSeconds {
        self.gitlab
            .server_time()
            .map(|time| time.min(self.clock.now()))
            .unwrap_or_default()
    }

    /// GitLab's clock where an answer had its time, else ours.
    fn gitlab_now(&self) -> UnixSeconds {
        self.gitlab
            .server_time()
            .unwrap_or_else(|| self.clock.now())
    }

    /// When a project was first listed, by GitLab's clock: a header that is far behind the times that
    /// GitLab notes would make events of history, where our clock agrees with these.
    fn first_seen(&self, now: UnixSeconds, listed: &[Pipeline]) -> UnixSeconds {
        let newest = listed.iter().map(|pipeline| pipeline.updated_at).max();
        let newest = newest.filter(|newest| *newest <= self.clock.now());
        match newest {
            Some(newest) if newest.since(now) > HEADER_LAG => newest,
            _ => now,
        }
    }

    /// What moved, by GraphQL where it answers, else by REST.
    async fn changes(&self, targets: &[Target]) -> Vec<(ProjectId, Result<Changes, SourceError>)> {
        let targets: Vec<&Target> = targets.iter().collect();
        let mut read = Vec::new();
        let by_graphql = self.graphql.changes(&targets, self.clock.now()).await;
        for (target, result) in self.complete(by_graphql).await {
            match result {
                Err(error) if error.rest_may_answer() => {
                    tracing::debug!(%error, "GraphQL failed for a project, falling back to REST");
                }
                result => read.push((target.id(), result)),
            }
        }
        let done: BTreeSet<ProjectId> = read.iter().map(|(id, _)| *id).collect();
        let mut by_rest = targets;
        by_rest.retain(|target| !done.contains(&target.id()));
        read.extend(self.rest.changes(&by_rest, self.clock.now()).await);
        read
    }

    /// Fills in what GraphQL of this GitLab does not show of pipelines.
    async fn complete<'t>(&self, read: graphql::Read<'t>) -> graphql::Read<'t> {
        let lacks = |field| self.gitlab.lacks("Pipeline", field);
        if !lacks("source") && !lacks("mergeRequest") {
            return read;
        }
        let complete = read.into_iter().map(|(target, changes)| async move {
            let mut changes = match changes {
                Ok(changes) => changes,
                Err(error) => return (target, Err(error)),
            };
            let completed = self.rest.complete(target, &mut changes.pipelines).await;
            let changes = completed.map(|()| changes);
            (target, changes.map_err(|error| Arc::new(error).into()))
        });
        side_by_side(CALLS_AT_ONCE, complete.collect()).await
    }

    fn begin<'a>(
        &self,
        target: &'a Target,
        changes: Changes,
        now: UnixSeconds,
        polled_at: UnixSeconds,
    ) -> Result<Begun<'a>, SourceError> {
        let Changes {
            mut project,
            pipelines,
            skipped,
            has_more: _,
            until,
            failed,
        } = changes;
        // What GraphQL does not show is as it was known.
        project.role = project.role.or(target.project.role);
        project.features = project.features.or(target.project.features);
        let remembered = target.memory.feed.as_ref();
        if project.is_scheduled_for_deletion {
            return Err(SourceError::NotFound);
        }
        let collector = Collector::Pipelines;
        let path = &project.full_path;
        let skipped = skipped.into_iter();
        let skipped = skipped.map(|sentence| Problem::skipped(path, collector, sentence));
        let failed = failed.iter();
        let failed = failed.map(|error| Problem::call(path, collector, error));
        let problems = skipped.chain(failed).collect();
        if let Some(why) = forbids(&project.features, &target.permissions, Right::Pipelines) {
            let progress = remembered.map(|feed| feed.seen_until(target.permitted_at));
            let read = FeedRead::unavailable(project, progress, why);
            return Ok(Begun::Unavailable(Box::new(read)));
        }
        let now = match remembered {
            Some(_) => now,
            None => self.first_seen(now, &pipelines),
        };
        let mut poll = Poll::begin(
            &target.settings,
            self.options(&target.settings),
            remembered,
            now,
        );
        match until {
            None => poll.changes(pipelines, polled_at),
            Some(until) => poll.some_changes(pipelines, until),
        }
        Ok(Begun::Reading(Box::new(Reading {
            project,
            poll,
            problems,
        })))
    }

    /// Reads the details of every pipeline that needs them.
    async fn details(
        &self,
        polls: &mut BTreeMap<ProjectId, Reading<'_>>,
        tracked: &Tracked,
        now: UnixSeconds,
    ) {
        let wanted: Vec<Wanted> = polls
            .iter()
            .flat_map(|(id, reading)| {
                reading.poll.wanted().map(|pipeline| Wanted {
                    project: *id,
                    path: reading.project.full_path.clone(),
                    pipeline: pipeline.clone(),
                    options: reading.poll.options(),
                    alone: pipeline.status.is_active() || reading.poll.depth() == Depth::Everything,
                })
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let share = Share {
            most: if polls.len() > 1 { FEW } else { MANY },
            turn: self.polls.fetch_add(1, Ordering::Relaxed),
        };
        let read = self.read_details(&wanted, share).await;
        for wanted in &wanted {
            let Some(details) = read.get(&wanted.pipeline.id) else {
                continue;
            };
            if let Ok(Some(details)) = details {
                let (place, started) = (wanted.place(), &details.downstream);
                self.upstreams.learn(&place, &wanted.pipeline, started);
            }
        }
        let asked = asked_for_labels(&wanted, &read, polls, share, now);
        let finish = wanted.iter().map(|wanted| {
            let id = wanted.pipeline.id;
            self.finish(wanted, read.get(&id), asked.contains(&id), tracked, now)
        });
        let finished = side_by_side(CALLS_AT_ONCE, finish.collect()).await;
        for (wanted, finished) in wanted.iter().zip(finished) {
            if let Some(reading) = polls.get_mut(&wanted.project) {
                reading.take(wanted, finished, now);
            }
        }
    }

    async fn read_details(
        &self,
        wanted: &[Wanted],
        share: Share,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        let now = self.clock.now();
        if !self.graphql.is_open(now) {
            return self.rest.details(wanted, share).await;
        }
        let mut read = self.graphql.details(wanted, share, now).await;
        let answered = read.values().any(Result::is_ok);
        let no_coincidence = !answered && wanted_are_many(read.len());
        for error in read.values().filter_map(|read| read.as_ref().err()) {
            // It answered what moved, or others: only this pipeline is beyond it.
            if no_coincidence || !error.may_be_one_items_fault() {
                self.graphql.failed(error, now);
            }
        }
        let is_open = self.graphql.is_open(now);
        let refused = |wanted: &&Wanted| match read.get(&wanted.pipeline.id) {
            Some(Ok(_)) => false,
            Some(Err(error)) => error.may_be_one_items_fault() || error.graphql_unavailable(),
            None => wanted.alone && !is_open,
        };
        let refused: Vec<Wanted> = wanted.iter().filter(refused).cloned().collect();
        // GraphQL shows nothing of what is deleted, and nothing of what the token may not read.
        let is_missing = |wanted: &&Wanted| matches!(read.get(&wanted.pipeline.id), Some(Ok(None)));
        let missing: Vec<Wanted> = wanted.iter().filter(is_missing).cloned().collect();
        read.extend(self.rest.details(&refused, share).await);
        for (id, proof) in self.rest.deleted(&missing).await {
            match proof {
                Ok(true) => {}
                Ok(false) => drop(read.remove(&id)),
                Err(error) => drop(read.insert(id, Err(error))),
            }
        }
        read
    }

    /// Adds what the first way of reading could not return: labels, and downstream pipelines of
    /// projects that are not tracked.
    async fn finish(
        &self,
        wanted: &Wanted,
        details: Option<&DetailsRead>,
        asks_for_labels: bool,
        tracked: &Tracked,
        now: UnixSeconds,
    ) -> Finished {
        let raw = match details {
            Some(Ok(Some(raw))) => raw.clone(),
            Some(Ok(None)) => return Finished::NotFound,
            Some(Err(error)) => return Finished::Failed(Arc::clone(error)),
            None => return Finished::Later,
        };
        let RawDetails {
            mut jobs,
            downstream,
            coverage,
            skipped,
            failed,
        } = raw;
        let labels = if asks_for_labels {
            Some(self.rest.labels(wanted, &mut jobs).await)
        } else {
            None
        };
        let children = children::children(&self.gitlab, wanted, &downstream).await;
        let foreign = if wanted.options.foreign {
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
            foreign_error: failed
                .as_ref()
                .or(foreign.as_ref().err())
                .or(children.as_ref().err())
                .cloned(),
            children: children.unwrap_or_default(),
            details: Details {
                jobs,
                foreign: foreign.unwrap_or_default(),
                coverage,
            },
        }
    }

    fn end(&self, mut reading: Reading<'_>) -> FeedRead {
        reading.poll.upstreams(|id| self.upstreams.find(id));
        let Reading {
            project,
            poll,
            problems,
        } = reading;
        let quiet = poll.is_quiet();
        let (feed, progress) = poll.end();
        FeedRead {
            project,
            feed,
            progress: Some(progress),
            quiet,
            unavailable: None,
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

    fn batch(&self) -> usize {
        GitLab::CHANGES_PROJECTS
    }

    /// Projects that were never read go together, and of the others those whose watermarks are near
    /// each other, since a batch is read from its earliest on. One with very many pipelines to be read
    /// keeps no other waiting.
    fn grouping(&self, memory: &ProjectMemory) -> Grouping {
        let feed = memory.feed.as_ref();
        let is_due = |followed: &&Followed| followed.details_due && !followed.rests;
        let due = feed.map(|feed| feed.followed.values().filter(is_due).count());
        if due > Some(TOO_MANY) {
            return Grouping {
                group: 2,
                near: UnixSeconds::default(),
                size: 1,
            };
        }
        Grouping {
            group: u8::from(feed.is_some()),
            near: feed.map(|feed| feed.watermark).unwrap_or_default(),
            size: GitLab::CHANGES_PROJECTS,
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

/// The pipelines whose labels a second way of reading is asked for now: one call each.
fn asked_for_labels(
    wanted: &[Wanted],
    read: &BTreeMap<PipelineId, DetailsRead>,
    polls: &BTreeMap<ProjectId, Reading<'_>>,
    share: Share,
    now: UnixSeconds,
) -> BTreeSet<PipelineId> {
    let wants = |wanted: &&Wanted| {
        let id = wanted.pipeline.id;
        let (Some(reading), Some(Ok(Some(details)))) = (polls.get(&wanted.project), read.get(&id))
        else {
            return false;
        };
        wanted.options.jobs && reading.poll.wants_labels(id, &details.jobs, now)
    };
    let asked = share.take(wanted.iter().filter(wants).collect());
    asked.into_iter().map(|wanted| wanted.pipeline.id).collect()
}

/// Whether so many pipelines that failed one and all are no coincidence.
const fn wanted_are_many(failed: usize) -> bool {
    failed > 2
}

/// How the reading of a project began.
enum Begun<'a> {
    Reading(Box<Reading<'a>>),
    /// Its pipelines cannot be read.
    Unavailable(Box<FeedRead>),
}

/// A project while it is read.
struct Reading<'a> {
    project: Project,
    poll: Poll<'a>,
    problems: Vec<Problem>,
}

/// How the reading of a pipeline's details ended.
enum Finished {
    Read {
        details: Details,
        /// Whether labels were asked for, and what came of it.
        labels: Option<Result<(), Arc<GitLabError>>>,
        foreign_error: Option<Arc<GitLabError>>,
        /// Child pipelines that no list has.
        children: Vec<Pipeline>,
        skipped: Vec<String>,
    },
    NotFound,
    Failed(Arc<GitLabError>),
    /// Not read this time; it stays due.
    Later,
}

impl Reading<'_> {
    fn take(&mut self, wanted: &Wanted, finished: Finished, now: UnixSeconds) {
        let path = self.project.full_path.clone();
        let id = wanted.pipeline.id;
        match finished {
            Finished::NotFound => self.poll.mark_deleted(id),
            Finished::Failed(error) => {
                self.problems
                    .push(Problem::call(&path, Collector::Jobs, &error))
            }
            Finished::Later => {}
            Finished::Read {
                details,
                labels,
                foreign_error,
                children,
                skipped,
            } => {
                let skipped = skipped.into_iter();
                self.problems
                    .extend(skipped.map(|text| Problem::skipped(&path, Collector::Jobs, text)));
                match labels {
                    Some(Ok(())) => self.poll.labels_read(id, now),
                    Some(Err(error)) => {
                        self.problems
                            .push(Problem::call(&path, Collector::Jobs, &error))
                    }
                    None => {}
                }
                self.poll.details(id, details);
                self.poll.children(id, children);
                if let Some(error) = foreign_error {
                    self.poll.details_due(id);
                    self.problems
                        .push(Problem::call(&path, Collector::ChildPipelines, &error));
                }
            }
        }
    }
}
