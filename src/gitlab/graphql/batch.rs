//! Queries for many projects at once: cut down where they are too much, and left alone for a while
//! where GraphQL does not answer.

mod size;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Batch, FailedProject};
use crate::clock::UnixSeconds;
use crate::gitlab::Excess;
use crate::gitlab::error::{Cause, GitLabError};
use crate::locks::lock;
use crate::types::ProjectId;
use size::BatchSize;

/// How long GraphQL is paused when it did not answer.
const PAUSE: Duration = Duration::from_secs(600);
/// Projects that were asked for alone, without success, before it is clear that no project is at fault.
const SINGLES: usize = 2;

/// Why a project was not read with others.
#[derive(Clone, Debug)]
pub enum NotRead {
    /// The answer does not name it: it was removed, or the token may not see it.
    NotFound,
    /// The batch was answered, this project's part of it was not.
    Partial(String),
    /// One of its lists has too much.
    TooMuch(String, Excess),
    /// The query failed; all that were asked for share the error.
    Failed(Arc<GitLabError>),
}

/// Whether GraphQL is asked: the settings allow it, and it has not failed lately. Queries that fail
/// together share one.
#[derive(Debug)]
pub struct Breaker {
    allowed: bool,
    pause: Duration,
    /// Until when it is paused, and why.
    closed: Mutex<Option<(UnixSeconds, String)>>,
}

impl Breaker {
    /// One for a GitLab whose settings allow GraphQL or not.
    pub(crate) fn new(allowed: bool) -> Arc<Self> {
        Self::pausing(allowed, PAUSE)
    }

    /// One that leaves GraphQL alone for so long.
    pub(crate) fn pausing(allowed: bool, pause: Duration) -> Arc<Self> {
        Arc::new(Self {
            allowed,
            pause,
            closed: Mutex::default(),
        })
    }

    /// Whether GraphQL is to be asked.
    pub(crate) fn is_open(&self, now: UnixSeconds) -> bool {
        self.allowed && self.reason(now).is_none()
    }

    /// Why GraphQL is paused, though the settings allow it.
    pub(crate) fn reason(&self, now: UnixSeconds) -> Option<String> {
        let closed = lock(&self.closed);
        let (until, reason) = closed.as_ref()?;
        // More than a pause ahead: the clock was set back meanwhile.
        let holds = now < *until && until.since(now) <= self.pause;
        holds.then(|| reason.clone())
    }

    /// Takes an error in: pauses GraphQL if it failed. A query that is
    /// not sent costs nothing, and others may be answered.
    pub(crate) fn failed(&self, error: &GitLabError, now: UnixSeconds) {
        let not_sent = matches!(error.cause, Cause::GraphQlLacks(_));
        if not_sent || !error.graphql_unavailable() {
            return;
        }
        if self.is_open(now) {
            tracing::warn!(
                %error,
                pause_seconds = self.pause.as_secs(),
                "GraphQL cannot be used; falling back to REST, which takes more calls"
            );
        }
        *lock(&self.closed) = Some((now.plus(self.pause), error.to_string()));
    }
}

/// One query over projects: for how many at once it is asked, and whether it is asked at all.
#[derive(Debug)]
pub struct Batches {
    breaker: Arc<Breaker>,
    most: usize,
    size: Mutex<BatchSize>,
    /// Projects that were asked for alone, without success, since the last answer.
    unanswered: Mutex<BTreeSet<ProjectId>>,
    /// Projects that spoil the answer for others, until when they are left out, and their error.
    spoilers: Mutex<BTreeMap<ProjectId, (UnixSeconds, Arc<GitLabError>)>>,
}

impl Batches {
    /// For at most so many projects at once.
    pub(crate) fn new(breaker: &Arc<Breaker>, most: usize) -> Self {
        Self {
            breaker: Arc::clone(breaker),
            most: most.max(1),
            size: Mutex::new(BatchSize::new(most)),
            unanswered: Mutex::default(),
            spoilers: Mutex::default(),
        }
    }

    /// What says whether the query is asked.
    pub(crate) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Most projects in one query: so many are worth handing over together. [`Self::ask`] begins with fewer.
    pub(crate) const fn size(&self) -> usize {
        self.most
    }

    /// For how many projects at once the next query asks.
    fn size_now(&self) -> usize {
        lock(&self.size).get()
    }

    /// Asks for `ids`, a few more in each query as long as they are answered. A query that fails for what one project may have caused, or for being too much,
    /// is halved at once and asked again, until the project is found: it alone fails, and is left out of
    /// queries for a while, so that it is not searched for again at every poll. What every query would
    /// meet ends it, and is the error of all that are left. Of an answer that GitLab broke off after its
    /// 30 seconds the rest is asked for again, in queries of half the size. A project that no answer names
    /// is not found; those that GraphQL was not asked for are absent.
    pub(crate) async fn ask<T, E, A>(
        &self,
        ids: &[ProjectId],
        now: UnixSeconds,
        id_of: impl Fn(&T) -> ProjectId,
        ask: impl Fn(Vec<ProjectId>) -> A,
    ) -> BTreeMap<ProjectId, Result<T, E>>
    where
        E: From<NotRead>,
        A: Future<Output = Result<Batch<T>, GitLabError>>,
    {
        let mut read = BTreeMap::new();
        if !self.breaker.is_open(now) {
            return read;
        }
        let ids = self.without_spoilers(ids, now, &mut read);
        let asked = ids.len();
        let mut ids = ids.into_iter();
        let mut open: Vec<Vec<ProjectId>> = Vec::new();
        let mut answered = false;
        let mut spoilers = Vec::new();
        let mut too_heavy: Option<usize> = None;
        loop {
            let some = match open.pop() {
                Some(some) => some,
                None => {
                    // Where nothing is answered, smaller queries do not help.
                    if let Some(size) = too_heavy.take_if(|_| answered) {
                        lock(&self.size).too_heavy(size);
                    }
                    ids.by_ref().take(self.size_now()).collect()
                }
            };
            if some.is_empty() {
                break;
            }
            let error = match ask(some.clone()).await {
                Ok(batch) => {
                    answered = true;
                    lock(&self.unanswered).clear();
                    let again = timed_out(&batch);
                    if again.is_empty() {
                        lock(&self.size).took(some.len(), batch.server_time);
                    } else {
                        lock(&self.size).too_heavy(some.len());
                    }
                    take_in(&mut read, batch, &some, &id_of);
                    if some.len() > 1 {
                        read.retain(|id, _| !again.contains(id));
                        open.extend(again.chunks(some.len() / 2).map(<[_]>::to_vec));
                    }
                    continue;
                }
                Err(error) => error,
            };
            let one_items_fault = error.may_be_one_items_fault() && self.breaker.is_open(now);
            if one_items_fault && some.len() > 1 {
                if error.batch_too_heavy() {
                    let size = too_heavy.map_or(some.len(), |size| size.min(some.len()));
                    too_heavy = Some(size);
                }
                let too_complex = matches!(error.cause, Cause::GraphQlComplexity(_));
                cut(some, &mut open, !answered && !too_complex);
                continue;
            }
            let alike = !one_items_fault || (!answered && self.none_answers(&some, asked));
            if alike {
                self.breaker.failed(&error, now);
            }
            let left: Vec<ProjectId> = if alike {
                open.drain(..).flatten().chain(ids.by_ref()).collect()
            } else {
                Vec::new()
            };
            let error = Arc::new(error);
            if !alike && let [spoiler] = some[..] {
                spoilers.push((spoiler, Arc::clone(&error)));
            }
            let failed = some.into_iter().chain(left);
            let failed = failed.map(|id| (id, Err(NotRead::Failed(Arc::clone(&error)).into())));
            read.extend(failed);
        }
        // Where nothing is answered, no project is at fault.
        if answered {
            let until = now.plus(self.breaker.pause);
            let spoilers = spoilers.into_iter();
            lock(&self.spoilers).extend(spoilers.map(|(id, error)| (id, (until, error))));
        }
        read
    }

    /// Those of `ids` that are asked for now. The others spoiled the answer for others lately: their error
    /// is put into `read`.
    fn without_spoilers<T, E: From<NotRead>>(
        &self,
        ids: &[ProjectId],
        now: UnixSeconds,
        read: &mut BTreeMap<ProjectId, Result<T, E>>,
    ) -> Vec<ProjectId> {
        let pause = self.breaker.pause;
        let mut spoilers = lock(&self.spoilers);
        // More than a pause ahead: the clock was set back meanwhile.
        spoilers.retain(|_, (until, _)| now < *until && until.since(now) <= pause);
        let is_asked = |id: &ProjectId| match spoilers.get(id) {
            Some((_, error)) => {
                read.insert(*id, Err(NotRead::Failed(Arc::clone(error)).into()));
                false
            }
            None => true,
        };
        ids.iter().copied().filter(is_asked).collect()
    }

    /// Notes a project that was asked for alone, in vain; true when no project can be at fault: others
    /// failed alike, or it is the only one, and has failed before.
    fn none_answers(&self, alone: &[ProjectId], asked: usize) -> bool {
        let mut unanswered = lock(&self.unanswered);
        let before = unanswered.len();
        unanswered.extend(alone);
        let again = unanswered.len() == before;
        unanswered.len() >= SINGLES || (again && asked == 1)
    }
}

/// Puts the halves of a query on the list. `first_ends`: its first and last project come before them,
/// alone, to make sure that GraphQL answers at all.
fn cut(mut ids: Vec<ProjectId>, open: &mut Vec<Vec<ProjectId>>, first_ends: bool) {
    let ends = (first_ends && ids.len() > 2)
        .then(|| ids.pop().into_iter().chain([ids.remove(0)]))
        .into_iter()
        .flatten()
        .map(|id| vec![id]);
    let ends: Vec<Vec<ProjectId>> = ends.collect();
    let other = ids.split_off(ids.len() / 2);
    open.extend([other, ids].into_iter().filter(|half| !half.is_empty()));
    open.extend(ends);
}

/// Projects of which something is missing because GitLab broke the answer off.
fn timed_out<T>(batch: &Batch<T>) -> Vec<ProjectId> {
    let failed = batch.failed.iter();
    let failed = failed.filter(|project| project.has_timed_out());
    failed.map(|project| project.id).collect()
}

fn take_in<T, E: From<NotRead>>(
    read: &mut BTreeMap<ProjectId, Result<T, E>>,
    batch: Batch<T>,
    asked: &[ProjectId],
    id_of: impl Fn(&T) -> ProjectId,
) {
    for FailedProject { id, why, too_much } in batch.failed {
        let why = match too_much {
            None => NotRead::Partial(why),
            Some(excess) => NotRead::TooMuch(why, excess),
        };
        read.insert(id, Err(why.into()));
    }
    let items = batch.items.into_iter();
    read.extend(items.map(|item| (id_of(&item), Ok(item))));
    for id in asked {
        read.entry(*id)
            .or_insert_with(|| Err(NotRead::NotFound.into()));
    }
}
