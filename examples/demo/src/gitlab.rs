//! The simulated GitLab, living in real time.

use std::io;
use std::time::Duration;

use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::limits::Limit;
use gitlab_simulator::time::{DAY, HOUR, Millis, SECOND};
use gitlab_simulator::world::{Feature, JobSpec, PipelineSpec, Tier};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::rarities::Rarities;

/// Top-level groups.
const GROUPS: usize = 3;

/// Between two moments of the world.
const MOMENT: Duration = Duration::from_millis(200);
/// Moments between two steps of what is rare.
const EVERY: u64 = 40;

/// A GitLab whose time is ours.
pub struct Live {
    simulator: Simulator,
}

impl Live {
    /// Makes a world with a day of history and sets it going.
    pub fn start() -> io::Result<Self> {
        let now = now();
        let mut world = World::generate(WorldConfig {
            seed: 7,
            start: now - HOUR,
            history: DAY,
            groups: GROUPS,
            projects: 15,
            pipelines_per_project: 8,
            tests_per_job: 4,
            active_ratio: 0.8,
            pushes_per_hour: 40.0,
            longest_job: 25 * SECOND,
            min_refinish_gap: 60 * SECOND,
            ..WorldConfig::default()
        });
        // Subscriptions need 18.6 or later.
        world.version = "19.3.0-ee".to_owned();
        for group in 0..GROUPS {
            let set = world.set_tier(&format!("group-{group}"), Tier::Ultimate);
            set.map_err(|error| io::Error::other(error.to_string()))?;
        }
        world.advance_to(now);
        // One project has no merge requests: the exporter says so.
        let last = world.projects().next_back().map(|project| project.id);
        if let Some(last) = last {
            let off = world.change_settings(last, |one| one.merge_requests = Feature::Disabled);
            off.map_err(|error| io::Error::other(error.to_string()))?;
        }
        // One deployment waits for somebody to start it.
        let first = world.projects().next().map(|project| project.id);
        if let Some(first) = first {
            let deploy = JobSpec::new("deploy", "release").manual();
            let spec = PipelineSpec::branch("main").job(deploy.environment("production"));
            let made = world.create_pipeline(first, &spec);
            made.map_err(|error| io::Error::other(error.to_string()))?;
        }
        if let Some(token) = world.tokens.first_mut() {
            token.expires_at = Some(now + 60 * DAY);
        }
        world.ledger_mut().clear();
        let simulator = Simulator::start(world, &Options::default())?;
        // As on GitLab.com.
        let limit = Limit {
            calls: 2_000,
            period: 60,
        };
        simulator.limits().set_throttle(Some(limit));
        let shared = simulator.shared_world();
        std::thread::spawn(move || {
            let mut rarities = Rarities::default();
            for moment in 0_u64.. {
                let mut world = shared.write();
                world.advance_to(self::now());
                if moment % EVERY == 0
                    && let Some(project) = first
                    && let Err(error) = rarities.happen(&mut world, project)
                {
                    eprintln!("the simulated GitLab: {error}");
                }
                drop(world);
                std::thread::sleep(MOMENT);
            }
        });
        Ok(Self { simulator })
    }

    /// Where it is reached.
    pub fn url(&self) -> &str {
        self.simulator.url()
    }

    /// A token for it.
    pub fn token(&self) -> &str {
        self.simulator.token()
    }
}

fn now() -> Millis {
    Clock::System.now().0 * SECOND
}
