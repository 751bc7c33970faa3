//! Stories of pipelines, and what is counted and shown of them.

use super::super::testing::{ANY, NONE, Watched, pipeline};
use super::*;
use crate::catalogue::pipelines::{
    ACTIVE, CREATED_TIMESTAMP, DURATION, FINISHED, FINISHED_TIMESTAMP, ID, LAST_RUN_DURATION,
    LAST_RUN_QUEUED_DURATION, QUEUED_DURATION, RUN_COUNT, RUNNING_SINCE, STATUS,
};
use crate::gitlab::model::{Known, Status::*};

const DAY: i64 = 86_400;
const COLLECTOR: Pipelines = Pipelines {
    include_children: true,
};

fn watched() -> Watched<Pipelines> {
    Watched::since(1000, COLLECTOR)
}

#[test]
fn a_pipeline_is_counted_when_created_and_observed_when_it_ends() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1015);
    project.poll(1020, [&run]);
    assert_eq!(project.observed(&RUN_COUNT, ANY), [1.0]);
    assert_eq!(project.observed(&DURATION, ANY), NONE);

    project.poll(1100, [run.ends(Success, 1095)]);
    let totals: Vec<_> = project.totals().into_iter().collect();
    let labels = r#"kind="branch",project="group/project",ref="main",source="push""#;
    let line = |name: &str, more: &str| (format!("{name}{{{labels}{more}}}"), 1.0);
    assert_eq!(
        totals,
        [
            line("age_pipeline_duration_seconds", r#",status="success""#),
            line("age_pipeline_finished_total", r#",status="success""#),
            line("age_pipeline_queued_duration_seconds", ""),
            line("age_pipeline_run_count", ""),
        ]
    );
    assert_eq!(project.observed(&DURATION, ANY), [80.0]);
    assert_eq!(project.observed(&QUEUED_DURATION, ANY), [5.0]);
}

#[test]
fn the_newest_pipeline_of_a_ref_has_the_states() {
    let mut project = watched();
    let first = pipeline(1, 1010).runs(1015).ends(Failed, 1100).covers(82.5);
    let labels = r#"kind="branch",project="group/project",ref="main""#;
    project.poll(1110, [first]);
    assert_eq!(
        project.states(),
        [
            format!("age_pipeline_coverage{{{labels}}} 82.5"),
            format!("age_pipeline_created_timestamp{{{labels}}} 1010"),
            format!("age_pipeline_finished_timestamp{{{labels}}} 1100"),
            format!("age_pipeline_id{{{labels}}} 1"),
            format!("age_pipeline_last_run_duration_seconds{{{labels},source=\"push\"}} 85"),
            format!("age_pipeline_last_run_queued_duration_seconds{{{labels},source=\"push\"}} 5"),
            format!("age_pipeline_status{{{labels},source=\"push\",status=\"failed\"}} 1"),
            format!("age_pipeline_updated_timestamp{{{labels}}} 1100"),
        ]
    );

    project.poll(1200, [pipeline(2, 1190).from("web")]);
    assert_eq!(
        project.states(),
        [
            format!("age_pipeline_created_timestamp{{{labels}}} 1190"),
            format!("age_pipeline_id{{{labels}}} 2"),
            format!("age_pipeline_status{{{labels},source=\"web\",status=\"created\"}} 1"),
            format!("age_pipeline_updated_timestamp{{{labels}}} 1190"),
            "age_pipelines_active{project=\"group/project\",status=\"created\"} 1".to_owned(),
        ],
        "null coverage, no end and no start: no series"
    );
}

#[test]
fn a_retry_of_the_same_pipeline_is_a_second_run_and_no_new_pipeline() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1020).ends(Failed, 1100);
    project.poll(1110, [&run]);
    project.poll(1300, [run.is_retried(1200).ends(Success, 1290)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    let failed = project.observed(&DURATION, &[("status", "failed")]);
    let succeeded = project.observed(&DURATION, &[("status", "success")]);
    assert_eq!((failed, succeeded), (vec![80.0], vec![270.0]));
}

#[test]
fn from_terminal_back_to_running_is_not_an_end_until_it_ends_again() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1020).ends(Success, 1100);
    project.poll(1110, [&run]);

    // One job is retried: GitLab leaves the old end and duration where they are.
    let again = run.runs(1200);
    assert!(again.pipeline.finished_at.is_some());
    project.poll(1210, [&again]);
    assert_eq!(project.observed(&DURATION, ANY), [80.0]);
    assert_eq!(project.shown(&STATUS, &[("status", "running")]), [1.0]);
    assert_eq!(project.shown(&FINISHED_TIMESTAMP, ANY), NONE);
    assert_eq!(project.shown(&LAST_RUN_DURATION, ANY), NONE);
    assert_eq!(project.shown(&ACTIVE, &[("status", "running")]), [1.0]);

    project.poll(1310, [again.ends(Success, 1300)]);
    assert_eq!(project.observed(&DURATION, ANY), [80.0, 280.0]);
    assert_eq!(project.shown(&FINISHED_TIMESTAMP, ANY), [1300.0]);
    assert_eq!(project.shown(&ACTIVE, ANY), NONE);
}

#[test]
fn an_old_end_under_a_new_status_is_no_run() {
    let mut project = watched();
    // It ended and ran again between two polls: its result is unknown.
    let again = pipeline(1, 1010).runs(1020).ends(Success, 1100).runs(1105);
    project.poll(1110, [&again]);
    project.poll(1130, [again.turns(Skipped, 1120)]);
    assert_eq!(project.observed(&DURATION, ANY), NONE);
}

#[test]
fn an_earlier_end_read_late_is_not_counted_again() {
    let mut project = watched();
    let first = pipeline(1, 1010).runs(1020).ends(Failed, 1100);
    let second = first.clone().is_retried(1110).ends(Success, 1150);
    for seen in [&first, &second, &first, &second] {
        project.poll(1160, [seen]);
    }
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.observed(&DURATION, ANY), [80.0, 130.0]);
}

#[test]
fn blocked_for_days_then_played_counts_its_end_and_nothing_twice() {
    let mut project = watched();
    let blocked = pipeline(1, 1010).runs(1020).turns(Manual, 1100);
    project.poll(1110, [&blocked]);
    assert_eq!(project.shown(&STATUS, &[("status", "manual")]), [1.0]);
    assert_eq!(project.shown(&ACTIVE, ANY), NONE, "blocked is not active");

    project.poll(DAY, [pipeline(2, DAY - 10)]);
    assert!(!project.memory.claims.contains_key(&PipelineId(1)));

    let played = blocked.runs(3 * DAY);
    project.poll(3 * DAY + 10, [&played]);
    project.poll(3 * DAY + 70, [played.ends(Success, 3 * DAY + 60)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 2.0);
    assert_eq!(project.observed(&DURATION, ANY).len(), 1);
}

#[test]
fn skipped_has_a_state_and_no_run() {
    let mut project = watched();
    project.poll(1020, [pipeline(1, 1010).turns(Skipped, 1011)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.shown(&STATUS, &[("status", "skipped")]), [1.0]);
    assert_eq!(project.total(&FINISHED, &[("status", "skipped")]), 1.0);
    assert_eq!(project.totals().len(), 2, "neither duration nor queue time");
    assert_eq!(project.shown(&LAST_RUN_DURATION, ANY), NONE);
}

#[test]
fn ended_without_a_start_has_neither_duration_nor_queue_time() {
    let mut project = watched();
    project.poll(1020, [pipeline(1, 1010).ends(Failed, 1011)]);
    assert_eq!(project.total(&FINISHED, &[("status", "failed")]), 1.0);
    assert_eq!(project.totals().len(), 2);
    assert_eq!(project.shown(&FINISHED_TIMESTAMP, ANY), [1011.0]);
    assert_eq!(project.shown(&LAST_RUN_QUEUED_DURATION, ANY), NONE);
}

#[test]
fn null_duration_is_not_observed() {
    let mut project = watched();
    let mut run = pipeline(1, 1010).runs(1020).ends(Success, 1100);
    run.pipeline.duration = None;
    project.poll(1110, [run]);
    assert_eq!(project.observed(&DURATION, ANY), NONE);
    assert_eq!(project.shown(&LAST_RUN_DURATION, ANY), NONE);
    assert_eq!(project.observed(&QUEUED_DURATION, ANY), [10.0]);
}

#[test]
fn null_queue_time_with_a_start_is_zero() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1010).ends(Success, 1100);
    assert_eq!(run.pipeline.queued_duration, None);
    project.poll(1110, [run]);
    assert_eq!(project.observed(&QUEUED_DURATION, ANY), [0.0]);
    assert_eq!(project.shown(&LAST_RUN_QUEUED_DURATION, ANY), [0.0]);
}

#[test]
fn unknown_status_and_source_are_kept() {
    let mut project = watched();
    let odd = pipeline(1, 1010).from("carrier_pigeon");
    project.poll(1020, [odd.turns("HIBERNATING", 1015)]);
    let labels = [("source", "carrier_pigeon"), ("status", "hibernating")];
    assert_eq!(project.shown(&STATUS, &labels), [1.0]);
    assert_eq!(project.total(&RUN_COUNT, &labels[..1]), 1.0);
    assert_eq!(project.shown(&ACTIVE, &labels[1..]), [1.0]);
}

#[test]
fn history_has_no_series_and_is_never_counted() {
    let mut project = Watched::new(COLLECTOR);
    let ended = pipeline(1, 100).runs(110).ends(Success, 200);
    let running = pipeline(2, 900).runs(910);
    project.poll(1000, [&ended, &running]);
    assert_eq!(project.totals().len(), 0);
    assert_eq!(project.measured.initializations, []);
    assert_eq!(project.shown(&ID, ANY), [2.0]);

    project.poll(1100, [running.ends(Failed, 1090)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 0.0, "created before");
    let failed = project.observed(&DURATION, &[("status", "failed")]);
    assert_eq!(
        (failed, project.observed(&DURATION, ANY).len()),
        (vec![180.0], 1)
    );
}

#[test]
fn an_old_pipeline_that_moves_is_history_up_to_its_new_end() {
    let mut project = watched();
    let old = pipeline(1, 100).runs(110).ends(Success, 200);
    project.poll(2000, [old.is_retried(1900).ends(Failed, 1990)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 0.0);
    assert_eq!(
        project.observed(&DURATION, &[("status", "failed")]).len(),
        1
    );
}

#[test]
fn events_of_the_same_second_as_the_floor_count_once() {
    let mut project = watched();
    let run = pipeline(1, 1000).runs(1000).ends(Success, 1000);
    for now in [1000, 1001, 1030] {
        project.poll(now, [&run]);
    }
    // The watermark less the overlap is now that very second.
    project.poll(1070, [run, pipeline(2, 1060)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 2.0);
    assert_eq!(project.observed(&DURATION, ANY), [0.0]);
}

#[test]
fn seen_at_the_first_poll_in_the_same_second_is_history() {
    let mut project = Watched::new(COLLECTOR);
    let run = pipeline(1, 1000).runs(1000).ends(Success, 1000);
    project.poll(1000, [&run]);
    project.poll(1010, [&run]);
    assert_eq!(project.totals().len(), 0);
}

#[test]
fn merge_request_pipelines_count_by_target_and_show_by_iid() {
    let mut project = watched();
    for (id, end) in [(1, "head"), (2, "merge"), (3, "train")] {
        project.poll(1020, [pipeline(id, 1010).on_merge_request(42, end)]);
    }
    let counted = [("kind", "merge-request"), ("ref", "merge-requests/main")];
    assert_eq!(project.total(&RUN_COUNT, &counted), 3.0);
    assert_eq!(project.shown_labels(&ID, "ref"), ["merge-requests/42"]);
    assert_eq!(project.shown_labels(&ID, "kind"), ["merge-request"]);
    assert_eq!(project.shown(&ID, ANY), [3.0]);
}

#[test]
fn branch_and_tag_of_one_name_are_two_refs() {
    let mut project = watched();
    project.settings.refs.branches.regexp = ".*".parse().unwrap();
    let branch = pipeline(1, 1010).on_branch("v1");
    let tag = pipeline(2, 1011).on_tag("v1").turns(Skipped, 1012);
    project.poll(1020, [branch, tag]);
    for (kind, id) in [("branch", 1.0), ("tag", 2.0)] {
        let labels = [("kind", kind), ("ref", "v1")];
        assert_eq!(project.total(&RUN_COUNT, &labels), 1.0);
        assert_eq!(project.shown(&ID, &labels), [id]);
    }
}

#[test]
fn a_branch_named_42_is_not_merge_request_42() {
    let mut project = watched();
    project.settings.refs.branches.regexp = ".*".parse().unwrap();
    let branch = pipeline(1, 1010).on_branch("42");
    let merge_request = pipeline(2, 1011).on_merge_request(42, "head");
    project.poll(1020, [branch, merge_request]);
    assert_eq!(
        project.shown_labels(&ID, "ref"),
        ["42", "merge-requests/42"]
    );
    assert_eq!(project.shown(&ID, &[("ref", "42")]), [1.0]);
}

#[test]
fn children_count_and_have_no_state_here() {
    let mut project = watched();
    let parent = pipeline(1, 1010).runs(1011);
    let child = pipeline(2, 1012).child_of(&parent, "deploy").runs(1013);
    project.poll(1020, [&parent, &child]);
    project.poll(1040, [child.ends(Success, 1030)]);
    let labels = [("source", "parent_pipeline")];
    assert_eq!(project.total(&RUN_COUNT, &labels), 1.0);
    assert_eq!(project.observed(&DURATION, &labels), [17.0]);
    assert_eq!(project.shown(&ID, ANY), [1.0]);
    assert_eq!(project.shown(&STATUS, &labels), NONE);
}

#[test]
fn without_children_they_are_neither_counted_nor_active() {
    let mut project = Watched::since(
        1000,
        Pipelines {
            include_children: false,
        },
    );
    let parent = pipeline(1, 1010).runs(1011);
    let child = pipeline(2, 1012).child_of(&parent, "deploy").runs(1013);
    project.poll(1020, [&parent, &child]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.shown(&ACTIVE, ANY), [1.0]);
}

#[test]
fn sparse_status_off_shows_every_status_with_one_at_1() {
    let mut project = watched();
    project.settings.output_sparse_status_metrics = false;
    project.poll(1020, [pipeline(1, 1010).runs(1011)]);
    assert_eq!(project.shown(&STATUS, ANY).len(), Status::KNOWN.len());
    assert_eq!(project.shown(&STATUS, ANY).iter().sum::<f64>(), 1.0);
    assert_eq!(project.shown(&STATUS, &[("status", "running")]), [1.0]);

    project.poll(1030, [pipeline(1, 1010).turns("hibernating", 1025)]);
    assert_eq!(project.shown(&STATUS, ANY).len(), Status::KNOWN.len() + 1);
    assert_eq!(project.shown(&STATUS, &[("status", "hibernating")]), [1.0]);
    assert_eq!(project.shown(&STATUS, ANY).iter().sum::<f64>(), 1.0);
}

#[test]
fn a_deleted_pipeline_gives_way_to_the_next_newest() {
    let mut project = watched();
    project.max_pipelines_per_ref = 2;
    let runs = [1, 2, 3].map(|id: u32| pipeline(id.into(), 1000 + i64::from(id)).runs(1010));
    let [_, second, _] = runs.clone().map(|run| run.ends(Success, 1020));
    project.poll(1030, &runs);
    assert_eq!(project.shown(&ID, ANY), [3.0]);

    project.delete(3);
    project.poll(1040, [&second]);
    assert_eq!(project.shown(&ID, ANY), [2.0]);
    assert_eq!(project.shown(&CREATED_TIMESTAMP, ANY), [1002.0]);
    assert_eq!(project.shown(&ACTIVE, ANY), [1.0], "only the first runs");

    project.delete(2);
    project.poll(1050, [] as [PipelineFacts; 0]);
    assert_eq!(project.shown(&ID, ANY), NONE, "only two were remembered");
    assert_eq!(
        project.total(&RUN_COUNT, ANY),
        3.0,
        "what was counted stays"
    );
}

#[test]
fn claims_are_kept_for_followed_pipelines_only() {
    let mut project = watched();
    for id in 1..=500_u32 {
        let created = 1000 + 60 * i64::from(id);
        let run = pipeline(id.into(), created).runs(created + 1);
        project.poll(created + 30, [run.ends(Success, created + 20)]);
        assert!(project.memory.claims.len() <= 2);
        assert!(project.memory.active.len() <= 1);
    }
    assert_eq!(project.total(&RUN_COUNT, ANY), 500.0);
    assert_eq!(project.memory.newest_ids().count(), 1);
}

#[test]
fn a_merge_request_that_cannot_be_read_counts_as_unknown() {
    let mut project = watched();
    let mut run = pipeline(1, 1010).on_merge_request(42, "head");
    run.pipeline.merge_request = Known::Hidden;
    project.poll(1020, [run]);
    let counted = [("ref", "merge-requests/unknown")];
    assert_eq!(project.total(&RUN_COUNT, &counted), 1.0);
    assert_eq!(project.shown_labels(&ID, "ref"), ["merge-requests/42"]);
}

#[test]
fn a_pipeline_that_fails_before_any_job_runs_has_finished() {
    let mut project = watched();
    project.poll(1020, [pipeline(1, 1010).ends(Failed, 1010)]);
    assert_eq!(project.total(&FINISHED, &[("status", "failed")]), 1.0);
    assert_eq!(project.observed(&DURATION, ANY), NONE, "it had none");
}

#[test]
fn a_skipped_pipeline_has_no_end_of_its_own_and_finishes_once() {
    let skipped = |project: &Watched<Pipelines>| project.total(&FINISHED, &[("status", "skipped")]);
    let mut project = watched();
    let run = pipeline(1, 1010).turns(Skipped, 1011);
    project.poll(1020, [&run]);
    project.poll(1030, [&run]);
    assert_eq!(skipped(&project), 1.0);
    project.poll(1050, [run.clone().turns(Skipped, 1045)]);
    assert_eq!(skipped(&project), 1.0, "it was touched");

    // A job of it is started by hand: that run is another.
    project.poll(1100, [run.runs(1080).ends(Success, 1095)]);
    assert_eq!(project.total(&FINISHED, &[("status", "success")]), 1.0);
    assert_eq!(project.total(&FINISHED, ANY), 2.0);
}

#[test]
fn a_skipped_pipeline_of_the_past_that_is_touched_does_not_finish() {
    let mut project = watched();
    project.poll(9000, [pipeline(1, 500).turns(Skipped, 8990)]);
    assert_eq!(project.total(&FINISHED, ANY), 0.0);
    let mut first = Watched::new(COLLECTOR);
    let old = pipeline(1, 500).turns(Skipped, 501);
    first.poll(1000, [&old]);
    first.poll(1030, [old.turns(Skipped, 1020)]);
    assert_eq!(first.total(&FINISHED, ANY), 0.0);
}

#[test]
fn where_one_has_failed_that_none_has_succeeded_is_a_number() {
    let mut project = watched();
    let run = pipeline(1, 1010).runs(1011);
    project.poll(1020, [&run]);
    assert_eq!(project.measured.initializations, []);
    project.poll(1030, [run.ends(Failed, 1025)]);
    let zero = &project.measured.initializations;
    assert_eq!(zero.len(), 1);
    assert_eq!(zero[0].desc.name, "age_pipeline_finished_total");
    assert_eq!(&**zero[0].labels.last().unwrap(), "success");
}

#[test]
fn a_skipped_pipeline_hides_no_other() {
    let mut project = watched();
    let skipped = pipeline(1, 1010).turns(Skipped, 1010);
    project.poll(1020, [&skipped]);
    assert_eq!(
        project.shown(&STATUS, &[("status", "skipped")]),
        [1.0],
        "there is no other"
    );
    project.poll(1120, [pipeline(2, 1100).runs(1101).ends(Failed, 1110)]);
    project.poll(1220, [pipeline(3, 1200).turns(Skipped, 1200)]);
    assert_eq!(project.shown_labels(&STATUS, "status"), ["failed"]);
    assert_eq!(project.shown(&ID, ANY), [2.0]);
    // A new one is shown while it runs, and leaves when it is skipped after all.
    project.poll(1320, [pipeline(4, 1300)]);
    assert_eq!(project.shown_labels(&STATUS, "status"), ["created"]);
    project.poll(1330, [pipeline(4, 1300).turns(Skipped, 1325)]);
    assert_eq!(project.shown_labels(&STATUS, "status"), ["failed"]);
}

#[test]
fn skipped_pipelines_are_shown_where_the_settings_say_so() {
    let mut project = watched();
    project.settings.states.include_skipped = true;
    project.poll(1120, [pipeline(2, 1100).runs(1101).ends(Failed, 1110)]);
    project.poll(1220, [pipeline(3, 1200).turns(Skipped, 1200)]);
    assert_eq!(project.shown_labels(&STATUS, "status"), ["skipped"]);
}

#[test]
fn each_source_has_a_state_where_the_settings_say_so() {
    let mut project = watched();
    project.settings.states.by_source = true;
    let nightly = pipeline(1, 1010).from("schedule").runs(1011);
    project.poll(1120, [nightly.ends(Failed, 1110)]);
    // So many come that the nightly one is not among those that are remembered.
    for id in 2..20 {
        let at = 1000 * i64::try_from(id).unwrap();
        project.poll(
            at + 100,
            [pipeline(id, at).runs(at + 1).ends(Success, at + 50)],
        );
    }
    let of = |source| [("source", source)];
    assert_eq!(project.shown(&STATUS, &of("schedule")), [1.0]);
    assert_eq!(project.shown(&STATUS, &of("push")), [1.0]);
    assert_eq!(project.shown(&LAST_RUN_DURATION, &of("schedule")), [99.0]);
    assert_eq!(project.shown(&ID, ANY), [19.0], "of the newest alone");
    project.settings.states.by_source = false;
    project.poll(30_000, [pipeline(20, 29_900).runs(29_901)]);
    assert_eq!(project.shown_labels(&STATUS, "source"), ["push"]);
}

#[test]
fn since_when_it_runs_is_shown_while_it_does() {
    let mut project = watched();
    let run = pipeline(1, 1010);
    project.poll(1012, [&run]);
    assert_eq!(project.shown(&RUNNING_SINCE, ANY), NONE);
    project.poll(1020, [run.clone().runs(1015)]);
    assert_eq!(project.shown(&RUNNING_SINCE, ANY), [1015.0]);
    let ended = run.runs(1015).ends(Failed, 1100);
    project.poll(1110, [&ended]);
    assert_eq!(project.shown(&RUNNING_SINCE, ANY), NONE);
    // It runs again: not since its first start.
    let again = ended.is_retried(1200);
    project.poll(1210, [&again]);
    assert_eq!(project.shown(&RUNNING_SINCE, ANY), [1200.0]);
    project.poll(1250, [again.turns(Running, 1240)]);
    assert_eq!(
        project.shown(&RUNNING_SINCE, ANY),
        [1200.0],
        "it was touched"
    );
}
