//! Names that series carry and that outlive what is remembered of a ref: names of removed refs, which
//! other projects may still use, and source branches that merge requests are counted under.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Subject;
use super::refs::{DELETED, RefName, is_watched, merge_request_ref};
use crate::clock::UnixSeconds;
use crate::config::{CountRef, ProjectSettings};
use crate::gitlab::model::{Known, Pipeline, RefKind};
use crate::types::Text;

/// How long a removed name is remembered: a pipeline that it started in another project is rarely run
/// again later.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many removed names are remembered of a project; the oldest are forgotten first.
pub(crate) const KEPT: usize = 500;
/// How long a merge request whose state GitLab did not report counts as open after its newest
/// pipeline.
pub(crate) const UNKNOWN_STATE_KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Values of the label `ref` that were removed in a project, and since when. Pipelines that they
/// started in other projects may be read again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemovedRefs(pub(crate) BTreeMap<Text, UnixSeconds>);

impl RemovedRefs {
    /// When a name was last found to be removed, if it is.
    #[must_use]
    pub fn since(&self, name: &str) -> Option<UnixSeconds> {
        self.0.get(name).copied()
    }

    /// Whether names were removed since `before`.
    #[must_use]
    pub fn adds_to(&self, before: &Self) -> bool {
        self.0.keys().any(|name| !before.0.contains_key(name))
    }

    /// Remembers removed names, and forgets those of which `is_back` says that they are there
    /// again, and the oldest.
    pub fn update<'a>(
        &mut self,
        went: impl IntoIterator<Item = &'a Text>,
        is_back: impl Fn(&Text) -> bool,
        now: UnixSeconds,
    ) {
        self.0
            .extend(went.into_iter().map(|name| (name.clone(), now)));
        self.0
            .retain(|name, since| now.since(*since) <= KEPT_FOR && !is_back(name));
        if self.0.len() > KEPT {
            let mut by_age: Vec<_> = self
                .0
                .iter()
                .map(|(name, at)| (*at, name.clone()))
                .collect();
            by_age.sort();
            for (_, name) in &by_age[..by_age.len() - KEPT] {
                self.0.remove(name);
            }
        }
    }
}

/// Source branches that merge request pipelines are counted under (`count_ref: source_branch`), with
/// the merge requests that keep their counters: number, and when the newest pipeline was created.
///
/// A source branch's counters live while the branch is one of the project's that are watched, or
/// while a merge request from it lives: an open one, or one whose state is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceBranches(pub(crate) BTreeMap<Text, BTreeMap<u64, UnixSeconds>>);

impl SourceBranches {
    /// Takes in merge request pipelines that were read.
    pub fn absorb<'a>(
        &mut self,
        pipelines: impl IntoIterator<Item = &'a Pipeline>,
        settings: &ProjectSettings,
    ) {
        if !are_counted(settings) {
            return;
        }
        for pipeline in pipelines {
            if pipeline.kind != RefKind::MergeRequest || !is_watched(pipeline, settings) {
                continue;
            }
            if let Known::Value(merge_request) = &pipeline.merge_request {
                let branch = self
                    .0
                    .entry(merge_request.source_branch.clone())
                    .or_default();
                let newest = branch.entry(merge_request.iid).or_default();
                *newest = pipeline.created_at.max(*newest);
            }
        }
    }

    /// Forgets the source branches that nothing keeps any more, and returns the values of the label
    /// `ref` that went with them. `refs` are those that something is remembered of.
    pub fn remove_unused(&mut self, subject: Subject<'_>, refs: &BTreeSet<RefName>) -> Vec<Text> {
        let mut removed = Vec::new();
        let counted = are_counted(subject.settings);
        self.0.retain(|branch, merge_requests| {
            merge_requests.retain(|iid, newest| lives(*iid, *newest, subject, refs));
            let kept = counted && (!merge_requests.is_empty() || is_branch(branch, subject, refs));
            if !kept {
                removed.push(merge_request_ref(branch));
            }
            kept
        });
        removed
    }

    /// Numbers of the merge requests that keep counters.
    pub fn merge_requests(&self) -> impl Iterator<Item = u64> {
        self.0.values().flat_map(|branch| branch.keys().copied())
    }

    /// Whether merge requests are counted under this value of the label `ref`.
    #[must_use]
    pub fn names(&self, name: &Text) -> bool {
        self.0
            .keys()
            .any(|branch| merge_request_ref(branch) == *name)
    }
}

pub(crate) fn are_counted(settings: &ProjectSettings) -> bool {
    let rule = &settings.refs.merge_requests;
    rule.enabled && rule.count_ref == CountRef::SourceBranch
}

/// Whether a merge request lives: it is open, or its state is one that is shown.
pub(crate) fn lives(
    iid: u64,
    newest: UnixSeconds,
    subject: Subject<'_>,
    refs: &BTreeSet<RefName>,
) -> bool {
    let name = RefName {
        kind: RefKind::MergeRequest,
        name: merge_request_ref(&iid.to_string()),
    };
    let is_remembered = refs.contains(&name);
    let state = subject.refs.merge_requests.get(&iid);
    match state.map(|state| &**state) {
        Some("opened" | "locked") => true,
        Some(DELETED) => false,
        Some(state) => is_remembered && subject.settings.refs.merge_requests.includes_state(state),
        // It has just had its first pipeline, or GitLab does not report the state.
        None => is_remembered || subject.now.since(newest) <= UNKNOWN_STATE_KEPT_FOR,
    }
}

/// Whether a watched branch of the project has the name.
pub(crate) fn is_branch(name: &Text, subject: Subject<'_>, refs: &BTreeSet<RefName>) -> bool {
    let branch = RefName {
        kind: RefKind::Branch,
        name: name.clone(),
    };
    // A listing has only names that were watched when it was made.
    refs.contains(&branch) || subject.refs.existing().any(|existing| existing == branch)
}
