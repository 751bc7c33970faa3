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

/// Both sizes.
pub fn measure() -> Outcome {
    size(100, 64.0, None)?;
    size(1000, 256.0, Some(0.1))
}

fn size(projects: usize, memory_target: f64, cpu_target: Option<f64>) -> Outcome {
    let gitlab = GitLab::start(Size {
        projects,
        pipelines: 10,
        jobs: 50,
        active: 0.05,
    })?;
    let exporter = Exporter::start(&gitlab, &SETTINGS)?;
    let metrics = exporter.wait_for_first_round(DEADLINE)?;
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("age_"))
        .count();
    drop(metrics);
    let took = exporter.started.elapsed();
    let spent = exporter.cpu();
    let asked = gitlab.requests()?;
    std::thread::sleep(SETTLE);
    let requests = gitlab.requests()?;
    let cpu = exporter.cpu();
    watch(exporter.address)?;
    let cpu = exporter.cpu() - cpu;
    // One of the requests was ours.
    let requests = gitlab.requests()? - requests - 1.0;
    let (resident, peak) = exporter.memory();
    let name = format!("{projects} projects of 10 pipelines of 50 jobs");
    figure(
        &format!("{name}: resident memory"),
        megabytes(resident),
        "MB",
        Some(memory_target),
    );
    figure(&format!("{name}: at its peak"), megabytes(peak), "MB", None);
    figure(
        &format!("{name}, 5 % active: processor"),
        cpu.as_secs_f64() / WATCH.as_secs_f64(),
        "cores",
        cpu_target,
    );
    let per_minute = requests / WATCH.as_secs_f64() * 60.0;
    figure(
        &format!("{name}, 5 % active: requests"),
        per_minute,
        "/min",
        None,
    );
    note(&format!(
        "{series} lines on /metrics; the first round took {:.1} s, {asked} requests and {:.1} s of processor time",
        took.as_secs_f64(),
        spent.as_secs_f64()
    ));
    Ok(())
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
