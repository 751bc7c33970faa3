//! The simulator's contract: that it is as awkward as GitLab itself. Each habit is a switch in
//! [`gitlab_simulator::Quirks`]; `contract!` holds that it is seen with its switch on and not with it off.

mod auth;
mod basics;
mod cable;
mod complexity;
mod control;
mod costs;
mod faults;
mod graphql;
mod hooks;
mod lifelike;
mod limits;
#[cfg(unix)]
mod program;
mod rest;
mod rights;
mod schemas;
mod support;
mod visibility;
mod world;

use gitlab_simulator::Quirks;

#[test]
fn every_habit_has_a_contract() {
    let sources = [include_str!("graphql.rs"), include_str!("rest.rs")].concat();
    for name in Quirks::NAMES {
        assert!(
            sources.contains(&format!("contract!({name},")),
            "no contract for {name}"
        );
    }
}
