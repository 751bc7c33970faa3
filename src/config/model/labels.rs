//! `labels.*`: how people are called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Secret, optional_text};

/// Labels that name people.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
