//! `labels.*`: how people are called, and how labels are rewritten.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Pattern, Secret, optional_text};

/// Label values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Labels {
    /// How people are identified in the labels `author` and `reviewer`, visible to everyone with access
    /// to the metrics; docs/people.md covers data protection.
    pub people: PeopleNames,
    /// Secret key of `people: hash`: a long random text. Without it nobody can compute the hash of a
    /// person; a new key changes all hashes.
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    pub people_hash_key: Option<Secret>,
    /// Maximum length of a label value in bytes: longer names of jobs, refs, test cases and so on are
    /// truncated and end with a hash of the whole name. Project paths are never truncated.
    #[schemars(range(min = 32, max = 10_000))]
    pub max_length: u32,
    /// Merge jobs of one `parallel` or matrix: `test 3/10` and `test: [linux, 1.90]` are `test` in the labels
    /// `job_name` and `bridge_name`, as GitLab groups them. Counters add up; gauges are merged as
    /// docs/metrics.md says.
    pub merge_parallel_jobs: bool,
    /// Rewriting of the labels `job_name` and `bridge_name`, after `merge_parallel_jobs`: for generated names,
    /// which would be more and more series.
    pub job_name: Rewriting,
    /// Rewriting of the labels `ref` and `parent_ref`; `tags/` before tags in metrics without `kind` is left out.
    #[serde(rename = "ref")]
    pub git_ref: Rewriting,
    /// Labels to drop, by metric: `{age_job_run_count: [ref]}`. Counters and histograms add up; gauges are merged
    /// as docs/metrics.md says, and cannot be merged where it says nothing. A dropped label is exported empty, which
    /// Prometheus treats as absent. docs/cardinality.md covers changes of these settings.
    pub drop: BTreeMap<String, Vec<String>>,
}

/// Rewriting of a label; names that become the same are one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Rewriting {
    /// Regular expression for what is replaced, anywhere in the value unless anchored; empty = nothing.
    #[serde(with = "optional_text")]
    #[schemars(with = "Pattern")]
    pub regexp: Option<Pattern>,
    /// What each match is replaced with; `$1` or `${name}` is a group of the expression. A value that would become
    /// empty stays.
    pub replacement: String,
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            people: PeopleNames::default(),
            people_hash_key: None,
            max_length: 200,
            merge_parallel_jobs: false,
            job_name: Rewriting::default(),
            git_ref: Rewriting::default(),
            drop: BTreeMap::new(),
        }
    }
}

/// How people are identified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeopleNames {
    /// Username; for commit authors the name in the commit.
    #[default]
    Username,
    /// Full name.
    Name,
    /// Keyed hash of the username, or of the email address in a commit.
    Hash,
    /// Not identified: all people are `all`.
    None,
}
