//! Hints that wait: gathered, so that projects share a read, and merged, so that a storm of events
//! costs one read of a project at a time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Hint, Mark};
use crate::facts::Reading;
use crate::types::ProjectId;

/// How long the first hint waits for others.
pub const GATHER: Duration = Duration::from_millis(250);
/// Between two reads of a project that hints bring about.
const APART: Duration = Duration::from_secs(2);
/// The same of what is read by lists or counts of a project.
const FAR_APART: Duration = Duration::from_secs(60);
/// Lists of projects are read no more often than that, whatever events say.
const LISTS_APART: Duration = Duration::from_secs(10);
/// Events of one project and reading that are remembered singly; those in between are as the last.
const MARKS: usize = 64;

/// Hints that wait. Its size is bounded by the projects that are tracked: only their hints are pushed.
#[derive(Debug, Default)]
pub struct HintQueue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: BTreeMap<(ProjectId, Reading), Waiting>,
    /// When what waited was last given away.
    taken: BTreeMap<(ProjectId, Reading), Instant>,
    lists_wanted: Option<Instant>,
    lists_taken: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    ready: Instant,
    marks: Vec<Mark>,
}

/// What is ready.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Projects to be read, for what, and the events that say so.
    pub projects: Vec<(ProjectId, Reading, Vec<Mark>)>,
    /// Whether the lists of projects are to be read.
    pub lists: bool,
}

impl HintQueue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a hint of a tracked project.
    pub fn push(&self, hint: Hint) {
        let key = (hint.project, hint.reading);
        let mut inner = self.lock();
        let apart = inner
            .taken
            .get(&key)
            .map(|taken| *taken + apart(hint.reading));
        let ready = hint.mark.arrived + GATHER;
        let ready = apart.map_or(ready, |apart| ready.max(apart));
        let waiting = inner.waiting.entry(key).or_insert_with(|| Waiting {
            ready,
            marks: Vec::new(),
        });
        let mut mark = hint.mark;
        if waiting.marks.len() == MARKS {
            waiting.marks.pop();
            // It stands for those that were dropped, whatever they announced.
            mark.subject = None;
        }
        waiting.marks.push(mark);
        drop(inner);
        self.changed.notify_one();
    }

    /// The lists of projects are to be read.
    pub fn push_lists(&self, now: Instant) {
        let mut inner = self.lock();
        let apart = inner.lists_taken.map(|taken| taken + LISTS_APART);
        let ready = now + GATHER;
        let ready = apart.map_or(ready, |apart| ready.max(apart));
        inner.lists_wanted.get_or_insert(ready);
        drop(inner);
        self.changed.notify_one();
    }

    /// Takes what is ready.
    pub fn take(&self, now: Instant) -> Ready {
        let mut inner = self.lock();
        let waiting = inner.waiting.iter();
        let keys = waiting
            .filter(|(_, waiting)| waiting.ready <= now)
            .map(|(key, _)| *key);
        let keys: Vec<_> = keys.collect();
        let mut ready = Ready::default();
        for key in keys {
            if let Some(waiting) = inner.waiting.remove(&key) {
                ready.projects.push((key.0, key.1, waiting.marks));
                inner.taken.insert(key, now);
            }
        }
        if inner.lists_wanted.is_some_and(|at| at <= now) {
            inner.lists_wanted = None;
            inner.lists_taken = Some(now);
            ready.lists = true;
        }
        inner
            .taken
            .retain(|(_, reading), taken| *taken + apart(*reading) > now);
        ready
    }

    /// Waits until something is ready.
    pub async fn ready(&self) {
        loop {
            let changed = self.changed.notified();
            let next = self.next();
            match next {
                Some(next) if next <= Instant::now() => return,
                Some(next) => tokio::select! {
                    () = sleep_until(next) => return,
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    fn next(&self) -> Option<Instant> {
        let inner = self.lock();
        let waiting = inner.waiting.values().map(|waiting| waiting.ready);
        waiting.chain(inner.lists_wanted).min()
    }
}

/// How far apart reads are that hints bring about.
const fn apart(reading: Reading) -> Duration {
    match reading {
        Reading::Repository | Reading::Dora => FAR_APART,
        _ => APART,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Trigger;

    fn hint(project: u64, reading: Reading, arrived: Instant) -> Hint {
        Hint {
            project: ProjectId(project),
            reading,
            mark: Mark {
                trigger: Trigger::Webhook,
                subject: None,
                at: None,
                arrived,
                is_job: false,
                origin: None,
            },
        }
    }

    fn taken(ready: &Ready) -> Vec<(u64, Reading, usize)> {
        let projects = ready.projects.iter();
        projects
            .map(|(id, reading, marks)| (id.0, *reading, marks.len()))
            .collect()
    }

    #[test]
    fn hints_are_gathered_and_merged() {
        let (queue, start) = (HintQueue::default(), Instant::now());
        queue.push(hint(1, Reading::ChangeFeed, start));
        queue.push(hint(2, Reading::ChangeFeed, start + GATHER / 2));
        queue.push(hint(1, Reading::ChangeFeed, start + GATHER / 2));
        assert_eq!(queue.take(start + GATHER / 2), Ready::default());
        let ready = queue.take(start + GATHER);
        assert_eq!(taken(&ready), [(1, Reading::ChangeFeed, 2)]);
        let ready = queue.take(start + 2 * GATHER);
        assert_eq!(taken(&ready), [(2, Reading::ChangeFeed, 1)]);
    }

    #[test]
    fn a_storm_is_one_read_of_a_project_every_two_seconds() {
        let (queue, start) = (HintQueue::default(), Instant::now());
        let mut reads = 0;
        for tick in 0..1000_u32 {
            let now = start + tick * Duration::from_millis(10);
            for _ in 0..10 {
                queue.push(hint(1, Reading::ChangeFeed, now));
            }
            let ready = queue.take(now);
            assert!(
                ready
                    .projects
                    .iter()
                    .all(|(_, _, marks)| marks.len() <= MARKS)
            );
            reads += ready.projects.len();
        }
        assert!((5..=6).contains(&reads), "{reads} reads in 10 s");
    }

    #[test]
    fn events_that_are_dropped_are_announced_all_the_same() {
        let (queue, start) = (HintQueue::default(), Instant::now());
        for subject in 0..1000 {
            let mut hint = hint(1, Reading::ChangeFeed, start);
            hint.mark.subject = Some(subject);
            queue.push(hint);
        }
        let ready = queue.take(start + GATHER);
        let (_, _, marks) = &ready.projects[0];
        assert_eq!((marks.len(), marks[MARKS - 1].subject), (MARKS, None));
    }

    #[test]
    fn lists_and_counts_are_read_further_apart() {
        let (queue, start) = (HintQueue::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for seconds in 0..120 {
            queue.push(hint(1, Reading::Repository, at(seconds)));
            queue.push_lists(at(seconds));
            let ready = queue.take(at(seconds) + GATHER);
            let is_due = seconds % 60 == 0 || seconds == 60;
            assert_eq!(!ready.projects.is_empty(), is_due, "{seconds}");
            assert_eq!(ready.lists, seconds % 10 == 0, "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_when_something_is_ready() {
        let queue = std::sync::Arc::new(HintQueue::default());
        let start = Instant::now();
        let waiter = {
            let queue = std::sync::Arc::clone(&queue);
            tokio::spawn(async move { queue.ready().await })
        };
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!waiter.is_finished());
        queue.push(hint(1, Reading::ChangeFeed, Instant::now()));
        waiter.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(5) + GATHER);
    }
}
