//! What no label may show.

use super::*;
use crate::series::Redaction;

fn redacting() -> Arc<Table> {
    let settings = TableSettings {
        birth_window: Duration::from_secs(WINDOW),
        cardinality_limit: 100,
        buckets: BucketSettings::default(),
    };
    let redaction = Redaction::new(|text| {
        let shown = text.replace("glpat-secret", "[redacted]");
        (shown != text).then_some(shown)
    });
    Table::redacting(&settings, redaction)
}

#[test]
fn a_label_that_echoes_a_token_is_shown_without_it_and_counts_on() {
    let table = redacting();
    let project = |_: &Delta| ProjectId(1);
    for time in 0..3 {
        let rise = runs("group/app", "fix-glpat-secret", 1.0);
        let rows = table.stage(&[rise], project, at(time));
        let remembered = format!("{rows:?}");
        assert!(!remembered.contains("glpat-secret"), "{remembered}");
        let gauge = delta(
            &pipelines::ID.desc,
            RefLabels {
                kind: "branch".into(),
                project: "group/app".into(),
                git_ref: "fix-glpat-secret".into(),
            },
            Change::Level(7.0),
        );
        let block = Block {
            project: ProjectId(1),
            collector: Collector::Pipelines,
        };
        let update = Update {
            rows,
            blocks: vec![(block, vec![gauge])],
            ..Update::default()
        };
        table.apply(update, at(time));
    }
    let seen = finish(table.walk(at(1000)), 10);
    assert_eq!(seen.len(), 2, "{seen:?}");
    for labels in seen.keys() {
        assert!(labels.contains("fix-[redacted]"), "{seen:?}");
    }
    let text = format!("{seen:?}");
    assert!(!text.contains("glpat-secret"), "{text}");
    let counted = seen.iter().find(|(name, _)| name.contains("run_count"));
    assert_eq!(
        counted.map(|(_, value)| value.as_str()),
        Some("3"),
        "{text}"
    );
}
