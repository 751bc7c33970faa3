//! GraphQL queries for many projects at once: cut down where they are too much, and left alone for a
//! while where GraphQL does not answer.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::SourceError;
use crate::clock::UnixSeconds;
use crate::gitlab::graphql::Batch;
use crate::gitlab::graphql::batch::BatchSize;
use crate::gitlab::{GitLab, GitLabError};
use crate::types::ProjectId;

/// How long GraphQL is left alone when it did not answer.
const PAUSE: Duration = Duration::from_secs(600);
/// Projects that were asked for alone, in vain, before it is clear that no project is at fault.
const SINGLES: usize = 2;

/// What was read of each project; those that GraphQL was not asked for are absent.
pub(super) type PerProject<T> = BTreeMap<ProjectId, Result<T, SourceError>>;

/// One query: with how many projects at once it is asked, and whether it is asked at all.
#[derive(Debug)]
pub(super) struct Batches {
    allowed: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    size: BatchSize,
    closed_until: Option<UnixSeconds>,
}

impl Batches {
    /// For at most so many projects at once.
    pub(super) fn new(gitlab: &GitLab, most: usize) -> Self {
        Self::allowed(gitlab.uses_graphql(), most)
    }

    fn allowed(allowed: bool, most: usize) -> Self {
        Self {
            allowed,
            state: Mutex::new(State {
                size: BatchSize::new(most),
                closed_until: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is asked: the settings allow it, and it has not failed lately.
    pub(super) fn is_open(&self, now: UnixSeconds) -> bool {
        let until = self.lock().closed_until;
        // More than a pause ahead: the clock was set back meanwhile.
        self.allowed && until.is_none_or(|until| now >= until || until.since(now) > PAUSE)
    }

    /// Takes an error in: leaves GraphQL alone for a while if it is the way that failed.
    pub(super) fn failed(&self, error: &GitLabError, now: UnixSeconds) {
        if error.graphql_unavailable() {
            tracing::warn!(%error, pause_seconds = PAUSE.as_secs(), "a query is left alone for a while");
            self.lock().closed_until = Some(now.plus(PAUSE));
        }
    }

    /// Asks for `ids`. A query that fails for what one project may have caused is halved and asked
    /// again; what every query would meet ends it, and is the error of all that are left. Whom no
    /// answer names is gone.
    pub(super) async fn ask<T, A>(
        &self,
        ids: &[ProjectId],
        now: UnixSeconds,
        id_of: impl Fn(&T) -> ProjectId,
        ask: impl Fn(Vec<ProjectId>) -> A,
    ) -> PerProject<T>
    where
        A: Future<Output = Result<Batch<T>, GitLabError>>,
    {
        let mut read = PerProject::new();
        if !self.is_open(now) {
            return read;
        }
        let size = self.lock().size.get();
        let mut open: Vec<Vec<ProjectId>> = ids.chunks(size).map(<[_]>::to_vec).collect();
        let (mut answered, mut singles) = (false, 0);
        while let Some(ids) = open.pop() {
            let error = match ask(ids.clone()).await {
                Ok(batch) => {
                    answered = true;
                    self.lock().size.succeeded(ids.len());
                    take_in(&mut read, batch, &ids, &id_of);
                    continue;
                }
                Err(error) => error,
            };
            self.lock().size.failed(ids.len(), &error);
            if error.may_be_one_items_fault() && ids.len() > 1 {
                let (one, other) = ids.split_at(ids.len() / 2);
                open.extend([one.to_vec(), other.to_vec()]);
                continue;
            }
            singles += usize::from(ids.len() == 1);
            let alike = !error.may_be_one_items_fault() || (!answered && singles >= SINGLES);
            if alike {
                self.failed(&error, now);
            }
            let error = Arc::new(error);
            let left = if alike {
                std::mem::take(&mut open)
            } else {
                Vec::new()
            };
            let failed = ids.into_iter().chain(left.into_iter().flatten());
            read.extend(failed.map(|id| (id, Err(SourceError::GitLab(Arc::clone(&error))))));
        }
        read
    }
}

fn take_in<T>(
    read: &mut PerProject<T>,
    batch: Batch<T>,
    asked: &[ProjectId],
    id_of: impl Fn(&T) -> ProjectId,
) {
    let failed = batch.failed.into_iter();
    read.extend(failed.map(|one| (one.id, Err(SourceError::Partial(one.why)))));
    let items = batch.items.into_iter();
    read.extend(items.map(|item| (id_of(&item), Ok(item))));
    for id in asked {
        read.entry(*id).or_insert(Err(SourceError::Gone));
    }
}
