//! Requests per minute, from the simulated GitLab's record of requests: the exporter's scheduler
//! with the default settings, driven second by second on the world's clock.

use std::time::Duration;

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::{Options, Simulator};

use crate::driver::{Core, client_settings};
use crate::gitlab::Size;
use crate::report::{figure, note};
use crate::role::Outcome;

/// Minutes of the world after the first reading, before counting begins.
const WARM_UP: u64 = 2;

/// Every case.
pub fn measure() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    for projects in [100, 1000] {
        for use_graphql in [true, false] {
            for active in [0.0, 0.05] {
                runtime.block_on(case(projects, use_graphql, active))?;
            }
        }
    }
    Ok(())
}

async fn case(projects: usize, use_graphql: bool, active: f64) -> Outcome {
    // Without GraphQL every project is asked singly: fewer minutes tell as much.
    let minutes = if use_graphql { 30 } else { 10 };
    let size = Size {
        projects,
        pipelines: 10,
        jobs: 10,
        active,
    };
    let simulator = Simulator::start(size.world(None), &Options::default())?;
    let settings = Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    };
    let mut client = client_settings(&simulator);
    client.use_graphql = use_graphql;
    let mut core = Core::paced(&simulator, &settings, &client);
    core.round(&simulator).await;
    let first = simulator.requests().len();
    live(&mut core, &simulator, WARM_UP).await;
    simulator.requests().reset();
    live(&mut core, &simulator, minutes).await;
    let per_minute = simulator.requests().len() as f64 / minutes as f64;
    let name = format!(
        "{projects} projects, {} % active, {}",
        active * 100.0,
        if use_graphql { "GraphQL" } else { "REST only" }
    );
    figure(&name, per_minute, "/min", None);
    let counts = simulator.requests().counts();
    let parts: Vec<_> = counts
        .iter()
        .map(|(subject, count)| format!("{subject} {:.1}", *count as f64 / minutes as f64))
        .collect();
    note(&parts.join(", "));
    note(&format!("first reading: {first} requests"));
    let failures = core.heard.all_failures();
    if core.heard.tracked() != projects || !failures.is_empty() {
        return Err(format!("{name}: {} tracked, {failures:?}", core.heard.tracked()).into());
    }
    Ok(())
}

async fn live(core: &mut Core, simulator: &Simulator, minutes: u64) {
    for _ in 0..minutes * 60 {
        simulator.advance(Duration::from_secs(1));
        core.round(simulator).await;
    }
}
