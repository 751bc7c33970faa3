//! What an answer costs GitLab: database queries, rows read, processor time.
//!
//! [`prices`] holds every price with its source; `graphql` charges a document by walking its answer,
//! `rest` charges a route, `lists` says what a list reads, [`ledger`] sums up. Queries are near exact, processor time within a third:
//! it says what is large and what is small.

pub(crate) mod graphql;
pub mod ledger;
pub(crate) mod lists;
pub mod prices;
pub(crate) mod rest;

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::world::{ProjectId, World};
use prices::Price;

pub use ledger::{Costs, Report};

/// A sum of costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Requests.
    pub requests: u64,
    /// Database queries.
    pub queries: f64,
    /// Rows that the database reads.
    pub rows: u64,
    /// Processor time of GitLab's own (Ruby's) threads, in milliseconds.
    pub cpu_ms: f64,
    /// Time that those threads wait for the database, in milliseconds.
    pub database_ms: f64,
    /// Most rows that one list has read.
    pub biggest_list: u64,
}

impl Cost {
    /// Seconds inside an idle GitLab, as `X-Runtime` has them.
    #[must_use]
    pub fn runtime(&self) -> f64 {
        (self.cpu_ms + self.database_ms) / 1_000.0
    }

    fn pay(&mut self, price: Price) {
        self.queries += price.queries;
        self.cpu_ms += price.cpu_ms;
        self.database_ms += price.queries * prices::database("query");
    }

    fn read(&mut self, rows: u64) {
        self.rows += rows;
        self.database_ms += rows as f64 * prices::database("row");
    }

    fn read_list(&mut self, rows: u64) {
        self.read(rows);
        self.biggest_list = self.biggest_list.max(rows);
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.queries += other.queries;
        self.rows += other.rows;
        self.cpu_ms += other.cpu_ms;
        self.database_ms += other.database_ms;
        self.biggest_list = self.biggest_list.max(other.biggest_list);
    }
}

/// What one request costs, and which projects it is spent on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Charge {
    /// Everything.
    pub total: Cost,
    /// What each project causes; the floor of the request belongs to none.
    pub projects: BTreeMap<ProjectId, Cost>,
}

impl Charge {
    /// One request.
    #[must_use]
    pub fn request() -> Self {
        let total = Cost {
            requests: 1,
            ..Cost::default()
        };
        Self {
            total,
            projects: BTreeMap::new(),
        }
    }

    fn spend(&mut self, project: Option<ProjectId>, spend: impl Fn(&mut Cost)) {
        spend(&mut self.total);
        if let Some(project) = project {
            let own = self.projects.entry(project).or_insert_with(|| Cost {
                requests: 1,
                ..Cost::default()
            });
            spend(own);
        }
    }

    pub(crate) fn pay(&mut self, project: Option<ProjectId>, price: Price) {
        self.spend(project, |cost| cost.pay(price));
    }

    fn read(&mut self, project: Option<ProjectId>, rows: u64) {
        self.spend(project, |cost| cost.read(rows));
    }

    fn read_list(&mut self, project: Option<ProjectId>, rows: u64) {
        self.spend(project, |cost| cost.read_list(rows));
    }
}

/// The merge requests that a project ever had.
fn merge_requests_ever(world: &World, project: ProjectId) -> u64 {
    world.project(project).map_or(0, |project| {
        project.past.merge_requests + project.merge_requests.len() as u64
    })
}
