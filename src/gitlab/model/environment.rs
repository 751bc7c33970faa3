//! Environments, deployments, incidents.

use serde::{Deserialize, Serialize};

use super::{RefKind, User, merge_request_iid};
use crate::clock::UnixSeconds;
use crate::types::{JobId, Text};

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Its id, unique in the instance.
    pub id: u64,
    /// Its name, such as `review/feature-1`.
    pub name: Text,
    /// GitLab's lower-case tier; empty when it does not say.
    pub tier: Text,
    /// `available`, `stopping` or `stopped`.
    pub state: Text,
    /// Where it is reached.
    pub external_url: Option<Text>,
}

/// What a deployment came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentOrigin {
    /// Its ref as GitLab writes it; empty where GitLab does not say.
    pub git_ref: Text,
    /// What the ref is.
    pub kind: Option<RefKind>,
    /// The job that deploys; none for one made by API.
    pub job: Option<JobId>,
    /// Who deployed.
    pub user: Option<User>,
}

impl DeploymentOrigin {
    /// By GitLab's own facts; a ref is a branch where it does not say otherwise.
    #[must_use]
    pub fn new(git_ref: &str, is_tag: bool, job: Option<JobId>, user: Option<User>) -> Self {
        let kind = match merge_request_iid(git_ref) {
            _ if git_ref.is_empty() => None,
            Some(_) => Some(RefKind::MergeRequest),
            None if is_tag => Some(RefKind::Tag),
            None => Some(RefKind::Branch),
        };
        Self {
            git_ref: git_ref.into(),
            kind,
            job,
            user,
        }
    }
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its id, unique in the instance.
    pub id: u64,
    /// Its number in the project; none where GitLab does not say.
    pub iid: Option<u64>,
    /// Id of its environment.
    pub environment: u64,
    /// Name of its environment.
    pub environment_name: Text,
    /// Commit.
    pub sha: Text,
    /// GitLab's lower-case status.
    pub status: Text,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When it last changed.
    pub updated_at: UnixSeconds,
    /// When it started: its job's start, or its creation where no job deployed. None while it waits,
    /// and for one that was skipped or canceled before.
    pub started_at: Option<UnixSeconds>,
    /// When it ended: its job's end, or its last change where no job deployed. REST has no time of
    /// its own for it. None while it has not ended.
    pub finished_at: Option<UnixSeconds>,
    /// Seconds that its job ran, or from creation to end where no job deployed.
    pub duration: Option<f64>,
    /// What it came from.
    #[serde(default)]
    pub origin: DeploymentOrigin,
}

impl Deployment {
    /// Whether it is of the statuses that one has while it waits, and if it never starts.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(&*self.status, "created" | "blocked" | "skipped")
    }

    /// Whether it ended: it does not change any more.
    #[must_use]
    pub fn ended(&self) -> bool {
        matches!(&*self.status, "success" | "failed" | "canceled")
    }

    /// Whether it succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        &*self.status == "success"
    }
}

/// An issue of type incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number in the project.
    pub iid: u64,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When it last changed.
    pub updated_at: UnixSeconds,
    /// When it was closed; none while it is open.
    pub closed_at: Option<UnixSeconds>,
    /// Whether it was closed as a duplicate of another.
    pub duplicate: bool,
}
