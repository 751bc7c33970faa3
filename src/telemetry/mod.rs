//! What the exporter reports about itself: its own metrics, spans and logs, and the OTLP clients.

pub mod logs;
pub mod otlp;
pub mod process;
pub mod resource;
pub mod secrets;
mod setup;
#[cfg(test)]
mod testing;
pub mod traces;

pub use setup::{Guard, LogLevel, TelemetryError, TelemetrySettings, build, init};
