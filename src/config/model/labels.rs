//! `labels.*`: how people are called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Secret, optional_text};

/// What labels hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Labels {
    /// How people are called in the labels `author` and `reviewer`; docs/people.md says what that
    /// means for data protection. Everyone who reads the metrics can see it.
    pub people: PeopleNames,
    /// The secret that `people: hash` hashes with: a long random text of your own. Without it
    /// no one can compute whose hash a label is; with another key all hashes change.
    #[serde(with = "optional_text")]
    #[schemars(with = "Secret")]
    pub people_hash_key: Option<Secret>,
    /// Bytes of a label value at most: longer names of jobs, refs, test cases and the like are cut, and end
    /// with a hash of the whole. Paths of projects are never cut.
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

/// How people are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PeopleNames {
    /// By user name; authors of commits, who have none, by the name in the commit.
    #[default]
    Username,
    /// By full name.
    Name,
    /// By a keyed hash of the user name, or of the e-mail address in a commit.
    Hash,
    /// Not at all: all people count as `all`.
    None,
}
