//! The configuration: what every setting means, where its value comes from, and whether it is right.

pub mod duration;
pub mod model;
mod tree;
pub mod values;
mod yaml;

pub use model::*;
pub use values::{ListenAddress, Pattern, Secret, Switch};
