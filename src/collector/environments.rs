//! `environments`: deployments by environment, and what each environment has now.
//!
//! A deployment is counted when it is created, and observed when it ended, each once. What GitLab
//! touched since the watermark less an overlap is read again, so the claims of that span are kept
//! and no others: an event before the floor is history or was counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Measured, Measures, Subject};
use crate::catalogue::environments as metric;
use crate::catalogue::labels::{EnvironmentInfoLabels, EnvironmentLabels, EnvironmentStatusLabels};
use crate::catalogue::{Collector, Measurement};
use crate::clock::UnixSeconds;
use crate::gitlab::rest::{Deployment, Environment};
use crate::series::Retirement;
use crate::types::Text;

/// Statuses of deployments that GitLab has today.
const STATUSES: [&str; 7] = [
    "created", "running", "success", "failed", "canceled", "skipped", "blocked",
];

/// What a look read of a project.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// All environments that are watched; `None` when they were not listed.
    pub environments: Option<Vec<Environment>>,
    /// Deployments that are new or moved; at the first look, the newest ones.
    pub deployments: Vec<Deployment>,
    /// Events before this are history; `None` when all are.
    pub floor: Option<UnixSeconds>,
    /// Events before this can not be read again as new ones after this look.
    pub next_floor: UnixSeconds,
    /// Commits of the default branch that environments do not have, by id of the environment.
    pub behind: BTreeMap<u64, u64>,
    /// Environments whose last success was asked for, by id.
    pub asked: BTreeSet<u64>,
}

/// An event of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    Created,
    Finished,
}

/// The last success of an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// Id of the deployment.
    pub id: u64,
    /// Commit.
    pub sha: Text,
    /// When it ended.
    pub finished_at: UnixSeconds,
    pub(crate) duration: Option<f64>,
}

/// What is remembered of an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// As GitLab has it.
    pub environment: Environment,
    pub(crate) newest: Option<(u64, Text)>,
    /// Its last success.
    pub success: Option<Success>,
    pub(crate) behind: Option<u64>,
    pub(crate) asked: bool,
}

impl Known {
    /// Whether its last success is still to be asked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.success.is_none() && !self.asked
    }

    /// The commit that it has.
    #[must_use]
    pub fn sha(&self) -> Option<Text> {
        self.success.as_ref().map(|success| success.sha.clone())
    }

    fn take(&mut self, deployment: &Deployment) {
        if self
            .newest
            .as_ref()
            .is_none_or(|(id, _)| *id <= deployment.id)
        {
            self.newest = Some((deployment.id, deployment.status.clone()));
        }
        let end = deployment.finished_at.filter(|_| deployment.succeeded());
        let Some(finished_at) = end else { return };
        let before = self.success.as_ref();
        if before.is_some_and(|last| (last.finished_at, last.id) > (finished_at, deployment.id)) {
            return;
        }
        if before.is_some_and(|last| last.sha != deployment.sha) {
            self.behind = None;
        }
        self.success = Some(Success {
            id: deployment.id,
            sha: deployment.sha.clone(),
            finished_at,
            duration: deployment.duration,
        });
    }
}

/// What is remembered of a project's environments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub(crate) claims: BTreeMap<(u64, Kind), UnixSeconds>,
    pub(crate) known: BTreeMap<u64, Known>,
}

impl Memory {
    /// The environments, by id.
    #[must_use]
    pub fn known(&self) -> &BTreeMap<u64, Known> {
        &self.known
    }
}

/// Takes in what was read: counts each event once, and gives all states.
pub fn measure(subject: Subject<'_>, read: &Read, memory: &mut Memory) -> Measures {
    let mut measured = Measured::default();
    let mut gone = list(subject, read, memory, &mut measured);
    let mut deployments: Vec<&Deployment> = read.deployments.iter().collect();
    deployments.sort_by_key(|deployment| deployment.id);
    for deployment in deployments {
        count(subject, read, deployment, memory, &mut measured);
        match memory.known.get_mut(&deployment.environment) {
            Some(known) => known.take(deployment),
            // Stopped, deleted or not watched: its counts are seen once more, and then it goes.
            None if read.environments.is_some() => {
                gone.insert(deployment.environment_name.clone());
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
        gone.remove(&known.environment.name);
        states(subject, known, &mut measured.states);
    }
    let mut measures = Measures::new(Collector::Environments, measured);
    measures.retirements = gone
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

/// Takes the list of environments in; gives the names of those that went.
fn list(
    subject: Subject<'_>,
    read: &Read,
    memory: &mut Memory,
    measured: &mut Measured,
) -> BTreeSet<Text> {
    let mut gone = BTreeSet::new();
    let Some(environments) = &read.environments else {
        return gone;
    };
    let mut before = std::mem::take(&mut memory.known);
    for environment in environments {
        let known = match before.remove(&environment.id) {
            Some(known) => Known {
                environment: environment.clone(),
                ..known
            },
            None => {
                let labels = labels(subject, &environment.name);
                measured
                    .births
                    .push(metric::DEPLOYMENT_COUNT.series(labels.clone()));
                measured
                    .births
                    .push(metric::DEPLOYMENT_DURATION.series(labels));
                Known {
                    environment: environment.clone(),
                    newest: None,
                    success: None,
                    behind: None,
                    asked: false,
                }
            }
        };
        memory.known.insert(environment.id, known);
    }
    gone.extend(before.into_values().map(|known| known.environment.name));
    gone
}

fn labels(subject: Subject<'_>, environment: &Text) -> EnvironmentLabels {
    EnvironmentLabels {
        environment: environment.clone(),
        project: subject.project.clone(),
    }
}

fn count(
    subject: Subject<'_>,
    read: &Read,
    deployment: &Deployment,
    memory: &mut Memory,
    measured: &mut Measured,
) {
    let mut new = |kind: Kind, time: UnixSeconds| {
        let unclaimed = memory.claims.insert((deployment.id, kind), time).is_none();
        unclaimed && read.floor.is_some_and(|floor| time >= floor)
    };
    let labels = labels(subject, &deployment.environment_name);
    if new(Kind::Created, deployment.created_at) {
        measured
            .events
            .push(metric::DEPLOYMENT_COUNT.add(labels.clone(), 1.0));
    }
    if let Some(end) = deployment.finished_at
        && new(Kind::Finished, end)
        && let Some(duration) = deployment.duration
    {
        measured
            .events
            .push(metric::DEPLOYMENT_DURATION.observe(labels, duration));
    }
}

#[expect(clippy::cast_precision_loss, reason = "commits are few")]
fn states(subject: Subject<'_>, known: &Known, out: &mut Vec<Measurement>) {
    let environment = &known.environment;
    let project = subject.project.clone();
    out.push(metric::INFO.set(
        EnvironmentInfoLabels {
            environment: environment.name.clone(),
            external_url: environment.external_url.clone().unwrap_or_default(),
            project: project.clone(),
            state: environment.state.clone(),
            tier: environment.tier.clone(),
        },
        1.0,
    ));
    if let Some((_, current)) = &known.newest {
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
