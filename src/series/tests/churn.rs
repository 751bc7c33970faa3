//! Days of branches coming and going end with the memory they began with.

use super::*;

#[test]
fn memory_returns_after_ten_thousand_initializations_and_removals() {
    let table = table(1_000_000);
    let kept = [runs("p", "main", 1.0), queued("p", "main", &[1.0])];
    count(&table, &kept, at(0));
    replace(
        &table,
        &[(block(1), vec![newest_id("p", "main", 1.0)])],
        at(0),
    );
    let begin = table.size();
    assert_eq!((begin.rows, begin.label_sets, begin.blocks), (3, 2, 1));
    let text = |n: u64, round: u64| format!("feature/{round}-{n}");

    for round in 0..10_u64 {
        let now = at(i64::try_from(round).unwrap() * 10_000);
        for project in 2..12 {
            let path = format!("project-{project}");
            let refs: Vec<_> = (0..100).map(|n| text(n, round * 100 + project)).collect();
            let deltas: Vec<_> = refs
                .iter()
                .flat_map(|name| [runs(&path, name, 1.0), queued(&path, name, &[1.0])])
                .collect();
            count(&table, &deltas, now);
            let states = refs
                .iter()
                .map(|name| newest_id(&path, name, 1.0))
                .collect();
            replace(&table, &[(block(project), states)], now);
        }
        assert_eq!(table.size().rows, 3 + 10 * 100 * 3);
        for project in 2..12 {
            table.retire_project(ProjectId(project), format!("project-{project}").into(), now);
        }
        assert_eq!(table.sweep(now.plus(Duration::from_secs(1000))), 2000);
        assert_eq!(table.size(), begin, "round {round}");
    }
    let shown = scrape(&table, at(200_000));
    assert_eq!(shown["run_count p main"], "1");
    assert_eq!(shown.len(), 3);
}

#[test]
fn neighbours_keep_their_values_when_rows_move() {
    let table = table(1_000_000);
    let deltas: Vec<_> = (0..500)
        .flat_map(|n| {
            let name = format!("r{n}");
            [
                runs("p", &name, f64::from(n)),
                queued("p", &name, &vec![0.5; n as usize]),
            ]
        })
        .collect();
    count(&table, &deltas, at(0));
    for n in (0..500).filter(|n| n % 3 != 0) {
        table.retire(vec![("ref", format!("r{n}").into())], at(300));
    }
    assert_eq!(table.sweep(at(300)), 2 * 333);
    let shown = scrape(&table, at(300));
    assert_eq!(shown.len(), 2 * 167);
    for n in (0..500).step_by(3) {
        assert_eq!(shown[&format!("run_count p r{n}")], n.to_string());
        let half = f64::from(n) / 2.0;
        let histogram = format!("[{n}, 0, 0] {half} {n}");
        assert_eq!(shown[&format!("queued_duration_seconds p r{n}")], histogram);
    }
    // And they can still be found.
    count(&table, &[runs("p", "r498", 1.0)], at(301));
    assert_eq!(scrape(&table, at(301))["run_count p r498"], "499");
}
