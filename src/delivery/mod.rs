//! How series leave the program: Prometheus text and OpenMetrics on `/metrics`, and OTLP push.

pub mod push;
pub mod text;
