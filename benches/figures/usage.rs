//! What each collector asks of GitLab, from the simulated GitLab's record of requests: alone beside
//! the change feed, per project and hour.

use std::collections::BTreeMap;
use std::time::Duration;

use amazing_gitlab_exporter::config::{Collectors, Settings};
use gitlab_simulator::{Options, Simulator, World};

use crate::driver::{Core, client_settings, only_pipelines};
use crate::gitlab::Size;
use crate::report::{figure, note};
use crate::role::Outcome;

/// Projects; 5 % of them are active.
const PROJECTS: usize = 1000;
/// Minutes of the world after the first reading, before counting begins.
const WARM_UP: u64 = 10;
/// Minutes that are counted: the longest default interval.
const MINUTES: u64 = 60;
/// Seconds of the world between two looks at what is due.
const STEP: u64 = 5;

/// What is switched on, by the name of the collector.
type Switch = (&'static str, fn(&mut Collectors));

const SWITCHES: [Switch; 12] = [
    ("merge_requests", |them| them.merge_requests.enabled = true),
    ("code_review", |them| them.code_review.enabled = true),
    ("environments", |them| them.environments.enabled = true),
    ("test_reports", |them| them.test_reports.enabled = true),
    ("dora", |them| them.dora.enabled = true),
    ("value_stream", |them| them.value_stream.enabled = true),
    ("repository", |them| them.repository.enabled = true),
    ("contributors", |them| them.contributors.enabled = true),
    ("schedules", |them| them.schedules.enabled = true),
    ("runners", |them| them.runners.enabled = true),
    ("security", |them| them.security.enabled = true),
    ("variables", |them| {
        them.variables.enabled = true;
        them.variables.regexp = "^DEPLOY_".parse().ok();
    }),
];

/// Every case.
pub fn measure() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut pipelines = settings();
        only_pipelines(&mut pipelines);
        let base = case("pipelines and jobs", &pipelines, None, true).await?;
        for (name, switch) in SWITCHES {
            let mut settings = pipelines.clone();
            switch(&mut settings.collectors);
            case(name, &settings, Some(&base), true).await?;
        }
        case("all default collectors", &settings(), None, true).await?;
        case("all default collectors by REST", &settings(), None, false).await?;
        Ok(())
    })
}

fn settings() -> Settings {
    Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    }
}

/// Requests of one subject in [`MINUTES`].
type Counts = BTreeMap<String, u64>;

async fn case(
    name: &str,
    settings: &Settings,
    base: Option<&Counts>,
    graphql: bool,
) -> Outcome<Counts> {
    let simulator = Simulator::start(world()?, &Options::default())?;
    let mut client = client_settings(&simulator);
    client.use_graphql = graphql;
    let mut core = Core::with_client(&simulator, settings, &client);
    core.round(&simulator).await;
    let first = simulator.requests().len();
    live(&mut core, &simulator, WARM_UP).await;
    simulator.requests().reset();
    live(&mut core, &simulator, MINUTES).await;
    let counts = simulator.requests().counts();
    let counts: Counts = counts
        .iter()
        .map(|(subject, count)| (subject.to_string(), *count as u64))
        .collect();
    let own: Counts = counts
        .iter()
        .map(|(subject, count)| {
            let before = base.and_then(|base| base.get(subject)).copied();
            (subject.clone(), count.saturating_sub(before.unwrap_or(0)))
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    let hours = MINUTES as f64 / 60.0;
    let total: u64 = own.values().sum();
    figure(name, total as f64 / hours, "/h", None);
    let per_project = total as f64 / hours / PROJECTS as f64;
    let parts: Vec<_> = own
        .iter()
        .map(|(subject, count)| format!("{subject} {:.0}", *count as f64 / hours))
        .collect();
    note(&format!(
        "{per_project:.3} per project and hour; first reading {first}; {}",
        parts.join(", ")
    ));
    let failures = core.heard.all_failures();
    if core.heard.tracked() != PROJECTS || !failures.is_empty() {
        return Err(format!("{name}: {} tracked, {failures:?}", core.heard.tracked()).into());
    }
    Ok(counts)
}

/// An Ultimate world: everything that can be asked for is there.
fn world() -> Outcome<World> {
    let size = Size {
        projects: PROJECTS,
        pipelines: 10,
        jobs: 10,
        active: 0.05,
    };
    let mut world = size.world(None);
    let groups: Vec<String> = (0..PROJECTS.div_ceil(20))
        .map(|group| format!("group-{group}"))
        .collect();
    for group in groups {
        world.set_tier(&group, gitlab_simulator::world::Tier::Ultimate)?;
    }
    Ok(world)
}

async fn live(core: &mut Core, simulator: &Simulator, minutes: u64) {
    for _ in 0..minutes * 60 / STEP {
        simulator.advance(Duration::from_secs(STEP));
        core.round(simulator).await;
    }
}
