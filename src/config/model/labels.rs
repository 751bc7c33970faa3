//! `labels.*`: how people are called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Secret, optional_text};

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
}

impl Default for Labels {
    fn default() -> Self {
        Self {
            people: PeopleNames::default(),
            people_hash_key: None,
            max_length: 200,
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
