//! The configuration read again while the exporter runs: by SIGHUP and by `POST /-/reload`.

use std::path::PathBuf;

use gitlab_simulator::world::{PipelineSpec, ProjectId};
use gitlab_simulator::{Options, Simulator, World};
use serde_json::Value;

use crate::support::exporter::{Binary, RealTime, beginning_now, binary, write};
use crate::support::http;
use crate::support::program::Program;
use crate::support::until;

/// An exporter whose configuration the test rewrites.
struct Rig {
    simulator: Simulator,
    _time: RealTime,
    folder: tempfile::TempDir,
    exporter: Binary,
    projects: [u64; 2],
}

/// What the configuration says.
#[derive(Clone)]
struct Said<'a> {
    projects: &'a str,
    jobs: bool,
    more: &'a str,
}

const ONE: Said<'static> = Said {
    projects: "{name: group/one}",
    jobs: true,
    more: "",
};

impl Rig {
    async fn start() -> Self {
        let mut world = World::new(beginning_now());
        let projects =
            ["group/one", "group/two"].map(|path| world.add_project(path).expect("a project"));
        let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
        let time = RealTime::of(&simulator);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.yml");
        write(&folder, "config.yml", &yaml(&simulator, &ONE));
        let mut command = binary(&["run", "--server-listen-address", "127.0.0.1:0", "--config"]);
        command.arg(&path).env("AGE_TELEMETRY_BIRTH_WINDOW", "2s");
        let exporter = Binary::started(Program::start(command)).await;
        let rig = Self {
            simulator,
            _time: time,
            folder,
            exporter,
            projects,
        };
        until("the first round is over", async || {
            let ready = rig.exporter.get("/ready").await;
            (ready.status == 200).then_some(()).ok_or(ready.body)
        })
        .await;
        rig
    }

    fn say(&self, said: &Said<'_>) {
        write(&self.folder, "config.yml", &yaml(&self.simulator, said));
    }

    fn run_pipeline(&self, place: usize) {
        let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
        let id: ProjectId = self.projects[place];
        let mut world = self.simulator.world();
        world.create_pipeline(id, &spec).expect("a pipeline");
    }

    /// Waits until the metrics are so.
    async fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        until(what, async || {
            let metrics = self.exporter.get("/metrics").await.body;
            is_so(&metrics).then_some(()).ok_or(metrics)
        })
        .await;
    }

    async fn post_reload(&self) -> (u16, Value) {
        let url = format!("http://{}/-/reload", self.exporter.address());
        let answer = http::post(&url, "").await;
        let body = serde_json::from_str(&answer.body).expect("JSON");
        (answer.status, body)
    }
}

fn yaml(simulator: &Simulator, said: &Said<'_>) -> String {
    let Said {
        projects,
        jobs,
        more,
    } = said;
    format!(
        "gitlab: {{url: '{}', token: {}, max_requests_per_second: 10000, burst_requests_per_second: 10000}}
server: {{enable_reload: true{more}}}
discovery: {{removal_grace: 1s}}
collectors:
  pipelines: {{interval_seconds: 1, quiet_interval: {{after_1h: 0, after_24h: 0}}}}
  jobs: {{interval_seconds: 1, enabled: {jobs}}}
projects: [{projects}]
",
        simulator.url(),
        simulator.token()
    )
}

/// The sum of a family's samples of a project; none where it has none.
fn sum(metrics: &str, family: &str, project: &str) -> Option<f64> {
    let name = format!("{family}{{");
    let label = format!("project=\"{project}\"");
    let lines = metrics.lines();
    let samples = lines.filter(|line| line.starts_with(&name) && line.contains(&label));
    let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

fn runs(metrics: &str, project: &str) -> Option<f64> {
    sum(metrics, "age_pipeline_run_count", project)
}

fn has_line(metrics: &str, line: &str) -> bool {
    metrics.lines().any(|known| known == line)
}

/// Projects and collectors come and go, and what was counted stays.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_brings_projects_and_takes_collectors_without_losing_a_count() {
    let mut rig = Rig::start().await;
    rig.run_pipeline(0);
    rig.until(
        "the first pipeline is counted and its job shown",
        |metrics| {
            runs(metrics, "group/one") == Some(1.0)
                && sum(metrics, "age_job_status", "group/one").is_some()
        },
    )
    .await;
    rig.run_pipeline(1);
    // Another project, no jobs, more in the log.
    let both = Said {
        projects: "{name: group/one}, {name: group/two}",
        jobs: false,
        more: "}\nlog: {level: debug",
    };
    rig.say(&both);
    rig.exporter.program.signal("HUP");
    rig.until("the other project is shown, and no job", |metrics| {
        sum(metrics, "age_pipeline_id", "group/two").is_some()
            && sum(metrics, "age_job_status", "group/one").is_none()
            && has_line(metrics, "age_collector_enabled{collector_type=\"jobs\"} 0")
    })
    .await;
    for place in [0, 1] {
        rig.run_pipeline(place);
    }
    rig.until("both are counted; what was before is history", |metrics| {
        runs(metrics, "group/one") == Some(2.0) && runs(metrics, "group/two") == Some(1.0)
    })
    .await;
    // The first project goes, and the jobs come back.
    rig.say(&Said {
        projects: "{name: group/two}",
        jobs: true,
        more: "",
    });
    rig.exporter.program.signal("HUP");
    rig.until(
        "one is gone and the other has jobs and its count",
        |metrics| {
            runs(metrics, "group/one").is_none()
                && sum(metrics, "age_job_status", "group/two").is_some()
                && runs(metrics, "group/two") == Some(1.0)
        },
    )
    .await;
    rig.exporter.program.signal("TERM");
    assert!(rig.exporter.program.ended().await.success());
    let said = rig.exporter.program.stderr();
    let line = "configuration reloaded settings=\"log.level, collectors.jobs.enabled, projects\"";
    assert!(said.contains(line), "{said}");
    assert!(said.contains(" DEBUG "), "the level is applied: {said}");
}

/// What is wrong is said everywhere, and changes nothing; what needs a restart is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_fails_changes_nothing_and_one_that_needs_a_restart_says_so() {
    const SUCCESSFUL: &str = "age_config_last_reload_successful";
    let rig = Rig::start().await;
    rig.until("it begins well", |metrics| {
        has_line(metrics, &format!("{SUCCESSFUL} 1"))
    })
    .await;
    rig.run_pipeline(0);
    rig.until("a pipeline is counted", |metrics| {
        runs(metrics, "group/one") == Some(1.0)
    })
    .await;
    rig.say(&Said {
        projects: "{name: group/one, refs: {branches: {regex: main}}}",
        ..ONE
    });
    let (status, body) = rig.post_reload().await;
    assert_eq!(status, 500, "{body}");
    let wrong = "projects[0].refs.branches.regex is not a setting";
    assert!(body.to_string().contains(wrong), "{body}");
    rig.until("it is shown", |metrics| {
        has_line(metrics, &format!("{SUCCESSFUL} 0"))
    })
    .await;
    let page = rig.exporter.get("/").await.body;
    assert!(
        page.contains("The configuration was not reloaded"),
        "{page}"
    );
    assert!(page.contains(wrong), "{page}");
    rig.run_pipeline(0);
    rig.until("the old configuration goes on", |metrics| {
        runs(metrics, "group/one") == Some(2.0)
    })
    .await;
    rig.say(&Said {
        more: ", enable_poll: true",
        ..ONE
    });
    let (status, body) = rig.post_reload().await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body["needs_restart"],
        serde_json::json!(["server.enable_poll"])
    );
    assert_eq!(body["applied"], serde_json::json!([]));
    rig.until("it is well again", |metrics| {
        has_line(metrics, &format!("{SUCCESSFUL} 1"))
    })
    .await;
    let page = rig.exporter.get("/").await.body;
    assert!(page.contains("1 changed setting needs a restart"), "{page}");
    let effective = rig.exporter.get("/config").await.body;
    assert!(effective.contains("enable_poll: false"), "{effective}");
    let said = rig.exporter.program.stderr();
    assert!(
        said.contains("changed settings need a restart, using their previous values settings=\"server.enable_poll\"")
            || said.contains("settings=\"server.enable_poll\""),
        "{said}"
    );
    // Only where it is on.
    let path: PathBuf = rig.folder.path().join("config.yml");
    let off = std::fs::read_to_string(&path).expect("a file");
    write(
        &rig.folder,
        "off.yml",
        &off.replace("enable_reload: true", "enable_reload: false"),
    );
    let mut command = binary(&["run", "--server-listen-address", "127.0.0.1:0", "--config"]);
    command.arg(rig.folder.path().join("off.yml"));
    let other = Binary::started(Program::start(command)).await;
    let answer = http::post(&format!("http://{}/-/reload", other.address()), "").await;
    assert_eq!(answer.status, 404);
}

/// A token of the file is exchanged for another one.
#[tokio::test(flavor = "multi_thread")]
async fn another_token_in_the_file_is_used_from_now_on() {
    let rig = Rig::start().await;
    let next = "glpat-the-next-one-of-all";
    rig.simulator
        .world()
        .add_token(gitlab_simulator::Token::new(next));
    let path = rig.folder.path().join("config.yml");
    let text = std::fs::read_to_string(&path).expect("a file");
    write(
        &rig.folder,
        "config.yml",
        &text.replace(rig.simulator.token(), next),
    );
    let (status, body) = rig.post_reload().await;
    assert_eq!(
        (status, &body["applied"]),
        (200, &serde_json::json!(["gitlab.token"])),
        "{body}"
    );
    let old = rig.simulator.token().to_owned();
    rig.simulator
        .world()
        .revoke_token(&old)
        .expect("it is there");
    rig.run_pipeline(0);
    rig.until("it is counted with the new token", |metrics| {
        runs(metrics, "group/one") == Some(1.0)
    })
    .await;
    let said = rig.exporter.program.stderr();
    assert!(!said.contains(next), "{said}");
}
