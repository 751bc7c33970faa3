//! `schedules`: pipeline schedules and the status of their newest pipelines.

use std::collections::BTreeSet;

use super::Measured;
use super::pipelines::status_values;
use crate::catalogue::labels::{ScheduleLabels, ScheduleStatusLabels};
use crate::catalogue::schedules as metric;
use crate::gitlab::model::Schedule;
use crate::memory::Subject;
use crate::types::Text;

/// The states of all schedules of a project.
#[must_use]
pub fn measure(subject: Subject<'_>, schedules: &[Schedule]) -> Measured {
    let mut measured = Measured::default();
    let mut taken = BTreeSet::new();
    let mut schedules: Vec<&Schedule> = schedules.iter().collect();
    schedules.sort_by_key(|schedule| schedule.id);
    for schedule in schedules {
        let name = name(schedule, &mut taken);
        let labels = ScheduleLabels {
            project: subject.project.clone(),
            git_ref: schedule.git_ref.clone(),
            schedule: name.clone(),
        };
        let out = &mut measured.states;
        let active = f64::from(u8::from(schedule.active));
        out.push(metric::ACTIVE.set(labels.clone(), active));
        // GitLab keeps the time of a schedule that is switched off, but nothing will run then.
        if let Some(next) = schedule.next_run_at.filter(|_| schedule.active) {
            out.push(metric::NEXT_RUN_TIMESTAMP.set(labels, next.as_f64()));
        }
        let Some(last) = &schedule.last_pipeline else {
            continue;
        };
        for (status, value) in status_values(subject, &last.status) {
            let labels = ScheduleStatusLabels {
                project: subject.project.clone(),
                git_ref: schedule.git_ref.clone(),
                schedule: name.clone(),
                status,
            };
            out.push(metric::LAST_RUN_STATUS.set(labels, value));
        }
    }
    measured
}

/// The label `schedule`: the description. Of schedules that would share it on one ref, all but the
/// oldest have their id appended.
fn name(schedule: &Schedule, taken: &mut BTreeSet<(Text, Text)>) -> Text {
    let described = schedule.description.trim();
    let plain: Text = match described {
        "" => format!("schedule {}", schedule.id).into(),
        described => described.into(),
    };
    if taken.insert((plain.clone(), schedule.git_ref.clone())) {
        return plain;
    }
    let name: Text = format!("{plain} ({})", schedule.id).into();
    taken.insert((name.clone(), schedule.git_ref.clone()));
    name
}
