//! Behaviour of the table, seen through its walks.

mod churn;
mod life;
mod model;
mod redaction;
mod restart;
mod shards;
mod state;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::{Block, RowValue, RowView, Table, TableSettings, Update, Walk};
use crate::catalogue::buckets::BucketSettings;
use crate::catalogue::instruments::{Change, Delta};
use crate::catalogue::labels::{Labels, RefLabels, RefSourceLabels, RefSourceStatusLabels};
use crate::catalogue::{Collector, Desc, FamilyId, SeriesKey, pipelines};
use crate::clock::UnixSeconds;
use crate::types::ProjectId;

const WINDOW: u64 = 120;

fn table(cardinality_limit: usize) -> Arc<Table> {
    Table::new(&TableSettings {
        birth_window: Duration::from_secs(WINDOW),
        cardinality_limit,
        buckets: BucketSettings {
            pipelines: [1.0, 10.0].into(),
            ..BucketSettings::default()
        },
    })
}

fn at(seconds: i64) -> UnixSeconds {
    UnixSeconds(1_800_000_000 + seconds)
}

fn delta(desc: &Desc, labels: impl Labels, change: Change) -> Delta {
    Delta {
        family: FamilyId::of(desc).unwrap(),
        labels: labels.into_values(),
        change,
    }
}

fn run_labels(project: &str, git_ref: &str) -> RefSourceLabels {
    RefSourceLabels {
        kind: "branch".into(),
        project: project.into(),
        git_ref: git_ref.into(),
        source: "push".into(),
    }
}

/// Pipelines of `project` and `git_ref` created.
fn runs(project: &str, git_ref: &str, count: f64) -> Delta {
    let labels = run_labels(project, git_ref);
    delta(&pipelines::RUN_COUNT.desc, labels, Change::Rise(count))
}

/// One queued duration per value.
fn queued(project: &str, git_ref: &str, values: &[f64]) -> Delta {
    let mut buckets = vec![0; 3];
    for value in values {
        let place = [1.0, 10.0].iter().position(|bound| value <= bound);
        buckets[place.unwrap_or(2)] += 1;
    }
    let change = Change::Histogram {
        count: values.len() as u64,
        sum: values.iter().sum(),
        buckets,
    };
    delta(
        &pipelines::QUEUED_DURATION.desc,
        run_labels(project, git_ref),
        change,
    )
}

fn status(project: &str, git_ref: &str, status: &str, value: f64) -> Delta {
    let labels = RefSourceStatusLabels {
        kind: "branch".into(),
        project: project.into(),
        git_ref: git_ref.into(),
        source: "push".into(),
        status: status.into(),
    };
    delta(&pipelines::STATUS.desc, labels, Change::Level(value))
}

fn newest_id(project: &str, git_ref: &str, id: f64) -> Delta {
    let labels = RefLabels {
        kind: "branch".into(),
        project: project.into(),
        git_ref: git_ref.into(),
    };
    delta(&pipelines::ID.desc, labels, Change::Level(id))
}

fn block(project: u64) -> Block {
    Block {
        project: ProjectId(project),
        collector: Collector::Pipelines,
    }
}

/// Stages and applies changes of counters and histograms.
fn count(table: &Arc<Table>, deltas: &[Delta], now: UnixSeconds) {
    let update = Update {
        rows: table.stage(deltas, |_| ProjectId(1), now),
        ..Update::default()
    };
    table.apply(update, now);
}

fn replace(table: &Arc<Table>, blocks: &[(Block, Vec<Delta>)], now: UnixSeconds) {
    let update = Update {
        blocks: blocks.to_vec(),
        ..Update::default()
    };
    table.apply(update, now);
}

fn initialize(table: &Arc<Table>, initializations: Vec<SeriesKey>, now: UnixSeconds) {
    let update = Update {
        initializations: initializations
            .into_iter()
            .map(|key| (ProjectId(1), key))
            .collect(),
        ..Update::default()
    };
    table.apply(update, now);
}

/// A series in short: name without `age_pipeline_`, label values but kind and source.
fn short(row: &RowView<'_>) -> String {
    let values: Vec<_> = row
        .labels
        .iter()
        .filter(|(name, _)| !matches!(*name, "kind" | "source"))
        .map(|(_, value)| value)
        .collect();
    let name = row.desc.name.trim_start_matches("age_pipeline_");
    format!("{name} {}", values.join(" "))
}

fn shown(value: &RowValue<'_>) -> String {
    match value {
        RowValue::Counter(value) | RowValue::Gauge(value) => value.to_string(),
        RowValue::Histogram {
            buckets,
            sum,
            count,
            ..
        } => format!("{buckets:?} {sum} {count}"),
    }
}

/// The rest of a walk, `chunk` places at a time.
fn finish(mut walk: Walk, chunk: usize) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut visit = |row: &RowView<'_>| {
        let before = seen.insert(short(row), shown(&row.value));
        assert_eq!(before, None, "{} is seen twice", short(row));
        ControlFlow::Continue(())
    };
    while walk.next_chunk(chunk, &mut visit) {}
    seen
}

fn scrape(table: &Arc<Table>, now: UnixSeconds) -> BTreeMap<String, String> {
    finish(table.walk(now), 1000)
}

#[track_caller]
fn assert_shows(table: &Arc<Table>, now: UnixSeconds, expected: &[(&str, &str)]) {
    let expected = expected
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    assert_eq!(scrape(table, now), expected.collect());
}
