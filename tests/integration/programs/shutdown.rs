//! SIGTERM while GitLab does not answer: no call holds the process up, and no event is lost.

use std::time::{Duration, Instant};

use gitlab_simulator::world::{Finish, PipelineSpec};
use gitlab_simulator::{Fault, Options, Rule, Simulator, World};

use crate::support::exporter::{Binary, RealTime, beginning_now, configuration};
use crate::support::otlp::Receiver;
use crate::support::{eventually, until, within};

/// Enough for as many runs as there may be at once, however unequal they are; each reads projects
/// and pipelines side by side.
const PROJECTS: usize = 401;
/// Calls that hang when the signal comes.
const CALLS: usize = 40;
/// How long it may take until they do.
const HANGING: Duration = Duration::from_secs(120);
/// What container platforms grant between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

fn world() -> World {
    let mut world = World::new(beginning_now());
    for index in 0..PROJECTS {
        let path = format!("group/project-{index}");
        world.add_project(&path).expect("a project");
    }
    world
}

/// Starts `count` pipelines in every project.
fn start_pipelines(simulator: &Simulator, count: usize) {
    let mut world = simulator.world();
    let ids: Vec<u64> = world.projects().map(|project| project.id).collect();
    for id in ids {
        for _ in 0..count {
            let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
            world.create_pipeline(id, &spec).expect("a pipeline");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dozens_of_hanging_calls_hold_nothing_up_and_the_last_push_has_every_event() {
    let receiver = Receiver::start().await;
    let simulator = Simulator::start(world(), &Options::default()).expect("a simulator");
    let _time = RealTime::of(&simulator);
    // No push but the last; what is born is not shown with its value before that.
    let more = format!(
        "telemetry: {{birth_window: 2h}}\notel: {{metrics: {{endpoint: '{}', protocol: grpc, interval: 1h}}}}",
        receiver.grpc()
    );
    let yaml = configuration(&simulator, &more).replace("'.*'", "'.*', exclude_deleted: false");
    let many = [("AGE_GITLAB_MAX_CONCURRENT_REQUESTS", "400")];
    let mut exporter = Binary::run(&yaml, &many).await;
    let shown = async |what: &str, line: &str| {
        until(what, async || {
            let metrics = exporter.get("/metrics").await.body;
            let lines = metrics.lines().filter(|shown| shown.starts_with(line));
            match lines.count() {
                PROJECTS => Ok(()),
                some => Err(format!("{some} of {PROJECTS} projects")),
            }
        })
        .await;
    };
    until("every project was looked at", async || {
        let metrics = exporter.get("/metrics").await.body;
        if metrics.contains("\nage_initial_sync_progress_ratio 1\n") {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    })
    .await;

    // An event in every project, recorded.
    start_pipelines(&simulator, 1);
    let finish = Finish::success().after(1000);
    {
        let mut world = simulator.world();
        let ids: Vec<u64> = world.projects().map(|project| project.id).collect();
        for id in ids {
            let pipeline = world.pipelines_of(id).next().expect("it was created").id;
            world.finish_pipeline(pipeline, &finish).expect("it ends");
        }
    }
    shown(
        "every pipeline's end",
        "age_pipeline_duration_seconds_count{",
    )
    .await;

    // Then GraphQL is forbidden, and by REST the call about each new pipeline hangs.
    let faults = simulator.faults();
    faults.add(Rule::new(Fault::Status { status: 403 }).on("/api/graphql"));
    let lists = || simulator.requests().count("/api/v4/projects/:id/pipelines");
    eventually("all is read by REST", || lists() >= 2 * PROJECTS).await;
    let hang = Rule::new(Fault::Hang).on("/api/v4/projects/:id/pipelines/:pipeline_id");
    let hanging = faults.add(hang);
    start_pipelines(&simulator, 8);
    // Concurrency grows by a call for each that hangs.
    within(HANGING, "calls hang", async || {
        let calls = faults.hits(hanging);
        if calls < CALLS {
            let metrics = exporter.get("/metrics").await.body;
            let tasks = metrics.lines().filter(|line| line.starts_with("age_tasks"));
            return Err(format!("{calls}; {:?}", tasks.collect::<Vec<_>>()));
        }
        Ok(())
    })
    .await;

    let told = Instant::now();
    exporter.program.signal("TERM");
    let status = exporter.program.ended().await;
    assert!(told.elapsed() < GRACE, "{:?}", told.elapsed());
    let said = exporter.program.stderr();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(!said.contains("timed out"), "{said}");

    let samples = receiver.received().samples();
    let sum = |name: &str| -> f64 {
        let of = samples
            .iter()
            .filter(|(series, _)| series.starts_with(name));
        of.map(|(_, value)| value).sum()
    };
    let all = f64::from(u16::try_from(PROJECTS).expect("hundreds"));
    assert_eq!(sum("age_pipeline_run_count{"), all);
    assert_eq!(sum("age_pipeline_duration_seconds_count{"), all);
    assert_eq!(sum("age_job_run_count{"), all);
}

/// A process that waits for the state file of another hears that it is to end.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_heard_while_the_state_file_is_waited_for() {
    let simulator = Simulator::start(World::new(beginning_now()), &Options::default());
    let simulator = simulator.expect("a simulator");
    let state = tempfile::tempdir().expect("a folder");
    let path = state.path().join("state.redb");
    let yaml = configuration(
        &simulator,
        &format!("state: {{path: '{}'}}", path.display()),
    );
    let holder = Binary::run(&yaml, &[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    crate::support::exporter::write(&folder, "config.yml", &yaml);
    let mut command = crate::support::exporter::binary(&["run", "--config", "config.yml"]);
    command.args(["--server-listen-address", "127.0.0.1:0"]);
    let mut waiting = crate::support::program::Program::start_in(folder, command);
    waiting
        .tells("that it waits", |said| said.contains("state").then_some(()))
        .await;
    waiting.signal("TERM");
    let status = waiting.ended().await;
    // By itself, not by the signal: process 1 of a container would not have died of that.
    assert_eq!(status.code(), Some(0), "{status}: {}", waiting.stderr());
    drop(holder);
}
