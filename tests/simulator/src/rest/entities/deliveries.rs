//! Environments, deployments and issues.

use serde_json::{Value, json};

use super::{View, at, maybe};
use crate::time::SECOND;
use crate::world::{
    Delivery, Deployment, DeploymentJob, DeploymentStatus, Environment, Incident, Project,
};

impl View<'_> {
    /// An environment as lists show it.
    pub fn environment(&self, project: &Project, environment: &Environment) -> Value {
        let mut value = self.environment_basic(environment);
        let more = json!({
            "description": null,
            "state": environment.state.as_str(),
            "tier": environment.tier.as_str(),
            "auto_stop_at": maybe(environment.auto_stop_at),
            "auto_stop_setting": "always",
            "project": self.project(project, true),
        });
        if let (Some(fields), Value::Object(more)) = (value.as_object_mut(), more) {
            fields.extend(more);
        }
        value
    }

    /// An environment as deployments show it.
    fn environment_basic(&self, environment: &Environment) -> Value {
        json!({
            "id": environment.id,
            "name": &*environment.name,
            "slug": environment.slug(),
            "external_url": environment.external_url.as_deref(),
            "created_at": at(environment.created_at),
            "updated_at": at(environment.updated_at),
        })
    }

    /// A deployment. REST has no time of its end, but the job's.
    pub fn deployment(&self, deployment: &Deployment, delivery: &Delivery) -> Value {
        let place = delivery.environments.get(&deployment.environment_id);
        json!({
            "id": deployment.id,
            "iid": deployment.iid,
            "ref": &*deployment.ref_name,
            "sha": &*deployment.sha,
            "status": deployment.status.as_str(),
            "created_at": at(deployment.created_at),
            "updated_at": at(deployment.updated_at),
            "user": self.user(deployment.user.as_deref()),
            "environment": place.map(|place| self.environment_basic(place)),
            "deployable": deployment.job.as_ref().map(|job| self.deployable(deployment, job)),
        })
    }

    /// The job of a deployment: the one of its pipeline, or what the deployment itself knows of it.
    fn deployable(&self, deployment: &Deployment, job: &DeploymentJob) -> Value {
        if let Some(known) = self.world.known_job_of(deployment) {
            return self.job(known);
        }
        let duration = job
            .started_at
            .zip(job.finished_at)
            .map(|(start, end)| (end - start) as f64 / SECOND as f64);
        json!({
            "id": job.id,
            "name": &*job.name,
            "stage": "deploy",
            "status": match deployment.status {
                DeploymentStatus::Blocked => "manual",
                status => status.as_str(),
            },
            "ref": &*deployment.ref_name,
            "tag": false,
            "coverage": null,
            "created_at": at(deployment.created_at),
            "started_at": maybe(job.started_at),
            "finished_at": maybe(job.finished_at),
            "duration": duration,
            "runner": null,
        })
    }

    /// An issue.
    pub fn issue(&self, project: &Project, issue: &Incident) -> Value {
        let base = format!("{}/api/v4/projects/{}/issues", self.base_url, project.id);
        let issue_type = issue.issue_type();
        json!({
            "id": issue.id,
            "iid": issue.iid,
            "project_id": project.id,
            "title": issue.title.as_deref().unwrap_or("Something is down"),
            "description": null,
            "state": if issue.closed_at.is_some() { "closed" } else { "opened" },
            "created_at": at(issue.created_at),
            "updated_at": at(issue.updated_at),
            "closed_at": maybe(issue.closed_at),
            "type": issue_type.to_uppercase(),
            "issue_type": issue_type,
            "severity": "UNKNOWN",
            "labels": [],
            "user_notes_count": 0,
            "author": self.user(issue.author.as_deref()),
            "_links": {
                "self": format!("{base}/{}", issue.iid),
                "closed_as_duplicate_of": issue.duplicate_of.map(|iid| format!("{base}/{iid}")),
            },
        })
    }
}
