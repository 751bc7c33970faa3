//! GitLab's rate limits, and the exporter's own.

use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::limits::{Clock, Limit};

use super::rig::{Plan, Rig};

/// A storm of refusals is not answered by a storm of calls: what GitLab says of time is kept.
async fn storm(fault: Fault, on: Option<&str>, calls: usize) {
    let rig = Rig::start().await;
    rig.pass(600).await;
    rig.wait(300).await;
    let (before, facts) = (rig.metrics().await, rig.facts().await);
    let since = rig.last_success().await;
    let mut rule = Rule::new(fault);
    rule.on = on.map(str::to_owned);
    let rule = rig.gitlab.faults().add(rule);
    rig.pass(1200).await;
    let hits = rig.gitlab.faults().hits(rule);
    assert!(
        (1..=calls).contains(&hits),
        "{hits} calls in twenty minutes"
    );
    assert_eq!(rig.last_success().await, since, "it stands still");
    assert_eq!(facts.differences(&rig.facts().await), "");
    assert_eq!(rig.errors_since(&before).await, ["rate_limited"]);
    let (status, ready) = rig.ready().await;
    assert_eq!(status, 200, "{ready}");
    assert_eq!(ready["projects"]["failing"], 4, "{ready}");
    let page = rig.page().await;
    assert!(page.contains("4 of 4 projects fail"), "{page}");
    assert!(page.contains("rate limit reached"), "{page}");
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_of_all_calls() {
    storm(Fault::RackAttack { retry_after: 60 }, None, 80).await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_429_of_one_endpoint() {
    let fault = Fault::ApplicationLimit { retry_after: 60 };
    storm(fault, Some("/api/graphql"), 80).await;
}

/// GitLab allows a number of calls an hour, and says in headers how many are left: the exporter
/// never runs into a refusal.
#[tokio::test(start_paused = true)]
async fn an_hourly_budget_of_gitlab() {
    let rig = Rig::start().await;
    let limits = rig.gitlab.limits();
    limits.set_clock(Clock::World);
    limits.set_throttle(Some(Limit {
        calls: 80,
        period: 3600,
    }));
    rig.pass(4200).await;
    let refused = rig.gitlab.requests().all();
    let refused = refused
        .iter()
        .filter(|request| request.status == 429)
        .count();
    assert!(refused <= 2, "{refused} refusals");
    let samples = rig.metrics().await;
    assert!(samples.sum("age_api_throttled_seconds_total", &[]) > Some(60.0));
    let page = rig.page().await;
    assert!(page.contains("left"), "{page}");
    limits.set_throttle(None);
    // The last window that was told goes on to its end.
    assert!(rig.recovers_slowly().await > 100.0);
}

/// The settings allow a number of calls an hour: with too few of them data gets old, and is seen to.
#[tokio::test(start_paused = true)]
async fn an_hourly_budget_of_the_settings() {
    let plan = Plan {
        gitlab: "timeout: 20m\nmax_requests_per_hour: 100".to_owned(),
        up: false,
        ..Plan::default()
    };
    let mut rig = Rig::by(plan).await;
    rig.looks_first_now();
    rig.door.open();
    rig.wait(1800).await;
    rig.gitlab.requests().reset();
    rig.pass(3600).await;
    let calls = rig.gitlab.requests().len();
    assert!((60..=100).contains(&calls), "{calls} calls in an hour");
    let age = rig.clock.now().as_f64() - rig.last_success().await;
    assert!(age > 30.0 && age < 3600.0, "{age}");
    assert!(rig.recovers_slowly().await > 100.0);
}
