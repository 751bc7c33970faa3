//! What runs when.

pub mod registry;
