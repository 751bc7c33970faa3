//! What is remembered of a project's jobs.

use std::collections::BTreeMap;

use super::history::RefHistory;
use super::job_names::JobName;
use super::refs::RefName;
use crate::clock::UnixSeconds;
use crate::gitlab::model::Status;
use crate::types::{JobId, PipelineId, Text};

/// What is remembered of a project's jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobsMemory {
    /// Counted events, under the pipeline they hang on.
    pub(crate) claims: BTreeMap<PipelineId, BTreeMap<JobId, JobClaims>>,
    /// UnfinishedJobs jobs of active pipelines.
    pub(crate) unfinished: BTreeMap<PipelineId, UnfinishedJobs>,
    /// Jobs of the newest pipeline of each ref, and while that goes on of the one before.
    pub(crate) newest: RefHistory<JobsOfRef>,
}

impl JobsMemory {
    /// The refs whose jobs are remembered, and when the newest pipeline of each was created.
    pub fn latest_refs(&self) -> impl Iterator<Item = (&RefName, UnixSeconds)> {
        self.newest.latest()
    }

    /// The jobs that have states, by the labels of their ref.
    pub fn names(&self) -> impl Iterator<Item = JobName> + '_ {
        self.newest.iter().flat_map(|(git_ref, entries)| {
            let git_ref = git_ref.without_kind();
            let jobs = entries.iter().flat_map(|entry| &entry.value.jobs);
            jobs.map(move |job| JobName {
                git_ref: git_ref.clone(),
                stage: job.stage.clone(),
                name: job.name.clone(),
            })
        })
    }
}

/// The events of a job that have been counted or found to be history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobClaims {
    /// Its end is history, though its labels may come to be known later.
    pub(crate) history: bool,
    pub(crate) ended: bool,
    pub(crate) retried: bool,
    pub(crate) flaky: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnfinishedJobs {
    pub(crate) pending: u32,
    pub(crate) running: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct JobsOfRef {
    /// The pipeline has come to rest.
    pub(crate) rests: bool,
    /// It succeeded, though jobs failed that may.
    pub(crate) warnings: bool,
    /// The newest job of each name.
    pub(crate) jobs: Vec<JobSnapshot>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JobSnapshot {
    pub(crate) id: JobId,
    /// It is a trigger job.
    pub(crate) is_bridge: bool,
    pub(crate) name: Text,
    pub(crate) stage: Text,
    pub(crate) status: Status,
    pub(crate) failure_reason: Option<Text>,
    pub(crate) created_at: UnixSeconds,
    /// Since when it runs, while it does.
    pub(crate) running_since: Option<UnixSeconds>,
    pub(crate) duration: Option<f64>,
    pub(crate) queued_duration: Option<f64>,
    pub(crate) coverage: Option<f64>,
    pub(crate) artifact_bytes: Option<u64>,
    /// Description of its runner, where that is shown.
    pub(crate) runner_description: Option<Text>,
    /// Its tags, where these are shown.
    pub(crate) tags: Vec<Text>,
}
