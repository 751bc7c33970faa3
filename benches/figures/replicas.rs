//! What it costs to keep state in Redis, and how long replicas take to take over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::cluster::Exclusive;
use amazing_gitlab_exporter::shards::{Leases, Shard};
use amazing_gitlab_exporter::store::{Commit, Keys, RedisStore, Remembered, Store, Written};
use amazing_gitlab_exporter::types::ProjectId;
use gitlab_simulator::{Options, Simulator};
use tokio::runtime::Runtime;

use crate::driver::now;
use crate::durable;
use crate::exporter::Exporter;
use crate::gitlab::GitLab;
use crate::http;
use crate::redis::Server;
use crate::report::{figure, megabytes, note};
use crate::role::Outcome;
use crate::store::{MINUTES, SIZE, Timed};

/// The shards are held for as long as the bench takes.
const HOLD: Duration = Duration::from_secs(3600);
/// As short as an empty Redis may be waited for.
const FIRST: Duration = Duration::from_millis(100);

/// How often a replica ends and is killed.
const ENDS: usize = 5;
/// How long processor time is measured.
const WATCH: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(300);

/// The first reading is not what is measured here.
const QUICK: [&str; 3] = [
    "gitlab.max_requests_per_second=1000",
    "gitlab.burst_requests_per_second=1000",
    "gitlab.max_server_share=0",
];

/// Commits, memory, take-over and processor time.
pub fn measure() -> Outcome {
    let runtime = Runtime::new()?;
    runtime.block_on(commits_and_memory())?;
    take_over(&runtime)?;
    processor(&runtime)
}

/// A store in Redis that holds all shards.
async fn held(server: &Server) -> Outcome<RedisStore> {
    let keys = Keys::new("bench");
    let leases = Arc::new(Leases::single());
    let instance = "bench";
    let first = Exclusive::take(&server.redis, &keys, instance, FIRST, &leases).await?;
    first.release().await;
    // It is never given back: the server goes away.
    Exclusive::take(&server.redis, &keys, instance, HOLD, &leases).await?;
    Ok(RedisStore::new(
        server.redis.clone(),
        keys,
        instance,
        leases,
    ))
}

async fn commits_and_memory() -> Outcome {
    let server = Server::start().await?;
    let empty = server.memory().await?;
    let simulator = Simulator::start(SIZE.world(None), &Options::default())?;
    let clock = Clock::manual(now(&simulator));
    let store = Arc::new(Timed::new(held(&server).await?));
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let (url, token) = (simulator.url(), simulator.token());
    let (mut scheduler, _) = durable::exporter(url, token, shared, &clock).await?;
    scheduler.round().await;
    tell("first reading", &store, Written::default());
    let before = store.store.written();
    for _ in 0..MINUTES * 2 {
        simulator.advance(Duration::from_secs(30));
        clock.set(now(&simulator));
        scheduler.round().await;
    }
    tell("5 % active", &store, before);
    let used = server.memory().await? - empty;
    figure(
        "Redis: memory of 1,000 projects",
        megabytes(used),
        "MB",
        None,
    );
    let remembered = store.load().await?;
    note(&format!(
        "{} projects, {} counters and histograms that have counted",
        remembered.projects.len(),
        remembered.rows.len()
    ));
    for copy in 1..10 {
        commit_copy(&store.store, &remembered, copy).await?;
    }
    let used = server.memory().await? - empty;
    figure(
        "Redis: memory of 10,000 projects",
        megabytes(used),
        "MB",
        None,
    );
    Ok(())
}

/// Prints what the commits since the last time took.
fn tell(when: &str, store: &Timed<RedisStore>, before: Written) {
    let (times, now) = (store.take(), store.store.written());
    let (Some(median), Some(longest)) = (times.get(times.len() / 2), times.last()) else {
        return;
    };
    let milliseconds = |duration: &Duration| duration.as_secs_f64() * 1000.0;
    let all: Duration = times.iter().sum();
    let name = format!("{when}: a commit to Redis, median");
    figure(&name, milliseconds(median), "ms", None);
    figure("  the longest", milliseconds(longest), "ms", None);
    let per_second = times.len() as f64 / all.as_secs_f64();
    figure("  one after the other", per_second, "/s", None);
    let (commits, bytes) = (now.commits - before.commits, now.bytes - before.bytes);
    let mean = bytes as f64 / 1000.0 / commits.max(1) as f64;
    figure("  sent to Redis, mean", mean, "kB", None);
    note(&format!("{} commits", times.len()));
}

/// Commits everything again, as that of other projects.
async fn commit_copy(store: &RedisStore, remembered: &Remembered, copy: u64) -> Outcome {
    let other = |id: ProjectId| ProjectId(id.0 + copy * 1_000_000);
    for shard in Shard::all() {
        let is_of = |id: &ProjectId| Shard::of(other(*id)) == shard;
        let projects = remembered.projects.iter().filter(|(id, _)| is_of(id));
        let rows = remembered.rows.iter().filter(|row| is_of(&row.project));
        let commit = Commit {
            projects: projects
                .map(|(id, memory)| (other(*id), Some(Arc::clone(memory))))
                .collect(),
            rows: rows
                .cloned()
                .map(|mut row| {
                    row.project = other(row.project);
                    row
                })
                .collect(),
            committed_at: remembered.committed_at,
            shard: Some(shard),
            ..Commit::default()
        };
        store.commit(commit).await?;
    }
    Ok(())
}

/// A replica at this Redis.
fn replica(gitlab: &GitLab, server: &Server) -> Outcome<Exporter> {
    let redis = format!("redis.url={}", server.url);
    Exporter::start(gitlab, &[&QUICK[..], &[&redis]].concat())
}

/// Shards of projects that a replica holds.
fn shards(replica: &Exporter) -> u64 {
    let ready = http::text(replica.address, "/ready").unwrap_or_default();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap_or_default();
    ready["replicas"]["owned_shards"].as_u64().unwrap_or(0)
}

fn wait(what: &str, condition: impl Fn() -> bool) -> Outcome<Duration> {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > DEADLINE {
            return Err(format!("not within {DEADLINE:?}: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(start.elapsed())
}

/// How long it takes until the projects of a replica that ended or was killed are another's.
fn take_over(runtime: &Runtime) -> Outcome {
    let server = runtime.block_on(Server::start())?;
    let gitlab = GitLab::start(SIZE)?;
    let stays = replica(&gitlab, &server)?;
    stays.wait_for_all(SIZE.projects, DEADLINE)?;
    for signal in ["TERM", "KILL"] {
        let mut times = Vec::new();
        for _ in 0..ENDS {
            let ends = replica(&gitlab, &server)?;
            wait("the projects are shared", || {
                let (one, other) = (shards(&ends), shards(&stays));
                one + other == 64 && one.abs_diff(other) <= 2
            })?;
            ends.signal(signal)?;
            times.push(wait("they are taken over", || shards(&stays) == 64)?);
        }
        times.sort_unstable();
        let name = format!("SIG{signal}: 500 of 1,000 projects taken over, median");
        let median = times[times.len() / 2].as_secs_f64();
        figure(&name, median, "s", None);
        let worst = times.last().map_or(0.0, Duration::as_secs_f64);
        figure("  the longest", worst, "s", None);
    }
    note("redis.lease_ttl is 15 s");
    Ok(())
}

/// Processor time with the state in a file and in Redis.
fn processor(runtime: &Runtime) -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.redb").display().to_string();
    let state = format!("state.path={path}");
    let gitlab = GitLab::start(SIZE)?;
    let exporter = Exporter::start(&gitlab, &[&QUICK[..], &[&state]].concat())?;
    exporter.wait_for_all(SIZE.projects, DEADLINE)?;
    let cores = |used: Duration| used.as_secs_f64() / WATCH.as_secs_f64();
    let used = watch(|| exporter.cpu());
    figure(
        "1,000 projects, 5 % active: with a state file",
        cores(used),
        "cores",
        None,
    );
    drop((exporter, gitlab));
    let server = runtime.block_on(Server::start())?;
    let gitlab = GitLab::start(SIZE)?;
    let exporter = replica(&gitlab, &server)?;
    exporter.wait_for_all(SIZE.projects, DEADLINE)?;
    let before = server.cpu();
    let used = watch(|| exporter.cpu());
    figure("  with Redis", cores(used), "cores", None);
    figure(
        "  Redis itself",
        cores(server.cpu() - before),
        "cores",
        None,
    );
    Ok(())
}

/// What is used in [`WATCH`].
fn watch(used: impl Fn() -> Duration) -> Duration {
    let before = used();
    std::thread::sleep(WATCH);
    used() - before
}
