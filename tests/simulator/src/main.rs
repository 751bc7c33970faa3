//! A GitLab to point an exporter at, living as fast as asked.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{process, thread};

use clap::Parser;
use gitlab_simulator::time::{HOUR, MINUTE, Millis};
use gitlab_simulator::workers;
use gitlab_simulator::world::Tier;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use tokio::runtime::Builder;
use tokio::signal;

/// A deterministic GitLab that speaks REST v4 and GraphQL.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8929")]
    listen: SocketAddr,
    /// Where others reach it, when that is not where it listens.
    #[arg(long)]
    external_url: Option<String>,
    /// Same seed, same world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many projects there are.
    #[arg(long, default_value_t = 12)]
    projects: usize,
    /// Finished pipelines that each project has at the start.
    #[arg(long, default_value_t = 10)]
    pipelines: usize,
    /// Jobs of each pipeline.
    #[arg(long, default_value_t = 8)]
    jobs: usize,
    /// Test cases that each test job reports.
    #[arg(long, default_value_t = 0)]
    tests: usize,
    /// Whether every group has paid for everything (GitLab Ultimate).
    #[arg(long)]
    ultimate: bool,
    /// Share of projects in which somebody acts, from 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    active: f64,
    /// How often somebody acts in such a project, per hour of world time.
    #[arg(long, default_value_t = 6.0)]
    pushes_per_hour: f64,
    /// World seconds that pass in one second.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Behave as a GitLab of so many Puma workers (8 threads each): answers take their modelled time,
    /// and what takes too long is broken off. --speed makes these seconds pass as fast as the world's.
    #[arg(long)]
    workers: Option<usize>,
    /// Share of the workers' time that other users take, from 0 to 1.
    #[arg(long, default_value_t = 0.0, requires = "workers")]
    load: f64,
    /// Hours that the world has lived when it starts.
    #[arg(long, default_value_t = 6)]
    history_hours: i64,
}

fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// Ends the process when it is asked to: the first process of a container would not hear of it.
fn end_when_asked() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(asked());
        process::exit(0);
    });
    Ok(())
}

async fn asked() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = signal::ctrl_c() => {}
        }
        return;
    }
    let _ = signal::ctrl_c().await;
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    end_when_asked()?;
    let begin = now();
    let groups = arguments.projects.div_ceil(6).max(1);
    let mut world = World::generate(WorldConfig {
        seed: arguments.seed,
        start: begin - arguments.history_hours * HOUR,
        groups,
        projects: arguments.projects,
        pipelines_per_project: arguments.pipelines,
        jobs_per_pipeline: arguments.jobs,
        tests_per_job: arguments.tests,
        active_ratio: arguments.active,
        pushes_per_hour: arguments.pushes_per_hour,
        longest_job: 4 * MINUTE,
        ..WorldConfig::default()
    });
    if arguments.ultimate {
        for group in 0..groups {
            let set = world.set_tier(&format!("group-{group}"), Tier::Ultimate);
            set.map_err(io::Error::other)?;
        }
    }
    world.advance_to(begin);
    world.ledger_mut().clear();
    let simulator = Simulator::start(
        world,
        &Options {
            listen: arguments.listen,
            external_url: arguments.external_url,
            workers: arguments.workers.map(|workers| workers::Settings {
                workers,
                load: arguments.load,
                speed: arguments.speed,
                seed: arguments.seed,
            }),
            ..Options::default()
        },
    )?;
    println!("GitLab simulator: {}", simulator.url());
    println!("Token:            {}", simulator.token());
    loop {
        thread::sleep(Duration::from_millis(200));
        let passed = (now() - begin) as f64 * arguments.speed;
        simulator.world().advance_to(begin + passed as Millis);
    }
}
