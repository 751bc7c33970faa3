//! One file per collector: a pure function from what a source read to measurements.
//!
//! A collector gets facts, settings, what it remembered and *now*; it gives back events, births,
//! states and what to remember. It does no I/O, asks no clock and keeps no globals.
//!
//! # When an event counts
//! [`PipelineFacts::counts`] is the one rule. An event counts when its time is not before the
//! pipeline's floor and nobody has claimed it. The floor is the later of the project's first look
//! and the watermark less the overlap, as they were when the pipeline began to be followed: what
//! is older has been counted already or is history. While a pipeline is followed its claims are
//! kept and its floor stands, so an event may wait for its labels as long as it must; once it is
//! settled and can only come again by moving, both are forgotten.

pub mod child_pipelines;
pub mod code_review;
pub mod contributors;
pub mod dora;
pub mod environments;
pub mod gone;
pub mod history;
pub mod jobs;
pub mod merge_requests;
pub mod names;
pub mod parents;
pub mod pipelines;
#[cfg(test)]
mod properties;
pub mod refs;
pub mod repository;
pub mod runners;
pub mod schedules;
pub mod security;
pub mod set;
pub mod test_reports;
#[cfg(test)]
pub(crate) mod testing;
pub mod value_stream;
pub mod variables;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::{Collector, Measurement, SeriesKey};
use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::gitlab::model::{DownstreamTarget, Job, Known, Pipeline, Upstream};
use crate::series::Retirement;
use crate::source::Unavailable;
use crate::types::Tier;
use crate::types::{PipelineId, ProjectId, Text};
use refs::RefsSeen;

/// What the change feed read of one project.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// Pipelines that are new, moved, or not settled yet.
    pub pipelines: Vec<PipelineFacts>,
    /// Pipelines whose claims must be kept: active ones, those that wait for labels or upstream,
    /// those with downstream pipelines that have not ended, and those with any event (their own,
    /// their jobs', their downstream pipelines') that is not before the floor they would get if
    /// they were forgotten now and came again.
    pub followed: Vec<PipelineId>,
    /// Pipelines that were deleted in GitLab.
    pub deleted: Vec<PipelineId>,
}

/// A pipeline and what belongs to it.
#[derive(Clone, Debug)]
pub struct PipelineFacts {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Events before this time are history or have been counted; none at the first look, where
    /// everything is history.
    pub floor: Option<UnixSeconds>,
    /// Its jobs, retried ones included; `None` when they were not read this time.
    pub jobs: Option<Vec<Job>>,
    /// Downstream pipelines in projects that are not tracked themselves, to any depth.
    pub foreign: Vec<ForeignPipeline>,
}

impl PipelineFacts {
    /// Whether an event at `time` that nobody has claimed is to be counted.
    #[must_use]
    pub fn counts(&self, time: UnixSeconds) -> bool {
        self.floor.is_some_and(|floor| time >= floor)
    }
}

/// A downstream pipeline in a project that is not tracked, seen from its upstream pipeline.
#[derive(Clone, Debug)]
pub struct ForeignPipeline {
    /// What started it.
    pub upstream: Upstream,
    /// The downstream pipeline.
    pub target: DownstreamTarget,
}

/// What every collector of a project measures with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The project.
    pub id: ProjectId,
    /// Its full path.
    pub project: &'a Text,
    /// The full paths that tracked projects have now.
    pub paths: &'a BTreeMap<ProjectId, Text>,
    /// The project's settings.
    pub settings: &'a ProjectSettings,
    /// Newest pipelines remembered per ref.
    pub max_pipelines_per_ref: usize,
    /// Which refs exist, as far as known.
    pub refs: &'a RefsSeen,
    /// The tier that its licence gives, as far as it could be told.
    pub tier: Known<Tier>,
    /// The time of measuring.
    pub now: UnixSeconds,
}

impl Subject<'_> {
    /// The path that a project has now, if it is tracked; else the one that was read.
    #[must_use]
    pub fn path_of(&self, project: ProjectId, read: &Text) -> Text {
        if project == self.id {
            return self.project.clone();
        }
        self.paths.get(&project).unwrap_or(read).clone()
    }
}

/// What a collector measured of one project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Rises of counters and observations of histograms, each counted once.
    pub events: Vec<Measurement>,
    /// Series that history names: they are shown at 0.
    pub births: Vec<SeriesKey>,
    /// All states of this collector and project; they replace the earlier ones as a block.
    pub states: Vec<Measurement>,
}

impl Measured {
    /// How many series it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len() + self.births.len() + self.states.len()
    }

    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What one collector of a [`Source`](crate::source::Source) measured of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// Who measured.
    pub collector: Collector,
    /// What it measured.
    pub measured: Measured,
    /// Series whose subject is gone.
    pub retirements: Vec<Retirement>,
    /// Why it has nothing of this project, while others that measure the same read do.
    pub unavailable: Option<Unavailable>,
}

impl Measures {
    /// What a collector measured; nothing is gone.
    #[must_use]
    pub fn new(collector: Collector, measured: Measured) -> Self {
        Self {
            collector,
            measured,
            retirements: Vec::new(),
            unavailable: None,
        }
    }
}

/// The skeleton of all collectors on the change feed.
pub trait FeedCollector {
    /// What it remembers of a project between two looks.
    type Memory: Clone + Default + Serialize + for<'de> Deserialize<'de>;

    /// Takes in what was read: claims and counts events, births what history names, remembers.
    fn absorb(
        &self,
        subject: Subject<'_>,
        feed: &Feed,
        memory: &mut Self::Memory,
        out: &mut Measured,
    );

    /// All states as they are now.
    fn states(&self, subject: Subject<'_>, memory: &Self::Memory, out: &mut Vec<Measurement>);
}
