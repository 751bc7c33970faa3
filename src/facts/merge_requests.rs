//! What was read of a project's merge requests.

use std::ops::RangeInclusive;

use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::model::{CensusPage, ReviewedMergeRequest};
use crate::memory::merge_requests::MergeRequestsProgress;

/// What a poll read of a project.
#[derive(Clone, Debug, Default)]
pub struct MergeRequests {
    /// The merge requests that are open, when all of them were read.
    pub open: Option<Vec<ReviewedMergeRequest>>,
    /// Those that moved.
    pub moved: Vec<ReviewedMergeRequest>,
    /// Pages of the census, with the numbers that they cover.
    pub census: Vec<(RangeInclusive<u64>, CensusPage)>,
    /// How many there are, to hold the census against.
    pub counted: Option<CensusPage>,
    /// Whether the project was never read before.
    pub is_first: bool,
    /// Events before this are history or were counted; `None` when all are history.
    pub floor: Option<UnixSeconds>,
    /// What last moved before this need not be remembered after this poll.
    pub forget: UnixSeconds,
}

/// What one poll brought of a project.
#[derive(Debug)]
pub struct MergeRequestsRead {
    pub read: MergeRequests,
    pub progress: MergeRequestsProgress,
    pub problems: Vec<Problem>,
}
