//! Initialization, totals, memory in a store, retirement and limits.

use super::super::{Refusal, Retirement, RowRecord, RowValue};
use super::*;

#[test]
fn a_series_shows_zero_until_its_birth_window_has_passed() {
    let table = table(100);
    count(
        &table,
        &[
            runs("p", "main", 3.0),
            queued("p", "main", &[0.5, 4.0, 99.0]),
        ],
        at(0),
    );
    let zero = [
        ("queued_duration_seconds p main", "[0, 0, 0] 0 0"),
        ("run_count p main", "0"),
    ];
    assert_shows(&table, at(0), &zero);
    assert_shows(&table, at(119), &zero);
    let value = [
        ("queued_duration_seconds p main", "[1, 1, 1] 103.5 3"),
        ("run_count p main", "3"),
    ];
    assert_shows(&table, at(120), &value);
    // Later changes show at once.
    count(&table, &[runs("p", "main", 1.0)], at(121));
    assert_eq!(scrape(&table, at(121))["run_count p main"], "4");
}

#[test]
fn an_initial_zero_is_shown_and_later_events_wait_for_its_window() {
    let table = table(100);
    initialize(
        &table,
        vec![pipelines::RUN_COUNT.series(run_labels("p", "main"))],
        at(0),
    );
    assert_shows(&table, at(0), &[("run_count p main", "0")]);
    count(&table, &[runs("p", "main", 2.0)], at(60));
    assert_shows(&table, at(119), &[("run_count p main", "0")]);
    assert_shows(&table, at(120), &[("run_count p main", "2")]);
    // Being named again changes nothing.
    initialize(
        &table,
        vec![pipelines::RUN_COUNT.series(run_labels("p", "main"))],
        at(130),
    );
    assert_shows(&table, at(130), &[("run_count p main", "2")]);
}

#[test]
fn a_gauge_shows_its_value_at_once() {
    let table = table(100);
    replace(
        &table,
        &[(block(1), vec![newest_id("p", "main", 7.0)])],
        at(0),
    );
    assert_shows(&table, at(0), &[("id p main", "7")]);
}

#[test]
fn what_is_staged_is_not_shown_until_it_is_applied() {
    let table = table(100);
    count(&table, &[runs("p", "main", 1.0)], at(0));
    let rows = table.stage(&[runs("p", "main", 4.0)], |_| ProjectId(1), at(200));
    assert_shows(&table, at(200), &[("run_count p main", "1")]);
    let records: Vec<_> = rows.records().collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value, super::super::RecordedValue::Counter(5.0));
    assert_eq!((records[0].start, records[0].changed), (at(0), at(200)));
    // Not applied: as if it had never been.
    drop(rows);
    count(&table, &[runs("p", "main", 1.0)], at(201));
    assert_shows(&table, at(201), &[("run_count p main", "2")]);
}

#[test]
fn remembered_series_go_on_in_a_new_table() {
    let deltas = [runs("p", "main", 3.0), queued("p", "main", &[0.5, 99.0])];
    let before = table(100);
    let staged = before.stage(&deltas, |_| ProjectId(1), at(0));

    let after = table(100);
    let records: Vec<RowRecord> = staged.records().collect();
    let restored = after.restore(records.clone(), at(300), at(300));
    assert_eq!((restored.rows, restored.refused), (2, vec![]));
    // Old: no second initial zero.
    let shown = [
        ("queued_duration_seconds p main", "[1, 0, 1] 99.5 2"),
        ("run_count p main", "3"),
    ];
    assert_shows(&after, at(300), &shown);
    count(
        &after,
        &[runs("p", "main", 1.0), queued("p", "main", &[5.0])],
        at(301),
    );
    let shown = [
        ("queued_duration_seconds p main", "[1, 1, 1] 104.5 3"),
        ("run_count p main", "4"),
    ];
    assert_shows(&after, at(301), &shown);
    // Its start is the first showing, before the restart.
    let mut starts = Vec::new();
    after.walk(at(301)).next_chunk(10_000, |row| {
        starts.push(row.start);
        ControlFlow::Continue(())
    });
    assert_eq!(starts, [at(-1), at(-1)]);
    let again: Vec<_> = after
        .restore(records, at(300), at(300))
        .refused
        .into_iter()
        .map(|(_, why)| why)
        .collect();
    assert_eq!(again, [Refusal::Present, Refusal::Present]);
}

#[test]
fn remembered_series_that_no_longer_fit_are_refused_with_the_reason() {
    let before = table(100);
    let staged = before.stage(
        &[queued("p", "main", &[0.5]), runs("p", "main", 1.0)],
        |_| ProjectId(1),
        at(0),
    );
    let records: Vec<_> = staged.records().collect();

    let other_buckets = Table::new(&TableSettings {
        birth_window: Duration::from_secs(WINDOW),
        cardinality_limit: 100,
        buckets: BucketSettings::default(),
    });
    let restored = other_buckets.restore(records.clone(), at(300), at(300));
    assert_eq!(restored.rows, 1);
    let queued = records[0].key();
    assert_eq!(restored.refused, [(queued, Refusal::OtherBuckets)]);

    let refusal = |record: RowRecord| {
        table(1)
            .restore([record], at(300), at(300))
            .refused
            .remove(0)
            .1
    };
    let mut unknown = records[1].clone();
    unknown.name = "age_no_such_metric".into();
    assert_eq!(refusal(unknown), Refusal::UnknownMetric);
    let mut labels = records[1].clone();
    labels.labels.pop();
    assert_eq!(refusal(labels), Refusal::OtherLabels);
    let mut damaged = records[1].clone();
    damaged.value = super::super::RecordedValue::Counter(-1.0);
    assert_eq!(refusal(damaged), Refusal::Damaged);
}

fn ref_labels(git_ref: &str) -> Vec<(&'static str, crate::types::Text)> {
    vec![("project", "p".into()), ("ref", git_ref.into())]
}

#[test]
fn a_retired_series_leaves_once_everybody_saw_its_last_change() {
    let table = table(100);
    count(
        &table,
        &[
            runs("p", "main", 1.0),
            runs("p", "gone", 1.0),
            runs("q", "gone", 1.0),
        ],
        at(0),
    );
    count(&table, &[runs("p", "gone", 1.0)], at(300));
    table.retire(ref_labels("gone"), at(310));
    assert_eq!(scrape(&table, at(310))["run_count p gone"], "2");
    assert_eq!(table.due(at(419)), []);
    assert_eq!(table.sweep(at(419)), 0);
    let due = table.due(at(420));
    let due: Vec<_> = due.iter().map(|key| (&*key.name, &*key.labels)).collect();
    let labels = run_labels("p", "gone").into_values();
    assert_eq!(due, [("age_pipeline_run_count", &*labels)]);
    assert_eq!(scrape(&table, at(420))["run_count p gone"], "2");
    assert_eq!(table.sweep(at(420)), 1);
    assert_shows(
        &table,
        at(420),
        &[("run_count p main", "1"), ("run_count q gone", "1")],
    );
}

#[test]
fn a_retired_series_is_first_shown_with_its_value() {
    let table = table(100);
    count(&table, &[runs("p", "gone", 1.0)], at(0));
    table.retire(ref_labels("gone"), at(1));
    // Initialized at 0 until 120, shown with its value until 240.
    assert_eq!(table.sweep(at(239)), 0);
    assert_shows(&table, at(239), &[("run_count p gone", "1")]);
    assert_eq!(table.sweep(at(240)), 1);
    assert_shows(&table, at(240), &[]);
}

#[test]
fn a_retired_series_that_changes_or_is_named_again_lives_on() {
    let table = table(100);
    count(&table, &[runs("p", "a", 1.0), runs("p", "b", 1.0)], at(0));
    table.retire(ref_labels("a"), at(300));
    table.retire(ref_labels("b"), at(300));
    count(&table, &[runs("p", "a", 1.0)], at(300));
    initialize(
        &table,
        vec![pipelines::RUN_COUNT.series(run_labels("p", "b"))],
        at(300),
    );
    assert_eq!(table.sweep(at(1000)), 0);
    assert_shows(
        &table,
        at(1000),
        &[("run_count p a", "2"), ("run_count p b", "1")],
    );
    // And can be retired again.
    table.retire(ref_labels("a"), at(1000));
    assert_eq!(table.sweep(at(1000)), 1);
}

#[test]
fn a_retired_series_that_comes_back_is_initialized_at_zero_again() {
    let table = table(100);
    count(&table, &[runs("p", "a", 5.0)], at(0));
    table.retire(ref_labels("a"), at(1));
    assert_eq!(table.sweep(at(500)), 1);
    count(&table, &[runs("p", "a", 1.0)], at(600));
    assert_shows(&table, at(600), &[("run_count p a", "0")]);
    assert_shows(&table, at(720), &[("run_count p a", "1")]);
}

#[test]
fn a_removed_project_loses_its_states_at_once_and_its_totals_later() {
    use crate::catalogue::child_pipelines;
    use crate::catalogue::labels::ChildLabels;
    let child = |project: &str, parent: &str| {
        let labels = ChildLabels {
            bridge_name: "b".into(),
            parent_project: parent.into(),
            parent_ref: "main".into(),
            project: project.into(),
            git_ref: "main".into(),
        };
        delta(&child_pipelines::RUN_COUNT.desc, labels, Change::Rise(1.0))
    };
    let table = table(100);
    let deltas = [
        runs("p", "main", 1.0),
        runs("q", "main", 1.0),
        child("q", "p"),
        child("p", "q"),
    ];
    count(&table, &deltas, at(0));
    let states = [
        (block(1), vec![newest_id("p", "main", 1.0)]),
        (block(2), vec![newest_id("q", "main", 2.0)]),
    ];
    replace(&table, &states, at(0));
    table.retire_project(ProjectId(1), "p".into(), at(300));
    let shown = scrape(&table, at(300));
    assert_eq!(shown.get("id p main"), None);
    assert_eq!(shown["run_count p main"], "1");
    table.sweep(at(300));
    let left = [
        // Downstream pipelines belong to the project that started them.
        ("age_child_pipeline_run_count b q main p main", "1"),
        ("id q main", "2"),
        ("run_count q main", "1"),
    ];
    assert_shows(&table, at(300), &left);
}

#[test]
fn what_a_collector_counted_is_retired_and_nothing_else() {
    use crate::catalogue::contributors;
    use crate::catalogue::labels::AuthorLabels;
    let commits = |project: &str| {
        let labels = AuthorLabels {
            author: "Ada".into(),
            project: project.into(),
        };
        delta(&contributors::COMMITS.desc, labels, Change::Rise(1.0))
    };
    let table = table(100);
    let deltas = [commits("p"), commits("q"), runs("p", "main", 1.0)];
    count(&table, &deltas, at(0));
    let retired = Retirement::Collector(Collector::Contributors, None);
    let update = Update {
        retirements: vec![retired],
        ..Update::default()
    };
    assert_eq!(table.turned(&update).len(), 2);
    table.retire_collector(Collector::Contributors, at(300));
    assert_eq!(scrape(&table, at(300)).len(), 3);
    assert_eq!(table.sweep(at(420)), 2);
    assert_shows(&table, at(420), &[("run_count p main", "1")]);
}

#[test]
fn a_full_metric_drops_new_series_and_goes_on_with_the_old() {
    let table = table(2);
    count(
        &table,
        &[
            runs("p", "a", 1.0),
            runs("p", "b", 1.0),
            runs("p", "c", 1.0),
        ],
        at(0),
    );
    initialize(
        &table,
        vec![pipelines::RUN_COUNT.series(run_labels("p", "d"))],
        at(0),
    );
    count(&table, &[runs("p", "a", 1.0), runs("p", "e", 1.0)], at(200));
    assert_shows(
        &table,
        at(200),
        &[("run_count p a", "2"), ("run_count p b", "1")],
    );
    let family = FamilyId::of(&pipelines::RUN_COUNT.desc).unwrap();
    assert_eq!(table.overflow(), [(family, 3)]);
    assert_eq!(table.sample_counts(), [(family, 2)]);
    // What does not fit is not remembered either.
    assert!(
        table
            .stage(&[runs("p", "f", 1.0)], |_| ProjectId(1), at(200))
            .is_empty()
    );
    // Other metrics are not affected.
    count(&table, &[queued("p", "f", &[1.0])], at(200));
    let histogram = FamilyId::of(&pipelines::QUEUED_DURATION.desc).unwrap();
    // Two bounds: three buckets, the sum and the count.
    assert_eq!(table.sample_counts(), [(histogram, 5), (family, 2)]);
    // Removed series free places.
    table.retire(ref_labels("b"), at(200));
    table.sweep(at(500));
    count(&table, &[runs("p", "f", 1.0)], at(500));
    assert_eq!(scrape(&table, at(700))["run_count p f"], "1");
}

#[test]
fn start_times_lie_before_every_walk_and_stay() {
    let table = table(100);
    count(&table, &[runs("p", "main", 1.0)], at(50));
    let start = |now| {
        let mut start = None;
        table.walk(now).next_chunk(10_000, |row| {
            assert!(matches!(row.value, RowValue::Counter(_)));
            start = Some(row.start);
            ControlFlow::Continue(())
        });
        start.unwrap()
    };
    assert_eq!(start(at(50)), at(49));
    assert_eq!(start(at(51)), at(49));
    assert_eq!(start(at(500)), at(49));
    // A clock that was set back.
    assert!(start(at(20)) < at(20));
}

/// A scrape takes its time, waits for the table, and something is recorded meanwhile.
#[test]
fn a_series_that_is_newer_than_the_time_of_a_walk_shows_0_all_the_same() {
    let table = table(100);
    count(&table, &[runs("p", "main", 1.0)], at(51));
    assert_shows(&table, at(50), &[("run_count p main", "0")]);
    assert_shows(&table, at(51), &[("run_count p main", "0")]);
}
