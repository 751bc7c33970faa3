//! amazing-gitlab-exporter: GitLab's pipelines, jobs and downstream pipelines as true numbers,
//! delivered twice.
//!
//! # The map, in the order data flows
//!
//! - [`config`]: every setting, where its value comes from, and whether it is right.
//! - [`discovery`]: from settings to projects.
//! - [`events`]: what GitLab sends by itself, as hints.
//! - [`registry`]: the tracked projects: what is known of each, and when each is due for what.
//! - [`scheduler`]: what runs when, and nothing else.
//! - [`source`]: what is read from GitLab together, for a batch of projects.
//! - [`gitlab`]: the only place that talks to GitLab: client, limiter, REST, GraphQL, model.
//! - [`facts`]: what sources hand to collectors; [`memory`]: what is remembered of a project.
//! - [`collector`]: pure functions from facts and memory to events and states, one file each.
//! - [`people`]: how people are called in labels.
//! - [`ingest`]: what follows a run: measure, retire, record; [`observer`] is notified of every run.
//! - [`recorder`]: records, commits, shows, in this order.
//! - [`store`]: what must not be lost, behind one trait, in types of its own.
//! - [`mod@redis`]: the connection to Redis, which replicas share; [`budget`]: their budget of requests in it.
//! - [`catalogue`]: every metric as data, with its labels, buckets and instruments.
//! - [`series`]: the table of all series: initialization, change, retirement, limits.
//! - [`delivery`]: Prometheus text, OpenMetrics and OTLP push, from the table.
//! - [`telemetry`]: the exporter's own metrics, traces and logs.
//! - [`server`]: `/metrics`, status page, probes.
//! - [`migrate`]: from files of gitlab-ci-pipelines-exporter to ours.
//! - [`app`] wires them; [`cli`] is the command line; [`clock`] is the only place that knows the
//!   time; [`types`] are the words of all, [`tls`] reads certificates,
//!   [`files`] other small files, [`locks`] takes locks.
//!
//! What may use what: `docs/architecture.md`, held by a test.

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
pub mod budget;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod collector;
pub mod config;
pub mod delivery;
pub mod discovery;
pub mod events;
pub mod facts;
pub(crate) mod files;
pub mod gitlab;
pub mod ingest;
pub(crate) mod locks;
pub mod memory;
pub mod migrate;
pub mod observer;
pub mod people;
pub mod recorder;
pub mod redis;
pub mod registry;
pub mod scheduler;
pub mod series;
pub mod server;
pub mod shards;
pub mod source;
pub mod store;
pub mod telemetry;
pub(crate) mod tls;
pub mod types;
