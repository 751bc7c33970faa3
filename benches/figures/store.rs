//! What it costs to keep state in a file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::store::{Bytes, Commit, FileStore, Remembered, Store, StoreError};
use async_trait::async_trait;
use gitlab_simulator::{Options, Simulator};

use crate::driver::now;
use crate::durable;
use crate::gitlab::Size;
use crate::report::{figure, megabytes, note};
use crate::role::Outcome;

/// Minutes of the world that are measured after the first reading.
pub const MINUTES: u64 = 30;

/// The world that is measured.
pub const SIZE: Size = Size {
    projects: 1000,
    pipelines: 10,
    jobs: 50,
    active: 0.05,
};

/// A store whose commits are timed.
#[derive(Debug)]
pub struct Timed<S> {
    /// What is timed.
    pub store: S,
    commits: Mutex<Vec<Duration>>,
}

impl<S> Timed<S> {
    /// A store without commits yet.
    pub fn new(store: S) -> Self {
        Self {
            store,
            commits: Mutex::default(),
        }
    }

    /// The commits since the last time, the shortest first.
    pub fn take(&self) -> Vec<Duration> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *commits);
        taken.sort_unstable();
        taken
    }
}

#[async_trait]
impl<S: Store> Store for Timed<S> {
    async fn load(&self) -> Result<Remembered, StoreError> {
        self.store.load().await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let start = Instant::now();
        let committed = self.store.commit(commit).await;
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.push(start.elapsed());
        committed
    }

    fn is_durable(&self) -> bool {
        self.store.is_durable()
    }

    fn is_sharded(&self) -> bool {
        self.store.is_sharded()
    }
}

/// Commits over 1,000 projects, and reading it all back.
pub fn measure() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.redb");
    let runtime = tokio::runtime::Runtime::new()?;
    let clock = runtime.block_on(live(&path))?;
    let start = Instant::now();
    let store = durable::open(&path, &clock)?;
    let remembered = runtime.block_on(store.load())?;
    figure(
        "opening the file, everything read",
        start.elapsed().as_secs_f64(),
        "s",
        None,
    );
    note(&format!(
        "{} projects, {} counters and histograms that have counted",
        remembered.projects.len(),
        remembered.rows.len()
    ));
    Ok(())
}

async fn live(path: &Path) -> Outcome<Clock> {
    let simulator = Simulator::start(SIZE.world(None), &Options::default())?;
    let clock = Clock::manual(now(&simulator));
    let store = Arc::new(Timed::new(durable::open(path, &clock)?));
    let (url, token) = (simulator.url(), simulator.token());
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let (mut scheduler, _) = durable::exporter(url, token, shared, &clock).await?;
    let before = Counted::now(&store);
    scheduler.round().await;
    tell("first reading", &store.take(), &before.until_now(&store));
    let before = Counted::now(&store);
    for _ in 0..MINUTES * 2 {
        simulator.advance(Duration::from_secs(30));
        clock.set(now(&simulator));
        scheduler.round().await;
    }
    tell("5 % active", &store.take(), &before.until_now(&store));
    let file = std::fs::metadata(path)?.len();
    figure("state file of 1,000 projects", megabytes(file), "MB", None);
    Ok(clock)
}

/// Bytes of records, and those that went to the disk.
struct Counted {
    records: Bytes,
    disk: f64,
}

impl Counted {
    fn now(store: &Timed<FileStore>) -> Self {
        Self {
            records: store.store.bytes(),
            disk: written(),
        }
    }

    fn until_now(&self, store: &Timed<FileStore>) -> Self {
        let now = Self::now(store);
        Self {
            records: Bytes {
                encoded: now.records.encoded - self.records.encoded,
                written: now.records.written - self.records.written,
            },
            disk: now.disk - self.disk,
        }
    }
}

/// Bytes that this process has handed to disks; nothing else here writes.
fn written() -> f64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0.0)
}

fn tell(when: &str, commits: &[Duration], counted: &Counted) {
    let (Some(median), Some(longest)) = (commits.get(commits.len() / 2), commits.last()) else {
        return;
    };
    let milliseconds = |duration: &Duration| duration.as_secs_f64() * 1000.0;
    figure(
        &format!("{when}: a commit, median"),
        milliseconds(median),
        "ms",
        None,
    );
    figure("  the longest", milliseconds(longest), "ms", None);
    let mean = |bytes: f64| bytes / 1000.0 / commits.len() as f64;
    let Bytes { encoded, written } = counted.records;
    figure("  records encoded, mean", mean(encoded as f64), "kB", None);
    figure("  records written, mean", mean(written as f64), "kB", None);
    figure(
        "  written to the disk, mean",
        mean(counted.disk),
        "kB",
        None,
    );
    note(&format!("{} commits", commits.len()));
}
