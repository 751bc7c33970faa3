//! An exporter that follows a random world through everything that can go wrong.

use std::time::Duration;

use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::{MINUTE, Millis, SECOND};
use gitlab_simulator::world::Past;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::accidents::{self, Accidents};
use super::announce::Announcements;
use super::commits::{self, Force};
use super::expected::Counts;
use super::reviews;
use crate::support::core::{self, Core, client_settings, watch_everything};
use crate::support::series::Series;

/// Metrics that count events. Their sums and buckets are the business of other tests.
pub const COUNTED: &[&str] = &[
    "age_pipeline_run_count",
    "age_pipeline_finished_total",
    "age_pipeline_duration_seconds",
    "age_pipeline_queued_duration_seconds",
    "age_child_pipeline_run_count",
    "age_child_pipeline_duration_seconds",
    "age_child_pipeline_queued_duration_seconds",
    "age_job_run_count",
    "age_job_duration_seconds",
    "age_job_queued_duration_seconds",
    "age_job_failures_total",
    "age_job_allowed_failures_total",
    "age_job_retries_total",
    "age_job_flaky_total",
];

/// Longer than nobody ever looks.
const UNSEEN: Millis = 30 * MINUTE;
/// Between two looks at what moves slowly.
const SLOW: Duration = Duration::from_secs(240);

/// Listings whose pages behind the first fail: of pipelines and their jobs, merge requests,
/// deployments and commits.
const LATE_BY_GRAPHQL: [&str; 5] = [
    "ProjectChanges",
    "PipelineJobs",
    "MergeRequestReviews",
    "/api/v4/projects/:id/deployments",
    "/api/v4/projects/:id/repository/commits",
];
const LATE_BY_REST: [&str; 5] = [
    "/api/v4/projects/:id/pipelines",
    "/api/v4/projects/:id/pipelines/:pipeline_id/jobs",
    "/api/v4/projects/:id/merge_requests",
    "/api/v4/projects/:id/deployments",
    "/api/v4/projects/:id/repository/commits",
];

fn world(seed: u64, unseen: Millis) -> World {
    World::generate(WorldConfig {
        seed,
        projects: 8,
        pipelines_per_project: 6,
        active_ratio: 0.8,
        pushes_per_hour: 6.0,
        // Settling takes a quarter of an hour in which nobody looks.
        min_refinish_gap: unseen,
        ..WorldConfig::default()
    })
}

fn counted(series: &Series, but: &[&str]) -> Counts {
    let all = super::all_counted();
    let counted: Vec<&str> = all.filter(|metric| !but.contains(metric)).collect();
    series
        .0
        .iter()
        .filter(|((metric, _), _)| counted.contains(&metric.as_str()))
        .map(|(key, value)| (key.clone(), value.count()))
        .filter(|(_, count)| *count != 0.0)
        .collect()
}

/// What differs, in words; `None` where all is equal.
pub fn difference(got: &Counts, want: &Counts) -> Option<String> {
    let keys: std::collections::BTreeSet<_> = got.keys().chain(want.keys()).collect();
    let wrong: Vec<String> = keys
        .into_iter()
        .filter_map(|key| {
            let (got, want) = (got.get(key).unwrap_or(&0.0), want.get(key).unwrap_or(&0.0));
            (got != want).then(|| format!("{} {:?}: {got} instead of {want}", key.0, key.1))
        })
        .collect();
    (!wrong.is_empty()).then(|| {
        let first: Vec<&str> = wrong.iter().take(20).map(String::as_str).collect();
        format!(
            "{} of {} series differ from the ledger\n{}",
            wrong.len(),
            want.len(),
            first.join("\n")
        )
    })
}

/// How an exporter follows a world.
pub struct Follow {
    pub seed: u64,
    pub steps: usize,
    /// Whether GraphQL is read; else REST.
    pub graphql: bool,
    /// Items per page: few make listings of several pages.
    pub page_size: u32,
    /// Whether pages behind the first fail now and then.
    pub late_pages_fail: bool,
    /// Whether GraphQL is refused now and then, so that REST stands in for a while.
    pub graphql_goes: bool,
    /// Whether GitLab is down for minutes now and then, in one way or another.
    pub outages: bool,
    /// Whether the exporter is restarted now and then, without memory.
    pub restarts: bool,
    /// How somebody pushes to default branches by force now and then.
    pub force: Force,
    /// Whether roles, features and projects come and go now and then, and proxies answer.
    pub accidents: bool,
    /// Whether GitLab announces what moves, so that polls are rare.
    pub events: bool,
    /// Pipelines that each project had before.
    pub past: u64,
    /// GitLab's version, where it is not the simulator's own.
    pub version: Option<&'static str>,
}

impl Follow {
    pub fn graphql(seed: u64) -> Self {
        Self {
            seed,
            steps: 240,
            graphql: true,
            page_size: 100,
            late_pages_fail: false,
            graphql_goes: false,
            outages: false,
            restarts: true,
            force: Force::Rebase,
            accidents: false,
            events: false,
            past: 0,
            version: None,
        }
    }

    pub fn start(&self, simulator: &Simulator) -> Core {
        let mut client = client_settings(simulator);
        client.use_graphql = self.graphql;
        client.graphql_page_size = self.page_size;
        client.rest_page_size = self.page_size;
        let mut settings = watch_everything();
        let collectors = &mut settings.collectors;
        collectors.merge_requests.enabled = true;
        collectors.code_review.enabled = true;
        collectors.environments.enabled = true;
        collectors.environments.interval = Duration::from_secs(120);
        // Environments that come and go keep what was counted.
        collectors.environments.exclude_stopped = false;
        collectors.repository.enabled = true;
        collectors.repository.interval = SLOW;
        collectors.contributors.enabled = true;
        collectors.contributors.interval = SLOW;
        if self.accidents {
            settings.discovery.removal_grace = accidents::GRACE;
        }
        if self.events {
            settings.server.webhook.enabled = true;
            settings.server.webhook.poll_factor = 1000;
            settings.collectors.max_poll_interval = Duration::from_secs(3600);
        }
        Core::with_client(simulator, &settings, &client)
    }

    /// Follows the world and compares now and then; gives the number of events compared.
    pub async fn to_the_end(&self) -> f64 {
        // What is missed is found an hour later.
        let unseen = if self.events { 3 * UNSEEN } else { UNSEEN };
        let mut world = world(self.seed, unseen);
        if self.accidents {
            accidents::prepare(&mut world);
        }
        if let Some(version) = self.version {
            world.version = version.to_owned();
        }
        let projects: Vec<_> = world.projects().map(|project| project.id).collect();
        for project in projects {
            let past = Past {
                pipelines: self.past,
                child_pipelines: self.past / 4,
                ..Past::default()
            };
            world.set_past(project, past).expect("it is there");
        }
        let mut accidents = Accidents::default();
        let mut announcements = Announcements::default();
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        let mut random = StdRng::seed_from_u64(self.seed);
        let mut exporter = self.start(&simulator);
        let mut first_look = simulator.world().now();
        first(&mut exporter, &simulator).await;
        let (mut compared, mut forces) = (0.0, 0);
        for step in 0..self.steps {
            // Mostly in rhythm; now and then a pause of minutes, as when GitLab is down.
            let pause = if random.random_ratio(1, 20) {
                random.random_range(60..600)
            } else {
                30
            };
            simulator.advance(Duration::from_secs(pause));
            if random.random_ratio(1, 10) {
                let forced =
                    commits::push_by_force(&mut simulator.world(), &mut random, self.force, UNSEEN);
                forces += usize::from(forced);
            }
            if self.restarts && random.random_ratio(1, 80) {
                // Every life is held against the ledger to its end. Then nothing is remembered, and
                // what happened before the new one's first look is history.
                simulator.faults().clear();
                exporter.round(&simulator).await;
                exporter.settle().await;
                compared += self.compare(&simulator, &exporter, first_look);
                exporter = self.start(&simulator);
                first_look = simulator.world().now();
                first(&mut exporter, &simulator).await;
            } else {
                self.go_wrong(&simulator, &mut random);
            }
            if self.accidents {
                accidents.step(&simulator, &mut random);
            }
            if self.events {
                let now = core::now(&simulator);
                let world = simulator.world();
                announcements.step(&world, &exporter, &mut random, 10, now);
            }
            exporter.round(&simulator).await;
            if step % 40 == 39 {
                simulator.faults().clear();
                if self.accidents {
                    accidents.recover(&simulator, &mut exporter).await;
                }
                exporter.settle().await;
                if self.events {
                    exporter.settle_for(Duration::from_secs(3700)).await;
                }
                compared += self.compare(&simulator, &exporter, first_look);
                if self.accidents {
                    accidents.rename(&mut simulator.world(), &mut random);
                    // What was counted was compared, and leaves with the old paths. The change feed tells the
                    // new ones: what another source reads before it counts under the old.
                    exporter.settle().await;
                    first_look = simulator.world().now();
                }
            }
        }
        if self.events {
            let Announcements { arrived, lost, .. } = announcements;
            println!("{arrived} events arrived, {lost} were lost");
            assert!(arrived > 250 && lost > 20, "{arrived} {lost}");
        }
        assert!(forces > 0, "nobody pushed by force");
        assert!(
            !self.accidents || accidents.total > 20,
            "{}",
            accidents.total
        );
        compared
    }

    /// Something goes wrong, or not.
    fn go_wrong(&self, simulator: &Simulator, random: &mut StdRng) {
        let faults = simulator.faults();
        let failing = |status| Rule::new(Fault::Status { status });
        if self.late_pages_fail && random.random_ratio(1, 3) {
            let listings = match self.graphql {
                true => LATE_BY_GRAPHQL,
                false => LATE_BY_REST,
            };
            // What is broken, and what took GitLab's database too long.
            let status = [500, 503][random.random_range(0..2)];
            for listing in [listings[0], listings[random.random_range(1..5)]] {
                faults.add(failing(status).on(listing).page(2).times(4));
            }
        }
        if self.graphql_goes && random.random_ratio(1, 15) {
            let status = [403, 404, 500, 503][random.random_range(0..4)];
            let refused = failing(status).on("/api/graphql");
            faults.add(refused.times(random.random_range(1..8)));
        }
        if self.outages && random.random_ratio(1, 20) {
            let way = match random.random_range(0..6) {
                0 => Fault::Status { status: 502 },
                1 => Fault::Status { status: 401 },
                2 => Fault::Status { status: 403 },
                3 => Fault::Html,
                4 => Fault::Truncated,
                _ => Fault::Reset,
            };
            let end = simulator.world().now() + random.random_range(30..600) * SECOND;
            let mut outage = Rule::new(way).until(end);
            if random.random_ratio(1, 2) {
                // Only some calls are hit, in the middle of a look.
                outage = outage.skip(random.random_range(0..5)).times(20);
            }
            faults.add(outage);
        }
    }
}

/// The first looks, while the world stands: what happened before is history to every collector.
async fn first(exporter: &mut Core, simulator: &Simulator) {
    for _ in 0..4 {
        exporter.round(simulator).await;
    }
}

impl Follow {
    /// Holds the exporter's counts against the ledger; gives the number of events.
    fn compare(&self, simulator: &Simulator, exporter: &Core, first_look: Millis) -> f64 {
        let seed = self.seed;
        let world = simulator.world();
        let mut want = super::all_counts(world.ledger().entries(), first_look);
        drop(world);
        let mut but = Vec::new();
        // By REST lines, files and commits are not told.
        if !self.graphql || self.graphql_goes || self.outages || self.accidents {
            but.extend(reviews::GRAPHQL_ONLY);
        }
        let series = exporter.series();
        if self.force == Force::Drop {
            // What goes hides as many that come, as far as nobody looks in between.
            but.push(commits::TOTAL);
            let total = [commits::TOTAL];
            let others: Vec<&str> = super::all_counted()
                .filter(|metric| !total.contains(metric))
                .collect();
            for (key, count) in counted(&series, &others) {
                assert!(count <= want[&key], "seed {seed}: {key:?} {count}");
            }
        }
        if self.accidents {
            want = accidents::under_own_paths(want);
            // Whose child it is nobody says while the parent is hidden.
            but.extend(
                COUNTED
                    .iter()
                    .filter(|metric| metric.starts_with("age_child")),
            );
        }
        want.retain(|(metric, _), _| !but.contains(&metric.as_str()));
        let got = counted(&series, &but);
        if let Some(difference) = difference(&got, &want) {
            panic!("seed {seed}: {difference}");
        }
        let events = super::events(&want);
        println!(
            "seed {seed}: {events} events in {} series equal the ledger",
            want.len()
        );
        events
    }
}
