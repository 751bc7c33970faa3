//! What the exporter costs its GitLab, by the simulator's model: database queries, rows read, processor
//! time. Costs follow from requests and rows, so they are the same on every machine.
//!
//! All but the first reading is driven on the world's clock, as fast as it goes: an hour of the world in
//! some seconds. The first reading is the program itself over workers that behave, in real time; it ends
//! when all is read, or after `AGE_BENCH_FIRST_MINUTES` (20). `AGE_BENCH_COST=quiet,first` measures some
//! parts only.

mod first;
mod hours;
mod worlds;

use std::collections::BTreeMap;

use gitlab_simulator::Cost;

use crate::role::Outcome;

/// A part, by its name.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 8] = [
    ("quiet", hours::quiet),
    ("many", hours::many),
    ("admin", hours::many_by_an_administrator),
    ("busy", hours::busy),
    ("old", hours::old),
    ("lively", hours::lively),
    ("reading", hours::reading),
    ("first", first::measure),
];

/// Every part, then the goals.
pub fn measure() -> Outcome {
    let wanted = std::env::var("AGE_BENCH_COST").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.contains(&name) {
            part()?;
        }
    }
    Ok(())
}

/// Prints a figure that the project has set itself as a goal.
fn goal(name: &str, value: f64, unit: &str) {
    println!("goal {name} {value:.3} {unit}");
}

/// Prints what each operation costs in a minute, the dearest first.
fn table(title: &str, operations: &BTreeMap<String, Cost>, minutes: f64) {
    let mut rows: Vec<_> = operations.iter().collect();
    rows.sort_by(|(_, a), (_, b)| b.cpu_ms.total_cmp(&a.cpu_ms));
    println!(
        "      {title:<58} {:>9} {:>9} {:>11} {:>9} {:>10}",
        "requests", "queries", "rows", "CPU ms", "most rows"
    );
    let mut total = Cost::default();
    for (name, cost) in rows {
        total += *cost;
        line(name, cost, minutes);
    }
    line("together", &total, minutes);
}

fn line(name: &str, cost: &Cost, minutes: f64) {
    println!(
        "      {name:<58} {:>9.2} {:>9.1} {:>11.1} {:>9.1} {:>10}",
        cost.requests as f64 / minutes,
        cost.queries / minutes,
        cost.rows as f64 / minutes,
        cost.cpu_ms / minutes,
        cost.biggest_list
    );
}
