//! The input of a project's computed DORA figures: each successful deployment of the period is read
//! once, and so is what it shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::batches::{Batches, PerProject};
use super::super::environments::pipelines;
use super::super::{SourceError, Target, side_by_side};
use super::PROJECTS_AT_ONCE;
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::graphql::batch::Breaker;
use crate::gitlab::graphql::{Asked, ProjectIncidents};
use crate::gitlab::model::{Deployment, DeploymentTier, Incident, Known, Page};
use crate::gitlab::rest::DeploymentFilter;
use crate::gitlab::{GitLab, GitLabError, Lane};
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

/// Reads what figures are computed from.
pub(super) struct Computed {
    gitlab: GitLab,
    shipped: Arc<Breaker>,
    incidents: Batches,
}

impl Computed {
    /// A reader of a GitLab.
    pub(super) fn new(gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            shipped: gitlab.breaker(),
            incidents: Batches::new(&gitlab.breaker(), GitLab::INCIDENT_PROJECTS),
        }
    }

    /// Reads what moved in some projects: one result for each.
    pub(super) async fn read(
        &self,
        targets: &[&Target],
        tiers: &BTreeSet<DeploymentTier>,
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<Read, SourceError>)> {
        let polls = targets.iter().map(|target| {
            let mut poll = Poll::new(&self.gitlab, target, tiers, now);
            async move {
                if poll.is_due()
                    && let Err(error) = poll.deployments().await
                {
                    return Err((poll.id(), error));
                }
                Ok(poll)
            }
        });
        let (mut read, mut going) = (Vec::with_capacity(targets.len()), Vec::new());
        for poll in side_by_side(PROJECTS_AT_ONCE, polls.collect()).await {
            match poll {
                Ok(poll) => going.push(poll),
                Err((id, error)) => read.push((id, Err(error))),
            }
        }
        // What deployments shipped lies back: it yields to what moves now, unless somebody waits for it.
        let lane = match Lane::of_task() {
            Some(Lane::Urgent) => Lane::Urgent,
            _ => Lane::Backfill,
        };
        lane.scope(self.shipped(&mut going, now)).await;
        let moved = self.moved_incidents(&going, now).await;
        let rest = going.into_iter().map(|mut poll| {
            let moved = moved.get(&poll.id()).cloned();
            async move {
                poll.incidents(moved).await;
                (poll.id(), Ok(poll.read))
            }
        });
        read.extend(side_by_side(PROJECTS_AT_ONCE, rest.collect()).await);
        read
    }

    /// Asks when the merge requests of deployments were merged: of many deployments at once by GraphQL,
    /// of what that does not answer by REST.
    async fn shipped(&self, polls: &mut [Poll<'_>], now: UnixSeconds) {
        let (mut asked, mut of_poll) = (Vec::new(), Vec::new());
        for (place, poll) in polls.iter().enumerate() {
            let mut open = poll.read.memory.to_ask(poll.clock);
            open.truncate(SHIPPED_AT_ONCE);
            of_poll.extend(open.iter().map(|_| place));
            asked.extend(open.into_iter().map(|deployment| Asked {
                project: poll.id(),
                path: poll.target.project.full_path.clone(),
                key: deployment,
            }));
        }
        let filled = self
            .gitlab
            .merged_by_deployments(&asked, &self.shipped, now);
        let filled = filled.await;
        let mut left: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for ((place, one), merged) in of_poll.into_iter().zip(&asked).zip(filled.items) {
            match (polls.get_mut(place), merged) {
                (Some(poll), Some(merged)) => {
                    poll.read.memory.shipped(one.key, &merged, poll.clock);
                }
                _ => left.entry(place).or_default().push(one.key),
            }
        }
        for (place, left) in left {
            let Some(poll) = polls.get_mut(place) else {
                continue;
            };
            let error = filled.error.as_ref();
            match error.filter(|error| !SourceError::GitLab(Arc::clone(error)).rest_may_answer()) {
                Some(error) => poll.not_shipped(&left, error),
                None => poll.shipped(&left).await,
            }
        }
    }

    /// The incidents that changed in the projects of which all were read lately.
    async fn moved_incidents(
        &self,
        polls: &[Poll<'_>],
        now: UnixSeconds,
    ) -> BTreeMap<ProjectId, Vec<Incident>> {
        let read = polls.iter().filter(|poll| poll.has_incidents());
        let read =
            read.filter_map(|poll| Some((poll.id(), poll.since(Some(poll.last_incidents()?)))));
        let (ids, since): (Vec<_>, Vec<_>) = read.unzip();
        let Some(since) = since.into_iter().min() else {
            return BTreeMap::new();
        };
        let ask = async |ids: Vec<ProjectId>| self.gitlab.incidents_of_projects(&ids, since).await;
        let id_of = |found: &ProjectIncidents| found.id;
        let read: PerProject<ProjectIncidents> = self.incidents.ask(&ids, now, id_of, ask).await;
        let read = read.into_iter();
        // REST has what GraphQL did not answer, or not to the end.
        let whole = read.filter_map(|(id, read)| Some((id, read.ok()?.incidents)));
        let whole = whole.filter(|(_, page)| page.next.is_none() && page.skipped.is_empty());
        whole.map(|(id, page)| (id, page.items)).collect()
    }
}

impl<'a> Poll<'a> {
    fn new(
        gitlab: &'a GitLab,
        target: &'a Target,
        tiers: &BTreeSet<DeploymentTier>,
        now: UnixSeconds,
    ) -> Self {
        let (memory, progress) = (&target.memory.dora, &target.memory.dora_progress);
        let (mut memory, progress) = match memory.tiers() == tiers {
            true => (memory.clone(), progress.clone()),
            // The settings are others, or nothing was read yet.
            false => (DoraMemory::new(tiers.clone()), DoraProgress::default()),
        };
        let period = Period::ending(now);
        memory.forget(period);
        Self {
            gitlab,
            target,
            now,
            clock: gitlab.server_time().unwrap_or(now),
            period,
            read: Read {
                memory,
                progress,
                problems: Vec::new(),
            },
        }
    }
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
        // REST does not report permissions: only a 403 shows that they were lost.
        let is_reported = matches!(self.target.permissions.environments, Known::Value(_));
        moved || late || !is_reported || self.is_full()
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
        // A time in the future would hide all deployments until then.
        let clock = self.clock.min(self.now);
        progress.read_at = match (is_whole, last) {
            (false, Some(last)) => Some(last.min(clock)),
            _ => Some(clock),
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

    /// Asks REST when the merge requests of deployments were merged.
    async fn shipped(&mut self, open: &[u64]) {
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

    /// What deployments shipped could not be read this time.
    fn not_shipped(&mut self, open: &[u64], error: &GitLabError) {
        for deployment in open {
            self.read.memory.not_shipped(*deployment);
        }
        self.note(error);
    }

    /// Whether incidents belong to the figures.
    fn has_incidents(&self) -> bool {
        self.read.memory.has_production()
    }

    /// When incidents were last read; none where all are to be read.
    fn last_incidents(&self) -> Option<UnixSeconds> {
        let progress = &self.read.progress;
        let last = progress.incidents_at;
        last.filter(|_| self.now.since(progress.all_incidents_at) < FULL_POLL_INTERVAL)
    }

    /// Takes the incidents in that changed, or reads them; all of the period once a day, for one that was
    /// deleted, or made another kind of issue, does not come as changed, and for what is hidden by now.
    async fn incidents(&mut self, moved: Option<Vec<Incident>>) {
        if !self.has_incidents() {
            self.read.memory.without_incidents();
            self.read.progress.incidents_at = None;
            return;
        }
        if let Some(moved) = moved {
            self.read.memory.incidents(&moved, false);
            self.read.progress.incidents_at = Some(self.clock.min(self.now));
            return;
        }
        let last = self.last_incidents();
        match self.gitlab.incidents(self.id(), self.since(last)).await {
            Ok(page) => {
                let incidents = self.kept(page);
                self.read.memory.incidents(&incidents, last.is_none());
                self.read.progress.incidents_at = Some(self.clock.min(self.now));
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
