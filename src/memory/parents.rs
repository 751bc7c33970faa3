//! Refs of other projects that started pipelines here, as the label `parent_ref` names them.
//!
//! Where the other project is tracked and watches the ref, it shows when the ref was removed. For the
//! others nothing does: refs come and go with every merge request, and what is counted under them is
//! removed some time after the last pipeline that they started.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Subject;
use super::refs::upstream_counting_ref;
use crate::clock::UnixSeconds;
use crate::gitlab::model::Upstream;
use crate::types::{ProjectId, Text};

/// How long what a ref started stays when it is unknown whether the ref still exists.
pub const QUIET: Duration = Duration::from_secs(30 * 24 * 3600);

/// How exactly that is noted: what runs is read at each poll, and is not to be written each time.
pub(crate) const EXACT: Duration = Duration::from_secs(3600);

/// What has series of something that a ref of another project started, by its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Started {
    /// `parent_project`.
    pub parent_project: Text,
    /// `parent_ref`.
    pub parent_ref: Text,
    /// `project`.
    pub project: Text,
}

/// All that has such series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parents(pub(crate) BTreeMap<Started, Parent>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parent {
    pub(crate) project: ProjectId,
    /// When what it started was last read.
    pub(crate) last: UnixSeconds,
}

impl Parents {
    /// Notes what started pipelines that were read: each upstream pipeline with the path of the
    /// project that the downstream one runs in.
    pub fn absorb<'a>(
        &mut self,
        subject: Subject<'_>,
        started: impl IntoIterator<Item = (&'a Upstream, Text)>,
    ) {
        for (upstream, project) in started {
            let parent = upstream.project_id;
            if parent == subject.id {
                continue;
            }
            let started = Started {
                parent_project: subject.path_of(parent, &upstream.project),
                parent_ref: upstream_counting_ref(upstream, subject.settings),
                project,
            };
            let now = Parent {
                project: parent,
                last: subject.now,
            };
            let known = self.0.entry(started).or_insert_with(|| now.clone());
            if known.project != now.project || now.last.since(known.last) >= EXACT {
                *known = now;
            }
        }
    }

    /// Whether something of these labels was started lately.
    #[must_use]
    pub fn is_live(&self, started: &Started, now: UnixSeconds) -> bool {
        let known = self.0.get(started);
        known.is_some_and(|parent| now.since(parent.last) <= QUIET)
    }

    /// Forgets what refs started that have started nothing more of it for long, and returns its
    /// labels. `is_kept` is asked with the other project whether it is to stay all the same.
    pub fn remove_unused(
        &mut self,
        now: UnixSeconds,
        is_kept: impl Fn(ProjectId, &Started) -> bool,
    ) -> Vec<Started> {
        let mut removed = Vec::new();
        self.0.retain(|started, parent| {
            let is_quiet = now.since(parent.last) > QUIET;
            if is_quiet && is_kept(parent.project, started) {
                return true;
            }
            removed.extend(is_quiet.then(|| started.clone()));
            !is_quiet
        });
        removed
    }
}
