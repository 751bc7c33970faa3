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
const SETTINGS: [&str; 2] = [
    "gitlab.max_requests_per_second=1000",
    "gitlab.burst_requests_per_second=1000",
];
const DEADLINE: Duration = Duration::from_secs(300);
/// After the first round, before anything is measured: two rounds more.
const SETTLE: Duration = Duration::from_secs(65);
/// How long processor time is measured.
const WATCH: Duration = Duration::from_secs(90);
/// A Prometheus looks that often meanwhile.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(30);

/// Memory of both sizes, and processor time of the larger.
pub fn measure() -> Outcome {
    small()?;
    large()
}

fn small() -> Outcome {
    let (_gitlab, exporter) = settled(100)?;
    memory(&exporter, "100", 64.0);
    Ok(())
}

fn large() -> Outcome {
    let (gitlab, exporter) = settled(1000)?;
    memory(&exporter, "1,000", 256.0);
    let (requests, cpu) = (gitlab.requests()?, exporter.cpu());
    watch(exporter.address)?;
    let cpu = exporter.cpu() - cpu;
    // One of the requests was ours.
    let requests = gitlab.requests()? - requests - 1.0;
    let seconds = WATCH.as_secs_f64();
    figure(
        "1,000 projects, 5 % active: processor",
        cpu.as_secs_f64() / seconds,
        "cores",
        Some(0.1),
    );
    figure(
        "1,000 projects, 5 % active: requests meanwhile",
        requests / seconds * 60.0,
        "/min",
        None,
    );
    memory(&exporter, "1,000 (after that)", 256.0);
    Ok(())
}

/// An exporter that has read everything once and then gone on for two rounds.
fn settled(projects: usize) -> Outcome<(GitLab, Exporter)> {
    let gitlab = GitLab::start(Size {
        projects,
        pipelines: 10,
        jobs: 50,
        active: 0.05,
    })?;
    let exporter = Exporter::start(&gitlab, &SETTINGS)?;
    let metrics = exporter.wait_for_all(projects, DEADLINE)?;
    note(&format!(
        "{projects} projects: {} lines on /metrics after the first reading, which took {:.1} s, {} requests and {:.1} s of processor time",
        metrics
            .lines()
            .filter(|line| line.starts_with("age_"))
            .count(),
        exporter.started.elapsed().as_secs_f64(),
        gitlab.requests()?,
        exporter.cpu().as_secs_f64()
    ));
    std::thread::sleep(SETTLE);
    Ok((gitlab, exporter))
}

fn memory(exporter: &Exporter, projects: &str, target: f64) {
    let (resident, peak) = exporter.memory();
    let name = format!("{projects} projects of 10 pipelines of 50 jobs: memory");
    figure(&name, megabytes(resident), "MB", Some(target));
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
