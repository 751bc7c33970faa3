//! Reads the configuration again, and hands what changed to the parts.

use std::sync::{Arc, Mutex};

use super::part_settings;
use crate::catalogue::Collector;
use crate::clock::{Clock, UnixSeconds};
use crate::config::{self, Changes, Config, LiveConfig, Sources};
use crate::gitlab::GitLab;
use crate::locks::lock;
use crate::scheduler::Updates;
use crate::server::reload::Reload;
use crate::server::status::ConfigStatus;
use crate::server::web::Web;
use crate::telemetry::LogLevel;
use crate::telemetry::process::OwnMetrics;
use crate::telemetry::secrets::Secrets;

/// Reloads the configuration.
pub(super) struct Reloader {
    /// Where it is read from; none where it was given as it is.
    pub(super) sources: Option<Sources>,
    pub(super) live: Arc<LiveConfig>,
    pub(super) web: Arc<Web>,
    pub(super) gitlab: GitLab,
    pub(super) updates: Arc<Updates>,
    pub(super) log_level: Option<LogLevel>,
    pub(super) own: Arc<OwnMetrics>,
    pub(super) secrets: Secrets,
    pub(super) clock: Clock,
    pub(super) status: Arc<ReloadStatus>,
    /// One at a time.
    pub(super) turn: Mutex<()>,
}

/// How the last reload ended.
pub(super) struct ReloadStatus(Mutex<ConfigStatus>);

impl ReloadStatus {
    /// Of a configuration that was just read.
    pub(super) fn new(now: UnixSeconds) -> Arc<Self> {
        Arc::new(Self(Mutex::new(ConfigStatus {
            loaded_at: now,
            error: None,
            needs_restart: Vec::new(),
        })))
    }

    pub(super) fn now(&self) -> ConfigStatus {
        lock(&self.0).clone()
    }
}

impl Reload for Reloader {
    fn reload(&self) -> Result<Changes, String> {
        let _turn = lock(&self.turn);
        let now = self.clock.now();
        let result = self.apply();
        self.own.config_reloaded(result.is_ok(), now);
        let mut status = lock(&self.status.0);
        match &result {
            Ok(changes) => {
                tracing::info!(
                    settings = changes.applied.join(", "),
                    "configuration reloaded"
                );
                if !changes.needs_restart.is_empty() {
                    tracing::warn!(
                        settings = changes.needs_restart.join(", "),
                        "changed settings need a restart, using their previous values"
                    );
                }
                *status = ConfigStatus {
                    loaded_at: now,
                    error: None,
                    needs_restart: changes.needs_restart.clone(),
                };
            }
            Err(error) => {
                let error = self.secrets.redact(error).into_owned();
                tracing::error!(error, "configuration not reloaded, using the previous one");
                status.error = Some(error);
            }
        }
        result
    }
}

impl Reloader {
    fn apply(&self) -> Result<Changes, String> {
        let before = self.live.now();
        // All is read before anything is applied.
        let (effective, changes) = match &self.sources {
            Some(sources) => {
                let new = config::load(sources).map_err(|error| error.to_string())?;
                before.reloaded(&new).map_err(|error| error.to_string())?
            }
            None => (Config::clone(&before), Changes::default()),
        };
        let token = part_settings::token(&effective);
        let token = self.gitlab.prepare_token(&token)?;
        self.web.reload().map_err(|error| error.to_string())?;
        part_settings::register_secrets(&effective, &self.secrets);
        self.gitlab.set_token(token);
        if let Some(level) = &self.log_level {
            level.set(part_settings::logs(&effective).level);
        }
        self.live.replace(effective);
        let effective = self.live.now();
        announce_collectors(&self.own, &effective);
        if !changes.applied.is_empty() {
            self.updates.put(effective);
        }
        Ok(changes)
    }
}

/// Says of every collector whether it works: a family of `age_collector_enabled`.
pub(super) fn announce_collectors(own: &OwnMetrics, config: &Config) {
    for collector in Collector::ALL {
        own.collector_enabled(collector.as_str(), config.enabled_anywhere(collector));
    }
}
