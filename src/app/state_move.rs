//! Moves the state between a file and Redis (`state move`).
//!
//! What is moved is written and read back before it is removed where it was; when anything fails before that,
//! what was written is removed instead.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::part_settings;
use crate::clock::Clock;
use crate::cluster::{Exclusive, ExclusiveError};
use crate::config::Config;
use crate::redis::{Redis, RedisError};
use crate::series::RowRecord;
use crate::shards::{Leases, Shard};
use crate::store::{
    Commit, FileSettings, FileStore, Keys, LoadError, OpenError, RedisStore, Remembered, Store,
    StoreError,
};

/// Where the state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// From the file to Redis.
    Redis,
    /// From Redis to the file.
    File,
}

/// What was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How many projects are remembered.
    pub projects: usize,
    /// How many counters and histograms.
    pub series: usize,
    /// Where it was, or where a copy of it is.
    pub from: String,
    /// Where it is now.
    pub to: String,
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            projects,
            series,
            from,
            to,
        } = self;
        write!(
            f,
            "moved {projects} projects and {series} counters and histograms from {from} to {to}"
        )
    }
}

/// Why the state was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no Redis in the settings.
    #[error(
        "state move: redis.url is not set; set it in the configuration or by --set redis.url=redis://…"
    )]
    NoRedis,
    /// There is nothing at the path.
    #[error("state move: --file: {0} does not exist, so there is no state to move")]
    NoFile(PathBuf),
    /// There is something at the path already.
    #[error("state move: --file: {0} exists already; name a file that does not exist")]
    FileExists(PathBuf),
    /// There is no state in Redis.
    #[error(
        "state move: there is no state in Redis at {server} under {prefix}; check redis.url, redis.key_prefix and \
         gitlab.url"
    )]
    NothingInRedis {
        /// Where it was looked for.
        server: String,
        /// Prefix of the keys.
        prefix: String,
    },
    /// There is state in Redis already.
    #[error(
        "state move: there is state in Redis at {server} under {prefix} already; remove it (docs/high-availability.md), \
         or set another redis.key_prefix"
    )]
    StateInRedis {
        /// Where it is.
        server: String,
        /// Prefix of the keys.
        prefix: String,
    },
    /// The file cannot be used.
    #[error("state move: {0}")]
    Open(#[from] OpenError),
    /// Redis cannot be used.
    #[error("state move: {0}")]
    Redis(#[from] RedisError),
    /// Not all shards can be held.
    #[error("state move: {0}")]
    Held(#[from] ExclusiveError),
    /// What is in Redis cannot be read.
    #[error("state move: the state in Redis cannot be read: {0}")]
    Load(#[from] LoadError),
    /// The state cannot be read or written.
    #[error("state move: {0}")]
    Store(#[from] StoreError),
    /// What was written is not what was read.
    #[error(
        "state move: what was written to {0} differs from what was read, so it was removed there"
    )]
    Differs(String),
    /// The state was moved, and what was there before is still there.
    #[error(
        "state move: the state is in {to}, but it could not be removed from {from} ({why}); remove it there \
         before it is used again"
    )]
    NotRemoved {
        /// Where it still is.
        from: String,
        /// Where it is now.
        to: String,
        /// Why.
        why: String,
    },
}

/// The file and Redis, with everything in Redis held.
struct Places {
    file: FileSettings,
    redis: Redis,
    prefix: String,
    store: RedisStore,
    held: Exclusive,
    clock: Clock,
}

/// Moves the state between `file` and the configured Redis.
///
/// # Errors
/// Why it is where it was.
pub async fn run(
    config: &Config,
    file: &Path,
    target: Target,
    clock: Clock,
) -> Result<Moved, MoveError> {
    let secrets = part_settings::secrets(config);
    let options = part_settings::redis(config, &secrets).ok_or(MoveError::NoRedis)?;
    let path = file.to_owned();
    match (target, path.exists()) {
        (Target::Redis, false) => return Err(MoveError::NoFile(path)),
        (Target::File, true) => return Err(MoveError::FileExists(path)),
        _ => {}
    }
    let file = FileSettings {
        path,
        reset: false,
        patience: Duration::ZERO,
        gitlab: config.gitlab.url.clone(),
        accept_instance: config.state.accept_instance,
    };
    // Before anything is changed anywhere.
    let source = match target {
        Target::Redis => Some(open(&file, &clock).await?),
        Target::File => None,
    };
    let redis = Redis::connect(options).await?;
    let prefix = part_settings::redis_prefix(config);
    let keys = Keys::new(&prefix);
    let instance = format!("move-{}", uuid::Uuid::new_v4().simple());
    let leases = Arc::new(Leases::single());
    let ttl = config.redis.lease_ttl;
    let held = Exclusive::take(&redis, &keys, &instance, ttl, &leases).await?;
    let store = RedisStore::new(redis.clone(), keys, &instance, leases);
    let mut places = Places {
        file,
        redis,
        prefix,
        store,
        held,
        clock,
    };
    let moved = match source {
        Some(source) => places.move_to_redis(source).await,
        None => places.move_to_file().await,
    };
    places.held.release().await;
    moved
}

/// Opens the file off the runtime's threads.
async fn open(file: &FileSettings, clock: &Clock) -> Result<FileStore, MoveError> {
    let (file, clock) = (file.clone(), clock.clone());
    let opened = tokio::task::spawn_blocking(move || FileStore::open(&file, &clock, |_| {}));
    let failed = |error: tokio::task::JoinError| StoreError::Unavailable(error.to_string());
    Ok(opened.await.map_err(failed)??)
}

impl Places {
    fn shown(&self) -> String {
        self.file.path.display().to_string()
    }

    fn shown_redis(&self) -> String {
        format!("Redis at {}", self.redis.server())
    }

    fn moved(&self, remembered: &Remembered, from: String, to: String) -> Moved {
        Moved {
            projects: remembered.projects.len(),
            series: remembered.rows.len(),
            from,
            to,
        }
    }

    async fn move_to_redis(&mut self, source: FileStore) -> Result<Moved, MoveError> {
        let remembered = source.load().await?;
        if !self.read_redis().await?.is_empty() {
            return Err(MoveError::StateInRedis {
                server: self.redis.server(),
                prefix: self.prefix.clone(),
            });
        }
        if let Err(error) = self.write_redis(&remembered).await {
            // Nobody may begin with a part of it. Where this fails as well, Redis is away.
            let _ = self.empty_redis().await;
            return Err(error);
        }
        drop(source);
        let (from, to) = (self.shown(), self.shown_redis());
        let aside = self.put_aside().map_err(|error| MoveError::NotRemoved {
            from: from.clone(),
            to: to.clone(),
            why: error.to_string(),
        })?;
        let from = format!("{from} (kept as {})", aside.display());
        Ok(self.moved(&remembered, from, to))
    }

    async fn move_to_file(&mut self) -> Result<Moved, MoveError> {
        let remembered = self.read_redis().await?;
        if remembered.is_empty() {
            return Err(MoveError::NothingInRedis {
                server: self.redis.server(),
                prefix: self.prefix.clone(),
            });
        }
        if let Err(error) = self.write_file(&remembered).await {
            // It was not there before.
            let _ = fs::remove_file(&self.file.path);
            return Err(error);
        }
        let (from, to) = (self.shown_redis(), self.shown());
        self.empty_redis()
            .await
            .map_err(|error| MoveError::NotRemoved {
                from: format!("{from} under {}", self.prefix),
                to: to.clone(),
                why: error.to_string(),
            })?;
        Ok(self.moved(&remembered, from, to))
    }

    async fn read_redis(&mut self) -> Result<Remembered, MoveError> {
        let mut all = Remembered::default();
        for shard in Shard::all() {
            let fence = self.held.fence(shard).await?;
            all.add(self.store.load_shard(shard, fence).await?.remembered);
        }
        Ok(all)
    }

    async fn write_redis(&mut self, remembered: &Remembered) -> Result<(), MoveError> {
        for (shard, commit) in by_shard(remembered) {
            self.held.fence(shard).await?;
            self.store.commit(commit).await?;
        }
        let written = self.read_redis().await?;
        match is_same(&written, remembered) {
            true => Ok(()),
            false => Err(MoveError::Differs(self.shown_redis())),
        }
    }

    async fn write_file(&mut self, remembered: &Remembered) -> Result<(), MoveError> {
        let file = open(&self.file, &self.clock).await?;
        let projects = remembered.projects.iter().cloned();
        let commit = Commit {
            projects: projects.map(|(id, memory)| (id, Some(memory))).collect(),
            rows: remembered.rows.clone(),
            committed_at: remembered.committed_at,
            ..Commit::default()
        };
        file.commit(commit).await?;
        drop(file);
        // As the next start reads it.
        let written = open(&self.file, &self.clock).await?.load().await?;
        match is_same(&written, remembered) {
            true => Ok(()),
            false => Err(MoveError::Differs(self.shown())),
        }
    }

    async fn empty_redis(&mut self) -> Result<(), MoveError> {
        for shard in Shard::all() {
            let fence = self.held.fence(shard).await?;
            self.store.remove_shard(shard, fence).await?;
        }
        Ok(self.held.remove_directory().await?)
    }

    /// Renames the file, so that no exporter goes on with it.
    fn put_aside(&self) -> io::Result<PathBuf> {
        let mut name = self.file.path.as_os_str().to_owned();
        name.push(format!(".{}.moved", self.clock.now().0));
        let aside = PathBuf::from(name);
        fs::rename(&self.file.path, &aside)?;
        Ok(aside)
    }
}

/// A commit for each shard.
fn by_shard(remembered: &Remembered) -> BTreeMap<Shard, Commit> {
    let mut commits = BTreeMap::<Shard, Commit>::new();
    for (id, memory) in &remembered.projects {
        let commit = commits.entry(Shard::of(*id)).or_default();
        commit.projects.push((*id, Some(Arc::clone(memory))));
    }
    for row in &remembered.rows {
        let commit = commits.entry(Shard::of(row.project)).or_default();
        commit.rows.push(row.clone());
    }
    for (shard, commit) in &mut commits {
        commit.shard = Some(*shard);
        commit.committed_at = remembered.committed_at;
    }
    commits
}

/// Whether two stores remember the same.
fn is_same(one: &Remembered, other: &Remembered) -> bool {
    let projects = |all: &Remembered| -> BTreeMap<_, _> { all.projects.iter().cloned().collect() };
    let rows = |all: &Remembered| {
        let mut rows = all.rows.clone();
        rows.sort_by_key(RowRecord::key);
        rows
    };
    one.committed_at == other.committed_at
        && projects(one) == projects(other)
        && rows(one) == rows(other)
}
