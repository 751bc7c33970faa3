//! How far the change feed has read a project: pure bookkeeping, no calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::facts::feed::{Feed, ForeignPipeline, PipelineFacts};
use crate::facts::feed::{MULTI_PROJECT_PIPELINE, PARENT_PIPELINE};
use crate::gitlab::model::{Job, Known, Pipeline, Status, Upstream};
use crate::memory::feed::{Depth, FeedProgress, Followed, OVERLAP};
use crate::memory::refs::{RefName, is_watched};
use crate::types::PipelineId;

/// What of the change feed is wanted at all.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// Read child pipelines (`include_child_pipelines`).
    pub children: bool,
    /// Read jobs (`collectors.jobs.enabled`).
    pub jobs: bool,
    /// Read downstream pipelines of projects that are not tracked.
    pub foreign: bool,
    /// Read the types of runners (`include_runner_details`).
    pub runner_details: bool,
}

impl ReadOptions {
    /// Whether anything beyond the pipelines themselves is read.
    #[must_use]
    pub fn details(self) -> bool {
        self.jobs || self.foreign
    }
}

/// How many polls a downstream pipeline waits for its upstream pipeline to be read.
const UPSTREAM_POLLS: u8 = 20;

fn waits_for_upstream(pipeline: &Pipeline) -> bool {
    pipeline.upstream == Known::Unread
        && matches!(&*pipeline.source, PARENT_PIPELINE | MULTI_PROJECT_PIPELINE)
}

/// One poll of a project, from the changes read to the facts for the collectors.
#[derive(Debug)]
pub struct Poll<'a> {
    settings: &'a ProjectSettings,
    options: ReadOptions,
    first: bool,
    /// Whether it reads what had come to rest at the first poll, and nothing else.
    is_backfill: bool,
    /// How deep it goes.
    depth: Depth,
    now: UnixSeconds,
    floor: UnixSeconds,
    /// From when on this poll reads; the watermark moves meanwhile.
    since: UnixSeconds,
    state: FeedProgress,
    facts: BTreeMap<PipelineId, PipelineFacts>,
    deleted: Vec<PipelineId>,
}

/// What a pipeline's details brought.
#[derive(Clone, Debug)]
pub struct Details {
    /// Its jobs, retried ones included.
    pub jobs: Vec<Job>,
    /// Its trigger jobs, where they were read.
    pub bridges: Option<Vec<Job>>,
    /// Downstream pipelines in projects that are not tracked.
    pub foreign: Vec<ForeignPipeline>,
    /// Coverage, where the change feed itself does not carry it.
    pub coverage: Known<f64>,
}

impl Details {
    /// The latest event in it. A job that takes another's place is one, too.
    fn newest(&self) -> UnixSeconds {
        let jobs = self.jobs.iter().chain(self.bridges.iter().flatten());
        let jobs = jobs
            .flat_map(|job| [Some(job.created_at), job.finished_at])
            .flatten();
        let foreign = self
            .foreign
            .iter()
            .map(|foreign| foreign.target.pipeline.updated_at);
        jobs.chain(foreign).max().unwrap_or_default()
    }
}

impl<'a> Poll<'a> {
    /// Begins a poll. `remembered` is none at the first; `now` is GitLab's time.
    #[must_use]
    pub fn begin(
        settings: &'a ProjectSettings,
        options: ReadOptions,
        remembered: Option<&FeedProgress>,
        now: UnixSeconds,
    ) -> Self {
        let state = remembered
            .cloned()
            .unwrap_or_else(|| FeedProgress::new(now));
        let depth = match remembered {
            None => Depth::Pipelines,
            Some(_) => Depth::Everything,
        };
        Self {
            settings,
            options,
            first: remembered.is_none(),
            is_backfill: false,
            depth,
            now,
            floor: state.floor(),
            since: state.since(),
            state,
            facts: BTreeMap::new(),
            deleted: Vec::new(),
        }
    }

    /// Begins the next step of the backfill: the jobs of pipelines that had come to rest at the first
    /// poll, as far as many share a request, and in the step after that whatever is left.
    #[must_use]
    pub fn backfill(
        settings: &'a ProjectSettings,
        options: ReadOptions,
        remembered: &FeedProgress,
        now: UnixSeconds,
    ) -> Self {
        let depth = match remembered.depth {
            Depth::Pipelines => Depth::Jobs,
            Depth::Jobs | Depth::Everything => Depth::Everything,
        };
        Self {
            is_backfill: true,
            depth,
            ..Self::begin(settings, options, Some(remembered), now)
        }
    }

    /// Takes in all pages of what moved, as read from `polled_at` on. Only then may the watermark
    /// move.
    pub fn changes(&mut self, pipelines: Vec<Pipeline>, polled_at: UnixSeconds) {
        self.state.polled_at = self.state.polled_at.max(polled_at);
        self.some_changes(pipelines, self.now);
    }

    /// Takes in what moved, where all that did before `until` was read, and not all that did later.
    pub fn some_changes(&mut self, pipelines: Vec<Pipeline>, until: UnixSeconds) {
        let newest = self.first.then(|| self.newest_of_refs(&pipelines));
        for pipeline in pipelines {
            // A time in the future is invalid, and would hide all that moves until then.
            let moved_at = pipeline.updated_at.min(self.now).min(until);
            self.state.watermark = self.state.watermark.max(moved_at);
            if self.is_wanted(&pipeline) && self.has_moved(&pipeline) {
                let is_history = newest
                    .as_ref()
                    .is_some_and(|newest| !newest.contains(&pipeline.id));
                self.moved(pipeline, is_history);
            }
        }
    }

    fn is_wanted(&self, pipeline: &Pipeline) -> bool {
        let child = &*pipeline.source == PARENT_PIPELINE;
        is_watched(pipeline, self.settings) && (self.options.children || !child)
    }

    fn has_moved(&self, pipeline: &Pipeline) -> bool {
        match self.state.followed.get(&pipeline.id) {
            Some(known) => {
                let known = &known.pipeline;
                // What started it could not be read before.
                let is_explained =
                    known.upstream == Known::Unread && pipeline.upstream != Known::Unread;
                is_explained
                    || (known.updated_at, &known.status, known.finished_at)
                        != (pipeline.updated_at, &pipeline.status, pipeline.finished_at)
            }
            // Below the floor and forgotten: it was settled, and has not moved since.
            None => self.first || pipeline.updated_at >= self.since,
        }
    }

    /// The newest pipeline of each ref, and the child pipelines that it led to: of history, only their details
    /// are read.
    fn newest_of_refs(&self, pipelines: &[Pipeline]) -> BTreeSet<PipelineId> {
        let mut newest: BTreeMap<RefName, PipelineId> = BTreeMap::new();
        for pipeline in pipelines
            .iter()
            .filter(|pipeline| &*pipeline.source != PARENT_PIPELINE)
        {
            let place = newest.entry(RefName::of(pipeline)).or_insert(pipeline.id);
            *place = pipeline.id.max(*place);
        }
        let mut newest: BTreeSet<PipelineId> = newest.into_values().collect();
        let children = pipelines
            .iter()
            .filter(|pipeline| &*pipeline.source == PARENT_PIPELINE);
        // What starts a pipeline has the lower id.
        let children: BTreeMap<PipelineId, &Pipeline> =
            children.map(|child| (child.id, child)).collect();
        for (id, child) in children {
            if let Known::Value(upstream) = &child.upstream
                && newest.contains(&upstream.pipeline)
            {
                newest.insert(id);
            }
        }
        newest
    }

    fn moved(&mut self, mut pipeline: Pipeline, is_history: bool) {
        let id = pipeline.id;
        // What moved after the first poll began, and was read later in it, is no history.
        let is_history = is_history && pipeline.updated_at <= self.state.first_seen;
        let details_due = self.options.details() && (pipeline.status.is_active() || !is_history);
        let known = self.state.followed.get(&id);
        // The other way of reading may have returned what started it, and this one cannot.
        if let Some(known) = known
            && pipeline.upstream == Known::Unread
        {
            pipeline.upstream.clone_from(&known.pipeline.upstream);
        }
        let floor = known.map_or(self.floor, |known| known.floor);
        let rests = self.first && !pipeline.status.is_active();
        let newest = known.map_or(pipeline.updated_at, |known| {
            known.newest.max(pipeline.updated_at)
        });
        let upstream_polls = if waits_for_upstream(&pipeline) {
            UPSTREAM_POLLS
        } else {
            0
        };
        let followed = Followed {
            pipeline,
            floor,
            rests,
            newest,
            details_due,
            upstream_polls,
        };
        self.facts
            .insert(id, self.facts_of(&followed, None, Vec::new()));
        self.state.followed.insert(id, Box::new(followed));
    }

    fn facts_of(
        &self,
        followed: &Followed,
        jobs: Option<Vec<Job>>,
        foreign: Vec<ForeignPipeline>,
    ) -> PipelineFacts {
        let floor = match followed.rests || self.first {
            true => followed.floor.plus(Duration::from_secs(1)),
            false => followed.floor,
        };
        PipelineFacts {
            pipeline: followed.pipeline.clone(),
            floor: Some(floor),
            jobs,
            bridges: None,
            foreign,
        }
    }

    /// Has this poll leave nothing for the next: no request is shared, so none can wait for others.
    pub fn leave_nothing(&mut self) {
        if self.depth == Depth::Jobs {
            self.depth = Depth::Everything;
        }
    }

    /// What it is to read.
    #[must_use]
    pub fn options(&self) -> ReadOptions {
        self.options
    }

    /// How deep this poll goes.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The pipelines whose details are to be read now.
    pub fn wanted(&self) -> impl Iterator<Item = &Pipeline> {
        let (backfill, is_whole) = (self.is_backfill, self.state.is_whole());
        self.state
            .followed
            .values()
            .filter(move |followed| {
                let is_wanted = match backfill {
                    true => followed.rests,
                    false => !followed.rests || is_whole,
                };
                followed.details_due && is_wanted
            })
            .map(|followed| &followed.pipeline)
    }

    /// Whether it reads what had come to rest before.
    #[must_use]
    pub fn is_backfill(&self) -> bool {
        self.is_backfill
    }

    /// The jobs whose labels only a second way of reading returns, where they are to be asked for now.
    #[must_use]
    pub fn open_jobs<'j>(
        &self,
        id: PipelineId,
        jobs: impl IntoIterator<Item = &'j Job>,
    ) -> Vec<Job> {
        if self.depth < Depth::Everything || !self.state.followed.contains_key(&id) {
            return Vec::new();
        }
        let open = jobs.into_iter().filter(|job| self.is_open(job));
        open.cloned().collect()
    }

    fn is_open(&self, job: &Job) -> bool {
        let reason = job.status == Status::Failed && job.failure_reason.is_open();
        let runner = self.options.runner_details
            && job.status.is_terminal()
            && job.started_at.is_some()
            && job.runner_type.is_open();
        reason || runner
    }

    /// Takes in a pipeline's details.
    pub fn details(&mut self, id: PipelineId, details: Details) {
        let mut jobs = details.jobs.iter();
        let mut bridges = details.bridges.iter().flatten();
        let open = jobs.any(|job| self.is_open(job))
            || (self.options.jobs && bridges.any(|job| self.is_open(job)));
        let foreign_open = details
            .foreign
            .iter()
            .any(|foreign| !foreign.target.pipeline.status.is_terminal());
        let Some(followed) = self.state.followed.get_mut(&id) else {
            return;
        };
        if !details.coverage.is_open() {
            followed.pipeline.coverage = details.coverage.value();
        }
        followed.details_due = followed.pipeline.status.is_active() || open || foreign_open;
        followed.newest = followed.newest.max(details.newest());
        let jobs = self.options.jobs.then_some(details.jobs);
        let bridges = details.bridges.filter(|_| self.options.jobs);
        let foreign = if self.options.foreign {
            details.foreign
        } else {
            Vec::new()
        };
        let followed = followed.clone();
        let facts = PipelineFacts {
            bridges,
            ..self.facts_of(&followed, jobs, foreign)
        };
        self.facts.insert(id, facts);
    }

    /// Whether the details of a pipeline are to be read again.
    #[must_use]
    pub fn is_due(&self, id: PipelineId) -> bool {
        let followed = self.state.followed.get(&id);
        followed.is_some_and(|followed| followed.details_due)
    }

    /// Takes in child pipelines that were found by the trigger jobs of their parent. Its details stay due
    /// until they have ended: nothing else shows that they move.
    pub fn children(&mut self, parent: PipelineId, children: Vec<Pipeline>) {
        if children.iter().any(|child| !child.status.is_terminal()) {
            self.details_due(parent);
        }
        for child in children {
            if self.is_wanted(&child) && self.has_moved(&child) {
                self.moved(child, self.first);
            }
        }
    }

    /// Has the details read again at the next poll, because part of them could not be.
    pub fn details_due(&mut self, id: PipelineId) {
        if let Some(followed) = self.state.followed.get_mut(&id) {
            followed.details_due = true;
        }
    }

    /// Fills in what started the downstream pipelines that wait for it.
    pub fn upstreams(&mut self, find: impl Fn(PipelineId) -> Option<Upstream>) {
        let mut found = Vec::new();
        for (id, followed) in &mut self.state.followed {
            if followed.upstream_polls == 0 {
                continue;
            }
            if let Some(upstream) = find(*id) {
                followed.pipeline.upstream = Known::Value(upstream);
                followed.upstream_polls = 0;
                found.push(followed.clone());
            } else {
                followed.upstream_polls -= 1;
            }
        }
        for followed in found {
            let facts = self.facts_of(&followed, None, Vec::new());
            self.facts
                .entry(followed.pipeline.id)
                .and_modify(|known| known.pipeline = followed.pipeline.clone())
                .or_insert(facts);
        }
    }

    /// A pipeline that GitLab does not have any more.
    pub fn mark_deleted(&mut self, id: PipelineId) {
        self.state.followed.remove(&id);
        self.facts.remove(&id);
        self.deleted.push(id);
    }

    /// Whether the poll found nothing to take in.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.first && self.facts.is_empty() && self.deleted.is_empty()
    }

    /// Ends the poll: facts for the collectors, and what to remember.
    #[must_use]
    pub fn end(mut self) -> (Feed, FeedProgress) {
        if self.is_backfill {
            self.state.depth = self.depth;
        }
        // As far back as it may be read again, should the access be lost and come back.
        let since = self.state.watermark.minus(OVERLAP);
        self.state.followed.retain(|_, followed| {
            followed.details_due
                || followed.upstream_polls > 0
                || followed.pipeline.status.is_active()
                || followed.newest >= since
        });
        let mut left = self.state.followed.values();
        if self.first && !left.any(|followed| followed.rests && followed.details_due) {
            self.state.depth = Depth::Everything;
        }
        let feed = Feed {
            pipelines: self.facts.into_values().collect(),
            followed: self.state.followed.keys().copied().collect(),
            deleted: self.deleted,
        };
        (feed, self.state)
    }
}
