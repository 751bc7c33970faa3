//! amazing-gitlab-exporter: GitLab's pipelines, jobs and downstream pipelines as true numbers,
//! delivered twice.

pub mod cli;
pub mod clock;
pub mod collector;
pub mod config;
pub mod discovery;
pub mod gitlab;
pub mod project;
pub mod recorder;
pub mod scheduler;
pub mod series;
pub mod source;
pub mod store;
pub mod telemetry;
