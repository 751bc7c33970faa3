//! Replicas: the parts that share the work by way of Redis, when `redis.url` is set.

use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{StartError, part_settings};
use crate::budget::{BudgetSettings, RedisBudget};
use crate::cluster::{Cluster, ClusterSettings, Parts, Standing};
use crate::config::{Config, RedisFallback};
use crate::gitlab::SetupError;
use crate::gitlab::limiter::{Limiter, LocalLimiter, SILENT_AFTER};
use crate::redis::{Redis, RedisError};
use crate::series::Table;
use crate::store::{Keys, RedisStore};
use crate::telemetry::secrets::Secrets;

/// A replica that has not joined the others yet.
pub(super) struct Replica {
    pub(super) store: Arc<RedisStore>,
    /// What limits its requests to GitLab: a budget that all share.
    limiter: Arc<LocalLimiter>,
    settings: ClusterSettings,
    fallback: RedisFallback,
}

/// A replica among others.
pub(super) struct Joined {
    pub(super) standing: Arc<Mutex<Standing>>,
    task: JoinHandle<()>,
    sharing: JoinHandle<()>,
    stop: CancellationToken,
}

impl Replica {
    /// The replica that the settings ask for, if they do.
    ///
    /// # Errors
    /// When the certificates for Redis cannot be used, or the limits make no sense.
    pub(super) fn new(
        config: &Config,
        secrets: &Secrets,
        table: &Table,
    ) -> Result<Option<Self>, StartError> {
        let Some(options) = part_settings::redis(config, secrets) else {
            return Ok(None);
        };
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let settings = ClusterSettings {
            redis: Redis::new(options)?,
            keys: Keys::new(&part_settings::redis_prefix(config)),
            // Another one at each start: what was leased before is not this process's.
            instance: format!("{host}-{}", uuid::Uuid::new_v4().simple()),
            host,
            lease_ttl: config.redis.lease_ttl,
            outage_grace: config.redis.outage_grace,
        };
        let store = RedisStore::new(
            settings.redis.clone(),
            settings.keys.clone(),
            &settings.instance,
            Arc::clone(table.leases()),
        );
        let budget = part_settings::gitlab(config).budget();
        let shared = BudgetSettings {
            key_prefix: part_settings::redis_prefix(config),
            replica: settings.instance.clone(),
            budget,
            // A replica that cannot reach Redis goes on as long as its leases last, and they may have been
            // extended after it was heard of here.
            reserve: config.redis.lease_ttl + config.redis.outage_grace + SILENT_AFTER,
        };
        let shared = RedisBudget::new(settings.redis.clone(), shared);
        let limiter = LocalLimiter::sharing(budget, Arc::new(shared));
        let limiter = limiter.map_err(SetupError::Limits)?;
        Ok(Some(Self {
            limiter: Arc::new(limiter),
            store: Arc::new(store),
            settings,
            fallback: config.redis.fallback,
        }))
    }

    /// Whether Redis can be used; false where this is to run as a single instance without it. One that
    /// cannot be reached is waited for.
    ///
    /// # Errors
    /// When Redis is there and will not do.
    pub(super) async fn check(&self) -> Result<bool, RedisError> {
        match self.settings.redis.check().await {
            Ok(()) => Ok(true),
            Err(error) if !error.is_away() => Err(error),
            Err(error) if self.fallback == RedisFallback::Single => {
                tracing::warn!(
                    %error,
                    "Redis unavailable, running as a single instance with state in memory \
                     (redis.fallback: single): other replicas may export the same series"
                );
                Ok(false)
            }
            Err(error) => {
                tracing::warn!(%error, "Redis unavailable, waiting for it");
                Ok(true)
            }
        }
    }

    /// What limits its requests to GitLab.
    pub(super) fn limiter(&self) -> Arc<dyn Limiter> {
        Arc::clone(&self.limiter) as _
    }

    /// Begins to take part.
    pub(super) fn join(self, parts: Parts) -> Joined {
        let cluster = Cluster::new(self.settings, parts);
        let stop = CancellationToken::new();
        let (limiter, stopped) = (self.limiter, stop.clone());
        let sharing = async move { limiter.keep_sharing(stopped).await };
        Joined {
            standing: cluster.standing(),
            task: tokio::spawn(cluster.run(stop.clone())),
            sharing: tokio::spawn(sharing),
            stop,
        }
    }
}

impl Joined {
    /// Gives everything back to the others.
    pub(super) async fn leave(self) {
        self.stop.cancel();
        super::ended("replica", self.task.await);
        super::ended("budget", self.sharing.await);
    }
}
