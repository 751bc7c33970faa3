//! The ledger test: a random world evolves, the exporter follows it, and at the end every counter
//! and every histogram count equals what happened.

pub mod accidents;
pub mod announce;
pub mod commits;
pub mod expected;
pub mod follow;
pub mod reviews;

use std::time::Duration;

use gitlab_simulator::time::Millis;
use gitlab_simulator::world::{Entry, Finish, JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

pub use expected::{Counts, counts};
pub use follow::{COUNTED, difference};

use commits::Force;
use follow::Follow;

/// Every event of the ledger that is no history, of every kind that is counted.
pub fn all_counts(entries: &[Entry], first_look: Millis) -> Counts {
    let mut all = counts(entries, first_look);
    all.extend(reviews::counts(entries, first_look));
    all.extend(commits::counts(entries, first_look));
    all
}

/// How many events there were. A line of a commit is none.
pub fn events(counts: &Counts) -> f64 {
    let lines = ["age_contributor_additions", "age_contributor_deletions"];
    let events = counts
        .iter()
        .filter(|((metric, _), _)| !lines.contains(&metric.as_str()));
    events.map(|(_, count)| count).sum()
}

/// Every metric that counts events.
pub fn all_counted() -> impl Iterator<Item = &'static str> {
    let lists = [
        COUNTED,
        reviews::COUNTED,
        reviews::GRAPHQL_ONLY,
        reviews::DEPLOYMENTS,
        commits::COUNTED,
    ];
    lists.into_iter().flatten().copied()
}

/// Projects with long pasts are read by indexes: what is new, what is active, and what came back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_where_pasts_are_long() {
    let ways = [
        (true, Some("19.3.0-ee")),
        (true, Some("18.4.1-ee")),
        (false, None),
    ];
    for (seed, (graphql, version)) in (21..).zip(ways) {
        let follow = Follow {
            graphql,
            version,
            past: 300_000,
            late_pages_fail: seed == 22,
            page_size: if seed == 22 { 3 } else { 100 },
            steps: 160,
            ..Follow::graphql(seed)
        };
        let events = follow.to_the_end().await;
        println!("GraphQL {graphql} {version:?}: {events} events");
        assert!(events > 1000.0, "{events}");
    }
}

/// The newest GitLab lists pipelines by their ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_by_ids() {
    let follow = Follow {
        version: Some("19.3.0-ee"),
        graphql_goes: true,
        ..Follow::graphql(31)
    };
    assert!(follow.to_the_end().await > 1000.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger() {
    // Commits go from default branches for ever, or are written anew.
    for (seed, force) in [(1, Force::Drop), (2, Force::Rebase), (3, Force::Rebase)] {
        let follow = Follow {
            force,
            steps: 160,
            ..Follow::graphql(seed)
        };
        let events = follow.to_the_end().await;
        assert!(
            events > 1000.0,
            "the world was too quiet to tell: {events} events"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_though_late_pages_fail() {
    let follow = Follow {
        page_size: 2,
        late_pages_fail: true,
        restarts: false,
        steps: 160,
        ..Follow::graphql(4)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// Polls come once an hour where events can be relied on; one of ten events is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_though_events_are_lost() {
    let follow = Follow {
        events: true,
        restarts: false,
        steps: 160,
        ..Follow::graphql(41)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// Without restarts: REST tells what started a downstream pipeline only on the upstream side, which
/// an exporter that has just started does not read again when it is settled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_by_rest() {
    let follow = Follow {
        graphql: false,
        restarts: false,
        steps: 160,
        ..Follow::graphql(5)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// GraphQL cuts times to seconds, REST does not: the same end must not look like another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_while_graphql_comes_and_goes() {
    let follow = Follow {
        graphql_goes: true,
        restarts: false,
        steps: 160,
        ..Follow::graphql(6)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// GitLab is down for minutes, in one way or another, in the middle of a look, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_through_outages() {
    for graphql in [true, false] {
        let follow = Follow {
            graphql,
            version: graphql.then_some("19.3.0-ee"),
            page_size: 5,
            late_pages_fail: true,
            outages: true,
            restarts: false,
            steps: 160,
            ..Follow::graphql(7)
        };
        let events = follow.to_the_end().await;
        assert!(
            events > 1000.0,
            "the world was too quiet to tell: {events} events"
        );
    }
}

/// Hours in which roles go up and down, features off and on, projects are scheduled for deletion
/// and restored, groups and a project are renamed, and proxies answer in GitLab's place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_equals_the_ledger_after_accidents() {
    let follow = Follow {
        accidents: true,
        version: Some("19.3.0-ee"),
        restarts: false,
        steps: 160,
        ..Follow::graphql(8)
    };
    let events = follow.to_the_end().await;
    assert!(
        events > 1000.0,
        "the world was too quiet to tell: {events} events"
    );
}

/// As many seeds as one has time for: `LEDGER_SEEDS=8-27 cargo test … -- --ignored many_seeds`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
#[expect(
    clippy::disallowed_methods,
    reason = "a person who runs it says how far"
)]
async fn many_seeds() {
    let seeds = std::env::var("LEDGER_SEEDS").unwrap_or_else(|_| "8-27".to_owned());
    let (first, last) = seeds.split_once('-').unwrap_or((&seeds, &seeds));
    let number = |text: &str| text.parse::<u64>().expect("a seed");
    let mut events = 0.0;
    for seed in number(first)..=number(last) {
        let plain = Follow::graphql(seed);
        let ways = [
            Follow {
                page_size: 2 + u32::try_from(seed % 4).unwrap_or(0),
                late_pages_fail: true,
                outages: true,
                ..Follow::graphql(seed)
            },
            Follow {
                graphql: false,
                restarts: false,
                late_pages_fail: true,
                page_size: 5,
                outages: true,
                ..Follow::graphql(seed)
            },
            Follow {
                graphql_goes: true,
                restarts: false,
                outages: true,
                ..Follow::graphql(seed)
            },
        ];
        for follow in std::iter::once(plain).chain(ways) {
            events += follow.to_the_end().await;
        }
    }
    println!("seeds {seeds}: {events} events equal the ledger");
}

/// A blocked pipeline waits for a person, perhaps for days: it is not read again until it moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_pipeline_is_left_alone_until_it_moves() {
    let mut world = World::new(WorldConfig::default());
    let project = world.add_project("group/project").expect("a project");
    let gate = JobSpec::new("deploy", "approve").manual();
    let spec = PipelineSpec::branch("main")
        .stage("test", &["unit"])
        .job(gate);
    let pipeline = world.create_pipeline(project, &spec).expect("a pipeline");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it runs up to the gate");
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let mut exporter = Follow::graphql(0).start(&simulator);
    for _ in 0..3 {
        exporter.round(&simulator).await;
        simulator.advance(Duration::from_secs(30));
    }
    simulator.requests().reset();
    for _ in 0..20 {
        simulator.advance(Duration::from_secs(30));
        exporter.round(&simulator).await;
    }
    assert!(simulator.requests().count("ProjectChanges") >= 20);
    assert_eq!(simulator.requests().count("PipelineJobs"), 0);
}
