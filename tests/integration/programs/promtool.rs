//! `promtool check metrics`: the text parses, and whatever its lints say is what the contract's
//! names imply.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Command, Stdio};

use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::exporter::{Exporter, beginning_now, configuration, write};
use crate::support::tools::tool;
use crate::support::until;

use amazing_gitlab_exporter::catalogue::{self, Kind};
use amazing_gitlab_exporter::clock::Clock;

/// Counters whose names users know as they are: `_count`, and no `_total`.
const COUNTS: &[&str] = &[
    "age_pipeline_run_count",
    "age_child_pipeline_run_count",
    "age_job_run_count",
];

/// What promtool says of a counter without `_total`.
const NO_TOTAL: &str = "counter metrics should have \"_total\" suffix";
/// What it says of `_count` where nothing is spread over buckets.
const COUNT: &str = "non-histogram and non-summary metrics should not have \"_count\" suffix";

/// What the names in the catalogue imply.
fn implied() -> BTreeSet<(&'static str, &'static str)> {
    let mut lints = BTreeSet::new();
    for desc in catalogue::all() {
        if desc.kind == Kind::Counter && !desc.name.ends_with("_total") {
            lints.insert((desc.name, NO_TOTAL));
        }
        if desc.kind != Kind::Histogram && desc.name.ends_with("_count") {
            lints.insert((desc.name, COUNT));
        }
    }
    lints
}

/// A pipeline whose child pipeline ends.
fn start_a_family(world: &mut World, project: u64) {
    let child = vec![JobSpec::new("test", "unit")];
    let spec = PipelineSpec::branch("main");
    let spec = spec.job(JobSpec::child_bridge("trigger", "child", true, child));
    let pipeline = world.create_pipeline(project, &spec).expect("a pipeline");
    let job = world.job_named(pipeline, "child").expect("a bridge").id;
    world.trigger_bridge(job).expect("a child pipeline");
    let newest = world.pipelines_of(project).map(|one| one.id).max();
    let newest = newest.expect("the child pipeline");
    let unit = world.job_named(newest, "unit").expect("a job").id;
    world.start_job(unit, None).expect("it starts");
    world.advance(2_000);
    let success = Finish::success();
    world.finish_pipeline(newest, &success).expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_has_no_parse_error_and_only_the_lints_of_fixed_names() {
    let Some(promtool) = tool("bin/promtool") else {
        return;
    };
    let world = World::generate(WorldConfig {
        projects: 6,
        pipelines_per_project: 6,
        ..beginning_now()
    });
    let project = world.projects().next().expect("a project").id;
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let yaml = configuration(&simulator, "");
    let exporter = Exporter::start(&Clock::System, &yaml).await;
    until("everything was looked at", async || {
        let text = exporter.metrics().await;
        let is_read = text.contains("\nage_initial_sync_progress_ratio 1\n");
        is_read.then_some(()).ok_or(text)
    })
    .await;
    start_a_family(&mut simulator.world(), project);
    let text = until("something of each kind was counted", async || {
        let text = exporter.metrics().await;
        let counts = |name: &&str| text.contains(&format!("\n{name}{{"));
        match COUNTS.iter().all(counts) {
            true => Ok(text),
            false => Err(text),
        }
    })
    .await;
    exporter.stop().await;

    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "metrics.txt", &text);
    let input = File::open(folder.path().join("metrics.txt")).expect("it was written");
    let output = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::from(input))
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // 3: lints; 1: a parse error.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    let lints: BTreeSet<(&str, &str)> = said
        .lines()
        .map(|line| {
            line.split_once(' ')
                .unwrap_or_else(|| panic!("a lint: {line}"))
        })
        .collect();
    let others: Vec<_> = lints.difference(&implied()).copied().collect();
    assert!(others.is_empty(), "{others:?}");
    for name in COUNTS {
        assert!(lints.contains(&(name, NO_TOTAL)), "{name}");
        assert!(lints.contains(&(name, COUNT)), "{name}");
    }
}
