//! Which pipelines moved, by GraphQL: many projects in one query.
//!
//! A project with a short past is asked for all that moved. For these GitLab reads every pipeline that the
//! project ever had, so one with a long past is asked only what an index has: the newest by id, what runs,
//! what became of those that are active, and, more seldom, what moved of each status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::batches::{Batches, PerProject};
use super::super::side_by_side;
use super::ahead::Ahead;
use super::graphql::{GraphQl, which_ids};
use super::pasts::{Listed, Past};
use super::{CALLS_AT_ONCE, Changes, RawDetails, SourceError, Target};
use crate::clock::UnixSeconds;
use crate::facts::feed::PARENT_PIPELINE;
use crate::gitlab::GitLab;
use crate::gitlab::graphql::{Parts, ProjectChanges, Which};
use crate::gitlab::model::{Page, Pipeline};
use crate::memory::feed::FeedProgress;
use crate::types::{PipelineId, ProjectId};

/// The statuses that a pipeline may have moved to, as far as every GitLab knows them. In those that are
/// missing it does not stay.
pub(super) const STATUSES: [&str; 11] = [
    "CREATED",
    "WAITING_FOR_RESOURCE",
    "PREPARING",
    "PENDING",
    "RUNNING",
    "MANUAL",
    "SCHEDULED",
    "SUCCESS",
    "FAILED",
    "CANCELED",
    "SKIPPED",
];

/// Pages of new pipelines that are read of a project with a long past; what is left is found by its status.
const NEW_PAGES: usize = 20;

/// How far back the child pipelines of a project with a long past are read at first.
pub(super) const CHILDREN_AT_FIRST: Duration = Duration::from_secs(24 * 3600);

/// A list that is asked of a batch of projects.
#[derive(Clone, Copy)]
struct Question {
    list: List,
    /// Pipelines of each kind per project and page.
    first: u32,
    /// Whether it is read to its end.
    to_end: bool,
}

#[derive(Clone, Copy)]
enum List {
    Newest,
    NewestChildren,
    /// What moved since the project was last read.
    Moved,
    Running,
    /// What moved to this status since the project was last read.
    MovedTo(&'static str),
    /// What moved to this status since then.
    MovedToSince(&'static str, UnixSeconds),
}

impl List {
    fn which(self, since: UnixSeconds) -> Which<'static> {
        match self {
            Self::Newest => Which::Newest,
            Self::NewestChildren => Which::NewestChildren,
            Self::Moved => Which::MovedSince(since),
            Self::Running => Which::RUNNING,
            Self::MovedTo(status) => Which::StatusSince(status, since),
            Self::MovedToSince(status, since) => Which::StatusSince(status, since),
        }
    }
}

impl Question {
    /// Pages of so many, to the end.
    const fn all(list: List) -> Self {
        Self {
            list,
            first: GitLab::CHANGES_PIPELINES,
            to_end: true,
        }
    }

    /// The first page, as long as a first poll has it.
    const fn first_page(list: List) -> Self {
        Self {
            list,
            first: GitLab::FIRST_POLL_PIPELINES,
            to_end: false,
        }
    }
}

/// Pipelines of a page of the newest, where few are new.
const FEW_NEW: u32 = 5;

/// Newest pipelines that are listed to find deleted ones.
const CHECKED: u32 = 20;

/// Pipelines that are asked for, at most, since a list lacks them.
const MISSING: usize = 20;

/// What a poll brought of each project.
pub(super) type Read<'t> = Vec<(&'t Target, Result<Changes, SourceError>)>;

impl GraphQl {
    /// What moved in each of the projects; those that GraphQL was not asked for are absent.
    pub(super) async fn changes<'t>(
        &self,
        targets: &[&'t Target],
        ahead: &Ahead,
        now: UnixSeconds,
    ) -> Read<'t> {
        let (known, new): (Vec<_>, Vec<_>) = targets
            .iter()
            .copied()
            .partition(|target| target.memory.feed.is_some());
        let mut read = self.first_poll(&new, now).await;
        let (known, failed) = self.with_pasts(known, now).await;
        read.extend(failed);
        let (long, short): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|(_, past)| past.is_long());
        let short: Vec<&Target> = short.into_iter().map(|(target, _)| target).collect();
        let mut moved = self.moved(short, ahead, now).await;
        self.check_newest(&mut moved, now).await;
        read.extend(moved);
        read.extend(self.long_pasts(&long, now).await);
        for (target, changes) in &read {
            if let Ok(changes) = changes {
                self.pasts.learn(target.id(), changes.numbers());
            }
        }
        read
    }

    /// What moved in projects whose pasts are short, with the jobs of their active pipelines as far as these
    /// fit in.
    async fn moved<'t>(
        &self,
        targets: Vec<&'t Target>,
        ahead: &Ahead,
        now: UnixSeconds,
    ) -> Read<'t> {
        let moved = Question::all(List::Moved);
        let (packs, mut rest) = ahead.packs(targets);
        let reads = packs
            .iter()
            .map(|pack| self.in_batches_with(pack, &self.with_jobs, moved, Some(ahead), now));
        let mut read = Vec::new();
        let reads = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        for (pack, of_pack) in packs.into_iter().zip(reads) {
            let (good, _): (Read<'t>, Read<'t>) =
                of_pack.into_iter().partition(|(_, result)| result.is_ok());
            let done: BTreeSet<ProjectId> = good.iter().map(|(target, _)| target.id()).collect();
            // The jobs may be at fault.
            rest.extend(pack.into_iter().filter(|one| !done.contains(&one.id())));
            read.extend(good);
        }
        read.extend(self.in_batches(&rest, &self.changes, moved, now).await);
        read
    }

    /// The projects with what is known of their pasts. It is asked for once, after a start.
    async fn with_pasts<'t>(
        &self,
        targets: Vec<&'t Target>,
        now: UnixSeconds,
    ) -> (Vec<(&'t Target, Past)>, Read<'t>) {
        let unknown = targets.iter().copied();
        let unknown: Vec<&Target> = unknown
            .filter(|target| self.pasts.get(target.id()).is_none())
            .collect();
        let newest = Question {
            list: List::Newest,
            first: 1,
            to_end: false,
        };
        let mut failed = Vec::new();
        for (target, read) in self.in_batches(&unknown, &self.changes, newest, now).await {
            match read {
                Ok(changes) => self.pasts.learn(target.id(), changes.numbers()),
                Err(error) => failed.push((target, Err(error))),
            }
        }
        let known = targets.into_iter();
        let known = known.filter_map(|target| Some((target, self.pasts.get(target.id())?)));
        let is_failed = |target: &Target| failed.iter().any(|(other, _)| target.id() == other.id());
        let known = known.filter(|(target, _)| !is_failed(target)).collect();
        (known, failed)
    }

    /// The newest pipelines, their children, and all that run: their jobs end without moving them.
    async fn first_poll<'t>(&self, targets: &[&'t Target], now: UnixSeconds) -> Read<'t> {
        let newest = Question::first_page(List::Newest);
        let mut read = self.in_batches(targets, &self.first, newest, now).await;
        for (target, changes) in &read {
            if let Ok(changes) = changes {
                self.pasts.learn(target.id(), changes.numbers());
                self.pasts.checked(target.id(), now);
            }
        }
        let (long, short): (Vec<&Target>, Vec<&Target>) = read_well(&read, targets)
            .into_iter()
            .partition(|target| self.pasts.get(target.id()).is_some_and(Past::is_long));
        let children = Question::first_page(List::NewestChildren);
        let more = self.in_batches(&short, &self.first, children, now).await;
        add(&mut read, &short, more);
        let since = now.minus(CHILDREN_AT_FIRST);
        for status in STATUSES {
            let long = read_well(&read, &long);
            let lately = Question::first_page(List::MovedToSince(status, since));
            let more = self.in_batches(&long, &self.first, lately, now).await;
            add(&mut read, &long, more);
        }
        let crowded: Vec<&Target> = read
            .iter()
            .filter(|(_, result)| result.as_ref().is_ok_and(|changes| changes.has_more))
            .map(|(target, _)| *target)
            .collect();
        let running = Question {
            to_end: true,
            ..Question::first_page(List::Running)
        };
        let more = self.in_batches(&crowded, &self.first, running, now).await;
        add(&mut read, &crowded, more);
        read
    }

    /// Looks for what was deleted in projects with a short past: what moved does not say so.
    async fn check_newest(&self, read: &mut Read<'_>, now: UnixSeconds) {
        let is_due = |target: &Target| {
            let past = self.pasts.get(target.id());
            past.is_some_and(|past| past.is_check_due(last_moved(target), now))
        };
        let due = read.iter().filter(|(_, result)| result.is_ok());
        let due: Vec<&Target> = due
            .map(|(target, _)| *target)
            .filter(|target| is_due(target))
            .collect();
        let newest = Question {
            list: List::Newest,
            first: CHECKED,
            to_end: false,
        };
        let listed = self.in_batches(&due, &self.changes, newest, now).await;
        let mut listed: BTreeMap<ProjectId, Changes> = listed
            .into_iter()
            .filter_map(|(target, result)| Some((target.id(), result.ok()?)))
            .collect();
        for (target, result) in read {
            let id = target.id();
            if let (Ok(changes), Some(newest)) = (result, listed.remove(&id)) {
                let ids = newest.pipelines.iter().map(|pipeline| pipeline.id);
                changes.missing = missing(target, &ids.collect(), newest.has_more);
                self.pasts.checked(id, now);
            }
        }
    }

    /// What moved in projects whose pasts are long.
    async fn long_pasts<'t>(&self, targets: &[(&'t Target, Past)], now: UnixSeconds) -> Read<'t> {
        let all: Vec<&Target> = targets.iter().map(|(target, _)| *target).collect();
        let newest = Question {
            list: List::Newest,
            first: FEW_NEW,
            to_end: false,
        };
        let mut read = self.in_batches(&all, &self.changes, newest, now).await;
        self.read_on_to_known(&mut read, targets).await;
        let all = read_well(&read, &all);
        let running = Question::all(List::Running);
        let more = self.in_batches(&all, &self.changes, running, now).await;
        add(&mut read, &all, more);
        let mut sweep: BTreeSet<ProjectId> = targets
            .iter()
            .filter(|(target, past)| past.is_sweep_due(last_moved(target), now))
            .map(|(target, _)| target.id())
            .collect();
        self.follow_active(&mut read, &mut sweep, now).await;
        let swept: Vec<&Target> = all
            .into_iter()
            .filter(|target| sweep.contains(&target.id()))
            .collect();
        self.sweep(&mut read, &swept, now).await;
        read
    }

    /// Reads the newest of each project on until one that was known before.
    async fn read_on_to_known(&self, read: &mut Read<'_>, targets: &[(&Target, Past)]) {
        let known: BTreeMap<ProjectId, PipelineId> = targets
            .iter()
            .filter_map(|(target, past)| Some((target.id(), past.newest?)))
            .collect();
        for (target, result) in read {
            let (Ok(changes), Some(newest)) = (&mut *result, known.get(&target.id())) else {
                continue;
            };
            let listed = changes.pipelines.first().map(|pipeline| pipeline.id);
            if listed < Some(*newest) {
                changes.missing.push(*newest);
                self.pasts.newest_is(target.id(), listed);
            }
            for _ in 0..NEW_PAGES {
                let last = changes.pipelines.last().map(|pipeline| pipeline.id);
                let Some(after) = changes.next.take().filter(|_| last > Some(*newest)) else {
                    break;
                };
                let more = self.gitlab.more_newest_pipelines(target.id(), after);
                match more.await {
                    Ok(Some(page)) => {
                        changes.next.clone_from(&page.next);
                        changes.add(page);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        *result = Err(Arc::new(error).into());
                        break;
                    }
                }
            }
        }
    }

    /// What became of the active pipelines that no list has: by their ids, or by a sweep where lists do not
    /// take any.
    async fn follow_active(
        &self,
        read: &mut Read<'_>,
        sweep: &mut BTreeSet<ProjectId>,
        now: UnixSeconds,
    ) {
        let mut missing: Vec<(bool, ProjectId, PipelineId)> = Vec::new();
        for (target, result) in &*read {
            let (Ok(changes), Some(feed)) = (result, &target.memory.feed) else {
                continue;
            };
            let listed: BTreeSet<PipelineId> = changes
                .pipelines
                .iter()
                .map(|pipeline| pipeline.id)
                .collect();
            let followed = feed.followed.iter();
            let active = followed.filter(|(_, followed)| followed.pipeline.status.is_active());
            let gone = active.filter(|(id, _)| !listed.contains(id));
            missing.extend(gone.map(|(id, followed)| {
                let is_child = &*followed.pipeline.source == PARENT_PIPELINE;
                (is_child, target.id(), *id)
            }));
        }
        if !self.gitlab.lists_by_ids() {
            sweep.extend(missing.into_iter().map(|(_, project, _)| project));
            return;
        }
        let asked = read.iter().map(|(target, _)| *target);
        let asked: Vec<&Target> = asked
            .filter(|target| {
                missing
                    .iter()
                    .any(|(_, project, _)| *project == target.id())
            })
            .collect();
        let mut found: BTreeMap<ProjectId, Result<Changes, SourceError>> = BTreeMap::new();
        missing.sort_unstable();
        let kinds = missing.chunk_by(|one, next| one.0 == next.0);
        for chunk in kinds.flat_map(|kind| kind.chunks(GitLab::PIPELINE_IDS)) {
            let children = chunk.first().is_some_and(|first| first.0);
            let projects: BTreeSet<ProjectId> =
                chunk.iter().map(|(_, project, _)| *project).collect();
            let projects: Vec<ProjectId> = projects.into_iter().collect();
            let ask = async |asked: Vec<ProjectId>| {
                let wanted = chunk
                    .iter()
                    .filter(|(_, project, _)| asked.contains(project));
                let ids: Vec<PipelineId> = wanted.map(|(_, _, id)| *id).collect();
                let most = u32::try_from(GitLab::PIPELINE_IDS).unwrap_or(u32::MAX);
                self.gitlab
                    .project_changes(&asked, which_ids(&ids, children), most)
                    .await
            };
            let id_of = |changes: &ProjectChanges| changes.project.id;
            let read: PerProject<ProjectChanges> =
                self.changes.ask(&projects, now, id_of, ask).await;
            for (project, result) in read {
                let more = result.map(|read| {
                    let mut more = Changes::of(read.project);
                    more.add(read.pipelines);
                    more.add(read.children);
                    more
                });
                match (found.get_mut(&project), more) {
                    (Some(Ok(known)), Ok(more)) => known.merge(more),
                    (Some(Err(_)), Ok(_)) => {}
                    (_, more) => drop(found.insert(project, more)),
                }
            }
        }
        let more = asked.iter();
        let more = more.filter_map(|target| Some((*target, found.remove(&target.id())?)));
        let more = more.collect();
        add(read, &asked, more);
    }

    /// What moved, status by status. Where one list fails, the others are taken in, and the next poll
    /// begins where this one did.
    async fn sweep<'t>(&self, read: &mut Read<'t>, targets: &[&'t Target], now: UnixSeconds) {
        let mut whole: BTreeSet<ProjectId> = targets.iter().map(|target| target.id()).collect();
        for status in STATUSES {
            let open: Vec<&Target> = targets
                .iter()
                .copied()
                .filter(|target| whole.contains(&target.id()))
                .collect();
            let moved = Question::all(List::MovedTo(status));
            let mut more: BTreeMap<ProjectId, Result<Changes, SourceError>> = self
                .in_batches(&open, &self.changes, moved, now)
                .await
                .into_iter()
                .map(|(target, result)| (target.id(), result))
                .collect();
            for (target, result) in &mut *read {
                let id = target.id();
                let (Ok(changes), true) = (&mut *result, whole.contains(&id)) else {
                    continue;
                };
                match more.remove(&id) {
                    Some(Ok(more)) => changes.merge(more),
                    Some(Err(SourceError::GitLab(error))) => {
                        changes.failed.push(error);
                        whole.remove(&id);
                    }
                    Some(Err(_)) | None => {
                        whole.remove(&id);
                    }
                }
            }
        }
        for (target, result) in read {
            let Ok(changes) = result else {
                continue;
            };
            if whole.contains(&target.id()) {
                self.pasts.swept(target.id(), now);
            } else {
                let feed = target.memory.feed.as_ref();
                changes.until = Some(feed.map(|feed| feed.watermark).unwrap_or_default());
            }
        }
    }

    /// First pages for many projects at once, then what is left of each.
    async fn in_batches<'t>(
        &self,
        targets: &[&'t Target],
        batches: &Batches,
        question: Question,
        now: UnixSeconds,
    ) -> Read<'t> {
        self.in_batches_with(targets, batches, question, None, now)
            .await
    }

    /// The same, with jobs of active pipelines.
    async fn in_batches_with<'t>(
        &self,
        targets: &[&'t Target],
        batches: &Batches,
        question: Question,
        ahead: Option<&Ahead>,
        now: UnixSeconds,
    ) -> Read<'t> {
        let since: BTreeMap<ProjectId, UnixSeconds> = targets
            .iter()
            .map(|target| (target.id(), since(target)))
            .collect();
        let ids: Vec<ProjectId> = since.keys().copied().collect();
        let since = &since;
        let ask = async |ids: Vec<ProjectId>| {
            // From when on a batch is read: the least of what its projects need.
            let since = ids.iter().filter_map(|id| since.get(id)).min();
            let since = since.copied().unwrap_or_default();
            if let Some(ahead) = ahead {
                let active = ahead.active(&ids);
                return self.gitlab.changes_with_jobs(&ids, since, &active).await;
            }
            let which = question.list.which(since);
            self.gitlab
                .project_changes(&ids, which, question.first)
                .await
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
                    Ok(changes) => {
                        let parts = ahead.map(|ahead| ahead.active(&[target.id()]).parts());
                        self.all_pages(target, changes, question, parts).await
                    }
                    Err(error) => Err(error),
                };
                (*target, read)
            })
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }

    /// Reads on until the last page, where it is to be read to its end.
    async fn all_pages(
        &self,
        target: &Target,
        changes: ProjectChanges,
        question: Question,
        parts: Option<Parts>,
    ) -> Result<Changes, SourceError> {
        let ProjectChanges {
            project,
            pipelines,
            children,
            active,
        } = changes;
        let mut all = Changes::of(project);
        if let Some(parts) = parts {
            let active = active.into_iter();
            let jobs = active.map(|jobs| (jobs.id, RawDetails::of(jobs, parts)));
            all.jobs = jobs.collect();
        }
        let which = question.list.which(since(target));
        for (is_children, page) in [(false, pipelines), (true, children)] {
            if !question.to_end {
                all.has_more |= page.next.is_some();
                if !is_children {
                    all.next.clone_from(&page.next);
                }
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
}

/// Pipelines that are remembered of a project, and that a list of its newest should have.
pub(super) fn missing(
    target: &Target,
    listed: &BTreeSet<PipelineId>,
    has_more: bool,
) -> Vec<PipelineId> {
    let oldest = listed.first().copied().filter(|_| has_more);
    let remembered = target.memory.pipelines.all_ids();
    let reached = remembered.filter(|id| oldest.is_none_or(|oldest| *id >= oldest));
    let mut missing: Vec<PipelineId> = reached.filter(|id| !listed.contains(id)).collect();
    missing.sort_unstable_by(|one, other| other.cmp(one));
    missing.truncate(MISSING);
    missing
}

/// From when on a project is read.
fn since(target: &Target) -> UnixSeconds {
    let feed = target.memory.feed.as_ref();
    feed.map(FeedProgress::since).unwrap_or_default()
}

/// When a pipeline of a project last moved, as far as known.
fn last_moved(target: &Target) -> UnixSeconds {
    let feed = target.memory.feed.as_ref();
    feed.map(FeedProgress::last_moved).unwrap_or_default()
}

/// Those of some projects that were read without an error so far.
fn read_well<'t>(read: &Read<'t>, targets: &[&'t Target]) -> Vec<&'t Target> {
    let ids: BTreeSet<ProjectId> = targets.iter().map(|target| target.id()).collect();
    let well = read.iter().filter(|(target, result)| {
        let is_one = ids.contains(&target.id());
        is_one && result.is_ok()
    });
    well.map(|(target, _)| *target).collect()
}

/// Adds what a further list brought of the projects that were `asked`. What GraphQL was not asked for any
/// more is not known as a whole.
fn add<'t>(read: &mut Read<'t>, asked: &[&'t Target], more: Read<'t>) {
    let asked: BTreeSet<ProjectId> = asked.iter().map(|target| target.id()).collect();
    let mut more: BTreeMap<ProjectId, Result<Changes, SourceError>> = more
        .into_iter()
        .map(|(target, result)| (target.id(), result))
        .collect();
    read.retain(|(target, result)| {
        let is_lost = asked.contains(&target.id()) && !more.contains_key(&target.id());
        result.is_err() || !is_lost
    });
    for (target, result) in read {
        match (more.remove(&target.id()), &mut *result) {
            (Some(Ok(more)), Ok(changes)) => changes.merge(more),
            (Some(Err(error)), Ok(_)) => *result = Err(error),
            _ => {}
        }
    }
}

impl Changes {
    /// Nothing yet of a project.
    pub(super) fn of(project: crate::gitlab::model::Project) -> Self {
        Self {
            project,
            pipelines: Vec::new(),
            skipped: Vec::new(),
            has_more: false,
            next: None,
            missing: Vec::new(),
            deleted: Vec::new(),
            until: None,
            failed: Vec::new(),
            jobs: BTreeMap::new(),
        }
    }

    /// Its pipelines as they were listed.
    fn numbers(&self) -> impl Iterator<Item = Listed> {
        let pipelines = self.pipelines.iter();
        pipelines.map(|pipeline| Listed {
            id: pipeline.id,
            number: pipeline.iid,
            is_child: &*pipeline.source == PARENT_PIPELINE,
        })
    }

    /// Adds what another list of the same project brought beyond this one. Of a pipeline that both have,
    /// the later state is kept.
    pub(super) fn merge(&mut self, other: Self) {
        let mut places: BTreeMap<PipelineId, usize> = self
            .pipelines
            .iter()
            .enumerate()
            .map(|(place, pipeline)| (pipeline.id, place))
            .collect();
        for pipeline in other.pipelines {
            match places.get(&pipeline.id) {
                Some(place) => {
                    let known = &mut self.pipelines[*place];
                    if pipeline.updated_at >= known.updated_at {
                        *known = pipeline;
                    }
                }
                None => {
                    places.insert(pipeline.id, self.pipelines.len());
                    self.pipelines.push(pipeline);
                }
            }
        }
        self.has_more |= other.has_more;
        self.skipped.extend(other.skipped);
    }

    pub(super) fn add(&mut self, page: Page<Pipeline>) {
        self.pipelines.extend(page.items);
        self.skipped.extend(page.skipped);
    }
}
