//! Withdrawal: what GitLab stopped showing leaves `/metrics`, and its totals stay in the store until it
//! is shown again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{RecordError, Recorder};
use crate::catalogue::{Collector, FamilyId};
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::series::{Retirement, RowRecord};
use crate::shards::{Shard, ShardSet};
use crate::store::Commit;
use crate::types::{ProjectId, Text};

/// What is withdrawn of a project.
#[derive(Debug)]
pub struct Withdrawal {
    /// The project.
    pub project: ProjectId,
    /// Its memory, which says so.
    pub memory: Arc<ProjectMemory>,
    /// Its series.
    pub series: Vec<Retirement>,
}

/// What of a project comes back.
#[derive(Debug)]
pub struct Return {
    /// The project.
    pub project: ProjectId,
    /// Its memory, which says so.
    pub memory: Arc<ProjectMemory>,
}

/// Totals of what was withdrawn, by project.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<ProjectId, Vec<RowRecord>>);

impl Kept {
    /// Takes the withdrawn rows of a store out of `rows`. Those that no memory knows of go on.
    pub(super) fn take_from(
        &mut self,
        rows: &mut Vec<RowRecord>,
        projects: &[(ProjectId, Arc<ProjectMemory>)],
    ) {
        let withdrawn = projects.iter();
        let withdrawn = withdrawn.filter(|(_, memory)| !memory.withdrawn.is_empty());
        let by_path: BTreeMap<&str, (ProjectId, &ProjectMemory)> = withdrawn
            .map(|(id, memory)| (&*memory.path, (*id, &**memory)))
            .collect();
        rows.retain_mut(|row| {
            if !row.withdrawn {
                return true;
            }
            let path = |wanted: &str| {
                let mut labels = row.labels.iter();
                let label = labels.find(|(name, _)| name == wanted);
                label.map(|(_, path)| path.clone())
            };
            let path = path("parent_project").or_else(|| path("project"));
            let known = path.and_then(|path| by_path.get(&*path));
            match known {
                Some((id, memory)) if is_withdrawn(memory, row) => {
                    self.0.entry(*id).or_default().push(row.clone());
                    false
                }
                _ => {
                    row.withdrawn = false;
                    true
                }
            }
        });
    }

    /// Those of some shards.
    pub(super) fn of(&self, shards: ShardSet) -> impl Iterator<Item = &RowRecord> {
        let projects = self.0.iter();
        let among = projects.filter(move |(id, _)| shards.contains(Shard::of(**id)));
        among.flat_map(|(_, rows)| rows)
    }

    /// Forgets those of some shards.
    pub(super) fn release(&mut self, shards: ShardSet) {
        self.0.retain(|id, _| !shards.contains(Shard::of(*id)));
    }

    /// How many rows are kept.
    fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

/// Whether a project's memory says that a series of it is withdrawn.
fn is_withdrawn(memory: &ProjectMemory, row: &RowRecord) -> bool {
    let withdrawn = &memory.withdrawn;
    let collector = FamilyId::by_name(&row.name).map(|family| family.desc().collector);
    withdrawn.removed_at.is_some()
        || withdrawn.collectors.contains_key(&*row.name)
        || collector.is_some_and(|one: Collector| {
            let name: Text = one.as_str().into();
            withdrawn.collectors.contains_key(&name)
        })
}

impl Recorder {
    /// How many totals are kept of what was withdrawn.
    #[must_use]
    pub fn withdrawn(&self) -> usize {
        self.kept.len()
    }

    /// Takes series away and keeps their totals.
    ///
    /// # Errors
    /// When the store refuses; they are still shown then.
    pub async fn withdraw(
        &mut self,
        withdrawals: Vec<Withdrawal>,
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        let shard = |one: &Withdrawal| Shard::of(one.project);
        let mut recorded = Ok(());
        for withdrawals in self.together(withdrawals, shard) {
            recorded = recorded.and(self.withdraw_together(withdrawals, now).await);
        }
        recorded
    }

    async fn withdraw_together(
        &mut self,
        withdrawals: Vec<Withdrawal>,
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        let shard = withdrawals.first().map(|one| Shard::of(one.project));
        let mut commit = Commit {
            committed_at: now,
            ..Commit::default()
        };
        let mut series = Vec::new();
        let mut kept = Vec::new();
        for withdrawal in withdrawals {
            let rows = self.table.withdrawable(&withdrawal.series);
            let id = withdrawal.project;
            if self.store.is_durable() {
                commit.rows.extend(rows.iter().cloned());
            }
            commit.projects.push((id, Some(withdrawal.memory)));
            series.extend(withdrawal.series);
            kept.push((id, rows));
        }
        self.commit_of(shard, commit).await?;
        self.table.withdraw(&series, now);
        for (id, rows) in kept {
            self.kept.0.entry(id).or_default().extend(rows);
        }
        Ok(())
    }

    /// Brings back what the projects' memories no longer say is withdrawn.
    ///
    /// # Errors
    /// When the store refuses; it stays withdrawn then.
    pub async fn bring_back(
        &mut self,
        returns: Vec<Return>,
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        let shard = |one: &Return| Shard::of(one.project);
        let mut recorded = Ok(());
        for returns in self.together(returns, shard) {
            recorded = recorded.and(self.bring_back_together(returns, now).await);
        }
        recorded
    }

    async fn bring_back_together(
        &mut self,
        returns: Vec<Return>,
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        let shard = returns.first().map(|one| Shard::of(one.project));
        let mut commit = Commit {
            committed_at: now,
            ..Commit::default()
        };
        let (mut left, mut all) = (Vec::new(), Vec::new());
        for Return { project, memory } in returns {
            let rows = self.kept.0.get(&project).cloned().unwrap_or_default();
            let (stay, back): (Vec<_>, Vec<_>) =
                rows.into_iter().partition(|row| is_withdrawn(&memory, row));
            let back_now = self.table.returning(&back);
            // A total that was counted meanwhile is stored under the project that counted it.
            let keys: BTreeSet<_> = back_now.iter().map(RowRecord::key).collect();
            let moved = back.iter().map(RowRecord::key);
            commit
                .removed
                .extend(moved.filter(|key| !keys.contains(key)));
            all.extend(back_now);
            commit.projects.push((project, Some(memory)));
            left.push((project, stay));
        }
        if self.store.is_durable() {
            commit.rows.clone_from(&all);
        }
        self.commit_of(shard, commit).await?;
        self.table.bring_back(&all, now);
        for (id, rows) in left {
            if rows.is_empty() {
                self.kept.0.remove(&id);
            } else {
                self.kept.0.insert(id, rows);
            }
        }
        Ok(())
    }

    /// Forgets projects that were withdrawn, with their totals.
    ///
    /// # Errors
    /// When the store refuses; they are kept then.
    pub async fn forget(
        &mut self,
        projects: &[ProjectId],
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        let rows = projects.iter().filter_map(|id| self.kept.0.get(id));
        let commit = Commit {
            projects: projects.iter().map(|id| (*id, None)).collect(),
            removed: rows.flatten().map(RowRecord::key).collect(),
            committed_at: now,
            ..Commit::default()
        };
        self.commit(commit).await?;
        for id in projects {
            self.kept.0.remove(id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{Durable, NOW, recorder, run};
    use super::*;
    use crate::memory::withdrawn::Withdrawn;
    use crate::series::{RecordedValue, RowValue};
    use crate::store::Store;

    const SEVEN: ProjectId = ProjectId(7);

    fn memory(removed_at: Option<UnixSeconds>) -> Arc<ProjectMemory> {
        Arc::new(ProjectMemory {
            path: "p".into(),
            withdrawn: Withdrawn {
                removed_at,
                ..Withdrawn::default()
            },
            ..ProjectMemory::default()
        })
    }

    fn withdrawal() -> Withdrawal {
        Withdrawal {
            project: SEVEN,
            memory: memory(Some(NOW)),
            series: vec![Retirement::Project {
                id: SEVEN,
                path: "p".into(),
            }],
        }
    }

    fn the_return() -> Return {
        Return {
            project: SEVEN,
            memory: memory(None),
        }
    }

    /// What is shown long after the initial zeros: each counter of a ref with its value.
    fn shown(recorder: &Recorder) -> Vec<(String, f64)> {
        let later = NOW.plus(Duration::from_secs(3600));
        recorder.table.note_commit(ShardSet::ALL, later);
        let mut walk = recorder.table.walk(later);
        let mut shown = Vec::new();
        while walk.next_chunk(100, |row| {
            if let RowValue::Counter(value) = row.value {
                let label = row.labels.iter().find(|(name, _)| *name == "ref");
                shown.push((label.map_or("", |(_, name)| name).to_owned(), value));
            }
            std::ops::ControlFlow::Continue(())
        }) {}
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        shown
    }

    fn counted(values: &[(&str, f64)]) -> Vec<(String, f64)> {
        let owned = values.iter();
        owned
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect()
    }

    async fn record(recorder: &mut Recorder, refs: &[&str]) {
        recorder.record(vec![run(7, refs)], NOW).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_withdrawn_is_not_shown_and_comes_back_with_its_total() {
        let store = Arc::<Durable>::default();
        let mut recorder = recorder(&store);
        record(&mut recorder, &["a", "a", "b"]).await;
        assert_eq!(shown(&recorder), counted(&[("a", 2.0), ("b", 1.0)]));
        recorder.withdraw(vec![withdrawal()], NOW).await.unwrap();
        assert_eq!(shown(&recorder), []);
        recorder.bring_back(vec![the_return()], NOW).await.unwrap();
        assert_eq!(shown(&recorder), counted(&[("a", 2.0), ("b", 1.0)]));
        record(&mut recorder, &["a"]).await;
        assert_eq!(shown(&recorder), counted(&[("a", 3.0), ("b", 1.0)]));
        assert_eq!(recorder.withdrawn(), 0);
    }

    #[tokio::test]
    async fn a_restart_in_between_neither_shows_nor_loses_it() {
        let store = Arc::<Durable>::default();
        {
            let mut recorder = recorder(&store);
            record(&mut recorder, &["a", "a"]).await;
            recorder.withdraw(vec![withdrawal()], NOW).await.unwrap();
        }
        let mut recorder = recorder(&store);
        recorder.restore(NOW).await.unwrap();
        assert_eq!(shown(&recorder), []);
        assert_eq!(recorder.withdrawn(), 1);
        recorder.bring_back(vec![the_return()], NOW).await.unwrap();
        assert_eq!(shown(&recorder), counted(&[("a", 2.0)]));
        let rows = store.load().await.unwrap().rows;
        assert!(rows.iter().all(|row| !row.withdrawn));
        assert_eq!(rows[0].value, RecordedValue::Counter(2.0));
    }

    #[tokio::test]
    async fn what_was_counted_meanwhile_is_added() {
        let store = Arc::<Durable>::default();
        let mut recorder = recorder(&store);
        record(&mut recorder, &["a", "a"]).await;
        recorder.withdraw(vec![withdrawal()], NOW).await.unwrap();
        recorder.record(vec![run(8, &["a"])], NOW).await.unwrap();
        recorder.bring_back(vec![the_return()], NOW).await.unwrap();
        assert_eq!(shown(&recorder), counted(&[("a", 3.0)]));
    }

    #[tokio::test]
    async fn what_is_forgotten_is_in_no_store() {
        let store = Arc::<Durable>::default();
        let mut recorder = recorder(&store);
        record(&mut recorder, &["a"]).await;
        recorder.withdraw(vec![withdrawal()], NOW).await.unwrap();
        recorder.forget(&[SEVEN], NOW).await.unwrap();
        let left = store.load().await.unwrap();
        assert_eq!((left.rows.len(), left.projects.len()), (0, 0));
        assert_eq!(recorder.withdrawn(), 0);
    }
}
