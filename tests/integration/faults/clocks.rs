//! Clocks that are set: ours, and GitLab's.

use gitlab_simulator::time::HOUR;

use super::rig::{FRESH, Rig};

/// Reading goes on in its rhythm whatever our clock is set to, and what was shown stays shown.
async fn our_clock_is_set(from: i64, to: i64) {
    let mut rig = Rig::start().await;
    rig.ahead = from;
    rig.pass(1800).await;
    let before = rig.metrics().await;
    let facts = rig.facts().await;
    rig.ahead = to;
    rig.pass(240).await;
    let after = rig.facts().await;
    for ((name, labels), value) in &facts.0 {
        let counts = name.ends_with("_count") || name.ends_with("_total");
        let is_less = |now: &f64| now < value;
        let now = after.0.get(&(name.clone(), labels.clone()));
        let fell = counts && now.is_some_and(is_less);
        assert!(!fell, "{name}{labels:?} fell from {value} to {now:?}");
    }
    let now = rig.clock.now().as_f64();
    let age = now - rig.last_success().await;
    assert!((0.0..=FRESH).contains(&age), "{age}");
    rig.pass(1800).await;
    let errors = rig.errors_since(&before).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn our_clock_is_set_back_by_an_hour() {
    our_clock_is_set(3600, 0).await;
}

#[tokio::test(start_paused = true)]
async fn our_clock_is_set_forward_by_an_hour() {
    our_clock_is_set(0, 3600).await;
}

/// GitLab's own times stay right, the header `Date` of its front is wrong.
async fn gitlabs_date_is_set(error: i64) {
    let rig = Rig::start().await;
    rig.pass(900).await;
    let before = rig.metrics().await;
    rig.gitlab.set_date_error(error);
    rig.pass(1800).await;
    let age = rig.clock.now().as_f64() - rig.last_success().await;
    assert!(age <= FRESH, "{age}");
    rig.gitlab.set_date_error(0);
    rig.pass(900).await;
    let errors = rig.errors_since(&before).await;
    assert!(errors.is_empty(), "{errors:?}");
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn gitlabs_date_is_set_forward_by_an_hour() {
    gitlabs_date_is_set(HOUR).await;
}

#[tokio::test(start_paused = true)]
async fn gitlabs_date_is_set_back_by_an_hour() {
    gitlabs_date_is_set(-HOUR).await;
}
