//! The change feed by GraphQL: many projects in one query. The jobs of pipelines are here, which pipelines
//! moved in [`super::lists`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::batches::{Batches, PerProject};
use super::super::side_by_side;
use super::pasts::{Past, Pasts};
use super::{CALLS_AT_ONCE, DetailsRead, RawDetails, Share, Started, Wanted, WayOfReading};
use crate::clock::UnixSeconds;
use crate::facts::feed::PARENT_PIPELINE;
use crate::gitlab::graphql::batch::Breaker;
use crate::gitlab::graphql::{BridgesPart, JobsPart, Parts, PipelineJobs, ProjectJobs, Which};
use crate::gitlab::model::{Known, Page};
use crate::gitlab::{GitLab, GitLabError};
use crate::types::{PipelineId, ProjectId, Text};

/// Pipelines of a project in one query of details.
const DETAILS_PIPELINES: u32 = 5;

/// Pipelines whose details are read one by one in one poll.
const ONE_BY_ONE: usize = 50;

/// Wanted pipelines for which a page of a list costs GitLab less than a query each.
const WORTH_A_PAGE: usize = 5;

/// The same for the first page, where it is of what moved.
const WORTH_A_LIST: usize = 3;

/// Reads by GraphQL, and knows when not to.
pub(super) struct GraphQl {
    pub(super) gitlab: GitLab,
    breaker: Arc<Breaker>,
    pub(super) changes: Batches,
    /// The same with the jobs of active pipelines.
    pub(super) with_jobs: Batches,
    pub(super) first: Batches,
    details: Batches,
    /// The same with stages and artifacts of what had come to rest before a project was first read: heavy.
    past: Batches,
    /// The same of active jobs alone, which is lighter.
    active: Batches,
    /// How long the pasts of projects are.
    pub(super) pasts: Arc<Pasts>,
}

/// What a list of one project brought of its pipelines.
type OfList = BTreeMap<PipelineId, DetailsRead>;

impl GraphQl {
    pub(super) fn new(gitlab: GitLab, pasts: Arc<Pasts>) -> Self {
        let breaker = gitlab.breaker();
        Self {
            changes: Batches::new(&breaker, GitLab::CHANGES_PROJECTS),
            with_jobs: Batches::new(&breaker, GitLab::ACTIVE_PROJECTS),
            first: Batches::new(&breaker, GitLab::FIRST_POLL_PROJECTS),
            details: Batches::new(&breaker, GitLab::JOBS_PROJECTS),
            past: Batches::new(&breaker, GitLab::JOBS_PROJECTS),
            active: Batches::new(&breaker, GitLab::JOBS_PROJECTS),
            pasts,
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

    /// Jobs and downstream pipelines of the wanted pipelines: in batches of projects, and what
    /// these leave open, pipeline by pipeline.
    pub(super) async fn details(
        &self,
        wanted: &[&Wanted],
        parts: Parts,
        share: Share,
        now: UnixSeconds,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        // One pipeline alone is cheaper to ask for by its number.
        let mut read = match wanted.len() {
            0 => return BTreeMap::new(),
            1 => BTreeMap::new(),
            _ if self.gitlab.lists_by_ids() => self.by_ids(wanted, parts, now).await,
            _ => self.by_lists(wanted, parts, share, now).await,
        };
        if !self.is_open(now) {
            return read;
        }
        let open: Vec<&Wanted> = wanted
            .iter()
            .copied()
            .filter(|wanted| wanted.alone && !read.contains_key(&wanted.pipeline.id))
            .collect();
        // What does not fit stays due.
        let mut open = share.take(open);
        open.truncate(ONE_BY_ONE);
        let alone = open
            .into_iter()
            .map(|wanted| async move { (wanted.pipeline.id, self.one(wanted, parts).await) });
        read.extend(side_by_side(CALLS_AT_ONCE, alone.collect()).await);
        read
    }

    fn batches(&self, parts: Parts, wanted: &[&Wanted]) -> &Batches {
        match parts.jobs {
            JobsPart::Active => &self.active,
            // Each job is a query to GitLab's database, or several.
            JobsPart::All
                if (parts.stages || parts.artifacts)
                    && wanted.iter().all(|wanted| wanted.is_history) =>
            {
                &self.past
            }
            JobsPart::All | JobsPart::None => &self.details,
        }
    }

    /// The wanted pipelines by their ids. Each project lists its own of those that are asked for.
    async fn by_ids(&self, wanted: &[&Wanted], parts: Parts, now: UnixSeconds) -> OfList {
        let is_child = |wanted: &Wanted| &*wanted.pipeline.source == PARENT_PIPELINE;
        let mut wanted = wanted.to_vec();
        wanted.sort_by_key(|wanted| (is_child(wanted), wanted.project, wanted.pipeline.id));
        let kinds = wanted.chunk_by(|one, next| is_child(one) == is_child(next));
        let chunks = kinds.flat_map(|kind| kind.chunks(GitLab::PIPELINE_IDS));
        let reads = chunks.map(|chunk| async move {
            let children = chunk.first().is_some_and(|first| is_child(first));
            let projects: BTreeSet<ProjectId> = chunk.iter().map(|wanted| wanted.project).collect();
            let projects: Vec<ProjectId> = projects.into_iter().collect();
            let ask = async |asked: Vec<ProjectId>| {
                let chunk = chunk.iter().filter(|one| asked.contains(&one.project));
                let ids: Vec<PipelineId> = chunk.map(|wanted| wanted.pipeline.id).collect();
                let asked = self.gitlab.pipeline_jobs(
                    &asked,
                    which_ids(&ids, children),
                    parts,
                    DETAILS_PIPELINES,
                );
                asked.await
            };
            let id_of = |jobs: &ProjectJobs| jobs.id;
            let asked: PerProject<ProjectJobs> = self
                .batches(parts, chunk)
                .ask(&projects, now, id_of, ask)
                .await;
            // Errors are left for the reading one by one, which shows whose they are.
            let jobs = asked.into_values().filter_map(Result::ok);
            let pages = jobs.flat_map(|jobs| [jobs.pipelines, jobs.children]);
            let is_wanted = |id: PipelineId| chunk.iter().any(|wanted| wanted.pipeline.id == id);
            let read = pages
                .flat_map(|page| whole(page, parts))
                .filter(|(id, _)| is_wanted(*id));
            read.collect::<Vec<_>>()
        });
        let read = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        read.into_iter().flatten().collect()
    }

    /// The wanted pipelines in lists of those that run and of those that moved, of many projects at once.
    async fn by_lists(
        &self,
        wanted: &[&Wanted],
        parts: Parts,
        share: Share,
        now: UnixSeconds,
    ) -> OfList {
        let mut read = BTreeMap::new();
        for (status, mut wanted) in self.in_lists(wanted) {
            if status.is_none() && (parts.stages || parts.artifacts) {
                wanted = worth_a_list(wanted);
            }
            let projects: BTreeSet<ProjectId> =
                wanted.iter().map(|wanted| wanted.project).collect();
            if wanted.len() < 2 {
                continue;
            }
            let moved = wanted.iter().map(|wanted| wanted.pipeline.updated_at);
            let since = moved.min().unwrap_or_default();
            let which = match status {
                Some("RUNNING") => Which::RUNNING,
                Some(status) => Which::StatusSince(status, since),
                None => Which::MovedSince(since),
            };
            let projects: Vec<ProjectId> = projects.into_iter().collect();
            let pipelines = most_of_a_project(&wanted);
            let ask = async |ids: Vec<ProjectId>| {
                let asked = self.gitlab.pipeline_jobs(&ids, which, parts, pipelines);
                asked.await
            };
            let id_of = |jobs: &ProjectJobs| jobs.id;
            let batches = self.batches(parts, &wanted);
            let chunks = projects.chunks(batches.size());
            let chunks = chunks.map(|ids| batches.ask(ids, now, id_of, ask));
            let chunks: Vec<PerProject<ProjectJobs>> =
                side_by_side(CALLS_AT_ONCE, chunks.collect()).await;
            // Errors are left for the reading one by one, which shows whose they are.
            let firsts = chunks.into_iter().flatten();
            let firsts = firsts.filter_map(|(_, read)| read.ok());
            let reads =
                firsts.map(|first| self.read_on(first, &wanted, (which, parts), share, now));
            let lists = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
            read.extend(lists.into_iter().flatten());
        }
        read
    }

    /// The wanted pipelines by the list that has them: running ones; others that moved; and where the past
    /// is long, those of each status by themselves.
    fn in_lists<'w>(
        &self,
        wanted: &[&'w Wanted],
    ) -> BTreeMap<Option<&'static str>, Vec<&'w Wanted>> {
        let mut lists: BTreeMap<_, Vec<&Wanted>> = BTreeMap::new();
        for wanted in wanted {
            let status = wanted.pipeline.status.as_str();
            let known = super::lists::STATUSES.into_iter();
            let mut known = known.filter(|known| known.eq_ignore_ascii_case(status));
            let is_long = || {
                let past = self.pasts.get(wanted.project);
                past.is_some_and(Past::is_long)
            };
            let list = match known.next() {
                Some("RUNNING") => Some("RUNNING"),
                known if is_long() => match known {
                    Some(known) => Some(known),
                    // No list has it: it is read by itself.
                    None => continue,
                },
                _ => None,
            };
            lists.entry(list).or_default().push(wanted);
        }
        lists
    }

    /// The names of the trigger jobs that started pipelines, none where the token may not read one; those that
    /// were not read now are absent.
    pub(super) async fn origins(
        &self,
        wanted: &[&Wanted],
        share: Share,
        now: UnixSeconds,
    ) -> BTreeMap<PipelineId, Option<Text>> {
        let read = self.details(wanted, Parts::ORIGIN, share, now).await;
        let read = read.into_iter();
        let read = read.filter_map(|(id, read)| Some((id, read.ok()??.origin)));
        read.collect()
    }

    /// The wanted pipelines of a project whose jobs come whole: in the first page of its lists, and in
    /// further pages as long as these bring many that are wanted.
    async fn read_on(
        &self,
        first: ProjectJobs,
        wanted: &[&Wanted],
        (which, parts): (Which<'_>, Parts),
        share: Share,
        now: UnixSeconds,
    ) -> OfList {
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
                for (id, details) in whole(page, parts) {
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
                    .more_pipeline_jobs(project, which, parts, is_children, next);
                match more.await {
                    Ok(Some(more)) => page = more,
                    // What is left is read one by one, which shows whose fault it is.
                    Ok(None) | Err(_) => break,
                }
            }
        }
        read
    }

    /// One pipeline, whether or not it may be read by itself.
    pub(super) async fn by_number(&self, wanted: &Wanted, parts: Parts) -> OfList {
        [(wanted.pipeline.id, self.one(wanted, parts).await)].into()
    }

    async fn one(&self, wanted: &Wanted, parts: Parts) -> DetailsRead {
        let jobs = self
            .gitlab
            .jobs_of(wanted.project, wanted.pipeline.iid, parts)
            .await;
        let details = |jobs| RawDetails::of(jobs, parts);
        Ok(jobs.map_err(Arc::new)?.map(details))
    }
}

/// Without pipelines of the past of which a project has few: others of its list would cost as much as those that
/// are wanted.
fn worth_a_list(wanted: Vec<&Wanted>) -> Vec<&Wanted> {
    let mut projects: BTreeMap<ProjectId, usize> = BTreeMap::new();
    for one in &wanted {
        *projects.entry(one.project).or_default() += 1;
    }
    let is_worth =
        |one: &&Wanted| !one.is_history || projects.get(&one.project) >= Some(&WORTH_A_LIST);
    wanted.into_iter().filter(is_worth).collect()
}

/// Pipelines of each project in a query. Of those that had come to rest no more than are wanted: they are the newest.
fn most_of_a_project(wanted: &[&Wanted]) -> u32 {
    let mut projects: BTreeMap<ProjectId, u32> = BTreeMap::new();
    for one in wanted {
        *projects.entry(one.project).or_default() += 1;
    }
    let most = projects.into_values().max().unwrap_or(1);
    match wanted.iter().all(|one| one.rests) {
        true => most.min(DETAILS_PIPELINES),
        false => DETAILS_PIPELINES,
    }
}

/// Pipelines by their ids.
pub(super) fn which_ids(ids: &[PipelineId], children: bool) -> Which<'_> {
    match children {
        true => Which::ChildIds(ids),
        false => Which::Ids(ids),
    }
}

/// The pipelines of a page whose jobs came whole.
fn whole(
    page: Page<PipelineJobs>,
    parts: Parts,
) -> impl Iterator<Item = (PipelineId, DetailsRead)> {
    let all = page.items.into_iter();
    all.filter(|pipeline| pipeline.jobs.next.is_none() && pipeline.downstream.next.is_none())
        .map(move |pipeline| (pipeline.id, Ok(Some(RawDetails::of(pipeline, parts)))))
}

impl RawDetails {
    /// What GraphQL returned of a pipeline that was asked for `parts`.
    pub(super) fn of(read: PipelineJobs, parts: Parts) -> Self {
        let PipelineJobs {
            coverage,
            origin,
            jobs,
            downstream,
            ..
        } = read;
        Self {
            parts,
            bridges: (parts.bridges != BridgesPart::None).then(|| {
                let bridges = downstream.items.iter();
                bridges.map(|one| one.bridge.clone()).collect()
            }),
            origin,
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
