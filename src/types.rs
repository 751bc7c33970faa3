//! Types that every part of the program speaks in: shared text, GitLab's ids, subscription tiers.

use std::fmt;
use std::sync::Arc;

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
