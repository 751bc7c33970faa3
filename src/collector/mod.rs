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
pub mod jobs;
pub mod merge_requests;
pub mod pipelines;
#[cfg(test)]
mod properties;
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

use crate::catalogue::{Collector, Measurement, SeriesKey};
use crate::facts::Unavailable;
use crate::facts::feed::Feed;
use crate::memory::Subject;
use crate::series::Retirement;

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
    type Memory: Clone + Default;

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
