//! The worlds that costs are measured in: same definition, same world.

use gitlab_simulator::time::{DAY, HOUR, MINUTE};
use gitlab_simulator::world::Past;
use gitlab_simulator::{World, WorldConfig};

/// What a project of the past had had before: as the project that GitLab's plans were measured on.
const PAST: Past = Past {
    pipelines: 300_000,
    child_pipelines: 75_000,
    merge_requests: 50_000,
    deployments: 200_000,
};

/// The GitLab that prices were measured on; `AGE_BENCH_GITLAB=18.4.1-ee` takes another.
const VERSION: &str = "19.3.0-ee";

fn generate(config: WorldConfig) -> World {
    let mut world = World::generate(config);
    let version = std::env::var("AGE_BENCH_GITLAB");
    world.version = version.unwrap_or_else(|_| VERSION.to_owned());
    world
}

fn usual(projects: usize) -> WorldConfig {
    WorldConfig {
        groups: projects.div_ceil(20),
        projects,
        pipelines_per_project: 30,
        jobs_per_pipeline: 8,
        history: 7 * DAY,
        longest_job: 4 * MINUTE,
        pushes_per_hour: 6.0,
        ..WorldConfig::default()
    }
}

/// Projects in which nothing has happened for a day.
pub fn quiet() -> World {
    generate(usual(100))
}

/// 10,000 of them. They have few pipelines each: what is polled is empty either way.
pub fn many() -> World {
    generate(WorldConfig {
        pipelines_per_project: 2,
        jobs_per_pipeline: 2,
        ..usual(10_000)
    })
}

/// 8 projects with some 20 running pipelines in the mean.
pub fn busy() -> World {
    generate(WorldConfig {
        active_ratio: 1.0,
        pushes_per_hour: 4.0,
        jobs_per_pipeline: 4,
        longest_job: 24 * MINUTE,
        ..usual(8)
    })
}

/// 300 projects, in each of which somebody acts 16 times an hour.
pub fn lively() -> World {
    generate(WorldConfig {
        active_ratio: 1.0,
        pushes_per_hour: 16.0,
        ..usual(300)
    })
}

/// Two projects with a long past, of which the first is worked on.
pub fn old() -> World {
    generate(WorldConfig {
        active_ratio: 0.5,
        pushes_per_hour: 4.0,
        past: PAST,
        ..usual(2)
    })
}

/// Hours after which a project counts as quiet, whatever its settings.
pub const UNTIL_QUIET: i64 = 26 * HOUR;
