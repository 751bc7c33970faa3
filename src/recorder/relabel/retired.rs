//! What is retired, by the labels that are shown: a series goes with the last of those that are one in it.

use super::Relabeling;
use crate::catalogue::{FamilyId, Kind};
use crate::memory::ProjectMemory;
use crate::recorder::ProjectRun;
use crate::series::Retirement;
use crate::types::Text;

/// Labels and values.
type Labels = Vec<(&'static str, Text)>;

/// What a project still has: how it is called, and how it is shown.
#[derive(Default)]
struct Living {
    /// Labels of refs with `kind`, of refs without, of jobs, and of what started pipelines.
    subjects: Vec<(Labels, Labels)>,
}

impl Living {
    fn of(memory: &ProjectMemory, relabeling: &mut Relabeling<'_>) -> Self {
        let project = || ("project", memory.path.clone());
        let mut all: Vec<Labels> = Vec::new();
        for name in memory.latest_refs().into_keys() {
            let kind: Text = name.kind.as_str().into();
            all.push(vec![("kind", kind), project(), ("ref", name.name.clone())]);
            all.push(vec![project(), ("ref", name.without_kind())]);
            all.push(started_by(&memory.path, &name.name));
        }
        for name in memory.source_branches.0.keys() {
            all.push(vec![project(), ("ref", name.clone())]);
            all.push(started_by(&memory.path, name));
        }
        for job in memory.job_names.0.keys() {
            all.push(vec![
                ("job_name", job.name.clone()),
                project(),
                ("ref", job.git_ref.clone()),
                ("stage", job.stage.clone()),
            ]);
        }
        for started in memory.parents.0.keys() {
            all.push(started_by(&started.parent_project, &started.parent_ref));
        }
        let subjects = all.into_iter().map(|labels| {
            let shown = shown(relabeling, &labels);
            (labels, shown)
        });
        Self {
            subjects: subjects.collect(),
        }
    }

    /// Whether something else than what is called `labels` is shown with the labels `wanted`, of which `without` are
    /// dropped.
    fn has(&self, wanted: &Labels, labels: &Labels, without: &[String]) -> bool {
        let mut others = self.subjects.iter().filter(|(known, _)| known != labels);
        others.any(|(_, known)| {
            known.len() == wanted.len()
                && known.iter().zip(wanted).all(|(known, wanted)| {
                    let is_dropped = without.iter().any(|dropped| dropped == wanted.0);
                    known.0 == wanted.0 && (is_dropped || known.1 == wanted.1)
                })
        })
    }
}

fn started_by(project: &Text, name: &Text) -> Labels {
    vec![
        ("parent_project", project.clone()),
        ("parent_ref", name.clone()),
    ]
}

/// Labels as they are shown.
fn shown(relabeling: &mut Relabeling<'_>, labels: &Labels) -> Labels {
    let has_kind = labels.iter().any(|(label, _)| *label == "kind");
    let shown = labels.iter().map(|(label, value)| {
        let now = relabeling.value(label, value, has_kind);
        (*label, now.unwrap_or_else(|| value.clone()))
    });
    shown.collect()
}

/// Has the run retire what it is about as it is shown, and nothing that something else is shown in.
pub(super) fn apply(relabeling: &mut Relabeling<'_>, run: &mut ProjectRun) {
    let Some(memory) = run.memory.clone().filter(|_| !run.retirements.is_empty()) else {
        return;
    };
    let living = Living::of(&memory, relabeling);
    let mut retired = Vec::with_capacity(run.retirements.len());
    for retirement in std::mem::take(&mut run.retirements) {
        let all = match &retirement {
            Retirement::Ref {
                project,
                kind,
                name,
                plain,
            } => vec![
                vec![
                    ("kind", kind.clone()),
                    ("project", project.clone()),
                    ("ref", name.clone()),
                ],
                vec![("project", project.clone()), ("ref", plain.clone())],
            ],
            Retirement::Labels(labels) => vec![labels.clone()],
            Retirement::Project { .. } | Retirement::Collector(..) | Retirement::OfMetric(..) => {
                retired.push(retirement);
                continue;
            }
        };
        let mut as_shown = Vec::new();
        for labels in &all {
            let shown = shown(relabeling, labels);
            of_single_metrics(relabeling, &living, (&shown, labels), &mut retired);
            if shown != *labels && !living.has(&shown, labels, &[]) {
                as_shown.push(Retirement::Labels(shown));
            }
        }
        // What is shown under its own name may stand for others, too.
        if !all.iter().any(|labels| living.has(labels, labels, &[])) {
            retired.push(retirement);
        }
        retired.extend(as_shown);
    }
    run.retirements = retired;
}

/// What metrics without one of the labels retire.
fn of_single_metrics(
    relabeling: &Relabeling<'_>,
    living: &Living,
    (labels, called): (&Labels, &Labels),
    retired: &mut Vec<Retirement>,
) {
    let has_kind = labels.iter().any(|(label, _)| *label == "kind");
    for (metric, dropped) in &relabeling.rules.dropped {
        let Some(family) = FamilyId::by_name(metric) else {
            continue;
        };
        let desc = family.desc();
        let has_all = labels.iter().all(|(label, _)| desc.labels.contains(label));
        let names_ref = labels.iter().any(|(label, _)| *label == "ref");
        let is_of_kind = !names_ref || has_kind == desc.labels.contains(&"kind");
        let is_dropped = |label: &str| dropped.iter().any(|dropped| dropped == label);
        let left = labels.iter().filter(|(label, _)| {
            !is_dropped(label) && !matches!(*label, "project" | "parent_project" | "kind")
        });
        if desc.kind == Kind::Gauge
            || !has_all
            || !is_of_kind
            || !labels.iter().any(|(label, _)| is_dropped(label))
            || left.count() == 0
            || living.has(labels, called, dropped)
        {
            continue;
        }
        let labels = labels.iter().map(|(label, value)| match is_dropped(label) {
            true => (*label, Text::default()),
            false => (*label, value.clone()),
        });
        retired.push(Retirement::OfMetric(family, labels.collect()));
    }
}
