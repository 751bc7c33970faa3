//! `test_reports`: what the newest ended pipeline of each ref reported.

use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::AccessLevel;
use gitlab_simulator::world::{
    CaseStatus, DEFAULT_TOKEN, Finish, JobReport, JobSpec, PipelineId, PipelineSpec, ProjectId,
};
use gitlab_simulator::world::{Event, Mix};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use std::collections::BTreeMap;
use std::time::Duration;

use super::Scene;
use crate::support::core::{Core, client_settings, watch_everything};
use crate::support::series::Value;

const TOTAL: &str = "age_test_report_total_count";
const FAILED: &str = "age_test_report_failed_count";
const MAIN: &[(&str, &str)] = &[("project", "group/app"), ("ref", "main")];

fn on(settings: &mut Settings) {
    settings.collectors.test_reports.enabled = true;
}

fn with_cases(settings: &mut Settings) {
    on(settings);
    settings.collectors.test_reports.include_test_cases = true;
}

/// A pipeline of `branch` that has ended; its job `unit` reported two good cases and a bad one.
fn ended(world: &mut World, app: ProjectId, branch: &str) -> PipelineId {
    let spec = PipelineSpec::branch(branch).stage("test", &["unit", "lint"]);
    let id = world.create_pipeline(app, &spec).expect("a pipeline");
    let unit = world.job_named(id, "unit").expect("a job").id;
    let report = JobReport::default()
        .case("adds", CaseStatus::Success, 1.5)
        .case("divides", CaseStatus::Failed, 0.5)
        .case("waits", CaseStatus::Skipped, 0.0);
    world.report_tests(unit, report);
    let lint = world.job_named(id, "lint").expect("a job").id;
    world.report_tests(
        lint,
        JobReport::default().case("tidy", CaseStatus::Error, 0.25),
    );
    world.advance(5_000);
    world
        .finish_pipeline(id, &Finish::success())
        .expect("it ends");
    id
}

async fn shows_a_report(use_graphql: bool) {
    let mut scene = Scene::new(
        on,
        |world, app| {
            ended(world, app, "main");
        },
        |client| client.use_graphql = use_graphql,
    );
    scene.look_for(120).await;
    for (metric, value) in [
        (TOTAL, 4.0),
        ("age_test_report_success_count", 1.0),
        (FAILED, 1.0),
        ("age_test_report_skipped_count", 1.0),
        ("age_test_report_error_count", 1.0),
        ("age_test_report_total_time_seconds", 2.25),
    ] {
        assert_eq!(scene.value(metric, MAIN), Some(value), "{metric}");
    }
    let unit = &[("ref", "main"), ("suite_name", "unit")];
    for (metric, value) in [
        ("age_test_suite_count", 3.0),
        ("age_test_suite_duration_seconds", 2.0),
        ("age_test_suite_success_count", 1.0),
        ("age_test_suite_failed_count", 1.0),
        ("age_test_suite_skipped_count", 1.0),
        ("age_test_suite_error_count", 0.0),
    ] {
        assert_eq!(scene.value(metric, unit), Some(value), "{metric}");
    }
    assert_eq!(scene.series("age_test_case_status"), 0, "not asked for");
    let by_rest = scene.asked("test_report_summary");
    assert_eq!(by_rest == 0, use_graphql, "{by_rest} by REST");
}

#[tokio::test]
async fn a_report_and_its_suites() {
    shows_a_report(true).await;
}

#[tokio::test]
async fn rest_tells_the_same() {
    shows_a_report(false).await;
}

#[tokio::test]
async fn a_child_pipeline_counts_with_its_parent_and_a_pipeline_without_reports_shows_nothing() {
    let mut scene = Scene::new(
        on,
        |world, app| {
            let inner = vec![JobSpec::new("test", "inner")];
            let spec = PipelineSpec::branch("main")
                .job(JobSpec::child_bridge("trigger", "child", true, inner));
            let parent = world.create_pipeline(app, &spec).expect("a pipeline");
            let bridge = world.job_named(parent, "child").expect("a bridge").id;
            let child = world.trigger_bridge(bridge).expect("a child");
            let inner = world.job_named(child, "inner").expect("a job").id;
            world.report_tests(
                inner,
                JobReport::default().case("deep", CaseStatus::Success, 1.0),
            );
            world
                .finish_pipeline(child, &Finish::success())
                .expect("it ends");
            world.push(app, "quiet").expect("a branch");
            let spec = PipelineSpec::branch("quiet").stage("build", &["make"]);
            let quiet = world.create_pipeline(app, &spec).expect("a pipeline");
            world
                .finish_pipeline(quiet, &Finish::success())
                .expect("it ends");
        },
        |_| {},
    );
    scene.look_for(120).await;
    assert_eq!(scene.value(TOTAL, MAIN), Some(1.0));
    assert_eq!(
        scene.series(TOTAL),
        1,
        "nothing for the branch without tests"
    );
}

#[tokio::test]
async fn the_next_end_takes_its_place_and_a_running_pipeline_does_not() {
    let mut scene = Scene::new(
        on,
        |world, app| {
            ended(world, app, "main");
        },
        |_| {},
    );
    scene.look_for(120).await;
    let next = {
        let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
        let mut world = scene.gitlab.world();
        world.create_pipeline(scene.app, &spec).expect("a pipeline")
    };
    scene.look_for(120).await;
    assert_eq!(scene.value(TOTAL, MAIN), Some(4.0), "the last that ended");
    {
        let mut world = scene.gitlab.world();
        let unit = world.job_named(next, "unit").expect("a job").id;
        world.report_tests(
            unit,
            JobReport::default().case("adds", CaseStatus::Success, 1.0),
        );
        world
            .finish_pipeline(next, &Finish::success())
            .expect("it ends");
    }
    scene.look_for(120).await;
    assert_eq!(scene.value(TOTAL, MAIN), Some(1.0));
    assert_eq!(scene.value(FAILED, MAIN), Some(0.0));
    // What settles later is seen once more.
    {
        let mut world = scene.gitlab.world();
        let unit = world.job_named(next, "unit").expect("a job").id;
        let late = JobReport::default()
            .case("adds", CaseStatus::Success, 1.0)
            .case("late", CaseStatus::Success, 1.0);
        world.report_tests(unit, late);
    }
    scene.look_for(300).await;
    assert_eq!(scene.value(TOTAL, MAIN), Some(2.0), "summed up late");
    let asked = scene.gitlab.requests().all().len();
    let reports = |scene: &Scene| {
        let all = scene.gitlab.requests().all();
        let named = all
            .iter()
            .filter(|it| it.operation.as_deref() == Some("TestReports"));
        named.count()
    };
    let before = reports(&scene);
    scene.look_for(600).await;
    assert!(scene.gitlab.requests().all().len() > asked);
    assert_eq!(reports(&scene), before, "nothing moved, nothing is asked");
}

#[tokio::test]
async fn cases_are_counted_once_for_each_end_and_history_never() {
    let mut scene = Scene::new(
        with_cases,
        |world, app| {
            ended(world, app, "main");
            world.advance(1_000);
        },
        |_| {},
    );
    scene.look_for(120).await;
    let adds = &[
        ("case_name", "spec.adds"),
        ("suite", "unit"),
        ("ref", "main"),
    ];
    const DURATION: &str = "age_test_case_duration_seconds";
    assert_eq!(scene.value(DURATION, adds), None, "history");
    assert_eq!(
        scene.value("age_test_case_status", adds),
        Some(1.0),
        "its state is shown"
    );
    {
        let app = scene.app;
        let mut world = scene.gitlab.world();
        ended(&mut world, app, "main");
        ended(&mut world, app, "main");
    }
    scene.look_for(600).await;
    assert_eq!(scene.value(DURATION, adds), Some(2.0), "both ends");
    let failed = &[("case_name", "spec.divides"), ("status", "failed")];
    assert_eq!(scene.value("age_test_case_status", failed), Some(1.0));
    let waits = &[("case_name", "spec.waits")];
    assert_eq!(scene.value(DURATION, waits), None, "it did not run");
}

#[tokio::test]
async fn states_go_with_the_ref_and_many_refs_are_read_in_turns() {
    let mut scene = Scene::new(
        |settings| {
            on(settings);
            let refs = &mut settings.wildcards[0].settings.refs;
            refs.branches.most_recent = 0;
            refs.branches.exclude_deleted = true;
        },
        |world, app| {
            for number in 0..45 {
                let branch = format!("topic-{number}");
                world.push(app, &branch).expect("a branch");
                ended(world, app, &branch);
            }
        },
        |_| {},
    );
    scene.look_for(600).await;
    assert_eq!(scene.series(TOTAL), 45);
    {
        let app = scene.app;
        let mut world = scene.gitlab.world();
        world.delete_branch(app, "topic-1").expect("a branch");
        world.advance(7_200_000);
        world.record_activity(app);
    }
    scene.look_for(300).await;
    assert_eq!(scene.series(TOTAL), 44);
    {
        let app = scene.app;
        let mut world = scene.gitlab.world();
        world.delete_project(app).expect("a project");
    }
    scene.look_for(300).await;
    assert_eq!(scene.series(TOTAL), 0);
}

#[tokio::test]
async fn a_broken_suite_counts_nothing_and_an_empty_project_is_fine() {
    let mut scene = Scene::new(
        on,
        |world, app| {
            let id = ended(world, app, "main");
            let unit = world.job_named(id, "unit").expect("a job").id;
            world.report_tests(unit, JobReport::broken("not XML"));
            world.add_project("group/empty").expect("a project");
        },
        |_| {},
    );
    scene.look_for(120).await;
    assert_eq!(scene.value(TOTAL, MAIN), Some(1.0), "the other suite's");
    let broken = &[("suite_name", "unit")];
    assert_eq!(scene.value("age_test_suite_count", broken), Some(0.0));
}

#[tokio::test]
async fn without_the_collector_pipelines_the_reason_is_told_and_a_lost_role_takes_states_away() {
    let mut scene = Scene::new(
        |settings| {
            on(settings);
            settings.collectors.pipelines.enabled = false;
        },
        |world, app| {
            ended(world, app, "main");
        },
        |_| {},
    );
    scene.look_for(120).await;
    assert_eq!(scene.series(TOTAL), 0);
    let reason = scene.reason(Collector::TestReports).expect("a reason");
    assert!(reason.contains("collectors.pipelines"), "{reason}");

    let mut scene = Scene::new(
        on,
        |world, app| {
            ended(world, app, "main");
        },
        |_| {},
    );
    scene.look_for(120).await;
    assert_eq!(scene.series(TOTAL), 1);
    {
        let mut world = scene.gitlab.world();
        world
            .set_default_role(DEFAULT_TOKEN, AccessLevel::Guest)
            .expect("a token");
        world
            .change_settings(scene.app, |settings| settings.public_jobs = false)
            .expect("there");
    }
    scene.look_for(120).await;
    assert_eq!(scene.series(TOTAL), 0);
}

/// Branches only: merge requests stand under their number, and closed ones are out of sight.
#[tokio::test]
async fn what_is_counted_of_cases_equals_the_ledger() {
    let world = World::generate(WorldConfig {
        seed: 5,
        projects: 4,
        pipelines_per_project: 4,
        tests_per_job: 3,
        active_ratio: 1.0,
        pushes_per_hour: 12.0,
        mix: Mix {
            // A child may end between its parent's end and the look at it.
            child: 0.0,
            multi_project: 0.0,
            ..Mix::default()
        },
        ..WorldConfig::default()
    });
    let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
    let mut settings = watch_everything();
    with_cases(&mut settings);
    settings.wildcards[0].settings.refs.branches.most_recent = 0;
    // Cases of a pipeline that has left the remembered ones of its ref are not read.
    settings.collectors.pipelines.max_pipelines_per_ref = 1_000;
    let mut exporter = Core::with_client(&gitlab, &settings, &client_settings(&gitlab));
    exporter.round(&gitlab).await;
    gitlab.world().ledger_mut().clear();
    for _ in 0..240 {
        gitlab.advance(Duration::from_secs(30));
        exporter.round(&gitlab).await;
    }
    gitlab.world().calm();
    for _ in 0..10 {
        exporter.settle().await;
    }
    let mut expected: BTreeMap<[String; 4], f64> = BTreeMap::new();
    for entry in gitlab.world().ledger().entries() {
        let Event::TestsReported { pipeline, cases } = &entry.event else {
            continue;
        };
        if pipeline.merge_request_iid.is_some() || pipeline.tag {
            continue;
        }
        for (suite, case) in cases {
            let labels = [&pipeline.project_path, &pipeline.ref_name, suite, case];
            *expected.entry(labels.map(ToString::to_string)).or_default() += 1.0;
        }
    }
    let series = exporter.series();
    let mut counted = BTreeMap::new();
    for (labels, value) in series.metric("age_test_case_duration_seconds") {
        let of = |label: &str| labels[label].clone();
        let labels = [of("project"), of("ref"), of("suite"), of("case_name")];
        if value.count() > 0.0
            && !labels[1].starts_with("merge-requests/")
            && !labels[1].starts_with("tags/")
        {
            counted.insert(labels, Value::count(value));
        }
    }
    println!(
        "{} series, {} runs",
        expected.len(),
        expected.values().sum::<f64>()
    );
    assert!(expected.values().sum::<f64>() > 150.0, "{}", expected.len());
    let keys = expected.keys().chain(counted.keys());
    let differ: Vec<_> = keys
        .filter(|key| expected.get(*key) != counted.get(*key))
        .map(|key| (key, expected.get(key), counted.get(key)))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
}
