//! How many commits environments are behind the default branch.

use std::collections::BTreeMap;

use super::{CALLS_AT_ONCE, ENVIRONMENTS_AT_ONCE, Poll};
use crate::clock::UnixSeconds;
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
            if let Some((sha, finished_at)) = self.deployed(id)
                && !self.is_compared(id, &sha)
            {
                deployed.push((id, sha, finished_at));
            }
        }
        let chosen = turn(&deployed, self.progress.turn);
        if deployed.len() > chosen.len() {
            self.progress.turn = self.progress.turn.wrapping_add(chosen.len()) % deployed.len();
        }
        // Environments with the same commit share a call; the oldest commit may answer for the others.
        let mut shas: BTreeMap<Text, (UnixSeconds, Vec<u64>)> = BTreeMap::new();
        for (id, sha, finished_at) in chosen {
            let (oldest, ids) = shas
                .entry(sha.clone())
                .or_insert((*finished_at, Vec::new()));
            *oldest = (*finished_at).min(*oldest);
            ids.push(*id);
        }
        let oldest = shas.iter().min_by_key(|(_, (finished_at, _))| *finished_at);
        let Some(base) = oldest.map(|(sha, _)| sha.clone()) else {
            return;
        };
        let project = self.target.id();
        let compared = self.gitlab.compare(project, &base, &branch).await;
        let mut counts = vec![(base.clone(), compared.as_ref().map(|found| found.count))];
        let mut others = Vec::new();
        for sha in shas.keys().filter(|sha| **sha != base) {
            let found = compared.as_ref().ok();
            match found.and_then(|found| found.missing_in(sha, &base)) {
                Some(count) => counts.push((sha.clone(), Ok(count))),
                None => others.push(sha.clone()),
            }
        }
        let calls = others
            .iter()
            .map(|sha| self.gitlab.compare(project, sha, &branch));
        let read = side_by_side(CALLS_AT_ONCE, calls.collect()).await;
        let read = others.iter().zip(&read);
        counts
            .extend(read.map(|(sha, read)| (sha.clone(), read.as_ref().map(|found| found.count))));
        for (sha, count) in counts {
            match count {
                Ok(count) => {
                    for id in shas.get(&sha).into_iter().flat_map(|(_, ids)| ids) {
                        self.read.behind.insert(*id, count);
                        if let Some(tip) = &self.tip {
                            self.seen.compared(*id, &sha, tip);
                        }
                    }
                }
                // The commit was removed by a force push: there is no number.
                Err(error) if error.is_object_not_found() => {}
                Err(error) => self.problem(error),
            }
        }
    }

    /// The commit that an environment has, and since when.
    fn deployed(&self, environment: u64) -> Option<(Text, UnixSeconds)> {
        let deployments = self.read.deployments.iter();
        let newest = deployments
            .filter(|d| d.environment == environment && d.succeeded())
            .max_by_key(|d| (d.finished_at, d.id))
            .map(|d| (d.sha.clone(), d.finished_at.unwrap_or_default()));
        let known = self.target.memory.environments.known().get(&environment);
        let success = known.and_then(|known| known.success.as_ref());
        newest.or_else(|| success.map(|last| (last.sha.clone(), last.finished_at)))
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
