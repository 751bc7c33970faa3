//! Clocks that are set: ours, and GitLab's.

use gitlab_simulator::time::HOUR;

use super::rig::{LOOK, Rig};
use super::says::WELL;

/// Reading goes on in its rhythm whatever our clock is set to, and what was shown stays shown.
async fn our_clock_is_set(from: i64, to: i64) {
    let mut rig = Rig::of_all().await;
    rig.ahead = from;
    rig.pass(1800).await;
    let before = rig.before().await;
    rig.ahead = to;
    rig.pass(8 * LOOK).await;
    rig.is_fresh().await;
    rig.says(&WELL).await;
    rig.pass(1800).await;
    rig.goes_on(&before, &[]).await;
    rig.says(&WELL).await;
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
    let rig = Rig::of_all().await;
    rig.pass(900).await;
    let before = rig.before().await;
    rig.gitlab.set_date_error(error);
    rig.pass(1800).await;
    rig.goes_on(&before, &[]).await;
    rig.says(&WELL).await;
    rig.gitlab.set_date_error(0);
    rig.pass(900).await;
    rig.goes_on(&before, &[]).await;
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

/// By a clock that lags, commits that were counted are younger than the look that counted them: when a
/// rebase gives them other hashes they are counted no more than once for all that.
#[tokio::test(start_paused = true)]
async fn our_clock_lags_while_branches_are_rebased() {
    let mut rig = Rig::of_all().await;
    rig.ahead = -1800;
    rig.pass(900).await;
    for _ in 0..3 {
        // What nobody has seen yet is nobody's to compare.
        rig.wait(300).await;
        rig.recovers().await;
        {
            let mut world = rig.gitlab.world();
            let projects: Vec<_> = world.projects().map(|project| project.id).collect();
            for project in projects {
                world.rewrite(project, 2).expect("it has commits");
            }
        }
        rig.pass(300).await;
    }
    assert!(rig.recovers().await > 50.0);
}
