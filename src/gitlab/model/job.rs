//! Jobs.

use serde::{Deserialize, Serialize};

use super::{Known, RunnerType, Status};
use crate::clock::UnixSeconds;
use crate::types::{JobId, Text};

/// A job that a runner runs, or a trigger job (bridge), which starts a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Unique id; a retry has its own.
    pub id: JobId,
    /// Whether it is a trigger job: no runner runs it.
    #[serde(default)]
    pub is_bridge: bool,
    /// Name in the CI configuration.
    pub name: Text,
    /// Name of its stage.
    pub stage: Text,
    /// Status now.
    pub status: Status,
    /// Whether a newer run of the same job has taken its place.
    pub retried: Known<bool>,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// When a runner took it.
    pub started_at: Option<UnixSeconds>,
    /// When it ended.
    pub finished_at: Option<UnixSeconds>,
    /// Seconds it ran; of a running job, up to now. REST has fractions, GraphQL whole seconds.
    pub duration: Option<f64>,
    /// Seconds it waited for a runner.
    pub queued_duration: Option<f64>,
    /// Percent of code covered by tests, from its log.
    pub coverage: Option<f64>,
    /// Whether its pipeline may succeed though it fails.
    #[serde(default)]
    pub allow_failure: bool,
    /// Why it failed (`script_failure`, …); only REST returns it.
    pub failure_reason: Known<Text>,
    /// Type of its runner; hidden below Maintainer for group and project runners in GraphQL.
    pub runner_type: Known<RunnerType>,
    /// Description of its runner, where it is read and can be seen.
    #[serde(default)]
    pub runner_description: Option<Text>,
    /// Tags that it asks of a runner, in GitLab's order; none where they were not read.
    #[serde(default)]
    pub tags: Option<Vec<Text>>,
    /// Bytes of all its artifacts together, its log left out; null when it has none.
    pub artifact_bytes: Option<u64>,
}
