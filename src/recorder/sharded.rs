//! Commits where each shard is stored for itself: a commit is split by shards, and what a shard's store
//! may have kept without an acknowledgement is written again as a whole.

use std::collections::{BTreeMap, HashSet};

use super::{Memories, ProjectRun, Recorder};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::series::{RowKey, RowRecord};
use crate::shards::{Shard, ShardSet};
use crate::store::{Commit, Remembered, StoreError};
use crate::types::ProjectId;

impl ProjectRun {
    /// The shard that stores what it brings: runners belong to no project.
    pub(super) fn shard(&self) -> Shard {
        let is_runners = |(collector, _): &(Collector, _)| *collector == Collector::Runners;
        match !self.measured.is_empty() && self.measured.iter().all(is_runners) {
            true => Shard::INSTANCE,
            false => Shard::of(self.project),
        }
    }
}

impl Recorder {
    /// Whether each shard is stored for itself.
    #[must_use]
    pub fn is_sharded(&self) -> bool {
        self.store.is_sharded()
    }

    /// What can be committed together.
    pub(super) fn together<T>(&self, all: Vec<T>, shard: impl Fn(&T) -> Shard) -> Vec<Vec<T>> {
        if !self.is_sharded() {
            return vec![all];
        }
        let mut groups = BTreeMap::<Shard, Vec<T>>::new();
        for one in all {
            groups.entry(shard(&one)).or_default().push(one);
        }
        groups.into_values().collect()
    }

    /// Takes over a shard, with what the replica before committed of it; gives its memories back.
    ///
    /// # Errors
    /// When series that are initialized again cannot be stored.
    pub async fn adopt(
        &mut self,
        shard: Shard,
        remembered: Remembered,
        now: UnixSeconds,
    ) -> Result<Memories, StoreError> {
        let shards: ShardSet = [shard].into_iter().collect();
        let (memories, series) = self.take_over(shards, remembered, now).await?;
        tracing::debug!(
            shard = shard.index(),
            projects = memories.len(),
            series,
            "shard taken over"
        );
        Ok(memories)
    }

    /// Takes everything of some shards away, which another replica goes on with.
    pub fn release(&mut self, shards: ShardSet, now: UnixSeconds) {
        self.table.release(shards, now);
        self.kept.release(shards);
        for shard in shards.iter() {
            self.unsettled.remove(shard);
        }
    }

    /// The store may have lost what it had of some shards: writes it again. What could not be written is
    /// with the next commit.
    ///
    /// # Errors
    /// When some of it could not be written.
    pub async fn write_again(
        &mut self,
        shards: ShardSet,
        now: UnixSeconds,
    ) -> Result<(), StoreError> {
        shards.iter().for_each(|shard| self.unsettled.insert(shard));
        let mut written = Ok(());
        for shard in shards.iter() {
            let again = self.commit_shard(shard, empty(now, shard)).await;
            if again.is_ok() {
                let shards = [shard].into_iter().collect();
                self.table.note_commit(shards, now);
            }
            written = written.and(again);
        }
        written
    }

    /// Commits what is about any projects.
    ///
    /// # Errors
    /// When some of it was not kept.
    pub(super) async fn commit(&mut self, commit: Commit) -> Result<ShardSet, StoreError> {
        self.commit_with(ShardSet::NONE, commit).await
    }

    /// The same, and the time of the commit in further shards.
    ///
    /// # Errors
    /// When some of it was not kept.
    pub(super) async fn commit_with(
        &mut self,
        further: ShardSet,
        commit: Commit,
    ) -> Result<ShardSet, StoreError> {
        if !self.is_sharded() {
            self.store.commit(commit).await?;
            return Ok(ShardSet::ALL);
        }
        let at = commit.committed_at;
        let mut parts = split(commit);
        for shard in further.iter() {
            parts.entry(shard).or_insert_with(|| empty(at, shard));
        }
        let shards = parts.keys().copied().collect();
        let mut kept = Ok(());
        for (shard, part) in parts {
            kept = kept.and(self.commit_shard(shard, part).await);
        }
        kept.map(|()| shards)
    }

    /// Commits what runs of one shard brought; gives the shards in which the time was noted. Rows of other
    /// shards, which it may have retired, are stored with them: if that fails they are written again, for
    /// they are as the table shows them.
    ///
    /// # Errors
    /// When it was not kept.
    pub(super) async fn commit_of(
        &mut self,
        shard: Option<Shard>,
        commit: Commit,
    ) -> Result<ShardSet, StoreError> {
        let Some(shard) = shard.filter(|_| self.is_sharded()) else {
            self.store.commit(commit).await?;
            return Ok(ShardSet::ALL);
        };
        let at = commit.committed_at;
        let mut parts = split(commit);
        let own = parts.remove(&shard);
        let own = own.unwrap_or_else(|| empty(at, shard));
        self.commit_shard(shard, own).await?;
        let mut shards: ShardSet = [shard].into_iter().collect();
        for (other, part) in parts {
            match self.commit_shard(other, part).await {
                Ok(()) => shards.insert(other),
                Err(error) => {
                    tracing::debug!(shard = other.index(), %error, "shard will be written again");
                    self.unsettled.insert(other);
                }
            }
        }
        Ok(shards)
    }

    async fn commit_shard(&mut self, shard: Shard, mut commit: Commit) -> Result<(), StoreError> {
        if self.unsettled.contains(shard) || self.store.wants_whole(shard) {
            self.complete(shard, &mut commit);
        }
        let kept = self.store.commit(commit).await;
        match &kept {
            Ok(()) => self.unsettled.remove(shard),
            Err(StoreError::Unavailable(_)) => self.unsettled.insert(shard),
            Err(StoreError::Fenced(_)) => {}
        }
        kept
    }

    /// Adds all other rows of the shard to a commit.
    fn complete(&self, shard: Shard, commit: &mut Commit) {
        let shards: ShardSet = [shard].into_iter().collect();
        let changed = commit.rows.iter().map(RowRecord::key);
        let changed: HashSet<RowKey> = changed.chain(commit.removed.iter().cloned()).collect();
        let rows = self.table.records(shards).into_iter();
        let rows = rows.chain(self.kept.of(shards).cloned());
        commit
            .rows
            .extend(rows.filter(|row| !changed.contains(&row.key())));
        commit.is_whole = true;
    }
}

fn empty(committed_at: UnixSeconds, shard: Shard) -> Commit {
    Commit {
        committed_at,
        shard: Some(shard),
        ..Commit::default()
    }
}

/// A commit by shards.
fn split(commit: Commit) -> BTreeMap<Shard, Commit> {
    let Commit {
        projects,
        rows,
        removed,
        committed_at,
        ..
    } = commit;
    let mut parts = BTreeMap::new();
    for (project, memory) in projects {
        let part = part_of(&mut parts, project, committed_at);
        part.projects.push((project, memory));
    }
    for row in rows {
        part_of(&mut parts, row.project, committed_at)
            .rows
            .push(row);
    }
    for key in removed {
        let part = part_of(&mut parts, key.project, committed_at);
        part.removed.push(key);
    }
    parts
}

fn part_of(
    parts: &mut BTreeMap<Shard, Commit>,
    project: ProjectId,
    at: UnixSeconds,
) -> &mut Commit {
    let shard = Shard::of(project);
    parts.entry(shard).or_insert_with(|| empty(at, shard))
}
