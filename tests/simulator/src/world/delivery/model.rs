//! Environments, deployments and incidents, in GitLab's own words.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Millis;
use crate::world::model::{JobId, ProjectId};

/// Id of an environment, unique on the instance.
pub type EnvironmentId = u64;
/// Id of a deployment, unique on the instance.
pub type DeploymentId = u64;

macro_rules! named {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// GitLab's lower-case value.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// By GitLab's value, in any case.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(text))
            }
        }
    )*};
}

named! {
    /// What an environment is for.
    EnvironmentTier {
        /// What users use.
        Production = "production",
        /// What is shown before.
        Staging = "staging",
        /// What tests run on.
        Testing = "testing",
        /// What developers use.
        Development = "development",
        /// Everything else.
        Other = "other",
    }
    /// Whether an environment is up.
    EnvironmentState {
        /// It is.
        Available = "available",
        /// Its stop job runs.
        Stopping = "stopping",
        /// It is not.
        Stopped = "stopped",
    }
    /// How far a deployment is.
    DeploymentStatus {
        /// Not begun.
        Created = "created",
        /// Begun.
        Running = "running",
        /// Ended well.
        Success = "success",
        /// Ended badly.
        Failed = "failed",
        /// Was stopped.
        Canceled = "canceled",
        /// Left out.
        Skipped = "skipped",
        /// Waits for approval.
        Blocked = "blocked",
    }
}

impl EnvironmentTier {
    /// The tier that GitLab guesses from a name.
    #[must_use]
    pub fn guess(name: &str) -> Self {
        let name = name.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if any(&["dev", "review", "trunk"]) {
            Self::Development
        } else if any(&[
            "test", "tst", "int", "accept", "acpt", "qa", "qc", "control", "quality",
        ]) {
            Self::Testing
        } else if any(&["stag", "stg", "model", "modl", "pre", "demo", "non"]) {
            Self::Staging
        } else if any(&["prod", "prd", "live"]) {
            Self::Production
        } else {
            Self::Other
        }
    }
}

impl Incident {
    /// GitLab's type of the issue, in lower case.
    #[must_use]
    pub fn issue_type(&self) -> &str {
        self.issue_type.as_deref().unwrap_or("incident")
    }
}

impl Environment {
    /// GitLab's short name.
    #[must_use]
    pub fn slug(&self) -> String {
        self.slug
            .as_ref()
            .map_or_else(|| self.name.replace('/', "-"), ToString::to_string)
    }
}

impl DeploymentStatus {
    /// Whether GitLab notes a time of its end.
    #[must_use]
    pub fn has_finish(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Canceled)
    }
}

/// An environment.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its name, such as `review/feature-1`.
    pub name: Arc<str>,
    /// What it is for.
    pub tier: EnvironmentTier,
    /// Whether it is up.
    pub state: EnvironmentState,
    /// Where it is.
    pub external_url: Option<Arc<str>>,
    /// GitLab's short name; the name without slashes where `None`.
    pub slug: Option<Arc<str>>,
    /// When it stops by itself.
    pub auto_stop_at: Option<Millis>,
    /// Made.
    pub created_at: Millis,
    /// Last changed.
    pub updated_at: Millis,
}

/// The job of a deployment.
#[derive(Clone, Debug, Serialize)]
pub struct DeploymentJob {
    /// Its id.
    pub id: JobId,
    /// Its name.
    pub name: Arc<str>,
    /// Begun.
    pub started_at: Option<Millis>,
    /// Ended.
    pub finished_at: Option<Millis>,
}

/// A deployment.
#[derive(Clone, Debug, Serialize)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Its number in the project.
    pub iid: u64,
    /// Its project.
    pub project_id: ProjectId,
    /// Where it goes.
    pub environment_id: EnvironmentId,
    /// Branch or tag.
    pub ref_name: Arc<str>,
    /// Commit.
    pub sha: Arc<str>,
    /// How far it is.
    pub status: DeploymentStatus,
    /// Made.
    pub created_at: Millis,
    /// Last changed.
    pub updated_at: Millis,
    /// Ended; GraphQL shows it, REST does not.
    pub finished_at: Option<Millis>,
    /// The job that deploys; `None` for one made by API.
    pub job: Option<DeploymentJob>,
    /// Merge requests that it shipped, by iid: linked when it succeeds.
    pub merge_requests: Vec<u64>,
    /// User name of who deployed; the exporter's bot where `None`.
    pub user: Option<Arc<str>>,
}

/// An issue; of type incident unless it says otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Incident {
    /// Its id.
    pub id: u64,
    /// Its number among the project's issues.
    pub iid: u64,
    /// Its project.
    pub project_id: ProjectId,
    /// Made.
    pub created_at: Millis,
    /// Last changed.
    pub updated_at: Millis,
    /// Closed; `None` while it is open.
    pub closed_at: Option<Millis>,
    /// The incident that it was closed as a duplicate of, by iid.
    pub duplicate_of: Option<u64>,
    /// Another type than `incident`.
    pub issue_type: Option<Arc<str>>,
    /// Title.
    pub title: Option<Arc<str>>,
    /// User name of who opened it; the exporter's bot where `None`.
    pub author: Option<Arc<str>>,
}
