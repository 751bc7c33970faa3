//! `collectors.*`: what is collected, and how often.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::duration;
use crate::config::values::{Pattern, optional_text};

/// What is collected, and how often.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Collectors {
    /// Pipelines, and the child and multi-project pipelines they start.
    pub pipelines: Pipelines,
    /// Jobs of pipelines.
    pub jobs: Jobs,
    /// Merge requests.
    pub merge_requests: MergeRequests,
    /// Environments and their deployments.
    pub environments: Environments,
    /// Test reports of pipelines.
    pub test_reports: TestReports,
    /// The four DORA metrics.
    pub dora: Dora,
    /// Value stream analytics; needs GitLab Premium.
    pub value_stream: ValueStream,
    /// Reviews of merge requests, by reviewer.
    pub code_review: CodeReview,
    /// Sizes and counts of repositories.
    pub repository: Repository,
    /// Commits by contributor.
    pub contributors: Contributors,
    /// Pipeline schedules: one request for up to 50 projects, and by REST one for each schedule.
    pub schedules: Schedules,
    /// Runners that the token can see.
    pub runners: Runners,
    /// Vulnerabilities; needs GitLab Ultimate.
    pub security: Security,
    /// Variables of pipelines. Their values become labels that everybody who reads the metrics can
    /// see.
    pub variables: Variables,
}

impl Collectors {
    /// Every collector by its name with whether it is asked for. `child_pipelines` follows
    /// `pipelines.include_child_pipelines`.
    pub fn switches(&self) -> [(&'static str, bool); 15] {
        let children = self.pipelines.enabled && self.pipelines.include_child_pipelines;
        [
            ("pipelines", self.pipelines.enabled),
            ("child_pipelines", children),
            ("jobs", self.jobs.enabled),
            ("merge_requests", self.merge_requests.enabled),
            ("environments", self.environments.enabled),
            ("test_reports", self.test_reports.enabled),
            ("dora", self.dora.enabled),
            ("value_stream", self.value_stream.enabled),
            ("code_review", self.code_review.enabled),
            ("repository", self.repository.enabled),
            ("contributors", self.contributors.enabled),
            ("schedules", self.schedules.enabled),
            ("runners", self.runners.enabled),
            ("security", self.security.enabled),
            ("variables", self.variables.enabled),
        ]
    }
}

/// Pipelines, and the child and multi-project pipelines they start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Pipelines {
    /// Collect pipelines.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
    /// Follow bridge jobs to the pipelines they start, to any depth and across projects.
    pub include_child_pipelines: bool,
    /// Bucket bounds of the pipeline histograms, in seconds.
    #[schemars(extend("format" = "histogram-buckets"))]
    pub histogram_buckets: Vec<f64>,
    /// Newest pipelines per ref that keep a state; counters and histograms count them all.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_pipelines_per_ref: u32,
}

impl Default for Pipelines {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(30),
            include_child_pipelines: true,
            histogram_buckets: vec![5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0],
            max_pipelines_per_ref: 10,
        }
    }
}

/// Jobs of pipelines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Jobs {
    /// Collect jobs.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
    /// Bucket bounds of the job histograms, in seconds.
    #[schemars(extend("format" = "histogram-buckets"))]
    pub histogram_buckets: Vec<f64>,
    /// Tell instance, group and project runners apart; `false` makes every runner type `unknown`.
    pub include_runner_details: bool,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(30),
            histogram_buckets: vec![5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0],
            include_runner_details: true,
        }
    }
}

/// Merge requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MergeRequests {
    /// Collect merge requests.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
    /// Bucket bounds of the merge request times, in seconds.
    #[schemars(extend("format" = "histogram-buckets"))]
    pub histogram_buckets: Vec<f64>,
}

impl Default for MergeRequests {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(120),
            histogram_buckets: vec![
                3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172_800.0, 604_800.0,
            ],
        }
    }
}

/// Environments and their deployments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Environments {
    /// Collect environments; costs one request per project and interval.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
    /// Leave out environments that were stopped.
    pub exclude_stopped: bool,
}

impl Default for Environments {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(300),
            exclude_stopped: true,
        }
    }
}

/// Test reports of pipelines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TestReports {
    /// Collect test reports.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
    /// Also export every test case by itself: many series.
    pub include_test_cases: bool,
}

impl Default for TestReports {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(60),
            include_test_cases: false,
        }
    }
}

/// The four DORA metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dora {
    /// Collect DORA metrics.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
    /// Tiers of the environments whose deployments count.
    #[schemars(length(min = 1))]
    pub environment_tiers: Vec<EnvironmentTier>,
    /// Where the values come from.
    pub source: DoraSource,
}

impl Default for Dora {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(3600),
            environment_tiers: vec![EnvironmentTier::Production, EnvironmentTier::Staging],
            source: DoraSource::Auto,
        }
    }
}

/// The tier of an environment, as GitLab says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EnvironmentTier {
    /// What users use.
    Production,
    /// What is shown before production.
    Staging,
    /// What tests run on.
    Testing,
    /// What developers use.
    Development,
    /// Everything else.
    Other,
}

impl EnvironmentTier {
    /// GitLab's lower-case name of the tier.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Testing => "testing",
            Self::Development => "development",
            Self::Other => "other",
        }
    }
}

/// Where DORA values come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DoraSource {
    /// GitLab's values where it gives them, computed ones elsewhere.
    #[default]
    Auto,
    /// GitLab's values only; needs GitLab Ultimate.
    Gitlab,
    /// Computed from deployments and merge requests everywhere.
    Computed,
}

/// Value stream analytics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ValueStream {
    /// Collect value stream analytics.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
}

impl Default for ValueStream {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(3600),
        }
    }
}

/// Reviews of merge requests, by reviewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CodeReview {
    /// Collect reviews.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
}

impl Default for CodeReview {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(300),
        }
    }
}

/// Sizes and counts of repositories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Repository {
    /// Collect repositories.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
}

impl Default for Repository {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(3600),
        }
    }
}

/// Commits by contributor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Contributors {
    /// Collect contributors.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
}

impl Default for Contributors {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(3600),
        }
    }
}

/// Pipeline schedules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Schedules {
    /// Collect pipeline schedules.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
}

impl Default for Schedules {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(300),
        }
    }
}

/// Runners that the token can see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Runners {
    /// Collect runners.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
}

impl Default for Runners {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(300),
        }
    }
}

/// Vulnerabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Security {
    /// Collect vulnerabilities.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(3600),
        }
    }
}

/// Variables of pipelines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Variables {
    /// Collect pipeline variables.
    pub enabled: bool,
    /// Seconds between two looks.
    #[serde(rename = "interval_seconds", with = "duration::seconds")]
    #[schemars(schema_with = "duration::seconds::schema")]
    pub interval: Duration,
    /// Keys of the variables to export, such as `^DEPLOY_`. There is no default: name only what is
    /// no secret.
    #[serde(with = "optional_text")]
    #[schemars(with = "Pattern")]
    pub regexp: Option<Pattern>,
}

impl Default for Variables {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(60),
            regexp: None,
        }
    }
}
