//! The change feed by GraphQL: many projects in one query.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;

use super::super::side_by_side;
use super::{
    CALLS_AT_ONCE, Changes, DetailsRead, RawDetails, SourceError, Started, Target, Wanted,
    WayOfReading, is_answer, lock,
};
use crate::clock::UnixSeconds;
use crate::gitlab::graphql::batch::BatchSize;
use crate::gitlab::graphql::{Batch, PipelineJobs, ProjectChanges, Which};
use crate::gitlab::model::{Known, Page, Pipeline, Status};
use crate::gitlab::{Cause, GitLab, GitLabError};
use crate::types::{PipelineId, ProjectId};

/// Pipelines of a project in one query of details.
const DETAILS_PIPELINES: u32 = 5;

/// Pipelines whose details are read one by one in one look.
const ONE_BY_ONE: usize = 50;

/// What is asked of a batch of projects.
#[derive(Clone, Copy)]
struct Asked {
    /// Pipelines of each kind per project and page.
    first: u32,
    /// Those that run, instead of those that moved.
    running: bool,
}

/// What moved since the last look.
const MOVED: Asked = Asked {
    first: GitLab::CHANGES_PIPELINES,
    running: false,
};

/// The newest, for a first look.
const NEWEST: Asked = Asked {
    first: GitLab::FIRST_LOOK_PIPELINES,
    running: false,
};

/// Those that run, for a first look at projects with more than the newest.
const RUNNING: Asked = Asked {
    first: GitLab::FIRST_LOOK_PIPELINES,
    running: true,
};

/// Reads by GraphQL, and knows when not to.
pub(super) struct GraphQl {
    gitlab: GitLab,
    pause: Duration,
    /// Until when REST stands in, and why.
    closed: Mutex<Option<(UnixSeconds, String)>>,
    changes_size: Mutex<BatchSize>,
    first_size: Mutex<BatchSize>,
    details_size: Mutex<BatchSize>,
}

impl GraphQl {
    pub(super) fn new(gitlab: GitLab, pause: Duration) -> Self {
        Self {
            gitlab,
            pause,
            closed: Mutex::new(None),
            changes_size: Mutex::new(BatchSize::new(GitLab::CHANGES_PROJECTS)),
            first_size: Mutex::new(BatchSize::new(GitLab::FIRST_LOOK_PROJECTS)),
            details_size: Mutex::new(BatchSize::new(GitLab::JOBS_PROJECTS)),
        }
    }

    /// How projects are read now.
    pub(super) fn way(&self, now: UnixSeconds) -> WayOfReading {
        if !self.gitlab.uses_graphql() {
            return WayOfReading::Rest;
        }
        match &*lock(&self.closed) {
            // More than a pause ahead: the clock was set back meanwhile.
            Some((until, reason)) if now < *until && until.since(now) <= self.pause => {
                WayOfReading::RestFallBack(reason.clone())
            }
            Some(_) | None => WayOfReading::GraphQl,
        }
    }

    /// Whether GraphQL is to be asked: the settings allow it, and it has not refused lately.
    pub(super) fn is_open(&self, now: UnixSeconds) -> bool {
        self.way(now) == WayOfReading::GraphQl
    }

    /// Lets REST stand in for a while.
    pub(super) fn close(&self, error: &GitLabError, now: UnixSeconds) {
        if self.is_open(now) {
            tracing::warn!(
                %error,
                pause_seconds = self.pause.as_secs(),
                "GraphQL cannot be used; REST stands in, which takes more calls"
            );
        }
        *lock(&self.closed) = Some((now.plus(self.pause), error.to_string()));
    }

    /// What moved in each of the projects.
    pub(super) async fn changes<'t>(
        &self,
        targets: &[&'t Target],
    ) -> Vec<(&'t Target, Result<Changes, SourceError>)> {
        let (known, new): (Vec<_>, Vec<_>) = targets
            .iter()
            .copied()
            .partition(|target| target.memory.feed.is_some());
        let mut read = self.in_batches(&known, &self.changes_size, MOVED).await;
        read.extend(self.first_look(&new).await);
        read
    }

    /// The newest pipelines, and all that run: their jobs end without moving them.
    async fn first_look<'t>(
        &self,
        targets: &[&'t Target],
    ) -> Vec<(&'t Target, Result<Changes, SourceError>)> {
        let mut read = self.in_batches(targets, &self.first_size, NEWEST).await;
        let long: Vec<&Target> = read
            .iter()
            .filter(|(_, result)| result.as_ref().is_ok_and(|changes| changes.has_more))
            .map(|(target, _)| *target)
            .collect();
        let running = self.in_batches(&long, &self.first_size, RUNNING).await;
        let mut running: BTreeMap<ProjectId, Result<Changes, SourceError>> = running
            .into_iter()
            .map(|(target, result)| (target.id(), result))
            .collect();
        for (target, result) in &mut read {
            match (running.remove(&target.id()), &mut *result) {
                (Some(Ok(running)), Ok(changes)) => changes.merge(running),
                (Some(Err(error)), _) => *result = Err(error),
                _ => {}
            }
        }
        read
    }

    async fn in_batches<'t>(
        &self,
        targets: &[&'t Target],
        size: &Mutex<BatchSize>,
        asked: Asked,
    ) -> Vec<(&'t Target, Result<Changes, SourceError>)> {
        let chunks: Vec<_> = targets
            .chunks(lock(size).get())
            .map(<[_]>::to_vec)
            .collect();
        let batches = chunks
            .into_iter()
            .map(|chunk| self.batch(chunk, size, asked, true));
        side_by_side(CALLS_AT_ONCE, batches.collect())
            .await
            .into_iter()
            .flatten()
            .collect()
    }

    /// One query; if it fails for a reason that a project of it may be guilty of, the batch is
    /// halved until that one is alone. First it is made sure that GraphQL answers at all.
    fn batch<'a, 't: 'a>(
        &'a self,
        targets: Vec<&'t Target>,
        size: &'a Mutex<BatchSize>,
        asked: Asked,
        is_whole: bool,
    ) -> BoxFuture<'a, Vec<(&'t Target, Result<Changes, SourceError>)>> {
        Box::pin(async move {
            if targets.is_empty() {
                return Vec::new();
            }
            let ids: Vec<ProjectId> = targets.iter().map(|target| target.id()).collect();
            match self
                .gitlab
                .project_changes(&ids, asked.which(since(&targets)), asked.first)
                .await
            {
                Ok(answer) => {
                    lock(size).succeeded(targets.len());
                    self.complete(targets, answer, asked).await
                }
                Err(error) if targets.len() > 1 && error.may_be_one_items_fault() => {
                    lock(size).failed(targets.len(), &error);
                    let mut targets = targets;
                    let mut read = Vec::with_capacity(targets.len());
                    let too_complex = matches!(error.cause, Cause::GraphQlComplexity(_));
                    if is_whole && !too_complex && targets.len() > 2 {
                        let ends = vec![targets.remove(0), targets.remove(targets.len() - 1)];
                        for end in ends {
                            read.extend(self.batch(vec![end], size, asked, false).await);
                        }
                        if !read.iter().any(|(_, result)| is_answer(result)) {
                            read.extend(all_failed(targets, error));
                            return read;
                        }
                    }
                    let rest = targets.split_off(targets.len() / 2);
                    read.extend(self.batch(targets, size, asked, false).await);
                    read.extend(self.batch(rest, size, asked, false).await);
                    read
                }
                Err(error) => all_failed(targets, error),
            }
        })
    }

    async fn complete<'t>(
        &self,
        targets: Vec<&'t Target>,
        answer: Batch<ProjectChanges>,
        asked: Asked,
    ) -> Vec<(&'t Target, Result<Changes, SourceError>)> {
        let Batch { items, failed } = answer;
        let mut answer: BTreeMap<ProjectId, ProjectChanges> = items
            .into_iter()
            .map(|changes| (changes.project.id, changes))
            .collect();
        let failed: BTreeMap<ProjectId, String> = failed
            .into_iter()
            .map(|failed| (failed.id, failed.why))
            .collect();
        let mut read = Vec::with_capacity(targets.len());
        for target in targets {
            let result = match (answer.remove(&target.id()), failed.get(&target.id())) {
                (Some(changes), _) => self.all_pages(target, changes, asked).await,
                (None, Some(why)) => Err(SourceError::Partial(why.clone())),
                (None, None) => Err(SourceError::Gone),
            };
            read.push((target, result));
        }
        read
    }

    /// Reads on until the last page, except at the first look, where the newest are enough.
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
        };
        let since = target
            .memory
            .feed
            .as_ref()
            .map(crate::memory::feed::FeedProgress::since);
        let is_first = since.is_none() && !asked.running;
        let which = asked.which(since.unwrap_or_default());
        for (is_children, page) in [(false, pipelines), (true, children)] {
            let mut next = all.add(page);
            if is_first {
                all.has_more |= next.is_some();
                continue;
            }
            while let Some(cursor) = next {
                let page = self
                    .gitlab
                    .more_pipelines(target.id(), which, is_children, &cursor)
                    .await
                    .map_err(Arc::new)?
                    .ok_or(SourceError::Gone)?;
                next = all.add(page);
            }
        }
        Ok(all)
    }

    /// Jobs and downstream pipelines of the wanted pipelines: in batches of projects, and what
    /// these leave open, pipeline by pipeline.
    pub(super) async fn details(&self, wanted: &[Wanted]) -> BTreeMap<PipelineId, DetailsRead> {
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
            let chunks: Vec<_> = projects
                .chunks(lock(&self.details_size).get())
                .map(<[_]>::to_vec)
                .collect();
            let batches = chunks.into_iter().map(|ids| self.details_batch(ids, which));
            let batches = side_by_side(CALLS_AT_ONCE, batches.collect()).await;
            let ids: BTreeSet<_> = wanted.iter().map(|wanted| wanted.pipeline.id).collect();
            read.extend(
                batches
                    .into_iter()
                    .flatten()
                    .filter(|(id, _)| ids.contains(id)),
            );
        }
        let mut open: Vec<_> = wanted
            .iter()
            .filter(|wanted| wanted.alone && !read.contains_key(&wanted.pipeline.id))
            .collect();
        // What does not fit stays due; what still changes, and then the newest, comes first.
        open.sort_by_key(|wanted| {
            (
                !wanted.pipeline.status.is_active(),
                std::cmp::Reverse(wanted.pipeline.id),
            )
        });
        open.truncate(ONE_BY_ONE);
        let alone = open
            .into_iter()
            .map(|wanted| async move { (wanted.pipeline.id, self.one(wanted).await) });
        read.extend(side_by_side(CALLS_AT_ONCE, alone.collect()).await);
        read
    }

    /// The pipelines of some projects whose jobs came whole. Errors are left for the reading one
    /// by one, which tells whose they are.
    async fn details_batch(
        &self,
        ids: Vec<ProjectId>,
        which: Which,
    ) -> Vec<(PipelineId, DetailsRead)> {
        let answer = self
            .gitlab
            .pipeline_jobs(&ids, which, DETAILS_PIPELINES)
            .await;
        match answer {
            Ok(answer) => {
                lock(&self.details_size).succeeded(ids.len());
                answer
                    .items
                    .into_iter()
                    .flat_map(|project| {
                        project
                            .pipelines
                            .items
                            .into_iter()
                            .chain(project.children.items)
                    })
                    .filter(|pipeline| {
                        pipeline.jobs.next.is_none() && pipeline.downstream.next.is_none()
                    })
                    .map(|pipeline| (pipeline.id, Ok(Some(RawDetails::from(pipeline)))))
                    .collect()
            }
            Err(error) => {
                lock(&self.details_size).failed(ids.len(), &error);
                Vec::new()
            }
        }
    }

    async fn one(&self, wanted: &Wanted) -> DetailsRead {
        let jobs = self
            .gitlab
            .jobs_of(wanted.project, wanted.pipeline.iid)
            .await;
        Ok(jobs.map_err(Arc::new)?.map(RawDetails::from))
    }
}

fn all_failed(
    targets: Vec<&Target>,
    error: GitLabError,
) -> Vec<(&Target, Result<Changes, SourceError>)> {
    let error = Arc::new(error);
    let failed = |target| (target, Err(SourceError::GitLab(Arc::clone(&error))));
    targets.into_iter().map(failed).collect()
}

/// From when on a batch is read: the least of what its projects need.
fn since(targets: &[&Target]) -> UnixSeconds {
    let since = |target: &&Target| {
        target
            .memory
            .feed
            .as_ref()
            .map(crate::memory::feed::FeedProgress::since)
    };
    targets
        .iter()
        .map(since)
        .min()
        .flatten()
        .unwrap_or_default()
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

    /// Adds a page and gives the cursor of the next.
    fn add(&mut self, page: Page<Pipeline>) -> Option<String> {
        self.pipelines.extend(page.items);
        self.skipped.extend(page.skipped);
        page.next
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
        }
    }
}
