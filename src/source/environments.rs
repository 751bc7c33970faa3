//! Environments and their deployments.
//!
//! GitLab lists environments and deployments of one project per request, by GraphQL too, so both are
//! read by REST, and only of projects whose pipelines moved since the last poll: deployments are
//! jobs of pipelines. What moves otherwise (a deployment made by API, an environment stopped by
//! hand) is found by a full poll every few hours.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::{Context, Fetched, Right, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::Environments;
use crate::facts::environments::{Deployments, EnvironmentsRead};
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::GitLab;
use crate::gitlab::GitLabError;
use crate::gitlab::model::Deployment;
use crate::gitlab::rest::DeploymentFilter;
use crate::memory::ProjectMemory;
use crate::memory::environments::{EnvironmentsProgress, RememberedEnvironment};
use crate::types::ProjectId;
use crate::types::Tier;

/// Deployments that changed this long before the watermark are read again: a deployment follows its
/// job after the job's transaction, with the job's times.
const OVERLAP: Duration = Duration::from_secs(120);
/// How often a project is polled though no pipeline moved.
const FULL_POLL_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// Environments compared with the default branch, or asked for their last success, in one poll.
const ENVIRONMENTS_AT_ONCE: usize = 20;
/// Calls of one poll that run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// Projects in one run; each costs calls of its own.
const BATCH: usize = 10;

/// The source.
pub struct EnvironmentsSource {
    gitlab: GitLab,
    /// `collectors.environments.exclude_stopped`.
    exclude_stopped: bool,
}

/// What the change feed knows of a project's pipelines: the latest change, and whether some run.
pub(super) fn pipelines(memory: &ProjectMemory) -> Option<(UnixSeconds, bool)> {
    let feed = memory.feed.as_ref()?;
    let mut followed = feed.followed.values();
    let active = followed.any(|followed| followed.pipeline.status.is_active());
    Some((feed.watermark, active))
}

impl EnvironmentsSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(settings: &Environments, gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            exclude_stopped: settings.exclude_stopped,
        }
    }

    fn is_due(target: &Target, now: UnixSeconds) -> bool {
        let progress = &target.memory.environments_progress;
        let Some(read_at) = progress.read_at else {
            return true;
        };
        let moved = pipelines(&target.memory)
            .is_none_or(|(watermark, active)| active || watermark != progress.moved);
        // A deployment moves after the pipeline it belongs to.
        let late = progress.moved.plus(OVERLAP) > read_at;
        let mut known = target.memory.environments.known().values();
        moved
            || late
            || known.any(RememberedEnvironment::is_open)
            || now.since(progress.full_at) >= FULL_POLL_INTERVAL
    }

    async fn project(
        &self,
        target: &Target,
        now: UnixSeconds,
    ) -> Result<EnvironmentsRead, SourceError> {
        let before = &target.memory.environments_progress;
        let mut progress = before.clone();
        let clock = self.gitlab.server_time().unwrap_or(now);
        let (mut read, mut problems) = (Deployments::default(), Vec::new());
        if before.read_at.is_none() {
            progress.first_seen = target.first_listed(clock);
            // Nothing that changed before is new.
            progress.watermark = progress.first_seen;
        }
        let since = progress.watermark.minus(OVERLAP);
        read.floor = Some(match before.read_at {
            Some(_) => since.max(progress.first_seen),
            // What is found in that second is history.
            None => progress.first_seen.plus(Duration::from_secs(1)),
        });
        read.next_floor = since.max(progress.first_seen);
        if !Self::is_due(target, now) {
            return Ok(EnvironmentsRead {
                read,
                progress,
                problems,
            });
        }
        // The list first: a deployment of an environment that comes after it is read again.
        let id = target.id();
        let listed = self.gitlab.environments(id, self.exclude_stopped).await?;
        let filter = match before.read_at {
            Some(_) => DeploymentFilter::UpdatedAfter(since),
            None => DeploymentFilter::Newest,
        };
        let page = self.gitlab.deployments(id, filter).await?;
        for sentence in listed.skipped.into_iter().chain(page.skipped) {
            problems.push(Problem::skipped(
                &target.project.full_path,
                Collector::Environments,
                sentence,
            ));
        }
        read.deployments = page.items;
        let newest = read
            .deployments
            .iter()
            .map(|deployment| deployment.updated_at);
        progress.watermark = newest.max().unwrap_or_default().max(progress.watermark);
        // By the clock that is behind: GitLab's header may be ahead of the times that it notes.
        progress.read_at = Some(clock.min(now));
        progress.full_at = now;
        progress.moved =
            pipelines(&target.memory).map_or(progress.moved, |(watermark, _)| watermark);
        read.next_floor = progress.watermark.minus(OVERLAP).max(progress.first_seen);
        read.environments = Some(listed.items);
        self.successes(target, &mut read, &mut problems).await;
        self.behind(target, &mut read, &mut progress, &mut problems)
            .await;
        Ok(EnvironmentsRead {
            read,
            progress,
            problems,
        })
    }

    /// Asks for the last success of environments of which none is known.
    async fn successes(
        &self,
        target: &Target,
        read: &mut Deployments,
        problems: &mut Vec<Problem>,
    ) {
        let known = target.memory.environments.known();
        let open = |id: u64| {
            known.get(&id).is_none_or(RememberedEnvironment::is_open)
                && !read
                    .deployments
                    .iter()
                    .any(|d| d.environment == id && d.succeeded())
        };
        let asked: Vec<_> = read
            .environments
            .iter()
            .flatten()
            .filter(|environment| open(environment.id))
            .take(ENVIRONMENTS_AT_ONCE)
            .collect();
        let calls = asked.iter().map(|environment| {
            let filter = DeploymentFilter::NewestSuccess(&environment.name);
            self.gitlab.deployments(target.id(), filter)
        });
        let mut found: Vec<Deployment> = Vec::new();
        let mut answered = Vec::new();
        let pages = side_by_side(CALLS_AT_ONCE, calls.collect()).await;
        for (environment, page) in asked.iter().zip(pages) {
            match page {
                Ok(page) => {
                    answered.push(environment.id);
                    found.extend(page.items);
                }
                Err(error) => problems.push(self.problem(target, &error)),
            }
        }
        read.asked.extend(answered);
        read.deployments.extend(found);
    }

    /// Compares what environments have with the default branch.
    async fn behind(
        &self,
        target: &Target,
        read: &mut Deployments,
        progress: &mut EnvironmentsProgress,
        problems: &mut Vec<Problem>,
    ) {
        let Some(branch) = target.project.default_branch.clone().value() else {
            return;
        };
        let known = target.memory.environments.known();
        let mut deployed: Vec<(u64, crate::types::Text)> = Vec::new();
        for environment in read.environments.iter().flatten() {
            let newest = read
                .deployments
                .iter()
                .filter(|d| d.environment == environment.id && d.succeeded())
                .max_by_key(|d| (d.finished_at, d.id))
                .map(|d| d.sha.clone());
            let before = known
                .get(&environment.id)
                .and_then(RememberedEnvironment::sha);
            deployed.extend(newest.or(before).map(|sha| (environment.id, sha)));
        }
        let chosen = turn(&deployed, progress.turn);
        if deployed.len() > chosen.len() {
            progress.turn = progress.turn.wrapping_add(chosen.len()) % deployed.len();
        }
        // Environments with the same commit share a call.
        let mut shas: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for (id, sha) in chosen {
            shas.entry(sha.clone()).or_default().push(*id);
        }
        let (shas, ids): (Vec<_>, Vec<_>) = shas.into_iter().unzip();
        let calls = shas
            .iter()
            .map(|sha| self.gitlab.commit_count_between(target.id(), sha, &branch));
        let counts = side_by_side(CALLS_AT_ONCE, calls.collect()).await;
        for (ids, count) in ids.into_iter().zip(counts) {
            match count {
                Ok(count) => read.behind.extend(ids.into_iter().map(|id| (id, count))),
                // The commit was removed by a force push: there is no number.
                Err(error) if error.is_object_not_found() => {}
                Err(error) => problems.push(self.problem(target, &error)),
            }
        }
    }

    fn problem(&self, target: &Target, error: &GitLabError) -> Problem {
        let collector = Collector::Environments;
        Problem::call(&target.project.full_path, collector, error)
    }
}

/// Some of `all`, beginning where the last turn ended.
fn turn<T>(all: &[T], first: usize) -> Vec<&T> {
    let first = first % all.len().max(1);
    let size = all.len().min(ENVIRONMENTS_AT_ONCE);
    all.iter().cycle().skip(first).take(size).collect()
}

impl EnvironmentsSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<EnvironmentsRead, SourceError>)> {
        let reads = targets
            .iter()
            .map(|target| async move { (target.id(), self.project(target, now).await) });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }
}

#[async_trait]
impl Source for EnvironmentsSource {
    fn reading(&self) -> Reading {
        Reading::Environments
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Environments]
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        target.lacks(Tier::Free, Right::Environments)
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::Environments)
    }
}
