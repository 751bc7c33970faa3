//! Stories of downstream pipelines, in one project and over many.

use std::collections::BTreeMap;

use super::super::pipelines::Pipelines;
use super::super::testing::{ANY, NONE, PROJECT, Watched, bridge, job, pipeline};
use super::*;
use crate::catalogue::child_pipelines::{DURATION, JOB_STATUS, QUEUED_DURATION, RUN_COUNT, STATUS};
use crate::catalogue::pipelines as pipeline_metric;
use crate::gitlab::model::Status;
use crate::gitlab::model::Status::*;

const DAY: i64 = 86_400;
const QUIET: [PipelineFacts; 0] = [];

/// A tracked project, watched since second 1000.
fn watched(path: &str) -> Watched<ChildPipelines> {
    let mut project = Watched::since(1000, ChildPipelines);
    project.project = path.into();
    project
}

#[test]
fn a_child_is_counted_by_what_started_it() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let child = pipeline(2, 1020).child_of(&parent, "deploy").runs(1023);
    project.poll(1030, [&parent, &child]);
    project.poll(1060, [child.ends(Failed, 1053)]);
    let labels = r#"bridge_name="deploy",parent_project="group/project",parent_ref="main",project="group/project",ref="main""#;
    let totals: Vec<_> = project.totals().into_iter().collect();
    let line = |name: &str| (format!("age_child_pipeline_{name}{{{labels}}}"), 1.0);
    assert_eq!(
        totals,
        [
            line("duration_seconds"),
            line("queued_duration_seconds"),
            line("run_count")
        ]
    );
    assert_eq!(project.observed(&DURATION, ANY), [30.0]);
    assert_eq!(project.observed(&QUEUED_DURATION, ANY), [3.0]);
    assert_eq!(
        project.states(),
        [format!(
            "age_child_pipeline_status{{{labels},status=\"failed\"}} 1"
        )]
    );
}

#[test]
fn a_pipeline_that_nothing_started_is_none() {
    let mut project = watched(PROJECT);
    project.poll(1030, [pipeline(1, 1010).runs(1011)]);
    assert!(project.totals().is_empty() && project.states().is_empty());
}

#[test]
fn a_retried_child_is_a_second_run_and_a_retried_bridge_a_new_pipeline() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let child = pipeline(2, 1020)
        .child_of(&parent, "deploy")
        .runs(1023)
        .ends(Failed, 1030);
    project.poll(1040, [&child]);
    project.poll(1060, [child.is_retried(1045).ends(Success, 1055)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.observed(&DURATION, ANY), [7.0, 32.0]);

    project.poll(1080, [pipeline(3, 1070).child_of(&parent, "deploy")]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 2.0);
    assert_eq!(project.shown(&STATUS, &[("status", "created")]), [1.0]);
    assert_eq!(project.shown(&STATUS, ANY).len(), 1);
}

#[test]
fn each_bridge_shows_its_newest() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let deploy = pipeline(2, 1020)
        .child_of(&parent, "deploy")
        .turns(Manual, 1021);
    let docs = pipeline(3, 1020)
        .child_of(&parent, "docs")
        .turns(Skipped, 1021);
    let older = pipeline(1, 1015).child_of(&parent, "docs").runs(1022);
    project.poll(1030, [deploy, docs, older]);
    assert_eq!(
        project.shown(&STATUS, &[("bridge_name", "deploy"), ("status", "manual")]),
        [1.0]
    );
    assert_eq!(
        project.shown(&STATUS, &[("bridge_name", "docs"), ("status", "skipped")]),
        [1.0]
    );
    assert_eq!(project.shown(&STATUS, ANY).len(), 2);
}

#[test]
fn sparse_status_off_shows_every_status_with_one_at_1() {
    let mut project = watched(PROJECT);
    project.settings.output_sparse_status_metrics = false;
    let parent = pipeline(1, 1010).runs(1011);
    project.poll(
        1030,
        [pipeline(2, 1020).child_of(&parent, "deploy").runs(1023)],
    );
    assert_eq!(project.shown(&STATUS, ANY).len(), Status::KNOWN.len());
    assert_eq!(project.shown(&STATUS, ANY).iter().sum::<f64>(), 1.0);
}

#[test]
fn children_of_a_merge_request_count_by_target_and_show_by_iid() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).on_merge_request(42, "train").runs(1011);
    project.poll(
        1030,
        [pipeline(2, 1020).child_of(&parent, "deploy").runs(1023)],
    );
    let counted = [
        ("parent_ref", "merge-requests/main"),
        ("ref", "merge-requests/main"),
    ];
    assert_eq!(project.total(&RUN_COUNT, &counted), 1.0);
    let shown = [
        ("parent_ref", "merge-requests/42"),
        ("ref", "merge-requests/42"),
    ];
    assert_eq!(project.shown(&STATUS, &shown), [1.0]);
}

#[test]
fn history_has_no_series_and_is_never_counted() {
    let mut project = Watched::new(ChildPipelines);
    let parent = pipeline(1, 800).runs(801);
    let ended = pipeline(2, 810)
        .child_of(&parent, "deploy")
        .runs(811)
        .ends(Success, 820);
    project.poll(1000, [&ended]);
    assert!(project.totals().is_empty());
    assert_eq!(project.measured.initializations, []);
    assert_eq!(project.shown(&STATUS, &[("status", "success")]), [1.0]);
}

#[test]
fn what_started_it_may_be_found_later() {
    for (first_poll, runs) in [(1000, 1.0), (1030, 0.0)] {
        let mut project = Watched::new(ChildPipelines);
        if first_poll < 1030 {
            project.poll(first_poll, QUIET);
        }
        let parent = pipeline(1, 1010).runs(1011);
        let child = pipeline(2, 1020)
            .child_of(&parent, "deploy")
            .runs(1023)
            .ends(Success, 1030);
        project.poll(1030, [child.clone().upstream_unread()]);
        // Others move meanwhile, and the watermark with them.
        project.poll(5000, [pipeline(3, 4990)]);
        assert!(project.totals().is_empty());
        project.poll(5010, [child]);
        assert_eq!(project.total(&RUN_COUNT, ANY), runs);
        assert_eq!(
            project.observed(&DURATION, ANY).len(),
            if runs > 0.0 { 1 } else { 0 }
        );
    }
}

#[test]
fn blocked_for_days_then_played() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let child = pipeline(2, 1020)
        .child_of(&parent, "deploy")
        .turns(Manual, 1021);
    project.poll(1030, [&child]);
    project.poll(DAY, [pipeline(3, DAY - 10)]);
    assert!(
        project.memory.claims.is_empty() || !project.memory.claims.contains_key(&PipelineId(2))
    );
    let played = child.runs(2 * DAY);
    project.poll(2 * DAY + 10, [&played]);
    project.poll(2 * DAY + 70, [played.ends(Success, 2 * DAY + 60)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.observed(&DURATION, ANY), [60.0]);
}

#[test]
fn a_chain_of_three_tracked_projects_counts_each_link_once() {
    let first = pipeline(1, 1010).runs(1011);
    let second = pipeline(2, 1020).started_by("a", &first, "to-b").runs(1021);
    let third = pipeline(3, 1030)
        .started_by("b", &second, "to-c")
        .runs(1031);
    let mut counted = BTreeMap::new();
    for (path, run) in [("a", &first), ("b", &second), ("c", &third)] {
        let mut project = watched(path);
        project.poll(1040, [run]);
        project.poll(1070, [run.clone().ends(Success, 1060)]);
        counted.extend(project.totals());
    }
    let runs: Vec<_> = counted
        .keys()
        .filter(|series| series.contains("run_count"))
        .collect();
    assert_eq!(
        runs,
        [
            r#"age_child_pipeline_run_count{bridge_name="to-b",parent_project="a",parent_ref="main",project="b",ref="main"}"#,
            r#"age_child_pipeline_run_count{bridge_name="to-c",parent_project="b",parent_ref="main",project="c",ref="main"}"#,
        ]
    );
    assert!(counted.values().all(|total| *total == 1.0));
    assert_eq!(counted.len(), 6);
}

#[test]
fn a_chain_into_projects_that_are_not_tracked_is_seen_from_upstream() {
    let mut project = watched("a");
    let first = pipeline(1, 1010).runs(1011);
    let second = pipeline(2, 1020).started_by("a", &first, "to-b").runs(1021);
    let third = pipeline(3, 1030)
        .started_by("b", &second, "to-c")
        .runs(1031);
    project.poll(
        1040,
        [first.clone().leads_to("b", &second).leads_to("c", &third)],
    );

    let first = first.ends(Success, 1042);
    let [second, third] = [second, third].map(|run| run.ends(Success, 1060));
    let ended = first.leads_to("b", &second).leads_to("c", &third);
    for now in [1070, 1080] {
        project.poll(now, [&ended]);
    }
    for (parent, bridge, path) in [("a", "to-b", "b"), ("b", "to-c", "c")] {
        let labels = [
            ("parent_project", parent),
            ("bridge_name", bridge),
            ("project", path),
        ];
        assert_eq!(project.total(&RUN_COUNT, &labels), 1.0);
        assert_eq!(project.observed(&DURATION, &labels).len(), 1);
        assert_eq!(project.shown(&STATUS, &labels), [1.0]);
    }
    assert_eq!(project.total(&RUN_COUNT, ANY), 2.0);
}

#[test]
fn a_downstream_pipeline_that_ends_long_after_its_upstream_counts_once() {
    let mut project = watched("a");
    let first = pipeline(1, 1010).runs(1011).ends(Success, 1020);
    let second = pipeline(2, 1015).started_by("a", &first, "to-b").runs(1021);
    project.poll(1030, [first.clone().leads_to("b", &second)]);
    let second = second.ends(Success, DAY);
    project.poll(
        DAY + 10,
        [first.clone().leads_to("b", &second), pipeline(3, 2000)],
    );
    // The upstream pipeline is retried while its project has been quiet since.
    let again = first.is_retried(DAY + 100);
    project.poll(DAY + 110, [again.leads_to("b", &second)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.observed(&DURATION, ANY).len(), 1);
}

#[test]
fn a_downstream_project_that_the_token_may_not_read_leaves_the_rest_whole() {
    let mut project = watched("a");
    let first = pipeline(1, 1010).runs(1011);
    // The bridge to the hidden project gives no pipeline at all.
    let seen = pipeline(3, 1020).started_by("a", &first, "to-c").runs(1021);
    project.poll(1040, [first.leads_to("c", &seen)]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
    assert_eq!(project.shown_labels(&STATUS, "bridge_name"), ["to-c"]);
}

#[test]
fn an_upstream_project_that_the_token_may_not_read_counts_nowhere() {
    let mut project = watched("b");
    let first = pipeline(1, 1010).runs(1011);
    let mut second = pipeline(2, 1020).started_by("a", &first, "to-b").runs(1021);
    second.pipeline.upstream = Known::Hidden;
    project.poll(1040, [second]);
    assert!(project.totals().is_empty() && project.states().is_empty());
}

#[test]
fn a_cycle_counts_each_pipeline_once() {
    let first = pipeline(1, 1010).runs(1011);
    let second = pipeline(2, 1020).started_by("a", &first, "to-b").runs(1021);
    let third = pipeline(3, 1030)
        .started_by("b", &second, "to-a")
        .runs(1031);
    let fourth = pipeline(4, 1040).started_by("a", &third, "to-b").runs(1041);
    let mut a = watched("a");
    let mut b = watched("b");
    for now in [1050, 1060] {
        a.poll(now, [&first, &third]);
        b.poll(now, [&second, &fourth]);
    }
    assert_eq!(
        a.total(&RUN_COUNT, &[("parent_project", "b"), ("project", "a")]),
        1.0
    );
    assert_eq!(
        b.total(&RUN_COUNT, &[("parent_project", "a"), ("project", "b")]),
        2.0
    );
    assert_eq!(b.shown(&STATUS, ANY).len(), 1, "of one bridge the newest");
}

#[test]
fn children_count_as_often_here_as_among_pipelines() {
    let mut children = watched(PROJECT);
    let mut pipelines = Watched::since(
        1000,
        Pipelines {
            include_children: true,
        },
    );
    let parent = pipeline(1, 1010).runs(1011);
    let merge_request = pipeline(2, 1010).on_merge_request(42, "merge").runs(1011);
    let child = pipeline(3, 1020).child_of(&parent, "deploy").runs(1021);
    let grandchild = pipeline(4, 1030)
        .child_of(&child, "canary")
        .runs(1031)
        .ends(Failed, 1040);
    let other = pipeline(5, 1030)
        .child_of(&merge_request, "deploy")
        .turns(Skipped, 1031);
    let unwatched = pipeline(6, 1030)
        .child_of(&parent, "deploy")
        .on_branch("topic");
    let seen = [parent, merge_request, child, grandchild, other, unwatched];
    for now in [1050, 1060] {
        children.poll(now, &seen);
        pipelines.poll(now, &seen);
    }
    for git_ref in ["main", "merge-requests/main", "topic"] {
        let here = children.total(&RUN_COUNT, &[("ref", git_ref)]);
        let labels = [("ref", git_ref), ("source", "parent_pipeline")];
        assert_eq!(here, pipelines.total(&pipeline_metric::RUN_COUNT, &labels));
    }
    assert_eq!(children.total(&RUN_COUNT, ANY), 3.0);
    let labels = [("source", "parent_pipeline")];
    assert_eq!(
        children.observed(&DURATION, ANY),
        pipelines.observed(&pipeline_metric::DURATION, &labels)
    );
}

#[test]
fn a_deleted_child_is_shown_no_more_and_the_others_stay() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let deploy = pipeline(2, 1020).child_of(&parent, "deploy").runs(1021);
    let docs = pipeline(3, 1020).child_of(&parent, "docs").runs(1021);
    project.poll(1030, [&deploy, &docs]);
    assert_eq!(
        project.memory.newest_ids().collect::<Vec<_>>(),
        [PipelineId(2), PipelineId(3)]
    );
    for (deleted, left) in [(3, vec!["deploy"]), (2, vec![])] {
        project.delete(deleted);
        project.poll(1040, QUIET);
        assert_eq!(project.shown_labels(&STATUS, "bridge_name"), left);
    }
    assert_eq!(project.memory.newest.latest().count(), 0);
}

#[test]
fn what_a_deleted_pipeline_led_to_is_shown_no_more() {
    let mut project = watched("a");
    let first = pipeline(1, 1010).runs(1011);
    let second = pipeline(2, 1020).started_by("a", &first, "to-b").runs(1021);
    project.poll(1030, [first.leads_to("b", &second)]);
    assert_eq!(project.memory.newest_ids().count(), 0, "it runs elsewhere");
    project.delete(1);
    project.poll(1040, QUIET);
    assert_eq!(project.shown(&STATUS, ANY), NONE);
}

#[test]
fn a_renamed_project_keeps_its_states_under_the_new_path() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let second = pipeline(3, 1020)
        .started_by(PROJECT, &parent, "to-b")
        .runs(1021);
    let child = pipeline(2, 1020).child_of(&parent, "deploy").runs(1021);
    project.poll(1030, [child, parent.leads_to("b", &second)]);
    project.project = "group/renamed".into();
    project.poll(1040, QUIET);
    let states = project.states();
    assert_eq!(states.len(), 2);
    assert!(
        states
            .iter()
            .all(|line| line.contains(r#"parent_project="group/renamed""#))
    );
    assert_eq!(
        project.shown(&STATUS, &[("project", "group/renamed")]),
        [1.0]
    );
    assert_eq!(project.shown(&STATUS, &[("project", "b")]), [1.0]);
}

#[test]
fn windows_of_refs_bound_states_only() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let child = pipeline(2, 1020).child_of(&parent, "deploy").runs(1021);
    project.poll(1030, [&child]);
    project.list_branches(1100, &[]);
    project.poll(1110, [child.ends(Success, 1105)]);
    assert_eq!(project.shown(&STATUS, ANY), NONE);
    assert_eq!(project.observed(&DURATION, ANY).len(), 1);
    assert_eq!(project.memory.newest.latest().count(), 0);
}

#[test]
fn memory_is_bounded_by_what_is_followed_and_by_bridges() {
    let mut project = watched("b");
    for id in 1..=300_u32 {
        let at = 1000 + i64::from(id) * 60;
        // Every one comes from another merge request of another project.
        let upstream = pipeline(u64::from(id), at).on_merge_request(id.into(), "head");
        let run = pipeline(1000 + u64::from(id), at).started_by("a", &upstream, "to-b");
        let elsewhere = pipeline(2000 + u64::from(id), at).started_by("b", &run, "to-c");
        let ended = elsewhere.runs(at + 1).ends(Success, at + 10);
        project.poll(
            at + 30,
            [run.runs(at + 1)
                .ends(Success, at + 20)
                .leads_to("c", &ended)],
        );
        assert!(project.memory.claims.len() <= 2);
        assert!(project.memory.foreign_claims.len() <= 2);
    }
    assert_eq!(project.total(&RUN_COUNT, ANY), 600.0);
    assert_eq!(project.shown(&STATUS, ANY).len(), MAX_BRIDGES_PER_REF);
    assert_eq!(
        project.shown(&STATUS, &[("parent_ref", "merge-requests/300")]),
        [1.0]
    );
}

#[test]
fn jobs_of_the_newest_child_have_states() {
    let mut project = watched(PROJECT);
    let parent = pipeline(1, 1010).runs(1011);
    let child = pipeline(2, 1020).child_of(&parent, "deploy").runs(1023);
    let reason = "script_failure";
    let jobs = [
        job(21, "migrate", 1020).runs(1024).fails(reason, 1030),
        job(22, "switch", 1020).in_stage("release").turns(Skipped),
    ];
    let trigger = bridge(23, "next", 1020).turns(Created);
    let failed = child.clone().ends(Failed, 1031);
    let read = failed.clone().with_jobs(jobs).with_bridges([trigger]);
    project.poll(1040, [&parent, &read]);
    let failure = [
        ("bridge_name", "deploy"),
        ("failure_reason", reason),
        ("job_name", "migrate"),
        ("ref", "main"),
        ("stage", "test"),
        ("status", "failed"),
    ];
    assert_eq!(project.shown(&JOB_STATUS, &failure), [1.0]);
    let statuses = ["created", "failed", "skipped"];
    let mut shown = project.shown_labels(&JOB_STATUS, "status");
    shown.sort();
    assert_eq!(shown, statuses);

    // It moved, and its jobs were not read.
    project.poll(1050, [&failed]);
    assert_eq!(project.shown(&JOB_STATUS, &failure), [1.0]);

    // Only the newest child of a bridge is shown.
    let next = pipeline(3, 1110).child_of(&parent, "deploy").runs(1111);
    let unit = job(31, "migrate", 1110).runs(1112);
    project.poll(1120, [&next.with_jobs([unit])]);
    assert_eq!(project.shown_labels(&JOB_STATUS, "status"), ["running"]);
}

#[test]
fn jobs_of_multi_project_pipelines_are_those_of_their_project() {
    let mut project = watched("group/lib");
    let parent = pipeline(1, 1010).runs(1011);
    let started = pipeline(2, 1020).started_by("group/app", &parent, "to lib");
    let unit = job(21, "unit", 1020).turns(Pending);
    project.poll(1030, [started.with_jobs([unit])]);
    assert_eq!(project.shown(&STATUS, ANY), [1.0]);
    assert_eq!(project.shown(&JOB_STATUS, ANY), NONE);
}
