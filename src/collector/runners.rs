//! `runners`: what each runner that the token may see is doing.

use std::collections::BTreeSet;

use super::Measured;
use crate::catalogue::labels::{RunnerInfoLabels, RunnerLabels};
use crate::catalogue::runners as metric;
use crate::gitlab::model::{Runner, RunnerManager};

/// The states of some runners.
#[must_use]
pub fn measure(runners: &[Runner]) -> Measured {
    let mut measured = Measured::default();
    let out = &mut measured.states;
    let flag = |value: bool| f64::from(u8::from(value));
    for runner in runners {
        let labels = RunnerLabels {
            description: runner.description.clone(),
            runner_id: runner.id.to_string().into(),
            runner_type: runner.runner_type.as_str().into(),
        };
        out.push(metric::ONLINE.set(labels.clone(), flag(runner.online)));
        out.push(metric::PAUSED.set(labels.clone(), flag(runner.paused)));
        if let Some(at) = runner.contacted_at {
            out.push(metric::CONTACTED_TIMESTAMP.set(labels.clone(), at.as_f64()));
        }
        let different: BTreeSet<&RunnerManager> = runner.managers.iter().collect();
        for manager in different {
            let labels = RunnerInfoLabels {
                architecture: manager.architecture.clone(),
                description: labels.description.clone(),
                platform: manager.platform.clone(),
                runner_id: labels.runner_id.clone(),
                runner_type: labels.runner_type.clone(),
                version: manager.version.clone(),
            };
            out.push(metric::INFO.set(labels, 1.0));
        }
    }
    measured
}
