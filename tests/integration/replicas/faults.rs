//! Three replicas, a real Redis and a real Prometheus with the documented relabelling, through faults that a
//! seed chooses: at the end the ledger, the sum over the replicas and what Prometheus has agree.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::handover::equals_the_ledger;
use super::rig::{LEASE_TTL, Replica, Rig, busy, share};
use crate::crash::reading::{self, Rise};
use crate::support::exporter::QuickTime;
use crate::support::prometheus;
use crate::support::promql::PromQl;

/// Faults in the test command; the ignored run has as many as it is told.
const FAULTS: usize = 12;
const SEED: u64 = 22;
/// Seconds of the world in a second.
const PACE: i64 = 60;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// A replica is killed and started again.
    Kill,
    /// A replica is ended in order and started again.
    End,
    /// A replica stands still for longer than its leases.
    StandStill,
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
}

const ALL: [Fault; 8] = [
    Fault::Kill,
    Fault::End,
    Fault::StandStill,
    Fault::RedisRestarts,
    Fault::RedisIsEmptied,
    Fault::RedisStandsStill,
    Fault::Cut,
    Fault::Swallowed,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_after_faults() {
    run(FAULTS, SEED, &ALL).await;
}

/// `REPLICA_FAULTS=100 REPLICA_SEED=1 cargo test … -- --ignored a_hundred_faults`, with `REPLICA_KINDS=Kill,Cut`
/// for some kinds only.
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
    let kinds: Vec<Fault> = ALL
        .into_iter()
        .filter(|fault| kinds.is_empty() || kinds.contains(&format!("{fault:?}")))
        .collect();
    run(
        usize::try_from(number("REPLICA_FAULTS", 100)).expect("a number"),
        number("REPLICA_SEED", SEED),
        &kinds,
    )
    .await;
}

async fn run(faults: usize, seed: u64, kinds: &[Fault]) {
    let settings = [
        "project_defaults.refs.branches.exclude_deleted=false",
        "project_defaults.refs.tags.exclude_deleted=false",
    ];
    let Some(mut rig) = Rig::start(busy(seed, 16), &settings).await else {
        return;
    };
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
    let started = Instant::now();
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
        commit(fault, &mut rig, &mut replicas[place], &mut random).await;
        if fault == Fault::RedisIsEmptied {
            // It is written again when leases are extended, before a replica is lost as well.
            tokio::time::sleep(LEASE_TTL).await;
        }
        println!(
            "{number}: {fault:?} of {place} after {:?}",
            started.elapsed()
        );
        pause(&mut random, 500..5000).await;
    }
    let took = started.elapsed();
    rig.simulator.world().calm();
    share(&replicas).await;
    drop(time);
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
            wrong.push(format!("{key:?}: {rise:?} instead of {right:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {} series of Prometheus are wrong:\n{}",
        wrong.len(),
        seen.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    let twice = shown_twice(&promql).await;
    assert!(twice.is_empty(), "seed {seed}: {twice:?}");
    println!(
        "seed {seed}: {faults} faults in {took:?} {counted:?}: {} events in {} series; longest time that a \
         project was not read: {:?}",
        want.values().sum::<f64>(),
        seen.len(),
        unread(&promql).await
    );
}

async fn pause(random: &mut StdRng, milliseconds: std::ops::Range<u64>) {
    let milliseconds = random.random_range(milliseconds);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

async fn commit(fault: Fault, rig: &mut Rig, replica: &mut Replica, random: &mut StdRng) {
    let long = u64::try_from(LEASE_TTL.as_millis()).expect("it is short");
    match fault {
        Fault::Kill | Fault::End => {
            let signal = if fault == Fault::Kill { "KILL" } else { "TERM" };
            replica.end(signal).await;
            pause(random, 0..2 * long).await;
            replica.start().await;
        }
        Fault::StandStill => {
            replica.signal("STOP");
            pause(random, long..2 * long).await;
            replica.signal("CONT");
        }
        Fault::RedisRestarts => {
            rig.redis.kill();
            pause(random, 0..2 * long).await;
            rig.redis.restart().await;
        }
        // Leases are in force still: who holds them has everything.
        Fault::RedisIsEmptied => rig.redis.restart_empty().await,
        Fault::RedisStandsStill => {
            rig.redis.stop();
            pause(random, 0..2 * long).await;
            rig.redis.resume();
        }
        Fault::Cut => {
            replica.door.shut();
            pause(random, 0..2 * long).await;
            replica.door.open();
        }
        Fault::Swallowed => {
            replica.door.hold();
            pause(random, 0..2 * long).await;
            replica.door.release();
        }
    }
}

/// Two jobs: as documented, and each replica for itself.
fn scraping(replicas: &[Replica]) -> String {
    let targets: Vec<String> = replicas
        .iter()
        .map(|replica| format!("'{}'", replica.address))
        .collect();
    let targets = targets.join(", ");
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: gitlab
  static_configs: [{{targets: [{targets}]}}]
  metric_relabel_configs:
{}
- job_name: each
  static_configs: [{{targets: [{targets}]}}]
",
        super::relabelling()
    )
}

async fn looks_at(promql: &PromQl, job: &str) {
    crate::support::until("Prometheus scrapes", async || {
        let up = promql
            .value(&format!("min(up{{job=\"{job}\"}})"), None)
            .await;
        (up == Some(1.0)).then_some(()).ok_or(format!("{up:?}"))
    })
    .await;
}

/// Waits until Prometheus has so many events.
async fn agrees(promql: &PromQl, events: f64) -> Vec<((String, BTreeMap<String, String>), Rise)> {
    let start = Instant::now();
    loop {
        let seen = of_prometheus(promql).await;
        let all: f64 = seen.iter().map(|(_, rise)| rise.first + rise.rises).sum();
        if (all - events).abs() < 0.5 || start.elapsed() > Duration::from_secs(30) {
            return seen;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Every series that is counted, as Prometheus has it over all replicas.
async fn of_prometheus(promql: &PromQl) -> Vec<((String, BTreeMap<String, String>), Rise)> {
    let mut all = Vec::new();
    for metric in crate::ledger::COUNTED {
        let selector = format!("{}{{job=\"gitlab\"}}[2h]", reading::sample_name(metric));
        for mut series in promql.raw(&selector).await {
            let rise = reading::rise(&series);
            for foreign in ["__name__", "instance", "job"] {
                series.metric.remove(foreign);
            }
            all.push((((*metric).to_owned(), series.metric), rise));
        }
    }
    all
}

/// Series that two replicas showed within the same two seconds: one, the other, and the first again.
async fn shown_twice(promql: &PromQl) -> Vec<String> {
    let mut twice = Vec::new();
    for metric in [
        "age_pipeline_run_count",
        "age_pipeline_id",
        "age_job_run_count",
    ] {
        let mut samples = BTreeMap::<String, Vec<(f64, String)>>::new();
        for mut series in promql.raw(&format!("{metric}{{job=\"each\"}}[2h]")).await {
            let instance = series.metric.remove("instance").unwrap_or_default();
            let times = series.times().map(|time| (time, instance.clone()));
            let all = samples.entry(format!("{:?}", series.metric)).or_default();
            all.extend(times);
        }
        for (series, mut times) in samples {
            times.sort_by(|one, other| one.0.total_cmp(&other.0));
            let again = times.windows(3).find(|three| {
                three[0].1 == three[2].1
                    && three[0].1 != three[1].1
                    && three[2].0 - three[0].0 < 2.0
            });
            if let Some(again) = again {
                twice.push(format!("{series}: {again:?}"));
            }
        }
    }
    twice
}

/// The longest time between two reads of a project.
async fn unread(promql: &PromQl) -> Duration {
    let selector = "age_project_last_success_timestamp{job=\"gitlab\"}[2h]";
    let mut longest = 0.0_f64;
    for series in promql.raw(selector).await {
        let mut reads: Vec<f64> = series.values().collect();
        reads.sort_by(f64::total_cmp);
        for two in reads.windows(2) {
            longest = longest.max(two[1] - two[0]);
        }
    }
    Duration::from_secs_f64(longest)
}
