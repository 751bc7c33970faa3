//! When a project's refs were listed, and why they will be again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::refs::RefName;
use crate::clock::UnixSeconds;
use crate::gitlab::model;
use crate::types::ProjectId;

/// GitLab moves `last_activity_at` at most this often.
pub(crate) const ACTIVITY_THROTTLE: Duration = Duration::from_secs(3600);

/// How often the shown pipelines are asked for by id.
pub(crate) const PIPELINE_CHECK: Duration = Duration::from_secs(24 * 3600);

/// When a project's refs were polled, and why they will be again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RefsProgress {
    /// The activity that the last poll was for.
    pub activity: Option<UnixSeconds>,
    /// When to poll once more, though no newer activity shows.
    pub again_at: Option<UnixSeconds>,
    /// When the shown pipelines were last asked for by id.
    pub pipelines_checked_at: Option<UnixSeconds>,
    /// Refs that exist and whose newest pipeline was asked for, because the first poll of the
    /// change feed did not reach back to it.
    pub asked: BTreeSet<RefName>,
}

impl RefsProgress {
    /// Whether a project is to be polled.
    #[must_use]
    pub fn is_due(&self, project: &model::Project, now: UnixSeconds) -> bool {
        let moved = project
            .last_activity_at
            .is_some_and(|at| self.activity != Some(at));
        moved
            || self.pipelines_checked_at.is_none()
            || self.again_at.is_some_and(|at| now >= at)
            || self.checks_pipelines(now)
    }

    pub(crate) fn checks_pipelines(&self, now: UnixSeconds) -> bool {
        self.pipelines_checked_at
            .is_some_and(|at| now.since(at) >= PIPELINE_CHECK)
    }

    pub(crate) fn polled(&self, project: &model::Project, now: UnixSeconds) -> Self {
        let moved = project
            .last_activity_at
            .is_some_and(|at| self.activity != Some(at));
        Self {
            activity: project.last_activity_at,
            again_at: (moved && may_hide_more(project, now)).then(|| now.plus(ACTIVITY_THROTTLE)),
            pipelines_checked_at: match self.pipelines_checked_at {
                Some(at) if !self.checks_pipelines(now) => Some(at),
                Some(_) => Some(now),
                None => Some(now.minus(spread(project.id))),
            },
            asked: self.asked.clone(),
        }
    }
}

/// Whether something could have happened since the activity that GitLab noted, without moving it. An
/// older one moves with whatever happens next. Twice the throttle: our clock may be ahead.
pub(crate) fn may_hide_more(project: &model::Project, now: UnixSeconds) -> bool {
    project
        .last_activity_at
        .is_some_and(|at| now.since(at) < 2 * ACTIVITY_THROTTLE)
}

/// How much sooner than the others a project's pipelines are checked a second time, so that what was
/// first seen together is not checked together permanently.
pub(crate) fn spread(project: ProjectId) -> Duration {
    let scattered = project.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_secs(scattered % PIPELINE_CHECK.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active_at(at: i64) -> model::Project {
        model::Project {
            id: ProjectId(1),
            full_path: "group/project".into(),
            default_branch: model::Known::Nothing,
            archived: false,
            is_scheduled_for_deletion: false,
            last_activity_at: Some(UnixSeconds(at)),
            role: model::Known::Nothing,
            features: model::Features::default(),
            attributes: model::Attributes::default(),
        }
    }

    #[test]
    fn only_fresh_activity_asks_for_a_second_poll() {
        let now = UnixSeconds(1_000_000);
        let fresh = RefsProgress::default().polled(&active_at(now.0 - 60), now);
        assert_eq!(fresh.again_at, Some(now.plus(ACTIVITY_THROTTLE)));
        assert!(fresh.is_due(&active_at(now.0 - 60), now.plus(ACTIVITY_THROTTLE)));

        let quiet = RefsProgress::default().polled(&active_at(now.0 - 86_400), now);
        assert_eq!(quiet.again_at, None);
        assert!(!quiet.is_due(&active_at(now.0 - 86_400), now.plus(ACTIVITY_THROTTLE)));
        assert!(quiet.is_due(&active_at(now.0 + 10), now.plus(ACTIVITY_THROTTLE)));
    }
}
