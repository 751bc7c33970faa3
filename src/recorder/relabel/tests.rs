//! What is shown under other labels than collectors give, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::catalogue::labels::{JobLabels, JobStatusLabels, RefLabels};
use crate::catalogue::{Measurement, jobs, pipelines};
use crate::collector::Measured;
use crate::gitlab::model::RefKind;
use crate::memory::ProjectMemory;
use crate::memory::history::Remembered;
use crate::memory::job_names::JobName;
use crate::memory::jobs::JobsOfRef;
use crate::memory::refs::RefName;
use crate::recorder::Recorder;
use crate::recorder::tests::{Durable, NOW, recorder};
use crate::series::{RecordedValue, Retirement};
use crate::store::Store as _;
use crate::types::{PipelineId, ProjectId};

const PATH: &str = "group/app";

fn rewrite(regexp: &str, by: &str) -> Option<Rewrite> {
    Some((Regex::new(regexp).unwrap(), by.to_owned()))
}

fn dropping(labels: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let labels = labels.iter().map(|(metric, labels)| {
        let labels = labels.iter().map(|label| (*label).to_owned());
        ((*metric).to_owned(), labels.collect())
    });
    labels.collect()
}

fn parallel() -> LabelRules {
    LabelRules::new(None, true, None, BTreeMap::new())
}

fn features() -> LabelRules {
    LabelRules::new(
        None,
        false,
        rewrite("^feature/.*", "feature"),
        BTreeMap::new(),
    )
}

fn job(git_ref: &str, stage: &str, name: &str) -> JobLabels {
    JobLabels {
        job_name: name.into(),
        project: PATH.into(),
        git_ref: git_ref.into(),
        stage: stage.into(),
    }
}

/// A run that counts these jobs, each on its ref, and remembers them and their refs.
fn run(rules: &LabelRules, counted: &[(&str, &str)], remembered: &[(&str, &str)]) -> ProjectRun {
    let events = counted
        .iter()
        .map(|(git_ref, name)| jobs::RUN_COUNT.add(job(git_ref, "test", name), 1.0));
    let mut memory = ProjectMemory {
        path: PATH.into(),
        labels: rules.text().clone(),
        ..ProjectMemory::default()
    };
    for (git_ref, name) in remembered {
        let name = JobName {
            git_ref: (*git_ref).into(),
            stage: "test".into(),
            name: (*name).into(),
        };
        memory.job_names.note(name, NOW);
        let name = RefName {
            kind: RefKind::Branch,
            name: (*git_ref).into(),
        };
        let entry = Remembered {
            id: PipelineId(1),
            created_at: NOW,
            skipped: false,
            value: JobsOfRef::default(),
        };
        memory.jobs.newest.put(name, entry);
    }
    ProjectRun {
        project: ProjectId(7),
        memory: Some(Arc::new(memory)),
        measured: vec![(
            Collector::Jobs,
            Measured {
                events: events.collect(),
                ..Measured::default()
            },
        )],
        initializations: Vec::new(),
        retirements: Vec::new(),
    }
}

fn removed_ref(git_ref: &str) -> Retirement {
    Retirement::Ref {
        project: PATH.into(),
        kind: "branch".into(),
        name: git_ref.into(),
        plain: git_ref.into(),
    }
}

/// Ref, stage, name and total of each series of jobs.
async fn totals(store: &Durable) -> Vec<(String, String, String, f64)> {
    let rows = store.load().await.unwrap().rows.into_iter();
    let totals = rows
        .filter(|row| row.name == "age_job_run_count")
        .map(|row| {
            let label = |wanted: &str| {
                let mut labels = row.labels.iter();
                labels
                    .find(|(name, _)| name == wanted)
                    .unwrap()
                    .1
                    .to_string()
            };
            let RecordedValue::Counter(total) = row.value else {
                panic!("{row:?}")
            };
            (label("ref"), label("stage"), label("job_name"), total)
        });
    totals.collect()
}

fn total(git_ref: &str, stage: &str, name: &str, total: f64) -> (String, String, String, f64) {
    (git_ref.to_owned(), stage.to_owned(), name.to_owned(), total)
}

async fn swept(recorder: &mut Recorder, run: ProjectRun) {
    recorder.record(vec![run], NOW).await.unwrap();
    let later = NOW.plus(Duration::from_secs(300));
    recorder.sweep(later).await.unwrap();
}

#[test]
fn jobs_of_one_parallel_have_one_name() {
    let rules = parallel();
    for (name, group) in [
        ("test 3/10", "test"),
        ("test: [linux, 1.90]", "test"),
        ("test: [linux] 2/3", "test"),
        ("slow-test 01 02", "slow-test"),
        ("deploy", "deploy"),
        ("build 2", "build 2"),
        ("v1/2", "v1/2"),
        (" 1/2", " 1/2"),
    ] {
        let now = rules.job_name(name);
        assert_eq!(now.as_deref().unwrap_or(name), group, "{name}");
    }
    let both = LabelRules::new(
        rewrite("-[0-9a-f]{7,}$", ""),
        true,
        rewrite("^v(\\d+)\\..*", "v$1"),
        BTreeMap::new(),
    );
    assert_eq!(
        both.job_name("deploy-3f2a91b 1/2").as_deref(),
        Some("deploy")
    );
    assert_eq!(both.git_ref("v1.2.3", false).as_deref(), Some("v1"));
    assert_eq!(
        both.git_ref("tags/v1.2.3", true).as_deref(),
        Some("tags/v1")
    );
    assert_eq!(both.git_ref("merge-requests/42", true), None);
}

#[tokio::test]
async fn counters_of_merged_series_add_up() {
    let store = Arc::<Durable>::default();
    let rules = LabelRules::new(
        None,
        true,
        None,
        dropping(&[("age_job_run_count", &["ref"])]),
    );
    let mut recorder = recorder(&store).with_labels(rules.clone());
    let counted = [
        ("main", "unit 1/2"),
        ("main", "unit 2/2"),
        ("dev", "unit 1/2"),
    ];
    recorder
        .record(vec![run(&rules, &counted, &[])], NOW)
        .await
        .unwrap();
    recorder
        .record(vec![run(&rules, &counted[..1], &[])], NOW)
        .await
        .unwrap();
    assert_eq!(totals(&store).await, [total("", "test", "unit", 4.0)]);
}

fn state(name: &str, status: &str, reason: &str, value: f64) -> Measurement {
    let labels = JobStatusLabels {
        failure_reason: reason.into(),
        job_name: name.into(),
        project: PATH.into(),
        git_ref: "main".into(),
        stage: "test".into(),
        status: status.into(),
    };
    jobs::STATUS.set(labels, value)
}

#[test]
fn of_statuses_the_worst_is_shown_of_sizes_the_sum_of_times_the_newest() {
    let rules = parallel();
    let merged = |states: Vec<Measurement>| {
        let mut run = run(&rules, &[], &[]);
        run.measured[0].1.states = states;
        rules.apply(&mut run);
        let states = run.measured.remove(0).1.states.into_iter();
        let shown = states.map(|state| {
            let labels = state.desc.labels.iter().zip(&state.labels);
            let labels = labels.filter(|(label, _)| matches!(**label, "status" | "failure_reason"));
            let labels: Vec<&str> = labels.map(|(_, value)| &**value).collect();
            format!("{} {} {}", state.desc.name, labels.join(" "), state.value)
        });
        shown.collect::<Vec<_>>()
    };
    let sparse = vec![
        state("unit 1/3", "success", "", 1.0),
        state("unit 2/3", "failed", "script_failure", 1.0),
        state("unit 3/3", "running", "", 1.0),
        state("lint", "success", "", 1.0),
    ];
    assert_eq!(
        merged(sparse),
        [
            "age_job_status script_failure failed 1",
            "age_job_status  success 1"
        ]
    );
    let all = vec![
        state("unit 1/2", "success", "", 1.0),
        state("unit 1/2", "failed", "", 0.0),
        state("unit 2/2", "failed", "script_failure", 1.0),
        state("unit 2/2", "success", "", 0.0),
    ];
    assert_eq!(
        merged(all),
        [
            "age_job_status script_failure failed 1",
            "age_job_status  success 0"
        ]
    );
    let labels = |name: &str| job("main", "test", name);
    let numbers = vec![
        jobs::ARTIFACT_SIZE.set(labels("unit 1/2"), 10.0),
        jobs::ARTIFACT_SIZE.set(labels("unit 2/2"), 5.0),
        jobs::ID.set(labels("unit 1/2"), 8.0),
        jobs::ID.set(labels("unit 2/2"), 9.0),
        jobs::RUNNING_SINCE.set(labels("unit 1/2"), 100.0),
        jobs::RUNNING_SINCE.set(labels("unit 2/2"), 90.0),
        pipelines::ID.set(
            RefLabels {
                kind: "branch".into(),
                project: PATH.into(),
                git_ref: "main".into(),
            },
            1.0,
        ),
    ];
    assert_eq!(
        merged(numbers),
        [
            "age_job_artifact_size_bytes  15",
            "age_job_id  9",
            "age_job_running_since_timestamp  90",
            "age_pipeline_id  1"
        ]
    );
}

#[tokio::test]
async fn a_merged_series_goes_with_the_last_ref_that_is_shown_in_it() {
    let store = Arc::<Durable>::default();
    let rules = features();
    let mut recorder = recorder(&store).with_labels(rules.clone());
    let (one, other, main) = (
        ("feature/1", "unit"),
        ("feature/2", "unit"),
        ("main", "unit"),
    );
    let all = run(&rules, &[one, other, main], &[one, other, main]);
    recorder.record(vec![all], NOW).await.unwrap();
    let first = ProjectRun {
        retirements: vec![removed_ref("feature/1")],
        ..run(&rules, &[], &[other, main])
    };
    swept(&mut recorder, first).await;
    let both = [
        total("feature", "test", "unit", 2.0),
        total("main", "test", "unit", 1.0),
    ];
    assert_eq!(totals(&store).await, both);
    let last = ProjectRun {
        retirements: vec![removed_ref("feature/2")],
        ..run(&rules, &[], &[main])
    };
    swept(&mut recorder, last).await;
    assert_eq!(totals(&store).await, both[1..]);
}

#[tokio::test]
async fn a_job_that_is_no_more_leaves_metrics_without_its_stage_too() {
    let store = Arc::<Durable>::default();
    let rules = LabelRules::new(
        None,
        false,
        None,
        dropping(&[("age_job_run_count", &["ref"])]),
    );
    let mut recorder = recorder(&store).with_labels(rules.clone());
    let all = [("main", "unit"), ("dev", "unit"), ("main", "old")];
    recorder
        .record(vec![run(&rules, &all, &all)], NOW)
        .await
        .unwrap();
    let is_no_more = |git_ref: &str, name: &str| {
        Retirement::Labels(vec![
            ("job_name", name.into()),
            ("project", PATH.into()),
            ("ref", git_ref.into()),
            ("stage", "test".into()),
        ])
    };
    let left = ProjectRun {
        // Another ref has this one still.
        retirements: vec![is_no_more("dev", "unit"), is_no_more("main", "old")],
        ..run(&rules, &[], &[("main", "unit")])
    };
    swept(&mut recorder, left).await;
    assert_eq!(totals(&store).await, [total("", "test", "unit", 2.0)]);
}

/// Starts again under other rules.
async fn restarted(store: &Arc<Durable>, rules: &LabelRules) -> Recorder {
    let mut again = recorder(store).with_labels(rules.clone());
    let later = NOW.plus(Duration::from_secs(3600));
    let memories = again.restore(later).await.unwrap();
    for (_, memory) in memories {
        assert_eq!(memory.labels, *rules.text());
    }
    let stored = store.load().await.unwrap();
    for (_, memory) in stored.projects {
        assert_eq!(memory.labels, *rules.text(), "what is stored says it, too");
    }
    again
}

#[tokio::test]
async fn what_was_counted_without_a_rule_goes_on_under_it_and_is_counted_once() {
    let store = Arc::<Durable>::default();
    let none = LabelRules::default();
    let counted = [
        ("main", "unit 1/2"),
        ("main", "unit 2/2"),
        ("main", "unit"),
        ("main", "lint"),
    ];
    let mut first = recorder(&store);
    first
        .record(vec![run(&none, &counted, &[])], NOW)
        .await
        .unwrap();
    drop(first);

    let rules = parallel();
    let mut second = restarted(&store, &rules).await;
    let sums = [
        total("main", "test", "lint", 1.0),
        total("main", "test", "unit", 3.0),
    ];
    assert_eq!(totals(&store).await, sums);
    second
        .record(vec![run(&rules, &counted[..1], &[])], NOW)
        .await
        .unwrap();
    drop(second);
    // The same rules again: nothing is added up twice.
    let third = restarted(&store, &rules).await;
    let sums = [
        total("main", "test", "lint", 1.0),
        total("main", "test", "unit", 4.0),
    ];
    assert_eq!(totals(&store).await, sums);
    drop(third);

    // Another rule for refs leaves what a rule for jobs made as it is, where that stays.
    let both = LabelRules::new(None, true, rewrite("^main$", "trunk"), BTreeMap::new());
    drop(restarted(&store, &both).await);
    let sums = [
        total("trunk", "test", "lint", 1.0),
        total("trunk", "test", "unit", 4.0),
    ];
    assert_eq!(totals(&store).await, sums);

    // What the parts were is not known any more: they begin again.
    let mut last = restarted(&store, &none).await;
    assert_eq!(totals(&store).await, []);
    last.record(vec![run(&none, &counted[..1], &[])], NOW)
        .await
        .unwrap();
    assert_eq!(
        totals(&store).await,
        [total("main", "test", "unit 1/2", 1.0)]
    );
}

#[tokio::test]
async fn a_dropped_label_adds_stored_series_up_and_its_return_resets_them() {
    let store = Arc::<Durable>::default();
    let none = LabelRules::default();
    let counted = [("main", "unit"), ("dev", "unit")];
    recorder(&store)
        .record(vec![run(&none, &counted, &[])], NOW)
        .await
        .unwrap();
    let rules = LabelRules::new(
        None,
        false,
        None,
        dropping(&[("age_job_run_count", &["ref"])]),
    );
    drop(restarted(&store, &rules).await);
    assert_eq!(totals(&store).await, [total("", "test", "unit", 2.0)]);
    // Of another metric.
    let other = LabelRules::new(
        None,
        false,
        None,
        dropping(&[
            ("age_job_run_count", &["ref"]),
            ("age_job_retries_total", &["stage"]),
        ]),
    );
    drop(restarted(&store, &other).await);
    assert_eq!(totals(&store).await, [total("", "test", "unit", 2.0)]);
    drop(restarted(&store, &none).await);
    assert_eq!(totals(&store).await, []);
}
