//! How far the change feed has read a project.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::gitlab::model::Pipeline;
use crate::types::PipelineId;

/// What moved this long before the watermark is read again: GitLab sets `updated_at` before it
/// commits, so a change can appear late.
pub const OVERLAP: Duration = Duration::from_secs(60);

/// A project that is quiet is read again from this long before its last poll: far enough back for
/// anything that appears late, and near enough that it can share a query with busy projects, which
/// is read from the earliest of its projects on.
pub(crate) const QUIET_OVERLAP: Duration = Duration::from_secs(300);

/// How deep a project has been read. Its first polls go deeper one by one, so that the pipelines of
/// all projects are shown, and then their jobs, before anything that takes requests per pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Pipelines, and the jobs of those that are active: these are not history for long.
    Pipelines,
    /// Jobs of the others, too, as far as many pipelines share a request.
    Jobs,
    /// Everything.
    Everything,
}

/// What the change feed remembers of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedProgress {
    /// How deep it has been read.
    pub depth: Depth,
    /// When the project was first polled, by GitLab's clock.
    pub first_seen: UnixSeconds,
    /// Latest `updated_at` of what has been read completely.
    pub watermark: UnixSeconds,
    /// When the last complete poll began, by GitLab's clock or ours, whichever is behind.
    pub polled_at: UnixSeconds,
    /// Pipelines that can come again without having moved, or are not settled. Boxed: a map of a few
    /// would hold room for a dozen.
    pub followed: BTreeMap<PipelineId, Box<Followed>>,
}

/// A pipeline that is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// The pipeline as it was last read.
    pub pipeline: Pipeline,
    /// Its events before this are history or have been counted; see [`crate::collector`].
    pub floor: UnixSeconds,
    /// It had come to rest at the first poll and has not moved since: what happened in the second
    /// of that poll is history, too.
    pub rests: bool,
    /// The latest event of it, its jobs and its downstream pipelines: these end without moving it,
    /// so while this is not behind the watermark, they could be taken for new ones.
    pub newest: UnixSeconds,
    /// Whether its details (jobs, downstream) must be read again.
    pub details_due: bool,
    /// Polls for which it is still kept so that what started it may be found (REST shows only the
    /// upstream side).
    pub upstream_polls: u8,
}

impl FeedProgress {
    /// The state of a project at its first poll.
    #[must_use]
    pub fn new(first_seen: UnixSeconds) -> Self {
        Self {
            depth: Depth::Pipelines,
            first_seen,
            watermark: UnixSeconds::default(),
            polled_at: UnixSeconds::default(),
            followed: BTreeMap::new(),
        }
    }

    /// Whether everything that is wanted has been read at least once.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.depth == Depth::Everything
    }

    /// The same, with what was read after `time` to be read again: it may have been hidden then.
    #[must_use]
    pub fn seen_until(&self, time: UnixSeconds) -> Self {
        let mut progress = self.clone();
        if time > UnixSeconds::default() {
            progress.polled_at = progress.polled_at.min(time);
        }
        progress
    }

    /// Takes what the backfill did meanwhile over from what is remembered now: a run of the change feed,
    /// which began from an earlier state, touches nothing that had come to rest before.
    pub fn keep_backfill(&mut self, now: &Self) {
        self.depth = self.depth.max(now.depth);
        self.followed.retain(|id, own| {
            if !own.rests {
                return true;
            }
            let known = now.followed.get(id).filter(|known| known.rests);
            if let Some(known) = known {
                own.clone_from(known);
            }
            known.is_some()
        });
    }

    /// Takes in a step of the backfill, which began from an earlier state of this: what moved
    /// meanwhile is read by the change feed and stays as it is. Says which pipelines were taken in.
    pub fn take_backfill(&mut self, step: &Self, read: &[PipelineId]) -> BTreeSet<PipelineId> {
        self.depth = self.depth.max(step.depth);
        let mut taken = BTreeSet::new();
        for id in read {
            let Some(known) = self.followed.get_mut(id) else {
                continue;
            };
            if !known.rests {
                continue;
            }
            taken.insert(*id);
            match step.followed.get(id) {
                Some(read) => known.clone_from(read),
                None => {
                    self.followed.remove(id);
                }
            }
        }
        taken
    }

    /// When a pipeline last moved, as far as read; 1970 where there is none.
    #[must_use]
    pub fn last_moved(&self) -> UnixSeconds {
        let followed = self.followed.values().map(|followed| followed.newest);
        followed.max().unwrap_or_default().max(self.watermark)
    }

    /// Whether a pipeline is followed that goes on.
    #[must_use]
    pub fn has_active(&self) -> bool {
        let mut followed = self.followed.values();
        followed.any(|followed| followed.pipeline.status.is_active())
    }

    /// Whether no pipeline is followed that can go on without a sign.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let mut followed = self.followed.values();
        !followed.any(|followed| followed.details_due || followed.pipeline.status.is_active())
    }

    /// From when on changes are read again.
    #[must_use]
    pub fn since(&self) -> UnixSeconds {
        self.watermark
            .minus(OVERLAP)
            .max(self.polled_at.minus(QUIET_OVERLAP))
    }

    /// Events before this are history, or were counted by an earlier poll.
    #[must_use]
    pub fn floor(&self) -> UnixSeconds {
        self.since().max(self.first_seen)
    }
}
