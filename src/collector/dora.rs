//! `dora`: the four figures by tier of environment, GitLab's own or computed by its definitions.

#[cfg(test)]
mod tests;

use super::Measured;
use crate::catalogue::dora as metric;
use crate::catalogue::labels::{EnvironmentTierLabels, ProjectSourceLabels};
use crate::facts::dora::{DoraRead, Figures};
use crate::gitlab::model::{DeploymentTier, DoraByTier};
use crate::memory::Subject;
use crate::memory::dora::DoraMemory;
use crate::memory::dora::computed::Period;

/// The figures are GitLab's own: a value of the label `source`.
pub const GITLAB: &str = "gitlab";
/// The figures are computed here: a value of the label `source`.
pub const COMPUTED: &str = "computed";

/// Takes in what was read, and shows the figures.
#[must_use]
pub fn collect(subject: Subject<'_>, read: &DoraRead, memory: &mut DoraMemory) -> Measured {
    match &read.figures {
        Figures::GitLab(figures) => {
            *memory = DoraMemory::default();
            measure(subject, GITLAB, figures)
        }
        Figures::Computed(read) => {
            let period = Period::ending(subject.now);
            *memory = DoraMemory::clone(read);
            memory.forget(period);
            measure(subject, COMPUTED, &memory.figures(period))
        }
    }
}

/// Shows a project's figures. Without a deployment in the period the frequency is 0; what has no
/// value otherwise is not shown.
#[must_use]
pub fn measure(subject: Subject<'_>, source: &'static str, tiers: &DoraByTier) -> Measured {
    let mut out = Measured::default();
    for (tier, figures) in tiers {
        let frequency = figures.deployment_frequency.unwrap_or(0.0);
        let all = [
            (&metric::DEPLOYMENT_FREQUENCY, Some(frequency)),
            (&metric::LEAD_TIME, figures.lead_time),
            (&metric::TIME_TO_RESTORE, figures.time_to_restore),
            (&metric::CHANGE_FAILURE_RATE, figures.change_failure_rate),
        ];
        for (metric, value) in all {
            let labels = labels(subject, *tier);
            out.states
                .extend(value.map(|value| metric.set(labels, value)));
        }
    }
    let labels = ProjectSourceLabels {
        project: subject.project.clone(),
        source: source.into(),
    };
    out.states.push(metric::SOURCE.set(labels, 1.0));
    out
}

fn labels(subject: Subject<'_>, tier: DeploymentTier) -> EnvironmentTierLabels {
    EnvironmentTierLabels {
        environment_tier: tier.as_str().into(),
        project: subject.project.clone(),
    }
}
