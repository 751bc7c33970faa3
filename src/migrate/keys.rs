//! The settings of gitlab-ci-pipelines-exporter v0.5 and v0.6, with the names of both, and those of
//! earlier versions that both ignore.

use super::OLD;

/// The type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Whole,
    Text,
    /// Text that is never copied.
    Secret,
}

impl Type {
    /// What is expected, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Whole => "a whole number",
            Self::Text | Self::Secret => "text",
        }
    }
}

use Type::{Bool, Secret, Text, Whole};

/// Settings outside projects.
pub(super) const GLOBAL: &[(&str, Type)] = &[
    ("log.level", Text),
    ("log.format", Text),
    ("opentelemetry.grpc_endpoint", Text),
    ("otlp.grpc_endpoint", Text),
    ("server.enable_pprof", Bool),
    ("server.listen_address", Text),
    ("server.metrics.enabled", Bool),
    ("server.metrics.enable_openmetrics_encoding", Bool),
    ("server.webhook.enabled", Bool),
    ("server.webhook.secret_token", Secret),
    ("gitlab.url", Text),
    ("gitlab.token", Secret),
    ("gitlab.health_url", Text),
    ("gitlab.enable_health_check", Bool),
    ("gitlab.enable_tls_verify", Bool),
    ("gitlab.maximum_requests_per_second", Whole),
    ("gitlab.burstable_requests_per_second", Whole),
    ("gitlab.maximum_jobs_queue_size", Whole),
    ("redis.url", Secret),
    ("redis.project_ttl", Text),
    ("redis.ref_ttl", Text),
    ("redis.metric_ttl", Text),
    ("pull.projects_from_wildcards.on_init", Bool),
    ("pull.projects_from_wildcards.scheduled", Bool),
    ("pull.projects_from_wildcards.interval_seconds", Whole),
    ("pull.environments_from_projects.on_init", Bool),
    ("pull.environments_from_projects.scheduled", Bool),
    ("pull.environments_from_projects.interval_seconds", Whole),
    ("pull.refs_from_projects.on_init", Bool),
    ("pull.refs_from_projects.scheduled", Bool),
    ("pull.refs_from_projects.interval_seconds", Whole),
    ("pull.metrics.on_init", Bool),
    ("pull.metrics.scheduled", Bool),
    ("pull.metrics.interval_seconds", Whole),
    ("garbage_collect.projects.on_init", Bool),
    ("garbage_collect.projects.scheduled", Bool),
    ("garbage_collect.projects.interval_seconds", Whole),
    ("garbage_collect.environments.on_init", Bool),
    ("garbage_collect.environments.scheduled", Bool),
    ("garbage_collect.environments.interval_seconds", Whole),
    ("garbage_collect.refs.on_init", Bool),
    ("garbage_collect.refs.scheduled", Bool),
    ("garbage_collect.refs.interval_seconds", Whole),
    ("garbage_collect.metrics.on_init", Bool),
    ("garbage_collect.metrics.scheduled", Bool),
    ("garbage_collect.metrics.interval_seconds", Whole),
];

/// Settings of `project_defaults`, and of each project and wildcard.
pub(super) const PROJECT: &[(&str, Type)] = &[
    ("output_sparse_status_metrics", Bool),
    ("pull.environments.enabled", Bool),
    ("pull.environments.regexp", Text),
    ("pull.environments.exclude_stopped", Bool),
    ("pull.refs.branches.enabled", Bool),
    ("pull.refs.branches.regexp", Text),
    ("pull.refs.branches.most_recent", Whole),
    ("pull.refs.branches.max_age_seconds", Whole),
    ("pull.refs.branches.exclude_deleted", Bool),
    ("pull.refs.tags.enabled", Bool),
    ("pull.refs.tags.regexp", Text),
    ("pull.refs.tags.most_recent", Whole),
    ("pull.refs.tags.max_age_seconds", Whole),
    ("pull.refs.tags.exclude_deleted", Bool),
    ("pull.refs.merge_requests.enabled", Bool),
    ("pull.refs.merge_requests.regexp", Text),
    ("pull.refs.merge_requests.most_recent", Whole),
    ("pull.refs.merge_requests.max_age_seconds", Whole),
    ("pull.refs.merge_requests.exclude_non_opened", Bool),
    ("pull.pipeline.per_ref", Whole),
    ("pull.pipeline.jobs.enabled", Bool),
    ("pull.pipeline.jobs.from_child_pipelines.enabled", Bool),
    ("pull.pipeline.jobs.runner_description.enabled", Bool),
    (
        "pull.pipeline.jobs.runner_description.aggregation_regexp",
        Text,
    ),
    ("pull.pipeline.variables.enabled", Bool),
    ("pull.pipeline.variables.regexp", Text),
    ("pull.pipeline.test_reports.enabled", Bool),
    (
        "pull.pipeline.test_reports.from_child_pipelines.enabled",
        Bool,
    ),
    ("pull.pipeline.test_reports.test_cases.enabled", Bool),
];

/// Further settings of an entry of `projects`.
pub(super) const PROJECT_ENTRY: &[(&str, Type)] = &[("name", Text)];

/// Further settings of an entry of `wildcards`.
pub(super) const WILDCARD_ENTRY: &[(&str, Type)] = &[
    ("search", Text),
    ("archived", Bool),
    ("owner.name", Text),
    ("owner.kind", Text),
    ("owner.include_subgroups", Bool),
];

/// Settings before v0.5, which v0.5 and v0.6 ignore, by their end, and what is to be done now.
const BEFORE_V05: &[(&str, &str)] = &[
    (
        "pull.maximum_gitlab_api_requests_per_second",
        "set gitlab.max_requests_per_second",
    ),
    (
        "pull.environments.name_regexp",
        "not needed: every environment is collected",
    ),
    (
        "pull.environments.tags_regexp",
        "not needed: every environment is collected",
    ),
    (
        "pull.refs.regexp",
        "set refs.branches.regexp and refs.tags.regexp",
    ),
    ("pull.refs.max_age_seconds", "set max_age_days under refs"),
    (
        "pull.refs.from.pipelines.enabled",
        "set refs.branches.enabled and refs.tags.enabled",
    ),
    (
        "pull.refs.from.pipelines.depth",
        "set most_recent under refs",
    ),
    (
        "pull.refs.from.merge_requests.enabled",
        "set refs.merge_requests.enabled",
    ),
    (
        "pull.refs.from.merge_requests.depth",
        "set refs.merge_requests.most_recent",
    ),
    (
        "disable_openmetrics_encoding",
        "not needed: the format is negotiated with each scrape",
    ),
    ("enable_pprof", "not needed: use an external profiler"),
    ("listen_address", "set server.listen_address"),
];

/// Why a setting that is none of v0.5 and v0.6 is not taken over.
pub(super) fn unknown(path: &str) -> String {
    let old = BEFORE_V05.iter().find(|(old, _)| {
        let rest = path.strip_suffix(old);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    match old {
        Some((_, now)) => format!("{OLD} ignores it since v0.5; {now}"),
        None => format!("no setting of {OLD} v0.5 or v0.6, which ignore it as well"),
    }
}

/// Every setting of the old program: `log.level`, `project_defaults.pull.refs.tags.regexp`, sections
/// included.
#[must_use]
pub fn old_settings() -> Vec<String> {
    let projects = PROJECT.iter().flat_map(|(path, _)| {
        let path = *path;
        ["project_defaults.", "projects[].", "wildcards[].", ""]
            .map(|place| format!("{place}{path}"))
    });
    let of_entries = |place: &'static str, keys: &'static [(&'static str, Type)]| {
        keys.iter().map(move |(path, _)| format!("{place}.{path}"))
    };
    let global = GLOBAL.iter().map(|(path, _)| (*path).to_owned());
    let mut all: Vec<String> = global
        .chain(projects)
        .chain(of_entries("projects[]", PROJECT_ENTRY))
        .chain(of_entries("wildcards[]", WILDCARD_ENTRY))
        .collect();
    let sections: Vec<String> = all
        .iter()
        .flat_map(|path| {
            path.match_indices('.')
                .map(|(end, _)| path[..end].to_owned())
        })
        .collect();
    all.extend(sections);
    all.sort();
    all.dedup();
    all
}

/// Whether this is a setting of the old program.
#[must_use]
pub fn is_old_setting(path: &str) -> bool {
    old_settings().iter().any(|known| known == path)
}
