//! Runs, failures, retries and flakes: each counted once.

use super::super::super::testing::{ANY, NONE, Watched, job, pipeline};
use super::super::Jobs;
use super::{COLLECTOR, watched};
use crate::catalogue::jobs::{
    ALLOWED_FAILURES, COMPUTE_SECONDS, DURATION, FAILURES, FLAKY, QUEUED_DURATION, RETRIES,
    RUN_COUNT, RUNNER_QUEUED_DURATION,
};
use crate::gitlab::model::{Known, RunnerType, Status::*};
use crate::types::PipelineId;

const DAY: i64 = 86_400;

#[test]
fn a_run_is_counted_when_it_ends() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011);
    let unit = job(11, "unit", 1010).runs(1014);
    project.poll(1020, [run.clone().with_jobs([unit.clone()])]);
    assert_eq!(project.totals().len(), 0);

    let unit = unit.succeeds(1044);
    project.poll(1050, [run.ends(Success, 1045).with_jobs([unit])]);
    let totals: Vec<_> = project.totals().into_iter().collect();
    let place = r#"project="group/project",ref="main""#;
    let line = |text: &str, value| (text.replace("PLACE", place), value);
    assert_eq!(
        totals,
        [
            line(
                r#"age_job_compute_seconds_total{project="group/project",runner_type="instance"}"#,
                30.0
            ),
            line(
                r#"age_job_duration_seconds{job_name="unit",PLACE,runner_type="instance",stage="test",status="success"}"#,
                1.0
            ),
            line(
                r#"age_job_queued_duration_seconds{job_name="unit",PLACE,stage="test"}"#,
                1.0
            ),
            line(
                r#"age_job_run_count{job_name="unit",PLACE,stage="test"}"#,
                1.0
            ),
            line(
                r#"age_job_runner_queued_duration_seconds{project="group/project",runner_type="instance"}"#,
                1.0
            ),
        ]
    );
    assert_eq!(project.observed(&DURATION, ANY), [30.0]);
    assert_eq!(project.observed(&QUEUED_DURATION, ANY), [4.0]);
}

#[test]
fn a_retried_job_is_a_run_a_failure_a_retry_and_a_flake_each_once() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011);
    let first = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020);
    project.poll(1025, [run.clone().with_jobs([first.clone()])]);
    assert_eq!(project.total(&RETRIES, ANY), 0.0);

    let first = first.replaced();
    let second = job(12, "unit", 1030).runs(1031);
    project.poll(
        1035,
        [run.clone().with_jobs([second.clone(), first.clone()])],
    );
    assert_eq!(project.total(&RETRIES, &[("job_name", "unit")]), 1.0);
    assert_eq!(project.total(&FLAKY, ANY), 0.0, "not before it succeeded");

    let jobs = [second.succeeds(1040), first];
    let ended = run.ends(Success, 1041).with_jobs(jobs);
    for now in [1045, 1050, 1055] {
        project.poll(now, [&ended]);
    }
    assert_eq!(project.total(&RUN_COUNT, ANY), 2.0);
    assert_eq!(project.observed(&DURATION, &[("status", "failed")]), [6.0]);
    assert_eq!(project.observed(&DURATION, &[("status", "success")]), [9.0]);
    assert_eq!(
        project.total(&FAILURES, &[("failure_reason", "script_failure")]),
        1.0
    );
    assert_eq!(project.total(&RETRIES, ANY), 1.0);
    assert_eq!(project.total(&FLAKY, ANY), 1.0);
}

#[test]
fn retried_twice_then_good_is_two_retries_and_two_flakes() {
    let mut project = watched();
    let [first, second] = [11, 12].map(|id| {
        let job = job(id, "unit", 1010).runs(1014);
        job.fails("runner_system_failure", 1020).replaced()
    });
    let third = job(13, "unit", 1030).runs(1031).succeeds(1040);
    let run = pipeline(1, 1010).runs(1011).ends(Success, 1041);
    project.poll(1045, [run.with_jobs([third, second, first])]);
    assert_eq!(project.total(&RETRIES, ANY), 2.0);
    assert_eq!(project.total(&FLAKY, ANY), 2.0);
    assert_eq!(project.total(&RUN_COUNT, ANY), 3.0);
}

#[test]
fn only_a_failed_and_retried_job_with_a_newer_success_is_flaky() {
    let cases = [
        (
            "succeeded before",
            job(11, "unit", 1010).runs(1014).succeeds(1020).replaced(),
        ),
        (
            "not retried",
            job(11, "unit", 1010)
                .runs(1014)
                .fails("script_failure", 1020),
        ),
        (
            "another name",
            job(11, "lint", 1010)
                .runs(1014)
                .fails("script_failure", 1020)
                .replaced(),
        ),
        (
            "newer than the success",
            job(13, "unit", 1010).runs(1014).fails("x", 1020).replaced(),
        ),
        (
            "canceled",
            job(11, "unit", 1010)
                .runs(1014)
                .ends(Canceled, 1020)
                .replaced(),
        ),
    ];
    for (case, old) in cases {
        let mut project = watched();
        let newer = job(12, "unit", 1030).runs(1031).succeeds(1040);
        project.poll(1050, [pipeline(1, 1010).runs(1011).with_jobs([newer, old])]);
        assert_eq!(project.total(&FLAKY, ANY), 0.0, "{case}");
    }
}

#[test]
fn the_same_name_in_another_pipeline_is_no_retry_and_no_flake() {
    let mut project = watched();
    let failed = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020)
        .replaced();
    let good = job(12, "unit", 1030).runs(1031).succeeds(1040);
    let first = pipeline(1, 1010).runs(1011).with_jobs([failed]);
    let second = pipeline(2, 1029).runs(1030).with_jobs([good]);
    project.poll(1050, [first, second]);
    assert_eq!(project.total(&RETRIES, ANY), 0.0);
    assert_eq!(project.total(&FLAKY, ANY), 0.0);
}

#[test]
fn a_retry_days_later_counts_the_new_job_and_nothing_of_before() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011).ends(Failed, 1030);
    let lint = job(10, "lint", 1010).runs(1012).succeeds(1020);
    let unit = job(11, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1025);
    project.poll(1040, [run.clone().with_jobs([unit.clone(), lint.clone()])]);
    project.poll(DAY, [pipeline(2, DAY - 10).with_jobs([])]);
    assert!(!project.memory.claims.contains_key(&PipelineId(1)));

    let again = run.is_retried(3 * DAY);
    let unit = unit.replaced();
    let retry = job(12, "unit", 3 * DAY).runs(3 * DAY + 5);
    let jobs = [retry.clone(), unit.clone(), lint.clone()];
    project.poll(3 * DAY + 10, [again.clone().with_jobs(jobs)]);
    let jobs = [retry.succeeds(3 * DAY + 65), unit, lint];
    project.poll(
        3 * DAY + 70,
        [again.ends(Success, 3 * DAY + 66).with_jobs(jobs)],
    );

    assert_eq!(project.total(&RUN_COUNT, &[("job_name", "lint")]), 1.0);
    assert_eq!(
        project.observed(&DURATION, &[("job_name", "unit")]),
        [11.0, 60.0]
    );
    assert_eq!(project.total(&FAILURES, ANY), 1.0);
    assert_eq!(project.total(&RETRIES, ANY), 1.0);
    assert_eq!(project.total(&FLAKY, ANY), 1.0);
}

#[test]
fn blocked_on_a_manual_job_for_days_then_played() {
    let mut project = watched();
    let blocked = pipeline(1, 1010).runs(1011).turns(Manual, 1030);
    let build = job(10, "build", 1010).runs(1012).succeeds(1029);
    let deploy = job(11, "deploy", 1010).turns(Manual);
    project.poll(
        1040,
        [blocked.clone().with_jobs([deploy.clone(), build.clone()])],
    );
    project.poll(DAY, [pipeline(2, DAY - 10).with_jobs([])]);

    let played = blocked.runs(3 * DAY);
    let deploy = deploy.runs(3 * DAY + 1);
    project.poll(
        3 * DAY + 10,
        [played.clone().with_jobs([deploy.clone(), build.clone()])],
    );
    let jobs = [deploy.succeeds(3 * DAY + 20), build];
    project.poll(
        3 * DAY + 30,
        [played.ends(Success, 3 * DAY + 21).with_jobs(jobs)],
    );
    assert_eq!(project.total(&RUN_COUNT, &[("job_name", "build")]), 1.0);
    assert_eq!(project.total(&RUN_COUNT, &[("job_name", "deploy")]), 1.0);
}

#[test]
fn skipped_manual_and_never_started_jobs_are_no_runs() {
    let mut project = watched();
    let jobs = [
        job(11, "skipped", 1010).turns(Skipped),
        job(12, "manual", 1010).turns(Manual),
        job(13, "canceled", 1010).ends(Canceled, 1020),
        job(14, "stuck", 1010).fails("stuck_or_timeout_failure", 1020),
    ];
    project.poll(1030, [pipeline(1, 1010).ends(Failed, 1021).with_jobs(jobs)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 0.0);
    assert_eq!(project.observed(&DURATION, ANY), NONE);
    assert_eq!(project.observed(&QUEUED_DURATION, ANY), NONE);
    let stuck = [
        ("failure_reason", "stuck_or_timeout_failure"),
        ("job_name", "stuck"),
    ];
    assert_eq!(
        project.total(&FAILURES, &stuck),
        1.0,
        "it failed all the same"
    );
    assert_eq!(project.totals().len(), 1);
}

#[test]
fn null_duration_and_null_wait_are_not_observed() {
    let mut project = watched();
    let mut unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    unit.duration = None;
    unit.queued_duration = None;
    project.poll(
        1030,
        [pipeline(1, 1010).ends(Success, 1021).with_jobs([unit])],
    );
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.totals().len(), 1);
}

#[test]
fn a_wait_of_zero_seconds_is_observed() {
    let mut project = watched();
    let unit = job(11, "unit", 1010).runs(1010).succeeds(1020);
    project.poll(
        1030,
        [pipeline(1, 1010).ends(Success, 1021).with_jobs([unit])],
    );
    assert_eq!(project.observed(&QUEUED_DURATION, ANY), [0.0]);
}

#[test]
fn a_job_without_runner_ran_on_an_unknown_one() {
    let mut project = watched();
    let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    let unit = unit.on_runner(Known::Nothing);
    project.poll(
        1030,
        [pipeline(1, 1010).ends(Success, 1021).with_jobs([unit])],
    );
    let unknown = [("runner_type", "unknown")];
    assert_eq!(project.observed(&DURATION, &unknown), [6.0]);
    assert_eq!(project.total(&COMPUTE_SECONDS, &unknown), 6.0);
}

#[test]
fn a_hidden_runner_lets_the_event_wait_as_long_as_it_must() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011).ends(Success, 1021);
    let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    let hidden = run
        .clone()
        .with_jobs([unit.clone().on_runner(Known::Hidden)]);
    project.poll(1030, [&hidden]);
    // Other pipelines move, and the watermark with them.
    project.poll(5000, [hidden, pipeline(2, 4990).with_jobs([])]);
    assert_eq!(project.totals().len(), 0);

    let unit = unit.on_runner(Known::Value(RunnerType::Group));
    let known = run.with_jobs([unit]);
    for now in [5010, 5020] {
        project.poll(now, [&known]);
    }
    assert_eq!(
        project.observed(&DURATION, &[("runner_type", "group")]),
        [6.0]
    );
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
}

#[test]
fn an_unread_reason_lets_the_failure_wait() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011).ends(Failed, 1021);
    let known = job(11, "unit", 1010)
        .runs(1014)
        .fails("job_execution_timeout", 1020);
    let mut unread = known.clone();
    unread.failure_reason = Known::Unread;
    project.poll(1030, [run.clone().with_jobs([unread])]);
    assert_eq!(project.totals().len(), 0);
    project.poll(1040, [run.with_jobs([known])]);
    assert_eq!(
        project.total(&FAILURES, &[("failure_reason", "job_execution_timeout")]),
        1.0
    );
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
}

#[test]
fn without_runner_details_no_event_waits_for_them() {
    let collector = Jobs {
        runner_details: false,
        ..COLLECTOR
    };
    let mut project = Watched::since(1000, collector);
    let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    let lint = job(12, "lint", 1010).runs(1014).succeeds(1020);
    let jobs = [unit, lint.on_runner(Known::Hidden)];
    project.poll(
        1030,
        [pipeline(1, 1010).ends(Success, 1021).with_jobs(jobs)],
    );
    assert_eq!(
        project.observed(&DURATION, &[("runner_type", "unknown")]),
        [6.0, 6.0]
    );
}

#[test]
fn jobs_that_could_not_be_read_at_once_are_counted_when_they_are() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011);
    project.poll(1020, [&run]);
    let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    project.poll(
        4000,
        [run.with_jobs([unit]), pipeline(2, 3990).with_jobs([])],
    );
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
}

#[test]
fn history_has_no_series_and_is_never_counted() {
    let mut project = Watched::new(COLLECTOR);
    let first = job(11, "unit", 900)
        .runs(910)
        .fails("script_failure", 920)
        .replaced();
    let second = job(12, "unit", 930).runs(931).succeeds(940);
    let slow = job(13, "slow", 900).runs(910);
    let run = pipeline(1, 890).runs(905);
    project.poll(
        1000,
        [run.clone()
            .with_jobs([slow.clone(), second.clone(), first.clone()])],
    );
    assert_eq!(project.totals().len(), 0);
    assert_eq!(project.measured.initializations, []);

    let jobs = [slow.succeeds(1090), second, first];
    project.poll(1100, [run.ends(Success, 1091).with_jobs(jobs)]);
    assert_eq!(project.total(&RUN_COUNT, &[("job_name", "slow")]), 1.0);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
}

#[test]
fn history_that_waits_for_its_labels_stays_history() {
    let mut project = Watched::new(COLLECTOR);
    let run = pipeline(1, 890).runs(905);
    let unit = job(11, "unit", 900).runs(910).succeeds(1000);
    let hidden = unit.clone().on_runner(Known::Hidden);
    project.poll(1000, [run.clone().with_jobs([hidden])]);
    project.poll(1010, [run.with_jobs([unit])]);
    assert_eq!(project.totals().len(), 0);
}

#[test]
fn jobs_of_merge_request_pipelines_count_under_the_target_branch() {
    let mut project = watched();
    let run = pipeline(1, 1010).on_merge_request(42, "merge").runs(1011);
    let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    project.poll(1030, [run.with_jobs([unit])]);
    assert_eq!(
        project.total(&RUN_COUNT, &[("ref", "merge-requests/main")]),
        1.0
    );
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
}

#[test]
fn without_children_their_jobs_do_not_count() {
    for (include_children, runs) in [(true, 1.0), (false, 0.0)] {
        let collector = Jobs {
            include_children,
            ..COLLECTOR
        };
        let mut project = Watched::since(1000, collector);
        let parent = pipeline(1, 1010).runs(1011).with_jobs([]);
        let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
        let child = pipeline(2, 1012).child_of(&parent, "deploy").runs(1013);
        project.poll(1030, [parent, child.with_jobs([unit])]);
        assert_eq!(project.total(&RUN_COUNT, ANY), runs);
    }
}

#[test]
fn claims_are_kept_for_followed_pipelines_only() {
    let mut project = watched();
    for id in 1..=200_u32 {
        let at = 1000 + 60 * i64::from(id);
        let jobs = [1, 2, 3].map(|nth| {
            let job = job(u64::from(10 * id + nth), &format!("job {nth}"), at);
            job.runs(at + 1).succeeds(at + 10)
        });
        let run = pipeline(id.into(), at).runs(at + 1).ends(Success, at + 20);
        project.poll(at + 30, [run.with_jobs(jobs)]);
        assert!(project.memory.claims.len() <= 2);
        assert!(project.memory.unfinished.len() <= 2);
    }
    assert_eq!(project.total(&RUN_COUNT, ANY), 600.0);
    assert_eq!(project.memory.newest.latest().count(), 1);
}

#[test]
fn the_wait_is_counted_by_the_type_of_the_runner_too() {
    let mut project = watched();
    let unit = job(11, "unit", 1010).runs(1014).succeeds(1020);
    let own = job(12, "own", 1010)
        .runs(1019)
        .on_runner(Known::Value(RunnerType::Project))
        .succeeds(1020);
    project.poll(1030, [pipeline(1, 1010).runs(1011).with_jobs([unit, own])]);
    let waited = |kind| project.observed(&RUNNER_QUEUED_DURATION, &[("runner_type", kind)]);
    assert_eq!(
        (waited("instance"), waited("project")),
        (vec![4.0], vec![9.0])
    );
}

#[test]
fn failures_that_are_allowed_are_counted_apart() {
    let mut project = watched();
    let lint = job(11, "lint", 1010).may_fail().runs(1014);
    let lint = lint.fails("script_failure", 1020);
    let unit = job(12, "unit", 1010)
        .runs(1014)
        .fails("script_failure", 1020);
    let run = pipeline(1, 1010).runs(1011);
    project.poll(1030, [run.with_jobs([lint, unit])]);
    let named = |name| [("job_name", name)];
    assert_eq!(project.total(&FAILURES, &named("unit")), 1.0);
    assert_eq!(project.total(&FAILURES, ANY), 1.0);
    assert_eq!(project.total(&ALLOWED_FAILURES, &named("lint")), 1.0);
    assert_eq!(project.total(&ALLOWED_FAILURES, ANY), 1.0);
}
