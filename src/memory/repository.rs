//! What is remembered of a project's repository.

use crate::clock::UnixSeconds;
use crate::gitlab::model::{Language, RefCounts, Releases, RepositoryInfo};
use crate::types::Text;

/// What is remembered of a project's repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepositoryMemory {
    /// The default branch and the commits that GitLab last counted in it.
    pub(crate) commits: Option<(Text, u64)>,
    /// Branches and tags as they were last counted.
    pub refs: Option<RefCounts>,
    /// When all of it was last read.
    pub read_at: Option<UnixSeconds>,
    /// The project's activity at that time.
    pub activity: Option<UnixSeconds>,
}

impl RepositoryMemory {
    /// Notes that all of it was read.
    pub fn read(&mut self, now: UnixSeconds, activity: Option<UnixSeconds>) {
        self.read_at = Some(now);
        self.activity = activity;
    }
}

/// What REST returns by calls of its own, as last read: it stays while they fail.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RepositoryParts {
    /// Languages of the default branch.
    pub languages: Option<Vec<Language>>,
    /// Releases.
    pub releases: Option<Releases>,
}

impl RepositoryParts {
    /// Those of a repository.
    #[must_use]
    pub fn of(info: &RepositoryInfo) -> Self {
        Self {
            languages: info.languages.clone(),
            releases: info.releases,
        }
    }
}
