//! Deployments of jobs: GitLab makes one for each job with an environment when its pipeline is made, and
//! lets it follow the job.

use super::model::{Deployment, DeploymentJob, DeploymentStatus};
use crate::world::World;
use crate::world::ci::Status;
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

    fn deployment_of(&self, project: ProjectId, job: JobId) -> Option<u64> {
        let mut deployments = self.delivery(project)?.deployments.values().rev();
        let is_its = |found: &&Deployment| found.job.as_ref().is_some_and(|own| own.id == job);
        deployments.find(is_its).map(|found| found.id)
    }
}
