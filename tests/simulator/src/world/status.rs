//! GitLab's rules for statuses and durations of pipelines.

use super::ci::{Job, JobKind, Status, When};
use crate::time::Millis;

/// What one job contributes to the status of its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Plain(u8),
    /// Failed or canceled, but allowed to.
    SuccessWithWarnings,
    /// Manual, but not blocking.
    Ignored,
}

const CREATED: Part = Part::Plain(0);
const WAITING_FOR_RESOURCE: Part = Part::Plain(1);
const PREPARING: Part = Part::Plain(2);
const WAITING_FOR_CALLBACK: Part = Part::Plain(3);
const PENDING: Part = Part::Plain(4);
const RUNNING: Part = Part::Plain(5);
const SUCCESS: Part = Part::Plain(6);
const FAILED: Part = Part::Plain(7);
const CANCELING: Part = Part::Plain(8);
const CANCELED: Part = Part::Plain(9);
const SKIPPED: Part = Part::Plain(10);
const MANUAL: Part = Part::Plain(11);
const SCHEDULED: Part = Part::Plain(12);
const WARNINGS: Part = Part::SuccessWithWarnings;
const IGNORED: Part = Part::Ignored;

fn part(job: &Job) -> Part {
    match &job.status {
        Status::Failed | Status::Canceled if job.allow_failure => WARNINGS,
        Status::Manual if job.allow_failure => IGNORED,
        Status::Created => CREATED,
        Status::WaitingForResource => WAITING_FOR_RESOURCE,
        Status::Preparing => PREPARING,
        Status::WaitingForCallback => WAITING_FOR_CALLBACK,
        Status::Pending => PENDING,
        // A status nobody knows yet is something that goes on.
        Status::Running | Status::Other(_) => RUNNING,
        Status::Success => SUCCESS,
        Status::Failed => FAILED,
        Status::Canceling => CANCELING,
        Status::Canceled => CANCELED,
        Status::Skipped => SKIPPED,
        Status::Manual => MANUAL,
        Status::Scheduled => SCHEDULED,
    }
}

/// The status of a set of jobs, retried ones left out; `None` for no jobs.
#[must_use]
pub fn composite<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Option<Status> {
    let mut parts: Vec<Part> = jobs
        .into_iter()
        .filter(|job| !job.retried)
        .map(part)
        .collect();
    parts.sort_unstable();
    parts.dedup();
    if parts.is_empty() {
        return None;
    }
    let only = |allowed: &[Part]| parts.iter().all(|part| allowed.contains(part));
    let any = |wanted: &[Part]| parts.iter().any(|part| wanted.contains(part));
    Some(if only(&[SKIPPED, IGNORED]) {
        Status::Skipped
    } else if only(&[SUCCESS, SKIPPED, WARNINGS, IGNORED]) {
        Status::Success
    } else if only(&[CREATED, WARNINGS, IGNORED]) {
        Status::Created
    } else if only(&[PREPARING, WARNINGS, IGNORED]) {
        Status::Preparing
    } else if only(&[CANCELED, SUCCESS, SKIPPED, WARNINGS, IGNORED]) {
        Status::Canceled
    } else if only(&[PENDING, CREATED, SKIPPED, WARNINGS, IGNORED]) {
        Status::Pending
    } else if any(&[CANCELING]) {
        Status::Canceling
    } else if any(&[RUNNING, PENDING]) {
        Status::Running
    } else if any(&[WAITING_FOR_RESOURCE]) {
        Status::WaitingForResource
    } else if any(&[WAITING_FOR_CALLBACK]) {
        Status::WaitingForCallback
    } else if any(&[MANUAL]) {
        Status::Manual
    } else if any(&[SCHEDULED]) {
        Status::Scheduled
    } else if any(&[PREPARING]) {
        Status::Preparing
    } else if any(&[CREATED]) {
        Status::Running
    } else {
        Status::Failed
    })
}

/// What earlier stages mean for a job that has not been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prior {
    /// Something there is not over.
    Open,
    /// All went well, or was allowed not to.
    Good,
    /// Something failed, was canceled or skipped.
    Bad,
}

/// The state of earlier stages from their current jobs.
pub(super) fn prior<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Prior {
    match composite(jobs) {
        None | Some(Status::Success | Status::Skipped) => Prior::Good,
        Some(Status::Failed | Status::Canceled) => Prior::Bad,
        Some(_) => Prior::Open,
    }
}

/// What becomes of a created job once the earlier stages are over; `None`: it waits on.
pub(super) fn next(when: When, prior: Prior) -> Option<Status> {
    match (prior, when) {
        (Prior::Open, _) => None,
        (Prior::Good, When::OnSuccess | When::Always)
        | (Prior::Bad, When::OnFailure | When::Always) => Some(Status::Pending),
        (Prior::Good, When::Manual) => Some(Status::Manual),
        (Prior::Good, When::Delayed) => Some(Status::Scheduled),
        (Prior::Good, When::OnFailure)
        | (Prior::Bad, When::OnSuccess | When::Manual | When::Delayed) => Some(Status::Skipped),
    }
}

/// Seconds during which at least one of the current builds ran; those still running count up to `now`.
#[must_use]
pub fn running_seconds<'a>(jobs: impl IntoIterator<Item = &'a Job>, now: Millis) -> i64 {
    let mut periods: Vec<(Millis, Millis)> = jobs
        .into_iter()
        .filter(|job| !job.retried && job.kind == JobKind::Build)
        .filter(|job| {
            matches!(
                job.status,
                Status::Success | Status::Failed | Status::Running | Status::Canceled
            )
        })
        .filter_map(|job| Some((job.started_at?, job.finished_at.unwrap_or(now))))
        .filter(|(start, end)| start <= end)
        .collect();
    periods.sort_unstable();
    let mut total = 0;
    let mut covered = Millis::MIN;
    for (start, end) in periods {
        total += (end - start.max(covered)).max(0);
        covered = covered.max(end);
    }
    total / 1_000
}
