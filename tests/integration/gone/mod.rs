//! Branches, tags and projects go in every way there is, while a real Prometheus scrapes every
//! second and a receiver takes a push every second: their states are gone for both at once, their
//! counters once both have seen the last event.

mod seen;

use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::world::{DEFAULT_TOKEN, Finish, PipelineId, PipelineSpec, ProjectId};
use gitlab_simulator::{Options, Simulator, World};

use amazing_gitlab_exporter::clock::Clock;

use crate::crash::program::looks;
use crate::support::exporter::{Exporter, RealTime, beginning_now, configuration};
use crate::support::otlp::Receiver;
use crate::support::prometheus;
use crate::support::until;
use seen::{Seen, Select};

const STATUS: &str = "age_pipeline_status";
const DURATION: &str = "age_pipeline_duration_seconds";

/// Everything that goes, by the labels of its series.
const GONE: [(&str, Select<'static>); 6] = [
    (
        "a deleted branch",
        &[("project", "group/app"), ("ref", "feature")],
    ),
    ("a deleted tag", &[("project", "group/app"), ("ref", "v1")]),
    ("a deleted project", &[("project", "group/deleted")]),
    ("a renamed project", &[("project", "group/renamed")]),
    ("an archived project", &[("project", "group/archived")]),
    ("a role that was lost", &[("project", "group/lost")]),
];
/// States that go while the ref stays.
const LEFT: [(&str, Select<'static>); 2] = [
    (
        "a tag outside the window",
        &[("project", "group/window"), ("ref", "v1")],
    ),
    (
        "a status",
        &[
            ("project", "group/app"),
            ("ref", "main"),
            ("status", "running"),
        ],
    ),
];

/// Of tags, where there is no label `kind`.
const JOBS: [(&str, Select<'static>); 2] = [
    (
        "jobs of a deleted tag",
        &[("project", "group/app"), ("ref", "tags/v1")],
    ),
    (
        "jobs of a tag outside the window",
        &[("project", "group/window"), ("ref", "tags/v1")],
    ),
];

struct Story {
    simulator: Simulator,
    _time: RealTime,
}

impl Story {
    fn begin() -> Self {
        let mut world = World::new(beginning_now());
        // A deleted branch is noticed at once, not within an hour.
        world.quirks.activity_throttled = false;
        for name in ["app", "deleted", "renamed", "archived", "lost", "window"] {
            world.add_project(&format!("group/{name}")).expect("one");
        }
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        let story = Self {
            _time: RealTime::of(&simulator),
            simulator,
        };
        let (app, window) = (story.project("app"), story.project("window"));
        let mut world = story.simulator.world();
        world.push(app, "feature").expect("a branch");
        for project in [app, window] {
            world.create_tag(project, "v1").expect("a tag");
        }
        drop(world);
        story
    }

    fn project(&self, name: &str) -> ProjectId {
        let world = self.simulator.world();
        let project = world.project_by_path(&format!("group/{name}"));
        project.expect("it is there").id
    }

    /// A pipeline starts.
    fn start(&self, project: ProjectId, spec: PipelineSpec) -> PipelineId {
        let mut world = self.simulator.world();
        let spec = spec.stage("test", &["unit"]);
        let pipeline = world.create_pipeline(project, &spec).expect("created");
        let job = world.job_named(pipeline, "unit").expect("a job").id;
        world.start_job(job, None).expect("started");
        pipeline
    }

    fn end(&self, pipelines: &[PipelineId]) {
        let mut world = self.simulator.world();
        for pipeline in pipelines {
            let finish = Finish::success();
            world.finish_pipeline(*pipeline, &finish).expect("it ends");
        }
    }

    /// A pipeline runs on everything.
    fn start_everywhere(&self) -> Vec<PipelineId> {
        let (app, window) = (self.project("app"), self.project("window"));
        let mut started = vec![
            self.start(app, PipelineSpec::branch("main")),
            self.start(app, PipelineSpec::branch("feature")),
            self.start(app, PipelineSpec::tag("v1")),
            self.start(window, PipelineSpec::tag("v1")),
        ];
        for name in ["deleted", "renamed", "archived", "lost"] {
            let project = self.project(name);
            started.push(self.start(project, PipelineSpec::branch("main")));
        }
        started
    }

    /// Everything goes; what runs on the branch and on the tag ends with them.
    fn all_go(&self, running: &[PipelineId]) {
        let named = |name| self.project(name);
        let (app, window) = (named("app"), named("window"));
        let [deleted, renamed, archived, lost] =
            ["deleted", "renamed", "archived", "lost"].map(named);
        self.end(&running[..4]);
        let mut world = self.simulator.world();
        world.delete_branch(app, "feature").expect("it is gone");
        world.delete_tag(app, "v1").expect("it is gone");
        world.delete_project(deleted).expect("it is gone");
        world.move_project(renamed, "group/moved").expect("a move");
        world.set_archived(archived, true).expect("archived");
        world
            .change_settings(lost, |settings| settings.public_jobs = false)
            .expect("a project");
        world
            .set_role(DEFAULT_TOKEN, lost, AccessLevel::Guest)
            .expect("a token");
        world.create_tag(window, "v2").expect("a tag");
        drop(world);
        let newer = self.start(window, PipelineSpec::tag("v2"));
        self.end(&[newer]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_go_at_once_and_counters_when_everybody_saw_their_last_event() {
    let story = Story::begin();
    let receiver = Receiver::start().await;
    let settings = format!(
        "telemetry: {{birth_window: 6s}}
discovery: {{interval: 1s}}
otel: {{metrics: {{endpoint: '{}', protocol: grpc, interval: 1s}}}}
",
        receiver.grpc()
    );
    let settings = configuration(&story.simulator, &settings);
    let settings = settings.replace(
        "tags: {regexp: '.*'}",
        "tags: {regexp: '.*', most_recent: 1}",
    );
    let exporter = Exporter::start(&Clock::System, &settings).await;
    let scrapes = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: exporter
  static_configs: [{{targets: ['{}']}}]
",
        exporter.address()
    );
    let Some((_program, promql)) = prometheus::start(&scrapes).await else {
        return;
    };
    // Its first scrape comes some seconds after its start: later than a birth lasts, perhaps.
    looks(&promql).await;
    let seen = Seen {
        exporter,
        promql,
        receiver,
    };

    until("everything was looked at", async || {
        let text = seen.exporter.metrics().await;
        let is_read = text.contains("\nage_initial_sync_progress_ratio 1\n");
        is_read.then_some(()).ok_or(text)
    })
    .await;
    let first = story.start_everywhere();
    story.end(&first);
    for (what, labels) in GONE.iter().chain(&LEFT[..1]) {
        seen.counts(what, DURATION, labels, 1.0).await;
    }
    let running = story.start_everywhere();
    for (what, labels) in GONE.iter().chain(&LEFT) {
        let mut labels = labels.to_vec();
        labels.retain(|(key, _)| *key != "status");
        labels.push(("status", "running"));
        seen.shows(what, STATUS, &labels).await;
    }
    story.all_go(&running);

    for (what, labels) in GONE.iter().chain(&LEFT).chain(&JOBS) {
        seen.has_no_states(what, labels).await;
    }
    // The end that came with the deletion was seen by both, before the series went.
    for (what, labels) in &GONE[..2] {
        seen.counts(what, DURATION, labels, 2.0).await;
    }
    for (what, labels) in GONE.iter().chain(&JOBS[..1]) {
        seen.has_nothing(what, labels).await;
    }
    for (what, labels) in &GONE[..2] {
        seen.saw_rise(what, DURATION, labels, 2.0).await;
    }
    // What is outside the window goes on counting, and what is renamed counts from 0.
    let window = LEFT[0].1;
    seen.counts("outside the window", DURATION, window, 2.0)
        .await;
    let moved = [("project", "group/moved"), ("ref", "main")];
    story.end(&running[5..6]);
    seen.counts("renamed", DURATION, &moved, 1.0).await;
    // Their runs end with them: between two pushes, perhaps.
    seen.told_once(&[GONE[0].1, GONE[1].1, LEFT[0].1, JOBS[0].1, JOBS[1].1]);
    seen.exporter.stop().await;
}
