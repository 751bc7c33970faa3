//! Shards: what is shown under a lease, and handed over with its values.

use std::time::Duration;

use super::super::Delivery;
use super::*;
use crate::shards::{Moment, Shard, ShardSet};

const HOUR: Duration = Duration::from_secs(3600);

fn shard(project: u64) -> Shard {
    Shard::of(ProjectId(project))
}

fn only(project: u64) -> ShardSet {
    [shard(project)].into_iter().collect()
}

/// A counter and a gauge of projects 1 and 2, which lie in different shards.
fn of_two() -> Arc<Table> {
    assert_ne!(shard(1), shard(2));
    let table = table(100);
    for project in [1, 2] {
        let name = format!("p{project}");
        let rows = table.stage(&[runs(&name, "main", 3.0)], |_| ProjectId(project), at(0));
        let update = Update {
            rows,
            blocks: vec![(block(project), vec![newest_id(&name, "main", 7.0)])],
            ..Update::default()
        };
        table.apply(update, at(0));
    }
    table
}

const ONE: [(&str, &str); 2] = [("id p1 main", "7"), ("run_count p1 main", "3")];
const TWO: [(&str, &str); 2] = [("id p2 main", "7"), ("run_count p2 main", "3")];

fn leased(table: &Arc<Table>, project: u64, until: Moment) {
    let leases = table.leases();
    leases.extend(shard(project), 1, until, Duration::ZERO);
}

#[test]
fn what_is_not_leased_is_not_shown() {
    let table = of_two();
    let later = at(1000);
    assert_shows(&table, later, &[&ONE[..], &TWO[..]].concat());
    table.leases().clear();
    assert_shows(&table, later, &[]);
    leased(&table, 1, Moment::now().plus(HOUR));
    assert_shows(&table, later, &ONE);
}

#[test]
fn a_lease_that_ends_hides_its_shard_from_a_walk_under_way() {
    let table = of_two();
    let mut walk = table.walk(at(1000));
    let mut seen = 0;
    let mut visit = |_: &RowView<'_>| {
        seen += 1;
        ControlFlow::Break(())
    };
    assert!(walk.next_chunk(1000, &mut visit));
    table.leases().clear();
    assert_eq!((seen, finish(walk, 1000).len()), (1, 0));
}

#[test]
fn a_shard_goes_on_elsewhere_with_its_totals_and_nothing_is_reported_as_removed() {
    let table = of_two();
    drop(table.push_walk(at(900)));
    let records = table.records(only(1));
    table.release(only(1), at(1000));
    assert_shows(&table, at(1000), &TWO);
    let (_walk, removed) = table.push_walk(at(1001));
    assert_eq!(removed, []);
    // What was committed as shown is shown at once, as are new totals.
    let taker = of_two();
    taker.release(only(1), at(1000));
    let restored = taker.adopt(only(1), records, at(1000), at(1002));
    assert_eq!((restored.rows, restored.reinitialized), (1, Vec::new()));
    assert_shows(&taker, at(1002), &[&ONE[1..], &TWO[..]].concat());
}

/// The clock of the replica before was ahead by a minute.
#[test]
fn what_was_shown_elsewhere_is_not_at_zero_when_the_own_clock_comes_there() {
    let records = of_two().records(only(1));
    let over = at(0).plus(Duration::from_secs(WINDOW));
    for taken in [-60, 0] {
        let taker = table(100);
        taker.adopt(only(1), records.clone(), over, at(taken));
        for now in [taken, 0, 1, 60] {
            assert_shows(&taker, at(now), &ONE[1..]);
        }
    }
}

/// A shard that is taken over cuts no initial zero of another short.
#[test]
fn initial_zeros_of_other_shards_stay() {
    let table = table(100);
    table.set_birth_window(Delivery::Scrape, Duration::from_secs(60), at(-1));
    let rows = table.stage(&[runs("p2", "main", 3.0)], |_| ProjectId(2), at(0));
    let update = Update {
        rows,
        ..Update::default()
    };
    table.apply(update, at(0));
    table.adopt(only(1), Vec::new(), at(10), at(10));
    assert_shows(&table, at(20), &[("run_count p2 main", "0")]);
    assert_shows(&table, at(60), &[("run_count p2 main", "3")]);
}

/// Each shard has its own time of the last commit.
#[test]
fn a_value_is_shown_once_its_own_shard_has_committed_it() {
    let table = table(100);
    for project in [1, 2] {
        table.adopt(only(project), Vec::new(), at(0), at(0));
        let deltas = [runs(&format!("p{project}"), "main", 1.0)];
        let rows = table.stage(&deltas, |_| ProjectId(project), at(10));
        let update = Update {
            rows,
            ..Update::default()
        };
        table.apply(update, at(10));
    }
    let over = at(10).plus(Duration::from_secs(WINDOW));
    table.note_commit(only(1), over);
    let expected = [("run_count p1 main", "1"), ("run_count p2 main", "0")];
    assert_shows(&table, over, &expected);
    let later = over.plus(HOUR);
    assert_eq!(table.uncommitted_zeros(later), only(2));
}

#[test]
fn runners_belong_to_the_whole_instance() {
    let runners = Block {
        project: ProjectId(1),
        collector: Collector::Runners,
    };
    assert_eq!(runners.shard(), Shard::INSTANCE);
    assert_eq!(block(1).shard(), shard(1));
}

/// Blocks come and go at each poll of what has no states: their numbers are used again.
#[test]
fn blocks_without_gauges_use_up_no_numbers() {
    let table = of_two();
    for _ in 0..1000 {
        replace(&table, &[(block(3), Vec::new())], at(0));
    }
    replace(
        &table,
        &[(block(3), vec![newest_id("p3", "main", 1.0)])],
        at(0),
    );
    replace(&table, &[(block(1), Vec::new())], at(0));
    let shown = [TWO[0], ("id p3 main", "1"), ONE[1], TWO[1]];
    assert_shows(&table, at(1000), &shown);
}
