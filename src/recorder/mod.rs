//! Records what collectors measured, commits it, and shows it: in this order, always.
//!
//! A run's events go through the OpenTelemetry instruments into new totals, these with the
//! projects' memories into the store, and then all at once into the series table. When any step
//! fails, nothing of the run happened: the memories stay as they were and the next poll finds the
//! same events again.

mod length;
mod relabel;
mod sharded;
mod withdrawal;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::catalogue::instruments::{Delta, Instruments, InstrumentsError};
use crate::catalogue::labels::ProjectLabels;
use crate::catalogue::{Collector, Measurement, SeriesKey, pipelines};
use crate::clock::UnixSeconds;
use crate::collector::Measured;
use crate::memory::ProjectMemory;
use crate::memory::job_names::JobName;
use crate::series::{Block, Restored, Retirement, RowKey, RowRecord, Table, Update};
use crate::shards::{Shard, ShardSet};
use crate::store::{Commit, Remembered, Store, StoreError};
use crate::types::{ProjectId, Text};
use withdrawal::Kept;

pub use relabel::{LabelRules, Rewrite};
pub use withdrawal::{Return, Withdrawal};

/// What one run brings of one project.
#[derive(Debug)]
pub struct ProjectRun {
    /// The project.
    pub project: ProjectId,
    /// Its memory after the run; `None` forgets it.
    pub memory: Option<Arc<ProjectMemory>>,
    /// What each collector measured.
    pub measured: Vec<(Collector, Measured)>,
    /// Series to be shown at 0 besides those that the collectors name.
    pub initializations: Vec<SeriesKey>,
    /// What was removed.
    pub retirements: Vec<Retirement>,
}

/// What is remembered of projects.
type Memories = Vec<(ProjectId, Arc<ProjectMemory>)>;

/// Records runs, one after the other.
#[derive(Debug)]
pub struct Recorder {
    instruments: Instruments,
    table: Arc<Table>,
    store: Arc<dyn Store>,
    kept: Kept,
    max_label_length: usize,
    labels: LabelRules,
    /// Shards of which the store may have kept a commit that it did not acknowledge.
    unsettled: ShardSet,
}

/// Why a run was not recorded. It is found again at the next poll.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The instruments could not be collected.
    #[error(transparent)]
    Instruments(#[from] InstrumentsError),
    /// The store did not keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RecordError {
    /// Value of the label `error_type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Instruments(_) => "record",
            Self::Store(error) => error.kind(),
        }
    }
}

impl Recorder {
    /// A recorder into `table` by way of `store`.
    #[must_use]
    pub fn new(instruments: Instruments, table: Arc<Table>, store: Arc<dyn Store>) -> Self {
        Self {
            instruments,
            table,
            store,
            kept: Kept::default(),
            max_label_length: length::DEFAULT,
            labels: LabelRules::default(),
            unsettled: ShardSet::NONE,
        }
    }

    /// Cuts label values at so many bytes (`labels.max_length`).
    #[must_use]
    pub fn with_max_label_length(mut self, bytes: usize) -> Self {
        self.max_label_length = bytes;
        self
    }

    /// Rewrites and drops labels by these rules (`labels.job_name`, `labels.ref`, `labels.drop`).
    #[must_use]
    pub fn with_labels(mut self, rules: LabelRules) -> Self {
        self.labels = rules;
        self
    }

    /// The rules by which labels are rewritten, as memories note them.
    #[must_use]
    pub fn labels(&self) -> &Text {
        self.labels.text()
    }

    /// Puts back what the store remembers: series into the table; memories of projects are given
    /// back.
    ///
    /// # Errors
    /// When it cannot be read, or when the initial zeros that begin again cannot be stored.
    pub async fn restore(&mut self, now: UnixSeconds) -> Result<Memories, StoreError> {
        if !self.store.is_durable() {
            return Ok(Vec::new());
        }
        let remembered = self.store.load().await?;
        let (projects, series) = self.take_over(ShardSet::ALL, remembered, now).await?;
        tracing::info!(projects = projects.len(), series, "restored state");
        Ok(projects)
    }

    /// Puts back what is remembered of some shards; gives the memories back, and how many series continue.
    async fn take_over(
        &mut self,
        shards: ShardSet,
        remembered: Remembered,
        now: UnixSeconds,
    ) -> Result<(Memories, usize), StoreError> {
        let Remembered {
            mut projects,
            mut rows,
            committed_at,
        } = remembered;
        let relabeled = self.labels.relabel(&mut projects, &mut rows);
        let projects = with_job_names(projects, &rows);
        self.kept.take_from(&mut rows, &projects);
        let Restored {
            rows,
            reinitialized,
            refused,
        } = self.table.adopt(shards, rows, committed_at, now);
        let mut reasons: BTreeMap<_, usize> = BTreeMap::new();
        let mut removed = Vec::with_capacity(refused.len());
        for (row, why) in refused {
            let metric = row.name.clone();
            *reasons.entry((metric, why.to_string())).or_default() += 1;
            removed.push(row);
        }
        for ((metric, why), series) in reasons {
            tracing::warn!(%metric, series, reason = %why, "series reset");
        }
        // What was refused counts from 0 again: its old total must not come back later.
        let later: HashSet<RowKey> = removed
            .iter()
            .cloned()
            .chain(reinitialized.iter().map(RowRecord::key))
            .collect();
        let moved = relabeled.rows.into_iter();
        let moved = moved.filter(|row| !later.contains(&row.key()));
        self.commit(Commit {
            projects: relabeled.projects,
            rows: moved.chain(reinitialized).collect(),
            removed: relabeled.removed.into_iter().chain(removed).collect(),
            ..Commit::default()
        })
        .await?;
        Ok((projects, rows))
    }

    /// Takes in that the clock was set back to `clock`, at `now` by the table's time.
    pub fn clock_was_set_back(&self, clock: UnixSeconds, now: UnixSeconds) {
        self.table.clock_was_set_back(clock, now);
    }

    /// Marks what a collector counted as removed.
    pub fn retire(&self, collector: Collector, now: UnixSeconds) {
        self.table.retire_collector(collector, now);
    }

    /// The counters and histograms about the project at one path, as they will be called when it
    /// is at another.
    #[must_use]
    pub fn renamed(&self, from: &Text, to: &Text) -> Vec<SeriesKey> {
        self.table.renamed(from, to)
    }

    /// Records some runs together: all or nothing, where their projects are stored together.
    ///
    /// # Errors
    /// When the instruments or the store refuse; what was refused is not shown.
    pub async fn record(
        &mut self,
        runs: Vec<ProjectRun>,
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        let mut recorded = Ok(());
        for runs in self.together(runs, ProjectRun::shard) {
            recorded = recorded.and(self.record_together(runs, now).await);
        }
        recorded
    }

    async fn record_together(
        &mut self,
        mut runs: Vec<ProjectRun>,
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        for run in &mut runs {
            self.labels.apply(run);
            length::cut_labels(run, self.max_label_length);
        }
        let events: Vec<Measurement> = runs
            .iter()
            .flat_map(|run| {
                run.measured
                    .iter()
                    .flat_map(|(_, measured)| &measured.events)
            })
            .cloned()
            .collect();
        let deltas = self.instruments.record(&events)?;
        let mut update = Update {
            rows: {
                let owners = Owners::of(&runs);
                self.table
                    .stage(&deltas, |delta| owners.of_series(delta), now)
            },
            ..Update::default()
        };
        let mut commit = Commit::default();
        let shard = runs.first().map(ProjectRun::shard);
        for run in runs {
            let project = run.project;
            // What is read for the whole instance says nothing of a project.
            if shard != Some(Shard::INSTANCE) {
                commit.projects.push((project, run.memory));
            }
            let initializations =
                |keys: Vec<SeriesKey>| keys.into_iter().map(move |key| (project, key));
            update
                .initializations
                .extend(initializations(run.initializations));
            update.retirements.extend(run.retirements);
            for (collector, measured) in run.measured {
                update
                    .initializations
                    .extend(initializations(measured.initializations));
                let block = Block { project, collector };
                update
                    .blocks
                    .push((block, self.instruments.record(&measured.states)?));
            }
        }
        if self.store.is_durable() {
            commit.rows = update.rows.records().collect();
            commit.rows.extend(self.table.turned(&update));
            commit.committed_at = now;
        }
        let shards = self.commit_of(shard, commit).await?;
        self.table.apply(update, now);
        self.table.note_commit(shards, now);
        Ok(())
    }

    /// Shows when projects were last read. Nothing of it is kept.
    ///
    /// # Errors
    /// When the instruments refuse.
    pub fn note_read(
        &mut self,
        projects: &[(ProjectId, Text)],
        now: UnixSeconds,
    ) -> Result<(), RecordError> {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 seconds")]
        let at = now.0 as f64;
        let states = projects.iter().map(|(_, path)| {
            let project = path.clone();
            pipelines::PROJECT_LAST_SUCCESS.set(ProjectLabels { project }, at)
        });
        let states: Vec<Measurement> = states.collect();
        let by_path: HashMap<&str, ProjectId> =
            projects.iter().map(|(id, path)| (&**path, *id)).collect();
        let shown = self.instruments.record(&states)?.into_iter();
        let blocks = shown.filter_map(|delta| {
            let project = *by_path.get(&**delta.labels.first()?)?;
            let collector = Collector::Exporter;
            Some((Block { project, collector }, vec![delta]))
        });
        let update = Update {
            blocks: blocks.collect(),
            ..Update::default()
        };
        self.table.apply(update, now);
        Ok(())
    }

    /// Removes the counters and histograms whose subject was removed and whose last change was
    /// delivered, and ends initial zeros.
    ///
    /// # Errors
    /// When the store refuses; they stay then.
    pub async fn sweep(&mut self, now: UnixSeconds) -> Result<(), RecordError> {
        let removed = self.table.due(now);
        // What was not acknowledged does not wait for the next event.
        let due = self.table.uncommitted_zeros(now).or(self.unsettled);
        if removed.is_empty() && due.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            removed,
            committed_at: now,
            ..Commit::default()
        };
        let shards = self.commit_with(due, commit).await?;
        self.table.sweep(now);
        self.table.note_commit(shards, now);
        Ok(())
    }
}

/// Notes the jobs that have series and were not noted by an earlier version: they were last had when their
/// series changed last.
fn with_job_names(
    projects: Vec<(ProjectId, Arc<ProjectMemory>)>,
    rows: &[RowRecord],
) -> Vec<(ProjectId, Arc<ProjectMemory>)> {
    let mut projects: BTreeMap<ProjectId, Arc<ProjectMemory>> = projects.into_iter().collect();
    for row in rows {
        let label = |name: &str| {
            let mut labels = row.labels.iter();
            let found = labels.find(|(label, _)| label == name);
            found.map(|(_, value)| value.clone())
        };
        let (Some(name), Some(stage), Some(git_ref)) =
            (label("job_name"), label("stage"), label("ref"))
        else {
            continue;
        };
        // What it was before it was cut or dropped is unknown.
        if [&name, &stage, &git_ref]
            .into_iter()
            .any(|value| value.is_empty() || length::is_cut(value))
        {
            continue;
        }
        let name = JobName {
            git_ref,
            stage,
            name,
        };
        if let Some(memory) = projects.get_mut(&row.project)
            && !memory.job_names.0.contains_key(&name)
        {
            Arc::make_mut(memory).job_names.note(name, row.changed);
        }
    }
    projects.into_iter().collect()
}

/// Which run's project a series belongs to that is new: the first of them that recorded it.
#[derive(Debug, Default)]
struct Owners<'a> {
    first: ProjectId,
    others: HashMap<(&'static str, &'a [Text]), ProjectId>,
}

impl<'a> Owners<'a> {
    fn of(runs: &'a [ProjectRun]) -> Self {
        let mut owners = Self {
            first: runs.first().map(|run| run.project).unwrap_or_default(),
            ..Self::default()
        };
        // One run needs no list: all is its own.
        if runs.len() > 1 {
            for run in runs {
                for (_, measured) in &run.measured {
                    for event in &measured.events {
                        let key = (event.desc.name, &*event.labels);
                        owners.others.entry(key).or_insert(run.project);
                    }
                }
            }
        }
        owners
    }

    fn of_series(&self, delta: &Delta) -> ProjectId {
        let key = (delta.family.desc().name, &*delta.labels);
        self.others.get(&key).copied().unwrap_or(self.first)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::catalogue::buckets::BucketSettings;
    use crate::catalogue::labels::RefSourceLabels;
    use crate::series::{RecordedValue, RowRecord, TableSettings};
    use crate::store::MemoryStore;

    pub(in crate::recorder) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    /// A store in memory that is handed rows all the same.
    #[derive(Debug, Default)]
    pub(in crate::recorder) struct Durable(MemoryStore);

    #[async_trait]
    impl Store for Durable {
        async fn load(&self) -> Result<Remembered, StoreError> {
            self.0.load().await
        }

        async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
            self.0.commit(commit).await
        }

        fn is_durable(&self) -> bool {
            true
        }
    }

    pub(in crate::recorder) fn recorder(store: &Arc<Durable>) -> Recorder {
        let buckets = BucketSettings::default();
        let table = Table::new(&TableSettings {
            birth_window: Duration::from_secs(60),
            cardinality_limit: 100,
            buckets: buckets.clone(),
        });
        let instruments = Instruments::new(&buckets).unwrap();
        Recorder::new(instruments, table, Arc::clone(store) as _)
    }

    pub(in crate::recorder) fn run(project: u64, refs: &[&str]) -> ProjectRun {
        let labels = |name: &str| RefSourceLabels {
            kind: "branch".into(),
            project: "p".into(),
            git_ref: name.into(),
            source: "push".into(),
        };
        let measured = Measured {
            events: refs
                .iter()
                .map(|name| pipelines::RUN_COUNT.add(labels(name), 1.0))
                .collect(),
            ..Measured::default()
        };
        ProjectRun {
            project: ProjectId(project),
            memory: None,
            measured: vec![(Collector::Pipelines, measured)],
            initializations: Vec::new(),
            retirements: Vec::new(),
        }
    }

    async fn rows(store: &Durable) -> Vec<(u64, String, f64)> {
        let rows = store.load().await.unwrap().rows.into_iter();
        let row = |row: RowRecord| match row.value {
            RecordedValue::Counter(total) => (row.project.0, row.labels[2].1.to_string(), total),
            value => panic!("{value:?}"),
        };
        rows.map(row).collect()
    }

    #[tokio::test]
    async fn a_row_belongs_to_the_first_run_that_recorded_it() {
        let store = Arc::<Durable>::default();
        let mut recorder = recorder(&store);
        let runs = vec![run(7, &["a", "shared"]), run(8, &["shared", "b"])];
        recorder.record(runs, NOW).await.unwrap();
        recorder.record(vec![run(8, &["a"])], NOW).await.unwrap();
        let expected = [(7, "a", 2.0), (7, "shared", 2.0), (8, "b", 1.0)];
        let expected = expected.map(|(project, name, total)| (project, name.to_owned(), total));
        assert_eq!(rows(&store).await, expected);
    }

    #[tokio::test]
    async fn what_is_cut_is_retired_by_its_whole_name() {
        let store = Arc::<Durable>::default();
        let mut recorder = recorder(&store);
        let name = "x".repeat(300);
        recorder.record(vec![run(7, &[&name])], NOW).await.unwrap();
        let shown = rows(&store).await.remove(0).1;
        assert!(
            shown.len() == length::DEFAULT && shown.starts_with("xxx"),
            "{shown}"
        );
        let labels = vec![("project", "p".into()), ("ref", name.as_str().into())];
        let retires = ProjectRun {
            retirements: vec![Retirement::Labels(labels)],
            ..run(7, &[])
        };
        recorder.record(vec![retires], NOW).await.unwrap();
        recorder
            .sweep(NOW.plus(Duration::from_secs(300)))
            .await
            .unwrap();
        assert_eq!(rows(&store).await, []);
    }

    #[tokio::test]
    async fn a_row_that_is_refused_is_removed_so_that_its_total_does_not_come_back() {
        let store = Arc::<Durable>::default();
        recorder(&store)
            .record(vec![run(7, &["a"])], NOW)
            .await
            .unwrap();
        let mut unknown = store.load().await.unwrap().rows.remove(0);
        unknown.name = "age_no_such_total".into();
        let commit = Commit {
            rows: vec![unknown],
            ..Commit::default()
        };
        store.commit(commit).await.unwrap();
        assert_eq!(rows(&store).await.len(), 2);
        recorder(&store).restore(NOW).await.unwrap();
        assert_eq!(rows(&store).await, [(7, "a".to_owned(), 1.0)]);
    }
}
