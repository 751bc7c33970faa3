//! Replicas as programs, a GitLab and a Redis.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use serde_json::Value;
use tempfile::TempDir;

use crate::crash::reading;
use crate::ledger::Counts;
use crate::support::door::Door;
use crate::support::exporter::{Binary, beginning_now, binary, configuration, real_time, write};
use crate::support::program::{Program, free_address};
use crate::support::redis::RedisServer;
use crate::support::{http, within};

/// `redis.lease_ttl` in these tests: the shortest that there is.
pub const LEASE_TTL: Duration = Duration::from_secs(5);
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What replicas share.
pub struct Rig {
    pub simulator: Simulator,
    pub redis: RedisServer,
    settings: Vec<String>,
}

/// One replica: what stays when the program is killed.
pub struct Replica {
    folder: TempDir,
    settings: Vec<String>,
    pub address: String,
    pub program: Option<Program>,
    /// Between it and Redis.
    pub door: Door,
}

impl Rig {
    /// A GitLab with these projects that begins now, and an empty Redis; none where that cannot be had.
    pub async fn start(config: WorldConfig, settings: &[&str]) -> Option<Self> {
        let redis = RedisServer::start().await?;
        let world = World::generate(WorldConfig {
            min_refinish_gap: 3_600_000,
            ..config
        });
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        Some(Self {
            simulator,
            redis,
            settings: settings.iter().map(|it| (*it).to_owned()).collect(),
        })
    }

    /// A replica that is not started.
    pub fn replica(&self) -> Replica {
        let address = self.redis.address().parse().expect("an address");
        let mut door = Door::shut_before(address);
        door.open();
        let folder = tempfile::tempdir().expect("a folder");
        let more = format!(
            "redis: {{url: 'redis://{}', lease_ttl: {}s}}\ntelemetry: {{birth_window: 10s}}\n",
            door.address(),
            LEASE_TTL.as_secs()
        );
        write(
            &folder,
            "config.yml",
            configuration(&self.simulator, &more).as_str(),
        );
        Replica {
            folder,
            settings: self.settings.clone(),
            address: free_address(),
            program: None,
            door,
        }
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
        self.program = Some(Program::start(command));
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
