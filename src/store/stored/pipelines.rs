//! Pipelines: what the change feed follows, and what is shown of the newest of each ref.

pub(in crate::store) mod v1;
pub(in crate::store) mod v2;
pub(in crate::store) mod v3;

use super::Invalid;
use super::keep::{Keep, Map, stored_as, stored_enum, stored_struct};
use super::refs::{StoredRefKind, StoredRefName};
use crate::clock::UnixSeconds;
use crate::gitlab::model::{
    Known, Pipeline, PipelineMergeRequest, Status, TestCounts, TestReport, TestSuite, Upstream,
};
use crate::memory::feed::{Depth, FeedProgress, Followed};
use crate::memory::history::{Ref, RefHistory, Remembered};
use crate::memory::{child_pipelines, job_names, jobs, pipelines, test_reports, variables};
use crate::types::{PipelineId, Text};

/// By GitLab's own name.
impl Keep for Status {
    type Stored = Text;

    fn to_stored(&self) -> Text {
        self.as_str().into()
    }

    fn from_stored(stored: Text) -> Result<Self, Invalid> {
        Ok((&*stored).into())
    }
}

stored_struct! {
    StoredMergeRequest of PipelineMergeRequest {
        iid: u64,
        target_branch: Text,
        source_branch: Text,
    }
}

stored_enum! {
    StoredKnownMergeRequest of Known<PipelineMergeRequest> {
        Value(StoredMergeRequest),
        Nothing,
        Hidden,
        Unread,
    }
}

stored_struct! {
    StoredUpstream of Upstream {
        pipeline: u64,
        project_id: u64,
        project: Text,
        git_ref: Text,
        merge_request: StoredKnownMergeRequest,
        bridge: Text,
    }
}

stored_enum! {
    StoredKnownUpstream of Known<Upstream> {
        Value(StoredUpstream),
        Nothing,
        Hidden,
        Unread,
    }
}

stored_struct! {
    StoredPipeline of Pipeline {
        id: u64,
        iid: u64,
        git_ref: Text,
        kind: StoredRefKind,
        source: Text,
        status: Text,
        created_at: i64,
        updated_at: i64,
        started_at: Option<i64>,
        finished_at: Option<i64>,
        duration: Option<f64>,
        queued_duration: Option<f64>,
        coverage: Option<f64>,
        merge_request: StoredKnownMergeRequest,
        upstream: StoredKnownUpstream,
    }
}

/// A pipeline that is followed.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StoredFollowed {
    pipeline: StoredPipeline,
    floor: i64,
    rests: bool,
    newest: i64,
    details_due: bool,
    /// Nothing any more: the place is kept, since fields are told apart by their order.
    labels_read_at: Option<i64>,
    #[serde(rename = "upstream_looks")]
    upstream_polls: u8,
}

impl Keep for Followed {
    type Stored = StoredFollowed;

    fn to_stored(&self) -> StoredFollowed {
        let Self {
            pipeline,
            floor,
            rests,
            newest,
            details_due,
            upstream_polls,
        } = self;
        StoredFollowed {
            pipeline: pipeline.to_stored(),
            floor: floor.to_stored(),
            rests: *rests,
            newest: newest.to_stored(),
            details_due: *details_due,
            labels_read_at: None,
            upstream_polls: *upstream_polls,
        }
    }

    fn from_stored(stored: StoredFollowed) -> Result<Self, Invalid> {
        let StoredFollowed {
            pipeline,
            floor,
            rests,
            newest,
            details_due,
            labels_read_at: _,
            upstream_polls,
        } = stored;
        Ok(Self {
            pipeline: Keep::from_stored(pipeline)?,
            floor: Keep::from_stored(floor)?,
            rests,
            newest: Keep::from_stored(newest)?,
            details_due,
            upstream_polls,
        })
    }
}

stored_enum! {
    StoredDepth of Depth { Pipelines, Jobs, Everything }
}

stored_struct! {
    StoredFeed of FeedProgress {
        depth: StoredDepth,
        first_seen: i64,
        watermark: i64,
        #[serde(rename = "looked_at")]
        polled_at: i64,
        followed: Map<u64, StoredFollowed>,
    }
}

/// The newest pipelines of each ref: when the newest was created, and of each its id, when it was
/// created, whether it was skipped, and what is remembered of it.
type History<T> = Map<StoredRefName, (i64, Vec<(u64, i64, bool, T)>)>;

impl<T: Keep> Keep for RefHistory<T> {
    type Stored = History<T::Stored>;

    fn to_stored(&self) -> Self::Stored {
        let Self { refs } = self;
        let refs = refs.iter().map(|(name, Ref { newest, entries })| {
            let entries = entries.iter().map(|entry| {
                let Remembered {
                    id,
                    created_at,
                    skipped,
                    value,
                } = entry;
                (id.0, created_at.0, *skipped, value.to_stored())
            });
            (name.to_stored(), (newest.0, entries.collect()))
        });
        refs.collect()
    }

    fn from_stored(stored: Self::Stored) -> Result<Self, Invalid> {
        let refs = stored.into_iter().map(|(name, (newest, entries))| {
            let entries = entries.into_iter().map(|(id, created_at, skipped, value)| {
                Ok(Remembered {
                    id: PipelineId(id),
                    created_at: UnixSeconds(created_at),
                    skipped,
                    value: T::from_stored(value)?,
                })
            });
            let known = Ref {
                newest: UnixSeconds(newest),
                entries: entries.collect::<Result<_, Invalid>>()?,
            };
            Ok((Keep::from_stored(name)?, known))
        });
        Ok(Self {
            refs: refs.collect::<Result<_, Invalid>>()?,
        })
    }
}

stored_struct! {
    StoredRunClaim of pipelines::RunClaim { finished: Option<i64> }
}

stored_struct! {
    StoredPipelineSnapshot of pipelines::PipelineSnapshot {
        source: Text,
        status: Text,
        updated_at: Option<i64>,
        running_since: Option<i64>,
        finished_at: Option<i64>,
        duration: Option<f64>,
        queued: Option<f64>,
        coverage: Option<f64>,
    }
}

stored_struct! {
    StoredPipelines of pipelines::PipelinesMemory {
        claims: Map<u64, StoredRunClaim>,
        newest: History<StoredPipelineSnapshot>,
        active: Map<u64, Text>,
    }
}

stored_struct! {
    StoredClaimed of jobs::JobClaims { history: bool, ended: bool, retried: bool, flaky: bool }
}

stored_struct! {
    StoredUnfinished of jobs::UnfinishedJobs { pending: u32, running: u32 }
}

stored_struct! {
    StoredJobSnapshot of jobs::JobSnapshot {
        id: u64,
        is_bridge: bool,
        name: Text,
        stage: Text,
        status: Text,
        failure_reason: Option<Text>,
        created_at: i64,
        running_since: Option<i64>,
        duration: Option<f64>,
        queued_duration: Option<f64>,
        coverage: Option<f64>,
        artifact_bytes: Option<u64>,
        runner_description: Option<Text>,
        tags: Vec<Text>,
    }
}

stored_struct! {
    StoredJobsOfRef of jobs::JobsOfRef { rests: bool, warnings: bool, jobs: Vec<StoredJobSnapshot> }
}

stored_struct! {
    StoredJobs of jobs::JobsMemory {
        claims: Map<u64, Map<u64, StoredClaimed>>,
        unfinished: Map<u64, StoredUnfinished>,
        newest: History<StoredJobsOfRef>,
    }
}

stored_struct! {
    StoredJobName of job_names::JobName { git_ref: Text, stage: Text, name: Text }
}

stored_as!(job_names::JobNames: Map<StoredJobName, i64>);

stored_struct! {
    StoredBridge of child_pipelines::BridgeKey {
        name: Text,
        parent_project: u64,
        parent_ref: Text,
        project: u64,
        git_ref: Text,
    }
}

stored_struct! {
    StoredNewestChild of child_pipelines::NewestDownstream {
        id: u64,
        status: Text,
        holder: u64,
        holder_created_at: i64,
        parent_project: Text,
        project: Text,
        jobs: Vec<StoredJobSnapshot>,
    }
}

stored_struct! {
    StoredChildPipelines of child_pipelines::ChildPipelinesMemory {
        claims: Map<u64, StoredRunClaim>,
        foreign_claims: Map<u64, Map<u64, StoredRunClaim>>,
        newest: History<Map<StoredBridge, StoredNewestChild>>,
    }
}

stored_struct! {
    StoredTestCounts of TestCounts {
        seconds: f64,
        total: f64,
        success: f64,
        failed: f64,
        skipped: f64,
        error: f64,
    }
}

stored_struct! {
    StoredTestSuite of TestSuite { name: Text, counts: StoredTestCounts }
}

stored_struct! {
    StoredTestReport of TestReport { total: StoredTestCounts, suites: Vec<StoredTestSuite> }
}

stored_struct! {
    StoredReportOf of test_reports::RememberedReport {
        id: u64,
        ended_at: i64,
        read_at: i64,
        report: StoredTestReport,
    }
}

stored_struct! {
    StoredCase of test_reports::RememberedCase {
        suite: Text,
        class: Text,
        name: Text,
        status: Text,
        seconds: Option<f64>,
    }
}

stored_struct! {
    StoredTestReports of test_reports::TestReportsMemory {
        since: Option<i64>,
        reports: Map<StoredRefName, StoredReportOf>,
        cases: Map<StoredRefName, Vec<StoredCase>>,
        claims: Map<u64, i64>,
    }
}

/// Test reports as version 1 stored them: cases without class and duration.
pub(in crate::store) mod test_reports_v1 {
    use serde::{Deserialize, Serialize};

    use super::{Map, StoredCase, StoredRefName, StoredReportOf, StoredTestReports, Text};

    #[derive(Debug, Serialize, Deserialize)]
    pub(in crate::store) struct TestReports {
        since: Option<i64>,
        reports: Map<StoredRefName, StoredReportOf>,
        cases: Map<StoredRefName, Vec<(Text, Text, Text)>>,
        claims: Map<u64, i64>,
    }

    impl From<TestReports> for StoredTestReports {
        fn from(stored: TestReports) -> Self {
            let case = |(suite, name, status)| StoredCase {
                suite,
                class: Text::default(),
                name,
                status,
                seconds: None,
            };
            let cases = stored.cases.into_iter();
            Self {
                since: stored.since,
                reports: stored.reports,
                cases: cases
                    .map(|(name, cases)| (name, cases.into_iter().map(case).collect()))
                    .collect(),
                claims: stored.claims,
            }
        }
    }
}

stored_struct! {
    StoredVariables of variables::VariablesMemory {
        regexp: String,
        newest: Map<StoredRefName, (u64, Map<Text, Text>)>,
    }
}
