//! A simulated GitLab in a process of its own, living in real time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gitlab_simulator::time::{DAY, MINUTE, Millis};
use gitlab_simulator::{Cost, Options, Simulator, World, WorldConfig, workers};
use serde_json::Value;

use crate::http;
use crate::role::{self, Outcome, Role};

/// How often somebody acts in an active project, per hour.
pub const PUSHES_PER_HOUR: f64 = 6.0;

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Projects.
    pub projects: usize,
    /// Pipelines of each project at the start.
    pub pipelines: usize,
    /// Jobs of each pipeline.
    pub jobs: usize,
    /// Share of the projects in which somebody acts.
    pub active: f64,
}

impl Size {
    /// A world of this size whose history ends at `start`, or at a time of its own.
    pub fn world(self, start: Option<Millis>) -> World {
        let default = WorldConfig::default();
        World::generate(WorldConfig {
            start: start.unwrap_or(default.start),
            groups: self.projects.div_ceil(20),
            projects: self.projects,
            pipelines_per_project: self.pipelines,
            jobs_per_pipeline: self.jobs,
            active_ratio: self.active,
            pushes_per_hour: PUSHES_PER_HOUR,
            history: 7 * DAY,
            longest_job: 4 * MINUTE,
            ..default
        })
    }

    fn words(self) -> [String; 4] {
        let counts = [self.projects, self.pipelines, self.jobs].map(|count| count.to_string());
        let [projects, pipelines, jobs] = counts;
        [projects, pipelines, jobs, self.active.to_string()]
    }

    fn parse(words: &[&str]) -> Outcome<Self> {
        let [projects, pipelines, jobs, active] = words else {
            return Err("gitlab PROJECTS PIPELINES JOBS ACTIVE".into());
        };
        Ok(Self {
            projects: projects.parse()?,
            pipelines: pipelines.parse()?,
            jobs: jobs.parse()?,
            active: active.parse()?,
        })
    }
}

/// Workers that behave, and the share of their time that other users take.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Puma workers.
    pub workers: usize,
    /// From 0 to 1.
    pub load: f64,
}

/// A running GitLab.
pub struct GitLab {
    _role: Role,
    /// Where it is reached.
    pub url: String,
    /// A token for it.
    pub token: String,
}

impl GitLab {
    /// Starts one that answers at once.
    pub fn start(size: Size) -> Outcome<Self> {
        Self::start_crowded(size, None)
    }

    /// Starts one whose workers behave.
    pub fn start_crowded(size: Size, crowd: Option<Crowd>) -> Outcome<Self> {
        let mut words = size.words().to_vec();
        if let Some(crowd) = crowd {
            words.extend([crowd.workers.to_string(), crowd.load.to_string()]);
        }
        let mut arguments = vec!["gitlab"];
        arguments.extend(words.iter().map(String::as_str));
        let role = Role::start(&arguments)?;
        let (url, token) = role
            .line
            .split_once(' ')
            .ok_or("no GitLab could be started")?;
        Ok(Self {
            url: url.to_owned(),
            token: token.to_owned(),
            _role: role,
        })
    }

    /// Requests that it has answered.
    pub fn requests(&self) -> Outcome<f64> {
        let state = self.control("state")?;
        Ok(state["requests"].as_f64().ok_or("no count of requests")?)
    }

    /// What its answers cost.
    pub fn costs(&self) -> Outcome<Value> {
        self.control("costs")
    }

    /// What its answers cost by operation.
    pub fn operations(&self) -> Outcome<BTreeMap<String, Cost>> {
        Ok(serde_json::from_value(self.costs()?["operations"].take())?)
    }

    /// How its workers do.
    pub fn workers(&self) -> Outcome<Value> {
        self.control("workers")
    }

    fn control(&self, name: &str) -> Outcome<Value> {
        let address: SocketAddr = self.url.trim_start_matches("http://").parse()?;
        let text = http::text(address, &format!("/_control/{name}"))?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// Serves a world until the parent lets go.
pub fn serve(words: &[&str]) -> Outcome {
    let (size, crowd) = match words {
        [size @ .., workers, load] if size.len() == 4 => {
            let settings = workers::Settings {
                workers: workers.parse()?,
                load: load.parse()?,
                ..workers::Settings::default()
            };
            (size, Some(settings))
        }
        size => (size, None),
    };
    let world = Size::parse(size)?.world(Some(now()));
    let options = Options {
        workers: crowd,
        ..Options::default()
    };
    let simulator = Simulator::start(world, &options)?;
    let shared = simulator.shared_world();
    std::thread::spawn(move || {
        loop {
            shared.write().advance_to(now());
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    role::ready(&format!("{} {}", simulator.url(), simulator.token()))
}

fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
