//! What is delivered: environments, deployments, incidents, and which merge requests a deployment
//! shipped.

mod dora;
mod jobs;
mod life;
mod model;
mod ops;

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use dora::{DoraInterval, DoraRow};
pub use model::{
    Deployment, DeploymentId, DeploymentJob, DeploymentStatus, Environment, EnvironmentId,
    EnvironmentState, EnvironmentTier, Incident,
};

use super::World;
use super::model::ProjectId;
use crate::time::Millis;

/// What a project delivers.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Environments by id.
    pub environments: BTreeMap<EnvironmentId, Environment>,
    /// Deployments by id.
    pub deployments: BTreeMap<DeploymentId, Deployment>,
    /// Incidents by iid.
    pub incidents: BTreeMap<u64, Incident>,
    /// From when on daily figures are kept; see `World::aggregate_dora`.
    aggregated_since: Option<Option<Millis>>,
    /// Commits of the default branch, oldest first.
    history: Vec<Arc<str>>,
    /// Merge requests merged into the default branch: place of the merge commit, and iid.
    merged: Vec<(usize, u64)>,
}

impl Delivery {
    /// Commits of the default branch that `sha` does not contain; `None` where it is not on it.
    #[must_use]
    pub fn commits_after(&self, sha: &str) -> Option<&[Arc<str>]> {
        let place = self.place(sha)?;
        self.history.get(place + 1..)
    }

    /// Commits of the default branch, oldest first.
    #[must_use]
    pub fn history(&self) -> &[Arc<str>] {
        &self.history
    }

    fn place(&self, sha: &str) -> Option<usize> {
        self.history.iter().rposition(|commit| **commit == *sha)
    }

    /// An environment by name.
    #[must_use]
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments
            .values()
            .find(|environment| *environment.name == *name)
    }
}

/// All deliveries, and where the next ids come from. Random numbers are drawn from a generator of its
/// own, so that what else happens in a world does not depend on it.
#[derive(Debug)]
pub(super) struct Deliveries {
    pub(super) projects: BTreeMap<ProjectId, Delivery>,
    next_environment: EnvironmentId,
    next_deployment: DeploymentId,
    next_issue: u64,
    rng: ChaCha8Rng,
}

impl Deliveries {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            projects: BTreeMap::new(),
            next_environment: 7_001,
            next_deployment: 400_001,
            next_issue: 900_001,
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0xDE11_4E41),
        }
    }

    /// A project came into being, its default branch at this commit.
    pub(super) fn project_added(&mut self, id: ProjectId, tip: Arc<str>) {
        let delivery = Delivery {
            history: vec![tip],
            ..Delivery::default()
        };
        self.projects.insert(id, delivery);
    }

    pub(super) fn project_deleted(&mut self, id: ProjectId) {
        self.projects.remove(&id);
    }

    /// The default branch has a new commit.
    pub(super) fn pushed(&mut self, id: ProjectId, sha: Arc<str>) {
        self.projects.entry(id).or_default().history.push(sha);
    }

    /// A merge request was merged into the default branch by its newest commit.
    pub(super) fn merged(&mut self, id: ProjectId, iid: u64) {
        let delivery = self.projects.entry(id).or_default();
        let place = delivery.history.len().saturating_sub(1);
        delivery.merged.push((place, iid));
    }
}

impl World {
    /// What a project delivers.
    #[must_use]
    pub fn delivery(&self, project: ProjectId) -> Option<&Delivery> {
        self.deliveries.projects.get(&project)
    }
}
