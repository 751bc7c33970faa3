//! What moved between two reads of a project, by GitLab's own times: for how fresh what is shown is, and
//! for whether GitLab's events announced it.

use super::Facts;
use crate::clock::UnixSeconds;
use crate::gitlab::model::Status;
use crate::memory::ProjectMemory;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What moved: a pipeline's id, a merge request's number, a deployment's id.
    pub subject: u64,
    /// When, by GitLab.
    pub at: UnixSeconds,
    /// Whether it is of a kind that GitLab's webhooks announce.
    pub is_announced: bool,
}

impl Facts {
    /// What moved since the read before, as far as that is known for certain.
    #[must_use]
    pub fn changes(&self, before: &ProjectMemory) -> Vec<Change> {
        match self {
            Self::Feed(read) => {
                let Some(known) = before.feed.as_ref().filter(|feed| feed.is_whole()) else {
                    return Vec::new();
                };
                let pipelines = read.feed.pipelines.iter().map(|facts| &facts.pipeline);
                let moved = pipelines.filter(|pipeline| pipeline.updated_at > known.watermark);
                let change = moved.map(|pipeline| {
                    let before = known.followed.get(&pipeline.id);
                    let is_other =
                        before.is_none_or(|before| before.pipeline.status != pipeline.status);
                    // The first status is not announced; jobs may move a pipeline that stays as it is.
                    let is_silent = matches!(pipeline.status, Status::Created | Status::Skipped);
                    Change {
                        subject: pipeline.id.0,
                        at: pipeline.updated_at,
                        is_announced: is_other && !is_silent,
                    }
                });
                change.collect()
            }
            Self::MergeRequests(read) => {
                let Some(read_at) = before.merge_requests_progress.read_at else {
                    return Vec::new();
                };
                let moved = read.read.moved.iter();
                let change = moved.filter_map(|one| {
                    let ends = [one.merged_at, one.closed_at];
                    let at = ends.into_iter().flatten().max().unwrap_or(one.created_at);
                    (at > read_at).then_some(Change {
                        subject: one.iid,
                        at,
                        is_announced: true,
                    })
                });
                change.collect()
            }
            Self::Environments(read) => {
                let known = &before.environments_progress;
                if known.read_at.is_none() {
                    return Vec::new();
                }
                let deployments = read.read.deployments.iter();
                let moved = deployments.filter(|one| one.updated_at > known.watermark);
                let change = moved.map(|one| Change {
                    subject: one.id,
                    at: one.updated_at,
                    is_announced: matches!(
                        &*one.status,
                        "running" | "success" | "failed" | "canceled" | "blocked"
                    ),
                });
                change.collect()
            }
            _ => Vec::new(),
        }
    }
}
