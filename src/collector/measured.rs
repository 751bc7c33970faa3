//! What collectors give back, and the skeleton of those on the change feed.

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
    /// Series that are shown at 0 before they count: of events that are compared with others.
    pub initializations: Vec<SeriesKey>,
    /// All states of this collector and project; they replace the earlier ones as a block.
    pub states: Vec<Measurement>,
}

impl Measured {
    /// How many series it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len() + self.initializations.len() + self.states.len()
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
    /// Series whose subject was removed.
    pub retirements: Vec<Retirement>,
    /// Why it has nothing of this project, while others that measure the same read do.
    pub unavailable: Option<Unavailable>,
}

impl Measures {
    /// What a collector measured; nothing was removed.
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
    /// What it remembers of a project between two polls.
    type Memory: Clone + Default;

    /// Takes in what was read: claims and counts events, remembers.
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
