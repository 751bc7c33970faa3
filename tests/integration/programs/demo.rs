//! The demo, as `make demo` starts it: it shows every metric that there is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue;

use crate::support::program::Program;
use crate::support::{http, until, within};

/// The demo reads its history first, then what is on top of it.
const DEADLINE: Duration = Duration::from_secs(150);

/// What the demo has no series of, and why.
const EXCEPT: [&str; 5] = [
    // Declared, and not recorded by this version.
    "age_webhook_events_total",
    "age_cluster_members",
    "age_cluster_owned_shards",
    // Nothing goes wrong there.
    "age_api_retries_total",
    "age_series_overflow_total",
];

/// The demo's program: `cargo test` builds the examples, too.
fn demo() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join("examples/demo");
    path.is_file().then_some(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_has_a_series() {
    let Some(demo) = demo() else {
        println!("skipped: target/debug/examples/demo was not built with this test");
        return;
    };
    let program = Program::start(Command::new(demo));
    let address = until("the demo says where its metrics are", async || {
        let said = program.stdout();
        let mut lines = said.lines().map(str::trim);
        let line = lines.find_map(|line| line.strip_prefix("Metrics "));
        line.map(|address| address.trim().to_owned()).ok_or(said)
    })
    .await;
    let all: BTreeSet<&str> = catalogue::all().map(|desc| desc.name).collect();
    let shown = within(DEADLINE, "every metric has a series", async || {
        let text = http::get(&address).await.body;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let shown: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
        let missing: Vec<&str> = all
            .iter()
            .filter(|name| !shown.contains(*name) && !EXCEPT.contains(name))
            .copied()
            .collect();
        match missing.is_empty() {
            true => Ok(all.intersection(&shown).count()),
            false => Err(format!("{} are missing: {missing:?}", missing.len())),
        }
    })
    .await;
    println!("the demo shows {shown} of {} metrics", all.len());
    assert!(shown + EXCEPT.len() >= all.len());
}
