//! The input of a project's computed DORA figures: each successful deployment of the period is read
//! once, and so is what it shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::environments::pipelines;
use super::super::{SourceError, Target, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::model::Deployment;
use crate::gitlab::model::DeploymentTier;
use crate::gitlab::model::Page;
use crate::gitlab::rest::DeploymentFilter;
use crate::gitlab::{GitLab, GitLabError};
use crate::memory::dora::computed::Period;
use crate::memory::dora::{DoraMemory, DoraProgress, tiers_of};
use crate::types::ProjectId;

/// What ended or changed this long before the last poll is read again: it shows after its
/// transaction, with times from before.
const OVERLAP: Duration = Duration::from_secs(300);
/// How often a project is polled though no pipeline moved, and all its incidents are read again.
const FULL_POLL_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// Environments that are asked for one by one; of more, the list is read.
const SINGLY: usize = 10;
/// Deployments of one project whose merge requests one poll asks for; others have their turn at the
/// next.
const SHIPPED_AT_ONCE: usize = 100;
/// Calls of one project that run concurrently.
const CALLS_AT_ONCE: usize = 4;

/// What one poll brought.
pub(super) struct Read {
    pub(super) memory: DoraMemory,
    pub(super) progress: DoraProgress,
    pub(super) problems: Vec<Problem>,
}

/// One poll of one project.
struct Poll<'a> {
    gitlab: &'a GitLab,
    target: &'a Target,
    now: UnixSeconds,
    /// GitLab's own time before the poll.
    clock: UnixSeconds,
    period: Period,
    read: Read,
}

/// Reads what moved in a project.
pub(super) async fn read(
    gitlab: &GitLab,
    target: &Target,
    tiers: &BTreeSet<DeploymentTier>,
    now: UnixSeconds,
) -> Result<Read, SourceError> {
    let (memory, progress) = (&target.memory.dora, &target.memory.dora_progress);
    let (memory, progress) = match memory.tiers() == tiers {
        true => (memory.clone(), progress.clone()),
        // The settings are others, or nothing was read yet.
        false => (DoraMemory::new(tiers.clone()), DoraProgress::default()),
    };
    let mut poll = Poll {
        gitlab,
        target,
        now,
        clock: gitlab.server_time().unwrap_or(now),
        period: Period::ending(now),
        read: Read {
            memory,
            progress,
            problems: Vec::new(),
        },
    };
    poll.read.memory.forget(poll.period);
    if poll.is_due() {
        poll.deployments().await?;
    }
    poll.shipped().await;
    poll.incidents().await;
    Ok(poll.read)
}

impl Poll<'_> {
    fn id(&self) -> ProjectId {
        self.target.id()
    }

    fn is_full(&self) -> bool {
        let progress = &self.read.progress;
        progress.read_at.is_none() || self.now.since(progress.full_at) >= FULL_POLL_INTERVAL
    }

    /// Whether deployments may have been made since the last poll.
    fn is_due(&self) -> bool {
        let progress = &self.read.progress;
        let moved = pipelines(&self.target.memory)
            .is_none_or(|(watermark, active)| active || watermark != progress.moved);
        // A deployment moves after the pipeline it belongs to.
        let late = progress
            .read_at
            .is_some_and(|at| progress.moved.plus(OVERLAP) > at);
        moved || late || self.is_full()
    }

    /// From when on deployments or incidents are to be read that were read at `last`.
    fn since(&self, last: Option<UnixSeconds>) -> UnixSeconds {
        let start = self.period.start();
        last.map_or(start, |last| last.minus(OVERLAP).max(start))
    }

    /// Reads environments, where they are unknown or a full poll is due, and deployments.
    async fn deployments(&mut self) -> Result<(), SourceError> {
        let (id, is_full) = (self.id(), self.is_full());
        let mut places = self.read.memory.environments().clone();
        if is_full {
            let listed = self.gitlab.environments(id, true).await?;
            places = tiers_of(&self.kept(listed));
        }
        let missed = self.read.memory.has_missed(&places);
        let since = self.since(self.read.progress.read_at.filter(|_| !missed));
        let filter = DeploymentFilter::SucceededAfter(since);
        let page = self.gitlab.deployments(id, filter).await?;
        let is_whole = page.next.is_none();
        let deployments: Vec<Deployment> = self.kept(page);
        let mut open: BTreeSet<u64> = self.read.memory.deployed_to().collect();
        open.extend(deployments.iter().map(|deployment| deployment.environment));
        open.retain(|environment| !places.contains_key(environment));
        places.extend(self.environments(open).await?);
        let memory = &mut self.read.memory;
        memory.place(places);
        memory.deployed(&deployments, self.period);
        let last = deployments.last().and_then(|last| last.finished_at);
        let progress = &mut self.read.progress;
        // Of a list that was cut off the rest is read at the next poll.
        progress.read_at = match (is_whole, last) {
            (false, Some(last)) => Some(last),
            _ => Some(self.clock),
        };
        if is_full {
            progress.full_at = self.now;
        }
        if let Some((watermark, _)) = pipelines(&self.target.memory) {
            progress.moved = watermark;
        }
        Ok(())
    }

    /// The tiers of environments that are not known; one that was deleted has none.
    async fn environments(
        &mut self,
        ids: BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, DeploymentTier>, SourceError> {
        let project = self.id();
        if ids.len() > SINGLY {
            let listed = self.gitlab.environments(project, false).await?;
            let mut all = tiers_of(&self.kept(listed));
            all.retain(|id, _| ids.contains(id));
            return Ok(all);
        }
        let calls = ids
            .iter()
            .map(|environment| self.gitlab.environment(project, *environment));
        let mut found = Vec::new();
        for read in side_by_side(CALLS_AT_ONCE, calls.collect()).await {
            match read {
                Ok(environment) => found.push(environment),
                Err(error) if error.is_object_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(tiers_of(&found))
    }

    /// Asks when the merge requests of deployments were merged.
    async fn shipped(&mut self) {
        let mut open = self.read.memory.to_ask(self.clock);
        open.truncate(SHIPPED_AT_ONCE);
        for some in open.chunks(CALLS_AT_ONCE) {
            let calls = some
                .iter()
                .map(|deployment| self.gitlab.merged_by_deployment(self.id(), *deployment));
            let reads = side_by_side(CALLS_AT_ONCE, calls.collect()).await;
            for (deployment, read) in some.iter().zip(reads) {
                match read {
                    Ok(merged) => self.read.memory.shipped(*deployment, &merged, self.clock),
                    Err(error) if error.is_object_not_found() => {
                        self.read.memory.deleted(*deployment)
                    }
                    // The others would be answered alike; lead times are not for this token.
                    Err(error) if error.is_forbidden() => return,
                    Err(error) => {
                        self.read.memory.not_shipped(*deployment);
                        self.note(&error);
                    }
                }
            }
        }
    }

    /// Reads the incidents that changed; all of the period once a day, for one that was deleted, or
    /// made another kind of issue, does not come as changed.
    async fn incidents(&mut self) {
        if !self.read.memory.has_production() {
            self.read.memory.without_incidents();
            self.read.progress.incidents_at = None;
            return;
        }
        let progress = &self.read.progress;
        let last = progress
            .incidents_at
            .filter(|_| self.now.since(progress.all_incidents_at) < FULL_POLL_INTERVAL);
        match self.gitlab.incidents(self.id(), self.since(last)).await {
            Ok(page) => {
                let incidents = self.kept(page);
                self.read.memory.incidents(&incidents, last.is_none());
                self.read.progress.incidents_at = Some(self.clock);
                if last.is_none() {
                    self.read.progress.all_incidents_at = self.now;
                }
            }
            // Issues are off, or not for this token.
            Err(error) if error.is_forbidden() || error.is_not_found() => {
                self.read.memory.without_incidents();
                self.read.progress.incidents_at = None;
            }
            Err(error) => self.note(&error),
        }
    }

    /// The items of a page; what made no sense becomes a problem.
    fn kept<T>(&mut self, page: Page<T>) -> Vec<T> {
        let (path, who) = (&self.target.project.full_path, Collector::Dora);
        let skipped = page.skipped.into_iter();
        let problems = skipped.map(|sentence| Problem::skipped(path, who, sentence));
        self.read.problems.extend(problems);
        page.items
    }

    fn note(&mut self, error: &GitLabError) {
        let path = &self.target.project.full_path;
        let problem = Problem::call(path, Collector::Dora, error);
        self.read.problems.push(problem);
    }
}
