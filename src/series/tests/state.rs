//! State blocks, what walks under way see, and removals for the push.

use super::super::RemovedRow;
use super::*;

#[test]
fn a_block_is_replaced_as_a_whole() {
    let table = table(100);
    let first = vec![
        status("p", "main", "running", 1.0),
        newest_id("p", "old", 1.0),
    ];
    replace(&table, &[(block(1), first)], at(0));
    replace(
        &table,
        &[(block(2), vec![newest_id("q", "main", 9.0)])],
        at(0),
    );
    let second = vec![
        status("p", "main", "success", 1.0),
        newest_id("p", "new", 2.0),
    ];
    replace(&table, &[(block(1), second)], at(1));
    let expected = [
        ("id p new", "2"),
        ("id q main", "9"),
        ("status p main success", "1"),
    ];
    assert_shows(&table, at(1), &expected);
    replace(&table, &[(block(1), vec![])], at(2));
    assert_shows(&table, at(2), &[("id q main", "9")]);
}

#[test]
fn a_gauge_claimed_by_two_blocks_belongs_to_the_last() {
    let table = table(100);
    replace(
        &table,
        &[(block(1), vec![newest_id("p", "main", 1.0)])],
        at(0),
    );
    replace(
        &table,
        &[(block(2), vec![newest_id("p", "main", 2.0)])],
        at(1),
    );
    assert_shows(&table, at(1), &[("id p main", "2")]);
    // The older block gives up what is no longer its own.
    replace(&table, &[(block(1), vec![])], at(2));
    assert_shows(&table, at(2), &[("id p main", "2")]);
    replace(&table, &[(block(2), vec![])], at(3));
    assert_shows(&table, at(3), &[]);
    // In one update, whichever comes first.
    replace(
        &table,
        &[(block(1), vec![newest_id("p", "main", 1.0)])],
        at(4),
    );
    let moved = vec![
        (block(1), vec![]),
        (block(2), vec![newest_id("p", "main", 3.0)]),
    ];
    replace(&table, &moved, at(5));
    assert_shows(&table, at(5), &[("id p main", "3")]);
    let moved = vec![
        (block(1), vec![newest_id("p", "main", 4.0)]),
        (block(2), vec![]),
    ];
    replace(&table, &moved, at(6));
    assert_shows(&table, at(6), &[("id p main", "4")]);
}

#[test]
fn blocks_take_gauges_only() {
    let table = table(100);
    replace(
        &table,
        &[(
            block(1),
            vec![runs("p", "main", 1.0), newest_id("p", "main", 1.0)],
        )],
        at(0),
    );
    assert!(
        table
            .stage(&[newest_id("p", "main", 1.0)], |_| ProjectId(1), at(0))
            .is_empty()
    );
    assert_shows(&table, at(0), &[("id p main", "1")]);
}

/// A walk that has seen `rows` places already.
fn walk_begun(table: &Arc<Table>, rows: usize, now: UnixSeconds) -> (Walk, Vec<String>) {
    let mut walk = table.walk(now);
    let mut seen = Vec::new();
    walk.next_chunk(usize::MAX, |row| {
        seen.push(format!("{} {}", short(row), shown(&row.value)));
        if seen.len() == rows {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    (walk, seen)
}

#[test]
fn a_walk_sees_the_states_of_its_moment_whatever_happens_meanwhile() {
    let table = table(100);
    let states = |running: f64, success: f64| {
        vec![(
            block(1),
            vec![
                status("p", "a", "running", running),
                status("p", "a", "success", success),
            ],
        )]
    };
    replace(&table, &states(1.0, 0.0), at(0));
    let (walk, seen) = walk_begun(&table, 1, at(0));
    assert_eq!(seen, ["status p a running 1"]);
    // A flip in the middle, and a second walk, and another flip.
    replace(&table, &states(0.0, 1.0), at(1));
    let second = table.walk(at(1));
    replace(&table, &states(1.0, 0.0), at(2));
    replace(&table, &[(block(1), vec![])], at(3));
    assert_eq!(
        finish(walk, 1),
        BTreeMap::from([("status p a success".into(), "0".into())])
    );
    let flipped = [("status p a running", "0"), ("status p a success", "1")];
    let flipped = flipped.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(finish(second, 1), BTreeMap::from(flipped));
    assert_shows(&table, at(3), &[]);
}

#[test]
fn rows_added_and_removed_during_a_walk_neither_double_nor_hide_others() {
    let table = table(10_000);
    let many = |range: std::ops::Range<u32>| -> Vec<Delta> {
        range
            .map(|n| newest_id("p", &format!("ref-{n}"), n.into()))
            .collect()
    };
    replace(&table, &[(block(1), many(0..1000))], at(0));
    let expected = scrape(&table, at(0));
    let (walk, seen) = walk_begun(&table, 500, at(0));
    // Places that walks under way still see are not given to others.
    for round in 1..=20_u32 {
        replace(
            &table,
            &[(block(1), many(round * 50..1000 + round * 50))],
            at(1),
        );
    }
    let mut all = finish(walk, 7);
    for row in seen {
        let (key, value) = row.rsplit_once(' ').unwrap();
        assert_eq!(all.insert(key.into(), value.into()), None);
    }
    assert_eq!(all, expected);
    assert_eq!(scrape(&table, at(1)).len(), 1000);
    // Without walks, the next change gives the memory back.
    replace(&table, &[(block(1), many(0..10))], at(2));
    assert_eq!(table.size().rows, 10);
}

#[test]
fn memory_stays_bounded_while_walks_overlap() {
    let table = table(10_000);
    let mut walk = table.walk(at(0));
    for round in 0..200_u32 {
        let states = (0..50)
            .map(|n| newest_id("p", &format!("{round}-{n}"), 1.0))
            .collect();
        replace(&table, &[(block(1), states)], at(1));
        // Walks overlap, so that there is never none.
        let next = table.walk(at(1));
        drop(std::mem::replace(&mut walk, next));
    }
    assert!(table.size().rows <= 200, "{:?}", table.size());
    drop(walk);
}

fn removed(rows: &[RemovedRow]) -> Vec<String> {
    let row = |row: &RemovedRow| format!("{} {}", row.family.desc().name, row.labels.join(" "));
    rows.iter().map(row).collect()
}

#[test]
fn a_push_gets_the_removed_series_that_did_not_come_back() {
    let table = table(100);
    replace(
        &table,
        &[(block(1), vec![newest_id("p", "before", 1.0)])],
        at(0),
    );
    // Nothing is noted until the first push.
    replace(
        &table,
        &[(
            block(1),
            vec![newest_id("p", "a", 1.0), newest_id("p", "b", 1.0)],
        )],
        at(0),
    );
    let (_, rows) = table.push_walk(at(0));
    assert_eq!(removed(&rows), Vec::<String>::new());

    replace(&table, &[(block(1), vec![])], at(1));
    replace(&table, &[(block(1), vec![newest_id("p", "a", 2.0)])], at(2));
    let (walk, rows) = table.push_walk(at(2));
    assert_eq!(removed(&rows), ["age_pipeline_id branch p b"]);
    assert_eq!(finish(walk, 100).len(), 1);

    // After a failed push they are reported again, unless they came back.
    table.put_back_removed(rows);
    let (_, rows) = table.push_walk(at(3));
    assert_eq!(removed(&rows), ["age_pipeline_id branch p b"]);
    table.put_back_removed(rows);
    replace(&table, &[(block(2), vec![newest_id("p", "b", 2.0)])], at(4));
    assert_eq!(table.push_walk(at(4)).1, []);
}

#[test]
fn a_removed_histogram_is_reported_with_its_bounds() {
    let table = table(100);
    drop(table.push_walk(at(0)));
    count(&table, &[queued("p", "main", &[1.0])], at(0));
    table.retire_project(ProjectId(1), "p".into(), at(0));
    table.sweep(at(500));
    let (_, rows) = table.push_walk(at(500));
    assert_eq!(
        removed(&rows),
        ["age_pipeline_queued_duration_seconds branch p main push"]
    );
    assert_eq!(*rows[0].bounds, [1.0, 10.0]);
}

#[test]
fn a_value_that_changes_during_a_walk_is_no_removal() {
    let table = table(100);
    replace(
        &table,
        &[(block(1), vec![newest_id("p", "main", 1.0)])],
        at(0),
    );
    let (walk, _) = table.push_walk(at(0));
    replace(
        &table,
        &[(block(1), vec![newest_id("p", "main", 2.0)])],
        at(1),
    );
    drop(walk);
    assert_eq!(table.push_walk(at(2)).1, []);
}

#[test]
fn a_series_removed_twice_between_two_pushes_is_reported_once() {
    let table = table(100);
    drop(table.push_walk(at(0)));
    for _ in 0..2 {
        replace(
            &table,
            &[(block(1), vec![newest_id("p", "main", 1.0)])],
            at(1),
        );
        replace(&table, &[(block(1), vec![])], at(2));
    }
    let (_walk, removed) = table.push_walk(at(3));
    assert_eq!(removed.len(), 1, "{removed:?}");
}
