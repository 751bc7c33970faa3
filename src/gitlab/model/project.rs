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
    /// Whether GitLab will delete it: it is renamed then, and stays readable for days.
    pub is_scheduled_for_deletion: bool,
    /// Last event (push, merge request, issue, …), moved at most once an hour; CI moves it not.
    pub last_activity_at: Option<UnixSeconds>,
    /// Role of the token in this project, when it was asked for.
    pub role: Known<Role>,
    /// Its features, as far as they were read.
    pub features: Features,
    /// By what else it can be selected.
    pub attributes: Attributes,
}

/// By what a project can be selected besides its path; read for selections that need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its topics.
    pub topics: Known<Vec<Text>>,
    /// Whether it is a fork of another one.
    pub is_fork: Known<bool>,
}

/// What the token may read of a project, by GitLab's own word. A role does not say it: an administrator
/// who is no member has none, and everybody reads what is public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// The role of the token's user; none for who is no member.
    pub role: Known<Role>,
    /// Its settings, runners and variables.
    pub admin: Known<bool>,
    /// Its code, branches, tags, commits.
    pub code: Known<bool>,
    /// Its value stream analytics.
    pub analytics: Known<bool>,
    /// Its environments and deployments.
    pub environments: Known<bool>,
    /// Its merge requests.
    pub merge_requests: Known<bool>,
}

impl Permissions {
    /// The role with which the token reads: an administrator's needs no membership.
    #[must_use]
    pub fn reads_as(&self) -> Known<Role> {
        match (self.admin, self.role) {
            (Known::Value(true), Known::Value(role)) => Known::Value(role.max(Role::MAINTAINER)),
            (Known::Value(true), _) => Known::Value(Role::MAINTAINER),
            (_, role) => role,
        }
    }
}

/// Which features a project has, and who sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Whether everybody who sees the project sees its pipelines and jobs (`public_jobs`).
    pub public_jobs: Known<bool>,
    /// Whether it has CI/CD.
    pub jobs: Known<bool>,
    /// Whether it has merge requests.
    pub merge_requests: Known<bool>,
}

impl Features {
    /// These, and those of `before` where they were not read.
    #[must_use]
    pub fn or(self, before: Self) -> Self {
        Self {
            public_jobs: self.public_jobs.or(before.public_jobs),
            jobs: self.jobs.or(before.jobs),
            merge_requests: self.merge_requests.or(before.merge_requests),
        }
    }
}

/// A group or user that projects belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Unique id among groups, or among users.
    pub id: u64,
    /// Full path of the group, or name of the user: what paths of its projects begin with.
    pub path: Text,
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
            20..=24 => "reporter",
            25..=29 => "security manager",
            30..=39 => "developer",
            40..=49 => "maintainer",
            _ => "owner",
        }
    }
}
