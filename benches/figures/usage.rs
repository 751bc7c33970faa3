//! What each collector asks of GitLab, from the simulated GitLab's record of requests: alone beside
//! the change feed, per project and hour.

use std::collections::BTreeMap;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::config::{Config, Settings};
use gitlab_simulator::{Options, Simulator, World};

use crate::driver::{Core, client_settings};
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

/// Those that measure the change feed, which is read in every case.
const FEED: [Collector; 3] = [
    Collector::Pipelines,
    Collector::ChildPipelines,
    Collector::Jobs,
];

/// Every case.
pub fn measure() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let base = case("pipelines and jobs", &beside_feed(None)?, None, true).await?;
        let others = Collector::ALL.into_iter();
        for collector in others.filter(|collector| !FEED.contains(collector)) {
            let settings = beside_feed(Some(collector))?;
            case(collector.as_str(), &settings, Some(&base), true).await?;
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

/// Settings with one collector, or none, beside those of the change feed.
fn beside_feed(on: Option<Collector>) -> Outcome<Settings> {
    let mut yaml = "gitlab: {token: t}\nwildcards: [{}]\ncollectors:\n".to_owned();
    for collector in Collector::ALL {
        let enabled = on == Some(collector);
        let more = match collector {
            feed if FEED.contains(&feed) => continue,
            Collector::Variables => ", regexp: '^DEPLOY_'",
            _ => "",
        };
        yaml.push_str(&format!(
            "  {}: {{enabled: {enabled}{more}}}\n",
            collector.as_str()
        ));
    }
    Ok(Settings::clone(&*Config::from_yaml(&yaml)?))
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
    let mut core = Core::paced(&simulator, settings, &client);
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
