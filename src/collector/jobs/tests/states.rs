//! What is so now: the newest job of each name, and the jobs that wait and run.

use super::super::super::testing::{ANY, NONE, bridge, job, pipeline};
use super::watched;
use crate::catalogue::jobs::{
    ARTIFACT_SIZE, COVERAGE, FAILURES, ID, LAST_RUN_DURATION, LAST_RUN_QUEUED_DURATION, PENDING,
    PIPELINE_WARNINGS, RUN_COUNT, RUNNING, RUNNING_SINCE, STATUS,
};
use crate::facts::feed::PipelineFacts;
use crate::gitlab::model::{Known, Status, Status::*};

#[test]
fn the_newest_job_of_each_name_has_the_states() {
    let mut project = watched();
    let first = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020)
        .replaced();
    let mut second = job(12, "unit", 1030)
        .runs(1032)
        .fails("job_execution_timeout", 1090);
    second.coverage = Some(71.5);
    second.artifact_bytes = Some(4096);
    project.poll(
        1100,
        [pipeline(1, 1010)
            .runs(1011)
            .ends(Failed, 1091)
            .with_jobs([second, first])],
    );
    let labels = r#"job_name="unit",project="group/project",ref="main",stage="test""#;
    assert_eq!(
        project.states(),
        [
            format!("age_job_artifact_size_bytes{{{labels}}} 4096"),
            format!("age_job_coverage{{{labels}}} 71.5"),
            format!("age_job_created_timestamp{{{labels}}} 1030"),
            format!("age_job_id{{{labels}}} 12"),
            format!("age_job_last_run_duration_seconds{{{labels}}} 58"),
            format!("age_job_last_run_queued_duration_seconds{{{labels}}} 2"),
            format!(
                "age_job_status{{failure_reason=\"job_execution_timeout\",{labels},status=\"failed\"}} 1"
            ),
            "age_jobs_pending{project=\"group/project\"} 0".to_owned(),
            "age_jobs_running{project=\"group/project\"} 0".to_owned(),
        ]
    );
}

#[test]
fn a_job_that_never_ran_has_a_state_and_no_figures() {
    let mut project = watched();
    let jobs = [
        job(11, "skipped", 1010).turns(Skipped),
        job(12, "manual", 1010).turns(Manual),
    ];
    project.poll(
        1020,
        [pipeline(1, 1010).turns(Manual, 1012).with_jobs(jobs)],
    );
    for status in ["skipped", "manual"] {
        let labels = [
            ("failure_reason", ""),
            ("job_name", status),
            ("status", status),
        ];
        assert_eq!(project.shown(&STATUS, &labels), [1.0]);
    }
    assert_eq!(project.shown(&LAST_RUN_DURATION, ANY), NONE);
    assert_eq!(project.shown(&LAST_RUN_QUEUED_DURATION, ANY), NONE);
    assert_eq!(project.shown(&COVERAGE, ANY), NONE);
    assert_eq!(project.shown(&ARTIFACT_SIZE, ANY), NONE);
}

#[test]
fn a_running_job_has_waited_and_has_no_duration_yet() {
    let mut project = watched();
    let mut unit = job(11, "unit", 1010).runs(1014);
    unit.duration = Some(6.0);
    project.poll(1020, [pipeline(1, 1010).runs(1011).with_jobs([unit])]);
    assert_eq!(project.shown(&LAST_RUN_DURATION, ANY), NONE);
    assert_eq!(project.shown(&LAST_RUN_QUEUED_DURATION, ANY), [4.0]);
}

#[test]
fn an_unknown_status_is_kept() {
    let mut project = watched();
    let unit = job(11, "unit", 1010).turns("HIBERNATING");
    project.poll(1020, [pipeline(1, 1010).runs(1011).with_jobs([unit])]);
    assert_eq!(project.shown(&STATUS, &[("status", "hibernating")]), [1.0]);
}

#[test]
fn a_new_pipeline_takes_the_place_of_the_old_ones_jobs() {
    let mut project = watched();
    let removed = job(11, "renamed", 1010).runs(1014).succeeds(1020);
    project.poll(
        1030,
        [pipeline(1, 1010)
            .runs(1011)
            .ends(Success, 1021)
            .with_jobs([removed])],
    );
    let unit = job(12, "unit", 1040).turns(Pending);
    project.poll(1050, [pipeline(2, 1040).with_jobs([unit])]);
    assert_eq!(project.shown_labels(&ID, "job_name"), ["unit"]);
}

#[test]
fn an_older_pipeline_read_again_changes_no_state() {
    let mut project = watched();
    let older = pipeline(1, 1010)
        .runs(1011)
        .with_jobs([job(11, "unit", 1010).runs(1014)]);
    let newer = pipeline(2, 1012)
        .runs(1013)
        .with_jobs([job(12, "unit", 1012).turns(Pending)]);
    project.poll(1020, [newer, older.clone()]);
    project.poll(1030, [older]);
    assert_eq!(project.shown(&ID, ANY), [12.0]);
}

#[test]
fn branch_and_tag_of_one_name_have_series_of_their_own() {
    let mut project = watched();
    project.settings.refs.branches.regexp = ".*".parse().unwrap();
    let branch = pipeline(1, 1010)
        .on_branch("v1")
        .with_jobs([job(11, "unit", 1010)]);
    let tag = pipeline(2, 1011)
        .on_tag("v1")
        .with_jobs([job(12, "unit", 1011)]);
    project.poll(1020, [tag, branch]);
    assert_eq!(project.shown(&ID, &[("ref", "v1")]), [11.0]);
    assert_eq!(project.shown(&ID, &[("ref", "tags/v1")]), [12.0]);
}

#[test]
fn a_branch_named_42_is_not_merge_request_42() {
    let mut project = watched();
    project.settings.refs.branches.regexp = ".*".parse().unwrap();
    let branch = pipeline(1, 1010)
        .on_branch("42")
        .with_jobs([job(11, "unit", 1010)]);
    let merge_request = pipeline(2, 1011).on_merge_request(42, "head");
    project.poll(
        1020,
        [branch, merge_request.with_jobs([job(12, "unit", 1011)])],
    );
    assert_eq!(project.shown(&ID, &[("ref", "42")]), [11.0]);
    assert_eq!(project.shown(&ID, &[("ref", "merge-requests/42")]), [12.0]);
}

#[test]
fn sparse_status_off_shows_every_status_once_with_the_reason_at_the_failed_one() {
    let mut project = watched();
    project.settings.output_sparse_status_metrics = false;
    let unit = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020);
    project.poll(1030, [pipeline(1, 1010).runs(1011).with_jobs([unit])]);
    assert_eq!(project.shown(&STATUS, ANY).len(), Status::KNOWN.len());
    assert_eq!(project.shown(&STATUS, ANY).iter().sum::<f64>(), 1.0);
    let failed = [("failure_reason", "script_failure"), ("status", "failed")];
    assert_eq!(project.shown(&STATUS, &failed), [1.0]);
    assert_eq!(
        project.shown(&STATUS, &failed[..1]),
        [1.0],
        "the others have no reason"
    );
}

#[test]
fn a_failure_whose_reason_is_not_read_yet_is_shown_without_it() {
    let mut project = watched();
    let mut unit = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020);
    unit.failure_reason = Known::Unread;
    project.poll(1030, [pipeline(1, 1010).runs(1011).with_jobs([unit])]);
    let labels = [("failure_reason", ""), ("status", "failed")];
    assert_eq!(project.shown(&STATUS, &labels), [1.0]);
}

#[test]
fn waiting_and_running_jobs_are_gauged_while_their_pipeline_is_active() {
    let mut project = watched();
    assert_eq!(
        project.shown(&PENDING, ANY),
        [0.0],
        "shown from the first poll on"
    );
    let run = pipeline(1, 1010).runs(1011);
    let jobs = [
        job(11, "a", 1010).turns(Pending),
        job(12, "b", 1010).turns(Pending),
        job(13, "c", 1010).runs(1014),
        job(14, "d", 1010).runs(1014).turns(Canceling),
        job(15, "e", 1010).runs(1014).succeeds(1016),
        job(16, "f", 1010),
    ];
    let other = pipeline(2, 1010)
        .on_tag("v1")
        .with_jobs([job(21, "a", 1010).turns(Pending)]);
    project.poll(1020, [run.clone().with_jobs(jobs.clone()), other]);
    assert_eq!(project.shown(&PENDING, ANY), [3.0]);
    assert_eq!(project.shown(&RUNNING, ANY), [2.0]);

    let ended = jobs.map(|job| job.ends(Success, 1040));
    project.poll(1050, [run.ends(Success, 1041).with_jobs(ended)]);
    assert_eq!(
        project.shown(&PENDING, ANY),
        [1.0],
        "that of the other pipeline"
    );
    assert_eq!(project.shown(&RUNNING, ANY), [0.0]);
}

#[test]
fn nothing_runs_in_a_pipeline_that_ended_though_its_jobs_were_not_read_again() {
    for end in [Success, Manual] {
        let mut project = watched();
        let run = pipeline(1, 1010).runs(1011);
        project.poll(
            1020,
            [run.clone().with_jobs([job(11, "unit", 1010).runs(1014)])],
        );
        assert_eq!(project.shown(&RUNNING, ANY), [1.0]);
        project.poll(1050, [run.turns(end, 1041)]);
        assert_eq!(project.shown(&RUNNING, ANY), [0.0]);
    }
}

#[test]
fn a_deleted_pipelines_jobs_go_and_those_of_the_one_before_are_shown() {
    let mut project = watched();
    let older = pipeline(1, 1010)
        .runs(1011)
        .with_jobs([job(11, "unit", 1010).runs(1014)]);
    let newer = pipeline(2, 1012)
        .runs(1013)
        .with_jobs([job(12, "unit", 1012).runs(1014)]);
    project.poll(1020, [older.clone(), newer]);
    assert_eq!(project.shown(&RUNNING, ANY), [2.0]);
    project.delete(2);
    project.poll(1030, [] as [PipelineFacts; 0]);
    assert_eq!(project.shown(&ID, ANY), [11.0]);
    assert_eq!(project.shown(&RUNNING, ANY), [1.0]);
    let rested = pipeline(3, 1040).runs(1041).ends(Success, 1050);
    project.poll(1060, [rested.with_jobs([job(13, "unit", 1040)])]);
    project.delete(3);
    project.poll(1070, [] as [PipelineFacts; 0]);
    assert_eq!(project.shown(&ID, ANY), NONE, "nothing before it is kept");
    project.poll(1080, [older]);
    assert_eq!(project.shown(&ID, ANY), [11.0]);
}

#[test]
fn children_have_no_job_states() {
    let mut project = watched();
    let parent = pipeline(1, 1010)
        .runs(1011)
        .with_jobs([job(11, "unit", 1010)]);
    let child = pipeline(2, 1012).child_of(&parent, "deploy").runs(1013);
    let inner = job(12, "unit", 1012).turns(Pending);
    project.poll(1020, [parent, child.with_jobs([inner])]);
    assert_eq!(project.shown(&ID, ANY), [11.0]);
    assert_eq!(
        project.shown(&PENDING, ANY),
        [1.0],
        "but they wait like all others"
    );
}

#[test]
fn a_success_with_allowed_failures_is_a_warning() {
    let mut project = watched();
    let lint = |at| {
        job(11, "lint", at)
            .may_fail()
            .runs(at + 4)
            .fails("script_failure", at + 10)
    };
    let run = |id, at| pipeline(id, at).runs(at + 1);
    project.poll(1020, [run(1, 1010).with_jobs([lint(1010)])]);
    assert_eq!(project.shown(&PIPELINE_WARNINGS, ANY), NONE, "it runs");
    let ended = run(1, 1010).ends(Success, 1025);
    project.poll(1030, [ended.with_jobs([lint(1010)])]);
    assert_eq!(
        project.shown(&PIPELINE_WARNINGS, &[("kind", "branch"), ("ref", "main")]),
        [1.0]
    );

    let unit = job(22, "unit", 2010)
        .runs(2014)
        .fails("script_failure", 2020);
    let failed = run(2, 2000).ends(Failed, 2025);
    project.poll(2030, [failed.with_jobs([lint(2000), unit])]);
    assert_eq!(project.shown(&PIPELINE_WARNINGS, ANY), NONE, "it failed");

    // Its failure did not count, for whatever reason.
    let unit = job(32, "unit", 3010)
        .runs(3014)
        .fails("script_failure", 3020);
    let run = run(3, 3000).ends(Success, 3025);
    project.poll(3030, [run.with_jobs([unit])]);
    assert_eq!(
        project.shown(&PIPELINE_WARNINGS, ANY),
        NONE,
        "none may fail"
    );
}

#[test]
fn a_skipped_pipeline_hides_no_jobs() {
    let mut project = watched();
    let unit = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020);
    let run = pipeline(1, 1010).runs(1011).ends(Failed, 1021);
    project.poll(1030, [run.with_jobs([unit])]);
    let new = pipeline(2, 1110);
    project.poll(1120, [new.clone().with_jobs([job(21, "unit", 1110)])]);
    assert_eq!(project.shown_labels(&STATUS, "status"), ["created"]);
    let skipped = job(21, "unit", 1110).turns(Skipped);
    project.poll(1130, [new.turns(Skipped, 1125).with_jobs([skipped])]);
    assert_eq!(project.shown_labels(&STATUS, "status"), ["failed"]);
    // Once another has ended, nothing older is kept.
    let unit = job(31, "unit", 1210).runs(1214).succeeds(1220);
    let run = pipeline(3, 1210).runs(1211).ends(Success, 1221);
    project.poll(1230, [run.with_jobs([unit])]);
    assert_eq!(project.shown_labels(&STATUS, "status"), ["success"]);
    let entries = project
        .memory
        .newest
        .iter()
        .map(|(_, entries)| entries.len());
    assert_eq!(entries.sum::<usize>(), 1);
}

#[test]
fn a_reason_that_was_known_stays() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011);
    let unit = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020);
    project.poll(1030, [run.clone().with_jobs([unit.clone()])]);
    let mut unread = unit;
    unread.failure_reason = Known::Unread;
    project.poll(1060, [run.with_jobs([unread])]);
    assert_eq!(
        project.shown_labels(&STATUS, "failure_reason"),
        ["script_failure"]
    );
}

#[test]
fn since_when_a_job_runs_is_shown_while_it_does() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011);
    let unit = job(11, "unit", 1010);
    project.poll(1012, [run.clone().with_jobs([unit.clone()])]);
    assert_eq!(project.shown(&RUNNING_SINCE, ANY), NONE);
    project.poll(1020, [run.clone().with_jobs([unit.clone().runs(1014)])]);
    assert_eq!(
        project.shown(&RUNNING_SINCE, &[("job_name", "unit")]),
        [1014.0]
    );
    project.poll(1030, [run.with_jobs([unit.runs(1014).succeeds(1025)])]);
    assert_eq!(project.shown(&RUNNING_SINCE, ANY), NONE);
}

#[test]
fn a_trigger_job_has_a_state_and_a_reason_of_its_own() {
    let mut project = watched();
    let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    let reason = "downstream_bridge_project_not_found";
    let deploy = bridge(12, "deploy", 1010).fails(reason, 1021);
    let run = pipeline(1, 1010).runs(1011).with_jobs([unit]);
    let unread = run.clone();
    project.poll(1030, [run.with_bridges([deploy.clone()])]);
    let labels = [("job_name", "deploy"), ("failure_reason", reason)];
    assert_eq!(project.shown(&STATUS, &labels), [1.0]);
    assert_eq!(project.total(&FAILURES, &labels), 1.0);
    assert_eq!(project.total(&RUN_COUNT, &[("job_name", "deploy")]), 0.0);

    // The jobs were read, and trigger jobs were not: what is known of them stays.
    project.poll(1040, [unread.clone().ends(Failed, 1035)]);
    assert_eq!(project.shown(&STATUS, &labels), [1.0]);
    assert_eq!(project.total(&FAILURES, &labels), 1.0);

    let retried = bridge(13, "deploy", 1050).turns(Success);
    let both = [deploy.replaced(), retried];
    project.poll(1060, [unread.ends(Failed, 1055).with_bridges(both)]);
    let labels = [("job_name", "deploy"), ("status", "success")];
    assert_eq!(project.shown(&STATUS, &labels), [1.0]);
    assert_eq!(
        project.shown_labels(&STATUS, "status"),
        ["success", "success"]
    );
}
