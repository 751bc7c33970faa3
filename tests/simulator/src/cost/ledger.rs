//! The sums of all costs: by operation, by project, by minute of world time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::{Charge, Cost};
use crate::time::{MINUTE, Millis};
use crate::world::ProjectId;

/// Everything that was charged since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// All requests.
    pub total: Cost,
    /// By GraphQL operation, else by endpoint template.
    pub operations: BTreeMap<String, Cost>,
    /// By project; what belongs to none (the floor of each request) is left out. A request counts for
    /// every project that it costs something for.
    pub projects: BTreeMap<ProjectId, Cost>,
    /// By the beginning of the minute of world time (Unix milliseconds).
    pub minutes: BTreeMap<Millis, Cost>,
}

/// The ledger of costs.
#[derive(Clone, Debug, Default)]
pub struct Costs(Arc<Mutex<Report>>);

impl Costs {
    fn inner(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, operation: &str, at: Millis, charge: &Charge) {
        let mut inner = self.inner();
        inner.total += charge.total;
        *inner.operations.entry(operation.to_owned()).or_default() += charge.total;
        *inner.minutes.entry(at - at.rem_euclid(MINUTE)).or_default() += charge.total;
        for (project, cost) in &charge.projects {
            *inner.projects.entry(*project).or_default() += *cost;
        }
    }

    /// Everything so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.inner().clone()
    }

    /// The sum of all requests.
    #[must_use]
    pub fn total(&self) -> Cost {
        self.inner().total
    }

    /// The sum of one GraphQL operation, or of one endpoint template such as
    /// `/api/v4/projects/:id/pipelines`.
    #[must_use]
    pub fn of(&self, operation: &str) -> Cost {
        let inner = self.inner();
        inner.operations.get(operation).copied().unwrap_or_default()
    }

    /// What was spent on one project.
    #[must_use]
    pub fn of_project(&self, project: ProjectId) -> Cost {
        let inner = self.inner();
        inner.projects.get(&project).copied().unwrap_or_default()
    }

    /// Forgets everything so far.
    pub fn reset(&self) {
        *self.inner() = Report::default();
    }
}
