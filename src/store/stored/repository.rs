//! A project's repository.

use super::Invalid;
use super::keep::{Keep, stored_struct};
use crate::gitlab::model::Role;
use crate::gitlab::model::{Language, RefCounts, Releases};
use crate::memory::repository::{RepositoryMemory, RepositoryParts};
use crate::types::Text;

/// By its number.
impl Keep for Role {
    type Stored = u32;

    fn to_stored(&self) -> u32 {
        self.0
    }

    fn from_stored(stored: u32) -> Result<Self, Invalid> {
        Ok(Self(stored))
    }
}

stored_struct! {
    StoredRefCounts of RefCounts { branches: u64, tags: u64 }
}

stored_struct! {
    StoredRepository of RepositoryMemory {
        commits: Option<(Text, u64)>,
        refs: Option<StoredRefCounts>,
        read_at: Option<i64>,
        activity: Option<i64>,
    }
}

stored_struct! {
    StoredLanguage of Language { name: Text, share: f64 }
}

stored_struct! {
    StoredReleases of Releases { count: u64, latest: Option<i64> }
}

stored_struct! {
    StoredRepositoryParts of RepositoryParts {
        languages: Option<Vec<StoredLanguage>>,
        releases: Option<StoredReleases>,
    }
}
