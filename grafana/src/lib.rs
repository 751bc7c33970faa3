//! The Grafana dashboards, as a small source of which the JSON in `grafana/dashboards` is made.
//!
//! - [`Dashboard`]: title, variables, rows; lays its panels out.
//! - [`Panel`]: one panel, its queries and how they look; a family of constructors, one for each
//!   panel type in use.
//! - [`boards`]: the dashboards themselves, one file each. A panel is a few lines there.
//! - [`recorded`]: the recording rules that panels over many series need.
//!
//! `cargo run -p gitlab-dashboards` writes the JSON and the rules. Queries are PromQL; `{..}` in them stands
//! for the dashboard's selector, such as `{project=~"$project", ref=~"$ref"}`, and `{.., a="b"}`
//! adds to it.
//!
//! Rules that all queries keep, so that they are right with several replicas and over restarts:
//! counters are read by `increase` or `rate` and then summed; states are first made one per
//! subject by `max by (…)`, for while a project moves to another replica both may show it.

pub mod boards;
mod dashboard;
mod look;
mod panel;
pub mod recorded;
mod unit;

pub use dashboard::{Dashboard, Row, Variable};
pub use look::fixed_colours;
pub use panel::{Panel, Query, Shape};
pub use unit::Unit;

/// All dashboards, in the order in which they are listed.
pub fn all() -> Vec<Dashboard> {
    vec![
        boards::pipeline_overview::dashboard(),
        boards::job_performance::dashboard(),
        boards::environments_and_deployments::dashboard(),
        boards::merge_request_analytics::dashboard(),
        boards::dora_metrics::dashboard(),
        boards::ci_cd_analytics::dashboard(),
        boards::repository_analytics::dashboard(),
        boards::exporter_health::dashboard(),
    ]
}
