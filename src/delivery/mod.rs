//! How series leave the program: Prometheus text and OpenMetrics on `/metrics`, and OTLP push.

mod intervals;
pub mod push;
pub mod text;

pub use intervals::Intervals;
