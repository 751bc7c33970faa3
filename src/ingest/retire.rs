//! Which series are removed with a ref or a path.

use std::collections::BTreeSet;

use super::measure::names;
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::collector::Measured;
use crate::facts::feed::Feed;
use crate::gitlab::model::Known;
use crate::memory::job_names::JobName;
use crate::memory::parents::{QUIET, Started};
use crate::memory::refs::{RefName, counting_ref_without_kind, is_watched, upstream_counting_ref};
use crate::memory::{ProjectMemory, Subject};
use crate::registry::Projects;
use crate::series::Retirement;
use crate::types::{ProjectId, Text};

/// Forgets the removed refs of a project, and what removed refs started in it; returns the series to
/// retire.
pub(super) fn of_refs(
    projects: &Projects,
    subject: Subject<'_>,
    feed: &Feed,
    removed: &[RefName],
    memory: &mut ProjectMemory,
) -> Vec<Retirement> {
    let after: BTreeSet<RefName> = memory.latest_refs().into_keys().collect();
    let mut retired = refs(subject.project, removed.iter(), &after);
    let pipelines = feed.pipelines.iter().map(|facts| &facts.pipeline);
    memory.source_branches.absorb(pipelines, subject.settings);
    let branches = memory.source_branches.remove_unused(subject, &after);
    retired.extend(counted(subject.project, &branches));
    let went: Vec<&Text> = names(removed).chain(&branches).collect();
    remember(projects, subject, memory, &went, &after);
    retired.extend(parents(projects, subject, feed, memory));
    retired.extend(job_names(subject, feed, memory, &retired));
    retired
}

/// The series of removed refs, and of what they started elsewhere, where no other kind of ref has the name:
/// how `parent_ref` is written does not tell.
fn refs<'a>(
    project: &Text,
    removed: impl Iterator<Item = &'a RefName>,
    after: &BTreeSet<RefName>,
) -> Vec<Retirement> {
    let mut retired = Vec::new();
    for removed in removed {
        retired.push(Retirement::Ref {
            project: project.clone(),
            kind: removed.kind.as_str().into(),
            name: removed.name.clone(),
            plain: removed.without_kind(),
        });
        // As `compat` names a merge request.
        if let Some(number) = removed.merge_request() {
            retired.push(Retirement::Labels(vec![
                ("kind", removed.kind.as_str().into()),
                ("project", project.clone()),
                ("ref", number.to_string().into()),
            ]));
        }
        if !after.iter().any(|left| left.name == removed.name) {
            retired.push(started_by(project, &removed.name));
        }
    }
    retired
}

/// The series of jobs that no pipeline of their ref has had for long. With a ref that was `retired` its jobs are
/// forgotten.
fn job_names(
    subject: Subject<'_>,
    feed: &Feed,
    memory: &mut ProjectMemory,
    retired: &[Retirement],
) -> Vec<Retirement> {
    let ProjectMemory {
        job_names, jobs, ..
    } = memory;
    let desc = &crate::catalogue::jobs::RUN_COUNT.desc;
    job_names.retain_refs(|git_ref| {
        let labels = desc.labels.iter().map(|label| match *label {
            "project" => subject.project.clone(),
            "ref" => git_ref.clone(),
            _ => Text::default(),
        });
        let labels: Vec<Text> = labels.collect();
        !retired.iter().any(|one| one.means(desc, &labels))
    });
    had(subject, feed).for_each(|name| job_names.note(name, subject.now));
    let removed = job_names.remove_unused(subject.now, jobs).into_iter();
    let labels = removed.map(|removed| {
        vec![
            ("job_name", removed.name),
            ("project", subject.project.clone()),
            ("ref", removed.git_ref),
            ("stage", removed.stage),
        ]
    });
    labels.map(Retirement::Labels).collect()
}

/// The jobs of pipelines that were read, by the labels of their series.
fn had(subject: Subject<'_>, feed: &Feed) -> impl Iterator<Item = JobName> {
    let watched = feed.pipelines.iter();
    let watched = watched.filter(move |facts| is_watched(&facts.pipeline, subject.settings));
    watched.flat_map(move |facts| {
        let git_ref = counting_ref_without_kind(&facts.pipeline, subject.settings);
        let jobs = facts.jobs.iter().chain(&facts.bridges).flatten();
        jobs.map(move |job| JobName {
            git_ref: git_ref.clone(),
            stage: job.stage.clone(),
            name: job.name.clone(),
        })
    })
}

/// What a ref started, wherever it runs.
fn started_by(project: &Text, name: &Text) -> Retirement {
    Retirement::Labels(vec![
        ("parent_project", project.clone()),
        ("parent_ref", name.clone()),
    ])
}

/// The series of merge requests that were counted under these names.
fn counted<'a>(project: &'a Text, names: &'a [Text]) -> impl Iterator<Item = Retirement> + 'a {
    names.iter().flat_map(|name| {
        let labels = vec![("project", project.clone()), ("ref", name.clone())];
        [Retirement::Labels(labels), started_by(project, name)]
    })
}

/// Remembers the removed names that series elsewhere carry.
fn remember(
    projects: &Projects,
    subject: Subject<'_>,
    memory: &mut ProjectMemory,
    went: &[&Text],
    after: &BTreeSet<RefName>,
) {
    let ProjectMemory {
        removed_refs,
        source_branches,
        child_pipelines,
        ..
    } = memory;
    let is_named = !went.is_empty()
        && (projects.is_named_elsewhere(subject.id)
            || child_pipelines.names_from_elsewhere(subject.id, subject.id));
    let went = went.iter().copied().filter(|_| is_named);
    let is_back =
        |name: &Text| after.iter().any(|left| left.name == *name) || source_branches.names(name);
    removed_refs.update(went, is_back, subject.now);
}

/// Forgets what removed refs started: in the memory what is shown of it, and its series. Reading it
/// again does not bring them back.
fn parents(
    projects: &Projects,
    subject: Subject<'_>,
    feed: &Feed,
    memory: &mut ProjectMemory,
) -> Vec<Retirement> {
    let mut retired = quiet_parents(projects, subject, feed, memory);
    let own = (memory.removed_refs.clone(), memory.read_to());
    let is_removed = |parent: ProjectId, name: &Text, created: UnixSeconds| {
        let known = if parent == subject.id {
            Some((&own.0, own.1))
        } else {
            projects.removed_refs(parent)
        };
        // A ref that came back since may have started it: the parent's next poll shows that.
        known.is_some_and(|(removed, read_to)| {
            removed
                .since(name)
                .is_some_and(|since| created <= since.max(read_to))
        })
    };
    let mut removed = memory.child_pipelines.forget_parents(is_removed);
    for facts in &feed.pipelines {
        if let Known::Value(upstream) = &facts.pipeline.upstream {
            let name = upstream_counting_ref(upstream, subject.settings);
            if is_removed(upstream.project_id, &name, facts.pipeline.created_at) {
                removed.insert((upstream.project_id, name));
            }
        }
    }
    let unknown = Text::default();
    retired.extend(
        removed
            .iter()
            .map(|(parent, name)| started_by(&subject.path_of(*parent, &unknown), name)),
    );
    retired
}

/// Forgets what refs of other projects started here, where they have started nothing for long and no
/// tracked project watches them.
fn quiet_parents(
    projects: &Projects,
    subject: Subject<'_>,
    feed: &Feed,
    memory: &mut ProjectMemory,
) -> Vec<Retirement> {
    let ProjectMemory {
        parents,
        child_pipelines,
        ..
    } = memory;
    let is_there = |parent: ProjectId, name: &Text| projects.has_ref(parent, name);
    let watched = feed.pipelines.iter();
    let watched = watched.filter(|facts| is_watched(&facts.pipeline, subject.settings));
    parents.absorb(subject, watched.flat_map(|facts| facts.upstreams(subject)));
    child_pipelines.forget_quiet(subject.id, subject.now.minus(QUIET), is_there);
    // Two projects that start pipelines in one that is not tracked share what these start.
    let is_shared = |started: &Started| {
        let mut others = projects.iter().filter(|(id, _)| *id != subject.id);
        others.any(|(_, other)| other.memory().parents.is_live(started, subject.now))
    };
    let removed = parents.remove_unused(subject.now, |parent, started| {
        let name = &started.parent_ref;
        child_pipelines.is_newest_from(parent, name) || is_there(parent, name) || is_shared(started)
    });
    let labels = |removed: Started| {
        vec![
            ("parent_project", removed.parent_project),
            ("parent_ref", removed.parent_ref),
            ("project", removed.project),
        ]
    };
    removed
        .into_iter()
        .map(labels)
        .map(Retirement::Labels)
        .collect()
}

/// The series of a project under a path that it does not have any more.
pub(super) fn path(path: &Text) -> [Retirement; 2] {
    ["project", "parent_project"].map(|label| Retirement::Labels(vec![(label, path.clone())]))
}

/// Reading a removed ref again does not bring its series back; an event on it does. It has no states.
pub(super) fn withhold_initializations(
    measured: &mut [(Collector, Measured)],
    retirements: &[Retirement],
) {
    if retirements.is_empty() {
        return;
    }
    let stays = |desc, labels: &[Text]| {
        let mut removed = retirements.iter();
        !removed.any(|retirement| retirement.means(desc, labels))
    };
    for (_, measured) in measured {
        let Measured {
            initializations,
            states,
            ..
        } = measured;
        initializations.retain(|key| stays(key.desc, &key.labels));
        states.retain(|state| stays(state.desc, &state.labels));
    }
}
