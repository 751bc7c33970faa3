//! Settings of the GitLab connection.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use super::subscriptions::Subscriptions;
use crate::config::duration;
use crate::config::values::{Secret, optional_text};

/// The GitLab connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GitLab {
    /// Address of the GitLab instance, without `/api/v4`.
    #[serde(serialize_with = "without_last_slash")]
    #[schemars(with = "String", extend("format" = "gitlab-url"))]
    pub url: Url,
    /// Personal, group or project access token with the scope `read_api`; preferably set by the variable
    /// `AGE_GITLAB_TOKEN`.
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    pub token: Option<Secret>,
    /// File that contains the token, instead of `token`; reloaded when it changes.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub token_file: Option<PathBuf>,
    /// Verify GitLab's TLS certificate.
    pub enable_tls_verify: bool,
    /// PEM file with certificates to trust besides those of the system: of your own certificate
    /// authority, or the self-signed certificate of GitLab itself.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "ca-file"))]
    pub ca_cert_path: Option<PathBuf>,
    /// PEM file with a client certificate, for an access proxy that asks for one; reloaded when it changes.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub client_cert_path: Option<PathBuf>,
    /// PEM file with the private key of the client certificate; empty = in the same file.
    #[serde(with = "optional_text")]
    #[schemars(with = "String", extend("format" = "path"))]
    pub client_key_path: Option<PathBuf>,
    /// Further headers of each request, for an access proxy, such as
    /// `{CF-Access-Client-Id: …, CF-Access-Client-Secret: …}`. Their values are secrets.
    #[schemars(extend("format" = "headers"))]
    pub headers: BTreeMap<String, Secret>,
    /// Timeout of one request. GitLab itself times out after 30 seconds and returns a partial response:
    /// the 5 extra seconds let it arrive.
    #[serde(with = "duration::text")]
    #[schemars(schema_with = "duration::text::schema")]
    pub timeout: Duration,
    /// Average rate limit, in requests per second.
    #[schemars(range(min = 0.001, max = 100_000))]
    pub max_requests_per_second: f64,
    /// Requests that may exceed the rate in a burst.
    #[schemars(range(min = 1, max = 100_000))]
    pub burst_requests_per_second: u32,
    /// Maximum number of requests per hour; 0 = follow GitLab's RateLimit headers.
    #[schemars(range(max = 1_000_000_000))]
    pub max_requests_per_hour: u32,
    /// Maximum number of concurrent requests; GraphQL queries and long lists count as two. The exporter
    /// starts with 2, increases the number while response times hold, and halves it when GitLab slows
    /// down.
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_requests: u32,
    /// Average number of GitLab workers that first reads and history may keep busy, by the time that
    /// GitLab reports (`X-Runtime`), with bursts of up to two minutes. Current data is not limited. 0 =
    /// no limit.
    #[schemars(range(min = 0, max = 1000))]
    pub max_server_share: f64,
    /// Read many projects with one GraphQL query; `false` uses REST only.
    pub use_graphql: bool,
    /// Items per GraphQL page.
    #[schemars(range(min = 1, max = 100))]
    pub graphql_page_size: u32,
    /// Items per REST page.
    #[schemars(range(min = 1, max = 100))]
    pub rest_page_size: u32,
    /// With an administrator's token, detect new jobs by one list of the whole instance. Projects without
    /// new jobs are then polled hourly, or every `after_24h` of `quiet_interval` if a pipeline changed
    /// within a day.
    pub instance_feed: InstanceFeedSetting,
    /// GitLab's own GraphQL subscriptions.
    pub subscriptions: Subscriptions,
    /// The tier to assume.
    pub tier: TierSetting,
}

impl Default for GitLab {
    fn default() -> Self {
        Self {
            url: gitlab_com(),
            token: None,
            token_file: None,
            enable_tls_verify: true,
            ca_cert_path: None,
            client_cert_path: None,
            client_key_path: None,
            headers: BTreeMap::new(),
            timeout: Duration::from_secs(35),
            max_requests_per_second: 10.0,
            burst_requests_per_second: 20,
            max_requests_per_hour: 0,
            max_concurrent_requests: 8,
            max_server_share: 0.5,
            use_graphql: true,
            graphql_page_size: 100,
            rest_page_size: 100,
            instance_feed: InstanceFeedSetting::Auto,
            subscriptions: Subscriptions::default(),
            tier: TierSetting::Auto,
        }
    }
}

fn without_last_slash<S: Serializer>(url: &Url, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(url.as_str().trim_end_matches('/'))
}

fn gitlab_com() -> Url {
    #[expect(clippy::unwrap_used, reason = "a constant URL that a test parses")]
    Url::parse("https://gitlab.com").unwrap()
}

/// Whether the jobs of the whole instance are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceFeedSetting {
    /// If the token is an administrator's.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// The GitLab tier to assume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TierSetting {
    /// Detect it for each project.
    #[default]
    Auto,
    /// Neither Premium nor Ultimate features.
    Free,
    /// Premium features.
    Premium,
    /// Premium and Ultimate features.
    Ultimate,
}
