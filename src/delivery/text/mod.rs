//! `/metrics`: the series table as Prometheus text 0.0.4 or OpenMetrics 1.0, streamed.
//!
//! Metrics come in the order of the catalogue, each metric's series together, the exporter's own
//! metrics last. Nothing is held but the chunk being written.

mod lines;
mod negotiate;
mod number;
mod selection;
mod stream;
mod tail;

pub use negotiate::{Format, accepts_gzip};
pub use selection::{Selection, SelectionError};
pub use stream::TextStream;

#[cfg(test)]
mod tests;
