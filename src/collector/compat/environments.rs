//! Environments and their deployments.

use super::{Claims, status_values};
use crate::catalogue::compat as metric;
use crate::catalogue::labels::{
    EnvironmentLabels, EnvironmentStatusLabels, OldEnvironmentInfoLabels,
};
use crate::collector::Measured;
use crate::collector::environments::short;
use crate::facts::environments::Deployments;
use crate::gitlab::model::RefKind;
use crate::memory::environments::{DeploymentEvent, RememberedEnvironment};
use crate::memory::refs::MERGE_REQUESTS;
use crate::memory::{ProjectMemory, Subject};
use crate::types::Text;

fn labels(subject: Subject<'_>, environment: &Text) -> EnvironmentLabels {
    EnvironmentLabels {
        environment: environment.clone(),
        project: subject.project.clone(),
    }
}

/// Counts successful deployments when they end, each once.
pub(super) fn count(
    subject: Subject<'_>,
    read: &Deployments,
    claims: &mut Claims,
    out: &mut Measured,
) {
    for deployment in &read.deployments {
        let Some(end) = deployment
            .finished_at
            .filter(|_| deployment.started_at.is_some())
        else {
            continue;
        };
        let key = (deployment.id, DeploymentEvent::Finished);
        let is_new = claims.deployments.insert(key, end).is_none();
        if is_new && deployment.succeeded() && read.floor.is_some_and(|floor| end >= floor) {
            let labels = labels(subject, &deployment.environment_name);
            out.events
                .push(metric::ENVIRONMENT_DEPLOYMENT_COUNT.add(labels, 1.0));
        }
    }
}

/// The states of each environment, zeros where it never had a deployment.
pub(super) fn states(subject: Subject<'_>, memory: &ProjectMemory, out: &mut Measured) {
    for (id, known) in &memory.environments.known {
        let success = known.success.as_ref();
        let labels = labels(subject, &known.environment.name);
        out.initializations
            .push(metric::ENVIRONMENT_DEPLOYMENT_COUNT.series(labels.clone()));
        let info = information(subject, *id, known, memory.environments.tip.as_ref());
        out.states
            .push(metric::ENVIRONMENT_INFORMATION.set(info, 1.0));
        if success.is_some() {
            for (status, value) in status_values(subject, "success") {
                let labels = EnvironmentStatusLabels {
                    environment: labels.environment.clone(),
                    project: labels.project.clone(),
                    status,
                };
                out.states
                    .push(metric::ENVIRONMENT_DEPLOYMENT_STATUS.set(labels, value));
            }
        }
        let timestamp = success.map_or(0.0, |success| match success.created_at {
            Some(created) => created.as_f64(),
            None => success.finished_at.as_f64() - success.duration.unwrap_or_default(),
        });
        let job = success.and_then(|success| success.job);
        #[expect(clippy::cast_precision_loss, reason = "ids stay far below 2^53")]
        let job = job.map_or(0.0, |job| job.0 as f64);
        #[expect(clippy::cast_precision_loss, reason = "commits are few")]
        let behind = known.behind.unwrap_or_default() as f64;
        let behind_for = match (success, behind > 0.0) {
            (Some(success), true) => subject.now.since(success.finished_at).as_secs_f64(),
            _ => 0.0,
        };
        let duration = success.and_then(|success| success.duration);
        for (metric, value) in [
            (&metric::ENVIRONMENT_BEHIND_COMMITS, behind),
            (&metric::ENVIRONMENT_BEHIND_DURATION, behind_for),
            (
                &metric::ENVIRONMENT_DEPLOYMENT_DURATION,
                duration.unwrap_or_default(),
            ),
            (&metric::ENVIRONMENT_DEPLOYMENT_JOB_ID, job),
            (&metric::ENVIRONMENT_DEPLOYMENT_TIMESTAMP, timestamp),
        ] {
            out.states.push(metric.set(labels.clone(), value));
        }
    }
}

fn information(
    subject: Subject<'_>,
    id: u64,
    known: &RememberedEnvironment,
    tip: Option<&Text>,
) -> OldEnvironmentInfoLabels {
    let environment = &known.environment;
    let success = known.success.as_ref();
    let kind = success.and_then(|success| success.kind);
    let git_ref = success.map(|success| &success.git_ref);
    let git_ref = git_ref.map(|name| match kind {
        Some(RefKind::MergeRequest) => name.trim_start_matches(MERGE_REQUESTS).into(),
        _ => name.clone(),
    });
    OldEnvironmentInfoLabels {
        available: (&*environment.state == "available").to_string().into(),
        current_commit: short(success.map(|success| &success.sha)),
        environment: environment.name.clone(),
        environment_id: id.to_string().into(),
        external_url: environment.external_url.clone().unwrap_or_default(),
        kind: kind.map(|kind| kind.as_str().into()).unwrap_or_default(),
        latest_commit: short(tip.filter(|_| success.is_some())),
        project: subject.project.clone(),
        git_ref: git_ref.unwrap_or_default(),
        username: success
            .map(|success| success.user.clone())
            .unwrap_or_default(),
    }
}
