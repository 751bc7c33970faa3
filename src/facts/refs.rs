//! Which refs of a project exist, as they were listed.

use crate::facts::Problem;
use crate::facts::feed::{Feed, PipelineFacts};
use crate::memory::ProjectMemory;
use crate::memory::ref_listing::RefsProgress;
use crate::memory::refs::RefsSeen;
use crate::types::PipelineId;

/// What one poll brought of a project.
#[derive(Debug)]
pub struct RefsRead {
    /// Which refs exist.
    pub seen: RefsSeen,
    /// What to remember.
    pub progress: RefsProgress,
    /// Shown pipelines that were deleted.
    pub deleted: Vec<PipelineId>,
    /// The newest pipelines of refs that had none remembered: history.
    pub found: Vec<PipelineFacts>,
    /// Whether the open merge requests that the first reading did not reach back to were asked for.
    pub has_merge_requests: bool,
    /// What went wrong and left the rest whole.
    pub problems: Vec<Problem>,
}

impl RefsRead {
    /// The same as the change feed would give it.
    #[must_use]
    pub fn as_feed(&self, memory: &ProjectMemory) -> Feed {
        let followed = memory.feed.iter();
        let followed = followed.flat_map(|feed| feed.followed.keys().copied());
        Feed {
            pipelines: self.found.clone(),
            followed: followed.collect(),
            deleted: self.deleted.clone(),
        }
    }
}
