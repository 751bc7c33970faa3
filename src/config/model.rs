//! Every setting with its meaning and default: the single source of the configuration.
//!
//! The docstrings are what users read: `config/example.yml`, `docs/configuration.md` and the JSON
//! Schema printed by `config --schema` are made from them, and the known keys, `AGE_` variables and
//! `--set` paths follow from the fields. A field added here needs nothing else.

mod collectors;
mod compat;
mod environments;
mod exclude;
mod gitlab;
mod labels;
mod otel;
mod projects;
mod redis;
mod subscriptions;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use collectors::*;
pub use compat::*;
pub use environments::*;
pub use exclude::*;
pub use gitlab::*;
pub use labels::*;
pub use otel::*;
pub use projects::*;
pub use redis::*;
pub use subscriptions::*;
pub use webhook::*;

use super::duration;
use super::listen::{ListenAddress, ListenAddresses};
use super::values::optional_text;

/// The configuration of amazing-gitlab-exporter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// Logging.
    pub log: Log,
    /// The HTTP server for `/metrics` and the status page.
    pub server: Server,
    /// Redis, for sharing the work and the state between replicas: Redis 6.2 or later, or Valkey. Leave `url`
    /// empty for a single instance.
    pub redis: Redis,
    /// The GitLab connection.
    pub gitlab: GitLab,
    /// Discovery of projects.
    pub discovery: Discovery,
    /// What is collected, and how often.
    pub collectors: Collectors,
    /// Label values: people, lengths, rewriting, and labels to drop.
    pub labels: Labels,
    /// Settings of every project; each can be overridden per project and per wildcard.
    pub project_defaults: ProjectSettings,
    /// Projects by path. At least one project or wildcard is required.
    pub projects: Vec<ProjectEntry>,
    /// Projects found by group, user or search. The entry `{}` selects every project visible to the
    /// token.
    pub wildcards: Vec<Wildcard>,
    /// State that is kept over restarts.
    pub state: StateSettings,
    /// OTLP export. Unset values come from the standard `OTEL_*` variables.
    pub otel: Otel,
    /// Limits of the exported metrics.
    pub telemetry: Telemetry,
    /// Metrics of other exporters, for a migration.
    pub compat: Compat,
}

/// Logging.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Log {
    /// The minimum log level.
    pub level: LogLevel,
    /// Log format.
    pub format: LogFormat,
}

/// The minimum log level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything, including every GitLab call.
    Trace,
    /// Details for troubleshooting.
    Debug,
    /// Normal operation.
    #[default]
    Info,
    /// Problems that may need attention.
    Warn,
    /// Failures.
    Error,
    /// The same as error.
    Fatal,
    /// The same as error.
    Panic,
}

impl LogLevel {
    /// The level by the name that `tracing` gives it: `fatal` and `panic` are `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error | Self::Fatal | Self::Panic => "error",
        }
    }
}

/// How log messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per message.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Server {
    /// Address of the server: `host:port`, `:8080` for port 8080 on all interfaces, `unix:/path` for a Unix
    /// socket, or `systemd` for a socket that systemd passes (`systemd:1` for the second). Several are separated
    /// by commas.
    pub listen_address: ListenAddresses,
    /// File with TLS, users and headers of the server, in the format of Prometheus's exporter-toolkit
    /// (`--web.config.file` of other exporters); reloaded when it or a certificate changes. See
    /// `docs/security.md`.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub web_config_file: Option<PathBuf>,
    /// CPU profiles under `/debug/pprof`. Not available: `true` is rejected, since a process cannot
    /// sample itself safely. Use an external profiler instead: see `docs/security.md`.
    pub enable_pprof: bool,
    /// Enable `POST /-/poll?project=group/app`, which polls a project immediately. Anyone with access to
    /// the server can use it.
    pub enable_poll: bool,
    /// Enable `POST /-/reload`, which reads the configuration again, as SIGHUP does. Anyone with access to the
    /// server can use it.
    pub enable_reload: bool,
    /// Accepted host names for the pages, with or without port; empty = any. Protects against DNS
    /// rebinding, where a web page makes a browser send requests under a host name of its own.
    /// `/metrics`, `/health`, `/ready` and `/webhook` accept any name.
    pub allowed_hosts: Vec<String>,
    /// Maximum number of open connections per client address; 0 = no limit. A reverse proxy or ingress
    /// counts as one client.
    #[schemars(range(max = 512))]
    pub max_connections_per_client: u32,
    /// Further addresses for `/health` and `/ready`.
    pub probes: Probes,
    /// Receiver of GitLab webhooks, so that what moves is shown within seconds.
    pub webhook: Webhook,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen_address: ListenAddress::all_interfaces(8080).into(),
            web_config_file: None,
            enable_pprof: false,
            enable_poll: false,
            enable_reload: false,
            allowed_hosts: Vec::new(),
            max_connections_per_client: 0,
            probes: Probes::default(),
            webhook: Webhook::default(),
        }
    }
}

/// Addresses of the probes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Probes {
    /// Address on which `/health` and `/ready` alone are answered, with connections of its own; several
    /// are separated by commas. They stay on `server.listen_address` too. Empty = there alone.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "optional-listen-addresses"))]
    pub listen_address: Option<ListenAddresses>,
}

/// Discovery of projects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Discovery {
    /// Discovery interval.
    #[serde(with = "duration::text")]
    #[schemars(schema_with = "duration::text::schema")]
    pub interval: Duration,
    /// How long GitLab must return 404 for a project before it is removed with its series, so that a
    /// temporary outage or permission change removes nothing.
    #[serde(with = "duration::text")]
    #[schemars(schema_with = "duration::text::schema")]
    pub removal_grace: Duration,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            removal_grace: Duration::from_secs(300),
        }
    }
}

/// State that is kept over restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StateSettings {
    /// File that keeps counters over restarts, created if missing; empty = in memory only. Used by one
    /// exporter at a time.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub path: Option<PathBuf>,
    /// Accept state of a GitLab at another address, for a GitLab that has moved to `gitlab.url`.
    /// Otherwise such a file is rejected.
    pub accept_instance: bool,
}

/// Limits of the exported metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Telemetry {
    /// Maximum number of series per metric; more are dropped and counted in `age_series_overflow_total`.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub cardinality_limit: u32,
    /// How long a new counter or histogram is exported as 0, so that `increase()` sees its first event:
    /// at least twice the longest scrape or push interval. `auto` measures these intervals and uses 10
    /// seconds to 2 minutes; 2 minutes until scrapes are regular.
    #[serde(with = "duration::or_auto")]
    #[schemars(schema_with = "duration::or_auto::schema")]
    pub birth_window: Option<Duration>,
}

impl Telemetry {
    /// The birth window at its widest.
    pub const WIDEST: Duration = Duration::from_secs(120);

    /// How long a new counter or histogram is shown as 0 at most.
    pub fn widest_birth_window(&self) -> Duration {
        self.birth_window.unwrap_or(Self::WIDEST)
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            cardinality_limit: 200_000,
            birth_window: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalogue::Collector;
    use crate::config::tree::Origin;
    use crate::config::yaml;

    /// The settings of the plan with their defaults: the contract. There may be more besides them.
    const CONTRACT: &str = r#"
log: {level: info, format: text}
server:
  listen_address: ":8080"
  enable_pprof: false
  enable_poll: false
  webhook: {enabled: false, secret_token: ""}
redis: {url: "", pool_size: 10, min_idle_conns: 1}
gitlab:
  url: https://gitlab.com
  token: ""
  token_file: ""
  enable_tls_verify: true
  ca_cert_path: ""
  max_requests_per_second: 10.0
  burst_requests_per_second: 20
  max_requests_per_hour: 0
  max_concurrent_requests: 8
  max_server_share: 0.5
  use_graphql: true
  graphql_page_size: 100
  rest_page_size: 100
  instance_feed: auto
  tier: auto
  timeout: 35s
collectors:
  pipelines:
    enabled: true
    interval_seconds: 30
    include_child_pipelines: true
    histogram_buckets: [5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0]
    max_pipelines_per_ref: 10
  jobs:
    enabled: true
    interval_seconds: 30
    histogram_buckets: [5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]
    include_runner_details: true
  merge_requests:
    enabled: true
    interval_seconds: 120
    histogram_buckets: [3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172800.0, 604800.0]
  environments: {enabled: false, interval_seconds: 300, exclude_stopped: true}
  test_reports: {enabled: false, interval_seconds: 60, include_test_cases: false}
  dora: {enabled: true, interval_seconds: 3600, environment_tiers: [production, staging], source: auto}
  value_stream: {enabled: true, interval_seconds: 3600}
  code_review: {enabled: true, interval_seconds: 300}
  repository: {enabled: true, interval_seconds: 3600}
  contributors: {enabled: false, interval_seconds: 3600}
project_defaults:
  output_sparse_status_metrics: true
  states: {include_skipped: false, by_source: false}
  refs:
    branches:
      enabled: true
      regexp: ^(main|master|develop|release/.*)$
      most_recent: 0
      max_age_days: 0
      exclude_deleted: true
    tags: {enabled: true, regexp: ^v.*, most_recent: 10, max_age_days: 90, exclude_deleted: true}
    merge_requests:
      enabled: true
      states: [opened, merged]
      most_recent: 20
      max_age_days: 30
      count_ref: target_branch
  collectors:
    pipelines: {enabled: null, interval_seconds: null, include_child_pipelines: null}
    jobs: {enabled: null, interval_seconds: null}
    merge_requests: {enabled: null, interval_seconds: null}
    environments: {enabled: null, interval_seconds: null}
    test_reports: {enabled: null, interval_seconds: null}
    dora: {enabled: null, interval_seconds: null}
    value_stream: {enabled: null, interval_seconds: null}
    code_review: {enabled: null, interval_seconds: null}
    repository: {enabled: null, interval_seconds: null}
    contributors: {enabled: null, interval_seconds: null}
    schedules: {enabled: null, interval_seconds: null}
    runners: {enabled: null, interval_seconds: null}
    security: {enabled: null, interval_seconds: null}
    variables: {enabled: null, interval_seconds: null}
state: {path: ""}
otel:
  metrics:
    enabled: auto
    endpoint: null
    protocol: null
    headers: null
    interval: null
    timeout: null
    compression: null
    ca_cert_path: null
  traces:
    enabled: auto
    endpoint: null
    protocol: null
    headers: null
    timeout: null
    sample_ratio: null
    ca_cert_path: null
  logs: {enabled: false, endpoint: null, protocol: null, headers: null, timeout: null, ca_cert_path: null}
  resource_attributes: {}
telemetry: {cardinality_limit: 200000, birth_window: auto}
projects: []
wildcards: []
"#;

    #[test]
    fn the_contract_is_kept() {
        fn compare(path: &str, contract: &serde_json::Value, ours: &serde_json::Value) {
            match contract.as_object() {
                Some(keys) if !keys.is_empty() => {
                    for (key, value) in keys {
                        let path = format!("{path}.{key}");
                        compare(
                            &path,
                            value,
                            ours.get(key).unwrap_or_else(|| panic!("{path} is missing")),
                        );
                    }
                }
                _ => assert_eq!(ours, contract, "{path}"),
            }
        }
        let contract = yaml::parse(CONTRACT, |_| Origin::Default)
            .unwrap()
            .to_json();
        compare(
            "",
            &contract,
            &serde_json::to_value(Settings::default()).unwrap(),
        );
        // Entries have the keys of the plan's sample.
        let wildcard =
            "owner: {name: g, kind: group, include_subgroups: true}\nsearch: s\narchived: true";
        let wildcard = yaml::parse(wildcard, |_| Origin::Default)
            .unwrap()
            .to_json();
        let wildcard: Wildcard = serde_json::from_value(wildcard).unwrap();
        assert_eq!(wildcard.search.as_deref(), Some("s"));
    }

    #[test]
    fn collectors_and_their_overrides_have_the_keys_of_the_catalogue() {
        fn keys(section: impl Serialize) -> BTreeSet<String> {
            let section = serde_json::to_value(section).unwrap();
            section.as_object().unwrap().keys().cloned().collect()
        }
        let names = Collector::ALL.into_iter().map(Collector::as_str);
        let names: BTreeSet<String> = names
            // Switched by a key of pipelines.
            .filter(|name| *name != "child_pipelines")
            .map(str::to_owned)
            .collect();
        let mut collectors = keys(Collectors::default());
        assert!(collectors.remove("max_poll_interval"));
        assert_eq!(collectors, names);
        assert_eq!(keys(CollectorOverrides::default()), names);
        let settings = serde_json::to_value(Collectors::default()).unwrap();
        for name in names {
            let collector = Collector::ALL.into_iter().find(|one| one.as_str() == name);
            let interval = Collectors::default().interval(collector.unwrap());
            let seconds = interval.map(|interval| interval.as_secs());
            let section = &settings[&name];
            assert_eq!(section["enabled"], seconds.is_some(), "{name}");
            if seconds.is_some() {
                assert_eq!(section["interval_seconds"].as_u64(), seconds, "{name}");
            }
        }
    }

    #[test]
    fn fatal_and_panic_mean_error() {
        let level = |name: &str| {
            serde_json::from_value::<LogLevel>(name.into())
                .unwrap()
                .as_str()
        };
        assert_eq!(
            [
                level("fatal"),
                level("panic"),
                level("error"),
                level("warn")
            ],
            ["error", "error", "error", "warn"]
        );
    }

    #[test]
    fn merge_request_states_include_what_they_say() {
        let rule = |states: &[MergeRequestState]| MergeRequestRule {
            states: states.to_vec(),
            ..Default::default()
        };
        assert!(rule(&[MergeRequestState::All]).includes_state("locked"));
        let default = MergeRequestRule::default();
        assert!(default.includes_state("merged") && !default.includes_state("closed"));
        assert!(rule(&[MergeRequestState::Closed]).includes_state("closed"));
    }
}
