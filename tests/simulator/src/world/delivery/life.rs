//! Deliveries of generated and living worlds: environments, a history of deployments and incidents,
//! and what auto pipelines of the default branch deploy.

use rand::RngExt;

use super::model::{DeploymentStatus, EnvironmentState, EnvironmentTier};
use crate::time::{DAY, HOUR, MINUTE, Millis, SECOND};
use crate::world::World;
use crate::world::ci::{Pipeline, PipelineKind, Status};
use crate::world::model::{JobId, ProjectId};

/// Name of the environments of a living project.
const PRODUCTION: &str = "production";
const STAGING: &str = "staging";
/// Share of successful pipelines that go to production, too.
const TO_PRODUCTION: f64 = 0.6;
/// Share of failed pipelines in whose wake somebody opens an incident.
const INCIDENT: f64 = 0.3;

impl World {
    fn draw(&mut self) -> f64 {
        self.deliveries.rng.random()
    }

    fn span(&mut self, low: Millis, high: Millis) -> Millis {
        self.deliveries.rng.random_range(low..high)
    }

    /// Gives a generated project its environments and their history, which ends at `start`.
    pub(in crate::world) fn generate_delivery(&mut self, project: ProjectId, start: Millis) {
        let now = self.now;
        let begin = (start - 10 * DAY).min(start - DAY);
        self.now = begin;
        let mut ids = Vec::new();
        for name in [PRODUCTION, STAGING, "review/feature-1", "qa"] {
            ids.extend(self.add_environment(project, name, None));
        }
        if let Some(old) = ids.last() {
            self.set_environment_state(project, *old, EnvironmentState::Stopped)
                .ok();
        }
        let mut at = begin;
        while at < start - HOUR {
            let place = usize::from(self.draw() < 0.6).min(ids.len().saturating_sub(1));
            let Some(environment) = ids.get(place).copied() else {
                break;
            };
            self.now = at;
            if let Ok(id) = self.create_deployment(project, environment, Some((0, "deploy"))) {
                self.set_deployment_status(project, id, DeploymentStatus::Running)
                    .ok();
                self.now = at + self.span(20 * SECOND, 10 * MINUTE);
                let status = match self.draw() {
                    0.0..0.1 => DeploymentStatus::Failed,
                    _ => DeploymentStatus::Success,
                };
                self.set_deployment_status(project, id, status).ok();
            }
            if self.draw() < 0.1
                && let Ok(iid) = self.open_incident(project)
            {
                self.now += self.span(10 * MINUTE, 40 * MINUTE);
                self.set_incident(project, iid, true, None).ok();
            }
            at += self.span(6 * HOUR, 30 * HOUR);
        }
        self.now = now;
    }

    /// What an auto pipeline of the default branch deploys when it changes its status.
    pub(in crate::world) fn pipeline_delivers(&mut self, pipeline: &Pipeline, to: &Status) {
        let project = pipeline.project_id;
        let default = self
            .project(project)
            .and_then(|project| project.default_branch.as_deref());
        let delivers = pipeline.auto
            && pipeline.kind == PipelineKind::Branch
            && default == Some(&*pipeline.ref_name)
            && self
                .delivery(project)
                .is_some_and(|delivery| !delivery.environments.is_empty());
        if !delivers {
            return;
        }
        let job = self.last_job(pipeline);
        let status = match to {
            Status::Running => {
                self.begin_delivery(project, STAGING, job);
                return;
            }
            Status::Success => DeploymentStatus::Success,
            Status::Failed => DeploymentStatus::Failed,
            Status::Canceled => DeploymentStatus::Canceled,
            _ => return,
        };
        self.end_delivery(project, status);
        if status == DeploymentStatus::Success && self.draw() < TO_PRODUCTION {
            // The API's way: made by somebody's script, without a job.
            let by = (self.draw() < 0.9).then_some(job).flatten();
            self.begin_delivery(project, PRODUCTION, by);
            self.end_delivery(project, status);
        }
        self.move_incidents(project, status);
    }

    fn last_job(&self, pipeline: &Pipeline) -> Option<(JobId, std::sync::Arc<str>)> {
        let job = self.job(*pipeline.jobs.last()?)?;
        Some((job.id, job.name.clone()))
    }

    fn begin_delivery(
        &mut self,
        project: ProjectId,
        name: &str,
        job: Option<(JobId, std::sync::Arc<str>)>,
    ) {
        let tier = EnvironmentTier::guess(name);
        let Ok(environment) = self.add_environment(project, name, Some(tier)) else {
            return;
        };
        let job = job.as_ref().map(|(id, name)| (*id, &**name));
        if let Ok(id) = self.create_deployment(project, environment, job) {
            self.set_deployment_status(project, id, DeploymentStatus::Running)
                .ok();
        }
    }

    /// Ends what still runs.
    fn end_delivery(&mut self, project: ProjectId, status: DeploymentStatus) {
        let running: Vec<u64> = self
            .delivery(project)
            .into_iter()
            .flat_map(|delivery| delivery.deployments.values())
            .filter(|deployment| deployment.status == DeploymentStatus::Running)
            .map(|deployment| deployment.id)
            .collect();
        for id in running {
            self.set_deployment_status(project, id, status).ok();
        }
    }

    /// A failure may lead to an incident; the next success ends all that are open.
    fn move_incidents(&mut self, project: ProjectId, status: DeploymentStatus) {
        if status == DeploymentStatus::Failed && self.draw() < INCIDENT {
            self.open_incident(project).ok();
        }
        if status != DeploymentStatus::Success {
            return;
        }
        let open: Vec<u64> = self
            .delivery(project)
            .into_iter()
            .flat_map(|delivery| delivery.incidents.values())
            .filter(|incident| incident.closed_at.is_none())
            .map(|incident| incident.iid)
            .collect();
        for iid in open {
            self.set_incident(project, iid, true, None).ok();
        }
    }
}
