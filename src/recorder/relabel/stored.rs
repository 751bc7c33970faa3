//! Rows that were stored under other rules. What was counted without a rule goes on under it, added up; where
//! another rule made labels, what they were is not known any more: these series are reset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{LabelRules, Relabeling, Said, What, kind_of};
use crate::catalogue::{Collector, Desc, FamilyId};
use crate::memory::ProjectMemory;
use crate::series::{RecordedValue, RowKey, RowRecord};
use crate::types::{ProjectId, Text};

/// What a store has to take in.
#[derive(Debug, Default)]
pub(in crate::recorder) struct Relabeled {
    /// Memories that note the rules now.
    pub(in crate::recorder) projects: Vec<(ProjectId, Option<Arc<ProjectMemory>>)>,
    /// Rows with other labels, or another total.
    pub(in crate::recorder) rows: Vec<RowRecord>,
    /// Rows that are no more.
    pub(in crate::recorder) removed: Vec<RowKey>,
}

/// What is done with a row.
enum Fate {
    Stays,
    Reset,
    /// What it names is rewritten by these rules.
    Rewritten {
        jobs: bool,
        refs: bool,
    },
}

impl LabelRules {
    /// Gives what was stored the labels that are shown now, where they were made by other rules.
    pub(in crate::recorder) fn relabel(
        &self,
        projects: &mut [(ProjectId, Arc<ProjectMemory>)],
        rows: &mut Vec<RowRecord>,
    ) -> Relabeled {
        let mut relabeled = Relabeled::default();
        let mut others: BTreeMap<ProjectId, Said> = BTreeMap::new();
        for (id, memory) in projects {
            if memory.labels == *self.text() {
                continue;
            }
            others.insert(*id, Said::of(&memory.labels));
            Arc::make_mut(memory).labels = self.text().clone();
            relabeled.projects.push((*id, Some(Arc::clone(memory))));
        }
        if !others.is_empty() {
            self.relabel_rows(&others, rows, &mut relabeled);
        }
        relabeled
    }

    fn relabel_rows(
        &self,
        others: &BTreeMap<ProjectId, Said>,
        rows: &mut Vec<RowRecord>,
        relabeled: &mut Relabeled,
    ) {
        let now = Said::of(self.text());
        let mut relabeling = Relabeling::new(self);
        let (mut kept, mut moved) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut reset: BTreeMap<String, usize> = BTreeMap::new();
        for mut row in std::mem::take(rows) {
            let family = FamilyId::by_name(&row.name).map(FamilyId::desc);
            let before = others.get(&row.project);
            let (Some(desc), Some(before)) = (family, before) else {
                kept.push(row);
                continue;
            };
            match fate(desc, before, &now) {
                Fate::Stays => kept.push(row),
                Fate::Reset => {
                    *reset.entry(row.name.to_string()).or_default() += 1;
                    relabeled.removed.push(row.key());
                }
                Fate::Rewritten { jobs, refs } => {
                    let mut values: Vec<Text> =
                        row.labels.iter().map(|(_, value)| value.clone()).collect();
                    let is_rewritten = |what| match what {
                        What::Job => jobs,
                        What::Ref => refs,
                    };
                    relabeling.apply(desc, &mut values, is_rewritten);
                    let key = row.key();
                    if values == key.labels {
                        kept.push(row);
                        continue;
                    }
                    relabeled.removed.push(key);
                    for ((_, label), value) in row.labels.iter_mut().zip(values) {
                        *label = value;
                    }
                    moved.push(row);
                }
            }
        }
        for (metric, series) in reset {
            let reason = "the settings labels.* changed";
            tracing::warn!(%metric, series, reason, "series reset");
        }
        let keys: BTreeSet<RowKey> = moved.iter().map(RowRecord::key).collect();
        *rows = added_up(kept, moved);
        let changed = rows.iter().filter(|row| keys.contains(&row.key()));
        relabeled.rows = changed.cloned().collect();
        relabeled.removed.retain(|key| !keys.contains(key));
        if !keys.is_empty() {
            tracing::info!(
                series = keys.len(),
                "series continue with the labels of the settings labels.*"
            );
        }
    }
}

impl Said {
    fn of(text: &Text) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

fn fate(desc: &Desc, before: &Said, now: &Said) -> Fate {
    if desc.collector == Collector::Compat {
        return Fate::Stays;
    }
    let has = |what| desc.labels.iter().any(|label| kind_of(label) == Some(what));
    let changes =
        |what, before: &String, now: &String| (has(what) && before != now, before.is_empty());
    let jobs = changes(What::Job, &before.job_name, &now.job_name);
    let refs = changes(What::Ref, &before.git_ref, &now.git_ref);
    let dropped = (before.drop.get(desc.name), now.drop.get(desc.name));
    let drops = (dropped.0 != dropped.1, dropped.0.is_none());
    let all = [jobs, refs, drops];
    if all.iter().all(|(is_other, _)| !is_other) {
        Fate::Stays
    } else if all
        .iter()
        .any(|(is_other, was_none)| *is_other && !was_none)
    {
        Fate::Reset
    } else {
        Fate::Rewritten {
            jobs: jobs.0,
            refs: refs.0,
        }
    }
}

/// The rows, those of one key as one.
fn added_up(kept: Vec<RowRecord>, moved: Vec<RowRecord>) -> Vec<RowRecord> {
    let mut places: BTreeMap<RowKey, usize> = BTreeMap::new();
    let mut all: Vec<RowRecord> = Vec::with_capacity(kept.len() + moved.len());
    let names: BTreeSet<String> = moved.iter().map(|row| row.name.to_string()).collect();
    for row in kept.into_iter().chain(moved) {
        if !names.contains(&*row.name) {
            all.push(row);
            continue;
        }
        let place = *places.entry(row.key()).or_insert(all.len());
        match all.get_mut(place) {
            Some(known) => add(known, row),
            None => all.push(row),
        }
    }
    all
}

fn add(known: &mut RowRecord, row: RowRecord) {
    known.start = known.start.min(row.start);
    known.changed = known.changed.max(row.changed);
    known.window = known
        .window
        .zip(row.window)
        .map(|(one, other)| one.max(other));
    known.retiring &= row.retiring;
    known.withdrawn &= row.withdrawn;
    match (&mut known.value, row.value) {
        (RecordedValue::Counter(total), RecordedValue::Counter(more)) => *total += more,
        (
            RecordedValue::Histogram {
                bounds,
                buckets,
                sum,
            },
            RecordedValue::Histogram {
                bounds: others,
                buckets: more,
                sum: and,
            },
        ) if *bounds == others && buckets.len() == more.len() => {
            for (bucket, more) in buckets.iter_mut().zip(more) {
                *bucket = bucket.saturating_add(more);
            }
            *sum += and;
        }
        // Other buckets cannot be added: the settings changed these as well, and both are reset.
        _ => {}
    }
}
