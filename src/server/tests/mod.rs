//! The server over real connections.

mod metrics;
mod pages;
mod probes;
mod profile;
mod requests;
mod sample;
mod site;
