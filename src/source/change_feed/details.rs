//! The details of pipelines that moved: their jobs and the downstream pipelines they started, by GraphQL
//! or REST, and what each way lacks from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{Tracked, side_by_side};
use super::{CALLS_AT_ONCE, ChangeFeed, Details, Place, ReadOptions, Reading, children};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::GitLabError;
use crate::gitlab::model::{Downstream, DownstreamTarget, Job, Known, Pipeline};
use crate::memory::feed::Depth;
use crate::types::{PipelineId, ProjectId, Text};

/// Pipelines of one project that a poll reads by calls of their own while other projects wait for it
/// to end.
const FEW: usize = 20;

/// The same where it is the only project.
const MANY: usize = 50;

/// A pipeline whose details are wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) project: ProjectId,
    pub(super) path: Text,
    pub(super) pipeline: Pipeline,
    /// What of it is wanted.
    pub(super) options: ReadOptions,
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
    /// What GraphQL returns of a downstream pipeline; nothing of one that the token may not read.
    pub(super) fn from_downstream(downstream: Downstream) -> Option<Self> {
        let Downstream { bridge, target } = downstream;
        let target = target?;
        Some(Self {
            bridge,
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
    ) {
        let wanted: Vec<Wanted> = polls
            .iter()
            .flat_map(|(id, reading)| {
                reading.poll.wanted().map(|pipeline| Wanted {
                    project: *id,
                    path: reading.project.full_path.clone(),
                    pipeline: pipeline.clone(),
                    options: reading.poll.options(),
                    alone: pipeline.status.is_active() || reading.poll.depth() == Depth::Everything,
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
        let read = self.read_details(&wanted, share).await;
        for wanted in &wanted {
            let Some(details) = read.get(&wanted.pipeline.id) else {
                continue;
            };
            if let Ok(Some(details)) = details {
                let (place, started) = (wanted.place(), &details.downstream);
                self.upstreams.learn(&place, &wanted.pipeline, started);
            }
        }
        let asked = asked_for_labels(&wanted, &read, polls, share, now);
        let finish = wanted.iter().map(|wanted| {
            let id = wanted.pipeline.id;
            self.finish(wanted, read.get(&id), asked.contains(&id), tracked, now)
        });
        let finished = side_by_side(CALLS_AT_ONCE, finish.collect()).await;
        for (wanted, finished) in wanted.iter().zip(finished) {
            if let Some(reading) = polls.get_mut(&wanted.project) {
                reading.take(wanted, finished, now);
            }
        }
    }

    async fn read_details(
        &self,
        wanted: &[Wanted],
        share: Share,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        let now = self.clock.now();
        if !self.graphql.is_open(now) {
            return self.rest.details(wanted, share).await;
        }
        let mut read = self.graphql.details(wanted, share, now).await;
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
        let refused: Vec<Wanted> = wanted.iter().filter(refused).cloned().collect();
        // GraphQL shows nothing of what is deleted, and nothing of what the token may not read.
        let is_missing = |wanted: &&Wanted| matches!(read.get(&wanted.pipeline.id), Some(Ok(None)));
        let missing: Vec<Wanted> = wanted.iter().filter(is_missing).cloned().collect();
        read.extend(self.rest.details(&refused, share).await);
        for (id, proof) in self.rest.deleted(&missing).await {
            match proof {
                Ok(true) => {}
                Ok(false) => drop(read.remove(&id)),
                Err(error) => drop(read.insert(id, Err(error))),
            }
        }
        read
    }

    /// Adds what the first way of reading could not return: labels, and downstream pipelines of
    /// projects that are not tracked.
    async fn finish(
        &self,
        wanted: &Wanted,
        details: Option<&DetailsRead>,
        asks_for_labels: bool,
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
        } = raw;
        let labels = if asks_for_labels {
            Some(self.rest.labels(wanted, &mut jobs).await)
        } else {
            None
        };
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
        Finished::Read {
            labels,
            skipped,
            foreign_error: failed
                .as_ref()
                .or(foreign.as_ref().err())
                .or(children.as_ref().err())
                .cloned(),
            children: children.unwrap_or_default(),
            details: Details {
                jobs,
                foreign: foreign.unwrap_or_default(),
                coverage,
            },
        }
    }
}

/// The pipelines whose labels a second way of reading is asked for now: one call each.
fn asked_for_labels(
    wanted: &[Wanted],
    read: &BTreeMap<PipelineId, DetailsRead>,
    polls: &BTreeMap<ProjectId, Reading<'_>>,
    share: Share,
    now: UnixSeconds,
) -> BTreeSet<PipelineId> {
    let wants = |wanted: &&Wanted| {
        let id = wanted.pipeline.id;
        let (Some(reading), Some(Ok(Some(details)))) = (polls.get(&wanted.project), read.get(&id))
        else {
            return false;
        };
        wanted.options.jobs && reading.poll.wants_labels(id, &details.jobs, now)
    };
    let asked = share.take(wanted.iter().filter(wants).collect());
    asked.into_iter().map(|wanted| wanted.pipeline.id).collect()
}

/// Whether so many pipelines that failed one and all are no coincidence.
const fn wanted_are_many(failed: usize) -> bool {
    failed > 2
}

/// How the reading of a pipeline's details ended.
enum Finished {
    Read {
        details: Details,
        /// Whether labels were asked for, and what came of it.
        labels: Option<Result<(), Arc<GitLabError>>>,
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
    fn take(&mut self, wanted: &Wanted, finished: Finished, now: UnixSeconds) {
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
                labels,
                foreign_error,
                children,
                skipped,
            } => {
                let skipped = skipped.into_iter();
                self.problems
                    .extend(skipped.map(|text| Problem::skipped(&path, Collector::Jobs, text)));
                match labels {
                    Some(Ok(())) => self.poll.labels_read(id, now),
                    Some(Err(error)) => {
                        self.problems
                            .push(Problem::call(&path, Collector::Jobs, &error))
                    }
                    None => {}
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
