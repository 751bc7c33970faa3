//! Pipeline schedules.

use super::Status;
use crate::clock::UnixSeconds;
use crate::types::{PipelineId, Text};

/// A pipeline schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its id.
    pub id: u64,
    /// What people call it.
    pub description: Text,
    /// Branch or tag, without `refs/heads/` or `refs/tags/`.
    pub git_ref: Text,
    /// Whether it is switched on.
    pub active: bool,
    /// When it runs next; GitLab keeps a time for one that is switched off.
    pub next_run_at: Option<UnixSeconds>,
    /// Its newest pipeline; none when there is none, or the token may not see it.
    pub last_pipeline: Option<LastPipeline>,
}

/// The newest pipeline of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastPipeline {
    /// Its id.
    pub id: PipelineId,
    /// Its status now.
    pub status: Status,
}

/// Branch or tag as people know it.
pub(crate) fn short_ref(git_ref: &str) -> &str {
    let heads = git_ref.strip_prefix("refs/heads/");
    heads
        .or_else(|| git_ref.strip_prefix("refs/tags/"))
        .unwrap_or(git_ref)
}
