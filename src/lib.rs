//! amazing-gitlab-exporter: GitLab's pipelines, jobs and downstream pipelines as true numbers,
//! delivered twice.
//!
//! # The map, in the order data flows
//!
//! - [`config`]: every setting, where its value comes from, and whether it is right.
//! - [`discovery`]: from settings to projects.
//! - [`scheduler`]: what runs when; one run reads, measures and records.
//! - [`source`]: what is read from GitLab together, for a batch of projects: the change feed, refs.
//! - [`gitlab`]: the only place that talks to GitLab: client, limiter, REST, GraphQL, model.
//! - [`collector`]: pure functions from what was read to events and states, one file each.
//! - [`people`]: how people are called in labels.
//! - [`recorder`]: records, commits, shows, in this order.
//! - [`store`]: what must not be lost, behind one trait; [`project`] is what is kept of a project.
//! - [`telemetry`]: the catalogue of all metrics, the instruments built from it, Prometheus text,
//!   OTLP push, the exporter's own metrics, traces and logs.
//! - [`series`]: the table of all series: birth, change, retirement, limits.
//! - [`server`]: `/metrics`, status page, probes.
//! - [`app`] wires them; [`cli`] is the command line; [`clock`] is the only place that knows the
//!   time.

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
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod collector;
pub mod config;
pub mod delivery;
pub mod discovery;
pub mod facts;
pub mod gitlab;
pub mod ingest;
pub mod memory;
pub mod observer;
pub mod people;
pub mod recorder;
pub mod registry;
pub mod scheduler;
pub mod series;
pub mod server;
pub mod source;
pub mod store;
pub mod telemetry;
pub(crate) mod tls;
pub mod types;
