//! Pipelines, jobs and bridges.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{
    Bridge, BridgeTarget, Job, Known, Page, Pipeline, PipelineHead, RefKind, RunnerType, Status,
    UNKNOWN_SOURCE, merge_request_iid, sensible,
};
use crate::types::{JobId, PipelineId, ProjectId, Text};

/// Which pipelines of a listing are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineFilter {
    /// Changed at or after this time.
    pub updated_after: Option<UnixSeconds>,
    /// Only this source. Child pipelines come only with `parent_pipeline`.
    pub source: Option<&'static str>,
    /// Only this status.
    pub status: Option<Status>,
    /// Only this ref.
    pub git_ref: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RestPipeline {
    id: u64,
    #[serde(default)]
    iid: u64,
    #[serde(default)]
    project_id: Option<u64>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    source: Option<String>,
    status: Status,
    created_at: String,
    updated_at: Option<String>,
    started_at: Option<String>,
    finished_at: Option<String>,
    duration: Option<f64>,
    queued_duration: Option<f64>,
    /// A text in the single pipeline.
    coverage: Option<Value>,
    tag: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct RestJob {
    id: u64,
    name: String,
    stage: Option<String>,
    status: Status,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
    duration: Option<f64>,
    queued_duration: Option<f64>,
    allow_failure: Option<bool>,
    coverage: Option<Value>,
    failure_reason: Option<String>,
    runner: Option<RestRunner>,
    tag_list: Option<Vec<Text>>,
    artifacts: Option<Vec<Artifact>>,
    artifacts_file: Option<Artifact>,
    downstream_pipeline: Option<RestPipeline>,
}

#[derive(Deserialize)]
struct RestRunner {
    description: Option<Text>,
    runner_type: Option<String>,
    is_shared: Option<bool>,
}

#[derive(Deserialize)]
struct Artifact {
    file_type: Option<String>,
    size: Option<u64>,
}

impl Artifact {
    /// Whether it is the job's log, which every job that ran has.
    fn is_log(&self) -> bool {
        self.file_type.as_deref() == Some("trace")
    }
}

pub(super) fn time(field: &str, text: &str) -> Result<UnixSeconds, String> {
    UnixSeconds::parse(text).map_err(|_| format!("{field}: not a time"))
}

pub(super) fn maybe_time(field: &str, text: Option<&str>) -> Result<Option<UnixSeconds>, String> {
    text.filter(|text| !text.is_empty())
        .map(|text| time(field, text))
        .transpose()
}

/// A number that may have come as a text; what is no finite, non-negative number is nothing.
fn number(value: Option<&Value>) -> Option<f64> {
    let number = match value? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    sensible(number)
}

impl TryFrom<RestPipeline> for PipelineHead {
    type Error = String;

    fn try_from(raw: RestPipeline) -> Result<Self, String> {
        raw.head()
            .map_err(|why| format!("pipeline {}: {why}", raw.id))
    }
}

impl RestPipeline {
    fn head(&self) -> Result<PipelineHead, String> {
        let created_at = time("created_at", &self.created_at)?;
        Ok(PipelineHead {
            id: PipelineId(self.id),
            iid: self.iid,
            git_ref: self.git_ref.as_deref().unwrap_or_default().into(),
            source: self.source.as_deref().unwrap_or(UNKNOWN_SOURCE).into(),
            status: self.status.clone(),
            created_at,
            updated_at: maybe_time("updated_at", self.updated_at.as_deref())?.unwrap_or(created_at),
        })
    }

    fn full(&self) -> Result<Pipeline, String> {
        let head = self.head()?;
        let kind = if merge_request_iid(&head.git_ref).is_some()
            || &*head.source == "merge_request_event"
        {
            RefKind::MergeRequest
        } else if self.tag == Some(true) {
            RefKind::Tag
        } else {
            RefKind::Branch
        };
        let started_by_another = matches!(&*head.source, "parent_pipeline" | "pipeline");
        Ok(Pipeline {
            id: head.id,
            iid: head.iid,
            git_ref: head.git_ref,
            kind,
            source: head.source,
            status: head.status,
            created_at: head.created_at,
            updated_at: head.updated_at,
            started_at: maybe_time("started_at", self.started_at.as_deref())?,
            finished_at: maybe_time("finished_at", self.finished_at.as_deref())?,
            duration: sensible(self.duration),
            queued_duration: sensible(self.queued_duration),
            coverage: number(self.coverage.as_ref()),
            merge_request: if kind == RefKind::MergeRequest {
                Known::Unread
            } else {
                Known::Nothing
            },
            upstream: if started_by_another {
                Known::Unread
            } else {
                Known::Nothing
            },
        })
    }
}

impl TryFrom<RestPipeline> for Pipeline {
    type Error = String;

    fn try_from(raw: RestPipeline) -> Result<Self, String> {
        raw.full()
            .map_err(|why| format!("pipeline {}: {why}", raw.id))
    }
}

impl RestJob {
    fn job(&self) -> Result<Job, String> {
        Ok(Job {
            id: JobId(self.id),
            is_bridge: false,
            name: self.name.as_str().into(),
            stage: self.stage.as_deref().unwrap_or_default().into(),
            status: self.status.clone(),
            retried: Known::Unread,
            allow_failure: self.allow_failure.unwrap_or_default(),
            created_at: time("created_at", &self.created_at)?,
            started_at: maybe_time("started_at", self.started_at.as_deref())?,
            finished_at: maybe_time("finished_at", self.finished_at.as_deref())?,
            duration: sensible(self.duration),
            queued_duration: sensible(self.queued_duration),
            coverage: number(self.coverage.as_ref()),
            failure_reason: match self.failure_reason.as_deref() {
                Some(reason) if !reason.is_empty() => Known::Value(reason.into()),
                _ => Known::Nothing,
            },
            runner_type: self
                .runner
                .as_ref()
                .map_or(Known::Nothing, |runner| Known::Value(runner.kind())),
            runner_description: self
                .runner
                .as_ref()
                .and_then(|runner| runner.description.clone()),
            tags: self.tag_list.clone(),
            artifact_bytes: self.artifact_bytes(),
        })
    }

    fn artifact_bytes(&self) -> Option<u64> {
        let all = self.artifacts.iter().flatten();
        let sizes = all
            .filter(|artifact| !artifact.is_log())
            .filter_map(|artifact| artifact.size);
        match sizes.reduce(u64::saturating_add) {
            Some(sum) => Some(sum),
            None => self.artifacts_file.as_ref()?.size,
        }
    }

    fn bridge(&self) -> Result<Bridge, String> {
        let downstream = match &self.downstream_pipeline {
            None => None,
            Some(pipeline) => Some(BridgeTarget {
                project_id: ProjectId(
                    pipeline
                        .project_id
                        .ok_or("downstream_pipeline.project_id: missing")?,
                ),
                pipeline: pipeline
                    .head()
                    .map_err(|why| format!("downstream_pipeline.{why}"))?,
            }),
        };
        Ok(Bridge {
            job: Job {
                is_bridge: true,
                // What it waited for and how long it ran are its pipeline's.
                duration: None,
                queued_duration: None,
                retried: Known::Value(false),
                ..self.job()?
            },
            downstream,
        })
    }
}

impl RestRunner {
    fn kind(&self) -> RunnerType {
        match (&self.runner_type, self.is_shared) {
            (Some(kind), _) => kind.as_str().into(),
            (None, Some(true)) => RunnerType::Instance,
            (None, _) => RunnerType::Other,
        }
    }
}

impl TryFrom<RestJob> for Job {
    type Error = String;

    fn try_from(raw: RestJob) -> Result<Self, String> {
        raw.job().map_err(|why| format!("job {}: {why}", raw.id))
    }
}

impl TryFrom<RestJob> for Bridge {
    type Error = String;

    fn try_from(raw: RestJob) -> Result<Self, String> {
        raw.bridge()
            .map_err(|why| format!("bridge {}: {why}", raw.id))
    }
}

/// Of all jobs of a name in one pipeline the newest counts; the others were retried.
pub(super) fn mark_retried(jobs: &mut [Job]) {
    let mut newest: HashMap<Text, JobId> = HashMap::new();
    for job in jobs.iter() {
        let id = newest.entry(Text::clone(&job.name)).or_insert(job.id);
        *id = (*id).max(job.id);
    }
    for job in jobs {
        job.retried = Known::Value(newest.get(&job.name).is_some_and(|id| *id > job.id));
    }
}

impl PipelineFilter {
    fn listing(&self, project: ProjectId) -> Get {
        Get::new(
            "/projects/:id/pipelines",
            &["projects", &project.to_string(), "pipelines"],
        )
        .maybe("updated_after", self.updated_after)
        .maybe("source", self.source)
        .maybe("status", self.status.as_ref())
        .maybe("ref", self.git_ref.as_ref())
        .with("order_by", "id")
        .with("sort", "desc")
    }
}

impl GitLab {
    /// All pipelines of a listing, newest first (`GET /projects/:id/pipelines`).
    ///
    /// # Errors
    /// Those of any call; forbidden below Reporter in private projects.
    pub async fn pipelines(
        &self,
        project: ProjectId,
        filter: &PipelineFilter,
    ) -> Result<Page<PipelineHead>, GitLabError> {
        let get = filter.listing(project);
        self.get_all::<RestPipeline, _>(&get).await
    }

    /// The newest pipelines of a listing: its first page, with a `next` where there are more.
    ///
    /// # Errors
    /// Those of any call; forbidden below Reporter in private projects.
    pub async fn newest_pipelines(
        &self,
        project: ProjectId,
        filter: &PipelineFilter,
    ) -> Result<Page<PipelineHead>, GitLabError> {
        let get = filter.listing(project);
        self.get_first::<RestPipeline, _>(&get).await
    }

    /// The newest pipelines of a project, page after page to the first that is not newer than `known`; one
    /// page where none is known.
    ///
    /// # Errors
    /// Those of any call; forbidden below Reporter in private projects.
    pub async fn pipelines_after(
        &self,
        project: ProjectId,
        known: Option<PipelineId>,
    ) -> Result<Page<PipelineHead>, GitLabError> {
        const PAGES: usize = 20;
        let get = PipelineFilter::default().listing(project);
        // Most of the time few are new.
        let few = get.clone().pages_of(20);
        let mut read: Page<PipelineHead> = self.get_first::<RestPipeline, _>(&few).await?;
        let reaches = |read: &Page<PipelineHead>| {
            let oldest = read.items.iter().map(|head| head.id).min();
            known.is_none() || oldest <= known
        };
        if reaches(&read) || read.next.is_none() {
            return Ok(read);
        }
        let (mut all, mut after) = (Page::default(), None);
        for _ in 0..PAGES {
            let (page, _) = self
                .get_page::<RestPipeline, _>(&get, after.as_deref())
                .await?;
            read = page;
            all.items.append(&mut read.items);
            all.skipped.append(&mut read.skipped);
            after = read.next.take();
            if reaches(&all) || after.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// One pipeline (`GET /projects/:id/pipelines/:pipeline_id`). Merge request and upstream
    /// are unread where it has one.
    ///
    /// # Errors
    /// [`GitLabError::is_not_found`] when it was deleted.
    pub async fn pipeline(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
    ) -> Result<Pipeline, GitLabError> {
        let (project, pipeline) = (project.to_string(), pipeline.to_string());
        let get = Get::new(
            "/projects/:id/pipelines/:pipeline_id",
            &["projects", &project, "pipelines", &pipeline],
        );
        self.get_one::<RestPipeline, _>(&get).await
    }

    /// All jobs of a pipeline (`GET /projects/:id/pipelines/:pipeline_id/jobs`). With
    /// `include_retried`, names and ids show which were retried; without, none was.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn jobs(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
        include_retried: bool,
    ) -> Result<Page<Job>, GitLabError> {
        let (project, pipeline) = (project.to_string(), pipeline.to_string());
        let get = Get::new(
            "/projects/:id/pipelines/:pipeline_id/jobs",
            &["projects", &project, "pipelines", &pipeline, "jobs"],
        )
        .with("include_retried", include_retried);
        let mut page = self.get_all::<RestJob, Job>(&get).await?;
        mark_retried(&mut page.items);
        self.without_unwanted(&mut page.items);
        Ok(page)
    }

    /// The newest jobs of a project, bridges not among them, at most `most` (`GET /projects/:id/jobs`).
    /// Whether they were retried is unread. GitLab answers 600 of these a minute: it does not wait for more,
    /// for each pipeline can be asked for its jobs.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn newest_jobs(
        &self,
        project: ProjectId,
        most: u32,
    ) -> Result<Page<Job>, GitLabError> {
        let project = project.to_string();
        let get = Get::new("/projects/:id/jobs", &["projects", &project, "jobs"]);
        let get = get.pages_of(most).or_never();
        let mut page = self.get_first::<RestJob, Job>(&get).await?;
        self.without_unwanted(&mut page.items);
        Ok(page)
    }

    /// Leaves out of jobs what REST gives unasked, and nobody wants to keep.
    fn without_unwanted(&self, jobs: &mut [Job]) {
        let wanted = self.shared.job_fields;
        for job in jobs {
            if !wanted.runners {
                job.runner_description = None;
            }
            if !wanted.tags {
                job.tags = None;
            }
        }
    }

    /// All bridges of a pipeline that were not retried
    /// (`GET /projects/:id/pipelines/:pipeline_id/bridges`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn bridges(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
    ) -> Result<Page<Bridge>, GitLabError> {
        let (project, pipeline) = (project.to_string(), pipeline.to_string());
        let get = Get::new(
            "/projects/:id/pipelines/:pipeline_id/bridges",
            &["projects", &project, "pipelines", &pipeline, "bridges"],
        );
        self.get_all::<RestJob, _>(&get).await
    }
}
