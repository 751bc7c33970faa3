//! Clients of a real GitLab by one budget, in real time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::budget::RedisBudget;
use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::gitlab::{
    Budget, GitLab, LocalLimiter, NoAccounting, Settings, TokenSource,
};
use amazing_gitlab_exporter::redis::{Redis, RedisOptions};
use gitlab_simulator::world::{World, WorldConfig};
use gitlab_simulator::{Options, Simulator};
use tokio_util::sync::CancellationToken;

use super::{BUDGET, SECOND, most, settings};
use crate::support::door::Door;
use crate::support::redis::{RedisServer, options};

/// Three exporters' clients, their limiters by one budget, and a GitLab that runs in real time.
struct Rig {
    gitlab: Arc<Simulator>,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Rig {
    /// Starts them: all make calls all the time, each by its way to Redis.
    async fn start(ways: Vec<RedisOptions>, budget: Budget) -> Self {
        let world = World::generate(WorldConfig {
            projects: 1,
            pushes_per_hour: 0.0,
            ..WorldConfig::default()
        });
        let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
        let rig = Self {
            gitlab: Arc::new(gitlab),
            stop: CancellationToken::new(),
            tasks: Vec::new(),
        };
        rig.with(ways, budget).await
    }

    async fn with(mut self, ways: Vec<RedisOptions>, budget: Budget) -> Self {
        let gitlab = Arc::clone(&self.gitlab);
        self.spawn(async move {
            let (begun, begin) = (Instant::now(), gitlab.world().now());
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let passed = i64::try_from(begun.elapsed().as_millis()).expect("short");
                gitlab.world().advance_to(begin + passed);
            }
        });
        for (number, way) in ways.into_iter().enumerate() {
            let redis = Redis::connect(way).await.expect("it is up");
            let shared = Arc::new(RedisBudget::new(redis, settings(number, budget)));
            let limiter = LocalLimiter::sharing(budget, shared).expect("a rate");
            let limiter = Arc::new(limiter);
            let (keeps, stop) = (Arc::clone(&limiter), self.stop.clone());
            self.spawn(async move { keeps.keep_sharing(stop).await });
            let url = self.gitlab.url().parse().expect("an address");
            let token = TokenSource::Secret(self.gitlab.token().to_owned().into());
            let settings = Settings::new(url, token);
            let client =
                GitLab::with_limiter(&settings, limiter, Arc::new(NoAccounting), Clock::System);
            let client = client.expect("a client");
            for _ in 0..4 {
                let client = client.clone();
                self.spawn(async move {
                    loop {
                        // What it says does not matter.
                        drop(client.instance().await);
                    }
                });
            }
        }
        self
    }

    fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.push(tokio::spawn(async move {
            stop.run_until_cancelled(future).await;
        }));
    }

    /// When GitLab got each request, in microseconds.
    fn arrivals(&self) -> Vec<u64> {
        let requests = self.gitlab.requests().all();
        let mut times: Vec<u64> = requests
            .iter()
            .map(|request| u64::try_from(request.at).expect("after 1970") * 1000)
            .collect();
        times.sort_unstable();
        times
    }

    async fn stop(mut self) -> Vec<u64> {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.expect("no panic");
        }
        self.arrivals()
    }
}

/// In any ten seconds, beside what the way of a request to GitLab may take longer than another's.
fn assert_within(times: &[u64], budget: Budget) {
    let most = most(times, 10 * SECOND);
    let allowed = 10.0 * budget.per_second + f64::from(budget.burst);
    println!(
        "{} requests, at most {most} in 10 s of {allowed}",
        times.len()
    );
    assert!(
        u32::try_from(most).is_ok_and(|most| f64::from(most) <= allowed),
        "{most}"
    );
}

/// How many came in so many seconds up to the last.
fn last(times: &[u64], seconds: u64) -> usize {
    let end = times.last().copied().unwrap_or_default();
    times
        .iter()
        .filter(|at| **at > end - seconds * SECOND)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_use_one_budget_as_gitlab_counts() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let budget = Budget {
        per_second: 20.0,
        ..BUDGET
    };
    let rig = Rig::start((0..3).map(|_| server.options()).collect(), budget).await;
    tokio::time::sleep(Duration::from_secs(13)).await;
    let times = rig.stop().await;
    assert_within(&times, budget);
    let count = last(&times, 10);
    assert!(count >= 180, "{count} of 200 in the last 10 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_replica_uses_its_share_and_no_more() {
    let Some(mut server) = RedisServer::start().await else {
        return;
    };
    let budget = Budget {
        per_second: 20.0,
        ..BUDGET
    };
    let rig = Rig::start((0..3).map(|_| server.options()).collect(), budget).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    server.kill();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let away = last(&rig.arrivals(), 4);
    assert!((64..=84).contains(&away), "{away} of 80 without Redis");
    server.restart_empty().await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    let times = rig.stop().await;
    assert_within(&times, budget);
    let back = last(&times, 4);
    assert!((64..=100).contains(&back), "{back} of 80 with Redis again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_cannot_reach_redis_takes_nothing_from_the_others() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let mut door = Door::shut_before(server.address().parse().expect("an address"));
    door.open();
    let mut cut = options(&format!("redis://{}", door.address()));
    cut.deadline = Duration::from_secs(1);
    let budget = Budget {
        per_second: 20.0,
        ..BUDGET
    };
    let ways = vec![server.options(), server.options(), cut];
    let rig = Rig::start(ways, budget).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    door.hold();
    tokio::time::sleep(Duration::from_secs(8)).await;
    door.release();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let times = rig.stop().await;
    assert_within(&times, budget);
    let count = last(&times, 10);
    assert!(count >= 160, "{count} of 200");
}

/// Ten minutes of real time, run by hand: `cargo test --test integration ten_minutes -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "ten minutes"]
async fn ten_minutes_of_three_replicas() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let rig = Rig::start((0..3).map(|_| server.options()).collect(), BUDGET).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let times = rig.stop().await;
    assert_within(&times, BUDGET);
    let calls: String = server.command(&["INFO", "commandstats"]);
    let scripts = calls
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"));
    println!(
        "{} of 6000 used; {}",
        times.len(),
        scripts.unwrap_or_default()
    );
    assert!(times.len() >= 5400);
}
