//! Lets the collectors measure what was read of a project.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::record::Read;
use super::registry::{Entry, Registry};
use super::{Shared, retire};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::collector::refs::{Candidate, RefName, is_gone};
use crate::collector::{Feed, Measured, Subject};
use crate::project::ProjectMemory;
use crate::recorder::{ProjectRun, Recorder};
use crate::source::{Facts, Tracked, Unavailable};
use crate::types::Text;

/// States are measured again at least this often: ages move though nothing else does.
const MEASURE_INTERVAL: Duration = Duration::from_secs(600);

/// Lets the collectors measure; nothing when nothing moved and the states are fresh.
pub(super) fn measure(
    shared: &Shared,
    recorder: &Recorder,
    (registry, entry): (&Registry, &Entry),
    read: &Read,
    paths: &Tracked,
    now: UnixSeconds,
) -> Option<ProjectRun> {
    let fresh = entry
        .measured_at
        .is_some_and(|at| now.since(at) < MEASURE_INTERVAL);
    let mut memory = ProjectMemory::clone(&entry.memory);
    let mut path = entry.project.full_path.clone();
    let feed = match read {
        Read::Feed(read) => {
            let has_moved = read.project.full_path != path;
            if read.quiet && fresh && !has_moved {
                return None;
            }
            path = read.project.full_path.clone();
            memory.feed.clone_from(&read.state);
            read.feed.clone()
        }
        Read::Other(_) => return None,
        Read::Refs(read) => {
            memory.refs = read.state.clone();
            memory.refs_seen = read.seen.clone();
            let followed = memory
                .feed
                .iter()
                .flat_map(|feed| feed.followed.keys().copied());
            Feed {
                pipelines: read.found.clone(),
                followed: followed.collect(),
                deleted: read.deleted.clone(),
            }
        }
    };
    memory.path = path.clone();
    if let Read::Feed(read) = read {
        memory.role = read.project.role.value();
    }
    let mut refs = memory.latest_refs();
    for facts in &feed.pipelines {
        let latest = refs.entry(RefName::of(&facts.pipeline)).or_default();
        *latest = facts.pipeline.created_at.max(*latest);
    }
    let seen = memory.refs_seen.clone();
    let subject = Subject {
        id: entry.project.id,
        project: &path,
        paths,
        settings: &entry.settings,
        max_pipelines_per_ref: shared.max_pipelines_per_ref,
        refs: &seen,
        tier: entry.tier.unwrap_or_default(),
        now,
    };
    let mut measured = shared.collectors.measure(subject, &feed, &mut memory);
    let after: BTreeSet<RefName> = memory.latest_refs().into_keys().collect();
    // What ended on a ref that was let go before has shown its series again.
    refs.retain(|name, newest| {
        let newest = *newest;
        !after.contains(name) && is_gone(Candidate { name, newest }, &entry.settings, &seen)
    });
    let mut retirements = retire::refs(&path, refs.keys(), &after);
    memory.source_branches.absorb(&feed, &entry.settings);
    let branches = memory.source_branches.let_go(subject, &after);
    retirements.extend(retire::counted(&path, &branches));
    let went: Vec<&Text> = refs
        .keys()
        .map(|gone| &gone.name)
        .chain(&branches)
        .collect();
    retire::remember(registry, subject, &mut memory, &went, &after);
    retirements.extend(retire::parents(registry, subject, &feed, &mut memory));
    retire::withhold_births(&mut measured, &retirements);
    let mut births = Vec::new();
    if path != entry.project.full_path {
        tracing::info!(from = %entry.project.full_path, to = %path, "a project has a new path");
        births = recorder.renamed(&entry.project.full_path, &path);
        // What other sources measured bears the old path: it comes again at their next look.
        measured.extend(shared.others.iter().flat_map(|other| {
            let collectors = other.collectors().iter();
            collectors.map(|collector| (*collector, Measured::default()))
        }));
        retirements.extend(retire::path(&entry.project.full_path));
    }
    Some(ProjectRun {
        project: entry.project.id,
        memory: Some(Arc::new(memory)),
        measured,
        births,
        retirements,
    })
}

/// Lets the collectors of another source measure; with what each of them lacks.
pub(super) fn measure_other(
    shared: &Shared,
    entry: &Entry,
    facts: &dyn Facts,
    paths: &Tracked,
    now: UnixSeconds,
) -> (ProjectRun, Vec<(Collector, Option<Unavailable>)>) {
    let mut memory = ProjectMemory::clone(&entry.memory);
    let subject = Subject {
        id: entry.project.id,
        project: &entry.project.full_path,
        paths,
        settings: &entry.settings,
        max_pipelines_per_ref: shared.max_pipelines_per_ref,
        refs: &entry.memory.refs_seen,
        tier: entry.tier.unwrap_or_default(),
        now,
    };
    let mut run = ProjectRun {
        project: entry.project.id,
        memory: None,
        measured: Vec::new(),
        births: Vec::new(),
        retirements: Vec::new(),
    };
    let mut unavailable = Vec::new();
    for measures in facts.measure(subject, &mut memory) {
        let collector = measures.collector;
        unavailable.push((collector, measures.unavailable));
        run.measured.push((collector, measures.measured));
        run.retirements.extend(measures.retirements);
    }
    retire::withhold_births(&mut run.measured, &run.retirements);
    run.memory = Some(Arc::new(memory));
    (run, unavailable)
}
