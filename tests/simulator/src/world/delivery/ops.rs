//! Operations on environments, deployments and incidents.

use std::sync::Arc;

use super::Delivery;
use super::model::{
    Deployment, DeploymentId, DeploymentJob, DeploymentStatus, Environment, EnvironmentId,
    EnvironmentState, EnvironmentTier, Incident,
};
use crate::time::{Millis, SECOND};
use crate::world::ledger::Event;
use crate::world::model::{JobId, ProjectId};
use crate::world::{Result, World, WorldError};

impl World {
    fn delivery_mut(&mut self, project: ProjectId) -> Result<&mut Delivery> {
        if self.project(project).is_none() {
            return Err(WorldError::not_found("project", project));
        }
        Ok(self.deliveries.projects.entry(project).or_default())
    }

    fn environment_mut(
        &mut self,
        project: ProjectId,
        id: EnvironmentId,
    ) -> Result<&mut Environment> {
        self.delivery_mut(project)?
            .environments
            .get_mut(&id)
            .ok_or_else(|| WorldError::not_found("environment", id))
    }

    /// Makes an environment; without a tier GitLab guesses it from the name. One of this name is
    /// made available again and returned.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn add_environment(
        &mut self,
        project: ProjectId,
        name: &str,
        tier: Option<EnvironmentTier>,
    ) -> Result<EnvironmentId> {
        let now = self.now();
        let known = self.delivery_mut(project)?.environment(name);
        if let Some(id) = known.map(|environment| environment.id) {
            self.set_environment_state(project, id, EnvironmentState::Available)?;
            return Ok(id);
        }
        let id = self.deliveries.next_environment;
        self.deliveries.next_environment += 1;
        let slug = name.replace('/', "-");
        let environment = Environment {
            id,
            project_id: project,
            name: name.into(),
            tier: tier.unwrap_or_else(|| EnvironmentTier::guess(name)),
            state: EnvironmentState::Available,
            external_url: Some(format!("https://{slug}.example.com").into()),
            slug: None,
            auto_stop_at: None,
            created_at: now,
            updated_at: now,
        };
        self.delivery_mut(project)?
            .environments
            .insert(id, environment);
        Ok(id)
    }

    /// Stops an environment, or brings it up again.
    ///
    /// # Errors
    /// If there is no such project or environment.
    pub fn set_environment_state(
        &mut self,
        project: ProjectId,
        id: EnvironmentId,
        state: EnvironmentState,
    ) -> Result<()> {
        let now = self.now();
        let environment = self.environment_mut(project, id)?;
        if environment.state != state {
            environment.state = state;
            environment.updated_at = now;
        }
        Ok(())
    }

    /// Deletes an environment with its deployments.
    ///
    /// # Errors
    /// If there is no such project or environment.
    pub fn delete_environment(&mut self, project: ProjectId, id: EnvironmentId) -> Result<()> {
        self.environment_mut(project, id)?;
        let delivery = self.delivery_mut(project)?;
        delivery.environments.remove(&id);
        delivery
            .deployments
            .retain(|_, deployment| deployment.environment_id != id);
        Ok(())
    }

    /// Makes a deployment of the default branch as it is now; `job` deploys, or nobody does (API).
    ///
    /// # Errors
    /// If there is no such project or environment, or the project has no default branch.
    pub fn create_deployment(
        &mut self,
        project: ProjectId,
        environment: EnvironmentId,
        job: Option<(JobId, &str)>,
    ) -> Result<DeploymentId> {
        let now = self.now();
        let found = self.project(project);
        let branch = found
            .and_then(|found| found.default_branch.as_ref())
            .and_then(|name| found?.branches.get(name))
            .ok_or_else(|| WorldError::not_found("default branch of project", project))?
            .clone();
        self.environment_mut(project, environment)?;
        let id = self.deliveries.next_deployment;
        self.deliveries.next_deployment += 1;
        let delivery = self.delivery_mut(project)?;
        let last = delivery.deployments.values().map(|other| other.iid).max();
        let deployment = Deployment {
            id,
            iid: last.unwrap_or_default() + 1,
            project_id: project,
            environment_id: environment,
            ref_name: branch.name,
            sha: branch.sha,
            status: DeploymentStatus::Created,
            created_at: now,
            updated_at: now,
            finished_at: None,
            job: job.map(|(id, name)| DeploymentJob {
                id,
                name: name.into(),
                started_at: None,
                finished_at: None,
            }),
            merge_requests: Vec::new(),
            user: None,
        };
        delivery.deployments.insert(id, deployment);
        if job.is_none() {
            self.record_deployment(project, id, false);
        }
        Ok(id)
    }

    /// Moves a deployment on. An end links what it shipped.
    ///
    /// # Errors
    /// If there is no such project or deployment.
    pub fn set_deployment_status(
        &mut self,
        project: ProjectId,
        id: DeploymentId,
        status: DeploymentStatus,
    ) -> Result<()> {
        let now = self.now();
        let deployment = self
            .delivery_mut(project)?
            .deployments
            .get_mut(&id)
            .ok_or_else(|| WorldError::not_found("deployment", id))?;
        if deployment.status == status {
            return Ok(());
        }
        deployment.status = status;
        deployment.updated_at = now;
        let has_job = deployment.job.is_some();
        if let Some(job) = &mut deployment.job {
            if status == DeploymentStatus::Running {
                job.started_at = Some(now);
            }
            if status.has_finish() {
                job.finished_at = Some(now);
            }
        }
        if !status.has_finish() {
            // What never runs is no deployment for those who count.
            if has_job && status == DeploymentStatus::Running {
                self.record_deployment(project, id, false);
            }
            return Ok(());
        }
        deployment.finished_at = Some(now);
        if status == DeploymentStatus::Success {
            self.link_merge_requests(project, id);
        }
        self.record_deployment(project, id, true);
        Ok(())
    }

    /// Deploys the default branch and ends well at once; the deployment took `span` up to now.
    ///
    /// # Errors
    /// Those of [`World::create_deployment`].
    pub fn deploy(
        &mut self,
        project: ProjectId,
        environment: EnvironmentId,
        span: Millis,
    ) -> Result<DeploymentId> {
        let id = self.create_deployment(project, environment, Some((9_000_000, "deploy")))?;
        self.set_deployment_status(project, id, DeploymentStatus::Running)?;
        self.advance(span);
        self.set_deployment_status(project, id, DeploymentStatus::Success)?;
        Ok(id)
    }

    /// GitLab's `LinkMergeRequestsService`: what was merged after the commit that the environment
    /// had before, up to this one; at the first deployment everything merged into its branch.
    /// Review apps link nothing.
    fn link_merge_requests(&mut self, project: ProjectId, id: DeploymentId) {
        let Ok(delivery) = self.delivery_mut(project) else {
            return;
        };
        let Some(deployment) = delivery.deployments.get(&id).cloned() else {
            return;
        };
        let environment = delivery.environments.get(&deployment.environment_id);
        if environment.is_some_and(|environment| environment.name.starts_with("review/")) {
            return;
        }
        let before = delivery
            .deployments
            .values()
            .filter(|other| {
                other.environment_id == deployment.environment_id
                    && other.id != id
                    && other.status == DeploymentStatus::Success
            })
            .max_by_key(|other| other.finished_at)
            .map(|other| delivery.place(&other.sha));
        let Some(upto) = delivery.place(&deployment.sha) else {
            return;
        };
        let linked = delivery
            .merged
            .iter()
            .filter(|(place, _)| *place <= upto)
            .filter(|(place, _)| match before {
                None => true,
                Some(before) => before.is_none_or(|before| *place > before),
            })
            .map(|(_, iid)| *iid)
            .collect();
        if let Some(deployment) = delivery.deployments.get_mut(&id) {
            deployment.merge_requests = linked;
        }
    }

    pub(super) fn record_deployment(
        &mut self,
        project: ProjectId,
        id: DeploymentId,
        finished: bool,
    ) {
        let now = self.now();
        let found = self.delivery(project).and_then(|delivery| {
            let deployment = delivery.deployments.get(&id)?;
            let environment = delivery.environments.get(&deployment.environment_id)?;
            Some((deployment.clone(), environment.name.clone()))
        });
        let path = self.project(project).map(|found| found.full_path.clone());
        let (Some((deployment, environment)), Some(project_path)) = (found, path) else {
            return;
        };
        let started = deployment
            .job
            .as_ref()
            .map_or(Some(deployment.created_at), |job| job.started_at);
        let seconds = |span: Millis| span.max(0) as f64 / SECOND as f64;
        self.ledger.write(now, || match finished {
            false => Event::DeploymentStarted {
                project_id: project,
                project_path,
                environment,
                id,
            },
            true => Event::DeploymentFinished {
                project_id: project,
                project_path,
                environment,
                id,
                status: deployment.status,
                duration: started.map(|started| seconds(now - started)),
            },
        });
    }

    /// Opens an incident. Gives its iid.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn open_incident(&mut self, project: ProjectId) -> Result<u64> {
        let now = self.now();
        let id = self.deliveries.next_issue;
        self.deliveries.next_issue += 1;
        let delivery = self.delivery_mut(project)?;
        let iid = delivery
            .incidents
            .last_key_value()
            .map_or(1, |(last, _)| last + 1);
        delivery.incidents.insert(
            iid,
            Incident {
                id,
                iid,
                project_id: project,
                created_at: now,
                updated_at: now,
                closed_at: None,
                duplicate_of: None,
                issue_type: None,
                title: None,
                author: None,
            },
        );
        Ok(iid)
    }

    /// Closes an incident, perhaps as a duplicate of another, or reopens it.
    ///
    /// # Errors
    /// If there is no such project or incident.
    pub fn set_incident(
        &mut self,
        project: ProjectId,
        iid: u64,
        closed: bool,
        duplicate_of: Option<u64>,
    ) -> Result<()> {
        let now = self.now();
        let incident = self
            .delivery_mut(project)?
            .incidents
            .get_mut(&iid)
            .ok_or_else(|| WorldError::not_found("incident", iid))?;
        incident.updated_at = now;
        incident.closed_at = closed.then_some(now);
        incident.duplicate_of = duplicate_of;
        Ok(())
    }

    /// The merge requests that a deployment shipped, by iid.
    #[must_use]
    pub fn shipped(&self, project: ProjectId, id: DeploymentId) -> Arc<[u64]> {
        self.delivery(project)
            .and_then(|delivery| delivery.deployments.get(&id))
            .map_or_else(
                || Arc::from([]),
                |deployment| deployment.merge_requests.as_slice().into(),
            )
    }
}
