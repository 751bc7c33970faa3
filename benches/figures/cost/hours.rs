//! The exporter's scheduler on the world's clock.

use std::time::Duration;

use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::config::{Config, Settings};
use gitlab_simulator::cost::Report;
use gitlab_simulator::world::Status;
use gitlab_simulator::{Options, Simulator, World};

use super::{goal, table, worlds};
use crate::driver::{Core, client_settings, only_pipelines};
use crate::report::{figure, note};
use crate::role::Outcome;

/// Minutes of the world before counting begins.
const WARM_UP: u64 = 10;
/// Minutes that are counted: the longest default interval.
const MINUTES: u64 = 60;
/// Minutes that are counted where so much happens that fewer tell as much.
const LIVELY_MINUTES: u64 = 30;
/// Seconds of the world between two looks at what is due.
const STEP: u64 = 5;
/// Seconds between two polls of a project, by default.
const POLL: u64 = 30;

/// A simulator, and an exporter that watches it.
struct Watch {
    simulator: Simulator,
    core: Core,
}

impl Watch {
    /// Starts both; everything has been read once.
    async fn start(world: World, settings: &Settings) -> Outcome<Self> {
        let simulator = Simulator::start(world, &Options::default())?;
        let client = client_settings(&simulator);
        let mut core = Core::paced(&simulator, settings, &client);
        core.round(&simulator).await;
        Ok(Self { simulator, core })
    }

    /// Lets time pass until nothing is new any more.
    async fn fall_quiet(&mut self) {
        let span = u64::try_from(worlds::UNTIL_QUIET).unwrap_or_default();
        self.simulator.advance(Duration::from_millis(span));
        self.core.round(&self.simulator).await;
    }

    async fn live(&mut self, seconds: u64) {
        for _ in 0..seconds / STEP {
            self.simulator.advance(Duration::from_secs(STEP));
            self.core.round(&self.simulator).await;
        }
    }

    /// Costs of so many minutes after a warm-up.
    async fn count(&mut self, minutes: u64) -> Report {
        self.live(WARM_UP * 60).await;
        self.simulator.costs().reset();
        self.live(minutes * 60).await;
        self.simulator.costs().report()
    }

    fn check(&self) -> Outcome {
        let failures = self.core.heard.all_failures();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(format!("collectors failed: {failures:?}").into())
        }
    }
}

fn settings() -> Settings {
    Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    }
}

/// Every collector is on.
fn every_collector() -> Outcome<Settings> {
    let mut yaml = "gitlab: {token: t}\nwildcards: [{}]\ncollectors:\n".to_owned();
    for collector in Collector::ALL {
        let more = match collector {
            // On by default; some of them have no switch.
            Collector::Pipelines | Collector::ChildPipelines | Collector::Jobs => continue,
            Collector::Variables => ", regexp: '^DEPLOY_'",
            _ => "",
        };
        yaml.push_str(&format!(
            "  {}: {{enabled: true{more}}}\n",
            collector.as_str()
        ));
    }
    Ok(Settings::clone(&*Config::from_yaml(&yaml)?))
}

/// The change feed and nothing else: which projects there are is asked once.
fn feed_alone() -> Settings {
    let mut settings = settings();
    only_pipelines(&mut settings);
    settings.discovery.interval = Duration::from_secs(30 * 24 * 3_600);
    settings
}

fn block_on<F: Future>(future: F) -> Outcome<F::Output> {
    Ok(tokio::runtime::Runtime::new()?.block_on(future))
}

/// 100 quiet projects.
pub fn quiet() -> Outcome {
    block_on(async {
        let mut watch = Watch::start(worlds::quiet(), &feed_alone()).await?;
        watch.fall_quiet().await;
        let projects = watch.core.heard.tracked() as f64;
        let hour = watch.count(MINUTES).await;
        let minutes = MINUTES as f64;
        table(
            "100 quiet projects, change feed, a minute",
            &hour.operations,
            minutes,
        );
        goal(
            "quiet_project_cpu",
            hour.total.cpu_ms / minutes / projects,
            "ms/min",
        );
        watch.check()
    })?
}

/// 10,000 quiet projects, by a member's token.
pub fn many() -> Outcome {
    cores("quiet_10000_cores", false)
}

/// The same by an administrator's.
pub fn many_by_an_administrator() -> Outcome {
    cores("quiet_10000_cores_admin", true)
}

fn cores(name: &str, admin: bool) -> Outcome {
    block_on(async {
        let mut world = worlds::many();
        if let Some(token) = world.tokens.first_mut() {
            token.admin = admin;
        }
        let mut watch = Watch::start(world, &feed_alone()).await?;
        watch.fall_quiet().await;
        let hour = watch.count(MINUTES / 3).await;
        let minutes = (MINUTES / 3) as f64;
        let who = if admin {
            ", an administrator's token"
        } else {
            ""
        };
        table(
            &format!("10,000 quiet projects{who}, a minute"),
            &hour.operations,
            minutes,
        );
        goal(name, hour.total.cpu_ms / minutes / 60_000.0, "cores");
        watch.check()
    })?
}

/// 8 busy projects.
pub fn busy() -> Outcome {
    block_on(async {
        let mut watch = Watch::start(worlds::busy(), &settings()).await?;
        watch.live(30 * 60).await;
        watch.simulator.costs().reset();
        let mut running = 0;
        for _ in 0..MINUTES {
            watch.live(60).await;
            running += active(&watch.simulator.world());
        }
        let hour = watch.simulator.costs().report();
        let minutes = MINUTES as f64;
        table(
            "8 busy projects, all default collectors, a minute",
            &hour.operations,
            minutes,
        );
        figure(
            "8 busy projects: running pipelines in the mean",
            running as f64 / minutes,
            "",
            None,
        );
        goal("busy_queries", hour.total.queries / minutes, "/min");
        goal("busy_cpu", hour.total.cpu_ms / minutes / 1_000.0, "s/min");
        let mut alone = Watch::start(worlds::busy(), &feed_alone()).await?;
        alone.live(30 * 60).await;
        let feed = alone.count(MINUTES).await.total;
        note(&format!(
            "the change feed alone: {:.0} queries and {:.2} s a minute",
            feed.queries / minutes,
            feed.cpu_ms / minutes / 1_000.0
        ));
        watch.check()
    })?
}

/// Pipelines that go on.
fn active(world: &World) -> usize {
    let projects = world.projects().map(|project| project.id);
    let pipelines = projects.flat_map(|project| world.pipelines_of(project));
    pipelines
        .filter(|pipeline| pipeline.status == Status::Running)
        .count()
}

/// Two projects that once had 300,000 pipelines.
pub fn old() -> Outcome {
    block_on(async {
        let mut watch = Watch::start(worlds::old(), &settings()).await?;
        watch.live(WARM_UP * 60).await;
        let quiet = watch
            .simulator
            .world()
            .projects()
            .last()
            .map(|project| project.id);
        let quiet = quiet.ok_or("there is no project")?;
        let costs = watch.simulator.costs().clone();
        costs.reset();
        let (mut most, mut before, mut sum) = (0, 0, 0);
        let polls = 2 * MINUTES * 60 / POLL;
        for _ in 0..polls {
            watch.live(POLL).await;
            let rows = costs.of_project(quiet).rows;
            most = most.max(rows - before);
            sum += rows - before;
            before = rows;
        }
        let hours = costs.report();
        let minutes = (2 * MINUTES) as f64;
        table(
            "2 projects with a long past, a minute",
            &hours.operations,
            minutes,
        );
        note(&format!(
            "the quiet one: {} rows a poll in the mean",
            sum / polls
        ));
        goal("old_project_rows", most as f64, "rows/poll");
        goal(
            "old_project_biggest_list",
            hours.total.biggest_list as f64,
            "rows",
        );
        watch.check()
    })?
}

/// The first reading of 100 projects, however long it takes.
pub fn reading() -> Outcome {
    block_on(async {
        let watch = Watch::start(worlds::quiet(), &settings()).await?;
        let first = watch.simulator.costs().report();
        table(
            "first reading of 100 projects, together",
            &first.operations,
            1.0,
        );
        goal("first_reading_100_queries", first.total.queries, "queries");
        watch.check()
    })?
}

/// 300 projects that are worked on, with every collector.
pub fn lively() -> Outcome {
    block_on(async {
        let mut watch = Watch::start(worlds::lively(), &every_collector()?).await?;
        let first = watch.simulator.costs().total();
        note(&format!(
            "300 lively projects: first reading {} requests, {:.0} queries, {:.0} s of processor time",
            first.requests,
            first.queries,
            first.cpu_ms / 1_000.0
        ));
        let hour = watch.count(LIVELY_MINUTES).await;
        let minutes = LIVELY_MINUTES as f64;
        table(
            "300 lively projects, every collector, a minute",
            &hour.operations,
            minutes,
        );
        goal(
            "lively_requests",
            hour.total.requests as f64 / minutes,
            "/min",
        );
        goal("lively_cpu", hour.total.cpu_ms / minutes / 1_000.0, "s/min");
        watch.check()
    })?
}
