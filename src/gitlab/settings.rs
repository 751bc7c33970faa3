//! What the client needs to know before the first call.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::cable::CablePatience;
use super::limiter::Budget;
use crate::tls::IdentityError;

/// Where the access token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// The token itself.
    Secret(SecretString),
    /// A file that holds the token; read again when it changes and when GitLab refuses the token.
    File(PathBuf),
}

/// When and how often a failed call is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Tries after the first one.
    pub max_retries: usize,
    /// Pause before the first retry; it doubles, with jitter.
    pub min_delay: Duration,
    /// Longest pause between two tries.
    pub max_delay: Duration,
    /// No retry is started once tries and pauses (not waiting for the limiter) took this long.
    pub total: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 4,
            min_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(20),
            total: Duration::from_secs(90),
        }
    }
}

/// Settings of the client, in the terms of the configuration's section `gitlab`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Root of the GitLab instance, with its relative URL path where it has one.
    pub url: Url,
    /// The access token.
    pub token: TokenSource,
    /// Whether certificates are checked.
    pub enable_tls_verify: bool,
    /// PEM file with certificates to trust besides the platform's own.
    pub ca_cert_path: Option<PathBuf>,
    /// PEM file with the certificate to show to servers that ask for one.
    pub client_cert_path: Option<PathBuf>,
    /// PEM file with its private key, where that is not in the same file.
    pub client_key_path: Option<PathBuf>,
    /// Headers of each request besides the client's own.
    pub headers: BTreeMap<String, SecretString>,
    /// Longest time one HTTP exchange may take.
    pub timeout: Duration,
    /// Calls per second in the long run.
    pub max_requests_per_second: f64,
    /// Calls that may go out at once after a pause.
    pub burst: u32,
    /// Calls in any hour; 0 leaves it to GitLab's headers.
    pub max_requests_per_hour: u32,
    /// Most calls under way at once; GraphQL queries and long lists count twice.
    pub max_concurrent_requests: u32,
    /// Seconds per second that GitLab may work for backfill; 0 sets no limit.
    pub max_server_share: f64,
    /// Whether GraphQL is used at all.
    pub use_graphql: bool,
    /// Items per page of a GraphQL connection, 1 to 100.
    pub graphql_page_size: u32,
    /// Items per page of a REST list, 1 to 100.
    pub rest_page_size: u32,
    /// What is read of jobs besides.
    pub job_fields: JobFields,
    /// Value of the header `User-Agent`.
    pub user_agent: String,
    /// Retries.
    pub retry: RetryPolicy,
    /// How long GitLab is waited for on a connection for subscriptions.
    pub cable: CablePatience,
}

/// What is read of jobs where somebody wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobFields {
    /// The descriptions of their runners.
    pub runners: bool,
    /// Their tags, which cost GitLab a query for each job; read when a job is new.
    pub tags: bool,
}

impl Settings {
    /// The defaults of the configuration, for one instance and token.
    #[must_use]
    pub fn new(url: Url, token: TokenSource) -> Self {
        Self {
            url,
            token,
            enable_tls_verify: true,
            ca_cert_path: None,
            client_cert_path: None,
            client_key_path: None,
            headers: BTreeMap::new(),
            // GitLab itself gives up after 30 seconds: its own answer says more than ours would, and has
            // what it read until then.
            timeout: Duration::from_secs(35),
            max_requests_per_second: 10.0,
            burst: 20,
            max_requests_per_hour: 0,
            max_concurrent_requests: 8,
            max_server_share: 0.5,
            use_graphql: true,
            graphql_page_size: 100,
            rest_page_size: 100,
            job_fields: JobFields::default(),
            user_agent: concat!("amazing-gitlab-exporter/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            cable: CablePatience::default(),
        }
    }

    /// How many calls they allow.
    #[must_use]
    pub const fn budget(&self) -> Budget {
        Budget {
            per_second: self.max_requests_per_second,
            burst: self.burst,
            per_hour: self.max_requests_per_hour,
            at_once: self.max_concurrent_requests,
            server_share: self.max_server_share,
        }
    }
}

/// Why no client can be built from these settings.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address cannot be that of a GitLab instance.
    #[error("gitlab.url `{url}`: {why}")]
    Url {
        /// The address without user name, password and query.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The certificate file cannot be used.
    #[error("gitlab.ca_cert_path `{}`: {why}", path.display())]
    CaCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The client certificate cannot be used.
    #[error("gitlab.client_cert_path `{}`: {why}", path.display())]
    ClientCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: IdentityError,
    },
    /// A header cannot be sent.
    #[error("gitlab.headers: `{0}` and its value are no HTTP header")]
    Header(String),
    /// The token cannot be used.
    #[error("{0}")]
    Token(String),
    /// The limits are invalid.
    #[error("{0}")]
    Limits(&'static str),
    /// The TLS or HTTP library refused.
    #[error("cannot set up HTTP for GitLab: {0}")]
    Http(String),
}
