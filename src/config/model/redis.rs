//! Redis, which replicas share their work and state by.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::config::values::{Secret, optional_text};
use crate::redis::RedisUrl;

/// Redis, for sharing the work and the state between replicas: Redis 6.2 or later, or Valkey. Leave `url` empty
/// for a single instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Redis {
    /// Address: `redis://host:6379/0`, `rediss://` for TLS, `unix:///run/redis.sock`,
    /// `redis-sentinel://host:26379,host:26379/name/0` or `redis-cluster://host:6379,host:6379`
    /// (`rediss-sentinel://` and `rediss-cluster://` for TLS). It may contain `user:password@`.
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    pub url: Option<Secret>,
    /// User name (ACL); empty = the one in the address, or the default user.
    #[serde(with = "optional_text")]
    #[schemars(with = "String")]
    pub username: Option<String>,
    /// Password; empty = the one in the address.
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    pub password: Option<Secret>,
    /// File that contains the password; read for every new connection.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub password_file: Option<PathBuf>,
    /// PEM file with CA certificates to trust in addition to the system's.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub ca_cert_path: Option<PathBuf>,
    /// PEM file with a client certificate.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub client_cert_path: Option<PathBuf>,
    /// PEM file with the private key of the client certificate.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub client_key_path: Option<PathBuf>,
    /// Maximum number of connections.
    #[schemars(range(min = 1, max = 10_000))]
    pub pool_size: u32,
    /// Idle connections kept open; at most `pool_size`.
    #[schemars(range(max = 10_000))]
    pub min_idle_conns: u32,
    /// Prefix of all keys: the same for all replicas, another one for each GitLab. Empty = `age:` and a hash of
    /// `gitlab.url`.
    #[serde(with = "optional_text")]
    #[schemars(with = "String")]
    pub key_prefix: Option<String>,
    /// How long a replica that stopped responding keeps its projects before others take them over, 5 seconds to
    /// 10 minutes. It also bridges restarts of Redis that take less.
    #[serde(with = "duration::text")]
    #[schemars(schema_with = "duration::text::schema")]
    pub lease_ttl: Duration,
    /// How long a replica without Redis continues to export its last values after `lease_ttl`; 0 = not at all.
    /// Another replica may export the same series at the same time.
    #[serde(with = "duration::or_zero")]
    #[schemars(schema_with = "duration::or_zero::schema")]
    pub outage_grace: Duration,
    /// What to do if Redis is not available at the start.
    pub fallback: RedisFallback,
}

/// What to do without Redis at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedisFallback {
    /// Wait for Redis.
    #[default]
    None,
    /// Run as a single instance with the state in memory. Only for one replica: several would count twice.
    Single,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: None,
            username: None,
            password: None,
            password_file: None,
            ca_cert_path: None,
            client_cert_path: None,
            client_key_path: None,
            pool_size: 10,
            min_idle_conns: 1,
            key_prefix: None,
            lease_ttl: Duration::from_secs(15),
            outage_grace: Duration::ZERO,
            fallback: RedisFallback::default(),
        }
    }
}

impl Redis {
    /// Shortest `lease_ttl`: a call to Redis may take two seconds, and more than one must fit in.
    pub const MIN_LEASE: Duration = Duration::from_secs(5);
    /// Longest `lease_ttl`.
    pub const MAX_LEASE: Duration = Duration::from_secs(600);

    /// The address, if one is set.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the setting.
    pub fn address(&self) -> Option<Result<RedisUrl, String>> {
        let url = self.url.as_ref()?;
        Some(RedisUrl::parse(url.expose()))
    }
}
