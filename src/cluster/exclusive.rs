//! All shards, held by a program that is no replica: while state is moved, no replica may read or write it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::EXTENSIONS;
use super::directory::Directory;
use super::lease::{LeaseClient, Outcome, Own};
use crate::redis::{Redis, RedisError, cmd};
use crate::shards::{Leases, Shard};
use crate::store::Keys;

/// How often a lease that is not free yet is asked for.
const STEP: Duration = Duration::from_millis(200);
/// What the leases of a replica that was killed may take beyond their time.
const LATE: Duration = Duration::from_secs(2);

/// Why not all shards can be held.
#[derive(Debug, thiserror::Error)]
pub enum ExclusiveError {
    /// Redis cannot be used.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Replicas are running.
    #[error(
        "replicas are running, or were killed less than redis.lease_ttl ago: {}; stop all of them and try again",
        .0.join(", ")
    )]
    Running(Vec<String>),
    /// Leases are held by something that is not listed.
    #[error(
        "{0} shards are leased by another program; stop all replicas, and any other command that moves this state"
    )]
    Leased(usize),
    /// A lease ended meanwhile.
    #[error("the lease of shard {} was lost; raise redis.lease_ttl if Redis is slow", .0.index())]
    Lost(Shard),
}

/// The leases of all shards, until [`Self::release`].
pub struct Exclusive {
    client: LeaseClient,
    redis: Redis,
    keys: Keys,
    leases: Arc<Leases>,
    ttl: Duration,
    held: BTreeMap<Shard, Held>,
}

#[derive(Clone, Copy)]
struct Held {
    fence: u64,
    extended: Instant,
}

impl Exclusive {
    /// Takes all leases as `instance`. Waits for leases of replicas that were killed, and for an empty Redis
    /// as replicas do.
    ///
    /// # Errors
    /// When replicas are running, or Redis cannot be used. Nothing is held then.
    pub async fn take(
        redis: &Redis,
        keys: &Keys,
        instance: &str,
        ttl: Duration,
        leases: &Arc<Leases>,
    ) -> Result<Self, ExclusiveError> {
        leases.clear();
        let mut exclusive = Self {
            client: LeaseClient::new(redis.clone(), keys.clone(), instance, ttl),
            redis: redis.clone(),
            keys: keys.clone(),
            leases: Arc::clone(leases),
            ttl,
            held: BTreeMap::new(),
        };
        match exclusive.take_all().await {
            Ok(()) => Ok(exclusive),
            Err(error) => {
                exclusive.release().await;
                Err(error)
            }
        }
    }

    async fn take_all(&mut self) -> Result<(), ExclusiveError> {
        let deadline = Instant::now() + self.ttl + LATE;
        loop {
            let running = self.client.members(None).await?;
            if !running.is_empty() {
                let hosts = running.values().map(|info| info.host.clone());
                return Err(ExclusiveError::Running(hosts.collect()));
            }
            self.extend().await?;
            let missing: Vec<Shard> = Shard::all()
                .filter(|shard| !self.held.contains_key(shard))
                .collect();
            self.try_each(&missing).await?;
            let missing = Shard::COUNT - self.held.len();
            if missing == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(ExclusiveError::Leased(missing));
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Takes or extends the leases of some shards; those that are refused are not held.
    async fn try_each(&mut self, shards: &[Shard]) -> Result<(), ExclusiveError> {
        let attempts = shards.iter().map(|shard| {
            let own = self.held.get(shard).map(|held| Own {
                fence: held.fence,
                in_force: self.leases.fence(*shard).is_some(),
            });
            self.client.take(*shard, own)
        });
        let attempts = join_all(attempts).await;
        let mut failed = Ok(());
        for (shard, attempt) in shards.iter().zip(attempts) {
            let attempt = match attempt {
                Ok(attempt) => attempt,
                Err(error) => {
                    failed = Err(error.into());
                    continue;
                }
            };
            let fence = match attempt.outcome {
                Outcome::Extended => self.held.get(shard).map(|held| held.fence),
                Outcome::Taken { fence, .. } => Some(fence),
                Outcome::Refused(_) => None,
            };
            match fence {
                Some(fence) => {
                    let extended = Instant::now();
                    self.leases
                        .extend(*shard, fence, attempt.until, Duration::ZERO);
                    self.held.insert(*shard, Held { fence, extended });
                }
                None => {
                    self.leases.end(*shard);
                    self.held.remove(shard);
                }
            }
        }
        failed
    }

    /// Extends the leases that are due for it.
    async fn extend(&mut self) -> Result<(), ExclusiveError> {
        let rhythm = self.ttl / EXTENSIONS;
        let due = self.held.iter();
        let due = due.filter(|(_, held)| held.extended.elapsed() >= rhythm);
        let due: Vec<(Shard, u64)> = due.map(|(shard, held)| (*shard, held.fence)).collect();
        let shards: Vec<Shard> = due.iter().map(|(shard, _)| *shard).collect();
        self.try_each(&shards).await?;
        // Under another token, another program may have held it in between.
        let lost = due
            .iter()
            .find(|(shard, fence)| self.held.get(shard).is_none_or(|held| held.fence != *fence));
        match lost {
            Some((shard, _)) => Err(ExclusiveError::Lost(*shard)),
            None => Ok(()),
        }
    }

    /// The fencing token of a shard, with all leases extended for the work under it.
    ///
    /// # Errors
    /// When a lease was lost.
    pub async fn fence(&mut self, shard: Shard) -> Result<u64, ExclusiveError> {
        self.extend().await?;
        self.leases.fence(shard).ok_or(ExclusiveError::Lost(shard))
    }

    /// Removes what replicas know of all projects: those that start later look for projects first.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub async fn remove_directory(&self) -> Result<(), ExclusiveError> {
        let mut command = cmd("DEL");
        for key in Directory::keys(&self.keys) {
            command.arg(key);
        }
        self.redis.command::<u64>(command).await?;
        Ok(())
    }

    /// Gives all leases back. Those that cannot be given back end by themselves.
    pub async fn release(self) {
        let client = &self.client;
        let released = self.held.iter().map(async |(shard, held)| {
            self.leases.end(*shard);
            client.release(*shard, held.fence).await
        });
        for released in join_all(released).await {
            if let Err(error) = released {
                tracing::debug!(%error, "lease not given back");
            }
        }
    }
}
