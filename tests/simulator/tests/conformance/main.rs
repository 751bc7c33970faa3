//! The simulator answers as a running GitLab did: the rows of that GitLab are loaded, each recorded
//! request is sent, and what comes back is held against what came back then.
//!
//! The records are in `$AGE_SHARED_DIR`, or in `../shared` beside the checkout. What differs for a reason is
//! listed in `exceptions`; an exception that nothing needs fails as well. To work on differences:
//!
//! ```sh
//! SHOW=20 ONLY=/pipelines cargo test -p gitlab-simulator --test conformance -- --nocapture
//! ```
//!
//! prints the first 20 differences of requests whose endpoint or operation contains `/pipelines`.

mod client;
mod compare;
mod exceptions;
mod records;
mod table;

use std::path::PathBuf;

use gitlab_simulator::time;
use gitlab_simulator::{Options, Simulator, World};

use client::Client;
use exceptions::Edition;
use table::Table;

/// The moment at which the records were made.
const NOW: &str = "2026-11-30T08:55:00Z";

/// The folder with records, or `None` with a printed reason.
fn recorded() -> Option<PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("AGE_SHARED_DIR").map_or(beside, PathBuf::from);
    let folder = shared.join("truth/recorded");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: there are no records at {}", folder.display());
    None
}

fn simulator(folder: &std::path::Path, edition: Edition) -> Simulator {
    let rows = std::fs::read_to_string(folder.join("19.3-ce/world.json")).expect("rows");
    let now = time::parse(NOW).expect("a time");
    let mut world = World::recorded(&rows, now).expect("rows that fit together");
    if edition == Edition::Enterprise {
        exceptions::license(&mut world);
    }
    let options = Options {
        external_url: Some("https://gitlab.example.com".to_owned()),
        ..Options::default()
    };
    Simulator::start(world, &options).expect("a free port")
}

async fn conforms(edition: Edition) {
    let Some(folder) = recorded() else { return };
    let simulator = simulator(&folder, edition);
    let folder = folder.join(edition.folder());
    let mut table = Table::default();
    let mut client = Client::new(&simulator);
    for record in records::rest(&folder) {
        let answer = client.rest(&record).await;
        let differences = compare::rest(&record, &answer);
        table.add(record.subject(), "rest", record.id, differences);
    }
    for record in records::graphql(&folder) {
        let answer = client.graphql(&record).await;
        let differences = compare::graphql(&record, &answer);
        table.add(record.subject(), "graphql", record.id, differences);
    }
    table.judge(edition);
}

#[tokio::test]
async fn the_community_edition_answers_as_recorded() {
    conforms(Edition::Community).await;
}

#[tokio::test]
async fn the_enterprise_edition_answers_as_recorded() {
    conforms(Edition::Enterprise).await;
}
