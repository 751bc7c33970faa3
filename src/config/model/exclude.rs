//! `wildcards[].exclude`: projects that a wildcard does not select.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::Pattern;

/// Projects that a wildcard does not select: those that one of these matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Exclude {
    /// Full paths of projects, and of groups and users with all projects below them; upper and lower case are the
    /// same, as in GitLab.
    pub paths: Vec<String>,
    /// Regular expressions for the full path.
    pub regexps: Vec<Pattern>,
    /// Topics, in any case.
    pub topics: Vec<String>,
    /// Exclude forks. Before GitLab 17.6, projects are then listed by REST, which costs GitLab more.
    pub forks: bool,
    /// Exclude projects in which nobody was active for so many days; 0 = no limit. GitLab counts pushes, issues,
    /// merge requests and comments as activity, but no pipelines: a project that only runs scheduled pipelines is
    /// inactive.
    #[schemars(range(max = 36_500))]
    pub inactive_days: u32,
}

impl Exclude {
    /// Whether topics of projects are compared.
    #[must_use]
    pub fn needs_topics(&self) -> bool {
        !self.topics.is_empty()
    }

    /// Whether the path of a project is excluded.
    #[must_use]
    pub fn has_path(&self, path: &str) -> bool {
        let is_at_or_below = |excluded: &String| {
            let end = path.get(..excluded.len());
            let rest = path.get(excluded.len()..).unwrap_or_default();
            end.is_some_and(|begin| begin.eq_ignore_ascii_case(excluded))
                && (rest.is_empty() || rest.starts_with('/'))
        };
        self.paths.iter().any(is_at_or_below)
            || self.regexps.iter().any(|regexp| regexp.is_match(path))
    }

    /// Whether one of a project's topics is excluded.
    #[must_use]
    pub fn has_topic<'a>(&self, mut topics: impl Iterator<Item = &'a str>) -> bool {
        topics.any(|topic| {
            let topic = topic.to_lowercase();
            let mut excluded = self.topics.iter();
            excluded.any(|excluded| excluded.to_lowercase() == topic)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_projects_and_of_whole_groups() {
        let exclude = Exclude {
            paths: vec!["Group/sub".to_owned(), "group/app".to_owned()],
            regexps: vec!["-archive$".parse().unwrap()],
            ..Exclude::default()
        };
        for (path, excluded) in [
            ("group/sub/app", true),
            ("GROUP/sub", true),
            ("group/subway/app", false),
            ("group/app", true),
            ("group/apps", false),
            ("other/old-archive", true),
            ("ä", false),
        ] {
            assert_eq!(exclude.has_path(path), excluded, "{path}");
        }
        let topics = |topics: &[&'static str]| Exclude {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            ..Exclude::default()
        };
        assert!(topics(&["Legacy"]).has_topic(["go", "legacy"].into_iter()));
        assert!(!topics(&[]).has_topic(["go"].into_iter()));
    }
}
