//! How soon there is something to see.

use std::time::Duration;

use super::{Exporter, JOBS, PIPELINES, first_round_is_over, projects_of};
use crate::gitlab::{GitLab, Size};
use crate::report::{figure, note};
use crate::role::Outcome;

const PROJECTS: usize = 100;
/// Looks at `/metrics` are that far apart.
const STEP: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(120);
const STARTS: usize = 3;
/// How long a first reading of many projects is watched.
const LATE_DEADLINE: Duration = Duration::from_secs(400);

/// Seconds from the start of the process until a metric is there of one project and of all, the worst of some
/// starts.
#[derive(Clone, Copy, Default)]
struct Times {
    one: f64,
    all: f64,
}

/// What is looked for: its metric, how it is called, and the most for one project and for all.
const SOUGHT: [(&str, &str, [Option<f64>; 2]); 2] = [
    (PIPELINES, "pipelines", [Some(2.0), Some(2.0)]),
    // A list of jobs for each project, of which ten a second are allowed.
    (JOBS, "jobs", [None, None]),
];

/// Time to first metrics of 100 projects with the default limit of requests.
pub fn measure() -> Outcome {
    let gitlab = GitLab::start(Size {
        projects: PROJECTS,
        pipelines: 10,
        jobs: 50,
        active: 0.05,
    })?;
    let mut worst = [Times::default(); SOUGHT.len()];
    for _ in 0..STARTS {
        for (worst, times) in worst.iter_mut().zip(watch(&gitlab)?) {
            worst.one = worst.one.max(times.one);
            worst.all = worst.all.max(times.all);
        }
    }
    for ((_, what, [one, all]), worst) in SOUGHT.into_iter().zip(worst) {
        let name = |of| format!("{PROJECTS} projects: first {what} of {of}");
        figure(&name("one"), worst.one, "s", one);
        figure(&name("all"), worst.all, "s", all);
    }
    drop(gitlab);
    late()
}

/// How late pipelines of 300 projects are read while history is: what is new must not wait for it.
fn late() -> Outcome {
    let gitlab = GitLab::start(Size {
        projects: 300,
        pipelines: 20,
        jobs: 20,
        active: 0.2,
    })?;
    let exporter = Exporter::start(&gitlab, &[])?;
    let mut latest: f64 = 0.0;
    // All that is read at first has been, when what comes last has.
    while exporter.started.elapsed() < LATE_DEADLINE {
        let metrics = exporter.metrics()?;
        let lag = value_of(&metrics, "age_collection_lag_seconds", "pipelines");
        latest = latest.max(lag.unwrap_or_default());
        if value_of(&metrics, "age_collection_last_success_timestamp", "dora").is_some()
            && first_round_is_over(&metrics)
            && exporter.started.elapsed() > Duration::from_secs(120)
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    figure("300 projects: pipelines late meanwhile", latest, "s", None);
    note(&format!(
        "first reading with the default limit of requests, watched for {} s",
        exporter.started.elapsed().as_secs()
    ));
    Ok(())
}

/// The value of a metric of the exporter's own about a collector.
fn value_of(metrics: &str, name: &str, collector: &str) -> Option<f64> {
    let series = format!("{name}{{collector_type=\"{collector}\"}} ");
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

fn watch(gitlab: &GitLab) -> Outcome<[Times; SOUGHT.len()]> {
    let exporter = Exporter::start(gitlab, &[])?;
    let mut all = [Times::default(); SOUGHT.len()];
    while exporter.started.elapsed() < DEADLINE {
        let metrics = exporter.metrics()?;
        let now = exporter.started.elapsed().as_secs_f64();
        for ((metric, ..), times) in SOUGHT.into_iter().zip(&mut all) {
            let seen = projects_of(&metrics, metric).len();
            let note = |time: &mut f64, reached: bool| {
                if *time == 0.0 && reached {
                    *time = now;
                }
            };
            note(&mut times.one, seen > 0);
            note(&mut times.all, seen == PROJECTS);
        }
        if all.iter().all(|times| times.all > 0.0) {
            return Ok(all);
        }
        std::thread::sleep(STEP);
    }
    Err(format!("100 projects were not all seen within {DEADLINE:?}").into())
}
