//! What GitLab stops showing leaves, and comes back with its totals when it is shown again.

use std::sync::Arc;
use std::time::Duration;

use super::{Ingest, is_kept};
use crate::catalogue::{Collector, FamilyId};
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::memory::withdrawn::Withdrawn;
use crate::recorder::{Recorder, Return, Withdrawal};
use crate::registry::{Entry, Removed};
use crate::series::Retirement;
use crate::source::{Fetched, Source};
use crate::types::{ProjectId, Text};

/// Totals of what was withdrawn that are kept at most; of more, the projects that were removed first
/// are forgotten.
const TOTALS: usize = 200_000;
/// Projects that are forgotten together then.
const FORGOTTEN_AT_ONCE: usize = 10;

impl Ingest {
    /// Takes projects away that GitLab may show again. Those that could not be are given back.
    pub(super) async fn withdraw(
        &self,
        removed: Vec<(Removed, Arc<ProjectMemory>)>,
    ) -> Vec<Removed> {
        let withdrawals = removed.iter().map(|(removed, memory)| Withdrawal {
            project: removed.id,
            memory: Arc::clone(memory),
            series: vec![Retirement::Project {
                id: removed.id,
                path: removed.path.clone(),
            }],
        });
        let withdrawals: Vec<Withdrawal> = withdrawals.collect();
        if withdrawals.is_empty() {
            return Vec::new();
        }
        let recorded = self
            .recorder
            .lock()
            .await
            .withdraw(withdrawals, self.clock.steady())
            .await;
        self.observer.store(is_kept(&recorded));
        match recorded {
            Ok(()) => Vec::new(),
            Err(error) => {
                tracing::error!(projects = removed.len(), %error, "removal failed, will retry");
                removed.into_iter().map(|(removed, _)| removed).collect()
            }
        }
    }

    /// Takes away what collectors show of projects that GitLab has not answered for long.
    pub(super) async fn withdraw_overdue(
        &self,
        recorder: &mut Recorder,
        source: &dyn Source,
        refused: &[ProjectId],
        now: UnixSeconds,
    ) {
        let overdue: Vec<Withdrawal> = {
            let grace = self.rules().grace;
            let projects = self.registry.lock();
            let refused = refused.iter().filter(|id| projects.is_own(**id));
            let refused = refused.filter_map(|id| projects.get(*id));
            let overdue =
                refused.filter_map(|entry| overdue(entry, source.collectors(), grace, now));
            overdue.collect()
        };
        if overdue.is_empty() {
            return;
        }
        let memories = overdue.iter();
        let memories = memories.map(|one| (one.project, Arc::clone(&one.memory)));
        let memories: Vec<(ProjectId, Arc<ProjectMemory>)> = memories.collect();
        let recorded = recorder.withdraw(overdue, self.clock.steady()).await;
        self.observer.store(is_kept(&recorded));
        match recorded {
            Ok(()) => {
                let mut projects = self.registry.lock();
                for (id, memory) in memories {
                    projects.set_memory(id, memory);
                }
            }
            Err(error) => tracing::error!(%error, "removing series failed, will retry"),
        }
    }

    /// Forgets what was withdrawn long ago.
    pub async fn forget_withdrawn(&self, now: UnixSeconds) {
        let mut recorder = self.recorder.lock().await;
        loop {
            let too_many = recorder.withdrawn() > TOTALS;
            let oldest = if too_many { FORGOTTEN_AT_ONCE } else { 0 };
            let forgotten = self.registry.lock().take_forgotten(oldest, now);
            if forgotten.is_empty() {
                return;
            }
            tracing::info!(
                projects = forgotten.len(),
                "state of removed projects deleted"
            );
            let recorded = recorder.forget(&forgotten, self.clock.steady()).await;
            self.observer.store(is_kept(&recorded));
            if let Err(error) = recorded {
                // The next start finds them again.
                tracing::warn!(%error, "deleting state of removed projects failed, will retry");
                return;
            }
        }
    }

    /// Brings back what GitLab shows again, before what was read is counted on top of it.
    pub(super) async fn bring_back(
        &self,
        recorder: &mut Recorder,
        source: &dyn Source,
        read: &Fetched,
    ) {
        let returns: Vec<Return> = {
            let projects = self.registry.lock();
            let shown = read.iter().filter_map(|(id, read)| match read {
                Ok(facts) if facts.unavailable().is_none() => Some((id, facts.partly_hidden())),
                _ => None,
            });
            let memories = shown.filter_map(|(id, part)| {
                let memory = projects.get(*id)?.memory();
                let shown = part.and_then(|(family, is_hidden)| (!is_hidden).then_some(family));
                let withdrawn = without(&memory.withdrawn, source.collectors(), shown)?;
                let mut memory = ProjectMemory::clone(memory);
                memory.withdrawn = withdrawn;
                Some((*id, Arc::new(memory)))
            });
            memories
                .map(|(project, memory)| Return { project, memory })
                .collect()
        };
        if returns.is_empty() {
            return;
        }
        let memories: Vec<(ProjectId, Arc<ProjectMemory>)> = returns
            .iter()
            .map(|back| (back.project, Arc::clone(&back.memory)))
            .collect();
        let recorded = recorder.bring_back(returns, self.clock.steady()).await;
        self.observer.store(is_kept(&recorded));
        match recorded {
            Ok(()) => {
                let mut projects = self.registry.lock();
                if let Some((_, example)) = memories.first() {
                    let (projects, example) = (memories.len(), &example.path);
                    tracing::info!(projects, %example, "series restored: visible in GitLab again");
                }
                for (id, memory) in memories {
                    projects.set_memory(id, memory);
                }
            }
            Err(error) => tracing::error!(%error, "restoring series failed, will retry"),
        }
    }
}

/// What shows pipelines under other names goes and comes with them.
fn compat_of(collectors: &[Collector]) -> Option<&'static Collector> {
    let has_pipelines = collectors.contains(&Collector::Pipelines);
    has_pipelines.then_some(&Collector::Compat)
}

/// What is still withdrawn when a source reads the project again, with a metric that was hidden; none where
/// that changes nothing.
fn without(
    withdrawn: &Withdrawn,
    collectors: &[Collector],
    shown: Option<FamilyId>,
) -> Option<Withdrawn> {
    let mut left = Withdrawn {
        removed_at: None,
        collectors: withdrawn.collectors.clone(),
    };
    for collector in collectors.iter().chain(compat_of(collectors)) {
        let name: Text = collector.as_str().into();
        left.collectors.remove(&name);
    }
    if let Some(family) = shown {
        left.collectors.remove(family.desc().name);
    }
    (left != *withdrawn).then_some(left)
}

/// The memory and the series of collectors and single metrics that GitLab has not answered for so long that
/// their series are withdrawn now; none where it is too early, or they are already.
fn overdue(
    entry: &Entry,
    collectors: &[Collector],
    grace: Duration,
    now: UnixSeconds,
) -> Option<Withdrawal> {
    let known = &entry.memory().withdrawn;
    let mut overdue: Vec<Collector> = collectors
        .iter()
        .copied()
        .filter(|one| {
            let since = entry.unavailable_since(*one);
            let name: Text = one.as_str().into();
            since.is_some_and(|since| now.since(since) >= grace)
                && !known.collectors.contains_key(&name)
        })
        .collect();
    let hidden = entry.hidden_since().iter().filter(|(family, since)| {
        let desc = family.desc();
        collectors.contains(&desc.collector)
            && now.since(**since) >= grace
            && !known.collectors.contains_key(desc.name)
    });
    let hidden: Vec<FamilyId> = hidden.map(|(family, _)| *family).collect();
    if overdue.is_empty() && hidden.is_empty() {
        return None;
    }
    overdue.extend(compat_of(&overdue));
    let mut memory = ProjectMemory::clone(entry.memory());
    let path = &entry.project().full_path;
    let names = overdue.iter().map(|one| one.as_str());
    let names = names.chain(hidden.iter().map(|family| family.desc().name));
    let noted = names.map(|name| (name.into(), now));
    memory.withdrawn.collectors.extend(noted);
    let of_project = vec![("project", path.clone())];
    let hidden = hidden.iter();
    let hidden = hidden.map(|family| Retirement::OfMetric(*family, of_project.clone()));
    let collectors = overdue
        .iter()
        .map(|one| Retirement::Collector(*one, Some(path.clone())));
    let series = collectors.chain(hidden);
    Some(Withdrawal {
        project: entry.id(),
        series: series.collect(),
        memory: Arc::new(memory),
    })
}
