//! Behaviour at the seams that users see: one binary for all integration tests.

mod ledger;
mod programs;
mod push;
mod support;
mod traces_and_logs;
