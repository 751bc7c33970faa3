//! The operations of the control API: the world's own, as JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auth::{AccessLevel, Token};
use crate::time::Millis;
use crate::world::{
    Feature, Finish, JobId, JobSpec, MergeRequestState, Past, PipelineId, PipelineKind,
    PipelineSpec, ProjectId, ProjectSettings, Result, RunnerId, RunnerType, Tier, Visibility,
    World, WorldError,
};

/// A project by id or path.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum ProjectHandle {
    /// Its id.
    Id(ProjectId),
    /// Its present path.
    Path(String),
}

impl ProjectHandle {
    fn find(&self, world: &World) -> Result<ProjectId> {
        let (found, name) = match self {
            Self::Id(id) => (world.project(*id), id.to_string()),
            Self::Path(path) => (world.project_by_path(path), path.clone()),
        };
        found.map(|project| project.id).ok_or(WorldError::NotFound {
            what: "project",
            id: name,
        })
    }
}

/// A pipeline to be made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineRequest {
    /// Branch or tag; not needed for a merge request.
    #[serde(rename = "ref")]
    ref_name: Option<Arc<str>>,
    /// What it is for; a branch unless said.
    kind: Option<PipelineKind>,
    merge_request_iid: Option<u64>,
    source: Option<Arc<str>>,
    #[serde(default)]
    jobs: Vec<JobSpec>,
    created_at: Option<Millis>,
    coverage: Option<f64>,
    config_error: Option<Arc<str>>,
    #[serde(default)]
    skipped: bool,
    #[serde(default)]
    auto: bool,
}

impl PipelineRequest {
    fn spec(self) -> PipelineSpec {
        let iid = self.merge_request_iid;
        let default = PipelineSpec::branch(self.ref_name.as_deref().unwrap_or("main"));
        let base = match (self.kind, iid) {
            (Some(PipelineKind::MergedResult), Some(iid)) => PipelineSpec::merged_result(iid),
            (Some(PipelineKind::MergeTrain), Some(iid)) => PipelineSpec::merge_train(iid),
            (Some(PipelineKind::MergeRequest) | None, Some(iid)) => {
                PipelineSpec::merge_request(iid)
            }
            (Some(PipelineKind::Tag), _) => PipelineSpec::tag(&default.ref_name),
            _ => default,
        };
        PipelineSpec {
            source: self.source.unwrap_or(base.source),
            jobs: self.jobs,
            created_at: self.created_at,
            coverage: self.coverage,
            config_error: self.config_error,
            skipped: self.skipped,
            auto: self.auto,
            ref_name: base.ref_name,
            kind: base.kind,
            merge_request_iid: base.merge_request_iid,
        }
    }
}

/// A part of a project that can be switched off.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectFeature {
    /// CI.
    Builds,
    /// Merge requests.
    MergeRequests,
    /// Repository.
    Repository,
    /// Environments and deployments.
    Environments,
    /// Value stream analytics.
    Analytics,
    /// Issues.
    Issues,
    /// Releases.
    Releases,
}

impl ProjectFeature {
    fn of(self, settings: &mut ProjectSettings) -> &mut Feature {
        match self {
            Self::Builds => &mut settings.builds,
            Self::MergeRequests => &mut settings.merge_requests,
            Self::Repository => &mut settings.repository,
            Self::Environments => &mut settings.environments,
            Self::Analytics => &mut settings.analytics,
            Self::Issues => &mut settings.issues,
            Self::Releases => &mut settings.releases,
        }
    }
}

/// One operation, tagged by `op`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each is the world's operation of the same name"
)]
pub enum Operation {
    AddGroup {
        path: String,
    },
    AddUser {
        name: String,
    },
    AddProject {
        path: String,
    },
    MoveProject {
        project: ProjectHandle,
        path: String,
    },
    DeleteProject {
        project: ProjectHandle,
    },
    SetArchived {
        project: ProjectHandle,
        archived: bool,
    },
    SetVisibility {
        project: ProjectHandle,
        visibility: Visibility,
    },
    ScheduleDeletion {
        project: ProjectHandle,
    },
    SetPublicJobs {
        project: ProjectHandle,
        public: bool,
    },
    SetFeature {
        project: ProjectHandle,
        feature: ProjectFeature,
        access: Feature,
    },
    SetPast {
        project: ProjectHandle,
        past: Past,
    },
    Enliven {
        project: ProjectHandle,
    },
    AddRunner {
        runner_type: RunnerType,
        description: String,
    },
    Push {
        project: ProjectHandle,
        branch: String,
    },
    ForcePush {
        project: ProjectHandle,
        branch: String,
    },
    DeleteBranch {
        project: ProjectHandle,
        branch: String,
    },
    CreateTag {
        project: ProjectHandle,
        tag: String,
    },
    DeleteTag {
        project: ProjectHandle,
        tag: String,
    },
    CreateMergeRequest {
        project: ProjectHandle,
        source: String,
        target: String,
    },
    SetMergeRequestState {
        project: ProjectHandle,
        iid: u64,
        state: MergeRequestState,
    },
    CreatePipeline {
        project: ProjectHandle,
        pipeline: PipelineRequest,
    },
    FinishPipeline {
        pipeline: PipelineId,
        #[serde(default)]
        finish: Finish,
    },
    RetryPipeline {
        pipeline: PipelineId,
    },
    CancelPipeline {
        pipeline: PipelineId,
    },
    DeletePipeline {
        pipeline: PipelineId,
    },
    SetPipelineStatus {
        pipeline: PipelineId,
        status: String,
    },
    AddJob {
        pipeline: PipelineId,
        job: JobSpec,
    },
    StartJob {
        job: JobId,
        runner: Option<RunnerId>,
    },
    FinishJob {
        job: JobId,
        #[serde(default)]
        finish: Finish,
    },
    RetryJob {
        job: JobId,
    },
    PlayManual {
        job: JobId,
    },
    RequestCancel {
        job: JobId,
    },
    CancelJob {
        job: JobId,
    },
    TriggerBridge {
        job: JobId,
    },
    SetTier {
        group: String,
        tier: Tier,
    },
    SetVersion {
        version: String,
        enterprise: bool,
    },
    AddToken {
        token: Token,
    },
    SetRole {
        token: String,
        project: ProjectHandle,
        role: AccessLevel,
    },
    SetDefaultRole {
        token: String,
        role: AccessLevel,
    },
    RevokeToken {
        token: String,
    },
}

impl Operation {
    /// Does it. Gives what it made (an id mostly), or null.
    ///
    /// # Errors
    /// As the world's operation of the same name.
    pub fn perform(self, world: &mut World) -> Result<Value> {
        match self {
            Self::AddGroup { path } => shown(Ok(world.add_group(&path))),
            Self::AddUser { name } => shown(Ok(world.add_user(&name))),
            Self::AddProject { path } => shown(world.add_project(&path)),
            Self::MoveProject { project, path } => {
                shown(world.move_project(project.find(world)?, &path))
            }
            Self::DeleteProject { project } => shown(world.delete_project(project.find(world)?)),
            Self::SetArchived { project, archived } => {
                shown(world.set_archived(project.find(world)?, archived))
            }
            Self::SetVisibility {
                project,
                visibility,
            } => shown(world.set_visibility(project.find(world)?, visibility)),
            Self::ScheduleDeletion { project } => {
                shown(world.schedule_deletion(project.find(world)?))
            }
            Self::SetPublicJobs { project, public } => {
                let id = project.find(world)?;
                shown(world.change_settings(id, |settings| settings.public_jobs = public))
            }
            Self::SetFeature {
                project,
                feature,
                access,
            } => {
                let id = project.find(world)?;
                shown(world.change_settings(id, |settings| *feature.of(settings) = access))
            }
            Self::SetPast { project, past } => shown(world.set_past(project.find(world)?, past)),
            Self::Enliven { project } => shown(project.find(world).map(|id| world.enliven(id))),
            Self::AddRunner {
                runner_type,
                description,
            } => shown(Ok(world.add_runner(runner_type, &description))),
            Self::Push { project, branch } => shown(world.push(project.find(world)?, &branch)),
            Self::ForcePush { project, branch } => {
                shown(world.force_push(project.find(world)?, &branch))
            }
            Self::DeleteBranch { project, branch } => {
                shown(world.delete_branch(project.find(world)?, &branch))
            }
            Self::CreateTag { project, tag } => shown(world.create_tag(project.find(world)?, &tag)),
            Self::DeleteTag { project, tag } => shown(world.delete_tag(project.find(world)?, &tag)),
            Self::CreateMergeRequest {
                project,
                source,
                target,
            } => shown(world.create_merge_request(project.find(world)?, &source, &target)),
            Self::SetMergeRequestState {
                project,
                iid,
                state,
            } => shown(world.set_merge_request_state(project.find(world)?, iid, state)),
            Self::CreatePipeline { project, pipeline } => {
                shown(world.create_pipeline(project.find(world)?, &pipeline.spec()))
            }
            Self::FinishPipeline { pipeline, finish } => {
                shown(world.finish_pipeline(pipeline, &finish))
            }
            Self::RetryPipeline { pipeline } => shown(world.retry_pipeline(pipeline)),
            Self::CancelPipeline { pipeline } => shown(world.cancel_pipeline(pipeline)),
            Self::DeletePipeline { pipeline } => shown(world.delete_pipeline(pipeline)),
            Self::SetPipelineStatus { pipeline, status } => {
                shown(world.set_pipeline_status(pipeline, &status))
            }
            Self::AddJob { pipeline, job } => shown(world.add_job(pipeline, &job)),
            Self::StartJob { job, runner } => shown(world.start_job(job, runner)),
            Self::FinishJob { job, finish } => shown(world.finish_job(job, &finish)),
            Self::RetryJob { job } => shown(world.retry_job(job)),
            Self::PlayManual { job } => shown(world.play_manual(job)),
            Self::RequestCancel { job } => shown(world.request_cancel(job)),
            Self::CancelJob { job } => shown(world.cancel_job(job)),
            Self::TriggerBridge { job } => shown(world.trigger_bridge(job)),
            Self::SetTier { group, tier } => shown(world.set_tier(&group, tier)),
            Self::SetVersion {
                version,
                enterprise,
            } => {
                (world.version, world.enterprise) = (version, enterprise);
                Ok(Value::Null)
            }
            Self::AddToken { token } => {
                world.add_token(token);
                Ok(Value::Null)
            }
            Self::SetRole {
                token,
                project,
                role,
            } => shown(world.set_role(&token, project.find(world)?, role)),
            Self::SetDefaultRole { token, role } => shown(world.set_default_role(&token, role)),
            Self::RevokeToken { token } => shown(world.revoke_token(&token)),
        }
    }
}

fn shown(result: Result<impl Serialize>) -> Result<Value> {
    result.map(|made| serde_json::to_value(made).unwrap_or_default())
}
