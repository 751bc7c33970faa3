//! What performance is measured with: one table, each figure beside its target.
//!
//! `make bench` prints it all; `cargo bench --bench figures -- table requests` some sections of it.
//! Every section runs in a process of its own, so that no figure of memory holds what an earlier
//! section left. What is not the exporter (a simulated GitLab, an OTLP receiver) runs in processes
//! of its own too: this program, started again in another role.

#![expect(
    clippy::disallowed_methods,
    reason = "a bench is no part of the house: it builds the instruments that ours are held against, and reads the real clock"
)]

mod configuration;
mod cost;
#[path = "../../tests/integration/support/core.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod driver;
mod durable;
mod exporter;
mod gitlab;
mod hostile;
mod http;
mod jobs;
mod live;
#[path = "../../tests/integration/support/observer.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod observer;
mod oracle;
mod receiver;
mod redis;
mod replicas;
mod report;
mod requests;
mod role;
mod samples;
mod secrets;
#[path = "../../tests/integration/support/series.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod series;
mod soak;
mod store;
mod table;
mod usage;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};

use report::MISSED;
use role::Outcome;

/// Figures that are measured together.
type Section = (&'static str, fn() -> Outcome);

/// All of them, in the order of the table.
const SECTIONS: [Section; 16] = [
    ("table", table::measure),
    ("secrets", secrets::measure),
    ("configuration", configuration::measure),
    ("hostile", hostile::measure),
    ("oracle", oracle::measure),
    ("requests", requests::measure),
    ("usage", usage::measure),
    ("cost", cost::measure),
    ("samples", samples::measure),
    ("first", exporter::first::measure),
    ("whole", exporter::whole::measure),
    ("store", store::measure),
    ("replicas", replicas::measure),
    ("live", live::measure),
    ("soak", soak::measure),
    ("binary", exporter::size),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["gitlab", world @ ..] => gitlab::serve(world),
        ["receiver"] => receiver::serve(),
        ["topics"] => soak::serve(),
        ["enemy"] => hostile::serve(),
        ["section", name] => section(name),
        wanted => overview(wanted),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn section(name: &str) -> Outcome {
    match SECTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, measure)) => measure(),
        None => Err(format!("there is no section {name}").into()),
    }
}

/// Runs the wanted sections, or all, each in a process of its own.
fn overview(wanted: &[&str]) -> Outcome {
    // Cargo says `--bench` to every bench.
    let wanted: Vec<_> = wanted
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let mut missed = 0;
    let mut failed = Vec::new();
    println!("{:<62} {:>10}        target", "figure", "measured");
    for (name, _) in SECTIONS {
        if !wanted.is_empty() && !wanted.contains(&&name) {
            continue;
        }
        println!("\n{name}");
        let mut child = Command::new(std::env::current_exe()?)
            .args(["section", name])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().ok_or("the output is piped")?;
        for line in BufReader::new(lines).lines() {
            let line = line?;
            missed += usize::from(line.ends_with(MISSED));
            println!("{line}");
        }
        if !child.wait()?.success() {
            failed.push(name);
        }
    }
    println!("\n{missed} of the figures above miss their target.");
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("could not be measured: {}", failed.join(", ")).into())
    }
}
