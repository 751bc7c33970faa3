//! What keeps a source branch's counters, and that memories stay small.

use super::super::refs::{Listing, RefsSeen};
use super::*;
use crate::collector::testing::pipeline;
use crate::facts::feed::PipelineFacts;
use crate::types::ProjectId;

const DAY: i64 = 86_400;
const NOW: UnixSeconds = UnixSeconds(100 * DAY);

fn settings() -> ProjectSettings {
    let mut settings = ProjectSettings::default();
    settings.refs.branches.regexp = "^(main|feature)$".parse().unwrap();
    settings.refs.merge_requests.count_ref = CountRef::SourceBranch;
    settings
}

fn merge_request(iid: u64) -> RefName {
    RefName {
        kind: RefKind::MergeRequest,
        name: merge_request_ref(&iid.to_string()),
    }
}

/// A pipeline of merge request 42, from `feature`, an hour ago.
fn counted() -> SourceBranches {
    let mut branches = SourceBranches::default();
    branches.absorb([&of_merge_request(pipeline(1, NOW.0 - 3600))], &settings());
    branches
}

fn of_merge_request(facts: PipelineFacts) -> Pipeline {
    facts.on_merge_request(42, "head").pipeline
}

fn with_state(state: Option<&str>) -> RefsSeen {
    RefsSeen {
        merge_requests: state.map(|state| (42, state.into())).into_iter().collect(),
        ..RefsSeen::default()
    }
}

/// What goes when this has been seen, and these refs are remembered, `days` later.
fn goes(settings: &ProjectSettings, seen: &RefsSeen, refs: &[RefName], days: i64) -> Vec<Text> {
    let project = Text::from("group/project");
    let subject = Subject {
        id: ProjectId(1),
        project: &project,
        paths: &BTreeMap::new(),
        settings,
        max_pipelines_per_ref: 1,
        refs: seen,
        tier: Known::Unread,
        now: UnixSeconds(NOW.0 + days * DAY),
    };
    let mut branches = counted();
    let removed = branches.remove_unused(subject, &refs.iter().cloned().collect());
    let left = usize::from(removed.is_empty());
    assert_eq!(branches.0.len(), left, "what is gone is forgotten");
    removed
}

#[test]
fn a_merge_request_that_lives_keeps_its_source_branch() {
    let remembered = [merge_request(42)];
    for (state, refs, days, lives) in [
        (Some("opened"), &[][..], 400, true),
        (Some("locked"), &[], 400, true),
        // Merged ones are shown by default, as long as they are inside the windows.
        (Some("merged"), &remembered, 1, true),
        (Some("merged"), &[], 1, false),
        (Some("closed"), &remembered, 1, false),
        (Some(DELETED), &remembered, 1, false),
        (None, &[], 6, true),
        (None, &[], 8, false),
        (None, &remembered, 8, true),
    ] {
        let removed = goes(&settings(), &with_state(state), refs, days);
        assert_eq!(removed.is_empty(), lives, "{state:?} {refs:?} {days}");
    }
}

#[test]
fn a_branch_that_is_watched_keeps_what_is_counted_under_its_name() {
    let mut seen = with_state(Some("closed"));
    let removed = ["merge-requests/feature"];
    assert_eq!(goes(&settings(), &seen, &[], 1), removed.map(Text::from));
    let branch = RefName {
        kind: RefKind::Branch,
        name: "feature".into(),
    };
    assert!(goes(&settings(), &seen, &[branch], 1).is_empty());
    seen.branches = Some(Listing {
        at: NOW,
        names: ["feature".into()].into(),
    });
    assert!(goes(&settings(), &seen, &[], 1).is_empty());
}

#[test]
fn another_setting_lets_all_go() {
    let seen = with_state(Some("opened"));
    let mut other = settings();
    other.refs.merge_requests.count_ref = CountRef::TargetBranch;
    assert_eq!(goes(&other, &seen, &[], 1).len(), 1);
    let mut off = settings();
    off.refs.merge_requests.enabled = false;
    assert_eq!(goes(&off, &seen, &[], 1).len(), 1);
    let mut branches = SourceBranches::default();
    branches.absorb([&of_merge_request(pipeline(1, NOW.0))], &other);
    assert_eq!(branches, SourceBranches::default());
}

#[test]
fn removed_names_are_limited_and_expire() {
    let mut removed = RemovedRefs::default();
    let names: Vec<Text> = (0..2 * KEPT)
        .map(|number| format!("branch-{number}").into())
        .collect();
    for (name, at) in names.iter().zip(NOW.0..) {
        removed.update([name], |_| false, UnixSeconds(at));
    }
    assert_eq!(removed.0.len(), KEPT);
    assert_eq!(removed.since(&names[KEPT - 1]), None);
    assert!(removed.since(&names[KEPT]).is_some());
    removed.update([], |name| *name == names[KEPT], UnixSeconds(NOW.0 + DAY));
    assert_eq!(removed.since(&names[KEPT]), None, "it is back");
    removed.update([], |_| false, UnixSeconds(NOW.0 + 31 * DAY));
    assert_eq!(removed, RemovedRefs::default());
}
