//! Everything that turns facts into telemetry: the catalogue of metrics, the instruments built
//! from it, and the two deliveries.

pub mod buckets;
pub mod catalogue;
pub mod instruments;
