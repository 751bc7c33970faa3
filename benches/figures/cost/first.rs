//! The first reading of 1,000 projects: the program itself over a GitLab of two workers, of whose time
//! other users take 30 %. In real time.

use std::time::Duration;

use serde_json::Value;

use super::{goal, table};
use crate::exporter::{Exporter, first_round_is_over, projects_in};
use crate::gitlab::{Crowd, GitLab, Size};
use crate::report::note;
use crate::role::Outcome;

const PROJECTS: usize = 1_000;
const CROWD: Crowd = Crowd {
    workers: 2,
    load: 0.3,
};
/// Seconds between two lines about how it goes.
const LINES: u64 = 30;

/// How far the first reading is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    requests: f64,
    queries: f64,
    /// Seconds in workers of all requests together.
    seconds: f64,
    timeouts: f64,
    active: f64,
    queued: f64,
    slowdown: f64,
}

impl Progress {
    fn of(gitlab: &GitLab) -> Outcome<Self> {
        let (costs, workers) = (gitlab.costs()?, gitlab.workers()?);
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let tally = &workers["tally"];
        Ok(Self {
            requests: number(&costs["total"]["requests"]),
            queries: number(&costs["total"]["queries"]),
            seconds: number(&tally["seconds"]),
            timeouts: number(&tally["timeouts"]),
            active: number(&workers["active"]),
            queued: number(&workers["queued"]),
            slowdown: number(&workers["others_slowdown"]),
        })
    }
}

/// Until all is read, or the patience ends.
pub fn measure() -> Outcome {
    let minutes = std::env::var("AGE_BENCH_FIRST_MINUTES").ok();
    let minutes: u64 = minutes.and_then(|text| text.parse().ok()).unwrap_or(20);
    let patience = Duration::from_secs(minutes * 60);
    let size = Size {
        projects: PROJECTS,
        pipelines: 30,
        jobs: 8,
        active: 0.0,
    };
    let gitlab = GitLab::start_crowded(size, Some(CROWD))?;
    let exporter = Exporter::start(&gitlab, &[])?;
    let (mut ready, mut all) = (None, None);
    let (mut before, mut next) = (Progress::default(), LINES);
    println!(
        "      {:>8} {:>9} {:>9} {:>10} {:>9} {:>7} {:>7} {:>9} {:>9}",
        "seconds",
        "requests",
        "queries",
        "ms/query",
        "timeouts",
        "active",
        "queued",
        "projects",
        "slowdown"
    );
    while exporter.started.elapsed() < patience && all.is_none() {
        std::thread::sleep(Duration::from_secs(1));
        let now = exporter.started.elapsed().as_secs_f64();
        if ready.is_none() && exporter.is_ready() {
            ready = Some(now);
        }
        let metrics = exporter.metrics()?;
        let shown = projects_in(&metrics);
        if shown == PROJECTS && first_round_is_over(&metrics) {
            all = Some(now);
        }
        if now as u64 >= next || all.is_some() {
            next += LINES;
            let progress = Progress::of(&gitlab)?;
            print_line(now, &progress, &before, shown);
            before = progress;
        }
    }
    let elapsed = exporter.started.elapsed().as_secs_f64();
    let progress = Progress::of(&gitlab)?;
    table(
        "first reading of 1,000 projects, together",
        &gitlab.operations()?,
        1.0,
    );
    if all.is_none() {
        note(&format!("not all was read after {elapsed:.0} s"));
    }
    goal("first_reading_queries", progress.queries, "queries");
    goal("first_reading_ready", ready.unwrap_or(elapsed), "s");
    goal("first_reading_all", all.unwrap_or(elapsed), "s");
    goal("first_reading_timeouts", progress.timeouts, "requests");
    goal("first_reading_others_slowdown", progress.slowdown, "times");
    Ok(())
}

fn print_line(now: f64, progress: &Progress, before: &Progress, shown: usize) {
    let queries = progress.queries - before.queries;
    let per_query = (progress.seconds - before.seconds) * 1_000.0 / queries.max(1.0);
    println!(
        "      {now:>8.0} {:>9.0} {:>9.0} {per_query:>10.1} {:>9.0} {:>7.0} {:>7.0} {shown:>9} {:>9.2}",
        progress.requests - before.requests,
        queries,
        progress.timeouts,
        progress.active,
        progress.queued,
        progress.slowdown
    );
}
