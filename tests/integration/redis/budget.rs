//! The budget that replicas share in Redis.

mod clients;

use std::cell::Cell;
use std::time::Duration;

use amazing_gitlab_exporter::budget::{BudgetSettings, RedisBudget};
use amazing_gitlab_exporter::gitlab::limiter::shared::{Ask, News, SharedBudget};
use amazing_gitlab_exporter::gitlab::limiter::{Observation, Throttle};
use amazing_gitlab_exporter::gitlab::{Budget, Lane};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::redis::RedisServer;

const RESERVE: Duration = Duration::from_secs(15);

const BUDGET: Budget = Budget {
    per_second: 10.0,
    burst: 20,
    per_hour: 0,
    at_once: 24,
    server_share: 0.0,
};

fn settings(replica: usize, budget: Budget) -> BudgetSettings {
    BudgetSettings {
        key_prefix: "age:test".to_owned(),
        replica: format!("replica-{replica}"),
        budget,
        reserve: RESERVE,
    }
}

/// A replica in a simulation by a clock of its own: it always has calls to make.
struct Replica {
    budget: RedisBudget,
    lane: Lane,
    /// When it asks again, and since when it has been waiting, in microseconds.
    asks_at: u64,
    waits_since: u64,
    is_up: bool,
    permits: Vec<u64>,
}

/// Replicas of one budget, simulated.
struct Simulation {
    replicas: Vec<Replica>,
    now: u64,
    random: StdRng,
    /// How long they wait at most until they ask again.
    poll: Duration,
    questions: usize,
}

const SECOND: u64 = 1_000_000;
/// Any time.
const BEGIN: u64 = 1_790_000_000 * SECOND;

impl Simulation {
    async fn new(server: &RedisServer, budget: Budget, lanes: &[Lane]) -> Self {
        let redis = server.connect().await;
        let replicas = lanes.iter().enumerate().map(|(number, lane)| Replica {
            budget: RedisBudget::new(redis.clone(), settings(number, budget)).with_clock(BEGIN),
            lane: *lane,
            asks_at: BEGIN,
            waits_since: BEGIN,
            is_up: true,
            permits: Vec::new(),
        });
        Self {
            replicas: replicas.collect(),
            now: BEGIN,
            random: StdRng::seed_from_u64(22),
            poll: Duration::from_secs(1),
            questions: 0,
        }
    }

    /// One of the replicas that are up shows that it is there, half a second after the last question and on.
    async fn report_until(&self, next: u64) {
        let up = self.replicas.iter().find(|replica| replica.is_up);
        let Some(Replica { budget, .. }) = up else {
            return;
        };
        let mut at = self.now + SECOND / 2;
        while at < next {
            budget.set_clock(at);
            budget.ask(&Ask::default()).await.expect("it is up");
            at += SECOND / 2;
        }
    }

    /// Lets seconds pass in which nobody asks for anything.
    async fn rest(&mut self, seconds: u64) {
        let end = self.now + seconds * SECOND;
        self.report_until(end).await;
        self.now = end;
    }

    /// Lets seconds pass.
    async fn pass(&mut self, seconds: u64) {
        let end = self.now + seconds * SECOND;
        loop {
            let up = self.replicas.iter().enumerate();
            let up = up.filter(|(_, replica)| replica.is_up);
            let next = up.min_by_key(|(_, replica)| replica.asks_at);
            let next = next.map(|(place, replica)| (place, replica.asks_at));
            let Some((place, asks_at)) = next.filter(|(_, asks_at)| *asks_at < end) else {
                break;
            };
            self.report_until(asks_at).await;
            let replica = &mut self.replicas[place];
            self.now = self.now.max(replica.asks_at);
            replica.budget.set_clock(self.now);
            let ask = Ask {
                lane: Some(replica.lane),
                calls: 1,
                waited: Duration::from_micros(self.now - replica.waits_since),
                ..Ask::default()
            };
            let answer = replica.budget.ask(&ask).await.expect("it is up");
            self.questions += 1;
            // The way there, and what a call takes.
            let later = self.random.random_range(500..5000);
            if answer.granted == 0 {
                let wait = answer.wait.min(self.poll);
                replica.asks_at =
                    self.now + later + u64::try_from(wait.as_micros()).expect("short");
                continue;
            }
            let lifetime = replica.budget.permit_lifetime().as_micros();
            let lifetime = u64::try_from(lifetime).expect("short");
            // It is used at any time of its life.
            let used_at = self.now + self.random.random_range(0..lifetime);
            replica.permits.extend((0..answer.granted).map(|_| used_at));
            replica.asks_at = self.now + later;
            replica.waits_since = replica.asks_at;
        }
        self.now = end;
    }

    fn uses(&self) -> Vec<u64> {
        let all = self.replicas.iter().flat_map(|replica| &replica.permits);
        let mut all: Vec<u64> = all.copied().collect();
        all.sort_unstable();
        all
    }

    /// Permits that were used in seconds of the simulation.
    fn count(&self, from: u64, to: u64) -> usize {
        let within = BEGIN + from * SECOND..BEGIN + to * SECOND;
        self.uses().iter().filter(|at| within.contains(at)).count()
    }
}

/// Most in any window of so many microseconds.
fn most(times: &[u64], window: u64) -> usize {
    let within = |first: usize| times[first..].partition_point(|at| *at < times[first] + window);
    (0..times.len()).map(within).max().unwrap_or_default()
}

#[tokio::test]
async fn in_any_ten_seconds_no_more_than_rate_and_burst_and_nothing_is_left_unused() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let mut simulation = Simulation::new(&server, BUDGET, &[Lane::Normal; 3]).await;
    simulation.pass(100).await;
    // All work stops, and what is saved up is used at once.
    simulation.rest(30).await;
    simulation.pass(3).await;
    // Redis loses everything just then: what was used before is not known.
    let _: String = server.command(&["FLUSHALL"]);
    simulation.pass(197).await;
    let uses = simulation.uses();
    let most = most(&uses, 10 * SECOND);
    println!(
        "{} permits in 300 s, at most {most} in 10 s, {} questions",
        uses.len(),
        simulation.questions
    );
    assert!(most <= 10 * 10 + 20, "{most}");
    for (from, to) in [(5, 100), (131, 230), (231, 330)] {
        let count = simulation.count(from, to);
        let least = usize::try_from((to - from) * 9).expect("few");
        assert!(count >= least, "{count} from {from} to {to}");
    }
    for replica in &simulation.replicas {
        let own = replica.permits.len();
        assert!(own * 4 > uses.len(), "{own} of {}", uses.len());
    }
    assert!(
        simulation.questions < 4 * uses.len(),
        "{}",
        simulation.questions
    );
}

#[tokio::test]
async fn urgent_calls_of_one_go_before_the_others_and_starve_nobody() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    for (lanes, shares) in [
        // A fifth and a quarter at most, where all replicas have such calls.
        ([Lane::Urgent, Lane::Normal], [80..=95, 5..=20]),
        ([Lane::Normal, Lane::Backfill], [75..=95, 5..=25]),
        ([Lane::Backfill, Lane::Backfill], [40..=60, 40..=60]),
    ] {
        let _: String = server.command(&["FLUSHALL"]);
        let mut simulation = Simulation::new(&server, BUDGET, &lanes).await;
        simulation.pass(100).await;
        let all = simulation.uses().len();
        for (replica, share) in simulation.replicas.iter().zip(shares) {
            let percent = replica.permits.len() * 100 / all;
            assert!(share.contains(&percent), "{lanes:?}: {percent} %");
        }
    }
}

#[tokio::test]
async fn the_share_of_a_silent_replica_is_kept_free_for_a_while() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let mut simulation = Simulation::new(&server, BUDGET, &[Lane::Normal; 3]).await;
    simulation.pass(20).await;
    simulation.replicas[2].is_up = false;
    simulation.pass(50).await;
    let reserved = simulation.count(22, 34);
    assert!(
        (70..=90).contains(&reserved),
        "two thirds of 120, not {reserved}"
    );
    let free = simulation.count(38, 68);
    assert!(free >= 270, "{free} of 300");
    // One that says that it leaves leaves its share at once.
    simulation.replicas[1].budget.leave().await;
    simulation.replicas[1].is_up = false;
    simulation.pass(20).await;
    let left = simulation.count(71, 89);
    assert!(left >= 162, "{left} of 180");
}

#[tokio::test]
async fn news_of_one_reach_each_of_the_others_once() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let redis = server.connect().await;
    let replica = |number| RedisBudget::new(redis.clone(), settings(number, BUDGET));
    let [one, other] = [0, 1].map(|number| replica(number).with_clock(BEGIN));
    let tell = async |budget: &RedisBudget, micros, wait: Option<u64>| {
        budget.set_clock(BEGIN + micros);
        let said = wait.map(|seconds| News {
            endpoint: "/projects/:id/jobs".to_owned(),
            seen: Observation {
                throttled: Some(Throttle::Endpoint),
                retry_after: Some(Duration::from_secs(seconds)),
                ..Observation::default()
            },
            age: Duration::ZERO,
        });
        let ask = Ask {
            news: said.into_iter().collect(),
            ..Ask::default()
        };
        let heard = budget.ask(&ask).await.expect("it is up").news;
        let wait = |news: &News| news.seen.retry_after.expect("it was said").as_secs();
        heard
            .iter()
            .map(|news| (wait(news), news.age))
            .collect::<Vec<_>>()
    };
    let age = Duration::from_micros;
    assert_eq!(tell(&one, 0, Some(7)).await, []);
    assert_eq!(tell(&other, 30, Some(8)).await, [(7, age(30))]);
    assert_eq!(tell(&other, 31, None).await, []);
    assert_eq!(tell(&one, 32, None).await, [(8, age(2))]);
    assert_eq!(tell(&one, 33, None).await, []);
    // Who comes later hears everything.
    let late = replica(2).with_clock(BEGIN);
    assert_eq!(tell(&late, 40, None).await, [(7, age(40)), (8, age(10))]);
    // One that was restarted knows nothing, not even what it said itself.
    let again = replica(0).with_clock(BEGIN);
    assert_eq!(tell(&again, 50, None).await, [(7, age(50)), (8, age(20))]);
    // Redis lost its data, and counts anew.
    let _: String = server.command(&["FLUSHALL"]);
    assert_eq!(tell(&one, 60, Some(9)).await, []);
    assert_eq!(tell(&other, 61, None).await, [(9, age(1))]);
    assert_eq!(tell(&other, 62, None).await, []);
}

#[tokio::test]
async fn what_was_used_without_redis_is_taken_off() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let budget = RedisBudget::new(server.connect().await, settings(0, BUDGET)).with_clock(BEGIN);
    let reported = Cell::new(0);
    let ask = async |seconds: u64, spent, lane| {
        // It shows that it is there meanwhile.
        for half in reported.replace(2 * seconds)..2 * seconds {
            budget.set_clock(BEGIN + half * SECOND / 2);
            budget.ask(&Ask::default()).await.expect("it is up");
        }
        budget.set_clock(BEGIN + seconds * SECOND);
        let ask = Ask {
            lane,
            calls: 100,
            spent,
            ..Ask::default()
        };
        budget.ask(&ask).await.expect("it is up").granted
    };
    assert_eq!(ask(0, 0, Some(Lane::Normal)).await, 0, "it begins empty");
    // A quarter of a second is left for permits to live.
    assert_eq!(ask(60, 0, Some(Lane::Normal)).await, 17);
    assert_eq!(ask(120, 12, None).await, 0, "it only reports");
    assert_eq!(ask(120, 0, Some(Lane::Normal)).await, 5);
    // However much it was: it is made up for by what was not handed out meanwhile.
    assert_eq!(ask(180, 1000, None).await, 0);
    assert_eq!(ask(181, 0, Some(Lane::Normal)).await, 10);
}

#[tokio::test]
async fn a_redis_that_lost_its_data_keeps_the_shares_of_those_free_that_are_not_back() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let replicas = three(&server).await;
    let ask = async |replica: usize, millis: u64, members| {
        replicas[replica].set_clock(BEGIN + millis * 1000);
        let ask = Ask {
            lane: Some(Lane::Normal),
            calls: 100,
            members,
            ..Ask::default()
        };
        let answer = replicas[replica].ask(&ask).await.expect("it is up");
        (answer.granted, answer.members)
    };
    for replica in [0, 1, 2] {
        ask(replica, 0, 1).await;
    }
    assert_eq!(ask(0, 900, 3).await, (9, 3));
    let _: String = server.command(&["FLUSHALL"]);
    // The two others still use their shares.
    assert_eq!(ask(0, 1000, 3).await, (0, 3));
    assert_eq!(ask(0, 1900, 3).await, (3, 3), "a third of the rate");
    // One is back; the other does not come, and is forgotten like one that is silent.
    assert_eq!(ask(1, 1900, 3).await, (0, 3));
    assert_eq!(ask(0, 2500, 3).await, (4, 3), "two thirds");
    for half in 6..=32 {
        ask(1, 500 * half, 3).await;
    }
    assert_eq!(ask(0, 16_001, 3).await.1, 2);
    // Who comes then is a new one, whatever it knew before.
    assert_eq!(ask(2, 16_002, 5).await.1, 3);
}

/// Each asks in turn; what they got, and how many share the budget.
async fn turns(replicas: &[RedisBudget], turns: &[(u64, usize, Ask, (u32, u32))]) {
    for (number, (millis, replica, ask, want)) in turns.iter().enumerate() {
        let budget = &replicas[*replica];
        budget.set_clock(BEGIN + millis * 1000);
        let answer = budget.ask(ask).await.expect("it is up");
        assert_eq!((answer.granted, answer.members), *want, "{number}: {ask:?}");
    }
}

async fn three(server: &RedisServer) -> [RedisBudget; 3] {
    let redis = server.connect().await;
    [0, 1, 2]
        .map(|number| RedisBudget::new(redis.clone(), settings(number, BUDGET)).with_clock(BEGIN))
}

/// All calls that there are permits for, by one who knows of three.
fn all() -> Ask {
    Ask {
        lane: Some(Lane::Normal),
        calls: 100,
        members: 3,
        ..Ask::default()
    }
}

/// A report of one who knows of three.
fn report() -> Ask {
    Ask {
        lane: None,
        ..all()
    }
}

#[tokio::test]
async fn after_an_outage_the_shares_of_those_are_kept_free_that_are_not_back() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let replicas = three(&server).await;
    let used = Ask {
        spent: 30,
        ..report()
    };
    turns(
        &replicas,
        &[
            (0, 0, report(), (0, 3)),
            (0, 1, report(), (0, 3)),
            (0, 2, report(), (0, 3)),
            (900, 0, report(), (0, 3)),
            // For longer than a silent replica is remembered nobody reached Redis; what they used is not known.
            (30_000, 0, all(), (0, 3)),
            (30_900, 0, all(), (3, 3)),
            (30_900, 1, used, (0, 3)),
            (31_500, 0, all(), (4, 3)),
            (31_500, 1, report(), (0, 3)),
            (31_500, 2, report(), (0, 3)),
            (32_000, 0, all(), (5, 3)),
        ],
    )
    .await;
}

#[tokio::test]
async fn who_uses_its_share_beside_the_others_counts_as_silent() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let replicas = three(&server).await;
    let apart = Ask {
        uses_share: true,
        ..report()
    };
    turns(
        &replicas,
        &[
            (0, 0, report(), (0, 3)),
            (0, 1, report(), (0, 3)),
            (0, 2, report(), (0, 3)),
            (900, 0, all(), (9, 3)),
            (900, 1, report(), (0, 3)),
            (900, 2, report(), (0, 3)),
            // It does so a second after it lost contact at the earliest.
            (1_000, 2, apart.clone(), (0, 3)),
            (1_500, 0, all(), (6, 3)),
            (1_500, 1, report(), (0, 3)),
            (2_000, 2, apart.clone(), (0, 3)),
            (2_400, 0, all(), (6, 3)),
            (2_400, 1, report(), (0, 3)),
            (2_400, 2, apart, (0, 3)),
            (2_500, 2, report(), (0, 3)),
            (3_000, 0, all(), (6, 3)),
        ],
    )
    .await;
}

/// What was held back in a queue says nothing of who is there now: it may use its share since.
#[tokio::test]
async fn a_question_that_comes_late_is_a_sign_of_life_of_then() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let replicas = three(&server).await;
    turns(
        &replicas,
        &[
            (0, 0, report(), (0, 3)),
            (0, 1, report(), (0, 3)),
            (0, 2, report(), (0, 3)),
            (900, 0, all(), (9, 3)),
            (900, 1, report(), (0, 3)),
            (1_800, 0, all(), (6, 3)),
        ],
    )
    .await;
    replicas[2].set_delay(1_300_000);
    turns(
        &replicas,
        &[
            (1_800, 1, report(), (0, 3)),
            // Permits would come too late.
            (1_810, 2, all(), (0, 3)),
            (2_700, 0, all(), (6, 3)),
        ],
    )
    .await;
    replicas[2].set_delay(0);
    turns(
        &replicas,
        &[
            (2_700, 2, report(), (0, 3)),
            (2_700, 1, report(), (0, 3)),
            (3_600, 0, all(), (9, 3)),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_hour_is_one_budget_too() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let budget = Budget {
        per_hour: 600,
        ..BUDGET
    };
    let mut simulation = Simulation::new(&server, budget, &[Lane::Normal; 3]).await;
    simulation.poll = Duration::from_secs(10);
    simulation.pass(4000).await;
    simulation.rest(3600).await;
    simulation.pass(4000).await;
    let uses = simulation.uses();
    let most = most(&uses, 3600 * SECOND);
    assert!((540..=600).contains(&most), "{most} in an hour");
}
