//! How far the change feed has read a project: pure bookkeeping, no calls.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::collector::pipelines::{MULTI_PROJECT_PIPELINE, PARENT_PIPELINE};
use crate::collector::refs::{RefName, is_watched};
use crate::collector::{Feed, ForeignPipeline, PipelineFacts};
use crate::config::ProjectSettings;
use crate::gitlab::model::{Job, Known, Pipeline, Status, Upstream};
use crate::types::PipelineId;

/// What moved this long before the watermark is read again: GitLab sets `updated_at` before it
/// commits, so a change can appear late.
pub const OVERLAP: Duration = Duration::from_secs(60);

/// A project that is quiet is read again from this long before its last look: far enough back for
/// anything that appears late, and near enough that it can share a query with busy projects, which
/// is read from the earliest of its projects on.
const QUIET_OVERLAP: Duration = Duration::from_secs(300);

/// While a pipeline runs, labels that need a second way of reading are asked for at most this often.
const LABELS_INTERVAL: Duration = Duration::from_secs(300);

/// What of the change feed is wanted at all.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Read child pipelines (`include_child_pipelines`).
    pub children: bool,
    /// Read jobs (`collectors.jobs.enabled`).
    pub jobs: bool,
    /// Read downstream pipelines of projects that are not tracked.
    pub foreign: bool,
    /// Read the types of runners (`include_runner_details`).
    pub runner_details: bool,
}

impl Wishes {
    /// Whether anything beyond the pipelines themselves is read.
    #[must_use]
    pub fn details(self) -> bool {
        self.jobs || self.foreign
    }
}

/// How deep a project has been read. Its first looks go deeper one by one, so that the pipelines of
/// all projects are shown, and then their jobs, before anything that takes requests per pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Depth {
    /// Pipelines, and the jobs of those that are active: these are not history for long.
    Pipelines,
    /// Jobs of the others, too, as far as many pipelines share a request.
    Jobs,
    /// Everything.
    Everything,
}

/// What the change feed remembers of a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeedState {
    /// How deep it has been read.
    pub depth: Depth,
    /// When the project was first looked at, by GitLab's clock.
    pub first_seen: UnixSeconds,
    /// Latest `updated_at` of what has been read completely.
    pub watermark: UnixSeconds,
    /// When the last complete look began, by GitLab's clock or ours, whichever is behind.
    pub looked_at: UnixSeconds,
    /// Pipelines that can come again without having moved, or are not settled.
    pub followed: BTreeMap<PipelineId, Followed>,
}

/// A pipeline that is followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// The pipeline as it was last read.
    pub pipeline: Pipeline,
    /// Its events before this are history or have been counted; see [`crate::collector`].
    pub floor: UnixSeconds,
    /// It had come to rest at the first look and has not moved since: what happened in the second
    /// of that look is history, too.
    pub rests: bool,
    /// The latest event of it, its jobs and its downstream pipelines: these end without moving it,
    /// so while this is not behind the watermark, they could be taken for new ones.
    pub newest: UnixSeconds,
    /// Whether its details (jobs, downstream) must be read again.
    pub details_due: bool,
    /// When the labels that need a second way of reading were last asked for.
    pub labels_read_at: Option<UnixSeconds>,
    /// Looks for which it is still kept so that what started it may be found (REST tells only
    /// the upstream side).
    pub upstream_looks: u8,
}

/// How many looks a downstream pipeline waits for its upstream pipeline to be read.
const UPSTREAM_LOOKS: u8 = 20;

fn waits_for_upstream(pipeline: &Pipeline) -> bool {
    pipeline.upstream == Known::Unread
        && matches!(&*pipeline.source, PARENT_PIPELINE | MULTI_PROJECT_PIPELINE)
}

impl FeedState {
    /// The state of a project at its first look.
    #[must_use]
    pub fn new(first_seen: UnixSeconds) -> Self {
        Self {
            depth: Depth::Pipelines,
            first_seen,
            watermark: UnixSeconds::default(),
            looked_at: UnixSeconds::default(),
            followed: BTreeMap::new(),
        }
    }

    /// Whether everything that is wanted has been read at least once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.depth == Depth::Everything
    }

    /// From when on changes are read again.
    #[must_use]
    pub fn since(&self) -> UnixSeconds {
        self.watermark
            .minus(OVERLAP)
            .max(self.looked_at.minus(QUIET_OVERLAP))
    }

    /// Events before this are history, or were counted by an earlier look.
    #[must_use]
    pub fn floor(&self) -> UnixSeconds {
        self.since().max(self.first_seen)
    }
}

/// One look at a project, from the changes read to the facts for the collectors.
#[derive(Debug)]
pub struct Look<'a> {
    settings: &'a ProjectSettings,
    wishes: Wishes,
    first: bool,
    /// How deep it goes.
    depth: Depth,
    now: UnixSeconds,
    floor: UnixSeconds,
    /// From when on this look reads; the watermark moves meanwhile.
    since: UnixSeconds,
    state: FeedState,
    facts: BTreeMap<PipelineId, PipelineFacts>,
    deleted: Vec<PipelineId>,
}

/// What a pipeline's details brought.
#[derive(Clone, Debug)]
pub struct Details {
    /// Its jobs, retried ones included.
    pub jobs: Vec<Job>,
    /// Downstream pipelines in projects that are not tracked.
    pub foreign: Vec<ForeignPipeline>,
    /// Coverage, where the change feed itself does not carry it.
    pub coverage: Known<f64>,
}

impl Details {
    /// The latest event in it.
    fn newest(&self) -> UnixSeconds {
        let jobs = self.jobs.iter().filter_map(|job| job.finished_at);
        let foreign = self
            .foreign
            .iter()
            .map(|foreign| foreign.target.pipeline.updated_at);
        jobs.chain(foreign).max().unwrap_or_default()
    }
}

impl<'a> Look<'a> {
    /// Begins a look. `remembered` is none at the first; `now` is GitLab's time.
    #[must_use]
    pub fn begin(
        settings: &'a ProjectSettings,
        wishes: Wishes,
        remembered: Option<&FeedState>,
        now: UnixSeconds,
    ) -> Self {
        let state = remembered.cloned().unwrap_or_else(|| FeedState::new(now));
        let depth = match remembered.map(|state| state.depth) {
            None => Depth::Pipelines,
            Some(Depth::Pipelines) => Depth::Jobs,
            Some(Depth::Jobs | Depth::Everything) => Depth::Everything,
        };
        Self {
            settings,
            wishes,
            first: remembered.is_none(),
            depth,
            now,
            floor: state.floor(),
            since: state.since(),
            state,
            facts: BTreeMap::new(),
            deleted: Vec::new(),
        }
    }

    /// Takes in all pages of what moved, as read from `looked_at` on. Only then may the watermark
    /// move.
    pub fn changes(&mut self, pipelines: Vec<Pipeline>, looked_at: UnixSeconds) {
        self.state.looked_at = self.state.looked_at.max(looked_at);
        let newest = self.first.then(|| self.newest_of_refs(&pipelines));
        for pipeline in pipelines {
            // A time that is yet to come is nonsense, and would hide all that moves until then.
            let moved_at = pipeline.updated_at.min(self.now);
            self.state.watermark = self.state.watermark.max(moved_at);
            if self.is_wanted(&pipeline) && self.has_moved(&pipeline) {
                let history = newest
                    .as_ref()
                    .is_some_and(|newest| !newest.contains(&pipeline.id));
                self.moved(pipeline, history);
            }
        }
    }

    fn is_wanted(&self, pipeline: &Pipeline) -> bool {
        let child = &*pipeline.source == PARENT_PIPELINE;
        is_watched(pipeline, self.settings) && (self.wishes.children || !child)
    }

    fn has_moved(&self, pipeline: &Pipeline) -> bool {
        match self.state.followed.get(&pipeline.id) {
            Some(known) => {
                let known = &known.pipeline;
                (known.updated_at, &known.status, known.finished_at)
                    != (pipeline.updated_at, &pipeline.status, pipeline.finished_at)
            }
            // Below the floor and forgotten: it was settled, and has not moved since.
            None => self.first || pipeline.updated_at >= self.since,
        }
    }

    /// The newest pipeline of each ref: of history, only their details are read.
    fn newest_of_refs(&self, pipelines: &[Pipeline]) -> BTreeSet<PipelineId> {
        let mut newest: BTreeMap<RefName, PipelineId> = BTreeMap::new();
        for pipeline in pipelines
            .iter()
            .filter(|pipeline| &*pipeline.source != PARENT_PIPELINE)
        {
            let place = newest.entry(RefName::of(pipeline)).or_insert(pipeline.id);
            *place = pipeline.id.max(*place);
        }
        newest.into_values().collect()
    }

    fn moved(&mut self, mut pipeline: Pipeline, history: bool) {
        let id = pipeline.id;
        let details_due = self.wishes.details() && (pipeline.status.is_active() || !history);
        let known = self.state.followed.get(&id);
        // The other way of reading may have told what started it, and this one cannot.
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
        let labels_read_at = known.and_then(|known| known.labels_read_at);
        let upstream_looks = if waits_for_upstream(&pipeline) {
            UPSTREAM_LOOKS
        } else {
            0
        };
        let followed = Followed {
            pipeline,
            floor,
            rests,
            newest,
            details_due,
            labels_read_at,
            upstream_looks,
        };
        self.facts
            .insert(id, self.facts_of(&followed, None, Vec::new()));
        self.state.followed.insert(id, followed);
    }

    fn facts_of(
        &self,
        followed: &Followed,
        jobs: Option<Vec<Job>>,
        foreign: Vec<ForeignPipeline>,
    ) -> PipelineFacts {
        let floor = match followed.rests {
            true => followed.floor.plus(Duration::from_secs(1)),
            false => followed.floor,
        };
        PipelineFacts {
            pipeline: followed.pipeline.clone(),
            floor: (!self.first).then_some(floor),
            jobs,
            foreign,
        }
    }

    /// Has this look leave nothing for the next: no request is shared, so none can wait for others.
    pub fn leave_nothing(&mut self) {
        if self.depth == Depth::Jobs {
            self.depth = Depth::Everything;
        }
    }

    /// How deep this look goes.
    #[must_use]
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The pipelines whose details are to be read now.
    pub fn wanted(&self) -> impl Iterator<Item = &Pipeline> {
        let all = self.depth > Depth::Pipelines;
        self.state
            .followed
            .values()
            .filter(move |followed| {
                followed.details_due && (all || followed.pipeline.status.is_active())
            })
            .map(|followed| &followed.pipeline)
    }

    /// Whether the labels that only a second way of reading gives are to be asked for now: when
    /// the pipeline has ended or is blocked, and now and then while it runs.
    #[must_use]
    pub fn wants_labels(&self, id: PipelineId, jobs: &[Job], now: UnixSeconds) -> bool {
        let Some(followed) = self.state.followed.get(&id) else {
            return false;
        };
        if self.depth < Depth::Everything {
            return false;
        }
        let open = jobs.iter().any(|job| self.is_open(job));
        let due = !followed.pipeline.status.is_active()
            || followed
                .labels_read_at
                .is_none_or(|at| now.since(at) >= LABELS_INTERVAL);
        open && due
    }

    fn is_open(&self, job: &Job) -> bool {
        let reason = job.status == Status::Failed && job.failure_reason.is_open();
        let runner = self.wishes.runner_details
            && job.status.is_terminal()
            && job.started_at.is_some()
            && job.runner_type.is_open();
        reason || runner
    }

    /// Notes that labels were asked for.
    pub fn labels_read(&mut self, id: PipelineId, now: UnixSeconds) {
        if let Some(followed) = self.state.followed.get_mut(&id) {
            followed.labels_read_at = Some(now);
        }
    }

    /// Takes in a pipeline's details.
    pub fn details(&mut self, id: PipelineId, details: Details) {
        let open = details.jobs.iter().any(|job| self.is_open(job));
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
        let jobs = self.wishes.jobs.then_some(details.jobs);
        let foreign = if self.wishes.foreign {
            details.foreign
        } else {
            Vec::new()
        };
        let followed = followed.clone();
        self.facts
            .insert(id, self.facts_of(&followed, jobs, foreign));
    }

    /// Has the details read again at the next look, because part of them could not be.
    pub fn details_due(&mut self, id: PipelineId) {
        if let Some(followed) = self.state.followed.get_mut(&id) {
            followed.details_due = true;
        }
    }

    /// Fills in what started the downstream pipelines that wait for it.
    pub fn upstreams(&mut self, find: impl Fn(PipelineId) -> Option<Upstream>) {
        let mut found = Vec::new();
        for (id, followed) in &mut self.state.followed {
            if followed.upstream_looks == 0 {
                continue;
            }
            if let Some(upstream) = find(*id) {
                followed.pipeline.upstream = Known::Value(upstream);
                followed.upstream_looks = 0;
                found.push(followed.clone());
            } else {
                followed.upstream_looks -= 1;
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
    pub fn gone(&mut self, id: PipelineId) {
        self.state.followed.remove(&id);
        self.facts.remove(&id);
        self.deleted.push(id);
    }

    /// Whether the look found nothing to take in.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.state.depth == self.depth
            && !self.first
            && self.facts.is_empty()
            && self.deleted.is_empty()
    }

    /// Ends the look: facts for the collectors, and what to remember.
    #[must_use]
    pub fn end(mut self) -> (Feed, FeedState) {
        self.state.depth = self.depth;
        let since = self.state.since();
        self.state.followed.retain(|_, followed| {
            followed.details_due
                || followed.upstream_looks > 0
                || followed.pipeline.status.is_active()
                || followed.newest >= since
        });
        let feed = Feed {
            pipelines: self.facts.into_values().collect(),
            followed: self.state.followed.keys().copied().collect(),
            deleted: self.deleted,
        };
        (feed, self.state)
    }
}
