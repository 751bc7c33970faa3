//! GitLab is down, slow, or both in turn.

use gitlab_simulator::faults::{Fault, Rule};

use super::rig::{FEW_MOMENTS, LOOK, Plan, Rig, STEP};
use super::says::Says;

const HOUR: u64 = 3600;

/// What is said while GitLab cannot be read.
pub const fn unreachable(error: &str) -> Says<'_> {
    Says {
        error: Some(error),
        failing: 4,
        page: &["GitLab is unreachable"],
    }
}

#[tokio::test(start_paused = true)]
async fn down_at_the_start() {
    let mut rig = Rig::by(Plan {
        up: false,
        ..Plan::default()
    })
    .await;
    let before = rig.before().await;
    rig.pass(600).await;
    assert_eq!(rig.exporter.get("/health").await.status, 200);
    // Nothing is known yet that could fail.
    let down = Says {
        failing: 0,
        ..unreachable("connect")
    };
    rig.says(&down).await;
    rig.stands_still(&before, &["connect"]).await;
    assert!(rig.facts().await.0.is_empty());

    rig.looks_first_now();
    rig.door.open();
    rig.wait(360).await;
    rig.pass(HOUR).await;
    assert!(rig.recovers().await > 100.0);
}

#[tokio::test(start_paused = true)]
async fn down_for_an_hour() {
    let mut rig = Rig::of_all().await;
    rig.pass(600).await;
    rig.wait(300).await;
    let before = rig.before().await;
    rig.door.shut();
    rig.pass(HOUR).await;
    rig.says(&unreachable("connect")).await;
    rig.stands_still(&before, &["connect"]).await;
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
    let before = rig.before().await;
    rig.gitlab.faults().add(Rule::new(Fault::Hang));
    rig.moments = FEW_MOMENTS;
    rig.pass(450).await;
    rig.says(&unreachable("timeout")).await;
    rig.stands_still(&before, &["timeout"]).await;
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 30.0);
}

/// Every look meets a GitLab that is up or down, or goes in the middle of it.
#[tokio::test(start_paused = true)]
async fn flapping() {
    let mut rig = Rig::of_all().await;
    let before = rig.before().await;
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
        if round % 3 == 0 {
            // The look that meets it may be under way still.
            for _ in 0..20 {
                let (_, ready) = rig.ready().await;
                // A call that was under way is interrupted; the next ones find the door shut.
                if ready["gitlab"]["error"] == "connect" {
                    break;
                }
                rig.pass(STEP).await;
            }
            rig.says(&Says {
                failing: rig.failing().await,
                ..unreachable("connect")
            })
            .await;
        }
    }
    assert!(successes.is_sorted());
    successes.dedup();
    assert!(
        successes.len() > 10,
        "it reads whenever it can: {successes:?}"
    );
    rig.counted_more(&before).await;
    let errors = rig.errors_since(&before).await;
    assert!(errors.contains(&"connect".to_owned()), "{errors:?}");
    let possible = ["connect", "interrupted"];
    assert!(
        errors.iter().all(|error| possible.contains(&&**error)),
        "{errors:?}"
    );
    rig.door.open();
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 100.0);
}
