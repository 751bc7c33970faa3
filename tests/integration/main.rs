//! Behaviour at the seams that users see: one binary for all integration tests.

mod births;
mod check;
mod collectors;
mod crash;
mod dashboards;
mod faults;
mod first_look;
mod gone;
mod ledger;
mod programs;
mod push;
mod redis;
mod replicas;
mod scenarios;
mod state;
mod subscriptions;
mod support;
mod traces_and_logs;
