//! The connection to Redis, against real servers.

mod calls;
