//! A GitLab with one project, `group/app`, and an exporter with one collector of its code.

use std::sync::RwLockWriteGuard;
use std::time::Duration;

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::world::{ProjectId, Tier};
use gitlab_simulator::{AccessLevel, Options, Simulator, World, WorldConfig};

use crate::support::core::{Core, client_settings, watch_everything};
use crate::support::series::Series;

/// How a rig differs from the usual one.
#[derive(Clone)]
pub struct Make {
    /// The group's licence.
    pub tier: Tier,
    /// GitLab's version.
    pub version: &'static str,
    /// Enterprise Edition.
    pub enterprise: bool,
    /// Whether the client may use GraphQL.
    pub graphql: bool,
    /// The token's role.
    pub role: AccessLevel,
    /// Projects beside `group/app`.
    pub more_projects: usize,
    /// Switches the collector on.
    pub enable: fn(&mut Settings),
}

impl Make {
    /// An Ultimate GitLab of today.
    pub fn new(enable: fn(&mut Settings)) -> Self {
        Self {
            tier: Tier::Ultimate,
            version: "19.3.0-ee",
            enterprise: true,
            graphql: true,
            role: AccessLevel::Maintainer,
            more_projects: 0,
            enable,
        }
    }

    /// Starts it, with what happened before the first look.
    pub async fn begin(self, before: impl FnOnce(&mut World, ProjectId)) -> Rig {
        let mut world = World::new(WorldConfig::default());
        (world.version, world.enterprise) = (self.version.to_owned(), self.enterprise);
        let app = world.add_project("group/app").expect("a project");
        for number in 0..self.more_projects {
            let path = format!("group/more-{number}");
            world.add_project(&path).expect("a project");
        }
        world.set_tier("group", self.tier).expect("a group");
        world
            .set_default_role(gitlab_simulator::world::DEFAULT_TOKEN, self.role)
            .expect("a token");
        before(&mut world, app);
        let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
        let mut client = client_settings(&gitlab);
        client.use_graphql = self.graphql;
        let mut settings = watch_everything();
        (self.enable)(&mut settings);
        let exporter = Core::with_client(&gitlab, &settings, &client);
        let mut rig = Rig {
            gitlab,
            exporter,
            app,
        };
        rig.look().await;
        rig
    }
}

/// The GitLab and the exporter.
pub struct Rig {
    /// GitLab.
    pub gitlab: Simulator,
    /// The exporter.
    pub exporter: Core,
    /// The project.
    pub app: ProjectId,
}

impl Rig {
    /// The world, to be changed.
    pub fn world(&self) -> RwLockWriteGuard<'_, World> {
        self.gitlab.world()
    }

    /// Runs what is due: the projects, then what is read of them.
    pub async fn look(&mut self) {
        for _ in 0..4 {
            self.exporter.round(&self.gitlab).await;
        }
    }

    /// Lets more than an interval of the slow collectors pass, and looks.
    pub async fn look_later(&mut self) {
        self.gitlab.advance(Duration::from_secs(3_700));
        self.look().await;
        self.gitlab.advance(Duration::from_secs(3_700));
        self.look().await;
    }

    /// All series.
    pub fn series(&self) -> Series {
        self.exporter.series()
    }

    /// The value of a metric of the project, if it is shown.
    pub fn value(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut all = vec![("project", "group/app")];
        all.extend(labels);
        self.series().value(metric, &all).map(|value| value.count())
    }

    /// Why a collector has nothing of the project.
    pub fn unavailable(&self, name: &str) -> Option<String> {
        let registry = self.exporter.registry();
        let registry = registry.lock();
        let mut found = registry
            .iter()
            .filter(|(_, entry)| &*entry.project().full_path == "group/app")
            .flat_map(|(_, entry)| entry.unavailable().iter());
        let (_, why) = found.find(|(collector, _)| collector.as_str() == name)?;
        Some(why.to_string())
    }
}

/// Metrics with this beginning, without those whose value depends on when it was looked.
pub fn of(series: &Series, beginnings: &[&str]) -> Vec<String> {
    let shown = series.0.iter().filter(|((metric, _), _)| {
        beginnings
            .iter()
            .any(|beginning| metric.starts_with(beginning))
    });
    shown
        .map(|((metric, labels), value)| format!("{metric}{labels:?} {value:?}"))
        .collect()
}
