//! Refs: what they are called in labels, which are watched, and which are shown.
//!
//! *Rules* (enabled, regexp) bound counting and states. *Windows* (`most_recent`,
//! `max_age_days`, deleted refs, merge request states) bound states only.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::config::{CountRef, ProjectSettings, RefRule};
use crate::gitlab::model::{
    Known, Pipeline, PipelineMergeRequest, RefKind, Upstream, merge_request_iid,
};
use crate::types::Text;

/// A ref as states name it: merge requests by their iid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName {
    /// Branch, tag or merge request.
    pub kind: RefKind,
    /// Value of the label `ref`: the branch's or tag's name, or `merge-requests/<iid>`.
    pub name: Text,
}

impl RefName {
    /// The ref that a pipeline's states are labelled with.
    #[must_use]
    pub fn of(pipeline: &Pipeline) -> Self {
        let name = match (pipeline.kind, iid_of(pipeline)) {
            (RefKind::MergeRequest, Some(iid)) => merge_request_ref(&iid.to_string()),
            (RefKind::MergeRequest, None) => merge_request_ref("unknown"),
            (RefKind::Branch | RefKind::Tag, _) => pipeline.git_ref.clone(),
        };
        Self {
            kind: pipeline.kind,
            name,
        }
    }

    /// The label `ref` of metrics without `kind`.
    #[must_use]
    pub fn without_kind(&self) -> Text {
        without_kind(self.kind, &self.name)
    }

    /// The merge request's iid, if this is one.
    #[must_use]
    pub fn merge_request(&self) -> Option<u64> {
        match self.kind {
            RefKind::MergeRequest => self.name.strip_prefix(MERGE_REQUESTS)?.parse().ok(),
            RefKind::Branch | RefKind::Tag => None,
        }
    }
}

pub(crate) const MERGE_REQUESTS: &str = "merge-requests/";

/// The label `ref` of metrics without `kind`: tags start with `tags/`, since a branch may have the name.
#[must_use]
pub fn without_kind(kind: RefKind, name: &Text) -> Text {
    match kind {
        RefKind::Tag => format!("tags/{name}").into(),
        RefKind::Branch | RefKind::MergeRequest => name.clone(),
    }
}

/// Merge-request refs always start so and do not mix with branches, not even in families without
/// `kind`: GitLab allows a branch `merge-requests/42`, but in practice there is none.
pub(crate) fn merge_request_ref(name: &str) -> Text {
    format!("{MERGE_REQUESTS}{name}").into()
}

pub(crate) fn iid_of(pipeline: &Pipeline) -> Option<u64> {
    match &pipeline.merge_request {
        Known::Value(merge_request) => Some(merge_request.iid),
        Known::Nothing | Known::Hidden | Known::Unread => merge_request_iid(&pipeline.git_ref),
    }
}

/// The label `ref` that a pipeline's counters and histograms carry: merge requests by
/// target branch (or as the setting `count_ref` says), so that the number of series stays bounded.
#[must_use]
pub fn counting_ref(pipeline: &Pipeline, settings: &ProjectSettings) -> Text {
    match pipeline.kind {
        RefKind::Branch | RefKind::Tag => pipeline.git_ref.clone(),
        RefKind::MergeRequest => {
            merge_request_counting_ref(iid_of(pipeline), &pipeline.merge_request, settings)
        }
    }
}

/// The same for metrics without `kind`.
#[must_use]
pub fn counting_ref_without_kind(pipeline: &Pipeline, settings: &ProjectSettings) -> Text {
    without_kind(pipeline.kind, &counting_ref(pipeline, settings))
}

/// The label `parent_ref` that a downstream pipeline's counters and histograms carry.
#[must_use]
pub fn upstream_counting_ref(upstream: &Upstream, settings: &ProjectSettings) -> Text {
    match merge_request_iid(&upstream.git_ref) {
        None => upstream.git_ref.clone(),
        iid => merge_request_counting_ref(iid, &upstream.merge_request, settings),
    }
}

pub(crate) fn merge_request_counting_ref(
    iid: Option<u64>,
    merge_request: &Known<PipelineMergeRequest>,
    settings: &ProjectSettings,
) -> Text {
    match (settings.refs.merge_requests.count_ref, merge_request, iid) {
        (CountRef::TargetBranch, Known::Value(known), _) => merge_request_ref(&known.target_branch),
        (CountRef::SourceBranch, Known::Value(known), _) => merge_request_ref(&known.source_branch),
        (CountRef::Iid, _, Some(iid)) => merge_request_ref(&iid.to_string()),
        _ => merge_request_ref("unknown"),
    }
}

/// The label for a ref that is only known as GitLab writes it (an upstream pipeline's).
#[must_use]
pub fn plain_ref(git_ref: &Text) -> Text {
    match merge_request_iid(git_ref) {
        Some(iid) => merge_request_ref(&iid.to_string()),
        None => git_ref.clone(),
    }
}

/// Whether the project's rules watch this pipeline's ref at all.
#[must_use]
pub fn is_watched(pipeline: &Pipeline, settings: &ProjectSettings) -> bool {
    let refs = &settings.refs;
    match pipeline.kind {
        RefKind::Branch => admits(&refs.branches, &pipeline.git_ref),
        RefKind::Tag => admits(&refs.tags, &pipeline.git_ref),
        RefKind::MergeRequest => refs.merge_requests.enabled,
    }
}

/// Whether the project's rules watch a ref at all: they may have changed since it was remembered.
#[must_use]
pub fn is_ruled_in(name: &RefName, settings: &ProjectSettings) -> bool {
    let refs = &settings.refs;
    match name.kind {
        RefKind::Branch => admits(&refs.branches, &name.name),
        RefKind::Tag => admits(&refs.tags, &name.name),
        RefKind::MergeRequest => refs.merge_requests.enabled,
    }
}

/// Whether the project's rules watch a branch.
#[must_use]
pub fn watches_branch(name: &str, settings: &ProjectSettings) -> bool {
    admits(&settings.refs.branches, name)
}

pub(crate) fn admits(rule: &RefRule, name: &str) -> bool {
    rule.enabled && rule.regexp.is_match(name)
}

/// In place of its state: GitLab was asked for a merge request, and does not have it any more.
pub const DELETED: &str = "deleted";

/// Which refs exist, as far as they have been polled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RefsSeen {
    /// Branches, and when they were listed.
    pub branches: Option<Listing>,
    /// Tags, and when they were listed.
    pub tags: Option<Listing>,
    /// States of merge requests (`opened`, `closed`, `merged`, `locked`, or [`DELETED`]) by iid.
    pub merge_requests: BTreeMap<u64, Text>,
}

impl RefsSeen {
    /// Whether a branch that the rules watch and that was last used at `used` has been deleted since.
    #[must_use]
    pub fn misses_branch(&self, name: &str, used: UnixSeconds) -> bool {
        let listing = self.branches.as_ref();
        listing.is_some_and(|listing| listing.misses(name, used))
    }

    /// The branches and tags that exist, by the latest listings.
    pub fn existing(&self) -> impl Iterator<Item = RefName> {
        let of = |kind, listing: &Option<Listing>| {
            let names = listing
                .iter()
                .flat_map(|listing| listing.names.iter().cloned());
            names
                .map(move |name| RefName { kind, name })
                .collect::<Vec<_>>()
        };
        of(RefKind::Branch, &self.branches)
            .into_iter()
            .chain(of(RefKind::Tag, &self.tags))
    }
}

/// The names that existed at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// When the listing was begun (GitLab's time).
    pub at: UnixSeconds,
    /// The names.
    pub names: BTreeSet<Text>,
}

impl Listing {
    /// Whether a ref whose newest pipeline is of `newest` has been deleted since. A ref that got a
    /// pipeline after the listing exists, whatever the listing says.
    fn misses(&self, name: &str, newest: UnixSeconds) -> bool {
        newest < self.at && !self.names.contains(name)
    }
}

/// A ref that has states to show.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The ref.
    pub name: &'a RefName,
    /// When its newest pipeline was created.
    pub newest: UnixSeconds,
}

/// Whether a ref has been deleted in GitLab, by the latest listing.
pub(crate) fn is_deleted(candidate: Candidate<'_>, seen: &RefsSeen) -> bool {
    let Candidate {
        name: RefName { kind, name },
        newest,
    } = candidate;
    let listing = match kind {
        RefKind::Branch => &seen.branches,
        RefKind::Tag => &seen.tags,
        RefKind::MergeRequest => {
            let iid = candidate.name.merge_request();
            let state = iid.and_then(|iid| seen.merge_requests.get(&iid));
            return state.is_some_and(|state| &**state == DELETED);
        }
    };
    listing
        .as_ref()
        .is_some_and(|listing| listing.misses(name, newest))
}

/// The refs whose states are shown: those inside the windows, newest first within each kind.
#[must_use]
pub fn shown<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    settings: &ProjectSettings,
    seen: &RefsSeen,
    now: UnixSeconds,
) -> BTreeSet<&'a RefName> {
    let inside = candidates.into_iter().filter(|candidate| {
        is_in_time(*candidate, settings, seen, now) && has_shown_state(*candidate, settings, seen)
    });
    newest(inside, settings, 1)
}

/// How many times `most_recent` refs are kept, so that others can take the place of those that go.
pub(crate) const RESERVE: usize = 2;

/// The refs worth remembering: those shown, and those that can come to be shown when another goes
/// or when a merge request changes its state. What has left the window of time cannot come back.
#[must_use]
pub fn kept<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    settings: &ProjectSettings,
    seen: &RefsSeen,
    now: UnixSeconds,
) -> BTreeSet<&'a RefName> {
    let (open, hidden): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .filter(|candidate| is_in_time(*candidate, settings, seen, now))
        .partition(|candidate| has_shown_state(*candidate, settings, seen));
    let mut kept = newest(open, settings, RESERVE);
    kept.extend(newest(hidden, settings, RESERVE));
    kept
}

/// The newest of each kind: `times` what `most_recent` allows.
pub(crate) fn newest<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    settings: &ProjectSettings,
    times: usize,
) -> BTreeSet<&'a RefName> {
    let mut by_kind: BTreeMap<RefKind, Vec<Candidate<'a>>> = BTreeMap::new();
    for candidate in candidates {
        by_kind
            .entry(candidate.name.kind)
            .or_default()
            .push(candidate);
    }
    let mut newest = BTreeSet::new();
    for (kind, mut candidates) in by_kind {
        candidates.sort_by(|a, b| b.newest.cmp(&a.newest).then_with(|| a.name.cmp(b.name)));
        let take = match window(kind, settings).most_recent {
            0 => usize::MAX,
            most_recent => most_recent.saturating_mul(times),
        };
        let names = candidates.into_iter().map(|candidate| candidate.name);
        newest.extend(names.take(take));
    }
    newest
}

pub(crate) struct Window {
    pub(crate) most_recent: usize,
    pub(crate) max_age: Option<Duration>,
    pub(crate) exclude_deleted: bool,
}

pub(crate) fn window(kind: RefKind, settings: &ProjectSettings) -> Window {
    let refs = &settings.refs;
    let (most_recent, max_age_days, exclude_deleted) = match kind {
        RefKind::Branch => (
            refs.branches.most_recent,
            refs.branches.max_age_days,
            refs.branches.exclude_deleted,
        ),
        RefKind::Tag => (
            refs.tags.most_recent,
            refs.tags.max_age_days,
            refs.tags.exclude_deleted,
        ),
        RefKind::MergeRequest => (
            refs.merge_requests.most_recent,
            refs.merge_requests.max_age_days,
            true,
        ),
    };
    Window {
        most_recent: usize::try_from(most_recent).unwrap_or(usize::MAX),
        max_age: (max_age_days > 0).then(|| Duration::from_secs(u64::from(max_age_days) * 86_400)),
        exclude_deleted,
    }
}

/// Whether the ref still exists, as far as that is asked for, and is not too old.
pub(crate) fn is_in_time(
    candidate: Candidate<'_>,
    settings: &ProjectSettings,
    seen: &RefsSeen,
    now: UnixSeconds,
) -> bool {
    let window = window(candidate.name.kind, settings);
    let too_old = window
        .max_age
        .is_some_and(|max_age| now.since(candidate.newest) > max_age);
    !too_old && !is_excluded(candidate, settings, seen)
}

/// Whether the ref has been deleted, and its rule leaves deleted ones out.
#[must_use]
pub fn is_excluded(candidate: Candidate<'_>, settings: &ProjectSettings, seen: &RefsSeen) -> bool {
    window(candidate.name.kind, settings).exclude_deleted && is_deleted(candidate, seen)
}

/// Whether a ref of which nothing is remembered was removed, and is not just outside its window.
/// Tags and merge requests count as removed when they are far outside: an event on one still counts, and its
/// series leave when every delivery saw it.
#[must_use]
pub fn is_removed(candidate: Candidate<'_>, settings: &ProjectSettings, seen: &RefsSeen) -> bool {
    candidate.name.kind != RefKind::Branch
        || !is_ruled_in(candidate.name, settings)
        || is_excluded(candidate, settings, seen)
}

pub(crate) fn has_shown_state(
    candidate: Candidate<'_>,
    settings: &ProjectSettings,
    seen: &RefsSeen,
) -> bool {
    let state = candidate
        .name
        .merge_request()
        .and_then(|iid| seen.merge_requests.get(&iid));
    match state.map(|state| &**state) {
        // A merge request whose state is not known yet has just had a pipeline: it is shown.
        None => true,
        // It is being merged, which takes seconds: it was open, and is open again or merged next.
        Some("locked") => settings.refs.merge_requests.includes_state("opened"),
        Some(state) => settings.refs.merge_requests.includes_state(state),
    }
}
