//! Resident memory and processor time of the exporter alone.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Exporter;
use crate::gitlab::{GitLab, Size};
use crate::http;
use crate::report::{figure, megabytes, note};
use crate::role::Outcome;

/// The first reading is not what is measured here: it may take as many requests as it likes.
const SETTINGS: [&str; 3] = [
    "gitlab.max_requests_per_second=1000",
    "gitlab.burst_requests_per_second=1000",
    // The first reading is not paced by GitLab's time.
    "gitlab.max_server_share=0",
];
const DEADLINE: Duration = Duration::from_secs(300);
/// After the first reading, before anything is measured: another round.
const SETTLE: Duration = Duration::from_secs(40);
/// How long processor time is measured.
const WATCH: Duration = Duration::from_secs(90);
/// A Prometheus looks that often meanwhile.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(30);

/// Only the branch `main`: one pipeline of 50 jobs is shown of each project.
const MAIN_ONLY: [&str; 3] = [
    "project_defaults.refs.branches.regexp=^main$",
    "project_defaults.refs.tags.enabled=false",
    "project_defaults.refs.merge_requests.enabled=false",
];

/// Memory of both sizes, and processor time of the larger.
pub fn measure() -> Outcome {
    for (projects, target) in [(100, 64.0), (1000, 256.0)] {
        let (_gitlab, exporter) = settled(projects, &MAIN_ONLY)?;
        memory(
            &exporter,
            &format!("{projects} projects, main only"),
            target,
        );
    }
    let (gitlab, exporter) = settled(100, &[])?;
    memory(&exporter, "100 projects", 64.0);
    drop((exporter, gitlab));
    large()
}

fn large() -> Outcome {
    let (gitlab, exporter) = settled(1000, &[])?;
    memory(&exporter, "1000 projects", 256.0);
    let (requests, cpu) = (gitlab.requests()?, exporter.cpu());
    watch(exporter.address)?;
    let cpu = exporter.cpu() - cpu;
    // One of the requests was ours.
    let requests = gitlab.requests()? - requests - 1.0;
    let seconds = WATCH.as_secs_f64();
    figure(
        "1000 projects, 5 % active: processor",
        cpu.as_secs_f64() / seconds,
        "cores",
        Some(0.1),
    );
    figure(
        "1000 projects, 5 % active: requests meanwhile",
        requests / seconds * 60.0,
        "/min",
        None,
    );
    memory(&exporter, "1000 projects, after that", 256.0);
    Ok(())
}

/// An exporter that has read everything once and then gone on for another round.
fn settled(projects: usize, settings: &[&str]) -> Outcome<(GitLab, Exporter)> {
    let gitlab = GitLab::start(Size {
        projects,
        pipelines: 10,
        jobs: 50,
        active: 0.05,
    })?;
    let exporter = Exporter::start(&gitlab, &[&SETTINGS, settings].concat())?;
    let metrics = exporter.wait_for_all(projects, DEADLINE)?;
    note(&format!(
        "{} series; the first reading took {:.1} s, {} requests and {:.1} s of processor time",
        series(&metrics),
        exporter.started.elapsed().as_secs_f64(),
        gitlab.requests()?,
        exporter.cpu().as_secs_f64()
    ));
    std::thread::sleep(SETTLE);
    Ok((gitlab, exporter))
}

/// Series on a look at the metrics, by the exporter's own count.
fn series(metrics: &str) -> f64 {
    let lines = metrics.lines();
    let counts = lines.filter_map(|line| line.strip_prefix("age_series{")?.rsplit_once(' '));
    counts
        .filter_map(|(_, count)| count.parse::<f64>().ok())
        .sum()
}

fn memory(exporter: &Exporter, projects: &str, target: f64) {
    let (resident, peak) = exporter.memory();
    figure(
        &format!("{projects}: memory"),
        megabytes(resident),
        "MB",
        Some(target),
    );
    figure("  at its peak", megabytes(peak), "MB", None);
}

/// Lets time pass, with a scrape now and then.
fn watch(address: SocketAddr) -> Outcome {
    let start = Instant::now();
    let gzip = [("Accept-Encoding", "gzip")];
    while start.elapsed() < WATCH {
        http::get(address, "/metrics", &gzip, &mut io::sink())?;
        let rest = WATCH.saturating_sub(start.elapsed());
        std::thread::sleep(SCRAPE_INTERVAL.min(rest));
    }
    Ok(())
}
