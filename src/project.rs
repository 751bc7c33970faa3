//! Everything that is remembered of a tracked project between two looks.

use serde::{Deserialize, Serialize};

use crate::collector::{child_pipelines, jobs, pipelines, refs::RefsSeen};
use crate::source::change_feed::FeedState;
use crate::source::refs::RefsState;

/// What is remembered of a project: committed as a whole, with the rows it led to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectMemory {
    /// How far the change feed has read; none before the first look.
    pub feed: Option<FeedState>,
    /// When refs were last looked at, and why they are to be looked at again.
    pub refs: RefsState,
    /// Which refs exist.
    pub refs_seen: RefsSeen,
    /// Memory of the collector `pipelines`.
    pub pipelines: pipelines::Memory,
    /// Memory of the collector `jobs`.
    pub jobs: jobs::Memory,
    /// Memory of the collector `child_pipelines`.
    pub child_pipelines: child_pipelines::Memory,
}
