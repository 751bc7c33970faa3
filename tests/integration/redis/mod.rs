//! The connection to Redis, against real servers.

mod budget;
mod calls;
mod groups;
mod refusals;
