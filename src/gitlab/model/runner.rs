//! Runners.

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::types::Text;

/// Who may take a job's runner (`instance_type`, `group_type`, `project_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerType {
    /// Every project of the instance.
    Instance,
    /// The projects of a group.
    Group,
    /// Chosen projects.
    Project,
    /// A type newer than this program.
    Other,
}

impl RunnerType {
    /// The value of the label `runner_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Group => "group",
            Self::Project => "project",
            Self::Other => "unknown",
        }
    }
}

impl From<&str> for RunnerType {
    /// Reads `instance_type` and `INSTANCE_TYPE` alike.
    fn from(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "instance_type" => Self::Instance,
            "group_type" => Self::Group,
            "project_type" => Self::Project,
            _ => Self::Other,
        }
    }
}

/// A runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// Its id.
    pub id: u64,
    /// What people call it.
    pub description: Text,
    /// What it serves.
    pub runner_type: RunnerType,
    /// Whether it takes no jobs.
    pub paused: bool,
    /// Whether it has contacted GitLab within the last two hours.
    pub online: bool,
    /// Last contact; none if it never was, or if this way of reading does not return it.
    pub contacted_at: Option<UnixSeconds>,
    /// The processes that work for it, as far as they were read.
    pub managers: Vec<RunnerManager>,
}

/// A process that works for a runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunnerManager {
    /// Version of the program.
    pub version: Text,
    /// Operating system.
    pub platform: Text,
    /// Kind of processor.
    pub architecture: Text,
}
