//! A project's repository: sizes, counts, refs, commits.

use serde::{Deserialize, Serialize};

use super::Known;
use crate::clock::UnixSeconds;
use crate::types::{ProjectId, Text};

/// A branch or tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitRef {
    /// Its name, without `refs/heads/` or `refs/tags/`.
    pub name: Text,
}

/// A project's repository and its counts.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositoryInfo {
    /// The project.
    pub id: ProjectId,
    /// Sizes and commits; hidden below Reporter, which is not 0.
    pub statistics: Known<Statistics>,
    /// Languages of the default branch; `None` where they were not read.
    pub languages: Option<Vec<Language>>,
    /// Default branch; nothing for an empty repository.
    pub default_branch: Known<Text>,
    /// `private`, `internal` or `public`.
    pub visibility: Option<Text>,
    /// Whether it is archived.
    pub archived: bool,
    /// Its topics; empty where they were not asked for.
    pub topics: Vec<Text>,
    /// Branches and tags, where this way of reading returns them.
    pub refs: Option<RefCounts>,
    /// Open issues; `None` where issues are off.
    pub open_issues: Option<u64>,
    /// Stars.
    pub stars: Option<u64>,
    /// Forks.
    pub forks: Option<u64>,
    /// Last event, moved at most once an hour.
    pub last_activity_at: Option<UnixSeconds>,
    /// Releases; `None` where they were not read.
    pub releases: Option<Releases>,
}

/// Sizes in bytes, and commits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Commits of the default branch.
    pub commits: u64,
    /// Git repository.
    pub repository: f64,
    /// LFS objects.
    pub lfs: f64,
    /// Job artifacts.
    pub artifacts: f64,
    /// Packages.
    pub packages: f64,
    /// Container registry, where it is measured.
    pub container_registry: Option<f64>,
    /// Wiki.
    pub wiki: Option<f64>,
}

/// A language and its share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Language {
    /// Its name.
    pub name: Text,
    /// Percent of bytes.
    pub share: f64,
}

/// How many branches and tags there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefCounts {
    /// Branches.
    pub branches: u64,
    /// Tags.
    pub tags: u64,
}

/// A project's releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Releases {
    /// How many, upcoming ones included.
    pub count: u64,
    /// When the newest that is not upcoming came out.
    pub latest: Option<UnixSeconds>,
}

/// A commit with its lines (`GET /projects/:id/repository/commits`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its hash.
    pub sha: Text,
    /// Name of the author.
    pub author_name: Text,
    /// E-mail address of the author.
    pub author_email: Text,
    /// When it was first written, by the author's clock; it stays when the commit is rewritten.
    pub authored_at: Option<UnixSeconds>,
    /// Hashes of the commits before it: none for the first, several for a merge.
    pub parents: Vec<Text>,
    /// Lines added; `None` where they were not asked for.
    pub additions: Option<u64>,
    /// Lines deleted; `None` where they were not asked for.
    pub deletions: Option<u64>,
}

impl Commit {
    /// Whether it merges another branch.
    #[must_use]
    pub fn is_merge(&self) -> bool {
        self.parents.len() > 1
    }
}
