//! Environments and their deployments, of projects whose pipelines moved since the last poll: deployments
//! are jobs of pipelines.
//!
//! GitLab lists environments and deployments of one project per request, by GraphQL too. So deployments are
//! asked for by their numbers, and the tips of branches with them, of many projects in a query ([`numbers`]).
//! The lists are read by REST at first and every few hours; that of environments also every hour where
//! pipelines move, and where a deployment names one that is not known. Where there are environments, deployments
//! are asked for each hour though no pipeline moves: some are made by API. What moves otherwise (an environment
//! stopped by hand) is found by the lists.

mod behind;
mod numbers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{Context, Fetched, Right, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::environments::{Deployments, EnvironmentsRead};
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::graphql::batch::Breaker;
use crate::gitlab::graphql::{Asked, ProjectTip};
use crate::gitlab::model::{Deployment, Environment};
use crate::gitlab::rest::DeploymentFilter;
use crate::gitlab::{GitLab, GitLabError};
use crate::memory::ProjectMemory;
use crate::memory::environments::{EnvironmentsProgress, RememberedEnvironment};
use crate::types::{ProjectId, Text, Tier};
use numbers::Seen;

/// Deployments that changed this long before the watermark are read again: a deployment follows its
/// job after the job's transaction, with the job's times.
const OVERLAP: Duration = Duration::from_secs(120);
/// How often a project is polled though no pipeline moved.
const FULL_POLL_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// How often a project that has environments is asked for deployments though no pipeline moved.
const QUIET_INTERVAL: Duration = Duration::from_secs(3600);
/// How often the environments are listed of a project in which something moves.
const LIST_INTERVAL: Duration = Duration::from_secs(3600);
/// Environments compared with the default branch, or asked for their last success, in one poll.
const ENVIRONMENTS_AT_ONCE: usize = 20;
/// Queries in a row for deployments that are new; of more, the list is read.
const ROUNDS: usize = 4;
/// Calls of one poll that run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// Projects in one run.
const BATCH: usize = 100;
/// How long it is kept what was seen of a project that is not polled.
const KEPT: Duration = Duration::from_secs(2 * 24 * 3600);

/// The source.
pub struct EnvironmentsSource {
    gitlab: GitLab,
    breaker: Arc<Breaker>,
    tips: Batches,
    seen: Mutex<BTreeMap<ProjectId, Seen>>,
}

/// One poll of one project.
struct Poll<'a> {
    gitlab: &'a GitLab,
    target: &'a Target,
    now: UnixSeconds,
    /// GitLab's own time before the poll.
    clock: UnixSeconds,
    seen: Seen,
    /// The newest commit of the default branch, where it could be asked for.
    tip: Option<Text>,
    /// Deployments that were read by their numbers; none where the list is to be read.
    numbered: Option<Vec<Deployment>>,
    /// Whether there are environments that are not known, or that changed.
    environments_moved: bool,
    read: Deployments,
    progress: EnvironmentsProgress,
    problems: Vec<Problem>,
}

/// What the change feed knows of a project's pipelines: the latest change, and whether some run.
pub(super) fn pipelines(memory: &ProjectMemory) -> Option<(UnixSeconds, bool)> {
    let feed = memory.feed.as_ref()?;
    let mut followed = feed.followed.values();
    let active = followed.any(|followed| followed.pipeline.status.is_active());
    Some((feed.watermark, active))
}

fn is_due(target: &Target, now: UnixSeconds) -> bool {
    let progress = &target.memory.environments_progress;
    let Some(read_at) = progress.read_at else {
        return true;
    };
    let selection = target.settings.environments();
    let is_left_out = |known: &RememberedEnvironment| !selection.watches(&known.environment.name);
    let mut known = target.memory.environments.known().values();
    let quiet_for = now.since(read_at);
    target.is_asked_for
        || moves(target, read_at)
        || known.len() > 0 && quiet_for >= QUIET_INTERVAL
        || known.any(|known| known.is_open() || is_left_out(known))
        || now.since(progress.full_at) >= FULL_POLL_INTERVAL
}

/// Whether something moved in a project since it was polled, or goes on.
fn moves(target: &Target, read_at: UnixSeconds) -> bool {
    let progress = &target.memory.environments_progress;
    let moved = pipelines(&target.memory)
        .is_none_or(|(watermark, active)| active || watermark != progress.moved);
    // A deployment moves after the pipeline it belongs to.
    moved || progress.moved.plus(OVERLAP) > read_at
}

impl EnvironmentsSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            breaker: gitlab.breaker(),
            tips: Batches::new(&gitlab.breaker(), GitLab::TIP_PROJECTS),
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<ProjectId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a project, if nothing was read since that was not remembered.
    fn take_seen(&self, target: &Target) -> Seen {
        let read_at = target.memory.environments_progress.read_at;
        let seen = self.seen().remove(&target.id());
        let same = |seen: &Seen| {
            let selection = seen.selection.as_ref();
            seen.tracking == target.tracking
                && Some(seen.read_at) == read_at
                && selection == Some(target.settings.environments())
        };
        seen.filter(same).unwrap_or_default()
    }

    /// Asks for the tips of the default branches.
    async fn tips(&self, polls: &mut [Poll<'_>], now: UnixSeconds) {
        let branches = polls.iter().filter(|poll| {
            poll.target
                .project
                .default_branch
                .as_ref()
                .value()
                .is_some()
        });
        let ids: Vec<ProjectId> = branches.map(|poll| poll.target.id()).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.branch_tips(&ids).await;
        let id_of = |found: &ProjectTip| found.id;
        let mut tips: PerProject<ProjectTip> = self.tips.ask(&ids, now, id_of, ask).await;
        for poll in polls {
            // Without it, everything is compared.
            let tip = tips.remove(&poll.target.id()).and_then(Result::ok);
            poll.tip = tip.and_then(|tip| tip.sha);
            poll.read.tip = poll.tip.clone();
        }
    }

    /// Reads the deployments that may have moved by their numbers, where these are known.
    async fn numbered(&self, polls: &mut [Poll<'_>], now: UnixSeconds) {
        let open = polls.iter().enumerate();
        let mut open: Vec<(usize, Vec<u64>)> = open
            .filter_map(|(place, poll)| Some((place, poll.numbers()?)))
            .collect();
        for (place, _) in &open {
            if let Some(poll) = polls.get_mut(*place) {
                poll.numbered = Some(Vec::new());
            }
        }
        for _ in 0..ROUNDS {
            let mut asked = Vec::new();
            for (place, numbers) in &open {
                let Some(poll) = polls.get(*place) else {
                    continue;
                };
                asked.extend(numbers.iter().map(|number| Asked {
                    project: poll.target.id(),
                    path: poll.target.project.full_path.clone(),
                    key: *number,
                }));
            }
            if asked.is_empty() {
                return;
            }
            let read = self
                .gitlab
                .deployments_by_number(&asked, &self.breaker, now);
            let mut items = read.await.items.into_iter();
            for (place, numbers) in &mut open {
                let answers: Vec<_> = items.by_ref().take(numbers.len()).collect();
                let Some(poll) = polls.get_mut(*place) else {
                    continue;
                };
                *numbers = poll.take_numbered(numbers, answers).unwrap_or_default();
            }
            open.retain(|(_, numbers)| !numbers.is_empty());
        }
        // There is more than is worth asking for one by one.
        for (place, _) in open {
            if let Some(poll) = polls.get_mut(place) {
                poll.numbered = None;
            }
        }
    }
}

impl<'a> Poll<'a> {
    /// One that has read nothing yet.
    fn new(
        source: &'a EnvironmentsSource,
        target: &'a Target,
        seen: Seen,
        now: UnixSeconds,
    ) -> Self {
        let before = &target.memory.environments_progress;
        let mut progress = before.clone();
        let clock = source.gitlab.server_time().unwrap_or(now);
        let mut read = Deployments::default();
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
        Self {
            gitlab: &source.gitlab,
            target,
            now,
            clock,
            seen,
            tip: None,
            numbered: None,
            environments_moved: false,
            read,
            progress,
            problems: Vec::new(),
        }
    }

    /// What was read when nothing more is to be.
    fn done(self) -> EnvironmentsRead {
        EnvironmentsRead {
            read: self.read,
            progress: self.progress,
            problems: self.problems,
        }
    }

    /// The numbers of deployments to be asked for; none where the list is to be read.
    fn numbers(&self) -> Option<Vec<u64>> {
        let before = &self.target.memory.environments_progress;
        before.read_at?;
        let is_listed = self.now.since(before.full_at) >= FULL_POLL_INTERVAL;
        self.seen.numbers().filter(|_| !is_listed)
    }

    /// Takes deployments in that were asked for by their numbers; gives the numbers to be asked for next.
    fn take_numbered(
        &mut self,
        numbers: &[u64],
        answers: Vec<Option<Option<Deployment>>>,
    ) -> Option<Vec<u64>> {
        let whole: Option<Vec<_>> = answers.into_iter().collect();
        let Some(answers) = whole.filter(|answers| answers.len() == numbers.len()) else {
            self.numbered = None;
            return None;
        };
        let (mut found, mut absent) = (Vec::new(), Vec::new());
        for (number, answer) in numbers.iter().zip(answers) {
            match answer {
                Some(deployment) => found.push(Deployment {
                    iid: Some(*number),
                    ..deployment
                }),
                None => absent.push(*number),
            }
        }
        self.seen.take(&found, self.now);
        for number in absent {
            self.seen.absent(number, self.now);
        }
        let known = self.target.memory.environments.known();
        for deployment in &mut found {
            match known.get(&deployment.environment) {
                Some(place) => {
                    deployment.environment_name = place.environment.name.clone();
                    // With its first success an environment has an address.
                    self.environments_moved |= deployment.succeeded() && place.success.is_none();
                }
                None => match self.seen.others.get(&deployment.environment) {
                    Some(name) => deployment.environment_name = name.clone(),
                    None => self.environments_moved = true,
                },
            }
        }
        self.numbered.as_mut()?.extend(found);
        self.seen.more(numbers)
    }

    /// Reads what is still to be read.
    async fn finish(mut self) -> Result<Self, SourceError> {
        // The list first: a deployment of an environment that comes after it is read again.
        let before = self.target.memory.environments_progress.read_at;
        let interval = match before.is_none_or(|read_at| moves(self.target, read_at)) {
            true => LIST_INTERVAL,
            false => FULL_POLL_INTERVAL,
        };
        let is_old = self.now.since(self.seen.listed_at) >= interval;
        let is_old = is_old || self.target.is_asked_for;
        if self.numbered.is_none() || self.environments_moved || is_old {
            self.list_environments().await?;
        }
        if let Some(mut numbered) = self.numbered.take()
            && self.name(&mut numbered)
        {
            self.read.deployments = numbered;
        } else {
            self.list().await?;
        }
        // By the clock that is behind: GitLab's header may be ahead of the times that it notes.
        let read_at = self.clock.min(self.now);
        self.progress.read_at = Some(read_at);
        (self.seen.tracking, self.seen.read_at) = (self.target.tracking, read_at);
        let selection = self.target.settings.environments();
        self.seen.selection = Some(selection.clone());
        let deployments = &mut self.read.deployments;
        deployments.retain(|deployment| selection.watches(&deployment.environment_name));
        let moved = pipelines(&self.target.memory);
        self.progress.moved = moved.map_or(self.progress.moved, |(watermark, _)| watermark);
        let floor = self.progress.watermark.minus(OVERLAP);
        self.read.next_floor = floor.max(self.progress.first_seen);
        self.successes().await;
        self.behind().await;
        Ok(self)
    }

    /// Names the environments of deployments; false where one has none that is known, for the list names
    /// those that stopped, too.
    fn name(&self, deployments: &mut [Deployment]) -> bool {
        deployments.iter_mut().all(|deployment| {
            if deployment.environment_name.is_empty() {
                let mut listed = self.read.environments.iter().flatten();
                let place = listed.find(|place| place.id == deployment.environment);
                let others = self.seen.others.get(&deployment.environment);
                let Some(name) = place.map(|place| &place.name).or(others) else {
                    return false;
                };
                deployment.environment_name = name.clone();
            }
            true
        })
    }

    async fn list_environments(&mut self) -> Result<(), SourceError> {
        let selection = self.target.settings.environments();
        let listed = self
            .gitlab
            .environments(self.target.id(), selection.exclude_stopped)
            .await?;
        self.skipped(listed.skipped);
        let listed = listed.items.into_iter();
        let (watched, others) = listed.partition(|place| selection.watches(&place.name));
        self.read.environments = Some(watched);
        let others: Vec<Environment> = others;
        self.seen.others = others
            .into_iter()
            .map(|place| (place.id, place.name))
            .collect();
        // What is read for the first time together is not read again together.
        let spread = match self.seen.is_known() {
            true => 0,
            false => self.target.id().0.wrapping_mul(61) % LIST_INTERVAL.as_secs(),
        };
        self.seen.listed_at = self.now.minus(Duration::from_secs(spread));
        Ok(())
    }

    /// Reads the list of deployments that changed.
    async fn list(&mut self) -> Result<(), SourceError> {
        let id = self.target.id();
        let is_first = self.target.memory.environments_progress.read_at.is_none();
        let filter = match is_first {
            false => DeploymentFilter::UpdatedAfter(self.progress.watermark.minus(OVERLAP)),
            true => DeploymentFilter::Newest,
        };
        let page = self.gitlab.deployments(id, filter).await?;
        self.skipped(page.skipped);
        let newest = page.items.iter().map(|deployment| deployment.updated_at);
        let newest = newest.max().unwrap_or_default();
        self.progress.read_until(newest, self.clock.max(self.now));
        self.progress.full_at = self.now;
        self.read.deployments = page.items;
        self.follow(is_first).await;
        Ok(())
    }

    /// Notes which deployments are open, to ask for them by their numbers from now on.
    async fn follow(&mut self, is_first: bool) {
        if self.seen.is_known() {
            self.seen.take(&self.read.deployments, self.now);
        } else if self.gitlab.uses_graphql() {
            let newest = match is_first {
                true => None,
                // After a start it is not known.
                false => {
                    let filter = DeploymentFilter::Newest;
                    self.gitlab.deployments(self.target.id(), filter).await.ok()
                }
            };
            match (is_first, newest) {
                (true, _) => self.seen.begin(&self.read.deployments, self.now),
                (false, Some(newest)) => {
                    self.seen.begin(&newest.items, self.now);
                    self.read.deployments.extend(newest.items);
                }
                (false, None) => {}
            }
        }
    }

    /// Id and name of the environments.
    fn places(&self) -> Vec<(u64, Text)> {
        let name = |place: &Environment| (place.id, place.name.clone());
        match &self.read.environments {
            Some(listed) => listed.iter().map(name).collect(),
            None => {
                let known = self.target.memory.environments.known().values();
                known.map(|known| name(&known.environment)).collect()
            }
        }
    }

    /// Asks for the last success of environments of which none is known.
    async fn successes(&mut self) {
        let known = self.target.memory.environments.known();
        let deployments = &self.read.deployments;
        let open = |id: u64| {
            known.get(&id).is_none_or(RememberedEnvironment::is_open)
                && !deployments
                    .iter()
                    .any(|d| d.environment == id && d.succeeded())
        };
        let mut asked = self.places();
        asked.retain(|(id, _)| open(*id));
        asked.truncate(ENVIRONMENTS_AT_ONCE);
        let calls = asked.iter().map(|(_, name)| {
            let filter = DeploymentFilter::NewestSuccess(name);
            self.gitlab.deployments(self.target.id(), filter)
        });
        let pages = side_by_side(CALLS_AT_ONCE, calls.collect()).await;
        for ((id, _), page) in asked.iter().zip(pages) {
            match page {
                Ok(page) => {
                    self.read.asked.insert(*id);
                    self.read.deployments.extend(page.items);
                }
                Err(error) => self.problem(&error),
            }
        }
    }

    fn skipped(&mut self, sentences: Vec<String>) {
        let path = &self.target.project.full_path;
        let problem = |sentence| Problem::skipped(path, Collector::Environments, sentence);
        self.problems.extend(sentences.into_iter().map(problem));
    }

    fn problem(&mut self, error: &GitLabError) {
        let path = &self.target.project.full_path;
        let problem = Problem::call(path, Collector::Environments, error);
        self.problems.push(problem);
    }
}

impl EnvironmentsSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<EnvironmentsRead, SourceError>)> {
        let mut read = Vec::with_capacity(targets.len());
        let mut polls = Vec::new();
        for target in targets {
            if is_due(target, now) {
                let seen = self.take_seen(target);
                polls.push(Poll::new(self, target, seen, now));
            } else {
                let poll = Poll::new(self, target, Seen::default(), now);
                read.push((target.id(), Ok(poll.done())));
            }
        }
        self.tips(&mut polls, now).await;
        self.numbered(&mut polls, now).await;
        let polls = polls
            .into_iter()
            .map(|poll| async move { (poll.target.id(), poll.finish().await) });
        for (id, poll) in side_by_side(CALLS_AT_ONCE, polls.collect()).await {
            let poll = poll.map(|mut poll| {
                self.seen().insert(id, std::mem::take(&mut poll.seen));
                poll.done()
            });
            read.push((id, poll));
        }
        let kept = |seen: &Seen| now.since(seen.read_at) < KEPT;
        self.seen().retain(|_, seen| kept(seen));
        read
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
