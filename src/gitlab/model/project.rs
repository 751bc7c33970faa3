//! Projects, and what the token may see of them.

use serde::{Deserialize, Serialize};

use super::Known;
use crate::clock::UnixSeconds;
use crate::types::{ProjectId, Text};

/// What discovery and the change feed learn about a project.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Unique id.
    pub id: ProjectId,
    /// Full path, the value of the label `project`.
    pub full_path: Text,
    /// Default branch; nothing for an empty repository, unread by the change feed.
    pub default_branch: Known<Text>,
    /// Whether it is archived.
    pub archived: bool,
    /// Last event (push, merge request, issue, …), moved at most once an hour; CI moves it not.
    pub last_activity_at: Option<UnixSeconds>,
    /// Role of the token in this project, when it was asked for.
    pub role: Known<Role>,
}

/// A member's role, as GitLab's numeric access level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Role(pub u32);

impl Role {
    /// No membership: public or internal projects only.
    pub const NONE: Self = Self(0);
    /// Reads issues and public CI.
    pub const GUEST: Self = Self(10);
    /// Reads pipelines, jobs, code, analytics: what most collectors need.
    pub const REPORTER: Self = Self(20);
    /// Reads vulnerabilities.
    pub const DEVELOPER: Self = Self(30);
    /// Reads project and group runners, pipeline variables.
    pub const MAINTAINER: Self = Self(40);

    /// GitLab's name of the highest role that is not above this level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0..=4 => "none",
            5..=9 => "minimal",
            10..=14 => "guest",
            15..=19 => "planner",
            20..=29 => "reporter",
            30..=39 => "developer",
            40..=49 => "maintainer",
            _ => "owner",
        }
    }
}
