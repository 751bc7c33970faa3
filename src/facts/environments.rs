//! What was read of a project's environments and deployments.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::UnixSeconds;
use crate::facts::Problem;
use crate::gitlab::model::{Deployment, Environment};
use crate::memory::environments::EnvironmentsProgress;
use crate::types::Text;

/// What a poll read of a project.
#[derive(Clone, Debug, Default)]
pub struct Deployments {
    /// All environments that are watched; `None` when they were not listed.
    pub environments: Option<Vec<Environment>>,
    /// Deployments that are new or moved; at the first poll, the newest ones.
    pub deployments: Vec<Deployment>,
    /// Events before this are history; `None` when all are.
    pub floor: Option<UnixSeconds>,
    /// Events before this can not be read again as new ones after this poll.
    pub next_floor: UnixSeconds,
    /// Commits of the default branch that environments do not have, by id of the environment.
    pub behind: BTreeMap<u64, u64>,
    /// The newest commit of the default branch; none where it was not read.
    pub tip: Option<Text>,
    /// Environments whose last success was asked for, by id.
    pub asked: BTreeSet<u64>,
}

/// What one poll brought of a project.
#[derive(Debug)]
pub struct EnvironmentsRead {
    pub read: Deployments,
    pub progress: EnvironmentsProgress,
    pub problems: Vec<Problem>,
}
