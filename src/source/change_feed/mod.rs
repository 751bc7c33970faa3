//! The change feed: which pipelines moved, and the jobs and downstream pipelines of those.
//!
//! Two phases. *Changes*: one query for many projects says which pipelines moved since their
//! watermarks. *Details*: jobs and downstream pipelines, only of pipelines that moved or are
//! active. The collectors `pipelines`, `jobs` and `child_pipelines` all measure this one read.
//! GraphQL does both in batches; where it is off, refused or failing, REST returns the same facts
//! with more calls.

mod ahead;
mod backfill;
mod children;
mod details;
mod foreign;
mod graphql;
mod known_jobs;
mod lists;
#[cfg(test)]
mod old_tests;
mod pasts;
mod rest;
mod rest_lists;
mod state;
#[cfg(test)]
mod tests;
mod upstreams;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Context, Fetched, Grouping, Needs, Right, Source, SourceError, Target, Tracked, fetched,
    forbids, side_by_side,
};
use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::config::{ProjectSettings, Settings};
use crate::facts::feed::{BackfillRead, FeedRead, PARENT_PIPELINE};
use crate::facts::{Facts, Problem};
use crate::gitlab::GitLab;
use crate::gitlab::GitLabError;
use crate::gitlab::graphql::Parts;
use crate::gitlab::model::{Known, Pipeline, Project};
use crate::locks::lock;
use crate::memory::ProjectMemory;
use crate::memory::feed::FeedProgress;
use crate::types::{PipelineId, ProjectId, Text};
use ahead::Ahead;
pub use backfill::Backfill;
use details::{DetailsRead, RawDetails, Share, Started, Wanted};
use foreign::Foreign;
use graphql::GraphQl;
use known_jobs::KnownJobs;
use lists::Read;
use pasts::Pasts;
use rest::Rest;
pub use state::{Details, Poll, ReadOptions};
use upstreams::Upstreams;

/// Calls of one poll that run concurrently.
const CALLS_AT_ONCE: usize = 8;

/// How far the header with GitLab's time may be behind the times that GitLab notes: it is of the answer
/// before.
const HEADER_LAG: Duration = Duration::from_secs(300);

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
    /// The cursor after the newest that were listed.
    next: Option<String>,
    /// Those that were known before and are not listed, though they should be.
    missing: Vec<PipelineId>,
    /// Those that GitLab does not have any more.
    deleted: Vec<PipelineId>,
    /// What moved after this is not all read: the next poll begins there.
    until: Option<UnixSeconds>,
    /// Pipelines that could not be read.
    failed: Vec<Arc<GitLabError>>,
    /// The jobs that came with it, by their pipelines.
    jobs: BTreeMap<PipelineId, RawDetails>,
}

/// A project and its full path.
type Place = (ProjectId, Text);

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
    graphql: Arc<GraphQl>,
    rest: Arc<Rest>,
    upstreams: Arc<Upstreams>,
    foreign: Arc<Foreign>,
    known_jobs: Arc<KnownJobs>,
    /// Polls so far.
    polls: Arc<AtomicUsize>,
}

/// The collectors that measure the change feed and are on for some project.
fn collectors(settings: &Settings) -> Vec<Collector> {
    let all = [
        Collector::Pipelines,
        Collector::Jobs,
        Collector::ChildPipelines,
    ];
    let on = all.into_iter();
    on.filter(|collector| settings.enabled_anywhere(*collector))
        .collect()
}

impl ChangeFeed {
    /// The change feed of a GitLab, by the settings.
    #[must_use]
    pub fn new(settings: &Settings, gitlab: &GitLab, clock: Clock) -> Self {
        let pasts = Arc::new(Pasts::default());
        Self {
            collectors: collectors(settings),
            include_children: settings.collectors.pipelines.include_child_pipelines,
            runner_details: settings.collectors.jobs.include_runner_details,
            graphql: Arc::new(GraphQl::new(gitlab.clone(), Arc::clone(&pasts))),
            rest: Arc::new(Rest::new(gitlab.clone(), pasts)),
            foreign: Arc::new(Foreign::new(gitlab.clone())),
            upstreams: Arc::default(),
            known_jobs: Arc::default(),
            gitlab: gitlab.clone(),
            clock,
            polls: Arc::default(),
        }
    }

    /// The same by other settings; both know what either has learned.
    #[must_use]
    pub fn reconfigured(&self, settings: &Settings) -> Self {
        Self {
            collectors: collectors(settings),
            include_children: settings.collectors.pipelines.include_child_pipelines,
            runner_details: settings.collectors.jobs.include_runner_details,
            graphql: Arc::clone(&self.graphql),
            rest: Arc::clone(&self.rest),
            foreign: Arc::clone(&self.foreign),
            upstreams: Arc::clone(&self.upstreams),
            known_jobs: Arc::clone(&self.known_jobs),
            gitlab: self.gitlab.clone(),
            clock: self.clock.clone(),
            polls: Arc::clone(&self.polls),
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
        let is_tracked = |project| tracked.contains_key(&project);
        self.known_jobs.retain_projects(is_tracked);
        self.known_jobs.begin(targets.iter());
        self.graphql.pasts.retain(is_tracked);
        let mut failed = Vec::new();
        let mut polls = BTreeMap::new();
        let mut jobs = BTreeMap::new();
        let targets_by_id: BTreeMap<_, _> =
            targets.iter().map(|target| (target.id(), target)).collect();
        for (id, mut changes) in self.changes(targets).await {
            let Some(target) = targets_by_id.get(&id) else {
                continue;
            };
            if let Ok(changes) = &mut changes {
                jobs.append(&mut changes.jobs);
            }
            match changes.and_then(|changes| self.begin(target, changes, now, polled_at)) {
                Ok(Begun::Reading(reading)) => {
                    polls.insert(id, *reading);
                }
                Ok(Begun::Unavailable(read)) => failed.push((id, Ok(*read))),
                Err(error) => failed.push((id, Err(error))),
            }
        }
        // Intervals follow our clock; GitLab's clock only separates history from new events.
        self.details(&mut polls, tracked, self.clock.now(), jobs)
            .await;
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
                is_whole: None,
                problems: Vec::new(),
            };
            polls.insert(target.id(), reading);
        }
        let none = BTreeMap::new();
        self.details(&mut polls, tracked, self.clock.now(), none)
            .await;
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
        let now = self.clock.now();
        let ahead = self.ahead(&targets, now);
        let by_graphql = self.graphql.changes(&targets, &ahead, now).await;
        let by_graphql = self.complete(by_graphql).await;
        for (target, result) in self.with_origins(by_graphql).await {
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
        for (project, changes) in &mut read {
            if let Ok(changes) = changes {
                self.prove_missing(*project, changes).await;
            }
        }
        read
    }

    /// Which pipelines' jobs come with the changes of their projects.
    fn ahead(&self, targets: &[&Target], now: UnixSeconds) -> Ahead {
        let mut ahead = Ahead::default();
        // Descriptions of runners are read with the jobs alone.
        if self.gitlab.lists_by_ids() && !self.gitlab.reads_runner_descriptions() {
            for target in targets {
                let options = self.options(&target.settings);
                let (known, pasts) = (&self.known_jobs, &self.graphql.pasts);
                ahead.note(target, options, known, pasts, now);
            }
        }
        ahead
    }

    /// Asks for the pipelines that were known, where the list has them no more.
    async fn prove_missing(&self, project: ProjectId, changes: &mut Changes) {
        let missing = std::mem::take(&mut changes.missing).into_iter();
        let proofs = missing
            .map(|missing| async move { (missing, self.rest.is_deleted(project, missing).await) });
        for (missing, proof) in side_by_side(CALLS_AT_ONCE, proofs.collect()).await {
            match proof {
                Ok(true) => changes.deleted.push(missing),
                Ok(false) => {}
                Err(error) => changes.failed.push(error),
            }
        }
    }

    /// Fills in what GraphQL of this GitLab does not show of pipelines.
    async fn complete<'t>(&self, read: Read<'t>) -> Read<'t> {
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

    /// Names the trigger jobs that started multi-project pipelines: lists do not say so, for it would cost
    /// GitLab a query for every pipeline, whoever started it.
    async fn with_origins<'t>(&self, mut read: Read<'t>) -> Read<'t> {
        let now = self.clock.now();
        let mut wanted = Vec::new();
        for (target, changes) in &mut read {
            let Ok(changes) = changes else {
                continue;
            };
            let options = self.options(&target.settings);
            let feed = target.memory.feed.as_ref();
            for pipeline in &mut changes.pipelines {
                let Known::Value(upstream) = &mut pipeline.upstream else {
                    continue;
                };
                if &*pipeline.source == PARENT_PIPELINE {
                    continue;
                }
                // One that is followed was asked for, and may be hidden.
                let known = feed.and_then(|feed| feed.followed.get(&pipeline.id));
                let known = known.and_then(|known| known.pipeline.upstream.as_ref().value());
                let known = known.map(|known| known.bridge.clone());
                let learned = || Some(self.upstreams.find(pipeline.id)?.bridge);
                match known.or_else(learned) {
                    Some(bridge) => upstream.bridge = bridge,
                    None => wanted.push(Wanted {
                        project: target.id(),
                        path: changes.project.full_path.clone(),
                        pipeline: pipeline.clone(),
                        options,
                        parts: Parts::ORIGIN,
                        is_history: false,
                        rests: false,
                        alone: true,
                    }),
                }
            }
        }
        if wanted.is_empty() {
            return read;
        }
        let wanted: Vec<&Wanted> = wanted.iter().collect();
        let share = Share {
            most: details::MANY,
            turn: 0,
        };
        let asked: BTreeSet<PipelineId> = wanted.iter().map(|one| one.pipeline.id).collect();
        let names = self.graphql.origins(&wanted, share, now).await;
        let changes = read
            .iter_mut()
            .filter_map(|(_, changes)| changes.as_mut().ok());
        for pipeline in changes.flat_map(|changes| &mut changes.pipelines) {
            match (names.get(&pipeline.id), &mut pipeline.upstream) {
                (Some(Some(name)), Known::Value(upstream)) => upstream.bridge = name.clone(),
                // It waits until the upstream side says so.
                (None, upstream) if asked.contains(&pipeline.id) => *upstream = Known::Unread,
                _ => {}
            }
        }
        read
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
            until,
            deleted,
            failed,
            has_more,
            ..
        } = changes;
        // What GraphQL does not show is as it was known.
        project.role = project.role.or(target.project.role);
        project.features = project.features.or(target.project.features);
        let remembered = target.memory.feed.as_ref();
        let is_whole = !has_more && skipped.is_empty() && failed.is_empty();
        let is_whole = remembered.is_none().then_some(is_whole);
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
        for id in deleted {
            poll.mark_deleted(id);
        }
        Ok(Begun::Reading(Box::new(Reading {
            project,
            poll,
            is_whole,
            problems,
        })))
    }

    fn end(&self, mut reading: Reading<'_>) -> FeedRead {
        reading.poll.upstreams(|id| self.upstreams.find(id));
        let Reading {
            project,
            poll,
            is_whole,
            problems,
        } = reading;
        let quiet = poll.is_quiet();
        let (feed, progress) = poll.end();
        FeedRead {
            project,
            feed,
            progress: Some(progress),
            quiet,
            is_whole,
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
        let due = feed.map(|feed| {
            let followed = feed.followed.values();
            followed.filter(|one| one.details_due && !one.rests).count()
        });
        if due > Some(TOO_MANY) {
            return Grouping {
                group: 2,
                size: 1,
                ..Grouping::default()
            };
        }
        Grouping {
            group: u8::from(feed.is_some()),
            near: feed.map(|feed| feed.watermark).unwrap_or_default(),
            size: GitLab::CHANGES_PROJECTS,
            ..Grouping::default()
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
    /// At a first poll, whether all pipelines were listed.
    is_whole: Option<bool>,
    problems: Vec<Problem>,
}
