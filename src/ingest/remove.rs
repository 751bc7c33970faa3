//! Series that leave for good: of projects that are no longer tracked, of collectors that are off, and of
//! subjects that were removed.

use std::sync::Arc;

use super::{Ingest, is_kept};
use crate::catalogue::Collector;
use crate::collector::Measured;
use crate::recorder::ProjectRun;
use crate::registry::Removed;
use crate::series::Retirement;

impl Ingest {
    /// Removes projects that are no longer tracked, with all their series; also those that could not
    /// be removed before.
    pub async fn remove(&self, newly_removed: Vec<Removed>) {
        let removed = {
            let mut projects = self.registry.lock();
            projects.remove_later(newly_removed);
            projects.take_to_remove()
        };
        let (withdrawn, removed): (Vec<_>, Vec<_>) = removed
            .into_iter()
            .partition(|removed| removed.memory.is_some());
        let withdrawn = withdrawn.into_iter().filter_map(|removed| {
            let memory = removed.memory.clone()?;
            Some((removed, memory))
        });
        let left = self.withdraw(withdrawn.collect()).await;
        self.registry.lock().remove_later(left);
        if removed.is_empty() {
            return;
        }
        let runs = removed
            .iter()
            .cloned()
            .map(|Removed { id, path, .. }| ProjectRun {
                project: id,
                memory: None,
                measured: Vec::new(),
                initializations: Vec::new(),
                retirements: vec![Retirement::Project { id, path }],
            });
        let mut recorder = self.recorder.lock().await;
        let recorded = recorder.record(runs.collect(), self.clock.steady()).await;
        drop(recorder);
        self.observer.store(is_kept(&recorded));
        if let Err(error) = recorded {
            tracing::error!(projects = removed.len(), %error, "removal failed, will retry");
            self.registry.lock().remove_later(removed);
        }
    }

    /// Removes what collectors show of projects that they are off for.
    pub async fn switch_off(&self) {
        // Memories change only under this lock.
        let mut recorder = self.recorder.lock().await;
        let switched_off = self.registry.lock().take_switched_off();
        if switched_off.is_empty() {
            return;
        }
        let runs = switched_off.iter().map(|off| {
            let compat = off.collectors.contains(&Collector::Pipelines);
            let compat = compat.then_some(&Collector::Compat);
            let retire = |one: &Collector| Retirement::Collector(*one, Some(off.path.clone()));
            let none = |one: &Collector| (*one, Measured::default());
            ProjectRun {
                project: off.id,
                retirements: off.collectors.iter().chain(compat).map(retire).collect(),
                measured: off.collectors.iter().chain(compat).map(none).collect(),
                memory: Some(Arc::clone(&off.memory)),
                initializations: Vec::new(),
            }
        });
        let recorded = recorder.record(runs.collect(), self.clock.steady()).await;
        self.observer.store(is_kept(&recorded));
        if let Err(error) = recorded {
            tracing::error!(%error, "removing series of disabled collectors failed, will retry");
            self.registry.lock().switch_off_later(switched_off);
        }
    }

    /// Removes the series whose subject was removed.
    pub async fn sweep(&self) {
        self.remove(Vec::new()).await;
        // A run that holds it commits, too, and the next sweep is soon.
        let Ok(mut recorder) = self.recorder.try_lock() else {
            return;
        };
        let swept = recorder.sweep(self.clock.steady()).await;
        drop(recorder);
        if let Err(error) = &swept {
            self.observer.store(is_kept(&swept));
            tracing::warn!(%error, "removing series failed, will retry");
        }
    }
}
