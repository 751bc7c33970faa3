//! A deterministic GitLab that speaks REST v4 and GraphQL, for tests, the demo and the benches.
//!
//! In the order a request sees them:
//!
//! - [`server`] binds a port and wires everything below behind it; [`Simulator`] is the handle.
//! - [`cost`] charges what an answer costs GitLab; [`workers`] lets answers be as late as that makes them.
//! - [`requests`] records every request, so that a test can count calls.
//! - [`faults`] breaks answers on demand; [`limits`] answers 429 as GitLab's two limiters do.
//! - [`auth`] reads tokens, scopes and roles.
//! - [`cable`] announces what moves, to who is subscribed.
//! - [`rest`] and [`graphql`] show the world as GitLab would, awkwardness included
//!   ([`quirks`] has one switch for each piece of it).
//! - [`world`] is what there is: groups, projects, pipelines, jobs, their rules of change, their
//!   evolution in time, and the [`world::ledger`] of what happened. It does no I/O, has its own clock
//!   and depends on nothing but its seed.
//! - [`control`] lets other processes move time, change the world and read the ledger.

#![recursion_limit = "256"]

pub mod access;
pub mod auth;
pub mod cable;
pub mod control;
pub mod cost;
pub mod faults;
mod gate;
pub mod graphql;
pub mod limits;
pub mod quirks;
pub mod requests;
pub mod rest;
pub mod server;
pub mod time;
pub mod workers;
pub mod world;

pub use auth::{AccessLevel, Token};
pub use cable::{Cable, CableCounts};
pub use cost::{Cost, Costs};
pub use faults::{Fault, Faults, Rule};
pub use limits::{Limit, Limits};
pub use quirks::Quirks;
pub use requests::{Recorded, Requests};
pub use server::{Options, Simulator};
pub use world::{World, WorldConfig};
