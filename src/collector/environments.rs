//! `environments`: deployments by environment, and what each environment has now.
//!
//! GitLab makes a deployment with the pipeline of its job, which may start much later, or never: it
//! waits until then. It is counted when it starts, and observed when it ended, each once. What GitLab
//! touched since the watermark less an overlap is read again, so the claims of that span are kept
//! and no others: an event before the floor is history or was counted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Measured, Measures};
use crate::catalogue::environments as metric;
use crate::catalogue::labels::{EnvironmentInfoLabels, EnvironmentLabels, EnvironmentStatusLabels};
use crate::catalogue::{Collector, Measurement};
use crate::clock::UnixSeconds;
use crate::facts::environments::Deployments;
use crate::gitlab::model::Deployment;
use crate::memory::Subject;
use crate::memory::environments::{DeploymentEvent, EnvironmentsMemory, RememberedEnvironment};
use crate::people::People;
use crate::series::Retirement;
use crate::types::Text;

/// Statuses of deployments that started.
const STATUSES: [&str; 4] = ["running", "success", "failed", "canceled"];

/// Takes in what was read: counts each event once, and returns all states.
pub fn measure(
    subject: Subject<'_>,
    people: &People,
    read: &Deployments,
    memory: &mut EnvironmentsMemory,
) -> Measures {
    let mut measured = Measured::default();
    let naming = people.naming();
    if memory.naming != naming {
        // The deployments are not read again: who made them is shown from the next one on.
        let known = memory.known.values_mut();
        for success in known.filter_map(|known| known.success.as_mut()) {
            success.user = Text::default();
        }
        memory.naming = naming;
    }
    if read.tip.is_some() {
        memory.tip.clone_from(&read.tip);
    }
    let mut removed = list(read, memory);
    let mut deployments: Vec<&Deployment> = read.deployments.iter().collect();
    deployments.sort_by_key(|deployment| deployment.id);
    for deployment in deployments {
        count(subject, read, deployment, memory, &mut measured);
        match memory.known.get_mut(&deployment.environment) {
            Some(known) => known.take(deployment, people),
            // Stopped, deleted or not watched: its counts are seen once more, and then it goes.
            None if read.environments.is_some() => {
                removed.insert(deployment.environment_name.clone());
            }
            None => {}
        }
    }
    for id in &read.asked {
        if let Some(known) = memory.known.get_mut(id) {
            known.asked = true;
        }
    }
    memory.claims.retain(|_, time| *time >= read.next_floor);
    for (id, commits) in &read.behind {
        if let Some(known) = memory.known.get_mut(id) {
            known.behind = Some(*commits);
        }
    }
    for known in memory.known.values() {
        removed.remove(&known.environment.name);
        info(subject, memory, known, &mut measured.states);
        states(subject, known, &mut measured.states);
    }
    let mut measures = Measures::new(Collector::Environments, measured);
    measures.retirements = removed
        .into_iter()
        .map(|name| {
            Retirement::Labels(vec![
                ("project", subject.project.clone()),
                ("environment", name),
            ])
        })
        .collect();
    measures
}

/// Takes the list of environments in; returns the names of removed ones.
fn list(read: &Deployments, memory: &mut EnvironmentsMemory) -> BTreeSet<Text> {
    let mut removed = BTreeSet::new();
    let Some(environments) = &read.environments else {
        return removed;
    };
    let mut before = std::mem::take(&mut memory.known);
    for environment in environments {
        let known = match before.remove(&environment.id) {
            Some(known) => RememberedEnvironment {
                environment: environment.clone(),
                ..known
            },
            None => RememberedEnvironment {
                environment: environment.clone(),
                newest: None,
                waiting: BTreeMap::new(),
                success: None,
                behind: None,
                asked: false,
            },
        };
        memory.known.insert(environment.id, known);
    }
    removed.extend(before.into_values().map(|known| known.environment.name));
    removed
}

fn labels(subject: Subject<'_>, environment: &Text) -> EnvironmentLabels {
    EnvironmentLabels {
        environment: environment.clone(),
        project: subject.project.clone(),
    }
}

fn count(
    subject: Subject<'_>,
    read: &Deployments,
    deployment: &Deployment,
    memory: &mut EnvironmentsMemory,
    measured: &mut Measured,
) {
    let mut new = |kind: DeploymentEvent, time: UnixSeconds| {
        let unclaimed = memory.claims.insert((deployment.id, kind), time).is_none();
        unclaimed && read.floor.is_some_and(|floor| time >= floor)
    };
    let labels = labels(subject, &deployment.environment_name);
    let Some(started_at) = deployment.started_at else {
        return;
    };
    if new(DeploymentEvent::Started, started_at) {
        measured
            .events
            .push(metric::DEPLOYMENT_COUNT.add(labels.clone(), 1.0));
    }
    if let Some(end) = deployment.finished_at
        && new(DeploymentEvent::Finished, end)
        && let Some(duration) = deployment.duration
    {
        measured
            .events
            .push(metric::DEPLOYMENT_DURATION.observe(labels, duration));
    }
}

/// Digits of a commit in a label.
const SHORT: usize = 8;

/// A commit as a label has it.
pub(super) fn short(commit: Option<&Text>) -> Text {
    let commit = commit.map_or("", |commit| commit);
    commit.chars().take(SHORT).collect::<String>().into()
}

/// What GitLab knows of an environment and of its last successful deployment.
fn info(
    subject: Subject<'_>,
    memory: &EnvironmentsMemory,
    known: &RememberedEnvironment,
    out: &mut Vec<Measurement>,
) {
    let environment = &known.environment;
    let success = known.success.as_ref();
    let job = success.and_then(|success| success.job);
    let kind = success.and_then(|success| success.kind);
    let labels = EnvironmentInfoLabels {
        commit: short(success.map(|success| &success.sha)),
        environment: environment.name.clone(),
        environment_id: environment.id.to_string().into(),
        external_url: environment.external_url.clone().unwrap_or_default(),
        job_id: job.map(|job| job.0.to_string().into()).unwrap_or_default(),
        kind: kind.map(|kind| kind.as_str().into()).unwrap_or_default(),
        latest_commit: short(memory.tip.as_ref()),
        project: subject.project.clone(),
        git_ref: success
            .map(|success| success.git_ref.clone())
            .unwrap_or_default(),
        state: environment.state.clone(),
        tier: environment.tier.clone(),
        user: success
            .map(|success| success.user.clone())
            .unwrap_or_default(),
    };
    out.push(metric::INFO.set(labels, 1.0));
}

#[expect(clippy::cast_precision_loss, reason = "commits are few")]
fn states(subject: Subject<'_>, known: &RememberedEnvironment, out: &mut Vec<Measurement>) {
    let environment = &known.environment;
    let project = subject.project.clone();
    if let Some(newest) = &known.newest {
        let current = &newest.status;
        let sparse = subject.settings.output_sparse_status_metrics;
        let others = STATUSES
            .iter()
            .filter(|status| !sparse && **status != &**current)
            .map(|status| (Text::from(*status), 0.0));
        for (status, value) in std::iter::once((current.clone(), 1.0)).chain(others) {
            let labels = EnvironmentStatusLabels {
                environment: environment.name.clone(),
                project: project.clone(),
                status,
            };
            out.push(metric::DEPLOYMENT_STATUS.set(labels, value));
        }
    }
    let mut waiting: BTreeMap<&Text, f64> = BTreeMap::new();
    for status in known.waiting.values() {
        *waiting.entry(status).or_default() += 1.0;
    }
    for (status, count) in waiting {
        let labels = EnvironmentStatusLabels {
            environment: environment.name.clone(),
            project: project.clone(),
            status: status.clone(),
        };
        out.push(metric::DEPLOYMENTS_WAITING.set(labels, count));
    }
    let Some(success) = &known.success else {
        return;
    };
    let mut set = |gauge: &'static metric::EnvironmentGauge, value: f64| {
        out.push(gauge.set(labels(subject, &environment.name), value));
    };
    let age = subject.now.since(success.finished_at);
    set(&metric::BEHIND_DURATION, age.as_secs_f64());
    set(
        &metric::LAST_DEPLOYMENT_TIMESTAMP,
        success.finished_at.as_f64(),
    );
    if let Some(duration) = success.duration {
        set(&metric::LAST_DEPLOYMENT_DURATION, duration);
    }
    if let Some(behind) = known.behind {
        set(&metric::BEHIND_COMMITS, behind as f64);
    }
}

#[cfg(test)]
mod tests;
