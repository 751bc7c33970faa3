//! What of a configuration takes effect while the exporter runs, and what needs a restart.

use std::sync::{Arc, PoisonError, RwLock};

use super::Config;
use super::entries;
use super::keys;
use super::problem::{ConfigError, Problem};
use super::tree::{Data, Node};

/// Settings, and sections of settings, that a reload applies.
const RELOADED: [&str; 8] = [
    "collectors",
    "discovery",
    "gitlab.token",
    "gitlab.token_file",
    "log.level",
    "project_defaults",
    "projects",
    "wildcards",
];

/// Settings among these that it does not.
const RESTARTED: [&str; 5] = [
    "collectors.jobs.histogram_buckets",
    "collectors.jobs.runner_description_regexp",
    "collectors.jobs.tags_regexp",
    "collectors.merge_requests.histogram_buckets",
    "collectors.pipelines.histogram_buckets",
];

/// Whether a reload applies a setting.
pub(super) fn is_reloaded(path: &str) -> bool {
    let is_within = |outer: &&str| {
        let rest = path.strip_prefix(*outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    RELOADED.iter().any(is_within) && !RESTARTED.iter().any(is_within)
}

/// Settings that another configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that a reload applies.
    pub applied: Vec<String>,
    /// Those that need a restart.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// This configuration with what of `new` takes effect without a restart.
    ///
    /// # Errors
    /// When both together are no configuration.
    pub fn reloaded(&self, new: &Self) -> Result<(Self, Changes), ConfigError> {
        let mut tree = new.tree.clone();
        let mut changes = Changes::default();
        for (path, key) in keys::all() {
            if !key.children().is_empty() {
                continue;
            }
            let before = self.tree.at(&path);
            let is_same = before.map(Node::to_json) == tree.at(&path).map(Node::to_json);
            match is_reloaded(&path) {
                _ if is_same => {}
                true => changes.applied.push(path),
                false => {
                    put(&mut tree, &path, before.cloned());
                    changes.needs_restart.push(path);
                }
            }
        }
        let settings = entries::settings(&tree);
        let mut settings = settings.map_err(|error| {
            let sentence = format!("the configuration cannot be read ({error})");
            ConfigError::new(vec![Problem::new(None, "", sentence)])
        })?;
        settings.resolve();
        let config = Self {
            settings,
            push: self.push.clone(),
            tree,
        };
        Ok((config, changes))
    }
}

/// Replaces what stands at a path.
fn put(tree: &mut Node, path: &str, node: Option<Node>) {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let Data::Map(entries) = &mut tree.data else {
        return;
    };
    let place = entries.iter().position(|entry| entry.key == name);
    match (place, node) {
        (Some(place), node) if !rest.is_empty() => put(&mut entries[place].node, rest, node),
        (Some(place), Some(node)) => entries[place].node = node,
        (Some(place), None) => drop(entries.remove(place)),
        (None, Some(node)) => tree.merge(node.wrapped(path)),
        (None, None) => {}
    }
}

/// The effective configuration, which a reload replaces.
#[derive(Debug)]
pub struct LiveConfig(RwLock<Arc<Config>>);

impl LiveConfig {
    /// Begins with this one.
    #[must_use]
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(config))))
    }

    /// What holds now.
    #[must_use]
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has another one hold from now on.
    pub fn replace(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_yaml(&format!("gitlab: {{token: t}}\n{text}")).unwrap()
    }

    #[test]
    fn every_name_in_the_lists_is_a_setting() {
        let all = keys::all();
        for name in RELOADED.iter().chain(&RESTARTED) {
            assert!(all.iter().any(|(path, _)| path == name), "{name}");
        }
        for (path, reloaded) in [
            ("projects", true),
            ("collectors.jobs.enabled", true),
            ("collectors.jobs.histogram_buckets", false),
            ("gitlab.token_file", true),
            ("gitlab.tokens", false),
            ("log.format", false),
            ("server.listen_address", false),
        ] {
            assert_eq!(is_reloaded(path), reloaded, "{path}");
        }
    }

    #[test]
    fn what_can_be_applied_is_and_the_rest_stays_and_is_named() {
        let before = config(
            "projects: [{name: g/a}]\nserver: {enable_poll: true}\notel: {metrics: {endpoint: 'http://c:4318', headers: {a: secret-a, b: secret-b}}}",
        );
        let after = config(
            "projects: [{name: g/b}]\nlog: {level: debug}\ncollectors: {jobs: {enabled: false, histogram_buckets: [1]}}\n\
             otel: {metrics: {endpoint: 'http://c:4318', headers: {c: secret-c}}}\nstate: {path: /s}",
        );
        let (effective, changes) = before.reloaded(&after).unwrap();
        assert_eq!(
            changes.applied,
            ["log.level", "collectors.jobs.enabled", "projects"]
        );
        assert_eq!(
            changes.needs_restart,
            [
                "server.enable_poll",
                "collectors.jobs.histogram_buckets",
                "state.path",
                "otel.metrics.headers"
            ]
        );
        assert_eq!(effective.projects[0].name, "g/b");
        assert_eq!(effective.log.level.as_str(), "debug");
        assert!(!effective.collectors.jobs.enabled);
        assert_eq!(
            effective.collectors.jobs.histogram_buckets,
            before.collectors.jobs.histogram_buckets
        );
        assert!(effective.server.enable_poll);
        assert_eq!(effective.state.path, None);
        let headers = effective.otel.metrics.otlp.headers.as_ref().unwrap();
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["a", "b"]);
        // Entries have what they inherit.
        let jobs = crate::catalogue::Collector::Jobs;
        assert_eq!(effective.projects[0].settings.interval(jobs), None);
        // Nothing changed.
        let (same, none) = effective.reloaded(&effective).unwrap();
        assert_eq!((none, same.projects.len()), (Changes::default(), 1));
    }
}
