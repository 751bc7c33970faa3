//! Deployments of jobs: GitLab makes one for each job with an environment when its pipeline is made, and
//! lets it follow the job.

use std::sync::Arc;

use super::model::{Deployment, DeploymentJob, DeploymentStatus};
use crate::world::World;
use crate::world::ci::{Job, JobKind, Status, When};
use crate::world::model::{JobId, ProjectId};

/// What the deployment of a job shows.
fn status_of(job: &Status) -> DeploymentStatus {
    match job {
        Status::Running | Status::Canceling => DeploymentStatus::Running,
        Status::Success => DeploymentStatus::Success,
        Status::Failed => DeploymentStatus::Failed,
        Status::Canceled => DeploymentStatus::Canceled,
        Status::Skipped => DeploymentStatus::Skipped,
        Status::Manual => DeploymentStatus::Blocked,
        _ => DeploymentStatus::Created,
    }
}

impl World {
    /// A job was made: if it has an environment, its deployment is there from now on.
    pub(in crate::world) fn await_deployment(&mut self, id: JobId) {
        let Some(job) = self.job(id).cloned() else {
            return;
        };
        let (Some(name), Some(pipeline)) = (
            job.details.environment.clone(),
            self.pipeline(job.pipeline_id).cloned(),
        ) else {
            return;
        };
        let project = pipeline.project_id;
        let Ok(environment) = self.add_environment(project, &name, None) else {
            return;
        };
        let now = self.now();
        let id = self.deliveries.next_deployment;
        self.deliveries.next_deployment += 1;
        let delivery = self.deliveries.projects.entry(project).or_default();
        let last = delivery.deployments.values().map(|other| other.iid).max();
        let deployment = Deployment {
            id,
            iid: last.unwrap_or_default() + 1,
            project_id: project,
            environment_id: environment,
            ref_name: pipeline.ref_name.clone(),
            sha: pipeline.sha.clone(),
            status: status_of(&job.status),
            created_at: now,
            updated_at: now,
            finished_at: None,
            job: Some(DeploymentJob {
                id: job.id,
                name: job.name.clone(),
                started_at: None,
                finished_at: None,
            }),
            merge_requests: Vec::new(),
            user: None,
        };
        delivery.deployments.insert(id, deployment);
    }

    /// The status of a job changed: its deployment follows.
    pub(in crate::world) fn deployment_follows(&mut self, id: JobId) {
        let found = self.job(id).and_then(|job| {
            job.details.environment.as_ref()?;
            let project = self.pipeline(job.pipeline_id)?.project_id;
            Some((project, status_of(&job.status)))
        });
        let Some((project, status)) = found else {
            return;
        };
        let Some(deployment) = self.deployment_of(project, id) else {
            return;
        };
        self.set_deployment_status(project, deployment, status).ok();
    }

    /// The job of a pipeline that made a deployment.
    pub(crate) fn known_job_of(&self, deployment: &Deployment) -> Option<&Arc<Job>> {
        let job = self.job(deployment.job.as_ref()?.id)?;
        let pipeline = self.pipeline(job.pipeline_id)?;
        let is_its = pipeline.project_id == deployment.project_id;
        (is_its && job.details.environment.is_some()).then_some(job)
    }

    /// Whether a deployment is of a tag.
    pub(crate) fn is_tag_of(&self, deployment: &Deployment) -> bool {
        let job = self.known_job_of(deployment);
        let pipeline = job.and_then(|job| self.pipeline(job.pipeline_id));
        pipeline.is_some_and(|pipeline| pipeline.tag())
    }

    /// The job of a deployment: the one of its pipeline, or one as the deployment itself knows it.
    pub(crate) fn job_of_deployment(&self, deployment: &Deployment) -> Option<Arc<Job>> {
        if let Some(known) = self.known_job_of(deployment) {
            return Some(Arc::clone(known));
        }
        let own = deployment.job.as_ref()?;
        let status = match deployment.status {
            DeploymentStatus::Running => Status::Running,
            DeploymentStatus::Success => Status::Success,
            DeploymentStatus::Failed => Status::Failed,
            DeploymentStatus::Canceled => Status::Canceled,
            DeploymentStatus::Skipped => Status::Skipped,
            DeploymentStatus::Blocked => Status::Manual,
            DeploymentStatus::Created => Status::Created,
        };
        Some(Arc::new(Job {
            id: own.id,
            pipeline_id: 0,
            name: own.name.clone(),
            stage: "deploy".into(),
            stage_index: 0,
            kind: JobKind::Build,
            when: When::default(),
            allow_failure: false,
            status,
            created_at: deployment.created_at,
            queued_at: None,
            started_at: own.started_at,
            finished_at: own.finished_at,
            retried: false,
            failure_reason: None,
            runner_id: None,
            coverage: None,
            artifacts: Vec::new(),
            tags: Vec::new(),
            trigger: None,
            downstream_id: None,
            details: Default::default(),
        }))
    }

    fn deployment_of(&self, project: ProjectId, job: JobId) -> Option<u64> {
        let mut deployments = self.delivery(project)?.deployments.values().rev();
        let is_its = |found: &&Deployment| found.job.as_ref().is_some_and(|own| own.id == job);
        deployments.find(is_its).map(|found| found.id)
    }
}
