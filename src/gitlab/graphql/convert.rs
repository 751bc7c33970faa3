//! From GraphQL's raw values to the model.

use super::scalars::BigInt;
use crate::clock::UnixSeconds;
use crate::gitlab::model::{
    Job, Known, Pipeline, PipelineMergeRequest, RefKind, RunnerType, Status, UNKNOWN_SOURCE,
    Upstream, merge_request_iid, sensible,
};
use crate::types::{JobId, PipelineId, Text};

/// The source of a child pipeline.
pub(super) const CHILD: &str = "parent_pipeline";
/// The source of a pipeline that another project's pipeline started.
pub(super) const MULTI_PROJECT: &str = "pipeline";

/// The number at the end of a global id, `gid://gitlab/Ci::Pipeline/123`.
pub(crate) fn gid(field: &str, text: &str) -> Result<u64, String> {
    text.strip_prefix("gid://")
        .and_then(|rest| rest.rsplit_once('/')?.1.parse().ok())
        .ok_or_else(|| format!("{field}: not a global id"))
}

pub(super) fn time(field: &str, text: &str) -> Result<UnixSeconds, String> {
    UnixSeconds::parse(text).map_err(|_| format!("{field}: not a time"))
}

pub(super) fn maybe_time(field: &str, text: Option<&str>) -> Result<Option<UnixSeconds>, String> {
    text.filter(|text| !text.is_empty())
        .map(|text| time(field, text))
        .transpose()
}

pub(super) fn iid(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "iid: not a number".to_owned())
}

/// A count, if it is one.
pub(super) fn natural(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

/// A whole number of seconds that is not negative.
#[expect(clippy::cast_precision_loss, reason = "exact for 285 million years")]
pub(super) fn seconds(whole: Option<i64>) -> Option<f64> {
    sensible(whole.map(|seconds| seconds as f64))
}

/// A pipeline's fields as the queries select them.
pub(super) struct RawPipeline {
    pub(super) id: String,
    pub(super) iid: String,
    pub(super) git_ref: Option<String>,
    /// Its type; none where GitLab does not have it.
    pub(super) kind: Option<String>,
    /// The whole ref; asked for where the type is missing.
    pub(super) ref_path: Option<String>,
    pub(super) source: Option<String>,
    pub(super) status: String,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
    pub(super) duration: Option<i64>,
    pub(super) queued_duration: Option<f64>,
    /// iid, target branch, source branch.
    pub(super) merge_request: Option<(String, String, String)>,
}

/// The merge request a pipeline runs for, from its iid, target and source branch. GitLab returns
/// null also where the token may not see it.
pub(super) fn merge_request(
    raw: Option<(String, String, String)>,
    expected: bool,
) -> Result<Known<PipelineMergeRequest>, String> {
    Ok(match raw {
        Some((number, target_branch, source_branch)) => Known::Value(PipelineMergeRequest {
            iid: iid(&number).map_err(|why| format!("mergeRequest.{why}"))?,
            target_branch: target_branch.into(),
            source_branch: source_branch.into(),
        }),
        None if expected => Known::Hidden,
        None => Known::Nothing,
    })
}

/// Takes a [`RawPipeline`] out of a generated struct.
macro_rules! raw_pipeline {
    ($node:expr) => {
        $crate::gitlab::graphql::convert::RawPipeline {
            id: $node.id,
            iid: $node.iid,
            git_ref: $node.ref_,
            kind: $node.type_,
            ref_path: $node.ref_path,
            source: $node.source,
            status: $node.status,
            created_at: $node.created_at,
            updated_at: $node.updated_at,
            started_at: $node.started_at,
            finished_at: $node.finished_at,
            duration: $node.duration,
            queued_duration: $node.queued_duration,
            merge_request: $node
                .merge_request
                .map(|mr| (mr.iid, mr.target_branch, mr.source_branch)),
        }
    };
}
pub(super) use raw_pipeline;

impl RawPipeline {
    /// The pipeline, its coverage left open.
    pub(super) fn convert(self, upstream: Option<Upstream>) -> Result<Pipeline, String> {
        let git_ref = self.git_ref.unwrap_or_default();
        let source = self.source.unwrap_or_else(|| UNKNOWN_SOURCE.to_owned());
        let kind = kind(self.kind.as_deref(), self.ref_path.as_deref(), &git_ref);
        let started_by_another = matches!(&*source, CHILD | MULTI_PROJECT);
        let merge_request = merge_request(self.merge_request, kind == RefKind::MergeRequest)?;
        Ok(Pipeline {
            id: PipelineId(gid("id", &self.id)?),
            iid: iid(&self.iid)?,
            kind,
            source: source.into(),
            status: Status::from(self.status),
            created_at: time("createdAt", &self.created_at)?,
            updated_at: time("updatedAt", &self.updated_at)?,
            started_at: maybe_time("startedAt", self.started_at.as_deref())?,
            finished_at: maybe_time("finishedAt", self.finished_at.as_deref())?,
            duration: seconds(self.duration),
            queued_duration: sensible(self.queued_duration),
            coverage: None,
            merge_request,
            upstream: match upstream {
                Some(upstream) => Known::Value(upstream),
                None if started_by_another => Known::Hidden,
                None => Known::Nothing,
            },
            git_ref: git_ref.into(),
        })
    }
}

/// By the type. Where GitLab has none, by the refs: that of a merge request is its own, and the whole one
/// is its source branch's.
fn kind(kind: Option<&str>, ref_path: Option<&str>, git_ref: &str) -> RefKind {
    let is_tag = || ref_path.is_some_and(|path| path.starts_with("refs/tags/"));
    match kind {
        Some("merge_request" | "merged_result" | "merge_train") => RefKind::MergeRequest,
        Some("tag") => RefKind::Tag,
        // A type newer than this program may still be one of a merge request.
        _ if merge_request_iid(git_ref).is_some() => RefKind::MergeRequest,
        None if is_tag() => RefKind::Tag,
        _ => RefKind::Branch,
    }
}

/// A job's fields as the query selects them.
pub(super) struct RawJob {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) status: Option<String>,
    pub(super) retried: Option<bool>,
    pub(super) allow_failure: Option<bool>,
    pub(super) created_at: String,
    pub(super) started_at: Option<String>,
    pub(super) finished_at: Option<String>,
    pub(super) duration: Option<i64>,
    pub(super) queued_duration: Option<f64>,
    pub(super) coverage: Option<f64>,
    pub(super) tags: Option<Vec<String>>,
    pub(super) runner_description: Option<String>,
    pub(super) runner_type: Option<String>,
    pub(super) artifacts: Vec<BigInt>,
}

impl RawJob {
    pub(super) fn convert(self) -> Result<Job, String> {
        let status = Status::from(self.status.ok_or("status: null")?);
        let failed = status == Status::Failed;
        let started_at = maybe_time("startedAt", self.started_at.as_deref())?;
        let finished_at = maybe_time("finishedAt", self.finished_at.as_deref())?;
        // GraphQL cuts the duration to whole seconds, which makes short jobs too short; the difference
        // of two times that are both cut is right on average.
        let ran = match (started_at, finished_at) {
            (Some(start), Some(end)) if status.is_terminal() => {
                Some(end.since(start).as_secs_f64())
            }
            _ => seconds(self.duration),
        };
        Ok(Job {
            id: JobId(gid("id", &self.id.ok_or("id: null")?)?),
            is_bridge: false,
            name: self.name.ok_or("name: null")?.into(),
            stage: self.stage.unwrap_or_default().into(),
            retried: self.retried.map_or(Known::Unread, Known::Value),
            allow_failure: self.allow_failure.unwrap_or_default(),
            created_at: time("createdAt", &self.created_at)?,
            started_at,
            finished_at,
            duration: ran,
            queued_duration: sensible(self.queued_duration),
            coverage: sensible(self.coverage),
            failure_reason: if failed {
                Known::Unread
            } else {
                Known::Nothing
            },
            tags: self
                .tags
                .map(|tags| tags.into_iter().map(Text::from).collect()),
            runner_description: self.runner_description.map(Text::from),
            runner_type: match self.runner_type {
                Some(kind) => Known::Value(RunnerType::from(&*kind)),
                None if started_at.is_some() => Known::Hidden,
                None => Known::Nothing,
            },
            artifact_bytes: (!self.artifacts.is_empty()).then(|| {
                self.artifacts
                    .iter()
                    .filter_map(BigInt::value)
                    .fold(0, u64::saturating_add)
            }),
            status,
        })
    }
}
