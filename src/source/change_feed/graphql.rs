//! The change feed by GraphQL: many projects in one query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::batches::{Batches, PerProject};
use super::super::side_by_side;
use super::{
    CALLS_AT_ONCE, Changes, DetailsRead, RawDetails, Share, SourceError, Started, Target, Wanted,
    WayOfReading,
};
use crate::clock::UnixSeconds;
use crate::facts::feed::PARENT_PIPELINE;
use crate::gitlab::graphql::batch::Breaker;
use crate::gitlab::graphql::{PipelineJobs, ProjectChanges, ProjectJobs, Which};
use crate::gitlab::model::{Known, Page, Pipeline, Status};
use crate::gitlab::{GitLab, GitLabError};
use crate::types::{PipelineId, ProjectId};

/// Pipelines of a project in one query of details.
const DETAILS_PIPELINES: u32 = 5;

/// Pipelines whose details are read one by one in one poll.
const ONE_BY_ONE: usize = 50;

/// Wanted pipelines for which a page of a list costs GitLab less than a query each.
const WORTH_A_PAGE: usize = 5;

/// What is asked of a batch of projects.
#[derive(Clone, Copy)]
struct Asked {
    /// Pipelines of each kind per project and page.
    first: u32,
    /// Those that run, instead of those that moved.
    running: bool,
}

/// What moved since the last poll.
const MOVED: Asked = Asked {
    first: GitLab::CHANGES_PIPELINES,
    running: false,
};

/// The newest, for a first poll.
const NEWEST: Asked = Asked {
    first: GitLab::FIRST_POLL_PIPELINES,
    running: false,
};

/// Those that run, for a first poll of projects with more than the newest.
const RUNNING: Asked = Asked {
    first: GitLab::FIRST_POLL_PIPELINES,
    running: true,
};

/// Reads by GraphQL, and knows when not to.
pub(super) struct GraphQl {
    gitlab: GitLab,
    breaker: Arc<Breaker>,
    changes: Batches,
    first: Batches,
    details: Batches,
}

/// What a poll brought of each project.
pub(super) type Read<'t> = Vec<(&'t Target, Result<Changes, SourceError>)>;

impl GraphQl {
    pub(super) fn new(gitlab: GitLab) -> Self {
        let breaker = gitlab.breaker();
        Self {
            changes: Batches::new(&breaker, GitLab::CHANGES_PROJECTS),
            first: Batches::new(&breaker, GitLab::FIRST_POLL_PROJECTS),
            details: Batches::new(&breaker, GitLab::JOBS_PROJECTS),
            breaker,
            gitlab,
        }
    }

    /// How projects are read now.
    pub(super) fn way(&self, now: UnixSeconds) -> WayOfReading {
        if !self.gitlab.uses_graphql() {
            return WayOfReading::Rest;
        }
        let refused = || self.gitlab.refusal("ProjectChanges");
        match self.breaker.reason(now).or_else(refused) {
            Some(reason) => WayOfReading::RestFallBack(reason),
            None => WayOfReading::GraphQl,
        }
    }

    /// Whether GraphQL is to be asked: the settings allow it, and it has not refused lately.
    pub(super) fn is_open(&self, now: UnixSeconds) -> bool {
        self.breaker.is_open(now)
    }

    /// Takes an error in: falls back to REST for a while if GraphQL failed.
    pub(super) fn failed(&self, error: &GitLabError, now: UnixSeconds) {
        self.breaker.failed(error, now);
    }

    /// What moved in each of the projects; those that GraphQL was not asked for are absent.
    pub(super) async fn changes<'t>(&self, targets: &[&'t Target], now: UnixSeconds) -> Read<'t> {
        let (known, new): (Vec<_>, Vec<_>) = targets
            .iter()
            .copied()
            .partition(|target| target.memory.feed.is_some());
        let mut read = self.in_batches(&known, &self.changes, MOVED, now).await;
        read.extend(self.first_poll(&new, now).await);
        read
    }

    /// The newest pipelines, and all that run: their jobs end without moving them.
    async fn first_poll<'t>(&self, targets: &[&'t Target], now: UnixSeconds) -> Read<'t> {
        let mut read = self.in_batches(targets, &self.first, NEWEST, now).await;
        let long: Vec<&Target> = read
            .iter()
            .filter(|(_, result)| result.as_ref().is_ok_and(|changes| changes.has_more))
            .map(|(target, _)| *target)
            .collect();
        let running = self.in_batches(&long, &self.first, RUNNING, now).await;
        let mut running: BTreeMap<ProjectId, Result<Changes, SourceError>> = running
            .into_iter()
            .map(|(target, result)| (target.id(), result))
            .collect();
        // What GraphQL was not asked for any more is not known as a whole.
        read.retain(|(target, result)| {
            let is_long = result.as_ref().is_ok_and(|changes| changes.has_more);
            !is_long || running.contains_key(&target.id())
        });
        for (target, result) in &mut read {
            match (running.remove(&target.id()), &mut *result) {
                (Some(Ok(running)), Ok(changes)) => changes.merge(running),
                (Some(Err(error)), _) => *result = Err(error),
                _ => {}
            }
        }
        read
    }

    /// First pages for many projects at once, then what is left of each.
    async fn in_batches<'t>(
        &self,
        targets: &[&'t Target],
        batches: &Batches,
        asked: Asked,
        now: UnixSeconds,
    ) -> Read<'t> {
        let since: BTreeMap<ProjectId, Option<UnixSeconds>> = targets
            .iter()
            .map(|target| (target.id(), since(target)))
            .collect();
        let ids: Vec<ProjectId> = since.keys().copied().collect();
        let since = &since;
        let ask = async |ids: Vec<ProjectId>| {
            // From when on a batch is read: the least of what its projects need.
            let since = ids.iter().filter_map(|id| since.get(id)).min();
            let which = asked.which(since.copied().flatten().unwrap_or_default());
            self.gitlab.project_changes(&ids, which, asked.first).await
        };
        let id_of = |changes: &ProjectChanges| changes.project.id;
        let chunks = ids.chunks(batches.size());
        let chunks = chunks.map(|ids| batches.ask(ids, now, id_of, ask));
        let chunks: Vec<PerProject<ProjectChanges>> =
            side_by_side(CALLS_AT_ONCE, chunks.collect()).await;
        let mut first: PerProject<ProjectChanges> = chunks.into_iter().flatten().collect();
        let reads = targets.iter().filter_map(|target| {
            let first = first.remove(&target.id())?;
            Some(async move {
                let read = match first {
                    Ok(changes) => self.all_pages(target, changes, asked).await,
                    Err(error) => Err(error),
                };
                (*target, read)
            })
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }

    /// Reads on until the last page, except at the first poll, where the newest are enough.
    async fn all_pages(
        &self,
        target: &Target,
        changes: ProjectChanges,
        asked: Asked,
    ) -> Result<Changes, SourceError> {
        let ProjectChanges {
            project,
            pipelines,
            children,
        } = changes;
        let mut all = Changes {
            project,
            pipelines: Vec::new(),
            skipped: Vec::new(),
            has_more: false,
            until: None,
            failed: Vec::new(),
        };
        let since = since(target);
        let is_first = since.is_none() && !asked.running;
        let which = asked.which(since.unwrap_or_default());
        for (is_children, page) in [(false, pipelines), (true, children)] {
            if is_first {
                all.has_more |= page.next.is_some();
                all.add(page);
                continue;
            }
            let rest = self
                .gitlab
                .rest_of_pipelines(target.id(), which, is_children, page);
            let whole = rest.await.map_err(Arc::new)?;
            if whole.next.is_some() {
                return Err(SourceError::NotFound);
            }
            all.add(whole);
        }
        Ok(all)
    }

    /// Jobs and downstream pipelines of the wanted pipelines: in batches of projects, and what
    /// these leave open, pipeline by pipeline.
    pub(super) async fn details(
        &self,
        wanted: &[Wanted],
        share: Share,
        now: UnixSeconds,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        let mut read = BTreeMap::new();
        let (running, moved): (Vec<&Wanted>, Vec<&Wanted>) = wanted
            .iter()
            .partition(|wanted| wanted.pipeline.status == Status::Running);
        for (wanted, which) in [(running, None), (moved, Some(()))] {
            let projects: BTreeSet<ProjectId> =
                wanted.iter().map(|wanted| wanted.project).collect();
            // One pipeline alone is cheaper to ask for by its number.
            if wanted.len() < 2 {
                continue;
            }
            let which = match which {
                None => Which::Running,
                Some(()) => Which::MovedSince(
                    wanted
                        .iter()
                        .map(|wanted| wanted.pipeline.updated_at)
                        .min()
                        .unwrap_or_default(),
                ),
            };
            let projects: Vec<ProjectId> = projects.into_iter().collect();
            let ask = async |ids: Vec<ProjectId>| {
                let asked = self.gitlab.pipeline_jobs(&ids, which, DETAILS_PIPELINES);
                asked.await
            };
            let id_of = |jobs: &ProjectJobs| jobs.id;
            let chunks = projects.chunks(self.details.size());
            let chunks = chunks.map(|ids| self.details.ask(ids, now, id_of, ask));
            let chunks: Vec<PerProject<ProjectJobs>> =
                side_by_side(CALLS_AT_ONCE, chunks.collect()).await;
            // Errors are left for the reading one by one, which shows whose they are.
            let firsts = chunks.into_iter().flatten();
            let firsts = firsts.filter_map(|(_, read)| read.ok());
            let reads = firsts.map(|first| self.read_on(first, &wanted, which, share, now));
            let lists = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
            read.extend(lists.into_iter().flatten());
        }
        if !self.is_open(now) {
            return read;
        }
        let open: Vec<&Wanted> = wanted
            .iter()
            .filter(|wanted| wanted.alone && !read.contains_key(&wanted.pipeline.id))
            .collect();
        // What does not fit stays due.
        let mut open = share.take(open);
        open.truncate(ONE_BY_ONE);
        let alone = open
            .into_iter()
            .map(|wanted| async move { (wanted.pipeline.id, self.one(wanted).await) });
        read.extend(side_by_side(CALLS_AT_ONCE, alone.collect()).await);
        read
    }

    /// The wanted pipelines of a project whose jobs come whole: in the first page of its lists, and in
    /// further pages as long as these bring many that are wanted.
    async fn read_on(
        &self,
        first: ProjectJobs,
        wanted: &[&Wanted],
        which: Which,
        share: Share,
        now: UnixSeconds,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        let project = first.id;
        // A page is a call, as a pipeline by itself is one.
        let mut pages = share.most / 5;
        let mut read = BTreeMap::new();
        for (is_children, page) in [(false, first.pipelines), (true, first.children)] {
            let of_list = wanted.iter().filter(|wanted| {
                let is_child = &*wanted.pipeline.source == PARENT_PIPELINE;
                wanted.project == project && is_child == is_children
            });
            let of_list: Vec<&Wanted> = of_list.copied().collect();
            let mut open: BTreeSet<PipelineId> =
                of_list.iter().map(|wanted| wanted.pipeline.id).collect();
            // Where they are not to be read by themselves, they are not worth many pages either.
            let goes_on = of_list.iter().any(|wanted| wanted.alone);
            let mut page = page;
            loop {
                let next = page.next.take();
                let before = open.len();
                for (id, details) in whole(page) {
                    if open.remove(&id) {
                        read.insert(id, details);
                    }
                }
                let was_worth_it = before - open.len() >= WORTH_A_PAGE;
                let is_worth_it =
                    open.len() >= WORTH_A_PAGE && (was_worth_it || before == of_list.len());
                let Some(next) = next.filter(|_| goes_on && is_worth_it && pages > 0) else {
                    break;
                };
                pages -= 1;
                if !self.is_open(now) {
                    break;
                }
                let more = self
                    .gitlab
                    .more_pipeline_jobs(project, which, is_children, next);
                match more.await {
                    Ok(Some(more)) => page = more,
                    // What is left is read one by one, which shows whose fault it is.
                    Ok(None) | Err(_) => break,
                }
            }
        }
        read
    }

    async fn one(&self, wanted: &Wanted) -> DetailsRead {
        let jobs = self
            .gitlab
            .jobs_of(wanted.project, wanted.pipeline.iid)
            .await;
        Ok(jobs.map_err(Arc::new)?.map(RawDetails::from))
    }
}

/// From when on a project is read.
fn since(target: &Target) -> Option<UnixSeconds> {
    target
        .memory
        .feed
        .as_ref()
        .map(crate::memory::feed::FeedProgress::since)
}

/// The pipelines of a page whose jobs came whole.
fn whole(page: Page<PipelineJobs>) -> impl Iterator<Item = (PipelineId, DetailsRead)> {
    let all = page.items.into_iter();
    all.filter(|pipeline| pipeline.jobs.next.is_none() && pipeline.downstream.next.is_none())
        .map(|pipeline| (pipeline.id, Ok(Some(RawDetails::from(pipeline)))))
}

impl Asked {
    const fn which(self, since: UnixSeconds) -> Which {
        if self.running {
            Which::Running
        } else {
            Which::MovedSince(since)
        }
    }
}

impl Changes {
    /// Adds what another reading of the same project brought beyond this one.
    pub(super) fn merge(&mut self, other: Self) {
        let known: BTreeSet<PipelineId> =
            self.pipelines.iter().map(|pipeline| pipeline.id).collect();
        let more = other.pipelines.into_iter();
        self.pipelines
            .extend(more.filter(|pipeline| !known.contains(&pipeline.id)));
        self.skipped.extend(other.skipped);
    }

    fn add(&mut self, page: Page<Pipeline>) {
        self.pipelines.extend(page.items);
        self.skipped.extend(page.skipped);
    }
}

impl From<PipelineJobs> for RawDetails {
    fn from(read: PipelineJobs) -> Self {
        let PipelineJobs {
            coverage,
            jobs,
            downstream,
            ..
        } = read;
        Self {
            jobs: jobs.items,
            downstream: downstream
                .items
                .into_iter()
                .filter_map(Started::from_downstream)
                .collect(),
            coverage: coverage.map_or(Known::Nothing, Known::Value),
            skipped: jobs.skipped.into_iter().chain(downstream.skipped).collect(),
            failed: None,
        }
    }
}
