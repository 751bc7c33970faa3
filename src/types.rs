//! Types that every part of the program speaks in: shared text, GitLab's ids, subscription tiers.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

/// A text shared by many series: cloned without copying.
pub type Text = Arc<str>;

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id_type!(/// A project's id; it survives renames and moves.
    ProjectId);
id_type!(/// A pipeline's id, unique in the instance.
    PipelineId);
id_type!(/// A job's or bridge's id, unique in the instance; a retry is a new id.
    JobId);

/// A GraphQL query that collectors are read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after what it reads")]
pub enum Query {
    Changes,
    Permissions,
    Jobs,
    TestReports,
    MergeRequests,
    Dora,
    ValueStreams,
    FlowTimes,
    Repositories,
    Schedules,
    Runners,
    Vulnerabilities,
}

impl Query {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Changes,
        Self::Permissions,
        Self::Jobs,
        Self::TestReports,
        Self::MergeRequests,
        Self::Dora,
        Self::ValueStreams,
        Self::FlowTimes,
        Self::Repositories,
        Self::Schedules,
        Self::Runners,
        Self::Vulnerabilities,
    ];

    /// Whether only the Enterprise Edition has what it asks for.
    #[must_use]
    pub const fn is_enterprise(self) -> bool {
        matches!(self, Self::Dora | Self::FlowTimes | Self::Vulnerabilities)
    }
}

/// What shows that a text is no access token, as the end of a sentence about it. GitLab's tokens are one
/// word of printable ASCII characters.
#[must_use]
pub fn token_problem(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("is empty");
    }
    if text.trim().contains(['\n', '\r']) {
        return Some("has more than one line; a token is one line");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        return Some("has a space, a line break or another character that no token has");
    }
    if text.contains(['"', '\'', '`']) {
        return Some("has quotes; write the token without them");
    }
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    // Some tokens end with `=`.
    if let Some((name, value)) = text.split_once('=')
        && is_name(name)
        && value.contains(|c: char| c.is_ascii_alphanumeric())
    {
        return Some("begins with a name and =; write the token alone");
    }
    None
}

/// The key of a webhook's signing token, as GitLab shows it: `whsec_` and 32 bytes in base64.
///
/// # Errors
/// What shows that it is none, as the end of a sentence about it.
pub fn signing_key(token: &str) -> Result<Vec<u8>, &'static str> {
    /// A shorter key can be guessed.
    const SHORTEST: usize = 16;
    let encoded = token.strip_prefix("whsec_");
    let encoded = encoded.ok_or("does not begin with whsec_, as GitLab's signing tokens do")?;
    let key = base64::engine::general_purpose::STANDARD.decode(encoded);
    match key {
        Ok(key) if key.len() >= SHORTEST => Ok(key),
        Ok(_) => Err("is too short"),
        Err(_) => Err("is not base64 after whsec_"),
    }
}

/// A subscription tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Free, and all of the Community Edition.
    Free,
    /// Premium.
    Premium,
    /// Ultimate.
    Ultimate,
}

impl Tier {
    /// GitLab's lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Premium => "premium",
            Self::Ultimate => "ultimate",
        }
    }

    /// GitLab's name as people write it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Premium => "Premium",
            Self::Ultimate => "Ultimate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_seen() {
        for good in [
            "glpat-aB3_x.y-01",
            "glpat-abc=",
            "abc==",
            "my-prefix-glpat-=x",
        ] {
            assert_eq!(token_problem(good), None, "{good}");
        }
        for (bad, problem) in [
            ("", "empty"),
            (" \n", "empty"),
            ("one\ntwo", "more than one line"),
            ("one two", "a space"),
            ("one\n", "a space"),
            ("glpat\0x", "a space"),
            ("glpät-x", "a space"),
            ("\"glpat-x\"", "quotes"),
            ("'glpat-x'", "quotes"),
            ("TOKEN=glpat-x", "a name and ="),
            ("GITLAB_TOKEN=glpat-x", "a name and ="),
        ] {
            let found = token_problem(bad).unwrap_or_default();
            assert!(found.contains(problem), "{bad:?}: {found}");
        }
    }
}
