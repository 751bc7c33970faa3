//! Stories of jobs, and what is counted and shown of them.

mod counting;
mod states;

use super::super::testing::Watched;
use super::Jobs;

const COLLECTOR: Jobs = Jobs {
    runner_details: true,
    include_children: true,
};

/// A project that is watched since second 1000.
fn watched() -> Watched<Jobs> {
    Watched::since(1000, COLLECTOR)
}
