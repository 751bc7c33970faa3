//! What is known of the deployments of projects, so that those that may have moved can be asked for by
//! their numbers, of many projects at once.
//!
//! GitLab numbers the deployments of a project one after the other and makes each with the pipeline of its
//! job. So what moved is among those that have not ended and those that come next. Where that does not
//! say all, the list does: after a start, where many wait, and every few hours, for deployments that were
//! changed past their jobs, and after numbers that were left out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::config::EnvironmentSelection;
use crate::gitlab::GitLab;
use crate::gitlab::model::Deployment;
use crate::types::Text;

/// Deployments of a project that are followed by their numbers: of more, the list costs GitLab less.
const MOST_OPEN: usize = 5;
/// How long one is followed that was skipped: when a job before it is retried, it comes back.
const SKIPPED: Duration = Duration::from_secs(24 * 3600);
/// How long a number is asked for of which there was none, though there were later ones: its transaction
/// may have taken longer.
const LATE: Duration = Duration::from_secs(600);
/// Numbers of a project that have a place together in a query.
const TOGETHER: usize = GitLab::NUMBERS_TOGETHER;

/// A deployment that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    /// Whether there was none yet.
    is_late: bool,
    /// How long it is followed; none where that is as long as it takes.
    until: Option<UnixSeconds>,
}

/// What is known of a project besides what is remembered; gone after a restart.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Number of the tracking that it was seen in.
    pub(super) tracking: u64,
    /// When the poll was that it is of.
    pub(super) read_at: UnixSeconds,
    /// When the environments were last listed.
    pub(super) listed_at: UnixSeconds,
    /// Which environments were watched.
    pub(super) selection: Option<EnvironmentSelection>,
    /// Names of environments that are not watched, so that their deployments do not have them listed again.
    pub(super) others: BTreeMap<u64, Text>,
    /// The highest number of a deployment; none while it is not known which are open.
    last: Option<u64>,
    open: BTreeMap<u64, Open>,
    /// By environment, the commit that was deployed and the tip of the branch that were compared.
    compared: BTreeMap<u64, (Text, Text)>,
}

impl Seen {
    /// The numbers that may have moved, and the next ones; none where the list is to be read.
    pub(super) fn numbers(&self) -> Option<Vec<u64>> {
        let last = self.last.filter(|_| self.open.len() <= MOST_OPEN)?;
        let open = self.open.keys().copied();
        // As many of those to come as have a place all the same, one at least.
        let next = TOGETHER - self.open.len() % TOGETHER;
        Some(open.chain((last + 1..).take(next)).collect())
    }

    /// The numbers that follow, if all that were asked for beyond the last one were there.
    pub(super) fn more(&self, asked: &[u64]) -> Option<Vec<u64>> {
        let last = self.last?;
        let all = asked.iter().max() == Some(&last);
        all.then(|| (last + 1..).take(TOGETHER).collect())
    }

    /// Whether it is known which deployments are open.
    pub(super) fn is_known(&self) -> bool {
        self.last.is_some()
    }

    /// Takes the newest deployments in, from which on all are known.
    pub(super) fn begin(&mut self, newest: &[Deployment], now: UnixSeconds) {
        self.last = Some(0);
        self.take(newest, now);
    }

    /// Takes deployments in.
    pub(super) fn take(&mut self, deployments: &[Deployment], now: UnixSeconds) {
        let Some(last) = &mut self.last else { return };
        for deployment in deployments {
            let Some(number) = deployment.iid else {
                // Without numbers none can be followed.
                self.last = None;
                return;
            };
            *last = number.max(*last);
            let skipped = &*deployment.status == "skipped";
            let open = Open {
                is_late: false,
                until: skipped.then(|| deployment.created_at.plus(SKIPPED)),
            };
            match deployment.ended() {
                true => self.open.remove(&number),
                false => self.open.insert(number, open),
            };
        }
        self.open
            .retain(|_, open| open.until.is_none_or(|until| now < until));
    }

    /// There is none of a number: it is still to come, or late. One that was there is gone or hidden, which the
    /// list tells.
    pub(super) fn absent(&mut self, number: u64, now: UnixSeconds) {
        match self.open.get(&number) {
            Some(open) if open.is_late => {}
            Some(_) => self.last = None,
            None if self.last.is_some_and(|last| number < last) => {
                let late = Open {
                    is_late: true,
                    until: Some(now.plus(LATE)),
                };
                self.open.insert(number, late);
            }
            None => {}
        }
    }

    /// Whether a commit was compared with a tip.
    pub(super) fn was_compared(&self, environment: u64, sha: &Text, tip: &Text) -> bool {
        let before = self.compared.get(&environment);
        before.is_some_and(|(of, with)| of == sha && with == tip)
    }

    /// A commit was compared with a tip.
    pub(super) fn compared(&mut self, environment: u64, sha: &Text, tip: &Text) {
        self.compared
            .insert(environment, (sha.clone(), tip.clone()));
    }

    /// Forgets environments that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(u64) -> bool) {
        self.compared
            .retain(|environment, _| is_there(*environment));
    }
}
