//! Replicas: several exporters share the projects, the state and GitLab's budget by way of Redis.
//!
//! Projects are divided into shards, each held by one replica under a lease with a fencing token. A lease's
//! holder counts its time from before it asked for it; what is of the shard is shown and committed until a
//! margin before the end. Who takes a lease over continues with what was committed under the one before.
//! One shard stands for the instance: its holder looks for projects and reads runners.

mod directory;
mod exchange;
mod exclusive;
mod lease;
mod plan;
mod post;
mod standing;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, UnixSeconds};
use crate::config::LiveConfig;
use crate::events::queue::HintQueue;
use crate::ingest::Ingest;
use crate::locks::lock;
use crate::observer::Observer;
use crate::redis::{Redis, RedisError};
use crate::registry::Registry;
use crate::shards::{Leases, Shard, ShardSet};
use crate::store::{Keys, LoadError, RedisStore};
use directory::Directory;
use lease::{Attempt, LeaseClient, Outcome, Own};
use plan::{Plan, Replica, plan};
use post::PostClient;
use wire::Info;

pub use exclusive::{Exclusive, ExclusiveError};
pub use standing::{Member, Standing};

/// How often replicas look at each other.
const STEP: Duration = Duration::from_millis(500);
/// Leases are extended this many times before they end.
const EXTENSIONS: u32 = 3;
/// Shards that are taken and read at once.
const TAKEN_AT_ONCE: usize = 8;
/// A shard that could not be read is tried again this much later.
const REFUSED: Duration = Duration::from_secs(60);

/// What a replica is built with.
pub struct ClusterSettings {
    /// The connection.
    pub redis: Redis,
    /// Names of its keys.
    pub keys: Keys,
    /// The replica's instance id: another one at each start.
    pub instance: String,
    /// Its host, for the status page.
    pub host: String,
    /// `redis.lease_ttl`.
    pub lease_ttl: Duration,
    /// `redis.outage_grace`.
    pub outage_grace: Duration,
}

/// The parts of the program that it moves shards between.
pub struct Parts {
    /// The configuration as it is now.
    pub config: Arc<LiveConfig>,
    /// The store of the recorder.
    pub store: Arc<RedisStore>,
    /// Until when each shard may be shown.
    pub leases: Arc<Leases>,
    /// The tracked projects.
    pub registry: Arc<Registry>,
    /// What is recorded.
    pub ingest: Arc<Ingest>,
    /// Where events of other replicas are put.
    pub hints: Arc<HintQueue>,
    /// Gets how many replicas and shards there are.
    pub observer: Arc<dyn Observer>,
    /// The time.
    pub clock: Clock,
}

/// A shard that this replica holds.
#[derive(Clone, Debug)]
struct Held {
    fence: u64,
    extended: Instant,
    /// The server that has the lease, by its run id.
    server: String,
}

/// A replica among others.
pub struct Cluster {
    settings: ClusterSettings,
    parts: Parts,
    client: LeaseClient,
    directory: Directory,
    post: PostClient,
    held: BTreeMap<Shard, Held>,
    /// Shards that could not be read, until when they are left alone.
    refused: BTreeMap<Shard, Instant>,
    /// Since when nobody holds a shard.
    free_since: BTreeMap<Shard, Instant>,
    /// The replicas at the last step.
    members: BTreeMap<String, Info>,
    /// When [`Self::tidy`] is due.
    tidy_due: Instant,
    started_at: UnixSeconds,
    standing: Arc<Mutex<Standing>>,
}

impl Cluster {
    /// A replica that holds nothing yet.
    #[must_use]
    pub fn new(settings: ClusterSettings, parts: Parts) -> Self {
        parts.leases.clear();
        parts.registry.lock().share();
        let (redis, keys) = (settings.redis.clone(), settings.keys.clone());
        let client = LeaseClient::new(
            redis.clone(),
            keys.clone(),
            &settings.instance,
            settings.lease_ttl,
        );
        let standing = Standing {
            instance: settings.instance.clone(),
            ..Standing::default()
        };
        Self {
            client,
            directory: Directory::new(redis.clone(), &keys),
            post: PostClient::new(redis, keys),
            held: BTreeMap::new(),
            refused: BTreeMap::new(),
            free_since: BTreeMap::new(),
            members: BTreeMap::new(),
            tidy_due: Instant::now(),
            started_at: parts.clock.now(),
            standing: Arc::new(Mutex::new(standing)),
            settings,
            parts,
        }
    }

    /// How the replicas are.
    #[must_use]
    pub fn standing(&self) -> Arc<Mutex<Standing>> {
        Arc::clone(&self.standing)
    }

    /// Takes part until `stop`, then gives everything back.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = steps.tick() => {}
            }
            // A lease that is being taken over is not left half done.
            let result = self.step().await;
            self.report(result);
        }
        self.leave().await;
    }

    async fn step(&mut self) -> Result<(), RedisError> {
        let extended = self.extend().await;
        self.drop_ended().await;
        extended?;
        let info = self.info();
        self.members = self.client.members(Some(&info)).await?;
        self.follow().await?;
        let Plan {
            release,
            take,
            wanted,
        } = self.plan();
        self.release(&release).await?;
        self.take(&take, wanted).await?;
        self.tidy().await;
        self.publish().await?;
        self.receive().await
    }

    /// Extends the leases that are due for it.
    async fn extend(&mut self) -> Result<(), RedisError> {
        let rhythm = self.settings.lease_ttl / EXTENSIONS;
        let in_force = self.parts.leases.in_force();
        let held = self.held.iter().map(|(shard, held)| {
            let in_force = in_force.contains(*shard);
            // A clock that was set forward has ended those that are in force in Redis still.
            let is_due = !in_force || held.extended.elapsed() >= rhythm;
            let fence = held.fence;
            is_due.then_some((*shard, Own { fence, in_force }))
        });
        let due: Vec<(Shard, Own)> = held.flatten().collect();
        let client = &self.client;
        let attempts = due
            .into_iter()
            .map(async |(shard, own)| (shard, own, client.take(shard, Some(own)).await));
        let mut failed = Ok(());
        let mut again = ShardSet::NONE;
        let mut lost = 0;
        for (shard, own, attempt) in join_all(attempts).await {
            match attempt {
                Ok(attempt) => {
                    // Before the lease is in force again, so that no commit comes between.
                    if self.may_be_lost(shard, own, &attempt) {
                        self.parts.store.may_lack(shard);
                        again.insert(shard);
                    }
                    lost += usize::from(!self.extended(shard, own, attempt).await);
                }
                Err(error) => failed = Err(error),
            }
        }
        if lost > 0 {
            tracing::warn!(shards = lost, "leases lost to other replicas");
        }
        self.write_again(again).await;
        failed
    }

    /// Whether Redis may have lost the latest writes to a shard: another server responds, or the same one no
    /// longer has the fencing token of the lease.
    fn may_be_lost(&self, shard: Shard, own: Own, attempt: &Attempt) -> bool {
        let held = self.held.get(&shard);
        let is_other = held.is_some_and(|held| held.server != attempt.server);
        is_other || matches!(attempt.outcome, Outcome::Taken { before, .. } if before < own.fence)
    }

    /// Whether the shard is this replica's still.
    async fn extended(&mut self, shard: Shard, own: Own, attempt: Attempt) -> bool {
        // Initial zeros may not have been scraped while the shard was hidden: it is loaded again.
        let has_lapsed = self.parts.leases.fence(shard).is_none();
        let fence = match attempt.outcome {
            Outcome::Extended if !has_lapsed => own.fence,
            // Nobody can have held it in between: what is known of it holds, whatever Redis has lost.
            Outcome::Taken { fence, before } if !has_lapsed && before <= own.fence => {
                self.parts.store.continued(shard, fence);
                fence
            }
            Outcome::Extended => return self.adopt_again(shard, own.fence, attempt).await,
            Outcome::Taken { fence, .. } => return self.adopt_again(shard, fence, attempt).await,
            Outcome::Refused(_) => {
                self.drop([shard].into_iter().collect()).await;
                return false;
            }
        };
        self.hold(shard, fence, attempt);
        true
    }

    async fn adopt_again(&mut self, shard: Shard, fence: u64, attempt: Attempt) -> bool {
        self.drop([shard].into_iter().collect()).await;
        self.hold(shard, fence, attempt);
        self.adopt(vec![(shard, fence)]).await == 1
    }

    fn hold(&mut self, shard: Shard, fence: u64, attempt: Attempt) {
        let grace = self.settings.outage_grace;
        self.parts.leases.extend(shard, fence, attempt.until, grace);
        let held = Held {
            fence,
            extended: Instant::now(),
            server: attempt.server,
        };
        self.held.insert(shard, held);
    }

    /// Redis may have lost what it had of these shards: it is written again.
    async fn write_again(&mut self, shards: ShardSet) {
        let shards = shards.and(self.held.keys().copied().collect());
        if shards.is_empty() {
            return;
        }
        tracing::warn!(
            shards = shards.len(),
            "Redis was restarted, lost data or was replaced, writing state again"
        );
        self.parts.ingest.write_again(shards).await;
        lock(&self.standing).written_again = Some((shards.len(), self.parts.clock.now()));
    }

    /// Gives away what may not be shown any more.
    async fn drop_ended(&mut self) {
        let shown = self.parts.leases.shown();
        let ended = self.held.keys().filter(|shard| !shown.contains(**shard));
        let ended: ShardSet = ended.copied().collect();
        if !ended.is_empty() {
            tracing::warn!(
                shards = ended.len(),
                "leases ended without Redis, their projects are not exported until they are renewed"
            );
            self.drop(ended).await;
        }
    }

    /// Takes shards out of what is shown, read and remembered here.
    async fn drop(&mut self, shards: ShardSet) {
        for shard in shards.iter() {
            self.parts.leases.end(shard);
        }
        self.parts.ingest.release(shards).await;
        for shard in shards.iter() {
            self.parts.store.forget(shard);
            self.held.remove(&shard);
        }
    }

    fn plan(&mut self) -> Plan {
        let mut replicas: Vec<Replica> = self
            .members
            .iter()
            .map(|(instance, info)| Replica {
                instance: instance.clone(),
                shards: match *instance == self.settings.instance {
                    true => self.held.keys().copied().collect(),
                    false => info.shards(),
                },
                refuses: info.refuses,
            })
            .collect();
        replicas.sort_by(|one, other| one.instance.cmp(&other.instance));
        let held = replicas.iter().flat_map(|replica| replica.shards.iter());
        let held: ShardSet = held.collect();
        for shard in Shard::all() {
            match held.contains(shard) {
                true => _ = self.free_since.remove(&shard),
                false => _ = self.free_since.entry(shard).or_insert_with(Instant::now),
            }
        }
        let long = 3 * self.settings.lease_ttl;
        let orphans = self.free_since.iter();
        let orphans = orphans.filter(|(_, since)| since.elapsed() > long);
        let orphans: ShardSet = orphans.map(|(shard, _)| *shard).collect();
        let mut plan = plan(&self.settings.instance, &replicas, orphans);
        let now = Instant::now();
        self.refused.retain(|_, until| *until > now);
        plan.take.retain(|shard| !self.refused.contains_key(shard));
        plan
    }

    /// Gives shards to others.
    async fn release(&mut self, shards: &[Shard]) -> Result<(), RedisError> {
        if shards.is_empty() {
            return Ok(());
        }
        tracing::info!(
            shards = shards.len(),
            "handing shards over to other replicas"
        );
        self.give_back(shards).await
    }

    async fn give_back(&mut self, shards: &[Shard]) -> Result<(), RedisError> {
        let leases = shards.iter();
        let leases = leases.filter_map(|shard| Some((*shard, self.held.get(shard)?.fence)));
        let leases: Vec<(Shard, u64)> = leases.collect();
        self.drop(shards.iter().copied().collect()).await;
        let client = &self.client;
        let released = leases
            .into_iter()
            .map(async |(shard, fence)| client.release(shard, fence).await);
        let released = join_all(released).await;
        released.into_iter().collect()
    }

    /// Takes shards that nobody holds.
    async fn take(&mut self, shards: &[Shard], wanted: usize) -> Result<(), RedisError> {
        let started = Instant::now();
        let (mut taken, mut failed) = (0, Ok(()));
        for some in shards.chunks(TAKEN_AT_ONCE) {
            // Leases that are held are extended meanwhile, too.
            let is_long = started.elapsed() > self.settings.lease_ttl / (2 * EXTENSIONS);
            if taken >= wanted || is_long || failed.is_err() {
                break;
            }
            let client = &self.client;
            let some = some.iter().take(wanted - taken);
            let attempts = some.map(async |shard| (*shard, client.take(*shard, None).await));
            let mut held = Vec::new();
            for (shard, attempt) in join_all(attempts).await {
                match attempt {
                    Ok(attempt) => {
                        if let Outcome::Taken { fence, .. } = attempt.outcome {
                            self.hold(shard, fence, attempt);
                            held.push((shard, fence));
                        }
                    }
                    Err(error) => failed = Err(error),
                }
            }
            taken += self.adopt(held).await;
        }
        if taken > 0 {
            tracing::info!(shards = taken, "shards taken over");
            // Collectors may be disabled here that have series of them.
            self.tidy_due = Instant::now();
        }
        failed
    }

    /// Goes on with shards whose leases are held. How many could be read.
    async fn adopt(&mut self, held: Vec<(Shard, u64)>) -> usize {
        if held.is_empty() {
            return 0;
        }
        let store = &self.parts.store;
        let loads = held.into_iter();
        let loads = loads.map(async |(shard, fence)| (shard, store.load_shard(shard, fence).await));
        let (mut loaded, mut outdated, mut refused) = (Vec::new(), ShardSet::NONE, Vec::new());
        for (shard, load) in join_all(loads).await {
            match load {
                Ok(load) => {
                    if load.is_outdated {
                        outdated.insert(shard);
                    }
                    loaded.push((shard, load.remembered));
                }
                Err(error) => refused.push((shard, error)),
            }
        }
        let mut adopted = 0;
        for (shard, result) in self.parts.ingest.adopt(loaded).await {
            match result {
                Ok(()) => adopted += 1,
                Err(error) => refused.push((shard, LoadError::Store(error))),
            }
        }
        for (shard, error) in &refused {
            outdated.remove(*shard);
            self.refuse(*shard, error);
        }
        if !outdated.is_empty() {
            self.parts.ingest.write_again(outdated).await;
        }
        // They stay free for others; if Redis is away, the leases end by themselves.
        let refused: Vec<Shard> = refused.into_iter().map(|(shard, _)| shard).collect();
        if !refused.is_empty() {
            let _ = self.give_back(&refused).await;
        }
        adopted
    }

    /// Notes that a shard could not be taken over.
    fn refuse(&mut self, shard: Shard, error: &LoadError) {
        match error {
            LoadError::Store(error) => {
                tracing::debug!(shard = shard.index(), %error, "shard could not be taken over");
            }
            LoadError::TooNew(_) | LoadError::Damaged(_) => {
                let mut standing = lock(&self.standing);
                if standing.refused.is_none() {
                    tracing::error!(shard = shard.index(), %error, "shard refused, left to other replicas");
                }
                standing.refused = Some((self.refused.len() + 1, error.to_string()));
                self.refused.insert(shard, Instant::now() + REFUSED);
            }
        }
    }

    fn info(&self) -> Info {
        let now = self.parts.clock.now();
        let mut projects = 0;
        let mut lag = Duration::ZERO;
        for (_, entry) in self.parts.registry.lock().own() {
            projects += 1;
            lag = entry.feed_lag(now).max(lag);
        }
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.settings.host.clone(),
            started_at: self.started_at.0,
            shards: self.held.keys().map(|shard| shard.index()).collect(),
            refuses: !self.refused.is_empty(),
            projects,
            lag: lag.as_secs(),
        }
    }

    fn report(&self, result: Result<(), RedisError>) {
        let observer = &self.parts.observer;
        let own = self.held.len() - usize::from(self.held.contains_key(&Shard::INSTANCE));
        let mut standing = lock(&self.standing);
        match result {
            Ok(()) => {
                if standing.trouble.take().is_some() {
                    observer.store(true);
                    tracing::info!("Redis available again");
                }
                standing.has_joined |= !self.held.is_empty() || self.members.len() > 1;
            }
            Err(error) => {
                let trouble = error.to_string();
                if standing.trouble.is_none() {
                    observer.store(false);
                    tracing::warn!(%error, "Redis unavailable, will retry");
                }
                standing.trouble = Some(trouble);
            }
        }
        if self.refused.is_empty() {
            standing.refused = None;
        }
        standing.members = self.members.iter().map(Member::of).collect();
        observer.cluster(standing.members.len(), own);
    }

    /// Gives everything back, so that others go on at once.
    async fn leave(&mut self) {
        let shards: Vec<Shard> = self.held.keys().copied().collect();
        let given = self.give_back(&shards).await;
        let left = self.client.members(None).await;
        if let Err(error) = given.and(left.map(|_| ())) {
            tracing::warn!(%error, "leases not given back, other replicas wait for redis.lease_ttl");
        }
    }
}
