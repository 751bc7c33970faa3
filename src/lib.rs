//! amazing-gitlab-exporter: GitLab's pipelines, jobs and downstream pipelines as true numbers,
//! delivered twice.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::disallowed_methods,
        reason = "what the parts of the house leave to each other is not asked of their tests"
    )
)]

pub mod app;
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
pub mod server;
pub mod source;
pub mod store;
pub mod telemetry;
