//! Who holds what, and what becomes of it when a replica comes, goes, dies or stands still.

use std::collections::BTreeSet;
use std::slice;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::{self, Collector};
use gitlab_simulator::WorldConfig;

use super::rig::{
    LEASE_TTL, PATIENCE, Replica, Rig, assert_once, busy, counts, looked, read, share, takes_over,
    together,
};
use crate::crash::{reading, with_state::story};
use crate::ledger::{self, Counts};
use crate::support::exporter::{QuickTime, real_time};
use crate::support::otlp::Receiver;
use crate::support::redis::RedisServer;
use crate::support::tools::tool;
use crate::support::within;

/// Nothing happens in it any more.
pub fn calm() -> WorldConfig {
    WorldConfig {
        pushes_per_hour: 0.0,
        ..busy(3, 24)
    }
}

/// Lets the world live until every replica has counted something, and all so much more than before; it lives on
/// as long as the time is kept.
pub async fn live(rig: &Rig, replicas: &[Replica]) -> QuickTime {
    let time = QuickTime::of(&rig.simulator, 60);
    let before: f64 = counts(replicas).await.values().sum();
    within(PATIENCE, "all count something", async || {
        let mut counted = Vec::new();
        for replica in replicas {
            counted.push(replica.counts().await.values().sum::<f64>());
        }
        let is_each = counted.iter().all(|counted| *counted > 5.0);
        let is_more = counted.iter().sum::<f64>() > before + 20.0;
        (is_each && is_more)
            .then_some(())
            .ok_or(format!("{counted:?} after {before}"))
    })
    .await;
    time
}

/// The same, and then nothing happens any more.
pub async fn live_and_rest(rig: &Rig, replicas: &[Replica]) -> QuickTime {
    let time = live(rig, replicas).await;
    rig.simulator.world().calm();
    time
}

/// Series that show less than before.
pub fn fallen(before: &Counts, after: &Counts) -> Vec<String> {
    let fallen = before.iter().filter_map(|(series, before)| {
        let after = after.get(series).copied().unwrap_or_default();
        (after < *before).then(|| format!("{series:?}: {before} and then {after}"))
    });
    fallen.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_the_projects_and_list_them_once() {
    let Some(rig) = Rig::start(calm(), &[]).await else {
        return;
    };
    let mut replicas = rig.replicas(1).await;
    let lists = rig.simulator.requests().count("ProjectList");
    assert!(lists > 0, "projects are listed by GraphQL");
    let alone = counts(&replicas).await;
    for _ in 0..2 {
        let mut next = rig.replica();
        next.start().await;
        replicas.push(next);
        share(&replicas).await;
        read(&replicas).await;
        assert_once(&replicas).await;
    }
    // What moved has its totals, and nobody has listed the projects again.
    assert_eq!(
        fallen(&alone, &counts(&replicas).await),
        Vec::<String>::new()
    );
    assert_eq!(rig.simulator.requests().count("ProjectList"), lists);
    let mut leaders = 0;
    for replica in &replicas {
        let standing = replica.standing().await;
        assert_eq!(standing["members"], 3, "{standing}");
        leaders += u32::from(standing["discovers"] == true);
    }
    assert_eq!(leaders, 1);
}

/// Ends one of two replicas; the other goes on with everything.
async fn survives(end: impl AsyncFn(&mut Replica), what: &str) -> Option<Duration> {
    let rig = Rig::start(busy(4, 16), &[]).await?;
    let mut replicas = rig.replicas(2).await;
    let first_read = rig.simulator.world().now();
    let time = live_and_rest(&rig, &replicas).await;
    let before = together(&replicas).await;
    let mut gone = replicas.remove(1);
    end(&mut gone).await;
    let took = takes_over(&replicas[0]).await;
    println!("{what}: everything taken over after {took:?}");
    drop(time);
    equals_the_ledger(&rig, &replicas, first_read).await;
    // With what the ledger does not have.
    let after = counts(&replicas).await;
    for (series, shown) in &before {
        let (_, value) = shown[0];
        let now = after
            .iter()
            .find(|((metric, labels), _)| format!("{metric}{labels:?}") == *series);
        let now = now.map_or(0.0, |(_, value)| *value);
        assert!(now >= value, "{series} fell from {value} to {now}");
    }
    assert_once(&replicas).await;
    Some(took)
}

/// Waits until what replicas show equals what happened.
pub async fn equals_the_ledger<S>(rig: &Rig<S>, replicas: &[Replica], first_read: i64) -> Counts {
    within(PATIENCE, "the counts equal the ledger", async || {
        rig.simulator.advance(Duration::from_secs(600));
        // What begins and ends between two polls is not told apart.
        looked(replicas).await;
        let want = ledger::counts(rig.simulator.world().ledger().entries(), first_read);
        let mut got = counts(replicas).await;
        got.retain(|(metric, _), _| ledger::COUNTED.contains(&metric.as_str()));
        match ledger::difference(&got, &want) {
            None => Ok(got),
            Some(difference) => {
                let world = rig.simulator.world();
                Err(difference + &story(&world, &got, &want))
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_ends_hands_over_at_once() {
    let end = async |replica: &mut Replica| replica.end("TERM").await;
    survives(end, "SIGTERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_replica_counted_goes_on() {
    let end = async |replica: &mut Replica| replica.end("KILL").await;
    survives(end, "SIGKILL").await;
}

/// A process that stood still longer than its leases wakes up: what it had is another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_wakes_up_after_its_leases_shows_nothing_of_them() {
    let Some(rig) = Rig::start(busy(3, 24), &[]).await else {
        return;
    };
    let replicas = rig.replicas(2).await;
    let time = live_and_rest(&rig, &replicas).await;
    drop(time);
    let [awake, asleep] = replicas.as_slice() else {
        unreachable!("there are two");
    };
    let held = asleep.counts().await;
    assert!(!held.is_empty());
    asleep.signal("STOP");
    takes_over(awake).await;
    let all = together(slice::from_ref(awake)).await;
    assert!(all.len() > held.len());
    asleep.signal("CONT");
    // Who wakes up is asked first: what the other shows after that, it did not give away meanwhile.
    for _ in 0..20 {
        let woken = asleep.counts().await;
        let others = awake.counts().await;
        let twice: Vec<_> = woken
            .keys()
            .filter(|series| others.contains_key(*series))
            .collect();
        assert_eq!(twice, Vec::<&_>::new());
    }
    share(&replicas).await;
    assert_once(&replicas).await;
}

/// Without Redis, what is leased is shown until the leases end, and comes back with Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_leases_end_and_with_it_everything_goes_on() {
    let Some(mut rig) = Rig::start(busy(5, 12), &[]).await else {
        return;
    };
    let replicas = rig.replicas(2).await;
    let first_read = rig.simulator.world().now();
    drop(live(&rig, &replicas).await);
    let before = counts(&replicas).await;
    rig.redis.kill();
    within(PATIENCE, "nothing is shown without leases", async || {
        let shown = counts(&replicas).await.len();
        (shown == 0).then_some(()).ok_or(format!("{shown} series"))
    })
    .await;
    let url = format!("http://{}/ready", replicas[0].address);
    let ready = crate::support::http::get(&url).await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    assert!(ready.body.contains("Redis at "), "{}", ready.body);
    let text = replicas[0].metrics().await.unwrap_or_default();
    assert!(text.lines().any(|line| line == "age_store_up 0"), "{text}");
    rig.redis.restart().await;
    share(&replicas).await;
    drop(live_and_rest(&rig, &replicas).await);
    equals_the_ledger(&rig, &replicas, first_read).await;
    let after = counts(&replicas).await;
    assert_eq!(fallen(&before, &after), Vec::<String>::new());
}

/// A Redis that lost everything is written again by those who hold the leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_started_without_its_data_is_written_again() {
    is_written_again(async |redis| redis.restart_empty().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_data_was_deleted_is_written_again() {
    is_written_again(async |redis| {
        let _: String = redis.command(&["FLUSHALL"]);
    })
    .await;
}

async fn is_written_again(lose: impl AsyncFnOnce(&mut RedisServer)) {
    let Some(mut rig) = Rig::start(busy(6, 12), &[]).await else {
        return;
    };
    let mut replicas = rig.replicas(2).await;
    let first_read = rig.simulator.world().now();
    let time = live_and_rest(&rig, &replicas).await;
    drop(time);
    let before = equals_the_ledger(&rig, &replicas, first_read).await;
    lose(&mut rig.redis).await;
    // Both have written what they hold: whoever goes now, the other has all of it.
    let lease = Duration::from_secs(1) + LEASE_TTL;
    let since = real_time();
    within(PATIENCE, "leases are extended", async || {
        let fields: u64 = match rig.redis.command(&["DBSIZE"]) {
            keys if keys >= 3 * 64 / 2 => keys,
            keys => return Err(format!("{keys} keys")),
        };
        let waited = real_time() - since > i64::try_from(lease.as_millis()).unwrap_or(0);
        waited
            .then_some(fields)
            .ok_or_else(|| "not long ago".to_owned())
    })
    .await;
    let mut gone = replicas.remove(1);
    gone.end("KILL").await;
    takes_over(&replicas[0]).await;
    read(&replicas).await;
    let after = equals_the_ledger(&rig, &replicas, first_read).await;
    assert_eq!(fallen(&before, &after), Vec::<String>::new());
    let text = reading::of_text(&replicas[0].metrics().await.unwrap_or_default());
    assert!(!text.is_empty());
}

/// Its leases are over by that clock, and in force in Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_forward_costs_no_lease() {
    let Some(mut rig) = Rig::start(calm(), &[]).await else {
        return;
    };
    let Some(library) = tool("bin/libfaketime") else {
        return;
    };
    rig.fake_clocks(library);
    let replicas = rig.replicas(1).await;
    let before = counts(&replicas).await;
    replicas[0].set_clock(60);
    let ahead = real_time() + 30_000;
    within(PATIENCE, "projects are read by the new time", async || {
        let text = replicas[0].metrics().await.unwrap_or_default();
        let mut times = text.lines().filter_map(|line| {
            let time = line.strip_prefix("age_project_last_success_timestamp{")?;
            time.rsplit(' ').next()?.parse::<f64>().ok()
        });
        let is_read = times.any(|time| time * 1000.0 > ahead as f64);
        is_read.then_some(()).ok_or(text)
    })
    .await;
    share(&replicas).await;
    assert_eq!(
        fallen(&before, &counts(&replicas).await),
        Vec::<String>::new()
    );
    let log = replicas[0].program.as_ref().expect("it runs").stderr();
    assert!(!log.contains("leases ended without Redis"), "{log}");
}

/// GitLab's metrics keep their identity when a project moves; those about an exporter are its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gitlabs_metrics_are_pushed_as_those_of_one_instance() {
    let receiver = Receiver::start().await;
    let endpoint = format!("otel.metrics.endpoint={}", receiver.grpc());
    let more = ["otel.metrics.protocol=grpc", "otel.metrics.interval=1s"];
    let Some(rig) = Rig::start(calm(), &[&[&*endpoint], &more[..]].concat()).await else {
        return;
    };
    let replicas = rig.replicas(2).await;
    receiver.received().clear();
    let is_own = |metric: &str| {
        let desc = catalogue::all().find(|desc| desc.name == metric);
        desc.is_none_or(|desc| desc.collector == Collector::Exporter)
    };
    within(PATIENCE, "both push", async || {
        let received = receiver.received();
        let pushed = received.instances.iter();
        let counts: Vec<_> = pushed
            .map(|(metric, instances)| (is_own(metric), instances.len(), metric.clone()))
            .collect();
        let instances = |metric: &str| received.instances.get(metric).map_or(0, BTreeSet::len);
        let is_all =
            instances("age_pipeline_id") > 0 && instances("process_resident_memory_bytes") == 2;
        is_all.then_some(()).ok_or_else(|| format!("{counts:?}"))
    })
    .await;
    drop(replicas);
    let received = receiver.received();
    let of_gitlab = received.instances.iter();
    let of_gitlab = of_gitlab.filter(|(metric, _)| !is_own(metric));
    let of_gitlab: BTreeSet<&String> = of_gitlab.flat_map(|(_, instances)| instances).collect();
    assert_eq!(of_gitlab.len(), 1, "{:?}", received.instances);
    let shared = of_gitlab.first().expect("there is one");
    assert!(shared.starts_with("age:"), "{shared}");
    let own = received.instances.iter();
    let mut own = own.filter(|(metric, _)| is_own(metric));
    assert!(own.all(|(_, instances)| !instances.contains(*shared)));
}
