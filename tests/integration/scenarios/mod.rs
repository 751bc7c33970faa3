//! Small stories: something happens in GitLab, the exporter looks, and this is what it shows.

mod alone;
mod bad_input;
mod burst;
mod compat;
mod discovery;
mod downstream;
mod elsewhere;
mod environments;
mod events;
mod fallback;
mod first_reading;
mod instance_feed;
mod jobs;
mod life;
mod long_past;
mod parity;
mod pipelines;
mod refs;
mod removal;
mod restart;
mod retire;
mod scheduler;

use std::sync::RwLockWriteGuard;
use std::time::Duration;

use amazing_gitlab_exporter::config::{ProjectEntry, Settings};
use amazing_gitlab_exporter::gitlab;
use gitlab_simulator::world::{JobSpec, PipelineId, PipelineSpec, ProjectId};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::core::{Core, client_settings, watch_everything};
use crate::support::series::{Labels, Series, Value};

/// Labels that select series.
type Select<'a> = &'a [(&'a str, &'a str)];

/// A GitLab with one project, `group/app`, and an exporter that has looked at it.
struct Story {
    gitlab: Simulator,
    exporter: Core,
    settings: Settings,
    client: gitlab::Settings,
    /// The project.
    app: ProjectId,
}

/// How long the exporter waits between two looks.
const LOOK: u64 = 30;

impl Story {
    /// Begins with an exporter that watches every ref.
    async fn begin() -> Self {
        Self::with(watch_everything(), |_, _| {}).await
    }

    /// Begins with other settings, and with what happened before the exporter's first look.
    async fn with(settings: Settings, before: impl FnOnce(&mut World, ProjectId)) -> Self {
        let mut story = Self::unseen(settings, before, |_| {});
        story.look_now().await;
        story
    }

    /// Begins before the exporter's first look.
    fn unseen(
        settings: Settings,
        before: impl FnOnce(&mut World, ProjectId),
        client: impl FnOnce(&mut gitlab::Settings),
    ) -> Self {
        let mut world = World::new(WorldConfig::default());
        let app = world.add_project("group/app").expect("a project");
        before(&mut world, app);
        let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
        let mut client_settings = client_settings(&gitlab);
        client(&mut client_settings);
        Self {
            exporter: Core::with_client(&gitlab, &settings, &client_settings),
            client: client_settings,
            gitlab,
            settings,
            app,
        }
    }

    fn world(&self) -> RwLockWriteGuard<'_, World> {
        self.gitlab.world()
    }

    /// Makes a pipeline in the project.
    fn create(&self, spec: &PipelineSpec) -> PipelineId {
        let mut world = self.world();
        world.create_pipeline(self.app, spec).expect("a pipeline")
    }

    /// Lets time pass without a look.
    fn wait(&self, seconds: u64) {
        self.gitlab.advance(Duration::from_secs(seconds));
    }

    /// Runs what is due now.
    async fn look_now(&mut self) {
        self.exporter.round(&self.gitlab).await;
    }

    /// Lets time pass until the next look, and looks.
    async fn look(&mut self) {
        self.look_after(LOOK).await;
    }

    /// Lets time pass without a look, and looks.
    async fn look_after(&mut self, seconds: u64) {
        self.wait(seconds);
        self.look_now().await;
    }

    /// Looks in rhythm for a while.
    async fn look_for(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(LOOK) {
            self.look().await;
        }
    }

    /// Another process takes over; it remembers nothing and has not looked yet.
    fn restart(&mut self) {
        self.exporter = Core::with_client(&self.gitlab, &self.settings, &self.client);
    }

    /// All series, births over.
    fn series(&self) -> Series {
        self.exporter.series()
    }

    /// What a counter, histogram or gauge counts, over all series with these labels; births over.
    fn count(&self, metric: &str, labels: Select<'_>) -> f64 {
        self.series()
            .select(metric, labels)
            .values()
            .fold(0.0, |sum, value| sum + value.count())
    }

    /// The value of the one series with these labels; births over.
    fn value(&self, metric: &str, labels: Select<'_>) -> Option<f64> {
        self.series().value(metric, labels).map(Value::count)
    }

    /// What a delivery shows now of the one series with these labels.
    fn shown(&self, metric: &str, labels: Select<'_>) -> Option<f64> {
        self.exporter
            .shown()
            .value(metric, labels)
            .map(Value::count)
    }

    /// The labels of a metric's series.
    fn labels_of(&self, metric: &str) -> Vec<Labels> {
        let series = self.series();
        series.metric(metric).into_keys().cloned().collect()
    }

    /// The values of one label over a metric's series, in order.
    fn values_of(&self, metric: &str, label: &str) -> Vec<String> {
        let all = self.labels_of(metric);
        all.into_iter()
            .filter_map(|mut labels| labels.remove(label))
            .collect()
    }
}

/// Settings that watch every ref of these projects only.
fn tracking(paths: &[&str]) -> Settings {
    let mut settings = watch_everything();
    let wildcard = settings.wildcards.remove(0);
    settings.projects = paths
        .iter()
        .map(|path| ProjectEntry {
            name: (*path).to_owned(),
            settings: wildcard.settings.clone(),
        })
        .collect();
    settings
}

/// A pipeline of `main` with one job, `unit`.
fn main_pipeline() -> PipelineSpec {
    PipelineSpec::branch("main").stage("test", &["unit"])
}

/// A job that somebody has to play before anything after it goes on.
fn gate() -> JobSpec {
    JobSpec::new("approve", "approve").manual()
}
