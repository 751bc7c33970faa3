//! What is remembered of a project's merge requests, and how far they have been read.

pub(crate) mod census;
pub(crate) mod thread;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::types::Text;

pub use census::{Census, STATES};
pub use thread::{Act, Thread};

/// What changed so long before the last poll is read again: GitLab moves a merge request at most
/// once a minute for its notes, and its clocks and replicas may lag.
pub(crate) const OVERLAP: Duration = Duration::from_secs(300);

/// How often all open merge requests are read.
pub(crate) const FULL_POLL_INTERVAL: Duration = Duration::from_secs(3600);

/// Projects that are so far apart are not asked for together: the query has one time for all.
pub(crate) const APART: Duration = Duration::from_secs(900);

/// How far the merge requests of a project have been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergeRequestsProgress {
    /// When the project was first polled, by GitLab's clock.
    pub(crate) first_seen: UnixSeconds,
    /// When the last poll began, by GitLab's clock or ours, whichever is behind: the header with
    /// GitLab's time may be ahead of the times that GitLab stores.
    pub(crate) read_at: Option<UnixSeconds>,
    /// When the open ones were last read as a whole.
    pub(crate) full_at: UnixSeconds,
}

impl MergeRequestsProgress {
    /// The same, for a project that was first listed then, if it was never read.
    pub(crate) fn begin(&self, first_listed: UnixSeconds) -> Self {
        match self.read_at {
            Some(_) => self.clone(),
            None => Self {
                first_seen: first_listed,
                ..self.clone()
            },
        }
    }

    /// From when on what moved is read. At the first poll, too: what ended just before it is
    /// remembered, so that it is not taken for news.
    pub(crate) fn since(&self) -> UnixSeconds {
        self.read_at.unwrap_or(self.first_seen).minus(OVERLAP)
    }

    /// Events before this are history or were counted.
    pub(crate) fn floor(&self) -> UnixSeconds {
        match self.read_at {
            Some(read_at) => read_at.minus(OVERLAP).max(self.first_seen),
            // What is found in that second is history.
            None => self.first_seen.plus(Duration::from_secs(1)),
        }
    }

    pub(crate) fn is_full(&self, now: UnixSeconds) -> bool {
        // More than an interval ahead: the clock was set back meanwhile.
        let (since, until) = (now.since(self.full_at), self.full_at.since(now));
        self.read_at.is_none() || since >= FULL_POLL_INTERVAL || until > FULL_POLL_INTERVAL
    }

    pub(crate) fn next(&self, clock: UnixSeconds, now: UnixSeconds) -> Self {
        let began = clock.min(now);
        // The clock does not go back, unless it was far ahead.
        let ahead = self.read_at.filter(|at| at.since(began) < APART);
        Self {
            first_seen: self.first_seen,
            read_at: Some(ahead.map_or(began, |at| at.max(began))),
            full_at: if self.is_full(now) { now } else { self.full_at },
        }
    }
}

/// What is remembered of a merge request that is open or moved lately.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RememberedMergeRequest {
    pub(crate) state: Text,
    pub(crate) draft: bool,
    pub(crate) conflicts: bool,
    /// A requested review has no answer yet.
    pub(crate) waits: bool,
    pub(crate) target_branch: Text,
    pub(crate) created_at: UnixSeconds,
    pub(crate) updated_at: UnixSeconds,
    pub(crate) merged_at: Option<UnixSeconds>,
    pub(crate) closed_at: Option<UnixSeconds>,
    pub(crate) thread: Thread,
}

impl RememberedMergeRequest {
    pub(crate) fn is_open(&self) -> bool {
        // One that is being merged is open until it is merged.
        matches!(&*self.state, "opened" | "locked")
    }
}

/// What is remembered of a project's merge requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergeRequestsMemory {
    /// All merge requests, by number.
    pub census: Census,
    pub(crate) known: BTreeMap<u64, RememberedMergeRequest>,
    /// Target branches that have series, and when a merge request was last opened or ended there.
    pub(crate) branches: BTreeMap<Text, UnixSeconds>,
}

impl MergeRequestsMemory {
    pub(crate) fn open(&self) -> impl Iterator<Item = &RememberedMergeRequest> {
        self.known.values().filter(|one| one.is_open())
    }

    /// Open merge requests that are no drafts and wait for a reviewer.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.open().filter(|one| !one.draft && one.waits).count()
    }
}
