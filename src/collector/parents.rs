//! Refs of other projects that started pipelines here, as the label `parent_ref` names them.
//!
//! Where the other project is tracked and watches the ref, it says when the ref is gone. Of the
//! others nobody says so: refs come and go with every merge request, and what is counted under them
//! leaves some time after the last that they started.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refs::{is_watched, upstream_counting_ref};
use super::{Feed, Subject};
use crate::clock::UnixSeconds;
use crate::gitlab::model::{Known, ProjectId, Text};

/// How long what a ref started stays when nobody says whether the ref is still there.
pub const QUIET: Duration = Duration::from_secs(30 * 24 * 3600);

/// How exactly that is noted: what runs is read at each look, and is not to be written each time.
const EXACT: Duration = Duration::from_secs(3600);

/// Values of `parent_project` and `parent_ref` that have series, of other projects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parents(BTreeMap<(Text, Text), Parent>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parent {
    project: ProjectId,
    /// When what it started was last read.
    last: UnixSeconds,
}

impl Parents {
    /// Notes what started the pipelines of a feed.
    pub fn absorb(&mut self, subject: Subject<'_>, feed: &Feed) {
        let watched = feed.pipelines.iter();
        let watched = watched.filter(|facts| is_watched(&facts.pipeline, subject.settings));
        for facts in watched {
            let own = match &facts.pipeline.upstream {
                Known::Value(upstream) => Some(upstream),
                _ => None,
            };
            let foreign = facts.foreign.iter().map(|foreign| &foreign.upstream);
            for upstream in own.into_iter().chain(foreign) {
                let project = upstream.project_id;
                if project == subject.id {
                    continue;
                }
                let path = subject.path_of(project, &upstream.project);
                let name = upstream_counting_ref(upstream, subject.settings);
                let last = subject.now;
                let parent = self.0.entry((path, name));
                let parent = parent.or_insert(Parent { project, last });
                parent.project = project;
                if last.since(parent.last) >= EXACT {
                    parent.last = last;
                }
            }
        }
    }

    /// Forgets the refs that have started nothing for long, and gives project and ref of each, as
    /// the labels name them. `is_kept` says of a ref whether it is known to be there.
    pub fn let_go(
        &mut self,
        now: UnixSeconds,
        is_kept: impl Fn(ProjectId, &Text) -> bool,
    ) -> Vec<(Text, Text)> {
        let mut gone = Vec::new();
        self.0.retain(|(path, name), parent| {
            let is_quiet = now.since(parent.last) > QUIET;
            if is_quiet && is_kept(parent.project, name) {
                return true;
            }
            gone.extend(is_quiet.then(|| (path.clone(), name.clone())));
            !is_quiet
        });
        gone
    }
}
