//! The details of pipelines that moved: their jobs and the downstream pipelines they started, by GraphQL
//! or REST, and what each way lacks from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{Tracked, side_by_side};
use super::known_jobs::{Bridges, Completed};
use super::pasts::Past;
use super::rest::settle_labels;
use super::{CALLS_AT_ONCE, ChangeFeed, Details, Place, ReadOptions, Reading, children};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::GitLabError;
use crate::gitlab::graphql::{BridgesPart, JobsPart, Parts};
use crate::gitlab::model::{Downstream, DownstreamTarget, Job, Known, Pipeline};
use crate::memory::feed::Depth;
use crate::types::{JobId, PipelineId, ProjectId, Text};

/// Pipelines of one project that a poll reads by calls of their own while other projects wait for it
/// to end.
const FEW: usize = 20;

/// The same where it is the only project.
pub(super) const MANY: usize = 50;

/// Jobs of a project for which a list of its newest ones costs GitLab less than a stage and artifacts of each.
const WORTH_A_LIST: usize = 10;

/// Most jobs in that list.
const NEWEST_JOBS: u32 = 100;

/// A pipeline whose details are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) project: ProjectId,
    pub(super) path: Text,
    pub(super) pipeline: Pipeline,
    /// What of it is wanted.
    pub(super) options: ReadOptions,
    /// What of it is asked for now.
    pub(super) parts: Parts,
    /// Whether it is read for what happened before the project was first read.
    pub(super) is_history: bool,
    /// The same, and it may be read later.
    pub(super) rests: bool,
    /// Whether it may be read by itself, if it cannot be read together with others.
    pub(super) alone: bool,
}

impl Wanted {
    pub(super) fn place(&self) -> Place {
        (self.project, self.path.clone())
    }
}

/// A pipeline's details as they were read.
#[derive(Clone, Debug)]
pub(super) struct RawDetails {
    pub(super) jobs: Vec<Job>,
    pub(super) downstream: Vec<Started>,
    /// What was asked for.
    pub(super) parts: Parts,
    /// Its trigger jobs, where they were asked for and could be read.
    pub(super) bridges: Option<Vec<Job>>,
    /// The trigger job that started it, where it was asked for.
    pub(super) origin: Option<Text>,
    pub(super) coverage: Known<f64>,
    pub(super) skipped: Vec<String>,
    /// Why its downstream pipelines could not be read.
    pub(super) failed: Option<Arc<GitLabError>>,
}

/// A downstream pipeline that a bridge started and that the token may read.
#[derive(Clone, Debug)]
pub(super) struct Started {
    pub(super) bridge: Text,
    pub(super) project: ProjectId,
    pub(super) pipeline: PipelineId,
    /// The pipeline itself, where the same answer contains it.
    pub(super) target: Option<DownstreamTarget>,
}

impl Started {
    /// What GraphQL returns of a downstream pipeline; nothing of one that the token may not read, nor where
    /// another took the trigger job's place.
    pub(super) fn from_downstream(downstream: Downstream) -> Option<Self> {
        let Downstream { bridge, target } = downstream;
        let target = target.filter(|_| bridge.retried != Known::Value(true))?;
        Some(Self {
            bridge: bridge.name,
            project: target.project_id,
            pipeline: target.pipeline.id,
            target: Some(target),
        })
    }
}

/// Pipelines that take calls of their own, shared out among the projects of a poll.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// Most of one project.
    pub(super) most: usize,
    /// Number of the poll: where there are more, each has its turn.
    pub(super) turn: usize,
}

impl Share {
    /// Those that are read now, what still changes and the newest first.
    pub(super) fn take(self, mut wanted: Vec<&Wanted>) -> Vec<&Wanted> {
        wanted.sort_by_key(|wanted| {
            (
                wanted.project,
                !wanted.pipeline.status.is_active(),
                std::cmp::Reverse(wanted.pipeline.id),
            )
        });
        let of_projects = wanted.chunk_by_mut(|one, next| one.project == next.project);
        let mut taken = Vec::new();
        for of_project in of_projects {
            let first = self.turn.wrapping_mul(self.most) % of_project.len().max(1);
            if of_project.len() > self.most {
                of_project.rotate_left(first);
            }
            taken.extend(of_project.iter().take(self.most).copied());
        }
        taken
    }
}

/// The details of a pipeline; none when GitLab does not have the pipeline any more.
pub(super) type DetailsRead = Result<Option<RawDetails>, Arc<GitLabError>>;

impl ChangeFeed {
    /// Reads the details of every pipeline that needs them.
    pub(super) async fn details(
        &self,
        polls: &mut BTreeMap<ProjectId, Reading<'_>>,
        tracked: &Tracked,
        now: UnixSeconds,
        ahead: BTreeMap<PipelineId, RawDetails>,
    ) {
        let wanted: Vec<Wanted> = polls
            .iter()
            .flat_map(|(id, reading)| {
                let (options, depth) = (reading.poll.options(), reading.poll.depth());
                let is_history = reading.poll.is_backfill();
                let rests = is_history && depth != Depth::Everything;
                let past = self.graphql.pasts.get(*id);
                let how = (rests, past.is_some_and(Past::is_long));
                reading.poll.wanted().map(move |pipeline| Wanted {
                    project: *id,
                    path: reading.project.full_path.clone(),
                    pipeline: pipeline.clone(),
                    options,
                    parts: self.known_jobs.parts(*id, pipeline, options, how, now),
                    is_history,
                    rests,
                    alone: pipeline.status.is_active() || depth == Depth::Everything,
                })
            })
            .collect();
        if wanted.is_empty() {
            return;
        }
        let share = Share {
            most: if polls.len() > 1 { FEW } else { MANY },
            turn: self.polls.fetch_add(1, Ordering::Relaxed),
        };
        let mut read = self.read_details(&wanted, ahead, share).await;
        for wanted in &wanted {
            let Some(details) = read.get(&wanted.pipeline.id) else {
                continue;
            };
            if let Ok(Some(details)) = details {
                let (place, started) = (wanted.place(), &details.downstream);
                self.upstreams.learn(&place, &wanted.pipeline, started);
            }
        }
        let labels = self.labels(&wanted, &mut read, polls, share).await;
        let finish = wanted.iter().map(|wanted| {
            let id = wanted.pipeline.id;
            self.finish(wanted, read.get(&id), labels.get(&id), tracked, now)
        });
        let finished = side_by_side(CALLS_AT_ONCE, finish.collect()).await;
        for (wanted, finished) in wanted.iter().zip(finished) {
            if let Finished::Read { details, read, .. } = &finished {
                let none = BTreeMap::new();
                let labelled = labels.get(&wanted.pipeline.id);
                let labelled = labelled.and_then(|read| read.as_deref().ok());
                let labelled = labelled.unwrap_or(&none);
                self.known_jobs.learn(wanted, details, *read, labelled, now);
            }
            if let Some(reading) = polls.get_mut(&wanted.project) {
                reading.take(wanted, finished);
            }
        }
        for (project, reading) in polls {
            let poll = &reading.poll;
            self.known_jobs.retain(*project, |id| poll.is_due(id));
        }
    }

    /// What is wanted of each pipeline, by GraphQL as far as it answers, else by REST.
    async fn read_details(
        &self,
        wanted: &[Wanted],
        ahead: BTreeMap<PipelineId, RawDetails>,
        share: Share,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        let now = self.clock.now();
        if !self.graphql.is_open(now) {
            return self.rest.details(wanted.iter().collect(), share).await;
        }
        let mut read = self.graphql_details(wanted, ahead, share, now).await;
        let answered = read.values().any(Result::is_ok);
        let no_coincidence = !answered && wanted_are_many(read.len());
        for error in read.values().filter_map(|read| read.as_ref().err()) {
            // It answered what moved, or others: only this pipeline is beyond it.
            if no_coincidence || !error.may_be_one_items_fault() {
                self.graphql.failed(error, now);
            }
        }
        let is_open = self.graphql.is_open(now);
        let refused = |wanted: &&Wanted| match read.get(&wanted.pipeline.id) {
            Some(Ok(_)) => false,
            Some(Err(error)) => error.may_be_one_items_fault() || error.graphql_unavailable(),
            None => wanted.alone && !is_open,
        };
        let refused: Vec<&Wanted> = wanted.iter().filter(refused).collect();
        // GraphQL shows nothing of what is deleted, and nothing of what the token may not read.
        let is_missing = |wanted: &&Wanted| matches!(read.get(&wanted.pipeline.id), Some(Ok(None)));
        let missing: Vec<&Wanted> = wanted.iter().filter(is_missing).collect();
        read.extend(self.rest.details(refused, share).await);
        for (id, proof) in self.rest.deleted(&missing).await {
            match proof {
                Ok(true) => {}
                Ok(false) => drop(read.remove(&id)),
                Err(error) => drop(read.insert(id, Err(error))),
            }
        }
        read
    }

    /// By GraphQL: what each pipeline needs that did not come with the change feed, and once more where the
    /// answer says that more is needed.
    async fn graphql_details(
        &self,
        wanted: &[Wanted],
        mut ahead: BTreeMap<PipelineId, RawDetails>,
        share: Share,
        now: UnixSeconds,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        let mut read = BTreeMap::new();
        let mut again = Vec::new();
        let mut asked = Vec::new();
        for wanted in wanted {
            match ahead.remove(&wanted.pipeline.id) {
                Some(details) if answers(details.parts, wanted.parts) => {
                    let found = [(wanted.pipeline.id, Ok(Some(details)))].into();
                    self.take_found(vec![wanted], found, &mut read, &mut again);
                }
                _ => asked.push((wanted.parts, wanted)),
            }
        }
        asked.append(&mut again);
        let is_alone = asked.iter().filter(|(_, wanted)| wanted.rests).count() == 1;
        let (newest, older) = newest_at_rest(asked);
        for (parts, wanted) in groups(newest.iter().copied()) {
            let found = self.together(&wanted, parts, share, now).await;
            self.take_found(wanted, found, &mut read, &mut again);
        }
        // What is beyond the list of newest jobs is read later: a job that is read twice costs GitLab twice.
        let is_listed = |wanted: &Wanted| {
            let mut newest = newest.iter().map(|(_, newest)| newest);
            match newest.find(|newest| newest.project == wanted.project) {
                Some(newest) => is_within_list(newest, jobs_of(&read, newest.pipeline.id), wanted),
                // It shares a query with those of others, or is read by itself later.
                None => !is_alone,
            }
        };
        let older = older.into_iter();
        let mut open = groups(older.filter(|(_, wanted)| !wanted.rests || is_listed(wanted)));
        while !(open.is_empty() && again.is_empty()) {
            for (parts, wanted) in std::mem::take(&mut open) {
                let found = self.together(&wanted, parts, share, now).await;
                self.take_found(wanted, found, &mut read, &mut again);
            }
            let labelled = self.label(&again, &mut read).await;
            again.retain(|(_, wanted)| !labelled.contains(&wanted.pipeline.id));
            for (_, wanted) in &again {
                read.remove(&wanted.pipeline.id);
            }
            // They are read by themselves: others of their lists would cost as much.
            again.retain(|(_, wanted)| !wanted.rests);
            open = groups(again.drain(..));
        }
        read
    }

    /// Pipelines of which the same is asked. One that had come to rest, and is left of several, takes a query of
    /// its own.
    async fn together(
        &self,
        wanted: &[&Wanted],
        parts: Parts,
        share: Share,
        now: UnixSeconds,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        match wanted {
            [only] if only.rests => self.graphql.by_number(only, parts).await,
            _ => self.graphql.details(wanted, parts, share, now).await,
        }
    }

    /// Takes in what was found of the wanted pipelines, with what is known of them; `again` gets those of
    /// which more is to be asked.
    fn take_found<'w>(
        &self,
        wanted: Vec<&'w Wanted>,
        mut found: BTreeMap<PipelineId, DetailsRead>,
        read: &mut BTreeMap<PipelineId, DetailsRead>,
        again: &mut Vec<(Parts, &'w Wanted)>,
    ) {
        for wanted in wanted {
            let Some(Ok(Some(details))) = found.get_mut(&wanted.pipeline.id) else {
                continue;
            };
            match self.known_jobs.complete(wanted, details) {
                Completed::Whole(whole) => *details = whole,
                Completed::Asks(parts) => again.push((parts, wanted)),
            }
        }
        read.extend(found);
    }

    /// Adds stages, artifacts and labels to the jobs of pipelines that had come to rest, where the list of the
    /// newest jobs of their project has them all. The pipelines that are complete with it.
    async fn label(
        &self,
        open: &[(Parts, &Wanted)],
        read: &mut BTreeMap<PipelineId, DetailsRead>,
    ) -> BTreeSet<PipelineId> {
        let mut projects: BTreeMap<ProjectId, Vec<PipelineId>> = BTreeMap::new();
        for (_, wanted) in open.iter().filter(|(_, wanted)| wanted.rests) {
            let of_project = projects.entry(wanted.project).or_default();
            of_project.push(wanted.pipeline.id);
        }
        let wanted = projects.into_iter().map(|(project, ids)| {
            let jobs = ids.iter().map(|id| jobs_of(read, *id)).sum::<usize>();
            (project, ids, jobs)
        });
        let wanted: Vec<_> = wanted
            .filter(|(_, _, jobs)| *jobs >= WORTH_A_LIST)
            .collect();
        let lists = wanted.into_iter().map(|(project, ids, jobs)| async move {
            // Others lie between them.
            let most = u32::try_from(2 * jobs).map_or(NEWEST_JOBS, |most| most.min(NEWEST_JOBS));
            // Where it fails, GraphQL is asked for each pipeline.
            let listed = self.gitlab.newest_jobs(project, most).await.ok();
            let jobs = listed.into_iter().flat_map(|page| page.items);
            let jobs: BTreeMap<JobId, Job> = jobs.map(|job| (job.id, job)).collect();
            (ids, jobs)
        });
        let mut labelled = BTreeSet::new();
        for (ids, listed) in side_by_side(CALLS_AT_ONCE, lists.collect()).await {
            for id in ids {
                let Some(Ok(Some(details))) = read.get_mut(&id) else {
                    continue;
                };
                if details.jobs.iter().any(|job| !listed.contains_key(&job.id)) {
                    continue;
                }
                for job in &mut details.jobs {
                    if let Some(listed) = listed.get(&job.id) {
                        job.stage = listed.stage.clone();
                        job.artifact_bytes = listed.artifact_bytes;
                        job.tags.clone_from(&listed.tags);
                    }
                }
                settle_labels(&mut details.jobs, &listed);
                details.parts.artifacts = true;
                labelled.insert(id);
            }
        }
        labelled
    }

    /// What a second way of reading says of the jobs whose labels the first does not show, by pipeline. It
    /// is one call for each project, as a rule.
    async fn labels(
        &self,
        wanted: &[Wanted],
        read: &mut BTreeMap<PipelineId, DetailsRead>,
        polls: &BTreeMap<ProjectId, Reading<'_>>,
        share: Share,
    ) -> BTreeMap<PipelineId, Labels> {
        let mut open: BTreeMap<PipelineId, Vec<Job>> = BTreeMap::new();
        for wanted in wanted {
            let id = wanted.pipeline.id;
            let (Some(reading), Some(Ok(Some(details)))) =
                (polls.get(&wanted.project), read.get_mut(&id))
            else {
                continue;
            };
            self.known_jobs.settle(wanted, &mut details.jobs);
            let bridges = details.bridges.as_deref_mut().unwrap_or_default();
            self.known_jobs.settle(wanted, bridges);
            if wanted.options.jobs {
                let jobs = details.jobs.iter().chain(&*bridges);
                open.insert(id, reading.poll.open_jobs(id, jobs));
            }
        }
        open.retain(|_, jobs| !jobs.is_empty());
        let is_open = |wanted: &&Wanted| open.contains_key(&wanted.pipeline.id);
        let asked = share.take(wanted.iter().filter(is_open).collect());
        let mut projects: BTreeMap<ProjectId, Vec<(PipelineId, Vec<Job>)>> = BTreeMap::new();
        for wanted in asked {
            let id = wanted.pipeline.id;
            if let Some(jobs) = open.remove(&id) {
                let of_project = projects.entry(wanted.project).or_default();
                of_project.push((id, jobs));
            }
        }
        let reads = projects.into_iter().map(|(project, open)| async move {
            let read = self.rest.labels(project, &open).await.map(Arc::new);
            let ids = open.into_iter().map(|(id, _)| id);
            ids.map(|id| (id, read.clone())).collect::<Vec<_>>()
        });
        let read = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        read.into_iter().flatten().collect()
    }

    /// Adds what the first way of reading could not return: labels, and downstream pipelines of
    /// projects that are not tracked.
    async fn finish(
        &self,
        wanted: &Wanted,
        details: Option<&DetailsRead>,
        labels: Option<&Labels>,
        tracked: &Tracked,
        now: UnixSeconds,
    ) -> Finished {
        let raw = match details {
            Some(Ok(Some(raw))) => raw.clone(),
            Some(Ok(None)) => return Finished::NotFound,
            Some(Err(error)) => return Finished::Failed(Arc::clone(error)),
            None => return Finished::Later,
        };
        let RawDetails {
            mut jobs,
            downstream,
            coverage,
            skipped,
            failed,
            mut bridges,
            parts,
            origin: _,
        } = raw;
        let is_tracked = |started: &Started| tracked.contains_key(&started.project);
        let is_elsewhere = self.gitlab.lists_children()
            && (!wanted.options.foreign || downstream.iter().all(is_tracked));
        let last = bridges.iter().flatten();
        let last = last.filter(|bridge| bridge.retried != Known::Value(true));
        let (has_bridges, waits) = (last.clone().count() > 0, last.count() > downstream.len());
        let mut labels_error = None;
        match labels {
            Some(Ok(read)) => {
                settle_labels(&mut jobs, read);
                let bridges = bridges.as_deref_mut().unwrap_or_default();
                settle_labels(bridges, read);
            }
            Some(Err(error)) => labels_error = Some(Arc::clone(error)),
            None => {}
        }
        let children = children::children(&self.gitlab, wanted, &downstream).await;
        let foreign = if wanted.options.foreign {
            self.foreign
                .follow(
                    wanted,
                    downstream,
                    tracked,
                    self.graphql.is_open(now),
                    &self.upstreams,
                )
                .await
        } else {
            Ok(Vec::new())
        };
        let is_followed = failed.is_none() && foreign.is_ok() && children.is_ok();
        let known = match () {
            () if !is_followed => Bridges::Followed,
            () if !has_bridges => Bridges::None,
            () if !is_elsewhere => Bridges::Followed,
            () if waits => Bridges::Waiting,
            () => Bridges::Started,
        };
        Finished::Read {
            read: (parts, known),
            labels_error,
            skipped,
            foreign_error: failed
                .as_ref()
                .or(foreign.as_ref().err())
                .or(children.as_ref().err())
                .cloned(),
            children: children.unwrap_or_default(),
            details: Details {
                jobs,
                bridges,
                foreign: foreign.unwrap_or_default(),
                coverage,
            },
        }
    }
}

/// Pipelines, and what is asked for of each.
type Asked<'w> = Vec<(Parts, &'w Wanted)>;

/// What a second way of reading says of jobs.
type Labels = Result<Arc<BTreeMap<JobId, Job>>, Arc<GitLabError>>;

/// How many jobs were read of a pipeline.
fn jobs_of(read: &BTreeMap<PipelineId, DetailsRead>, id: PipelineId) -> usize {
    match read.get(&id) {
        Some(Ok(Some(details))) => details.jobs.len(),
        _ => 0,
    }
}

/// Of the pipelines that had come to rest, the newest of each project that has more; and all others.
fn newest_at_rest(asked: Asked<'_>) -> (Asked<'_>, Asked<'_>) {
    let mut projects: BTreeMap<ProjectId, BTreeSet<PipelineId>> = BTreeMap::new();
    for (_, wanted) in asked.iter().filter(|(_, wanted)| wanted.rests) {
        let of_project = projects.entry(wanted.project).or_default();
        of_project.insert(wanted.pipeline.id);
    }
    projects.retain(|_, pipelines| pipelines.len() > 1);
    let is_newest = |wanted: &Wanted| {
        let of_project = projects.get(&wanted.project);
        of_project.is_some_and(|of_project| of_project.last() == Some(&wanted.pipeline.id))
    };
    asked.into_iter().partition(|(_, wanted)| is_newest(wanted))
}

/// Whether a pipeline's jobs are among the newest of its project, if all pipelines have as many as the newest.
fn is_within_list(newest: &Wanted, jobs: usize, wanted: &Wanted) -> bool {
    let before = newest.pipeline.iid.saturating_sub(wanted.pipeline.iid);
    let pipelines = usize::try_from(before)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    pipelines.saturating_mul(jobs) <= NEWEST_JOBS as usize
}

/// Whether jobs that were read are those that are wanted, and nothing else is.
fn answers(read: Parts, wanted: Parts) -> bool {
    let without_jobs = Parts {
        jobs: JobsPart::None,
        ..wanted
    };
    without_jobs == Parts::NONE && wanted.jobs != JobsPart::None && read.jobs != JobsPart::None
}

/// Pipelines that can be asked for together. Trigger jobs cost little where there are none.
fn groups<'w>(
    wanted: impl Iterator<Item = (Parts, &'w Wanted)>,
) -> BTreeMap<Parts, Vec<&'w Wanted>> {
    let mut groups: BTreeMap<Parts, Vec<(BridgesPart, &Wanted)>> = BTreeMap::new();
    for (parts, wanted) in wanted {
        let group = Parts {
            bridges: BridgesPart::None,
            ..parts
        };
        let group = groups.entry(group).or_default();
        group.push((parts.bridges, wanted));
    }
    let together = groups.into_iter().map(|(parts, wanted)| {
        let bridges = wanted.iter().map(|(bridges, _)| *bridges).max();
        let bridges = bridges.unwrap_or(BridgesPart::None);
        let wanted = wanted.into_iter().map(|(_, wanted)| wanted);
        (Parts { bridges, ..parts }, wanted.collect())
    });
    together.collect()
}

/// Whether so many pipelines that failed one and all are no coincidence.
const fn wanted_are_many(failed: usize) -> bool {
    failed > 2
}

/// How the reading of a pipeline's details ended.
enum Finished {
    Read {
        details: Details,
        /// What was asked for, and the trigger jobs, where they were.
        read: (Parts, Bridges),
        /// Why labels could not be read.
        labels_error: Option<Arc<GitLabError>>,
        foreign_error: Option<Arc<GitLabError>>,
        /// Child pipelines that no list has.
        children: Vec<Pipeline>,
        skipped: Vec<String>,
    },
    NotFound,
    Failed(Arc<GitLabError>),
    /// Not read this time; it stays due.
    Later,
}

impl Reading<'_> {
    fn take(&mut self, wanted: &Wanted, finished: Finished) {
        let path = self.project.full_path.clone();
        let id = wanted.pipeline.id;
        match finished {
            Finished::NotFound => self.poll.mark_deleted(id),
            Finished::Failed(error) => {
                self.problems
                    .push(Problem::call(&path, Collector::Jobs, &error))
            }
            Finished::Later => {}
            Finished::Read {
                details,
                read: _,
                labels_error,
                foreign_error,
                children,
                skipped,
            } => {
                let skipped = skipped.into_iter();
                self.problems
                    .extend(skipped.map(|text| Problem::skipped(&path, Collector::Jobs, text)));
                if let Some(error) = labels_error {
                    self.problems
                        .push(Problem::call(&path, Collector::Jobs, &error));
                }
                self.poll.details(id, details);
                self.poll.children(id, children);
                if let Some(error) = foreign_error {
                    self.poll.details_due(id);
                    self.problems
                        .push(Problem::call(&path, Collector::ChildPipelines, &error));
                }
            }
        }
    }
}
