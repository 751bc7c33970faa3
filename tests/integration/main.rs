//! Behaviour at the seams: what users of the exporter see.

mod support;
mod traces_and_logs;
