//! Lets the collectors measure what was read of a project.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Ingest, retire};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::collector::{Measured, Measures};
use crate::facts::feed::Feed;
use crate::facts::{Facts, Unavailable};
use crate::memory::refs::{Candidate, RefName, RefsSeen, is_removed};
use crate::memory::{ProjectMemory, Subject};
use crate::recorder::{ProjectRun, Recorder};
use crate::registry::{Entry, Projects};
use crate::source::Tracked;
use crate::types::Text;

/// States are measured again at least this often: ages move though nothing else does.
const MEASURE_INTERVAL: Duration = Duration::from_secs(600);

/// A run to be recorded, and why each of its collectors has nothing, if so.
type MeasuredRun = (ProjectRun, Vec<(Collector, Option<Unavailable>)>);

/// Lets the collectors measure; nothing when nothing moved and the states are fresh.
pub(super) fn measure(
    ingest: &Ingest,
    recorder: &Recorder,
    (projects, entry): (&Projects, &Entry),
    facts: &Facts,
    paths: &Tracked,
    now: UnixSeconds,
) -> Option<MeasuredRun> {
    let before = &entry.project().full_path;
    let path = match facts {
        Facts::Feed(read) => {
            let is_fresh = entry
                .measured_at()
                .is_some_and(|at| now.since(at) < MEASURE_INTERVAL);
            let was_unavailable = entry.unavailable().contains_key(&Collector::Pipelines);
            let is_same =
                read.project.full_path == *before && read.unavailable.is_some() == was_unavailable;
            if read.quiet && is_fresh && is_same {
                return None;
            }
            read.project.full_path.clone()
        }
        _ => before.clone(),
    };
    let mut memory = ProjectMemory::clone(entry.memory());
    let feed = facts.note_progress(&mut memory);
    let seen = memory.refs_seen.clone();
    let rules = ingest.rules();
    let subject = Subject {
        id: entry.id(),
        project: &path,
        paths,
        settings: entry.settings(),
        max_pipelines_per_ref: rules.max_pipelines_per_ref,
        refs: &seen,
        tier: entry.tier().unwrap_or_default(),
        now,
    };
    let refs = feed.as_ref().map(|feed| latest_refs(&memory, feed));
    let mut run = ProjectRun {
        project: entry.id(),
        memory: None,
        measured: Vec::new(),
        initializations: Vec::new(),
        retirements: Vec::new(),
    };
    let mut unavailable = Vec::new();
    for measures in rules
        .collectors
        .measure(subject, facts, feed.as_ref(), &mut memory)
    {
        let Measures {
            collector,
            measured,
            retirements,
            unavailable: why,
        } = measures;
        // Of what cannot be read there is no state; what was counted stays.
        let is_unavailable = match facts {
            Facts::Feed(read) => read.unavailable.is_some(),
            _ if collector == Collector::Compat => {
                entry.unavailable().contains_key(&Collector::Pipelines)
            }
            _ => feed.is_some() && entry.unavailable().contains_key(&collector),
        };
        let measured = match is_unavailable {
            true => Measured {
                states: Vec::new(),
                ..measured
            },
            false => measured,
        };
        let of = (&*ingest.observer, collector, &*path);
        let measured = ingest.implausible.filter(of, measured, now);
        if collector != Collector::Compat {
            unavailable.push((collector, why));
        }
        run.measured.push((collector, measured));
        run.retirements.extend(retirements);
    }
    if let (Some(feed), Some(refs)) = (&feed, refs) {
        memory.path = path.clone();
        let removed = removed_refs(&refs, &memory, subject, &seen);
        let retired = retire::of_refs(projects, subject, feed, &removed, &mut memory);
        run.retirements.extend(retired);
    }
    retire::withhold_initializations(&mut run.measured, &run.retirements);
    if path != *before {
        ingest.renames().push((before.clone(), path.clone()));
        run.initializations = recorder.renamed(before, &path);
        // What other sources measured carries the old path: it comes again with their next run.
        let others = rules.others.iter();
        run.measured
            .extend(others.map(|collector| (*collector, Measured::default())));
        run.retirements.extend(retire::path(before));
    }
    memory.labels = recorder.labels().clone();
    run.memory = Some(Arc::new(memory));
    Some((run, unavailable))
}

/// The refs that something is remembered of or was read of, and when the newest pipeline of each
/// was created.
fn latest_refs(memory: &ProjectMemory, feed: &Feed) -> BTreeMap<RefName, UnixSeconds> {
    let mut refs = memory.latest_refs();
    for facts in &feed.pipelines {
        let latest = refs.entry(RefName::of(&facts.pipeline)).or_default();
        *latest = facts.pipeline.created_at.max(*latest);
    }
    refs
}

/// The earlier refs that were removed and of which nothing is remembered any more. What ended on a
/// ref that was removed before has shown its series again.
fn removed_refs(
    before: &BTreeMap<RefName, UnixSeconds>,
    memory: &ProjectMemory,
    subject: Subject<'_>,
    seen: &RefsSeen,
) -> Vec<RefName> {
    let after: BTreeSet<RefName> = memory.latest_refs().into_keys().collect();
    let removed = before.iter().filter(|(name, newest)| {
        let newest = **newest;
        !after.contains(name) && is_removed(Candidate { name, newest }, subject.settings, seen)
    });
    removed.map(|(name, _)| name.clone()).collect()
}

/// A name as a retirement knows it.
pub(super) fn names(removed: &[RefName]) -> impl Iterator<Item = &Text> {
    removed.iter().map(|removed| &removed.name)
}
