//! How soon there is something to see.

use std::time::Duration;

use super::{Exporter, first_round_is_over, projects_in};
use crate::gitlab::{GitLab, Size};
use crate::report::figure;
use crate::role::Outcome;

const PROJECTS: usize = 100;
/// Looks at `/metrics` are that far apart.
const STEP: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(120);
const STARTS: usize = 3;

/// Seconds from the start of the process, the worst of some starts.
#[derive(Clone, Copy, Default)]
struct Times {
    one: f64,
    all: f64,
    round: f64,
}

/// Time to first metrics of 100 projects with the default limit of requests.
pub fn measure() -> Outcome {
    let gitlab = GitLab::start(Size {
        projects: PROJECTS,
        pipelines: 10,
        jobs: 50,
        active: 0.05,
    })?;
    let mut worst = Times::default();
    for _ in 0..STARTS {
        let times = watch(&gitlab)?;
        worst.one = worst.one.max(times.one);
        worst.all = worst.all.max(times.all);
        worst.round = worst.round.max(times.round);
    }
    figure(
        "100 projects: first metrics of one",
        worst.one,
        "s",
        Some(2.0),
    );
    figure(
        "100 projects: first metrics of all",
        worst.all,
        "s",
        Some(2.0),
    );
    figure("100 projects: first round is over", worst.round, "s", None);
    Ok(())
}

fn watch(gitlab: &GitLab) -> Outcome<Times> {
    let exporter = Exporter::start(gitlab, &[])?;
    let mut times = Times::default();
    while exporter.started.elapsed() < DEADLINE {
        let metrics = exporter.metrics()?;
        let now = exporter.started.elapsed().as_secs_f64();
        let seen = projects_in(&metrics);
        let note = |time: &mut f64, reached: bool| {
            if *time == 0.0 && reached {
                *time = now;
            }
        };
        note(&mut times.one, seen > 0);
        note(&mut times.all, seen == PROJECTS);
        note(&mut times.round, first_round_is_over(&metrics));
        if times.all > 0.0 && times.round > 0.0 {
            return Ok(times);
        }
        std::thread::sleep(STEP);
    }
    Err(format!("100 projects were not all seen within {DEADLINE:?}").into())
}
