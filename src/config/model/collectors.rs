//! `collectors.*`: what is collected, and how often, everywhere and for some projects.
//!
//! A collector is declared here twice: its settings with [`collector!`], and its key in the list
//! of [`collectors!`]. Switches, intervals and the overrides of projects follow.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environments::{EnvironmentSelection, EnvironmentsOverride};
use crate::catalogue::Collector;
use crate::config::duration;
use crate::config::values::{Pattern, optional_text};

/// Declares the settings of a collector: its switch, its interval in seconds, and what else it has.
macro_rules! collector {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(#[$switch:meta])*
            enabled: $enabled:literal,
            $(#[$interval_meta:meta])*
            interval: $seconds:literal,
            $($(#[$field_meta:meta])* $field:ident: $kind:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct $name {
            $(#[$switch])*
            pub enabled: bool,
            /// Polling interval in seconds.
            $(#[$interval_meta])*
            #[serde(rename = "interval_seconds", with = "duration::seconds")]
            #[schemars(schema_with = "duration::seconds::schema")]
            pub interval: Duration,
            $($(#[$field_meta])* pub $field: $kind,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    enabled: $enabled,
                    interval: Duration::from_secs($seconds),
                    $($field: $default,)*
                }
            }
        }
    };
}

/// Makes the section `collectors` and its overrides of the list of keys. Each has the name that the
/// catalogue gives the collector, and its settings are called like the variant of [`Collector`].
macro_rules! collectors {
    ($($(#[$doc:meta])* $field:ident: $name:ident / $override:ident,)*) => {
        /// Collectors and their intervals.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct Collectors {
            $($(#[$doc])* pub $field: $name,)*
            /// Maximum polling interval of projects whose changes are reliably reported by webhooks or
            /// subscriptions: `server.webhook.poll_factor` times the interval, up to this. Polling finds changes
            /// that GitLab does not report.
            #[serde(with = "duration::text")]
            #[schemars(schema_with = "duration::text::schema")]
            pub max_poll_interval: Duration,
        }

        impl Default for Collectors {
            fn default() -> Self {
                Self {
                    $($field: $name::default(),)*
                    max_poll_interval: MAX_POLL_INTERVAL,
                }
            }
        }

        /// What is collected of some projects, and how often; what is not set is as under
        /// `collectors`.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        pub struct CollectorOverrides {
            $($(#[$doc])* pub $field: $override,)*
        }

        impl Collectors {
            /// How often a collector polls a project; none where it is off.
            pub fn interval(&self, collector: Collector) -> Option<Duration> {
                match collector {
                    $(Collector::$name => self.$field.enabled.then_some(self.$field.interval),)*
                    // They are read with pipelines.
                    Collector::ChildPipelines => self
                        .interval(Collector::Pipelines)
                        .filter(|_| self.pipelines.include_child_pipelines),
                    Collector::Exporter | Collector::Compat => None,
                }
            }

            /// The same settings with the switches and intervals of `overrides`.
            fn overridden(&self, overrides: &CollectorOverrides) -> Self {
                let mut all = self.clone();
                $(
                    let over = &overrides.$field;
                    all.$field.enabled = over.enabled.unwrap_or(all.$field.enabled);
                    all.$field.interval = over.interval.unwrap_or(all.$field.interval);
                )*
                if let Some(include) = overrides.pipelines.include_child_pipelines {
                    all.pipelines.include_child_pipelines = include;
                }
                let quiet = &mut all.pipelines.quiet_interval;
                let over = overrides.pipelines.quiet_interval;
                quiet.after_1h = over.after_1h.unwrap_or(quiet.after_1h);
                quiet.after_24h = over.after_24h.unwrap_or(quiet.after_24h);
                let over = &overrides.environments;
                let environments = &mut all.environments;
                if let Some(regexp) = &over.regexp {
                    environments.regexp = regexp.clone();
                }
                environments.exclude_stopped =
                    over.exclude_stopped.unwrap_or(environments.exclude_stopped);
                all
            }
        }
    };
}

collectors! {
    /// Pipelines, with child and multi-project pipelines.
    pipelines: Pipelines / PipelinesOverride,
    /// Jobs of pipelines.
    jobs: Jobs / CollectorOverride,
    /// Merge requests.
    merge_requests: MergeRequests / CollectorOverride,
    /// Environments and their deployments.
    environments: Environments / EnvironmentsOverride,
    /// Test reports of pipelines.
    test_reports: TestReports / CollectorOverride,
    /// The four DORA metrics.
    dora: Dora / CollectorOverride,
    /// Value stream analytics; lead and cycle time need GitLab Premium.
    value_stream: ValueStream / CollectorOverride,
    /// Reviews of merge requests, by reviewer. Read together with merge requests, at the shorter of the
    /// two intervals.
    code_review: CodeReview / CollectorOverride,
    /// Sizes and counts of repositories.
    repository: Repository / CollectorOverride,
    /// Commits by contributor.
    contributors: Contributors / CollectorOverride,
    /// Pipeline schedules: one request for up to 50 projects, and by REST one for each schedule.
    schedules: Schedules / CollectorOverride,
    /// Runners visible to the token.
    runners: Runners / CollectorOverride,
    /// Vulnerabilities; needs GitLab Ultimate.
    security: Security / CollectorOverride,
    /// Variables of pipelines. Their values become labels, visible to everyone with access to the
    /// metrics.
    variables: Variables / CollectorOverride,
}

impl Collectors {
    /// Every collector by its name with whether it is enabled. `child_pipelines` follows
    /// `pipelines.include_child_pipelines`.
    pub fn switches(&self) -> [(&'static str, bool); Collector::ALL.len()] {
        Collector::ALL.map(|collector| (collector.as_str(), self.interval(collector).is_some()))
    }
}

/// The switch and the interval of a collector for some projects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CollectorOverride {
    /// Enable the collector; unset = as under `collectors`.
    pub enabled: Option<bool>,
    /// Polling interval in seconds; unset = as under `collectors`.
    #[serde(rename = "interval_seconds", with = "duration::optional_seconds")]
    #[schemars(schema_with = "duration::optional_seconds::schema")]
    pub interval: Option<Duration>,
}

/// The switches and the interval of pipelines for some projects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PipelinesOverride {
    /// Enable the collector; unset = as under `collectors`.
    pub enabled: Option<bool>,
    /// Polling interval in seconds; unset = as under `collectors`.
    #[serde(rename = "interval_seconds", with = "duration::optional_seconds")]
    #[schemars(schema_with = "duration::optional_seconds::schema")]
    pub interval: Option<Duration>,
    /// Follow bridge jobs to downstream pipelines, which enables the collector `child_pipelines`; unset =
    /// as under `collectors`.
    pub include_child_pipelines: Option<bool>,
    /// Polling interval of quiet projects.
    pub quiet_interval: QuietIntervalOverride,
}

const HOUR: Duration = Duration::from_secs(3600);
/// Default of `collectors.max_poll_interval`.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(600);

/// Polling interval of quiet projects: those without pipeline changes for long. Most projects are quiet, and each
/// poll costs GitLab the same; only the first event after a quiet time is delayed. Their merge requests,
/// environments, repositories and so on are polled less often as well: after an hour at five times the
/// interval, at most hourly; after a day at six times the interval, between one and two hours; and at once
/// after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QuietInterval {
    /// After an hour without pipeline changes; 0 = as other projects.
    #[serde(with = "duration::or_zero")]
    #[schemars(schema_with = "duration::or_zero::schema")]
    pub after_1h: Duration,
    /// After a day without pipeline changes; 0 = as after an hour.
    #[serde(with = "duration::or_zero")]
    #[schemars(schema_with = "duration::or_zero::schema")]
    pub after_24h: Duration,
}

impl Default for QuietInterval {
    fn default() -> Self {
        Self {
            after_1h: Duration::from_secs(120),
            after_24h: Duration::from_secs(300),
        }
    }
}

impl QuietInterval {
    /// The interval of a project in which nothing has moved for `quiet`.
    #[must_use]
    pub fn of(self, interval: Duration, quiet: Duration) -> Duration {
        let of = |least: Duration, longer: Duration| match quiet >= least {
            true => longer,
            false => Duration::ZERO,
        };
        interval
            .max(of(HOUR, self.after_1h))
            .max(of(24 * HOUR, self.after_24h))
    }
}

impl QuietInterval {
    /// The same where GitLab says when a job begins in it: what is left to find are pipelines without jobs.
    #[must_use]
    pub fn announced(self, interval: Duration, quiet: Duration) -> Duration {
        let usual = self.of(interval, quiet);
        if self.after_24h.is_zero() || quiet < HOUR {
            usual
        } else if quiet < 24 * HOUR {
            usual.max(self.after_24h)
        } else {
            usual.max(HOUR)
        }
    }

    /// The interval at which what follows pipelines and pushes is polled there: merge requests,
    /// environments, repositories and the like.
    #[must_use]
    pub fn of_others(self, interval: Duration, quiet: Duration) -> Duration {
        let longer = |longer: Duration, switch: Duration| match switch.is_zero() {
            true => interval,
            false => longer,
        };
        let after_1h = longer((5 * interval).min(HOUR), self.after_1h);
        // An alert says after three hours that a collector stands still.
        let after_24h = longer((6 * interval).clamp(HOUR, 2 * HOUR), self.after_24h);
        if quiet >= 24 * HOUR {
            interval.max(after_1h).max(after_24h)
        } else if quiet >= HOUR {
            interval.max(after_1h)
        } else {
            interval
        }
    }
}

/// The same for some projects; what is not set is as under `collectors`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QuietIntervalOverride {
    /// After an hour without pipeline changes; 0 = as other projects.
    #[serde(with = "duration::optional_or_zero")]
    #[schemars(schema_with = "duration::optional_or_zero::schema")]
    pub after_1h: Option<Duration>,
    /// After a day without pipeline changes; 0 = as after an hour.
    #[serde(with = "duration::optional_or_zero")]
    #[schemars(schema_with = "duration::optional_or_zero::schema")]
    pub after_24h: Option<Duration>,
}

/// How often each collector polls a project, none where it is off, how often pipelines of a quiet one, and which
/// environments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resolved {
    of: [Option<Duration>; Collector::ALL.len()],
    quiet: QuietInterval,
    environments: EnvironmentSelection,
}

impl Resolved {
    /// Those of the settings with what `overrides` changes.
    pub(super) fn new(collectors: &Collectors, overrides: &CollectorOverrides) -> Self {
        let collectors = collectors.overridden(overrides);
        Self {
            of: Collector::ALL.map(|collector| collectors.interval(collector)),
            quiet: collectors.pipelines.quiet_interval,
            environments: EnvironmentSelection {
                regexp: collectors.environments.regexp,
                exclude_stopped: collectors.environments.exclude_stopped,
            },
        }
    }

    pub(super) fn get(&self, collector: Collector) -> Option<Duration> {
        self.of.get(collector as usize).copied().flatten()
    }

    pub(super) fn quiet(&self) -> QuietInterval {
        self.quiet
    }

    pub(super) fn environments(&self) -> &EnvironmentSelection {
        &self.environments
    }
}

impl Default for Resolved {
    fn default() -> Self {
        Self::new(&Collectors::default(), &CollectorOverrides::default())
    }
}

collector! {
    /// Pipelines, with child and multi-project pipelines.
    Pipelines {
        /// Collect pipelines.
        enabled: true,
        /// Applies to active projects; quiet ones are polled at `quiet_interval`. Changes between two
        /// polls count once: several ends of the same pipeline are one, and a pipeline that is created
        /// and deleted in between is missed.
        interval: 30,
        /// Polling interval of projects without pipeline changes, if longer than the interval.
        quiet_interval: QuietInterval = QuietInterval::default(),
        /// Follow bridge jobs to downstream pipelines, at any depth and across projects.
        include_child_pipelines: bool = true,
        /// Bucket bounds of the pipeline histograms, in seconds.
        #[schemars(extend("format" = "histogram-buckets"))]
        histogram_buckets: Vec<f64> =
            vec![5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0],
        /// Number of newest pipelines per ref that keep a state; counters and histograms include all
        /// pipelines.
        #[schemars(range(min = 1, max = 10_000))]
        max_pipelines_per_ref: u32 = 10,
    }
}

collector! {
    /// Jobs of pipelines.
    Jobs {
        /// Collect jobs.
        enabled: true,
        interval: 30,
        /// Bucket bounds of the job histograms, in seconds.
        #[schemars(extend("format" = "histogram-buckets"))]
        histogram_buckets: Vec<f64> = vec![5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0],
        /// Distinguish instance, group and project runners; `false` sets every runner type to `unknown`.
        include_runner_details: bool = true,
        /// Regular expression for the descriptions of runners to export in `age_job_runner_info`: what it matches is
        /// the label `runner_description`, so that `^shared` has one value for all shared runners and `.*` exports
        /// descriptions as they are; empty = none. The token needs the role Maintainer to see project and group
        /// runners.
        #[serde(with = "optional_text")]
        #[schemars(with = "Pattern")]
        runner_description_regexp: Option<Pattern> = None,
        /// Regular expression for the tags of jobs to export in the label `tags` of `age_job_runner_info`; empty =
        /// none. Tags are read once for each job, a database query in GitLab.
        #[serde(with = "optional_text")]
        #[schemars(with = "Pattern")]
        tags_regexp: Option<Pattern> = None,
    }
}

collector! {
    /// Merge requests.
    MergeRequests {
        /// Collect merge requests.
        enabled: true,
        interval: 120,
        /// Bucket bounds of the merge request times, in seconds.
        #[schemars(extend("format" = "histogram-buckets"))]
        histogram_buckets: Vec<f64> = vec![
            3600.0, 7200.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0, 604_800.0,
        ],
    }
}

/// The expression that every name matches.
fn any() -> Pattern {
    #[expect(
        clippy::unwrap_used,
        reason = "a constant expression that a test compiles"
    )]
    ".*".parse().unwrap()
}

collector! {
    /// Environments and their deployments.
    Environments {
        /// Collect environments; read after pipeline activity, and hourly for projects with environments.
        enabled: false,
        interval: 300,
        /// Regular expression that the name must match, such as `^(production|staging)$`.
        regexp: Pattern = any(),
        /// Exclude stopped environments.
        exclude_stopped: bool = true,
    }
}

collector! {
    /// Test reports of pipelines.
    TestReports {
        /// Collect test reports.
        enabled: false,
        interval: 60,
        /// Export every test case; creates many series.
        include_test_cases: bool = false,
    }
}

collector! {
    /// The four DORA metrics.
    Dora {
        /// Collect DORA metrics.
        enabled: true,
        interval: 3600,
        /// Environment tiers whose deployments are counted.
        #[schemars(length(min = 1))]
        environment_tiers: Vec<EnvironmentTier> =
            vec![EnvironmentTier::Production, EnvironmentTier::Staging],
        /// Source of the values.
        source: DoraSource = DoraSource::Auto,
    }
}

/// The tier of an environment in GitLab.
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
    /// GitLab's values if available, otherwise computed.
    #[default]
    Auto,
    /// GitLab's values only; needs GitLab Ultimate.
    Gitlab,
    /// Computed from deployments and merge requests everywhere.
    Computed,
}

collector! {
    /// Value stream analytics.
    ValueStream {
        /// Collect value stream analytics.
        enabled: true,
        interval: 3600,
    }
}

collector! {
    /// Reviews of merge requests, by reviewer.
    CodeReview {
        /// Collect reviews.
        enabled: true,
        interval: 300,
    }
}

collector! {
    /// Sizes and counts of repositories.
    Repository {
        /// Collect repositories.
        enabled: true,
        interval: 3600,
        /// Export the project's topics in the label `topics` of `age_repository_info`, separated by commas.
        include_topics: bool = false,
    }
}

collector! {
    /// Commits by contributor.
    Contributors {
        /// Collect contributors.
        enabled: false,
        interval: 3600,
    }
}

collector! {
    /// Pipeline schedules.
    Schedules {
        /// Collect pipeline schedules.
        enabled: false,
        interval: 300,
    }
}

collector! {
    /// Runners visible to the token.
    Runners {
        /// Collect runners.
        enabled: false,
        interval: 300,
    }
}

collector! {
    /// Vulnerabilities.
    Security {
        /// Collect vulnerabilities.
        enabled: false,
        interval: 3600,
    }
}

collector! {
    /// Variables of pipelines.
    Variables {
        /// Collect pipeline variables.
        enabled: false,
        interval: 60,
        /// Regular expression for the keys of variables to export, such as `^DEPLOY_`. Required, without
        /// default: match only non-secret keys.
        #[serde(with = "optional_text")]
        #[schemars(with = "Pattern")]
        regexp: Option<Pattern> = None,
    }
}
