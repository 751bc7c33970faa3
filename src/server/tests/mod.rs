//! The server over real connections.

mod metrics;
mod pages;
mod probes;
#[cfg(unix)]
mod profile;
mod requests;
mod sample;
mod site;
