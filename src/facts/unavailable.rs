//! Why a project has nothing for a collector, though nothing failed.

use crate::types::Tier;

/// Why a project has nothing for a collector: shown on the status page and by `check`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Its licence does not give it.
    #[error("needs GitLab {}, the project has {}", .needs.title(), .has.title())]
    Tier {
        /// The lowest tier that includes it.
        needs: Tier,
        /// The project's tier.
        has: Tier,
    },
    /// GitLab gave nothing, and only the licence can be why.
    #[error("GitLab gives it only with {}", .0.title())]
    Unlicensed(Tier),
    /// GitLab says that the token may not read this of the project.
    #[error("the token may not read {0}")]
    Permission(&'static str),
    /// The token's scope does not reach it, or a fine-grained token has no grant for it.
    #[error("the token may not read it: {0}")]
    Forbidden(String),
    /// Switched off in the project's or the instance's settings.
    #[error("{0} is switched off in GitLab")]
    SwitchedOff(&'static str),
    /// This GitLab is too old.
    #[error("needs GitLab {0}.{1} or later")]
    Release(u32, u32),
    /// The way in which the settings ask for it cannot give it.
    #[error("{0}")]
    Settings(&'static str),
}

impl Unavailable {
    /// Every value of [`Self::kind`].
    pub const KINDS: [&'static str; 5] =
        ["tier", "permission", "switched_off", "release", "settings"];

    /// Value of the label `reason`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tier { .. } | Self::Unlicensed(_) => "tier",
            Self::Permission(_) | Self::Forbidden(_) => "permission",
            Self::SwitchedOff(_) => "switched_off",
            Self::Release(..) => "release",
            Self::Settings(_) => "settings",
        }
    }
}
