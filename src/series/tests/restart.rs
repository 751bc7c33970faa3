//! What a store gets, and what becomes of it in the next process.

use proptest::prelude::*;

use super::super::{Delivery, RecordedValue, Retirement, RowRecord, StagedRows, Update};
use super::*;
use crate::shards::ShardSet;
use crate::types::Text;

fn of_ref(git_ref: &str) -> Vec<(&'static str, Text)> {
    vec![("project", "p".into()), ("ref", git_ref.into())]
}

#[test]
fn an_initial_zero_that_did_not_end_begins_again_after_a_restart() {
    let before = table(100);
    let staged = before.stage(&[runs("p", "main", 3.0)], |_| ProjectId(1), at(0));
    let records: Vec<_> = staged.records().collect();
    let window = i64::try_from(WINDOW).unwrap();

    let after = table(100);
    let restored = after.restore(records, at(window - 1), at(1000));
    let [reinitialized] = &restored.reinitialized[..] else {
        panic!("{restored:?}");
    };
    assert_eq!(
        (reinitialized.start, reinitialized.changed),
        (at(1000), at(0))
    );
    assert_eq!(reinitialized.value, RecordedValue::Counter(3.0));
    assert_shows(&after, at(1000), &[("run_count p main", "0")]);
    after.note_commit(ShardSet::ALL, at(1000 + window - 1));
    assert!(!after.uncommitted_zeros(at(1000 + window)).is_empty());
    // Its window is over by the clock, but that is not committed: a restart would initialize it
    // again.
    assert_shows(&after, at(1000 + window), &[("run_count p main", "0")]);
    after.note_commit(ShardSet::ALL, at(1000 + window));
    assert!(after.uncommitted_zeros(at(1000 + window)).is_empty());
    assert_shows(&after, at(1000 + window), &[("run_count p main", "3")]);
    // A clock that is set back takes nothing back.
    after.note_commit(ShardSet::ALL, at(500));
    assert_shows(&after, at(1000 + window), &[("run_count p main", "3")]);
}

#[test]
fn an_initial_zero_that_ended_stays_ended_after_a_restart() {
    let before = table(100);
    let staged = before.stage(&[runs("p", "main", 3.0)], |_| ProjectId(1), at(0));
    let records: Vec<_> = staged.records().collect();
    let committed_at = at(i64::try_from(WINDOW).unwrap());
    let after = table(100);
    let restored = after.restore(records, committed_at, at(1000));
    assert!(restored.reinitialized.is_empty());
    assert_shows(&after, at(1000), &[("run_count p main", "3")]);
}

#[test]
fn a_value_that_was_shown_stays_though_the_window_is_longer_after_a_restart() {
    let before = table(100);
    before.set_birth_window(Delivery::Scrape, Duration::from_secs(30), at(0));
    let staged = before.stage(&[runs("p", "main", 3.0)], |_| ProjectId(1), at(10));
    let records: Vec<_> = staged.records().collect();
    for (committed_at, shown) in [(39, "0"), (40, "3")] {
        let after = table(100);
        after.restore(records.clone(), at(committed_at), at(50));
        assert_shows(&after, at(50), &[("run_count p main", shown)]);
    }
    // An earlier version did not note it: it is as the settings say.
    let unknown = records.into_iter().map(|record| RowRecord {
        window: None,
        ..record
    });
    let after = table(100);
    after.restore(unknown, at(40), at(50));
    assert_shows(&after, at(50), &[("run_count p main", "0")]);
}

/// Commits wait while a store cannot be used, and scrapes come more seldom then.
#[test]
fn a_value_that_was_shown_stays_though_windows_change_while_nothing_is_committed() {
    let table = table(100);
    table.restore([], at(-1), at(-1));
    table.set_birth_window(Delivery::Scrape, Duration::from_secs(30), at(0));
    count(&table, &[runs("p", "main", 3.0)], at(10));
    table.note_commit(ShardSet::ALL, at(40));
    assert_shows(&table, at(40), &[("run_count p main", "3")]);
    let window = i64::try_from(WINDOW).unwrap();
    for (seconds, now) in [(60, 50), (90, 50 + window + 1), (60, 50 + 3 * window)] {
        table.set_birth_window(Delivery::Scrape, Duration::from_secs(seconds), at(now));
        assert_shows(&table, at(now), &[("run_count p main", "3")]);
    }
}

#[test]
fn a_store_hears_of_what_begins_to_retire_and_of_what_comes_back() {
    let table = table(100);
    count(
        &table,
        &[
            runs("p", "main", 1.0),
            runs("p", "old", 2.0),
            runs("p", "older", 3.0),
        ],
        at(0),
    );
    let removed_refs = |rows| Update {
        rows,
        retirements: vec![
            Retirement::Labels(of_ref("old")),
            Retirement::Labels(of_ref("older")),
        ],
        ..Update::default()
    };
    let retires = removed_refs(table.stage(&[runs("p", "older", 4.0)], |_| ProjectId(1), at(9)));
    let turned = |update: &Update| -> Vec<(String, RecordedValue, bool)> {
        let records = table.turned(update).into_iter();
        let mut turned: Vec<_> = records
            .map(|record| {
                let git_ref = record.labels.iter().find(|(name, _)| name == "ref");
                let git_ref = git_ref.map(|(_, value)| value.to_string());
                (git_ref.unwrap_or_default(), record.value, record.retiring)
            })
            .collect();
        turned.sort_by(|one, other| one.0.cmp(&other.0));
        turned.dedup_by(|later, one| {
            // The last record of a series is the one that is kept.
            let same = later.0 == one.0;
            if same {
                one.1 = later.1.clone();
            }
            same
        });
        turned
    };
    assert_eq!(
        turned(&retires),
        [
            ("old".to_owned(), RecordedValue::Counter(2.0), true),
            ("older".to_owned(), RecordedValue::Counter(7.0), true),
        ]
    );
    table.apply(retires, at(9));
    let comes_back = Update {
        initializations: vec![(
            ProjectId(1),
            pipelines::RUN_COUNT.series(run_labels("p", "old")),
        )],
        ..Update::default()
    };
    assert_eq!(
        turned(&comes_back),
        [("old".to_owned(), RecordedValue::Counter(2.0), false)]
    );
}

#[test]
fn what_retires_stays_for_a_window_after_a_restart_so_that_its_last_change_is_seen() {
    let before = table(100);
    count(&before, &[runs("p", "old", 2.0)], at(0));
    let retires = Update {
        rows: before.stage(&[runs("p", "old", 1.0)], |_| ProjectId(1), at(500)),
        retirements: vec![Retirement::Labels(of_ref("old"))],
        ..Update::default()
    };
    let records: Vec<_> = before.turned(&retires).into_iter().collect();
    let window = i64::try_from(WINDOW).unwrap();

    let after = table(100);
    let restored = after.restore(records.into_iter().skip(1), at(500), at(9000));
    assert_eq!(restored.rows, 1, "{restored:?}");
    assert_eq!(after.sweep(at(9000 + window - 1)), 0);
    assert_shows(&after, at(9000), &[("run_count p old", "3")]);
    assert_eq!(after.sweep(at(9000 + window)), 1);
}

#[test]
fn a_series_belongs_to_the_project_that_first_had_it_until_it_is_removed() {
    let table = table(100);
    let owners =
        |rows: &StagedRows| -> Vec<u64> { rows.records().map(|record| record.project.0).collect() };
    let both = [runs("p", "main", 1.0), queued("p", "main", &[0.5])];
    for (project, owner) in [(7, 7), (8, 7)] {
        let rows = table.stage(&both, |_| ProjectId(project), at(0));
        assert_eq!(owners(&rows), [owner, owner]);
        let update = Update {
            rows,
            ..Update::default()
        };
        table.apply(update, at(0));
    }
    let initialize = |project, git_ref: &str| {
        let key = pipelines::RUN_COUNT.series(run_labels("p", git_ref));
        let update = Update {
            initializations: vec![(ProjectId(project), key)],
            ..Update::default()
        };
        table.apply(update, at(0));
    };
    initialize(9, "born");
    initialize(8, "born");
    initialize(8, "main");
    // What is removed makes room for rows that were behind it.
    table.retire(of_ref("main"), at(0));
    let due: Vec<u64> = table.due(at(900)).iter().map(|key| key.project.0).collect();
    assert_eq!(due, [7, 7]);
    assert_eq!(table.sweep(at(900)), 2);
    let counts = [runs("p", "main", 1.0), runs("p", "born", 1.0)];
    let rows = table.stage(&counts, |_| ProjectId(8), at(901));
    assert_eq!(owners(&rows), [8, 9]);

    let after = super::table(100);
    after.restore(rows.records(), at(901), at(902));
    let rows = after.stage(&counts, |_| ProjectId(1), at(903));
    assert_eq!(owners(&rows), [8, 9]);
}

/// A histogram as the tests' settings have it, or nearly.
fn any_value() -> impl Strategy<Value = RecordedValue> {
    let bucket = prop_oneof![0_u64..9, any::<u64>(), Just(u64::MAX)];
    let bounds = prop_oneof![
        Just(vec![1.0, 10.0]),
        prop::collection::vec(any::<f64>(), 0..4)
    ];
    prop_oneof![
        any::<f64>().prop_map(RecordedValue::Counter),
        (bounds, prop::collection::vec(bucket, 0..5), any::<f64>()).prop_map(
            |(bounds, buckets, sum)| RecordedValue::Histogram {
                bounds: bounds.into(),
                buckets,
                sum,
            }
        ),
    ]
}

fn any_record() -> impl Strategy<Value = RowRecord> {
    let good = table(100);
    let staged = good.stage(
        &[queued("p", "main", &[0.5]), runs("p", "main", 1.0)],
        |_| ProjectId(1),
        at(0),
    );
    let records: Vec<_> = staged.records().collect();
    let name = prop_oneof![
        Just(None),
        "[a-z_]{0,9}".prop_map(Some),
        Just(Some("age_pipeline_id".to_owned()))
    ];
    let times = (any::<i64>(), any::<i64>(), any::<bool>());
    let label = prop_oneof![Just(None), any::<String>().prop_map(Some)];
    let good = prop::sample::select(records);
    (good, name, any_value(), label, times).prop_map(|(good, name, value, label, times)| {
        let mut record = RowRecord {
            start: UnixSeconds(times.0),
            window: Some(120),
            changed: UnixSeconds(times.1),
            retiring: times.2,
            withdrawn: false,
            value,
            ..good
        };
        if let Some(name) = name {
            record.name = name.into();
        }
        if let Some(label) = label {
            record.labels[0].1 = label.into();
        }
        record
    })
}

proptest! {
    /// A file that was damaged, or written by another program, may hold anything.
    #[test]
    fn whatever_is_remembered_is_taken_or_refused_and_can_be_shown(
        records in prop::collection::vec(any_record(), 1..6),
        committed_at in any::<i64>(),
    ) {
        let table = table(100);
        let remembered = records.len();
        let restored = table.restore(records, UnixSeconds(committed_at), at(1000));
        prop_assert_eq!(restored.rows + restored.refused.len(), remembered);
        for deltas in [vec![], vec![runs("p", "main", 1.0), queued("p", "main", &[0.5])]] {
            count(&table, &deltas, at(1001));
            let mut walk = table.walk(at(5000));
            while walk.next_chunk(100, |_| ControlFlow::Continue(())) {}
        }
    }
}
