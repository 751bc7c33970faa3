//! amazing-gitlab-exporter: GitLab's pipelines, jobs and downstream pipelines as true numbers,
//! delivered twice.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "what the parts of the house leave to each other is not asked of their tests"
    )
)]

pub mod cli;
pub mod config;
