//! What the tests share.

pub mod core;
pub mod series;
