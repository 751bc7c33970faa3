//! Samples of a scrape after the first reading, by the default settings: what an exporter costs its
//! Prometheus before anything happens.

use gitlab_simulator::{Options, Simulator};

use amazing_gitlab_exporter::config::Settings;

use crate::driver::{Core, client_settings};
use crate::gitlab::Size;
use crate::report::{figure, note};
use crate::role::Outcome;

/// Projects, and at most so many samples.
const CASES: [(usize, Option<f64>); 2] = [(300, Some(130_000.0)), (10_000, None)];
/// Metrics that are named, those with the most samples.
const LARGEST: usize = 8;

/// Every case.
pub fn measure() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    for (projects, most) in CASES {
        runtime.block_on(case(projects, most))?;
    }
    Ok(())
}

async fn case(projects: usize, most: Option<f64>) -> Outcome {
    let size = Size {
        projects,
        pipelines: 10,
        jobs: 12,
        active: 0.0,
    };
    let simulator = Simulator::start(size.world(None), &Options::default())?;
    let settings = Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    };
    let mut core = Core::paced(&simulator, &settings, &client_settings(&simulator));
    core.round(&simulator).await;
    let mut counts = core.table.sample_counts();
    let all: usize = counts.iter().map(|(_, count)| count).sum();
    let name = format!("samples_{projects}");
    figure(
        &format!("{projects} projects of ten pipelines of 12 jobs: samples"),
        all as f64,
        "",
        most,
    );
    println!("goal {name} {all} samples");
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let largest: Vec<String> = counts
        .iter()
        .take(LARGEST)
        .map(|(family, count)| format!("{} {count}", family.desc().name))
        .collect();
    note(&format!(
        "{:.0} per project; {}",
        all as f64 / projects as f64,
        largest.join(", ")
    ));
    let failures = core.heard.all_failures();
    if core.heard.tracked() != projects || !failures.is_empty() {
        return Err(format!("{name}: {} tracked, {failures:?}", core.heard.tracked()).into());
    }
    Ok(())
}
