//! What is remembered of a project's environments, and how far its deployments have been read.

use std::collections::BTreeMap;

use super::refs::merge_request_ref;
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Deployment, Environment, RefKind, merge_request_iid};
use crate::people::{People, Person};
use crate::types::{JobId, Text};

/// How far the deployments of a project have been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnvironmentsProgress {
    /// When the project was first polled, by GitLab's clock.
    pub(crate) first_seen: UnixSeconds,
    /// Latest change that has been read.
    pub(crate) watermark: UnixSeconds,
    /// When calls were last made, by GitLab's clock or ours, whichever is behind.
    pub(crate) read_at: Option<UnixSeconds>,
    /// When the last full poll was.
    pub(crate) full_at: UnixSeconds,
    /// What the change feed had seen at the last poll.
    pub(crate) moved: UnixSeconds,
    /// The turn of environments when there are more than one poll takes.
    pub(crate) turn: usize,
}

impl EnvironmentsProgress {
    /// Everything that changed until `newest` was read, at `now`. A time in the future is invalid, and would
    /// hide all that changes until then.
    pub(crate) fn read_until(&mut self, newest: UnixSeconds, now: UnixSeconds) {
        self.watermark = self.watermark.max(newest.min(now));
    }
}

/// An event of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DeploymentEvent {
    Started,
    Finished,
}

/// Deployments that wait, remembered of an environment: one where nobody plays the manual job gets
/// another with each pipeline.
pub(crate) const MAX_WAITING: usize = 100;

/// The deployment that an environment started last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LastStarted {
    pub(crate) id: u64,
    pub(crate) started_at: UnixSeconds,
    pub(crate) status: Text,
}

/// The last success of an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct LastSuccess {
    /// Id of the deployment.
    pub id: u64,
    /// Commit.
    pub sha: Text,
    /// When it ended.
    pub finished_at: UnixSeconds,
    pub(crate) duration: Option<f64>,
    /// When it was created; none where an earlier version did not note it, as what follows.
    pub(crate) created_at: Option<UnixSeconds>,
    /// Its ref as the label has it; empty where it is not known.
    pub(crate) git_ref: Text,
    pub(crate) kind: Option<RefKind>,
    pub(crate) job: Option<JobId>,
    /// Who deployed, as labels call people; empty where that is not known.
    pub(crate) user: Text,
}

impl LastSuccess {
    /// Notes what the deployment came from.
    fn learn(&mut self, deployment: &Deployment, people: &People) {
        let origin = &deployment.origin;
        self.created_at = Some(deployment.created_at);
        self.git_ref = match merge_request_iid(&origin.git_ref) {
            Some(iid) => merge_request_ref(&iid.to_string()),
            None => origin.git_ref.clone(),
        };
        self.kind = origin.kind;
        self.job = origin.job;
        let user = origin.user.as_ref().map(|user| {
            people.label(&Person {
                username: &user.username,
                name: &user.name,
            })
        });
        self.user = user.unwrap_or_default();
    }
}

/// What is remembered of an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct RememberedEnvironment {
    /// As GitLab has it.
    pub environment: Environment,
    pub(crate) newest: Option<LastStarted>,
    /// The status of deployments made after that one, which have not started, by id.
    pub(crate) waiting: BTreeMap<u64, Text>,
    /// Its last success.
    pub success: Option<LastSuccess>,
    pub(crate) behind: Option<u64>,
    pub(crate) asked: bool,
}

impl RememberedEnvironment {
    /// Whether its last success is still to be asked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.success.is_none() && !self.asked
    }

    /// Takes a status in: that of what started last is the environment's.
    fn take_status(&mut self, deployment: &Deployment) {
        let Deployment { id, status, .. } = deployment;
        let last = self.newest.as_ref().map(|last| (last.started_at, last.id));
        if let Some(started_at) = deployment.started_at {
            self.waiting.remove(id);
            if last.is_none_or(|last| last <= (started_at, *id) || last.1 == *id) {
                self.waiting.retain(|waiting, _| waiting > id);
                self.newest = Some(LastStarted {
                    id: *id,
                    started_at,
                    status: status.clone(),
                });
            }
        } else if !deployment.waits() {
            self.waiting.remove(id);
        } else if last.is_none_or(|(_, last)| last < *id) {
            self.waiting.insert(*id, status.clone());
            while self.waiting.len() > MAX_WAITING {
                self.waiting.pop_first();
            }
        }
    }

    pub(crate) fn take(&mut self, deployment: &Deployment, people: &People) {
        self.take_status(deployment);
        let end = deployment.finished_at.filter(|_| deployment.succeeded());
        let Some(finished_at) = end else { return };
        // Where it was read by an earlier version, or under other names of people.
        if let Some(last) = &mut self.success
            && last.id == deployment.id
        {
            if last.created_at.is_none() || last.user.is_empty() {
                last.learn(deployment, people);
            }
            return;
        }
        let before = self.success.as_ref();
        // The first end that was read stays: once its job is deleted, GitLab shows another.
        if before.is_some_and(|last| {
            last.id == deployment.id || (last.finished_at, last.id) > (finished_at, deployment.id)
        }) {
            return;
        }
        if before.is_some_and(|last| last.sha != deployment.sha) {
            self.behind = None;
        }
        let mut success = LastSuccess {
            id: deployment.id,
            sha: deployment.sha.clone(),
            finished_at,
            duration: deployment.duration,
            created_at: None,
            git_ref: Text::default(),
            kind: None,
            job: None,
            user: Text::default(),
        };
        success.learn(deployment, people);
        self.success = Some(success);
    }
}

/// What is remembered of a project's environments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnvironmentsMemory {
    pub(crate) claims: BTreeMap<(u64, DeploymentEvent), UnixSeconds>,
    pub(crate) known: BTreeMap<u64, RememberedEnvironment>,
    /// The newest commit of the default branch, as last read.
    pub(crate) tip: Option<Text>,
    /// How people are called in it.
    pub(crate) naming: Text,
}

impl EnvironmentsMemory {
    /// The environments, by id.
    #[must_use]
    pub fn known(&self) -> &BTreeMap<u64, RememberedEnvironment> {
        &self.known
    }
}
