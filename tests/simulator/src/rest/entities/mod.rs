//! GitLab's JSON for each kind of thing.

mod ci;
mod code;
mod deliveries;
mod projects;
mod reviews;
mod users;

pub use reviews::merge_status;
use serde_json::Value;

use crate::access::Viewer;
use crate::time::{self, Millis};
use crate::world::World;

/// The world and the viewer: what an entity depends on besides itself.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The world.
    pub world: &'a World,
    /// Who asks.
    pub viewer: &'a Viewer,
    /// Where the instance is reached, without a slash at the end.
    pub base_url: &'a str,
}

/// A time as REST writes it.
pub fn at(time: Millis) -> Value {
    Value::String(time::milliseconds(time))
}

/// A time that may be missing.
pub fn maybe(time: Option<Millis>) -> Value {
    time.map_or(Value::Null, at)
}
