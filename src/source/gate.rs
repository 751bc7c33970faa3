//! How a source asks by GraphQL: batches that adapt, and a pause where GraphQL does not answer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::gitlab::graphql::batch::BatchSize;
use crate::gitlab::{GitLab, GitLabError};

/// How long REST stands in before GraphQL is tried again.
const PAUSE: Duration = Duration::from_secs(600);

/// Whether and with how many projects at once GraphQL is asked.
#[derive(Debug)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug)]
struct State {
    size: BatchSize,
    closed_until: Option<UnixSeconds>,
}

impl Gate {
    /// Open, for batches of this many projects at most.
    pub(super) fn new(most: usize) -> Self {
        Self(Mutex::new(State {
            size: BatchSize::new(most),
            closed_until: None,
        }))
    }

    /// How many projects to ask for at once; none when GraphQL is not to be asked.
    pub(super) fn size(&self, gitlab: &GitLab, now: UnixSeconds) -> Option<usize> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = state.closed_until.is_none_or(|until| now >= until);
        (gitlab.uses_graphql() && open).then(|| state.size.get())
    }

    /// How a batch of `len` went.
    pub(super) fn note(&self, len: usize, error: Option<&GitLabError>, now: UnixSeconds) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => {
                state.size.succeeded(len);
                state.closed_until = None;
            }
            Some(error) if error.batch_too_heavy() => {
                state.size.failed(len, error);
            }
            Some(error) if error.graphql_unavailable() => {
                state.closed_until = Some(now.plus(PAUSE));
            }
            Some(_) => {}
        }
    }
}
