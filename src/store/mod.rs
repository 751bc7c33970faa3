//! What must outlive a poll, and later a process: behind one async trait of few verbs.
//!
//! *Commit, then show*: a run's memory and changed rows go to the store in one transaction before
//! they are shown. So what was shown is never taken back, and what was counted is never counted
//! again.

#[cfg(test)]
mod conformance;
mod file;
mod memory;
mod record;
mod records;
mod redis;
#[cfg(test)]
mod sample;
mod stored;
mod upgrade;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::series::{RowKey, RowRecord};
use crate::shards::Shard;
use crate::types::ProjectId;

pub use file::{Bytes, FileSettings, FileStore, OpenError, Opening};
pub use memory::MemoryStore;
pub use redis::{Keys, LoadError, Loaded, RedisStore, Written};
#[cfg(test)]
pub(crate) use stored::{Keep, content, read};

/// What a run passes on, stored as a whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Memories of projects; `None` forgets the project.
    pub projects: Vec<(ProjectId, Option<Arc<ProjectMemory>>)>,
    /// Counters and histograms with their new totals.
    pub rows: Vec<RowRecord>,
    /// Removed series.
    pub removed: Vec<RowKey>,
    /// The time of the commit: initial zeros that end later were not shown as over. The latest
    /// counts.
    pub committed_at: UnixSeconds,
    /// The shard that it is about, where each is stored for itself.
    pub shard: Option<Shard>,
    /// Whether all rows of the shard are in it, and replace what the store has of it: an earlier commit
    /// may have been kept without an acknowledgement.
    pub is_whole: bool,
}

/// What a store remembers.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// Memories of projects.
    pub projects: Vec<(ProjectId, Arc<ProjectMemory>)>,
    /// Counters and histograms with their totals.
    pub rows: Vec<RowRecord>,
    /// The latest time of a commit.
    pub committed_at: UnixSeconds,
}

impl Remembered {
    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty() && self.rows.is_empty()
    }

    /// Adds what was committed elsewhere, at times of its own: of other shards. A series whose initial zero
    /// was not over there is not over here.
    pub fn add(&mut self, mut other: Self) {
        let latest = self.committed_at.max(other.committed_at);
        for all in [&mut *self, &mut other] {
            let committed_at = all.committed_at;
            if committed_at == latest {
                continue;
            }
            // What an earlier version wrote has no window: it was written before there were shards.
            let open = all.rows.iter_mut().filter(|row| {
                let window = row.window.unwrap_or_default();
                row.start.0 + i64::from(window) > committed_at.0
            });
            open.for_each(|row| row.start = row.start.max(latest));
        }
        self.projects.append(&mut other.projects);
        self.rows.append(&mut other.rows);
        self.committed_at = latest;
    }
}

/// Keeps what must not be lost.
///
/// Every implementation passes the conformance suite next to this file.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Everything that was committed.
    ///
    /// # Errors
    /// When it cannot be read; nothing is changed then.
    async fn load(&self) -> Result<Remembered, StoreError>;

    /// Keeps a commit whole; when this returns an error, nothing of it was kept.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when this replica does not hold the lease of what it is about;
    /// [`StoreError::Unavailable`] when it could not be kept.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError>;

    /// Whether rows and memories outlive the process, so that they are worth building.
    fn is_durable(&self) -> bool;

    /// Whether each shard is stored for itself: a commit is kept whole only within one.
    fn is_sharded(&self) -> bool {
        false
    }

    /// Whether the next commit of a shard has to be whole ([`Commit::is_whole`]); others are refused.
    fn wants_whole(&self, _shard: Shard) -> bool {
        false
    }
}

/// Why a store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// This replica does not hold the lease, or no longer.
    #[error("the lease of shard {} is over", .0.index())]
    Fenced(Shard),
    /// It could not be read or written.
    #[error("state cannot be written: {0}")]
    Unavailable(String),
}

impl StoreError {
    /// Value of the label `error_type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Fenced(_) => "fenced",
            Self::Unavailable(_) => "store",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::RecordedValue;

    fn row(start: i64) -> RowRecord {
        RowRecord {
            project: ProjectId(1),
            name: "age_test_total".into(),
            labels: Vec::new(),
            start: UnixSeconds(start),
            window: Some(120),
            changed: UnixSeconds(start),
            value: RecordedValue::Counter(1.0),
            retiring: false,
            withdrawn: false,
        }
    }

    fn remembered(committed_at: i64, start: i64) -> Remembered {
        Remembered {
            rows: vec![row(start)],
            committed_at: UnixSeconds(committed_at),
            ..Remembered::default()
        }
    }

    /// Rows whose initial zero is over when everything is restored at its last commit.
    fn over(all: &Remembered) -> Vec<bool> {
        let rows = all.rows.iter();
        rows.map(|row| row.start.0 + 120 <= all.committed_at.0)
            .collect()
    }

    #[test]
    fn initial_zeros_are_over_where_they_were_over_in_their_shard() {
        let mut all = Remembered::default();
        // The last commit of the second was within its window, those of the others after it.
        for (committed_at, start) in [(1000, 100), (150, 100), (5000, 100)] {
            all.add(remembered(committed_at, start));
        }
        assert_eq!(all.committed_at, UnixSeconds(5000));
        assert_eq!(over(&all), [true, false, true]);
        let starts: Vec<i64> = all.rows.iter().map(|row| row.start.0).collect();
        assert_eq!(starts, [100, 5000, 100], "the start of the others stays");
    }
}
