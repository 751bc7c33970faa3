//! What is remembered of a project's commits.

use std::collections::VecDeque;

use super::names::Names;
use crate::clock::UnixSeconds;
use crate::gitlab::model::Commit;
use crate::types::Text;

/// Counted commits that are known by their hashes, for when they come again.
pub(crate) const CLAIMS: usize = 256;

/// How far a branch has been counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its name.
    pub branch: Text,
    /// What leads to this commit is history or was counted.
    pub base: Text,
    /// Its newest commit at the last poll: the base, or an earlier one after it was set back.
    pub tip: Text,
}

/// What is remembered of a project's commits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContributorsMemory {
    /// The default branch; none before the first commit.
    pub begun: Option<Begun>,
    /// When the branch was last polled, by GitLab's clock.
    pub read_at: Option<UnixSeconds>,
    /// The project's activity at that time.
    pub activity: Option<UnixSeconds>,
    /// Authors who have series.
    pub names: Names,
    /// Beginnings of the hashes of the commits that were counted last.
    pub(crate) claims: VecDeque<u64>,
}

impl ContributorsMemory {
    /// Whether a commit has not been counted; it is, then.
    pub(crate) fn claim(&mut self, commit: &Commit) -> bool {
        let start = commit.sha.get(..16);
        let Some(claim) = start.and_then(|hex| u64::from_str_radix(hex, 16).ok()) else {
            return true;
        };
        if self.claims.contains(&claim) {
            return false;
        }
        if self.claims.len() >= CLAIMS {
            self.claims.pop_front();
        }
        self.claims.push_back(claim);
        true
    }
}
