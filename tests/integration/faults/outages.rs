//! GitLab is down, slow, or both in turn.

use gitlab_simulator::faults::{Fault, Rule};

use super::rig::{FEW_MOMENTS, LOOK, Plan, Rig};

const HOUR: u64 = 3600;

/// Holds what is so while GitLab cannot be read: everything stays as it was, and is seen to be old.
pub async fn assert_stale(rig: &Rig, since: f64, kind: &str) {
    assert_eq!(rig.last_success().await, since, "it stands still");
    let (status, ready) = rig.ready().await;
    assert_eq!(status, 200, "what was read is still there to be scraped");
    assert_eq!(ready["gitlab"]["reachable"], false, "{ready}");
    assert_eq!(ready["gitlab"]["error"], kind, "{ready}");
    assert_eq!(ready["projects"]["failing"], 4, "{ready}");
    let page = rig.page().await;
    assert!(page.contains("GitLab does not answer"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn down_at_the_start() {
    let mut rig = Rig::by(Plan {
        up: false,
        ..Plan::default()
    })
    .await;
    let before = rig.metrics().await;
    rig.pass(600).await;
    assert_eq!(rig.exporter.get("/health").await.status, 200);
    let (status, ready) = rig.ready().await;
    assert_eq!(ready["gitlab"]["reachable"], false, "{ready}");
    assert_eq!(ready["gitlab"]["error"], "connect", "{ready}");
    assert_eq!(status, 200, "the first round was attempted: {ready}");
    assert_eq!(rig.last_success().await, 0.0);
    assert_eq!(rig.errors_since(&before).await, ["connect"]);
    let page = rig.page().await;
    assert!(page.contains("GitLab does not answer"), "{page}");
    assert!(rig.facts().await.0.is_empty());

    rig.looks_first_now();
    rig.door.open();
    rig.wait(360).await;
    rig.pass(HOUR).await;
    assert!(rig.recovers().await > 100.0);
}

#[tokio::test(start_paused = true)]
async fn down_for_an_hour() {
    let mut rig = Rig::start().await;
    rig.pass(600).await;
    rig.wait(300).await;
    let (before, facts) = (rig.metrics().await, rig.facts().await);
    let since = rig.last_success().await;
    rig.door.shut();
    rig.pass(HOUR).await;
    assert_stale(&rig, since, "connect").await;
    assert_eq!(facts.differences(&rig.facts().await), "");
    assert_eq!(rig.errors_since(&before).await, ["connect"]);
    rig.door.open();
    assert!(rig.recovers().await > 100.0);
}

/// Answers come after half a minute and more, and the exporter does not wait that long.
#[tokio::test(start_paused = true)]
async fn too_slow() {
    let mut rig = Rig::by(Plan {
        gitlab: "timeout: 30s".to_owned(),
        ..Plan::default()
    })
    .await;
    rig.pass(600).await;
    rig.wait(300).await;
    let (before, facts) = (rig.metrics().await, rig.facts().await);
    let since = rig.last_success().await;
    rig.gitlab.faults().add(Rule::new(Fault::Hang));
    rig.moments = FEW_MOMENTS;
    rig.pass(450).await;
    assert_stale(&rig, since, "timeout").await;
    assert_eq!(facts.differences(&rig.facts().await), "");
    assert_eq!(rig.errors_since(&before).await, ["timeout"]);
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 30.0);
}

/// Every look meets a GitLab that is up or down, or goes in the middle of it.
#[tokio::test(start_paused = true)]
async fn flapping() {
    let mut rig = Rig::start().await;
    let before = rig.metrics().await;
    let mut successes = Vec::new();
    for round in 0_u64..60 {
        match round % 3 {
            0 => rig.door.shut(),
            1 => rig.door.open(),
            _ => {
                let some = Rule::new(Fault::Reset).skip(2).times(4);
                rig.gitlab.faults().add(some);
            }
        }
        rig.pass(LOOK + 7 * (round % 5)).await;
        successes.push(rig.last_success().await);
    }
    assert!(successes.is_sorted());
    successes.dedup();
    assert!(
        successes.len() > 10,
        "it reads whenever it can: {successes:?}"
    );
    let errors = rig.errors_since(&before).await;
    assert!(errors.contains(&"connect".to_owned()), "{errors:?}");
    rig.door.open();
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 100.0);
}
