//! Tokens, their scopes and their roles.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// A role in a project, with GitLab's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    /// Not a member (0).
    None,
    /// Minimal access (5).
    Minimal,
    /// Guest (10).
    Guest,
    /// Planner (15).
    Planner,
    /// Reporter (20): reads pipelines, jobs, code.
    Reporter,
    /// Security Manager (25): sees runners beside what a Reporter sees.
    SecurityManager,
    /// Developer (30).
    Developer,
    /// Maintainer (40): sees project and group runners.
    Maintainer,
    /// Owner (50).
    Owner,
}

impl AccessLevel {
    /// GitLab's number of the role.
    #[must_use]
    pub fn value(self) -> i32 {
        match self {
            Self::None => 0,
            Self::Minimal => 5,
            Self::Guest => 10,
            Self::Planner => 15,
            Self::Reporter => 20,
            Self::SecurityManager => 25,
            Self::Developer => 30,
            Self::Maintainer => 40,
            Self::Owner => 50,
        }
    }

    /// The value of GraphQL's `AccessLevelEnum`.
    #[must_use]
    pub fn graphql(self) -> &'static str {
        match self {
            Self::None => "NO_ACCESS",
            Self::Minimal => "MINIMAL_ACCESS",
            Self::Guest => "GUEST",
            Self::Planner => "PLANNER",
            Self::Reporter => "REPORTER",
            Self::SecurityManager => "SECURITY_MANAGER",
            Self::Developer => "DEVELOPER",
            Self::Maintainer => "MAINTAINER",
            Self::Owner => "OWNER",
        }
    }

    /// The highest role that GitLab's number `value` grants.
    #[must_use]
    pub fn from_value(value: i64) -> Self {
        [
            Self::Owner,
            Self::Maintainer,
            Self::Developer,
            Self::SecurityManager,
            Self::Reporter,
            Self::Planner,
            Self::Guest,
            Self::Minimal,
        ]
        .into_iter()
        .find(|level| value >= i64::from(level.value()))
        .unwrap_or(Self::None)
    }
}

/// What a fine-grained token may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Permissions, such as `read_pipeline`, by top-level group: in its projects and those below.
    #[serde(default)]
    pub groups: BTreeMap<u64, BTreeSet<String>>,
    /// Permissions over the user's own things.
    #[serde(default)]
    pub user: BTreeSet<String>,
    /// Permissions over the instance.
    #[serde(default)]
    pub instance: BTreeSet<String>,
}

/// A personal, project or group access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// The secret itself.
    pub value: String,
    /// Its id.
    pub id: u64,
    /// Its name; recorded with each request.
    pub name: String,
    /// The user it stands for.
    pub user_id: u64,
    /// Its scopes, such as `read_api`.
    pub scopes: Vec<String>,
    /// When it ends; `None` never.
    pub expires_at: Option<Millis>,
    /// Withdrawn by somebody.
    pub revoked: bool,
    /// Belongs to an administrator: sees everything, whatever the role; complexity limit 300.
    pub admin: bool,
    /// The role where [`Self::roles`] names none.
    pub default_role: AccessLevel,
    /// Roles by project id.
    pub roles: BTreeMap<u64, AccessLevel>,
    /// Roles by group id: they hold in the groups and projects below, too.
    #[serde(default)]
    pub group_roles: BTreeMap<u64, AccessLevel>,
    /// Belongs to an external user, for whom internal projects are private.
    #[serde(default)]
    pub external: bool,
    /// Belongs to a user who has been blocked.
    #[serde(default)]
    pub blocked: bool,
    /// What it may read, for a fine-grained token.
    #[serde(default)]
    pub grants: Option<Grants>,
    /// When it was made; `None` is the world's start.
    #[serde(default)]
    pub created_at: Option<Millis>,
}

/// What a token is good for at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Usable.
    Active,
    /// Past its end.
    Expired,
    /// Withdrawn.
    Revoked,
}

impl Token {
    /// A token with scope `read_api`, Maintainer everywhere, without an end.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            id: 1,
            name: "exporter".to_owned(),
            user_id: 100,
            scopes: vec!["read_api".to_owned()],
            expires_at: None,
            revoked: false,
            admin: false,
            default_role: AccessLevel::Maintainer,
            roles: BTreeMap::new(),
            group_roles: BTreeMap::new(),
            external: false,
            blocked: false,
            grants: None,
            created_at: None,
        }
    }

    /// The same token with other scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self
    }

    /// The same token with another role wherever none is set for the project.
    #[must_use]
    pub fn with_role(mut self, role: AccessLevel) -> Self {
        self.default_role = role;
        self
    }

    /// The same token with an end.
    #[must_use]
    pub fn expiring(mut self, at: Millis) -> Self {
        self.expires_at = Some(at);
        self
    }

    /// The role in a project, groups aside.
    #[must_use]
    pub fn role(&self, project_id: u64) -> AccessLevel {
        self.roles
            .get(&project_id)
            .copied()
            .unwrap_or(self.default_role)
    }

    /// Whether it can be used at `now`.
    #[must_use]
    pub fn state(&self, now: Millis) -> TokenState {
        if self.revoked {
            TokenState::Revoked
        } else if self.expires_at.is_some_and(|end| now >= end) {
            TokenState::Expired
        } else {
            TokenState::Active
        }
    }

    /// Whether one of its scopes reads the whole API, or it says one by one what it reads.
    #[must_use]
    pub fn reads_api(&self) -> bool {
        self.grants.is_some() || self.has_scope(&["read_api", "api"])
    }

    /// Whether it has one of these scopes.
    #[must_use]
    pub fn has_scope(&self, scopes: &[&str]) -> bool {
        self.scopes
            .iter()
            .any(|scope| scopes.contains(&scope.as_str()))
    }
}
