//! GitLab's rate limits, and the exporter's own.

use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::limits::{Clock, Limit};

use super::rig::{Plan, Rig};
use super::says::{Says, WELL};

/// How long a storm lasts, and how long each refusal asks to wait.
const STORM: u64 = 1200;
const RETRY_AFTER: u64 = 60;

/// A storm of refusals is not answered by a storm of calls: what GitLab says of time is kept, so
/// that whoever calls (`callers` at once) does so once at the start and once after each pause.
async fn storm(fault: Fault, on: Option<&str>, callers: u64) {
    let rig = Rig::start().await;
    rig.pass(600).await;
    rig.wait(300).await;
    let before = rig.before().await;
    let mut rule = Rule::new(fault);
    rule.on = on.map(str::to_owned);
    let rule = rig.gitlab.faults().add(rule);
    rig.pass(STORM).await;
    let hits = rig.gitlab.faults().hits(rule) as u64;
    let most = callers * (1 + STORM / RETRY_AFTER);
    assert!((1..=most).contains(&hits), "{hits} calls of {most}");
    rig.stands_still(&before, &["rate_limited"]).await;
    // It answers, though it refuses.
    rig.says(&Says {
        failing: 4,
        page: &["4 of 4 projects fail", "rate limit reached"],
        ..WELL
    })
    .await;
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_of_all_calls() {
    // The change feed, discovery and merge requests.
    let retry_after = RETRY_AFTER;
    storm(Fault::RackAttack { retry_after }, None, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_of_one_endpoint() {
    let retry_after = RETRY_AFTER;
    let fault = Fault::ApplicationLimit { retry_after };
    // The change feed, discovery and merge requests.
    storm(fault, Some("/api/graphql"), 3).await;
}

/// GitLab allows a number of calls an hour, and says in headers how many are left: the exporter
/// runs into no refusal but those of the calls that try whether a long pause is over.
#[tokio::test(start_paused = true)]
async fn an_hourly_budget_of_gitlab() {
    let rig = Rig::start().await;
    let limits = rig.gitlab.limits();
    limits.set_clock(Clock::World);
    limits.set_throttle(Some(Limit {
        calls: 80,
        period: 3600,
    }));
    rig.pass(2400).await;
    // Nothing is left, and the hour is not over.
    let before = rig.before().await;
    rig.pass(600).await;
    rig.stands_still(&before, &["rate_limited"]).await;
    rig.says(&Says {
        failing: 4,
        page: &[
            "4 of 4 projects fail",
            "rate limit reached",
            "0 <small>requests left in this window",
        ],
        ..WELL
    })
    .await;
    rig.pass(1200).await;
    rig.counted_more(&before).await;
    let refused = rig.gitlab.requests().all();
    let refused = refused
        .iter()
        .filter(|request| request.status == 429)
        .count();
    assert!(refused <= 12, "{refused} refusals");
    let samples = rig.metrics().await;
    assert!(samples.sum("age_api_throttled_seconds_total", &[]) > Some(60.0));
    limits.set_throttle(None);
    // The last window that was told goes on to its end.
    rig.wait(3600).await;
    assert!(rig.recovers().await > 100.0);
}

/// The settings allow a number of calls an hour: with too few of them data gets old, and is seen to.
#[tokio::test(start_paused = true)]
async fn an_hourly_budget_of_the_settings() {
    let plan = Plan {
        gitlab: "timeout: 20m\nmax_requests_per_hour: 60".to_owned(),
        up: false,
        ..Plan::default()
    };
    let mut rig = Rig::by(plan).await;
    rig.looks_first_now();
    rig.door.open();
    rig.wait(1800).await;
    rig.gitlab.requests().reset();
    let before = rig.before().await;
    rig.pass(3600).await;
    let calls = rig.gitlab.requests().len();
    assert!((30..=60).contains(&calls), "{calls} calls in an hour");
    let age = rig.clock.now().as_f64() - rig.last_success().await;
    assert!(age > 30.0 && age < 3600.0, "{age}");
    rig.counted_more(&before).await;
    // Reading slowly is what was asked for, and no error.
    assert_eq!(rig.errors_since(&before).await, [""; 0]);
    let first = Says {
        page: &["First sync: ", "60 per hour"],
        ..WELL
    };
    rig.says(&first).await;
    let slow = Says {
        page: &["Data is up to ", "60 per hour"],
        ..WELL
    };
    // So many calls are left to be made.
    rig.wait(3 * 3600).await;
    assert!(rig.equals_the_ledger().await > 100.0);
    rig.says(&slow).await;
}

/// Operations that ask for many projects at once.
const BATCHED: [&str; 3] = ["ProjectChanges", "PipelineJobs", "MergeRequestReviews"];

/// Queries of an operation, by how many projects they asked for and what they cost.
fn asked(rig: &Rig, operation: &str) -> Vec<(usize, i32)> {
    let all = rig.gitlab.requests().all().into_iter();
    let queries = all.filter(|request| request.operation.as_deref() == Some(operation));
    let asked = queries.filter_map(|query| {
        let variables = query.variables?;
        let projects = variables["ids"].as_array()?.len();
        // Jobs that are still active are asked for by a lighter query.
        let is_whole = variables["statuses"].is_null();
        is_whole.then_some((projects, query.complexity?))
    });
    asked.collect()
}

/// Lets GitLab allow each operation so much complexity, and forgets what was asked before.
fn allow(rig: &Rig, limits: [i32; 3]) {
    let faults = rig.gitlab.faults();
    faults.clear();
    for (operation, limit) in BATCHED.into_iter().zip(limits) {
        faults.add(Rule::new(Fault::MaxComplexity { limit }).on(operation));
    }
    rig.gitlab.requests().reset();
}

/// From some moment on GitLab allows less complexity than a batch costs: batches are cut until they
/// fit, where even one project is too much REST stands in, and nothing is lost either way.
#[tokio::test(start_paused = true)]
async fn queries_are_too_complex() {
    let rig = Rig::of_all().await;
    // The first look asks otherwise.
    rig.gitlab.requests().reset();
    rig.pass(1800).await;
    rig.wait(300).await;
    let batches = BATCHED.map(|operation| {
        let all = asked(&rig, operation).into_iter();
        let batches = all.filter(|(projects, _)| *projects > 1);
        let most = batches.max_by_key(|(projects, cost)| (*cost, *projects));
        most.unwrap_or_else(|| panic!("{operation} asks for many projects at once"))
    });
    let costs = batches.map(|(_, cost)| cost);

    let before = rig.before().await;
    allow(&rig, costs.map(|cost| cost - 1));
    rig.pass(900).await;
    for (operation, (_, cost)) in BATCHED.into_iter().zip(batches) {
        let (refused, answered): (Vec<_>, Vec<_>) = asked(&rig, operation)
            .into_iter()
            .partition(|(_, score)| *score >= cost);
        let of_many = refused.iter().all(|(projects, _)| *projects > 1);
        assert!(of_many, "{operation}: {refused:?}");
        // What was refused is not tried again and again.
        // Two projects with jobs are a batch, and cut down to one.
        let least = if operation == "PipelineJobs" { 1 } else { 2 };
        let smaller = answered.iter().filter(|(projects, _)| *projects >= least);
        let (few, many) = (refused.len(), smaller.count());
        let counts = format!("{few} of {many} {operation} are refused");
        assert!(few > 0 && 4 * few <= many, "{counts}");
    }
    rig.goes_on(&before, &[]).await;
    assert!(rig.recovers().await > 50.0);

    allow(&rig, [1; 3]);
    rig.pass(300).await;
    for operation in BATCHED {
        assert!(asked(&rig, operation).iter().all(|(_, score)| *score > 1));
    }
    rig.goes_on(&before, &[]).await;
    assert!(rig.recovers().await > 60.0);

    allow(&rig, costs);
    let grown = || {
        let mut batches = BATCHED.into_iter().zip(batches);
        batches.all(|(operation, batch)| asked(&rig, operation).contains(&batch))
    };
    for _ in 0..12 {
        rig.pass(300).await;
        if grown() {
            break;
        }
    }
    assert!(grown(), "batches grow again");
    rig.goes_on(&before, &[]).await;
    assert!(rig.recovers().await > 80.0);
}
