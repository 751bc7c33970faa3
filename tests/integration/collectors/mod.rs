//! What each collector beside the change feed shows of a small GitLab.

mod capability;
mod code;
mod contributors;
mod dora;
mod environments;
mod merge_requests;
mod people;
mod repository;
mod runners;
mod schedules;
mod security;
mod test_reports;
mod value_stream;
mod variables;
mod worlds;

use std::time::Duration;

use amazing_gitlab_exporter::config::Settings;
use amazing_gitlab_exporter::gitlab;
use gitlab_simulator::world::ProjectId;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::core::{Core, client_settings, watch_everything};
use crate::support::series::Value;

/// A GitLab with one project, `group/app`, and an exporter with some collectors on.
struct Scene {
    gitlab: Simulator,
    exporter: Core,
    app: ProjectId,
}

impl Scene {
    /// Begins before the exporter's first look.
    fn new(
        enable: impl FnOnce(&mut Settings),
        before: impl FnOnce(&mut World, ProjectId),
        client: impl FnOnce(&mut gitlab::Settings),
    ) -> Self {
        let mut settings = watch_everything();
        enable(&mut settings);
        let mut world = World::new(WorldConfig::default());
        let app = world.add_project("group/app").expect("a project");
        before(&mut world, app);
        let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
        let mut client_settings = client_settings(&gitlab);
        client(&mut client_settings);
        Self {
            exporter: Core::with_client(&gitlab, &settings, &client_settings),
            gitlab,
            app,
        }
    }

    /// Lets time pass in looks of 30 seconds.
    async fn look_for(&mut self, seconds: u64) {
        self.exporter.round(&self.gitlab).await;
        for _ in 0..seconds.div_ceil(30) {
            self.gitlab.advance(Duration::from_secs(30));
            self.exporter.round(&self.gitlab).await;
        }
    }

    /// The value of the one series with these labels; births over.
    fn value(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.exporter
            .series()
            .value(metric, labels)
            .map(Value::count)
    }

    /// How many series a metric has.
    fn series(&self, metric: &str) -> usize {
        self.exporter.series().metric(metric).len()
    }

    /// How many requests were made of an endpoint whose path holds this.
    fn asked(&self, part: &str) -> usize {
        let all = self.gitlab.requests().all();
        all.iter()
            .filter(|asked| asked.endpoint.contains(part))
            .count()
    }

    /// Why a collector has nothing of the project.
    fn reason(&self, collector: amazing_gitlab_exporter::catalogue::Collector) -> Option<String> {
        let registry = self.exporter.registry();
        let registry = registry.lock();
        let mut entries = registry.iter();
        let (_, entry) = entries.find(|(id, _)| id.0 == self.app)?;
        entry.unavailable().get(&collector).map(ToString::to_string)
    }
}
