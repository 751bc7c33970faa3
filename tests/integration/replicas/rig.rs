//! Replicas as programs, a GitLab and a Redis.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use serde_json::Value;
use tempfile::TempDir;

use crate::crash::reading;
use crate::ledger::Counts;
use crate::support::door::Door;
use crate::support::exporter::{Binary, beginning_now, binary, configuration, real_time, write};
use crate::support::program::{Program, free_address};
use crate::support::redis::{RedisServer, SentinelGroup};
use crate::support::{http, within};

/// `redis.lease_ttl` in these tests: the shortest that there is.
pub const LEASE_TTL: Duration = Duration::from_secs(5);
const BIRTH_WINDOW: &str = "telemetry: {birth_window: 10s}\n";
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Servers that replicas share their state by.
pub trait Servers {
    /// The address that a replica is given, and the door that it leads through where it leads through one.
    fn entrance(&self) -> (String, Door);
}

impl Servers for RedisServer {
    fn entrance(&self) -> (String, Door) {
        let mut door = Door::shut_before(self.address().parse().expect("an address"));
        door.open();
        (format!("redis://{}", door.address()), door)
    }
}

impl Servers for SentinelGroup {
    fn entrance(&self) -> (String, Door) {
        // Sentinels say where the servers are: nothing can stand in between.
        let nowhere = "127.0.0.1:1".parse().expect("an address");
        (self.url(), Door::shut_before(nowhere))
    }
}

/// What replicas share.
pub struct Rig<S = RedisServer> {
    pub simulator: Simulator,
    pub redis: S,
    settings: Vec<String>,
    /// libfaketime, where clocks are to be set.
    fake_clock: Option<PathBuf>,
}

/// One replica: what stays when the program is killed.
pub struct Replica {
    folder: TempDir,
    settings: Vec<String>,
    fake_clock: Option<PathBuf>,
    pub address: String,
    pub program: Option<Program>,
    /// Between it and Redis.
    pub door: Door,
}

impl Rig {
    /// A GitLab with these projects that begins now, and an empty Redis; none where that cannot be had.
    pub async fn start(config: WorldConfig, settings: &[&str]) -> Option<Self> {
        let redis = RedisServer::start().await?;
        Some(Self::with(redis, config, settings))
    }

    /// An exporter with a state file instead of Redis, not started.
    pub fn single(&self, state: &Path) -> Replica {
        let state = format!("state: {{path: '{}'}}\n", state.display());
        let (_, door) = self.redis.entrance();
        self.exporter(&(state + BIRTH_WINDOW), door)
    }

    /// The setting of its Redis.
    pub fn redis_setting(&self) -> String {
        let seconds = LEASE_TTL.as_secs();
        format!(
            "redis={{url: '{}', lease_ttl: {seconds}s}}",
            self.redis.url()
        )
    }
}

impl<S: Servers> Rig<S> {
    /// A GitLab with these projects that begins now, beside some servers.
    pub fn with(redis: S, config: WorldConfig, settings: &[&str]) -> Self {
        let world = World::generate(WorldConfig {
            min_refinish_gap: 3_600_000,
            ..config
        });
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        Self {
            simulator,
            redis,
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
            fake_clock: None,
        }
    }

    /// Replicas from now on have clocks that can be set, by this libfaketime.
    pub fn fake_clocks(&mut self, library: PathBuf) {
        self.fake_clock = Some(library);
    }

    /// A replica that is not started.
    pub fn replica(&self) -> Replica {
        let (url, door) = self.redis.entrance();
        let seconds = LEASE_TTL.as_secs();
        let redis = format!("redis: {{url: '{url}', lease_ttl: {seconds}s}}\n");
        self.exporter(&(redis + BIRTH_WINDOW), door)
    }

    fn exporter(&self, more: &str, door: Door) -> Replica {
        let folder = tempfile::tempdir().expect("a folder");
        write(
            &folder,
            "config.yml",
            configuration(&self.simulator, more).as_str(),
        );
        let replica = Replica {
            folder,
            settings: self.settings.clone(),
            fake_clock: self.fake_clock.clone(),
            address: free_address(),
            program: None,
            door,
        };
        replica.set_clock(0);
        replica
    }

    /// So many replicas that share everything and have read it.
    pub async fn replicas(&self, count: usize) -> Vec<Replica> {
        let mut all: Vec<Replica> = (0..count).map(|_| self.replica()).collect();
        for replica in &mut all {
            replica.start().await;
        }
        share(&all).await;
        read(&all).await;
        all
    }
}

/// Settings of a world with some projects in which much happens.
pub fn busy(seed: u64, projects: usize) -> WorldConfig {
    WorldConfig {
        seed,
        projects,
        pipelines_per_project: 4,
        active_ratio: 0.9,
        pushes_per_hour: 8.0,
        ..beginning_now()
    }
}

impl Replica {
    /// Starts it, without waiting for anything.
    pub fn spawn(&mut self) {
        let mut command = binary(&["run", "--config"]);
        command.arg(Path::new(self.folder.path()).join("config.yml"));
        command.args(["--server-listen-address", &self.address]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        if let Some(library) = &self.fake_clock {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock_file())
                .env("FAKETIME_NO_CACHE", "1")
                // The older and the newer name: the monotonic clock goes on.
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        self.program = Some(Program::start(command));
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }

    /// Sets its clock off by seconds, where it can be set.
    pub fn set_clock(&self, seconds: i64) {
        let next = self.folder.path().join("clock.next");
        std::fs::write(&next, format!("{seconds:+}\n")).expect("it can be written");
        // It is read at any time.
        std::fs::rename(next, self.clock_file()).expect("it can be renamed");
    }

    /// Starts it, and waits until it listens.
    pub async fn start(&mut self) {
        self.spawn();
        let program = self.program.take().expect("it was started");
        let Binary { program, .. } = Binary::started(program).await;
        self.program = Some(program);
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let program = self.program.as_ref().expect("it runs");
        program.signal(name);
    }

    /// Ends it by a signal, and waits for its end.
    pub async fn end(&mut self, signal: &str) {
        let mut program = self.program.take().expect("it runs");
        program.signal(signal);
        program.ended().await;
        println!(
            "--- a replica that ended by SIG{signal}:\n{}",
            program.stdout()
        );
        println!("{}", program.stderr());
    }

    /// `/metrics`; none where it does not answer.
    pub async fn metrics(&self) -> Option<String> {
        let url = format!("http://{}/metrics", self.address);
        Some(http::get_if_there(&url).await?.body)
    }

    /// Everything that it counted.
    pub async fn counts(&self) -> Counts {
        let text = self.metrics().await.unwrap_or_default();
        reading::all_of_text(&text)
    }

    /// `replicas` in `/ready`.
    pub async fn standing(&self) -> Value {
        let url = format!("http://{}/ready", self.address);
        let Some(answer) = http::get_if_there(&url).await else {
            return Value::Null;
        };
        let mut ready: Value = serde_json::from_str(&answer.body).expect("it is JSON");
        ready["replicas"].take()
    }

    /// How many shards of projects it holds.
    pub async fn shards(&self) -> u64 {
        self.standing().await["owned_shards"].as_u64().unwrap_or(0)
    }
}

/// Waits until all shards are held, as many by each; gives how many.
pub async fn share(replicas: &[Replica]) -> Vec<u64> {
    within(PATIENCE, "all shards are shared evenly", async || {
        let mut shards = Vec::new();
        for replica in replicas {
            shards.push(replica.shards().await);
        }
        let (least, most) = (shards.iter().min(), shards.iter().max());
        let is_even = least
            .zip(most)
            .is_some_and(|(least, most)| most - least <= 2);
        match shards.iter().sum::<u64>() == 64 && is_even {
            true => Ok(shards),
            false => Err(format!("{shards:?}")),
        }
    })
    .await
}

/// Waits until everything was read once by somebody.
pub async fn read(replicas: &[Replica]) {
    within(PATIENCE, "everything was read once", async || {
        let mut seen = Vec::new();
        for replica in replicas {
            let text = replica.metrics().await.unwrap_or_default();
            let line = text
                .lines()
                .find(|line| line.starts_with("age_initial_sync_progress_ratio "));
            seen.push(line.unwrap_or("nothing").to_owned());
        }
        let is_read = seen.iter().all(|line| line.ends_with(" 1"));
        is_read.then_some(()).ok_or_else(|| format!("{seen:?}"))
    })
    .await;
}

/// Waits until every project was read from now on.
pub async fn looked(replicas: &[Replica]) {
    const READ: &str = "age_project_last_success_timestamp{";
    // The first that ends may have begun before.
    for _ in 0..2 {
        let now = real_time();
        within(PATIENCE, "every project is read", async || {
            let mut late = Vec::new();
            for replica in replicas {
                let text = replica.metrics().await.unwrap_or_default();
                let lines = text.lines().filter(|line| line.starts_with(READ));
                let old = lines.filter(|line| {
                    let at = line
                        .rsplit(' ')
                        .next()
                        .and_then(|at| at.parse::<f64>().ok());
                    at.is_none_or(|at| at * 1000.0 <= now as f64)
                });
                late.extend(old.map(str::to_owned));
            }
            late.is_empty()
                .then_some(())
                .ok_or_else(|| format!("{late:?}"))
        })
        .await;
    }
}

/// What all replicas show together: every series with those that show it.
pub async fn together(replicas: &[Replica]) -> BTreeMap<String, Vec<(usize, f64)>> {
    let mut all = BTreeMap::<String, Vec<(usize, f64)>>::new();
    for (place, replica) in replicas.iter().enumerate() {
        for ((metric, labels), value) in replica.counts().await {
            let series = all.entry(format!("{metric}{labels:?}")).or_default();
            series.push((place, value));
        }
    }
    all
}

/// The sum of what all replicas counted, zeros left out.
pub async fn counts(replicas: &[Replica]) -> Counts {
    let mut all = Counts::new();
    for replica in replicas {
        for (series, value) in replica.counts().await {
            if value != 0.0 {
                *all.entry(series).or_default() += value;
            }
        }
    }
    all
}

/// Asserts that no series is shown by two replicas.
pub async fn assert_once(replicas: &[Replica]) {
    for (series, shown) in together(replicas).await {
        assert_eq!(shown.len(), 1, "{series}: {shown:?}");
    }
}

/// How long it takes until one replica holds everything.
pub async fn takes_over(replica: &Replica) -> Duration {
    let start = Instant::now();
    within(
        PATIENCE,
        "one replica holds everything",
        async || match replica.shards().await {
            64 => Ok(()),
            shards => Err(format!("{shards} shards")),
        },
    )
    .await;
    start.elapsed()
}
