//! Merge requests with their reviews, for the collectors `merge_requests` and `code_review`.
//!
//! One query reads what moved in many projects since the last poll, with all notes. Open merge
//! requests are read as a whole once an hour: conflicts come without a touch, and what was deleted
//! leaves no trace. How many there are of each state and target branch is counted once, number by
//! number, and then kept from what moves. Where GraphQL does not answer, a list by REST shows what
//! moved, and three calls complete each; lines, files and commits are not returned there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{Context, Fetched, Right, Source, SourceError, Target, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::Settings;
use crate::facts::merge_requests::{MergeRequests, MergeRequestsRead};
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::model::{
    CensusPage, ProjectMergeRequests, ReviewedMergeRequest, WhichMergeRequests,
};
use crate::gitlab::{GitLab, GitLabError};
use crate::memory::merge_requests::{APART, Census, MergeRequestsProgress, OVERLAP};
use crate::types::ProjectId;
use crate::types::Tier;

/// Steps of the census in one poll.
const CENSUS_STEPS: usize = 5;
const CENSUS_PAGE: u64 = GitLab::CENSUS_PAGE as u64;
/// Seconds.
const HOUR: u64 = 3600;
/// Calls that run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// How long a merge request whose notes cannot be read is tried again.
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// Projects by the numbers that are read of them.
type Steps<'a> = BTreeMap<(u64, u64), Vec<&'a Target>>;
/// What a run brought of each project.
type Reads = BTreeMap<ProjectId, Result<MergeRequestsRead, SourceError>>;

/// The source.
pub struct MergeRequestsSource {
    gitlab: GitLab,
    collectors: Vec<Collector>,
    reviews: Batches,
    census: Batches,
}

impl MergeRequestsSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(settings: &Settings, gitlab: &GitLab) -> Self {
        let both = [Collector::MergeRequests, Collector::CodeReview].into_iter();
        let collectors = both.filter(|collector| settings.enabled_anywhere(*collector));
        Self {
            gitlab: gitlab.clone(),
            collectors: collectors.collect(),
            reviews: Batches::new(&gitlab.breaker(), GitLab::REVIEWS_PROJECTS),
            census: Batches::new(&gitlab.breaker(), GitLab::REVIEWS_PROJECTS),
        }
    }

    async fn ask(
        &self,
        ids: &[ProjectId],
        which: WhichMergeRequests,
        now: UnixSeconds,
    ) -> PerProject<ProjectMergeRequests> {
        let ask =
            async |ids: Vec<ProjectId>| self.gitlab.reviewed_merge_requests(&ids, which).await;
        self.reviews.ask(ids, now, |read| read.project, ask).await
    }

    /// First pages of what moved, and the time that each project was asked with.
    async fn moved(
        &self,
        targets: &[Target],
        clock: UnixSeconds,
        now: UnixSeconds,
    ) -> PerProject<(UnixSeconds, ProjectMergeRequests)> {
        let since = |target: &Target| (progress(target, clock).since(), target.id());
        let mut asked: Vec<(UnixSeconds, ProjectId)> = targets.iter().map(since).collect();
        asked.sort_unstable();
        let mut found = PerProject::new();
        for together in asked.chunk_by(|(a, _), (b, _)| b.since(*a) < APART) {
            let Some((since, _)) = together.first().copied() else {
                continue;
            };
            let ids: Vec<ProjectId> = together.iter().map(|(_, id)| *id).collect();
            let read = self
                .ask(&ids, WhichMergeRequests::MovedSince(since), now)
                .await;
            let read = read.into_iter();
            found.extend(read.map(|(id, page)| (id, page.map(|page| (since, page)))));
        }
        found
    }

    /// All merge requests that are wanted of a project, complete.
    async fn all(
        &self,
        target: &Target,
        which: WhichMergeRequests,
        first: Option<Result<ProjectMergeRequests, SourceError>>,
        now: UnixSeconds,
        (problems, open_since): (&mut Vec<Problem>, &mut Option<UnixSeconds>),
    ) -> Result<Vec<ReviewedMergeRequest>, SourceError> {
        let first = match first {
            Some(Ok(page)) => page,
            Some(Err(error)) if !error.rest_may_answer() => return Err(error),
            Some(Err(_)) | None => {
                let notes = (problems, open_since);
                return self.by_rest(target, which, now, notes).await;
            }
        };
        let id = target.id();
        let rest = self.gitlab.rest_of_merge_requests(id, which, first.page);
        let mut whole = rest.await?;
        if whole.next.is_some() {
            return Err(SourceError::NotFound);
        }
        self.skipped(target, &whole.skipped, problems);
        for one in &mut whole.items {
            let first = std::mem::take(&mut one.notes);
            one.notes = self.gitlab.rest_of_notes(id, one.iid, first).await?;
            self.skipped(target, &one.notes.skipped, problems);
        }
        if self.gitlab.lacks("MergeRequest", "closedAt") {
            self.closing_times(target, &mut whole.items).await?;
        }
        Ok(whole.items)
    }

    /// Fills in when merge requests were closed, where GraphQL does not have it: from memory, or by a
    /// call for all that were closed since.
    async fn closing_times(
        &self,
        target: &Target,
        all: &mut [ReviewedMergeRequest],
    ) -> Result<(), GitLabError> {
        let known = &target.memory.merge_requests.known;
        let mut closed: BTreeMap<u64, &mut ReviewedMergeRequest> = BTreeMap::new();
        for one in all.iter_mut().filter(|one| &*one.state == "closed") {
            match known.get(&one.iid) {
                Some(known) if known.updated_at == one.updated_at => {
                    one.closed_at = known.closed_at;
                }
                _ => drop(closed.insert(one.iid, one)),
            }
        }
        let iids: Vec<u64> = closed.keys().copied().collect();
        for (iid, at) in self.gitlab.closing_times(target.id(), &iids).await? {
            if let Some(one) = closed.get_mut(&iid) {
                one.closed_at = Some(at);
            }
        }
        Ok(())
    }

    async fn by_rest(
        &self,
        target: &Target,
        which: WhichMergeRequests,
        now: UnixSeconds,
        (problems, open_since): (&mut Vec<Problem>, &mut Option<UnixSeconds>),
    ) -> Result<Vec<ReviewedMergeRequest>, SourceError> {
        let listed = self
            .gitlab
            .listed_merge_requests(target.id(), which)
            .await?;
        self.skipped(target, &listed.skipped, problems);
        // Notes of what has not moved are read when it moves.
        let notes = matches!(which, WhichMergeRequests::MovedSince(_));
        let calls = listed.items.into_iter().map(|mut one| async move {
            let done = self
                .gitlab
                .complete_merge_request(target.id(), &mut one, notes);
            let done = done.await;
            (one, done)
        });
        let mut all = Vec::new();
        let (mut failed, mut answered) = (Vec::new(), false);
        for (one, done) in side_by_side(CALLS_AT_ONCE, calls.collect()).await {
            match done {
                Ok(()) => {
                    answered = true;
                    self.skipped(target, &one.notes.skipped, problems);
                    all.push(one);
                }
                // It was deleted meanwhile.
                Err(error) if error.is_object_not_found() => answered = true,
                Err(error) if error.may_be_one_items_fault() || error.is_forbidden() => {
                    failed.push((one, error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        // Where nothing is answered, it is not the fault of one merge request.
        if failed.len() > 1 && !answered {
            return Err(failed.swap_remove(0).1.into());
        }
        for (one, error) in failed {
            problems.push(self.failed(target, &SourceError::GitLab(Arc::new(error))));
            // With its notes it is read again by the next polls, though not permanently.
            let waits = notes && now.since(one.updated_at) < GIVEN_UP;
            match waits {
                true => {
                    *open_since = Some(
                        open_since.map_or(one.updated_at, |at: UnixSeconds| at.min(one.updated_at)),
                    )
                }
                false => all.push(one),
            }
        }
        Ok(all)
    }

    async fn project(
        &self,
        target: &Target,
        open: Option<Result<ProjectMergeRequests, SourceError>>,
        moved: Option<Result<(UnixSeconds, ProjectMergeRequests), SourceError>>,
        clock: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<MergeRequestsRead, SourceError> {
        let before = progress(target, clock);
        let mut problems = Vec::new();
        // From when on merge requests could not all be read.
        let mut open_since = None;
        let mut read = MergeRequests {
            is_first: before.read_at.is_none(),
            floor: Some(before.floor()),
            ..MergeRequests::default()
        };
        if before.is_full(now) {
            let notes = (&mut problems, &mut open_since);
            let open = self.all(target, WhichMergeRequests::Open, open, now, notes);
            read.open = Some(open.await?);
        }
        let (since, moved) = match moved {
            Some(Ok((since, page))) => (since, Some(Ok(page))),
            Some(Err(error)) => (before.since(), Some(Err(error))),
            None => (before.since(), None),
        };
        let which = WhichMergeRequests::MovedSince(since);
        let notes = (&mut problems, &mut open_since);
        read.moved = self.all(target, which, moved, now, notes).await?;
        let mut progress = before.next(clock, now);
        if let Some(open_since) = open_since {
            progress.read_at = progress.read_at.map(|at| at.min(open_since));
        }
        let read_at = progress.read_at.unwrap_or(clock);
        read.forget = read_at.minus(OVERLAP.saturating_mul(2));
        Ok(MergeRequestsRead {
            read,
            progress,
            problems,
        })
    }

    /// Compares the census with GitLab where all open ones were just read: by a count of GitLab's, or by some
    /// of the numbers where there are many.
    async fn verify_census(&self, targets: &[Target], reads: &mut Reads, now: UnixSeconds) {
        let is_whole = |target: &&Target| {
            let read = reads.get(&target.id()).and_then(|read| read.as_ref().ok());
            let whole = read.is_some_and(|read| read.read.open.is_some());
            whole && target.memory.merge_requests.census.is_complete()
        };
        let whole = targets.iter().filter(is_whole);
        let (long, short): (Vec<&Target>, Vec<&Target>) =
            whole.partition(|target| target.memory.merge_requests.census.is_long());
        for (id, page) in self.counted(&short, 1..=1, true, now).await {
            let Some(Ok(read)) = reads.get_mut(&id) else {
                continue;
            };
            match page {
                Ok(page) => read.read.counted = Some(page),
                Err(problem) => read.problems.push(problem),
            }
        }
        let hour = now.0.unsigned_abs() / HOUR;
        let mut steps = Steps::new();
        for target in long {
            let census = &target.memory.merge_requests.census;
            for numbers in census.again(hour, CENSUS_STEPS as u64, CENSUS_PAGE) {
                let step = steps.entry((*numbers.start(), *numbers.end()));
                step.or_default().push(target);
            }
        }
        for ((first, last), targets) in steps {
            for (id, page) in self.counted(&targets, first..=last, false, now).await {
                let Some(Ok(read)) = reads.get_mut(&id) else {
                    continue;
                };
                match page {
                    Ok(page) => read.read.census.push((first..=last, page)),
                    Err(problem) => read.problems.push(problem),
                }
            }
        }
    }

    /// Continues the census where it is not complete: some steps of it, for all projects at once.
    async fn take_census(&self, targets: &[Target], reads: &mut Reads, now: UnixSeconds) {
        let census = |target: &Target| target.memory.merge_requests.census.clone();
        let mut open: BTreeMap<ProjectId, (&Target, Census)> = targets
            .iter()
            .filter(|target| matches!(reads.get(&target.id()), Some(Ok(_))))
            .filter(|target| !target.memory.merge_requests.census.is_complete())
            .map(|target| (target.id(), (target, census(target))))
            .collect();
        for _ in 0..CENSUS_STEPS {
            let mut steps = Steps::new();
            for (target, census) in open.values() {
                if let Some(numbers) = census.wanted(CENSUS_PAGE) {
                    let step = steps.entry((*numbers.start(), *numbers.end()));
                    step.or_default().push(target);
                }
            }
            for ((first, last), targets) in steps {
                for (id, found) in self.counted(&targets, first..=last, false, now).await {
                    let Some(Ok(read)) = reads.get_mut(&id) else {
                        continue;
                    };
                    match found {
                        Ok(page) => {
                            if let Some((_, census)) = open.get_mut(&id) {
                                census.take(first..=last, &page);
                            }
                            read.read.census.push((first..=last, page));
                        }
                        Err(problem) => {
                            open.remove(&id);
                            read.problems.push(problem);
                        }
                    }
                }
            }
        }
    }

    /// The merge requests of these numbers, and how many there are where they are `counted`.
    async fn counted(
        &self,
        targets: &[&Target],
        numbers: RangeInclusive<u64>,
        counted: bool,
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<CensusPage, Problem>)> {
        let ids: Vec<ProjectId> = targets.iter().map(|target| target.id()).collect();
        let ask = async |ids: Vec<ProjectId>| {
            let asked = self
                .gitlab
                .merge_request_census(&ids, numbers.clone(), counted);
            asked.await
        };
        let mut read: PerProject<CensusPage> =
            self.census.ask(&ids, now, |page| page.project, ask).await;
        let each = targets.iter().map(|target| {
            let (id, found, numbers) = (target.id(), read.remove(&target.id()), numbers.clone());
            async move {
                let found = match found {
                    Some(Err(error)) if !error.rest_may_answer() => Err(error),
                    Some(Ok(page)) => Ok(page),
                    Some(Err(_)) | None => {
                        let page = self.gitlab.listed_census(id, numbers).await;
                        page.map_err(SourceError::from)
                    }
                };
                let problem = |error: SourceError| self.failed(target, &error);
                (id, found.map_err(problem))
            }
        });
        side_by_side(CALLS_AT_ONCE, each.collect()).await
    }

    /// The collector that what goes wrong is counted under.
    fn collector(&self) -> Collector {
        let first = self.collectors.first().copied();
        first.unwrap_or(Collector::MergeRequests)
    }

    fn failed(&self, target: &Target, error: &SourceError) -> Problem {
        Problem {
            project: target.project.full_path.clone(),
            activity: self.collector().into(),
            kind: error.kind(),
            sentence: error.to_string(),
            is_failure: true,
        }
    }

    fn skipped(&self, target: &Target, sentences: &[String], problems: &mut Vec<Problem>) {
        let (path, collector) = (&target.project.full_path, self.collector());
        let sentences = sentences.iter().cloned();
        problems.extend(sentences.map(|why| Problem::skipped(path, collector, why)));
    }
}

/// How far a project was read before a poll at `clock`.
fn progress(target: &Target, clock: UnixSeconds) -> MergeRequestsProgress {
    let before = &target.memory.merge_requests_progress;
    before.begin(target.first_listed(clock))
}

impl MergeRequestsSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<MergeRequestsRead, SourceError>)> {
        let clock = self.gitlab.server_time().unwrap_or(now);
        let full = targets
            .iter()
            .filter(|target| target.memory.merge_requests_progress.is_full(now));
        let full: Vec<ProjectId> = full.map(Target::id).collect();
        let mut open = self.ask(&full, WhichMergeRequests::Open, now).await;
        let mut moved = self.moved(targets, clock, now).await;
        let each = targets.iter().map(|target| {
            let id = target.id();
            let (open, moved) = (open.remove(&id), moved.remove(&id));
            async move { (id, self.project(target, open, moved, clock, now).await) }
        });
        let reads = side_by_side(CALLS_AT_ONCE, each.collect()).await;
        let mut reads: Reads = reads.into_iter().collect();
        self.verify_census(targets, &mut reads, now).await;
        self.take_census(targets, &mut reads, now).await;
        reads.into_iter().collect()
    }
}

#[async_trait]
impl Source for MergeRequestsSource {
    fn reading(&self) -> Reading {
        Reading::MergeRequests
    }

    fn collectors(&self) -> &[Collector] {
        &self.collectors
    }

    fn batch(&self) -> usize {
        GitLab::REVIEWS_PROJECTS
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        target.lacks(Tier::Free, Right::MergeRequests)
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::MergeRequests)
    }
}
