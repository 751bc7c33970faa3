//! Whether Redis can be used.

use super::{Level, Report};
use crate::app::part_settings;
use crate::config::{Config, RedisFallback};
use crate::redis::Redis;

/// A Redis that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TriedRedis {
    /// Where it is, without credentials.
    pub(super) server: String,
    /// Why it cannot be used.
    pub(super) result: Result<(), String>,
}

impl Report {
    /// Connects to Redis, where replicas share their work by it.
    pub(super) async fn try_redis(&mut self, config: &Config) {
        let secrets = part_settings::secrets(config);
        let Some(options) = part_settings::redis(config, &secrets) else {
            return;
        };
        let server = options.url.to_string();
        let result = Redis::connect(options).await.map(drop);
        let result = result.map_err(|error| secrets.redact(&error.to_string()).into_owned());
        if let Err(error) = &result {
            let level = match config.redis.fallback {
                RedisFallback::None => Level::Error,
                RedisFallback::Single => Level::Warning,
            };
            self.problem(level, error.clone());
        }
        self.redis = Some(TriedRedis { server, result });
    }
}
