//! What was read of the commits of a project's default branch.

use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::model::Commit;
use crate::types::Text;

/// What a poll read of a project.
#[derive(Clone, Debug)]
pub struct Commits {
    /// The default branch.
    pub branch: Branch,
    /// The project's activity when the poll began.
    pub activity: Option<UnixSeconds>,
    /// When the newest commit was read, by GitLab's clock: ours may be set otherwise.
    pub read_at: UnixSeconds,
}

/// What a poll found in the default branch.
#[derive(Clone, Debug)]
pub enum Branch {
    /// Nothing: no repository, or no such branch yet.
    Empty,
    /// It is where it was.
    Unmoved,
    /// It is seen for the first time, or nothing leads from what is remembered to it any more.
    Begins {
        /// Its name.
        name: Text,
        /// Its newest commit.
        tip: Text,
    },
    /// It has a newest commit that was counted, or is history: it was set back.
    SetBack {
        /// Its newest commit.
        tip: Text,
    },
    /// It moved.
    Moved {
        /// Its newest commit.
        tip: Text,
        /// What leads to it and not to [`Begun::base`], newest first.
        commits: Vec<Commit>,
    },
}

/// What was read of a project.
#[derive(Debug)]
pub struct ContributorsRead {
    pub read: Commits,
    pub problems: Vec<Problem>,
}
