//! amazing-gitlab-exporter: GitLab's pipelines, jobs and downstream pipelines as true numbers,
//! delivered twice.

pub mod clock;
pub mod gitlab;
pub mod series;
pub mod telemetry;
