//! Everything that turns facts into telemetry: the catalogue of metrics, the instruments built
//! from it, and the two deliveries.

pub mod buckets;
pub mod catalogue;
pub mod instruments;
pub mod logs;
pub mod otlp;
pub mod process;
pub mod push;
pub mod resource;
pub mod secrets;
mod setup;
pub mod text;
pub mod traces;

pub use setup::{Guard, TelemetryError, TelemetrySettings, build, init};
