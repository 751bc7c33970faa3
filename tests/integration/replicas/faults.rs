//! Three replicas, a real Redis and a real Prometheus with the documented relabelling, through faults that a
//! seed chooses: at the end the ledger, the sum over the replicas and what Prometheus has agree, and GitLab was
//! asked no more than the settings allow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::handover::equals_the_ledger;
use super::rig::{LEASE_TTL, Replica, Rig, Servers, busy, share};
use super::seen::{agrees, history, looks_at, machine_time, scraping, shown_twice, unread};
use crate::crash::reading::Rise;
use crate::support::exporter::QuickTime;
use crate::support::prometheus;
use crate::support::redis::{RedisServer, SentinelGroup};
use crate::support::tools::tool;

/// Faults in the test command; the ignored run has as many as it is told.
const FAULTS: usize = 12;
const SEED: u64 = 22;
/// Seconds of the world in a second.
const PACE: i64 = 20;
/// `gitlab.max_requests_per_second` and `burst_requests_per_second` of all replicas together.
const RATE: usize = 20;
/// Seconds over which the rate is looked at.
const WINDOW: usize = 10;

/// The longest time that a project may be unread: until a lease ends, its interval, and 10 s. Prometheus sees it
/// by scrapes a second apart.
const UNREAD: Duration = Duration::from_secs(LEASE_TTL.as_secs() + 1 + 10 + 1);

/// The same in the test command, whose machine has other tests to run.
const UNREAD_WHEN_BUSY: Duration = Duration::from_secs(60);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A replica is killed and started again.
    Kill,
    /// A replica is ended in order and started again.
    End,
    /// A replica stands still for longer than its leases.
    StandStill,
    /// The clock of a replica is set off by a minute, and right again.
    ClockJumps,
    /// Redis is killed and started again with its data.
    RedisRestarts,
    /// Redis is started again without its data.
    RedisIsEmptied,
    /// Redis stands still.
    RedisStandsStill,
    /// The connection of a replica to Redis is cut.
    Cut,
    /// What a replica and Redis send each other is swallowed.
    Swallowed,
    /// The master is killed, and comes back when another server is the master.
    FailsOver,
    /// The master stands still until another server is the master, and goes on.
    MasterWakesUp,
}

impl Fault {
    /// Whether nobody reaches Redis meanwhile.
    fn is_of_redis(self) -> bool {
        let of_redis = [
            Self::RedisRestarts,
            Self::RedisIsEmptied,
            Self::RedisStandsStill,
        ];
        of_redis.contains(&self) || [Self::FailsOver, Self::MasterWakesUp].contains(&self)
    }
}

const ALL: [Fault; 9] = [
    Fault::Kill,
    Fault::End,
    Fault::StandStill,
    Fault::RedisRestarts,
    Fault::RedisIsEmptied,
    Fault::RedisStandsStill,
    Fault::Cut,
    Fault::Swallowed,
    Fault::ClockJumps,
];

const WITH_SENTINELS: [Fault; 5] = [
    Fault::FailsOver,
    Fault::Kill,
    Fault::MasterWakesUp,
    Fault::StandStill,
    Fault::ClockJumps,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_after_faults() {
    with_one_server(FAULTS, SEED, &ALL, UNREAD_WHEN_BUSY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_after_failovers() {
    with_sentinels(6, SEED, &WITH_SENTINELS, UNREAD_WHEN_BUSY).await;
}

/// `REPLICA_FAULTS=100 REPLICA_SEED=1 cargo test … -- --ignored a_hundred_faults`, with `REPLICA_KINDS=Kill,Cut`
/// for some kinds only, and `REPLICA_SENTINEL=1` with Sentinel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour"]
#[expect(
    clippy::disallowed_methods,
    reason = "a person who runs it says how many"
)]
async fn a_hundred_faults() {
    let number = |name, default| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let kinds = std::env::var("REPLICA_KINDS").unwrap_or_default();
    let chosen = |all: &[Fault]| -> Vec<Fault> {
        let all = all.iter().copied();
        all.filter(|fault| kinds.is_empty() || kinds.contains(&format!("{fault:?}")))
            .collect()
    };
    let faults = usize::try_from(number("REPLICA_FAULTS", 100)).expect("a number");
    let seed = number("REPLICA_SEED", SEED);
    match number("REPLICA_SENTINEL", 0) {
        0 => with_one_server(faults, seed, &chosen(&ALL), UNREAD).await,
        _ => with_sentinels(faults, seed, &chosen(&WITH_SENTINELS), UNREAD).await,
    }
}

async fn with_one_server(faults: usize, seed: u64, kinds: &[Fault], longest: Duration) {
    if let Some(redis) = RedisServer::start().await {
        run(redis, faults, seed, kinds, longest).await;
    }
}

async fn with_sentinels(faults: usize, seed: u64, kinds: &[Fault], longest: Duration) {
    if let Some(group) = SentinelGroup::start(None).await {
        run(group, faults, seed, kinds, longest).await;
    }
}

/// Servers that faults happen to.
trait Faulty: Servers {
    /// Lets a fault of the servers happen; others are none of theirs.
    async fn suffer(&mut self, fault: Fault, random: &mut StdRng);
}

impl Faulty for RedisServer {
    async fn suffer(&mut self, fault: Fault, random: &mut StdRng) {
        match fault {
            Fault::RedisRestarts => {
                self.kill();
                pause(random, OUTAGE).await;
                self.restart().await;
            }
            // Leases are in force still: who holds them has everything.
            Fault::RedisIsEmptied => self.restart_empty().await,
            Fault::RedisStandsStill => {
                self.stop();
                pause(random, OUTAGE).await;
                self.resume();
            }
            _ => {}
        }
    }
}

impl Faulty for SentinelGroup {
    async fn suffer(&mut self, fault: Fault, random: &mut StdRng) {
        let place = self.master_place();
        match fault {
            Fault::FailsOver => {
                self.servers[place].kill();
                self.other_master(place).await;
                pause(random, OUTAGE).await;
                self.servers[place].restart().await;
            }
            Fault::MasterWakesUp => {
                self.servers[place].stop();
                self.other_master(place).await;
                pause(random, OUTAGE).await;
                self.servers[place].resume();
            }
            _ => return,
        }
        // The next failover needs a server to fail over to.
        self.follows(place).await;
    }
}

async fn run<S: Faulty>(redis: S, faults: usize, seed: u64, kinds: &[Fault], longest: Duration) {
    let (rate, burst) = (
        format!("gitlab.max_requests_per_second={RATE}"),
        format!("gitlab.burst_requests_per_second={RATE}"),
    );
    let settings = [
        "project_defaults.refs.branches.exclude_deleted=false",
        "project_defaults.refs.tags.exclude_deleted=false",
        &rate,
        &burst,
    ];
    let mut rig = Rig::with(redis, busy(seed, 16), &settings);
    let mut kinds = kinds.to_vec();
    match tool("bin/libfaketime") {
        Some(library) => rig.fake_clocks(library),
        None => kinds.retain(|fault| *fault != Fault::ClockJumps),
    }
    let mut replicas = rig.replicas(3).await;
    let first_read = rig.simulator.world().now();
    let Some((_program, promql)) = prometheus::start(&scraping(&replicas)).await else {
        return;
    };
    for job in ["gitlab", "each"] {
        looks_at(&promql, job).await;
    }
    let time = QuickTime::of(&rig.simulator, PACE);
    let mut random = StdRng::seed_from_u64(seed);
    let mut counted = BTreeMap::<Fault, usize>::new();
    let mut without_redis = Vec::new();
    let mut suffered = Vec::new();
    let (started, start) = (Instant::now(), machine_time());
    for number in 0..faults {
        let fault = match kinds.get(number) {
            // Each at least once.
            Some(fault) => *fault,
            None => kinds[random.random_range(0..kinds.len())],
        };
        *counted.entry(fault).or_default() += 1;
        let place = random.random_range(0..replicas.len());
        if fault == Fault::RedisIsEmptied {
            // What nobody holds then is lost with it.
            share(&replicas).await;
        }
        let began = machine_time();
        commit(fault, &mut rig, &mut replicas[place], &mut random).await;
        if fault.is_of_redis() {
            without_redis.push(began..machine_time());
        }
        let (begun, over) = (began - start, machine_time() - start);
        let what = format!(
            "{number}: {fault:?} of {place} ({}) {begun:.1}..{over:.1}",
            replicas[place].address
        );
        println!("{what}");
        suffered.push(what);
        if fault == Fault::RedisIsEmptied {
            // It is written again when leases are extended, before a replica is lost as well.
            tokio::time::sleep(LEASE_TTL).await;
        }
        pause(&mut random, 500..5000).await;
    }
    let took = started.elapsed();
    rig.simulator.world().calm();
    share(&replicas).await;
    drop(time);
    let unread = unread(&promql, &without_redis).await;
    println!("longest time that a project was not read while there was Redis: {unread:?}");
    let want = equals_the_ledger(&rig, &replicas, first_read).await;
    let seen = agrees(&promql, want.values().sum()).await;
    let mut wrong = Vec::new();
    for (key, rise) in &seen {
        let right = Rise {
            first: 0.0,
            rises: want.get(key).copied().unwrap_or_default(),
            falls: 0,
        };
        if *rise != right {
            let mut text = format!("{key:?}: {rise:?} instead of {right:?}");
            if wrong.len() < 20 {
                text += &history(&promql, key, start).await;
            }
            wrong.push(text);
        }
    }
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {} series of Prometheus are wrong:\n{}\n{}",
        wrong.len(),
        seen.len(),
        wrong[..wrong.len().min(20)].join("\n"),
        suffered.join("\n")
    );
    let twice = shown_twice(&promql).await;
    assert!(twice.is_empty(), "seed {seed}: {twice:?}");
    let (requests, most) = requests(&rig);
    println!(
        "seed {seed}: {faults} faults in {took:?} {counted:?}: {} events in {} series; longest time that a \
         project was not read: {unread:?}; {requests} requests to GitLab, at most {most} in {WINDOW} s",
        want.values().sum::<f64>(),
        seen.len(),
    );
    assert!(unread <= longest, "seed {seed}: unread for {unread:?}");
    // The burst, and a second's requests that were on their way: a loaded machine delivers late.
    assert!(
        most <= RATE * WINDOW + 2 * RATE,
        "seed {seed}: {most} requests in {WINDOW} s"
    );
}

/// How many requests all replicas made together, and how many at most in [`WINDOW`].
fn requests<S>(rig: &Rig<S>) -> (usize, usize) {
    let requests = rig.simulator.requests().all();
    let mut times: Vec<Instant> = requests.iter().map(|request| request.arrived).collect();
    times.sort_unstable();
    let window = Duration::from_secs(WINDOW.try_into().expect("it is short"));
    let within = |first: usize| {
        let end = times[first] + window;
        times[first..].partition_point(|at| *at < end)
    };
    let most = (0..times.len()).map(within).max();
    (times.len(), most.unwrap_or_default())
}

async fn pause(random: &mut StdRng, milliseconds: std::ops::Range<u64>) {
    let milliseconds = random.random_range(milliseconds);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Milliseconds of an outage: up to two times as long as leases are.
const OUTAGE: std::ops::Range<u64> = 0..10_000;

async fn commit<S: Faulty>(
    fault: Fault,
    rig: &mut Rig<S>,
    replica: &mut Replica,
    random: &mut StdRng,
) {
    let long = u64::try_from(LEASE_TTL.as_millis()).expect("it is short");
    match fault {
        Fault::Kill | Fault::End => {
            let signal = if fault == Fault::Kill { "KILL" } else { "TERM" };
            replica.end(signal).await;
            pause(random, OUTAGE).await;
            replica.start().await;
        }
        Fault::StandStill => {
            replica.signal("STOP");
            pause(random, long..2 * long).await;
            replica.signal("CONT");
        }
        Fault::ClockJumps => {
            let minute = if random.random() { 60 } else { -60 };
            replica.set_clock(minute);
            pause(random, OUTAGE).await;
            replica.set_clock(0);
        }
        Fault::Cut => {
            replica.door.shut();
            pause(random, OUTAGE).await;
            replica.door.open();
        }
        Fault::Swallowed => {
            replica.door.hold();
            pause(random, OUTAGE).await;
            replica.door.release();
        }
        of_servers => rig.redis.suffer(of_servers, random).await,
    }
}
