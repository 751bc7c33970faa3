//! Worlds that come to rest.

use gitlab_simulator::Simulator;
use gitlab_simulator::world::Mix;

use super::until;

/// What happens where nothing waits for a person or is tried again, so that all ends soon after the
/// last push.
pub fn soon_at_rest() -> Mix {
    Mix {
        job_failure: 0.2,
        job_retry_by_hand: 0.0,
        pipeline_retry: 0.0,
        good_job_retry: 0.0,
        blocked: 0.0,
        delayed: 0.0,
        optional_manual: 0.0,
        ..Mix::default()
    }
}

/// Waits until everything that runs has ended.
pub async fn everything_ends(simulator: &Simulator) {
    until("everything ends", async || {
        let world = simulator.world();
        let all = world.projects().flat_map(|it| world.pipelines_of(it.id));
        let open = all
            .filter(|pipeline| !pipeline.status.is_complete())
            .count();
        (open == 0).then_some(()).ok_or(format!("{open} run"))
    })
    .await;
}
