//! How long the pasts of projects are: which list of what moved is cheap for them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::lock;
use crate::clock::UnixSeconds;
use crate::types::{PipelineId, ProjectId};

/// Pipelines that a project may ever have had so that a list which reads them all is cheap. It is the
/// cheapest question there is where it finds nothing.
const SHORT: u64 = 2_000;

/// How often what came back is looked for in a project with a long past, where something moved within
/// [`LIVELY`].
const SWEEP: Duration = Duration::from_secs(300);
/// The same where nothing did.
const QUIET_SWEEP: Duration = Duration::from_secs(3600);
/// See [`SWEEP`].
const LIVELY: Duration = Duration::from_secs(24 * 3600);

/// How often the newest pipelines of a project with a short past are listed to find deleted ones, where
/// something moved within [`BUSY`].
const CHECK: Duration = Duration::from_secs(300);
/// The same where something moved within [`LIVELY`]; later, what is shown is asked for once a day.
const QUIET_CHECK: Duration = Duration::from_secs(3600);
/// See [`CHECK`].
const BUSY: Duration = Duration::from_secs(3600);

/// The newest pipelines of projects, as far as this process has seen them.
#[derive(Debug, Default)]
pub(super) struct Pasts(Mutex<BTreeMap<ProjectId, Past>>);

/// What is known of a project's past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Its newest pipeline; none where it has none.
    pub(super) newest: Option<PipelineId>,
    /// The largest number of a pipeline, which is how many it ever had.
    pub(super) pipelines: u64,
    /// When what came back was last looked for, by our clock.
    swept_at: Option<UnixSeconds>,
    /// When what was deleted was last looked for, by our clock.
    checked_at: Option<UnixSeconds>,
}

/// A pipeline in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) id: PipelineId,
    /// Its number in its project.
    pub(super) number: u64,
    /// Whether it is a child.
    pub(super) is_child: bool,
}

impl Past {
    /// Whether a list that reads all pipelines is too much.
    pub(super) fn is_long(self) -> bool {
        self.pipelines > SHORT
    }

    /// Whether what came back is to be looked for now, where the last pipeline moved at `moved`.
    pub(super) fn is_sweep_due(self, moved: UnixSeconds, now: UnixSeconds) -> bool {
        let interval = match now.since(moved) < LIVELY {
            true => SWEEP,
            false => QUIET_SWEEP,
        };
        is_due(self.swept_at, interval, now)
    }

    /// Whether what was deleted is to be looked for now, where the last pipeline moved at `moved`.
    pub(super) fn is_check_due(self, moved: UnixSeconds, now: UnixSeconds) -> bool {
        let interval = match now.since(moved) {
            quiet if quiet < BUSY => CHECK,
            quiet if quiet < LIVELY => QUIET_CHECK,
            _ => return false,
        };
        is_due(self.checked_at, interval, now)
    }
}

/// Whether an interval is over. Before the last time: the clock was set back.
fn is_due(last: Option<UnixSeconds>, interval: Duration, now: UnixSeconds) -> bool {
    last.is_none_or(|at| at > now || now.since(at) >= interval)
}

impl Pasts {
    /// What is known of a project; none before its pipelines were listed.
    pub(super) fn get(&self, project: ProjectId) -> Option<Past> {
        lock(&self.0).get(&project).copied()
    }

    /// Takes in pipelines of a project. Children are numbered with the others, and not listed with them.
    pub(super) fn learn(&self, project: ProjectId, listed: impl IntoIterator<Item = Listed>) {
        let mut pasts = lock(&self.0);
        let past = pasts.entry(project).or_default();
        for listed in listed {
            if !listed.is_child {
                past.newest = past.newest.max(Some(listed.id));
            }
            past.pipelines = past.pipelines.max(listed.number);
        }
    }

    /// Notes that the newest pipeline of a project is this now: a newer one went.
    pub(super) fn newest_is(&self, project: ProjectId, newest: Option<PipelineId>) {
        lock(&self.0).entry(project).or_default().newest = newest;
    }

    /// Notes that what came back was looked for.
    pub(super) fn swept(&self, project: ProjectId, now: UnixSeconds) {
        lock(&self.0).entry(project).or_default().swept_at = Some(now);
    }

    /// Notes that what was deleted was looked for.
    pub(super) fn checked(&self, project: ProjectId, now: UnixSeconds) {
        lock(&self.0).entry(project).or_default().checked_at = Some(now);
    }

    /// Forgets the projects that are not tracked any more.
    pub(super) fn retain(&self, is_tracked: impl Fn(ProjectId) -> bool) {
        lock(&self.0).retain(|project, _| is_tracked(*project));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_is_looked_for_by_how_lately_something_moved() {
        let (now, at) = (UnixSeconds(1_000_000), |seconds: i64| {
            UnixSeconds(1_000_000 - seconds)
        });
        let swept = |ago| Past {
            swept_at: Some(at(ago)),
            ..Past::default()
        };
        assert!(Past::default().is_sweep_due(now, now), "never before");
        let cases = [
            (299, 0, false),
            (300, 0, true),
            (300, 86_399, true),
            (300, 86_400, false),
            (3_600, 86_400, true),
            (-1, 0, true),
        ];
        for (ago, moved, due) in cases {
            let past = swept(ago);
            assert_eq!(past.is_sweep_due(at(moved), now), due, "{ago} {moved}");
        }
        let checked = |ago| Past {
            checked_at: Some(at(ago)),
            ..Past::default()
        };
        let cases = [
            (299, 0, false),
            (300, 3_599, true),
            (300, 3_600, false),
            (3_600, 86_399, true),
            (3_600, 86_400, false),
            (-1, 0, true),
        ];
        for (ago, moved, due) in cases {
            let past = checked(ago);
            assert_eq!(past.is_check_due(at(moved), now), due, "{ago} {moved}");
        }
    }
}
