//! Rules bound counting and states, windows bound states.

use super::*;
use crate::catalogue::jobs as job_metric;
use crate::catalogue::pipelines::{DURATION, ID, RUN_COUNT, STATUS};
use crate::collector::jobs::Jobs;
use crate::collector::pipelines::Pipelines;
use crate::collector::testing::{ANY, NONE, PROJECT, Watched, job, pipeline, project_id};
use crate::config::MergeRequestState;
use crate::facts::feed::PipelineFacts;
use crate::gitlab::model::Status::{Failed, Success};

const DAY: i64 = 86_400;
const QUIET: [PipelineFacts; 0] = [];

/// A project whose branches are all watched, since second 1000.
fn watched() -> Watched<Pipelines> {
    let mut project = Watched::since(
        1000,
        Pipelines {
            include_children: true,
        },
    );
    project.settings.refs.branches.regexp = ".*".parse().unwrap();
    project
}

fn ended(id: u64, at: i64) -> PipelineFacts {
    pipeline(id, at).runs(at + 1).ends(Success, at + 5)
}

#[test]
fn rules_bound_counting_and_states() {
    let refs = |change: fn(&mut crate::config::Refs)| {
        let mut refs = crate::config::Refs::default();
        change(&mut refs);
        refs
    };
    let all = |id| {
        [
            ended(id, 1010),
            ended(id + 1, 1010).on_branch("feature/x"),
            ended(id + 2, 1010).on_tag("v1.0"),
            ended(id + 3, 1010).on_tag("nightly"),
            ended(id + 4, 1010).on_merge_request(42, "head"),
        ]
    };
    let cases: [(&[&str], _); 5] = [
        (&["main", "v1.0", "merge-requests/42"], refs(|_| {})),
        (
            &["v1.0", "merge-requests/42"],
            refs(|refs| refs.branches.enabled = false),
        ),
        (
            &["main", "merge-requests/42"],
            refs(|refs| refs.tags.enabled = false),
        ),
        (
            &["main", "v1.0"],
            refs(|refs| refs.merge_requests.enabled = false),
        ),
        (
            &["feature/x", "nightly", "merge-requests/42"],
            refs(|refs| {
                refs.branches.regexp = "^feature/".parse().unwrap();
                refs.tags.regexp = "^night".parse().unwrap();
            }),
        ),
    ];
    for (expected, refs) in cases {
        let mut project = watched();
        project.settings.refs = refs.clone();
        project.poll(1100, all(1));
        assert_eq!(project.shown_labels(&ID, "ref"), expected);
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let count = expected.len() as f64;
        assert_eq!(project.total(&RUN_COUNT, ANY), count);
        assert_eq!(project.observed(&DURATION, ANY).len(), expected.len());

        let collector = Jobs {
            runner_details: true,
            include_children: true,
        };
        let mut jobs = Watched::since(1000, collector);
        jobs.settings.refs = refs;
        let unit = |id| job(id, "unit", 1010).runs(1011).succeeds(1015);
        jobs.poll(
            1100,
            all(1).map(|run| {
                let id = run.pipeline.id.0;
                run.with_jobs([unit(id)])
            }),
        );
        assert_eq!(
            jobs.shown_labels(&job_metric::ID, "ref").len(),
            expected.len()
        );
        assert_eq!(jobs.total(&job_metric::RUN_COUNT, ANY), count);
    }
}

#[test]
fn most_recent_bounds_states_only() {
    let mut project = watched();
    project.settings.refs.branches.most_recent = 2;
    let runs = [(1, "a"), (2, "b"), (3, "c")]
        .map(|(id, branch)| ended(id, 1010 * i64::try_from(id).unwrap()).on_branch(branch));
    project.poll(3100, &runs);
    assert_eq!(project.shown_labels(&ID, "ref"), ["b", "c"]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 3.0);

    project.poll(3200, [ended(4, 3150).on_branch("a")]);
    assert_eq!(project.shown_labels(&ID, "ref"), ["a", "c"]);
}

#[test]
fn most_recent_counts_each_kind_for_itself() {
    let mut project = watched();
    project.settings.refs.branches.most_recent = 1;
    project.settings.refs.tags.most_recent = 1;
    let runs = [
        ended(1, 1010).on_branch("a"),
        ended(2, 1020).on_tag("v1"),
        ended(3, 1030).on_tag("v2"),
        ended(4, 1040).on_merge_request(42, "head"),
    ];
    project.poll(1100, runs);
    assert_eq!(
        project.shown_labels(&ID, "ref"),
        ["a", "v2", "merge-requests/42"]
    );
}

#[test]
fn another_ref_takes_the_place_of_one_that_goes() {
    let mut project = watched();
    project.settings.refs.branches.most_recent = 1;
    project.poll(
        1100,
        [ended(1, 1010).on_branch("a"), ended(2, 1020).on_branch("b")],
    );
    assert_eq!(project.shown_labels(&ID, "ref"), ["b"]);
    project.list_branches(1200, &["a"]);
    project.poll(1210, QUIET);
    assert_eq!(project.shown_labels(&ID, "ref"), ["a"]);
}

#[test]
fn max_age_days_is_the_age_of_the_newest_pipeline() {
    let mut project = watched();
    project.settings.refs.branches.max_age_days = 7;
    project.poll(2010, [ended(1, 2000)]);
    project.poll(2000 + 7 * DAY, QUIET);
    assert_eq!(project.shown(&ID, ANY), [1.0], "just not too old");
    project.poll(2001 + 7 * DAY, QUIET);
    assert_eq!(project.shown(&ID, ANY), NONE);

    let now = 10 * DAY;
    project.poll(now + 10, [ended(2, now)]);
    assert_eq!(project.shown(&ID, ANY), [2.0]);
    assert_eq!(project.total(&RUN_COUNT, ANY), 2.0);
}

#[test]
fn an_old_pipeline_that_ends_outside_the_window_still_counts() {
    let mut project = watched();
    project.settings.refs.branches.max_age_days = 1;
    let run = pipeline(1, 1010).runs(1011);
    project.poll(1020, [&run]);
    project.poll(3 * DAY, [run.ends(Failed, 3 * DAY - 5)]);
    assert_eq!(project.shown(&ID, ANY), NONE);
    assert_eq!(
        project.observed(&DURATION, &[("status", "failed")]).len(),
        1
    );
}

#[test]
fn a_deleted_ref_is_removed_and_initialized_again_with_its_next_pipeline() {
    let mut project = watched();
    project.list_branches(1050, &["main", "topic"]);
    project.poll(1100, [ended(1, 1010), ended(2, 1020).on_branch("topic")]);
    assert_eq!(project.shown_labels(&ID, "ref"), ["main", "topic"]);

    project.list_branches(1200, &["main"]);
    project.poll(1210, QUIET);
    assert_eq!(project.shown_labels(&ID, "ref"), ["main"]);
    let left: Vec<_> = project
        .memory
        .latest_refs()
        .map(|(name, _)| &*name.name)
        .collect();
    assert_eq!(left, ["main"]);

    // Pushed again: its pipeline is newer than the listing that misses it.
    project.poll(1320, [ended(3, 1300).on_branch("topic")]);
    assert_eq!(project.shown(&ID, &[("ref", "topic")]), [3.0]);
    project.list_branches(1400, &["main", "topic"]);
    project.poll(1410, QUIET);
    assert_eq!(project.shown(&ID, &[("ref", "topic")]), [3.0]);
    assert_eq!(project.total(&RUN_COUNT, &[("ref", "topic")]), 2.0);
}

#[test]
fn a_pipeline_that_outlives_its_branch_counts_and_is_not_shown() {
    let mut project = watched();
    let run = pipeline(1, 1010).on_branch("topic").runs(1011);
    project.poll(1020, [&run]);
    project.list_branches(1050, &[]);
    project.poll(1070, [run.ends(Success, 1060)]);
    assert_eq!(project.shown(&STATUS, ANY), NONE);
    assert_eq!(project.observed(&DURATION, ANY).len(), 1);
}

#[test]
fn without_exclude_deleted_deleted_refs_stay() {
    let mut project = watched();
    project.settings.refs.branches.exclude_deleted = false;
    project.poll(1100, [ended(1, 1010).on_branch("topic")]);
    project.list_branches(1200, &[]);
    project.poll(1210, QUIET);
    assert_eq!(project.shown_labels(&ID, "ref"), ["topic"]);
}

#[test]
fn a_listing_of_branches_says_nothing_of_tags_and_merge_requests() {
    let mut project = watched();
    let tag = ended(1, 1010).on_tag("v1");
    let merge_request = ended(2, 1010).on_merge_request(42, "head");
    project.list_branches(1200, &[]);
    project.poll(1210, [tag, merge_request]);
    assert_eq!(
        project.shown_labels(&ID, "ref"),
        ["v1", "merge-requests/42"]
    );

    let names = BTreeSet::new();
    project.refs.tags = Some(Listing {
        at: UnixSeconds(1300),
        names,
    });
    project.poll(1310, QUIET);
    assert_eq!(project.shown_labels(&ID, "ref"), ["merge-requests/42"]);
}

#[test]
fn states_of_merge_requests_bound_states_only() {
    use MergeRequestState::{All, Closed, Merged, Opened};
    let cases: [(&[MergeRequestState], &[&str]); 4] = [
        (&[Opened, Merged], &["opened", "merged", "locked"]),
        (&[Opened], &["opened", "locked"]),
        (&[Closed], &["closed"]),
        (&[All], &["opened", "closed", "merged", "locked"]),
    ];
    for (wanted, shown) in cases {
        for state in ["opened", "closed", "merged", "locked"] {
            let mut project = watched();
            project.settings.refs.merge_requests.states = wanted.to_vec();
            project.poll(1100, [ended(1, 1010).on_merge_request(42, "head")]);
            assert_eq!(project.shown(&ID, ANY), [1.0], "not known yet");
            project.refs.merge_requests.insert(42, state.into());
            project.poll(1110, QUIET);
            let is_shown = !project.shown(&ID, ANY).is_empty();
            assert_eq!(is_shown, shown.contains(&state), "{state} of {wanted:?}");
            assert_eq!(project.total(&RUN_COUNT, ANY), 1.0);
        }
    }
}

#[test]
fn a_reopened_merge_request_is_shown_again() {
    let mut project = watched();
    project.poll(1100, [ended(1, 1010).on_merge_request(42, "head")]);
    for (state, shown) in [("closed", vec![]), ("opened", vec![1.0])] {
        project.refs.merge_requests.insert(42, state.into());
        project.poll(1110, QUIET);
        assert_eq!(project.shown(&ID, ANY), shown);
    }
}

#[test]
fn closed_merge_requests_do_not_push_open_ones_out() {
    let mut project = watched();
    project.settings.refs.merge_requests.most_recent = 1;
    project.poll(1100, [ended(1, 1010).on_merge_request(7, "head")]);
    for iid in 10..20 {
        project.refs.merge_requests.insert(iid, "closed".into());
        project.poll(1200, [ended(iid, 1150).on_merge_request(iid, "head")]);
    }
    assert_eq!(project.shown_labels(&ID, "ref"), ["merge-requests/7"]);
}

#[test]
fn memory_of_merge_requests_is_bounded_by_their_window() {
    let mut project = watched();
    for iid in 1..=300_u32 {
        let at = 1000 + i64::from(iid) * 600;
        project.poll(
            at + 60,
            [ended(iid.into(), at).on_merge_request(iid.into(), "head")],
        );
    }
    assert_eq!(project.shown(&ID, ANY).len(), 20);
    assert_eq!(
        project.memory.latest_refs().count(),
        40,
        "as many again in reserve"
    );
    project.poll(100 * DAY, QUIET);
    assert_eq!(project.memory.latest_refs().count(), 0);
    assert_eq!(project.total(&RUN_COUNT, ANY), 300.0);
}

#[test]
fn names_of_old_branches_are_kept_while_their_counters_stand_and_tags_go() {
    let mut project = watched();
    project.settings.refs.branches.max_age_days = 90;
    project.poll(1100, [ended(1, 1010).on_tag("v1"), ended(2, 1010)]);
    project.poll(100 * DAY, QUIET);
    assert_eq!(project.shown(&ID, ANY), NONE);
    let left: Vec<_> = project.memory.latest_refs().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(*left[0].0.name, *"main");

    let mut jobs = Watched::since(
        1000,
        Jobs {
            runner_details: true,
            include_children: true,
        },
    );
    jobs.poll(
        1100,
        [ended(1, 1010)
            .on_tag("v1")
            .with_jobs([job(11, "unit", 1010)])],
    );
    let with_tag = format!("{:?}", jobs.memory);
    jobs.poll(100 * DAY, QUIET);
    assert!(with_tag.contains("unit") && !format!("{:?}", jobs.memory).contains("unit"));
}

#[test]
fn merge_requests_count_as_the_setting_says() {
    let run = pipeline(1, 1010).on_merge_request(42, "merge").pipeline;
    let mut hidden = run.clone();
    hidden.merge_request = Known::Hidden;
    let cases = [
        (
            CountRef::TargetBranch,
            "merge-requests/main",
            "merge-requests/unknown",
        ),
        (CountRef::Iid, "merge-requests/42", "merge-requests/42"),
        (
            CountRef::SourceBranch,
            "merge-requests/feature",
            "merge-requests/unknown",
        ),
    ];
    for (count_ref, known, unknown) in cases {
        let mut settings = ProjectSettings::default();
        settings.refs.merge_requests.count_ref = count_ref;
        assert_eq!(&*counting_ref(&run, &settings), known);
        assert_eq!(&*counting_ref(&hidden, &settings), unknown);
        let upstream = |merge_request: &Known<PipelineMergeRequest>| Upstream {
            project_id: project_id(PROJECT),
            pipeline: run.id,
            project: "group/project".into(),
            git_ref: run.git_ref.clone(),
            merge_request: merge_request.clone(),
            bridge: "deploy".into(),
        };
        let parent = upstream(&run.merge_request);
        assert_eq!(&*upstream_counting_ref(&parent, &settings), known);
        assert_eq!(
            &*upstream_counting_ref(&upstream(&Known::Unread), &settings),
            unknown
        );
        assert_eq!(&*plain_ref(&parent.git_ref), "merge-requests/42");
    }
    let branch = pipeline(1, 1010).on_branch("42").pipeline;
    assert_eq!(&*counting_ref(&branch, &ProjectSettings::default()), "42");
}

#[test]
fn only_merge_request_refs_have_an_iid() {
    let of = |facts: PipelineFacts| RefName::of(&facts.pipeline);
    assert_eq!(
        of(pipeline(1, 0).on_merge_request(42, "train")).merge_request(),
        Some(42)
    );
    assert_eq!(
        of(pipeline(1, 0).on_branch("merge-requests/42")).merge_request(),
        None
    );
    let mut lost = pipeline(1, 0).on_merge_request(42, "odd");
    lost.pipeline.merge_request = Known::Hidden;
    assert_eq!(&*of(lost.clone()).name, "merge-requests/unknown");
    assert_eq!(of(lost).merge_request(), None);
}
