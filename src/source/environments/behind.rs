//! How many commits environments are behind the default branch.

use std::collections::BTreeMap;

use super::{CALLS_AT_ONCE, ENVIRONMENTS_AT_ONCE, Poll};
use crate::memory::environments::RememberedEnvironment;
use crate::source::side_by_side;
use crate::types::Text;

impl Poll<'_> {
    /// Compares what environments have with the default branch, where either moved.
    pub(super) async fn behind(&mut self) {
        let Some(branch) = self.target.project.default_branch.clone().value() else {
            return;
        };
        let places = self.places();
        self.seen
            .retain(|environment| places.iter().any(|(id, _)| *id == environment));
        let mut deployed = Vec::new();
        for (id, _) in places {
            if let Some(sha) = self.sha(id)
                && !self.is_compared(id, &sha)
            {
                deployed.push((id, sha));
            }
        }
        let chosen = turn(&deployed, self.progress.turn);
        if deployed.len() > chosen.len() {
            self.progress.turn = self.progress.turn.wrapping_add(chosen.len()) % deployed.len();
        }
        // Environments with the same commit share a call.
        let mut shas: BTreeMap<Text, Vec<u64>> = BTreeMap::new();
        for (id, sha) in chosen {
            shas.entry(sha.clone()).or_default().push(*id);
        }
        let project = self.target.id();
        let calls = shas
            .keys()
            .map(|sha| self.gitlab.commit_count_between(project, sha, &branch));
        let counts = side_by_side(CALLS_AT_ONCE, calls.collect()).await;
        for ((sha, ids), count) in shas.iter().zip(counts) {
            match count {
                Ok(count) => {
                    for id in ids {
                        self.read.behind.insert(*id, count);
                        if let Some(tip) = &self.tip {
                            self.seen.compared(*id, sha, tip);
                        }
                    }
                }
                // The commit was removed by a force push: there is no number.
                Err(error) if error.is_object_not_found() => {}
                Err(error) => self.problem(&error),
            }
        }
    }

    /// The commit that an environment has.
    fn sha(&self, environment: u64) -> Option<Text> {
        let deployments = self.read.deployments.iter();
        let newest = deployments
            .filter(|d| d.environment == environment && d.succeeded())
            .max_by_key(|d| (d.finished_at, d.id))
            .map(|d| d.sha.clone());
        let known = self.target.memory.environments.known().get(&environment);
        newest.or_else(|| known.and_then(RememberedEnvironment::sha))
    }

    /// Whether it is known how far a commit is behind: it is the tip, or was compared with it.
    fn is_compared(&mut self, environment: u64, sha: &Text) -> bool {
        let Some(tip) = &self.tip else {
            return false;
        };
        if tip == sha {
            self.read.behind.insert(environment, 0);
            self.seen.compared(environment, sha, tip);
            return true;
        }
        let known = self.target.memory.environments.known().get(&environment);
        known.is_some_and(|known| known.behind.is_some())
            && self.seen.was_compared(environment, sha, tip)
    }
}

/// Some of `all`, beginning where the last turn ended.
fn turn<T>(all: &[T], first: usize) -> Vec<&T> {
    let first = first % all.len().max(1);
    let size = all.len().min(ENVIRONMENTS_AT_ONCE);
    all.iter().cycle().skip(first).take(size).collect()
}
