//! The store of replicas: each shard in Redis, written by the replica that holds its lease.
//!
//! A shard has four keys, which Cluster keeps together: its lease, its state (fencing token, sequence of
//! commits), and two hashes with the same records as a state file: parts of projects, and rows. A commit is
//! one script, which refuses when the lease is another's. Commits are numbered under each lease, so that one
//! that is delayed on its way is never written over a later one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::record::seal;
use super::records::{self, ALWAYS, Reader, encoded, invalid, of_memory, of_row, series};
use super::stored::{PARTS, Part, Row};
use super::upgrade::{STEPS, version};
use super::{Commit, Remembered, Store, StoreError};
use crate::clock::UnixSeconds;
use crate::locks::lock;
use crate::memory::ProjectMemory;
use crate::redis::{Redis, RedisError, Script};
use crate::series::RowRecord;
use crate::shards::{Leases, Shard};
use crate::types::ProjectId;

const COMMIT: &str = include_str!("redis/commit.lua");
const LOAD: &str = include_str!("redis/load.lua");
const REMOVE: &str = include_str!("redis/remove.lua");

/// For so long after a commit that Redis did not answer, further ones fail at once: each would wait for its
/// deadline, and leases with them.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of the project's id, at the start of each record's key.
const ID: usize = size_of::<u64>();

/// Names of the keys in Redis.
#[derive(Clone, Debug)]
pub struct Keys(Arc<str>);

impl Keys {
    /// Keys that begin with this.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    /// A key of a shard. All of one shard lie in one slot of Cluster.
    #[must_use]
    pub fn of_shard(&self, shard: Shard, name: &str) -> String {
        format!("{}:{{{}}}:{name}", self.0, shard.index())
    }

    /// A key that is about all replicas; these, too, lie in one slot.
    #[must_use]
    pub fn shared(&self, name: &str) -> String {
        format!("{}:{{shared}}:{name}", self.0)
    }
}

/// Why a shard cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A later version of the exporter wrote it.
    #[error("a later version of the exporter has written it: {0}")]
    TooNew(String),
    /// A record is not what was written.
    #[error("its state in Redis is damaged: {0}")]
    Damaged(String),
}

impl From<records::Error> for LoadError {
    fn from(error: records::Error) -> Self {
        match error {
            records::Error::TooNew(why) => Self::TooNew(why),
            records::Error::Damaged(why) => Self::Damaged(why),
        }
    }
}

/// What a shard was when it was taken over.
#[derive(Debug)]
pub struct Loaded {
    /// What is remembered of it.
    pub remembered: Remembered,
    /// Whether an earlier version wrote some of it: it is to be written again.
    pub is_outdated: bool,
}

/// Bytes of commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many.
    pub commits: u64,
    /// Bytes of their records and keys.
    pub bytes: u64,
}

/// Shards in Redis.
pub struct RedisStore {
    redis: Redis,
    keys: Keys,
    instance: String,
    leases: Arc<Leases>,
    shards: Mutex<HashMap<Shard, Kept>>,
    written: Mutex<Written>,
    /// When Redis last did not answer, and why.
    failed: Mutex<Option<(Instant, String)>>,
    commit: Script,
    load: Script,
    remove: Script,
}

/// What is in Redis of a shard, as far as this replica wrote or read it.
#[derive(Debug, Default)]
struct Kept {
    fence: u64,
    /// Of the last commit.
    sequence: u64,
    memories: HashMap<ProjectId, Arc<ProjectMemory>>,
    /// Whether Redis may lack some of it: the next commit brings everything.
    is_incomplete: bool,
}

/// What a commit changes in a hash.
#[derive(Debug, Default)]
struct Changes {
    set: Vec<(Vec<u8>, Vec<u8>)>,
    removed: Vec<Vec<u8>>,
}

impl RedisStore {
    /// The store of a replica with this instance id, which holds `leases`.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys, instance: &str, leases: Arc<Leases>) -> Self {
        Self {
            redis,
            keys,
            instance: instance.to_owned(),
            leases,
            shards: Mutex::default(),
            written: Mutex::default(),
            failed: Mutex::default(),
            commit: Script::new(COMMIT),
            load: Script::new(LOAD),
            remove: Script::new(REMOVE),
        }
    }

    /// What was written since the start.
    #[must_use]
    pub fn written(&self) -> Written {
        *lock(&self.written)
    }

    /// Reads a shard under the lease that this replica has just taken.
    ///
    /// # Errors
    /// When it cannot be read; [`LoadError::TooNew`] when a later version wrote it.
    pub async fn load_shard(&self, shard: Shard, fence: u64) -> Result<Loaded, LoadError> {
        let keys = self.keys_of(shard);
        let args = [self.instance.clone(), fence.to_string()];
        let answer = self.redis.run::<Answer>(&self.load, &keys, &args).await;
        let (is_held, committed_at, sequence, memories, rows) = answer.map_err(unavailable)?;
        if is_held == 0 {
            return Err(StoreError::Fenced(shard).into());
        }
        let mut reader = Reader::new(&STEPS);
        for (key, record) in pairs(&memories) {
            let (id, part) = split(key)?;
            reader.part(id, part, record)?;
        }
        for (key, record) in pairs(&rows) {
            let (id, series) = split(key)?;
            reader.row(id, series, record)?;
        }
        let (loaded, ..) = reader.finish();
        let records::Loaded {
            mut remembered,
            outdated,
        } = loaded;
        remembered.committed_at = UnixSeconds(committed_at);
        let kept = Kept {
            fence,
            sequence,
            memories: remembered.projects.iter().cloned().collect(),
            is_incomplete: false,
        };
        lock(&self.shards).insert(shard, kept);
        Ok(Loaded {
            remembered,
            is_outdated: outdated.len() > 0,
        })
    }

    /// The lease of a shard was taken anew without anyone in between: what is known of it holds.
    pub fn continued(&self, shard: Shard, fence: u64) {
        if let Some(kept) = lock(&self.shards).get_mut(&shard) {
            kept.fence = fence;
            kept.sequence = 0;
        }
    }

    /// Redis may have lost the state of a shard: until all of it was committed again, other commits are
    /// refused, because the next holder would load a part of it.
    pub fn may_lack(&self, shard: Shard) {
        if let Some(kept) = lock(&self.shards).get_mut(&shard) {
            kept.is_incomplete = true;
        }
    }

    /// Forgets what is known of a shard.
    pub fn forget(&self, shard: Shard) {
        lock(&self.shards).remove(&shard);
    }

    /// Removes everything of a shard, under the lease that this instance holds.
    ///
    /// # Errors
    /// When the lease is another's, or Redis cannot be used.
    pub async fn remove_shard(&self, shard: Shard, fence: u64) -> Result<(), StoreError> {
        let (keys, args) = (
            self.keys_of(shard),
            [self.instance.clone(), fence.to_string()],
        );
        let removed = self.redis.run::<i64>(&self.remove, &keys, &args);
        match removed.await.map_err(unavailable)? {
            1 => {
                self.forget(shard);
                Ok(())
            }
            _ => Err(StoreError::Fenced(shard)),
        }
    }

    fn keys_of(&self, shard: Shard) -> [String; 4] {
        ["lease", "state", "memory", "rows"].map(|name| self.keys.of_shard(shard, name))
    }

    /// What a commit changes, and its number.
    fn prepare(&self, shard: Shard, fence: u64, commit: &Commit) -> Result<Prepared, StoreError> {
        let mut shards = lock(&self.shards);
        let kept = shards.entry(shard).or_default();
        if kept.fence != fence {
            return Err(StoreError::Fenced(shard));
        }
        if kept.is_incomplete && !commit.is_whole {
            let why = "Redis may have lost the state of this shard; all of it is written first";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        kept.sequence += 1;
        let mut memories = Changes::default();
        for (id, memory) in &commit.projects {
            let before = kept.memories.get(id).filter(|_| !commit.is_whole);
            memories.project(*id, memory.as_deref(), before.map(|memory| &**memory))?;
        }
        if commit.is_whole {
            let changed: Vec<ProjectId> = commit.projects.iter().map(|(id, _)| *id).collect();
            let others = kept.memories.iter();
            for (id, memory) in others.filter(|(id, _)| !changed.contains(id)) {
                memories.project(*id, Some(memory), None)?;
            }
        }
        let mut rows = Changes::default();
        for row in &commit.rows {
            rows.row(row)?;
        }
        for key in &commit.removed {
            let series = series(&key.name, &key.labels).map_err(unwritable)?;
            rows.removed.push(field(key.project.0, &series));
        }
        Ok(Prepared {
            sequence: kept.sequence,
            memories,
            rows,
        })
    }

    async fn commit_shard(&self, shard: Shard, commit: Commit) -> Result<(), StoreError> {
        let fence = self.leases.fence(shard).ok_or(StoreError::Fenced(shard))?;
        // Nothing is stored of the instance.
        if shard == Shard::INSTANCE {
            return Ok(());
        }
        if let Some((at, why)) = &*lock(&self.failed)
            && at.elapsed() < PAUSE
        {
            return Err(StoreError::Unavailable(why.clone()));
        }
        let prepared = self.prepare(shard, fence, &commit)?;
        let args = self.args(fence, &commit, prepared);
        let bytes = args.iter().map(Vec::len).sum::<usize>();
        let keys = self.keys_of(shard);
        let answer = self.redis.run::<i64>(&self.commit, &keys, &args).await;
        let answer = answer.map_err(|error| {
            if error.is_away() || error.may_have_run() {
                *lock(&self.failed) = Some((Instant::now(), error.to_string()));
            }
            unavailable(error)
        });
        match answer? {
            1 => {}
            0 => return Err(StoreError::Fenced(shard)),
            _ => {
                let why = "a later commit of the shard is there already".to_owned();
                return Err(StoreError::Unavailable(why));
            }
        }
        {
            let mut written = lock(&self.written);
            written.commits += 1;
            written.bytes += bytes as u64;
        }
        if let Some(kept) = lock(&self.shards).get_mut(&shard) {
            kept.is_incomplete &= !commit.is_whole;
            for (id, memory) in commit.projects {
                match memory {
                    Some(memory) => kept.memories.insert(id, memory),
                    None => kept.memories.remove(&id),
                };
            }
        }
        Ok(())
    }

    /// As the script takes them.
    fn args(&self, fence: u64, commit: &Commit, prepared: Prepared) -> Vec<Vec<u8>> {
        let Prepared {
            sequence,
            memories,
            rows,
        } = prepared;
        let mut args: Vec<Vec<u8>> = vec![
            self.instance.clone().into_bytes(),
            fence.to_string().into_bytes(),
            sequence.to_string().into_bytes(),
            commit.committed_at.0.max(0).to_string().into_bytes(),
            u8::from(commit.is_whole).to_string().into_bytes(),
        ];
        for count in [
            memories.set.len(),
            memories.removed.len(),
            rows.set.len(),
            rows.removed.len(),
        ] {
            args.push(count.to_string().into_bytes());
        }
        for changes in [memories, rows] {
            let set = changes.set.into_iter();
            args.extend(set.flat_map(|(key, record)| [key, record]));
            args.extend(changes.removed);
        }
        args
    }
}

/// A commit as it is sent.
struct Prepared {
    sequence: u64,
    memories: Changes,
    rows: Changes,
}

impl Changes {
    /// The parts of a project that differ from what is there.
    fn project(
        &mut self,
        id: ProjectId,
        memory: Option<&ProjectMemory>,
        before: Option<&ProjectMemory>,
    ) -> Result<(), StoreError> {
        for part in PARTS {
            let name = part.name.as_bytes();
            let key = field(id.0, name);
            let Some(memory) = memory else {
                self.removed.push(key);
                continue;
            };
            if before.is_some_and(|before| (part.is_same)(before, memory)) {
                continue;
            }
            if part.name != ALWAYS && part.is_empty(memory) {
                self.removed.push(key);
                continue;
            }
            let record = sealed(id, part, memory)?;
            self.set.push((key, record));
        }
        Ok(())
    }

    fn row(&mut self, row: &RowRecord) -> Result<(), StoreError> {
        let key = row.key();
        let series = series(&key.name, &key.labels).map_err(unwritable)?;
        let content = encoded("a row", &Row::from(row)).map_err(unwritable)?;
        let id = key.project.0;
        let record = seal(of_row(id, &series), version(STEPS.rows.len()), &content);
        self.set.push((field(id, &series), record));
        Ok(())
    }
}

fn sealed(id: ProjectId, part: &Part, memory: &ProjectMemory) -> Result<Vec<u8>, StoreError> {
    let content = (part.encode)(memory);
    let content = content.map_err(|error| unwritable(invalid(part.name, &error)))?;
    let version = version(STEPS.of_part(part.name).len());
    Ok(seal(
        of_memory(id.0, part.name.as_bytes()),
        version,
        &content,
    ))
}

/// Whether the lease is held, the time and the number of the last commit, parts and rows.
type Answer = (i64, i64, u64, Vec<Vec<u8>>, Vec<Vec<u8>>);

fn pairs(flat: &[Vec<u8>]) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    let pairs = flat.chunks_exact(2);
    pairs.filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
}

/// The key of a record in its hash.
fn field(id: u64, rest: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], rest].concat()
}

fn split(field: &[u8]) -> Result<(u64, &[u8]), LoadError> {
    let split = field.split_first_chunk::<ID>();
    let (id, rest) =
        split.ok_or_else(|| LoadError::Damaged("a record has no project".to_owned()))?;
    Ok((u64::from_be_bytes(*id), rest))
}

fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn unwritable(error: records::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[async_trait]
impl Store for RedisStore {
    async fn load(&self) -> Result<Remembered, StoreError> {
        let mut all = Remembered::default();
        for shard in self.leases.in_force().iter() {
            let Some(fence) = self.leases.fence(shard) else {
                continue;
            };
            let loaded = match self.load_shard(shard, fence).await {
                Ok(loaded) => loaded.remembered,
                Err(LoadError::Store(error)) => return Err(error),
                Err(error) => return Err(StoreError::Unavailable(error.to_string())),
            };
            all.add(loaded);
        }
        all.projects.sort_by_key(|(id, _)| *id);
        all.rows.sort_by_key(RowRecord::key);
        Ok(all)
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let projects = commit.projects.iter().map(|(id, _)| *id);
        let rows = commit.rows.iter().map(|row| row.project);
        let removed = commit.removed.iter().map(|key| key.project);
        let mut shards = projects.chain(rows).chain(removed).map(Shard::of);
        let shard = commit.shard.or_else(|| shards.next());
        match shard {
            Some(shard) => self.commit_shard(shard, commit).await,
            None => Ok(()),
        }
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_sharded(&self) -> bool {
        true
    }

    fn wants_whole(&self, shard: Shard) -> bool {
        let shards = lock(&self.shards);
        shards.get(&shard).is_some_and(|kept| kept.is_incomplete)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({:?})", self.redis)
    }
}
