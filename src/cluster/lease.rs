//! Leases of shards in Redis, and the list of replicas.

use std::collections::BTreeMap;
use std::time::Duration;

use super::wire::Info;
use crate::redis::{Redis, RedisError, Script};
use crate::shards::{Moment, Shard};
use crate::store::Keys;

/// A lease ends for its holder this much of its time before it ends in Redis.
const MARGIN: u32 = 10;
const LONGEST_MARGIN: Duration = Duration::from_secs(1);

/// Takes, extends and gives back.
#[derive(Debug)]
pub(super) struct LeaseClient {
    redis: Redis,
    keys: Keys,
    instance: String,
    ttl: Duration,
    take: Script,
    release: Script,
    members: Script,
}

/// A lease as the replica has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    /// Its fencing token.
    pub(super) fence: u64,
    /// Whether it is in force.
    pub(super) in_force: bool,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    /// When the lease ends, if it was extended or taken: counted from before it was asked for.
    pub(super) until: Moment,
    /// The run id of the server: another one when it was restarted, promoted or emptied.
    pub(super) server: String,
}

/// Whether the lease is this replica's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As before.
    Extended,
    /// It is, under a new token.
    Taken {
        /// The new token.
        fence: u64,
        /// The token of the lease before; 0 when Redis knows none.
        before: u64,
    },
    /// It is not; it may be free so much later.
    Refused(Duration),
}

impl LeaseClient {
    pub(super) fn new(redis: Redis, keys: Keys, instance: &str, ttl: Duration) -> Self {
        Self {
            redis,
            keys,
            instance: instance.to_owned(),
            ttl,
            take: Script::new(include_str!("take.lua")),
            release: Script::new(include_str!("release.lua")),
            members: Script::new(include_str!("members.lua")),
        }
    }

    fn ttl_ms(&self) -> String {
        self.ttl.as_millis().to_string()
    }

    /// Takes or extends a lease.
    pub(super) async fn take(&self, shard: Shard, own: Option<Own>) -> Result<Attempt, RedisError> {
        let asked = Moment::now();
        let keys = ["lease", "state"].map(|name| self.keys.of_shard(shard, name));
        let args = [
            self.instance.clone(),
            self.ttl_ms(),
            own.map_or(0, |own| own.fence).to_string(),
            u8::from(own.is_some_and(|own| own.in_force)).to_string(),
        ];
        let answer = self
            .redis
            .run::<(u8, u64, u64, String)>(&self.take, &keys, &args);
        let (status, number, before, server) = answer.await?;
        let margin = (self.ttl / MARGIN).min(LONGEST_MARGIN);
        Ok(Attempt {
            outcome: match status {
                1 => Outcome::Extended,
                2 => Outcome::Taken {
                    fence: number,
                    before,
                },
                _ => Outcome::Refused(Duration::from_millis(number)),
            },
            until: asked.plus(self.ttl - margin),
            server,
        })
    }

    /// Gives a lease back.
    pub(super) async fn release(&self, shard: Shard, fence: u64) -> Result<(), RedisError> {
        let keys = [self.keys.of_shard(shard, "lease")];
        let args = [self.instance.clone(), fence.to_string()];
        self.redis.run::<i64>(&self.release, &keys, &args).await?;
        Ok(())
    }

    /// Says that this replica is alive, or leaves with none; gives all that are.
    pub(super) async fn members(
        &self,
        info: Option<&Info>,
    ) -> Result<BTreeMap<String, Info>, RedisError> {
        let keys = ["members", "members:info"].map(|name| self.keys.shared(name));
        let info = info.map(|info| serde_json::to_string(info).unwrap_or_default());
        let args = [
            self.instance.clone(),
            self.ttl_ms(),
            info.unwrap_or_default(),
        ];
        let answer = self.redis.run::<Vec<String>>(&self.members, &keys, &args);
        let answer = answer.await?;
        let members = answer.chunks_exact(2).filter_map(|pair| {
            let info = serde_json::from_str(pair.get(1)?).ok()?;
            Some((pair.first()?.clone(), info))
        });
        Ok(members.collect())
    }
}
