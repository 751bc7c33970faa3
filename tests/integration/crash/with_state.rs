//! With a state file nothing is lost, nothing counted twice, and no number ever falls, whenever the
//! exporter is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gitlab_simulator::time::MINUTE;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::program::{EVERYTHING, Home, kill, looks};
use super::reading::{self, Rise};
use crate::ledger::commits::{Force, push_by_force};
use crate::ledger::{self, Counts};
use crate::support::exporter::{Binary, QuickTime, beginning_now, configuration, real_time};
use crate::support::prometheus;
use crate::support::promql::PromQl;

const SEED: u64 = 11;
/// How often it is killed.
const KILLS: usize = 30;
/// Seconds of the world in a second.
const PACE: i64 = 60;
/// The same between two looks when nobody acts any more, so that what runs ends soon.
const STEP: Duration = Duration::from_secs(600);
/// How long all may take to come to rest.
const REST: Duration = Duration::from_secs(180);

/// Longer than nobody ever looks.
const UNSEEN: i64 = 60 * MINUTE;

fn world() -> World {
    World::generate(WorldConfig {
        seed: SEED,
        projects: 8,
        pipelines_per_project: 4,
        active_ratio: 0.9,
        pushes_per_hour: 8.0,
        // Some starts of the exporter are too short to see anything.
        min_refinish_gap: UNSEEN,
        ..beginning_now()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_counted_twice_whenever_it_is_killed() {
    let simulator = Simulator::start(world(), &Options::default()).expect("a simulator");
    let settings = "state: {path: STATE}\ntelemetry: {birth_window: 4s}\n";
    let home = Home::new(&configuration(&simulator, settings), &EVERYTHING);
    let first_look = simulator.world().now();
    let mut exporter = home.start_and_read().await;
    let projects = simulator.world().projects().count();
    home.read_slowly(projects).await;
    let Some((_program, promql)) = prometheus::start(&home.prometheus()).await else {
        return;
    };
    looks(&promql).await;

    let time = QuickTime::of(&simulator, PACE);
    let mut random = StdRng::seed_from_u64(SEED);
    let mut looked_at = simulator.world().now();
    for _ in 0..KILLS {
        let start = real_time();
        wait(random.random_range(100..3000)).await;
        // However slow this machine is, nothing runs again that nobody has seen end.
        let unseen = simulator.world().now() - looked_at;
        if unseen > UNSEEN / 3 {
            home.looks().await;
        }
        if unseen > UNSEEN / 3 || home.has_looked_since(start).await {
            looked_at = simulator.world().now();
        }
        // Commits that every look has seen are written anew: none of them counts again.
        push_by_force(&mut simulator.world(), &mut random, Force::Rebase, UNSEEN);
        kill(exporter).await;
        if random.random_ratio(1, 3) {
            wait(random.random_range(0..6000)).await;
        }
        exporter = home.start();
    }
    simulator.world().calm();
    let exporter = Binary::started(exporter).await;
    home.looks().await;
    drop(time);

    let (want, seen) = rest(&simulator, &home, &promql, first_look).await;
    drop(exporter);
    let mut wrong = Vec::new();
    for ((metric, labels), rise) in &seen {
        let events = want.get(&(metric.clone(), labels.clone())).copied();
        let right = Rise {
            first: 0.0,
            rises: events.unwrap_or_default(),
            falls: 0,
        };
        if *rise != right {
            wrong.push(format!("{metric}{labels:?}: {rise:?} instead of {right:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} series of Prometheus are wrong:\n{}",
        wrong.len(),
        seen.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    tell(&want);
}

/// A random moment: nothing depends on its length.
async fn wait(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Waits until the exporter's text equals the ledger, and Prometheus has as many events as that;
/// gives the ledger and what Prometheus has.
async fn rest(
    simulator: &Simulator,
    home: &Home,
    promql: &PromQl,
    first_look: i64,
) -> (Counts, Vec<((String, BTreeMap<String, String>), Rise)>) {
    let start = Instant::now();
    loop {
        let want = ledger::all_counts(simulator.world().ledger().entries(), first_look);
        let got = reading::of_text(&home.metrics().await);
        let is_late = start.elapsed() > REST;
        if is_late {
            let difference = ledger::difference(&got, &want);
            assert_eq!(
                difference,
                None,
                "seed {SEED}{}",
                story(&simulator.world(), &got, &want)
            );
        }
        if got == want {
            let seen = reading::of_prometheus(promql).await;
            let all: f64 = seen.iter().map(|(_, rise)| rise.first + rise.rises).sum();
            // What still ran may have ended meanwhile: then Prometheus saw more than `want`.
            let agrees = (all - want.values().sum::<f64>()).abs() < 0.5;
            if agrees || is_late {
                return (want, seen);
            }
        }
        simulator.advance(STEP);
        home.looks().await;
    }
}

/// What happened to the jobs whose counts differ.
pub fn story(world: &World, got: &Counts, want: &Counts) -> String {
    let differs = |key: &&(String, BTreeMap<String, String>)| got.get(*key) != want.get(*key);
    let mut story = String::new();
    for (metric, labels) in got.keys().chain(want.keys()).filter(differs) {
        story += &format!("\n{metric}{labels:?}:");
        let words = ["project", "job_name"].map(|name| labels.get(name));
        for entry in world.ledger().entries() {
            let event = format!("{:?}", entry.event);
            let about = words
                .iter()
                .flatten()
                .all(|word| event.contains(&format!("{word:?}")));
            if about {
                story += &format!("\n  {} {event}", entry.at);
            }
        }
    }
    story
}

/// The summary: totals per metric, the same in both readings.
fn tell(want: &Counts) {
    let mut totals: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for ((metric, _), count) in want {
        let (series, events) = totals.entry(metric).or_default();
        *series += 1;
        *events += count;
    }
    println!("seed {SEED}, {KILLS} kills: the ledger, the text and Prometheus agree");
    for (metric, (series, events)) in totals {
        println!("{metric:45} {series:5} series {events:7} events");
    }
}
