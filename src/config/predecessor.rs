//! Files of gitlab-ci-pipelines-exporter, which people try as they are: such a file is recognized, so that
//! one sentence says what it is instead of one for each of its settings.

use super::tree::{Data, Node};

/// Settings that only gitlab-ci-pipelines-exporter has, sections included.
const ONLY_THERE: &[&str] = &[
    "pull",
    "garbage_collect",
    "opentelemetry",
    "otlp",
    "project_defaults.pull",
    "server.metrics",
    "gitlab.health_url",
    "gitlab.enable_health_check",
    "gitlab.maximum_requests_per_second",
    "gitlab.burstable_requests_per_second",
    "gitlab.maximum_jobs_queue_size",
    "redis.project_ttl",
    "redis.ref_ttl",
    "redis.metric_ttl",
];

/// Settings that only this program has.
const ONLY_HERE: &[&str] = &[
    "collectors",
    "compat",
    "discovery",
    "labels",
    "otel",
    "state",
    "telemetry",
    "project_defaults.refs",
    "project_defaults.collectors",
    "gitlab.token_file",
    "gitlab.max_requests_per_second",
    "gitlab.use_graphql",
];

/// The settings of `tree` that only gitlab-ci-pipelines-exporter has.
pub(crate) fn predecessors_settings(tree: &Node) -> Vec<&'static str> {
    let mut found = present(tree, ONLY_THERE);
    for list in ["projects", "wildcards"] {
        let entries = match tree.get(list).map(|list| &list.data) {
            Some(Data::List(entries)) => entries.as_slice(),
            _ => &[],
        };
        if entries.iter().any(|entry| entry.get("pull").is_some()) {
            found.push("pull");
        }
    }
    found
}

/// The settings of `tree` that only this program has.
pub(crate) fn own_settings(tree: &Node) -> Vec<&'static str> {
    present(tree, ONLY_HERE)
}

fn present(tree: &Node, paths: &[&'static str]) -> Vec<&'static str> {
    let here = paths.iter().filter(|path| tree.at(path).is_some());
    here.copied().collect()
}

/// The sentence about such a file.
pub(super) fn sentence(file: &str) -> String {
    format!(
        "this is a configuration of gitlab-ci-pipelines-exporter; `amazing-gitlab-exporter migrate {file}` \
         writes the one for this program"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn what_only_one_program_has_is_true() {
        let ours: Vec<String> = keys::all().into_iter().map(|(path, _)| path).collect();
        for path in ONLY_THERE {
            assert!(!ours.iter().any(|known| known == path), "{path} is ours");
            assert!(crate::migrate::is_old_setting(path), "{path} is not theirs");
        }
        for path in ONLY_HERE {
            assert!(ours.iter().any(|known| known == path), "{path} is not ours");
            assert!(!crate::migrate::is_old_setting(path), "{path} is theirs");
        }
    }
}
