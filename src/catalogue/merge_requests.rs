//! Merge requests, by the branch they go into.

use super::labels::{MergeRequestStateLabels, TargetBranchLabels};
use super::{Buckets, Collector, CollectorDesc, Counter, Desc, Gauge, Histogram, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Merge requests",
    about: "\
Times are GitLab's timestamps, from the creation of a merge request, including drafts, to its merge
or close. A *review* is a note, an approval or a review action of a person who is neither the author
nor a bot (by GitLab's type, or by a name as GitLab assigns to bots). REST lists have only the
names, so with REST a service account with a custom name counts as a person. A *review cycle* is a
push after a review, followed by another review.

Target branches selected by the rules for branches have series while they exist; others while a
merge request into them is open or was merged or closed in the last 30 days. All open merge requests
are read once an hour, so conflicts and deleted merge requests appear with that delay. Without
GraphQL, lines, files and commits are not available, and their histograms do not change.",
    role: "Reporter",
    tier: "Free",
    requests: "one query per 100 projects; hourly one more for all open merge requests",
    queries: &[Query::MergeRequests],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::MergeRequests,
        tier: Tier::Free,
        plan,
    }
}

/// Merges, by time since creation.
pub static TIME_TO_MERGE: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_time_to_merge_seconds",
        "s",
        true,
        "Time from creation to merge of merge requests; one observation per merge.",
    ),
    Buckets::Configured,
);

/// Merge requests, by wait for the first review.
pub static TIME_TO_FIRST_REVIEW: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_time_to_first_review_seconds",
        "s",
        true,
        "Time from creation to the first note, approval or review action of a person who is \
         neither the author nor a bot; observed once, when it happens.",
    ),
    Buckets::Configured,
);

/// Ended merge requests, by review cycles.
pub static REVIEW_CYCLES: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_review_cycles_count",
        "",
        true,
        "Review cycles of merged and closed merge requests: how often changes were pushed after \
         a review and then reviewed again.",
    ),
    Buckets::Fixed(&[0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0]),
);

/// Merges, by changed lines.
pub static CHANGES: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_changes_count",
        "",
        true,
        "Lines added plus lines deleted of merged merge requests.",
    ),
    Buckets::Fixed(&[
        1.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0,
    ]),
);

/// Merge requests by state.
pub static STATUS: Gauge<MergeRequestStateLabels> = Gauge::new(spec(
    "age_mr_status",
    "",
    true,
    "Number of merge requests into the branch, by state: opened, closed, merged or locked.",
))
.merged(Merge::Sum);

/// Merges.
pub static THROUGHPUT: Counter<TargetBranchLabels> = Counter::new(spec(
    "age_mr_throughput_count",
    "",
    true,
    "Merge requests merged, each counted once.",
));

/// Ended merge requests, by comments.
pub static NOTES: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_notes_count",
        "",
        true,
        "Comments of users on merged and closed merge requests; system notes are excluded.",
    ),
    Buckets::Fixed(&[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]),
);

/// Ended merge requests, by life.
pub static OPEN_DURATION: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_open_duration_seconds",
        "s",
        true,
        "Time from creation to merge or close of merge requests; for merges alone see \
         age_mr_time_to_merge_seconds.",
    ),
    Buckets::Configured,
);

/// Open merge requests.
pub static OPEN_COUNT: Gauge<TargetBranchLabels> = Gauge::new(spec(
    "age_mr_open_count",
    "",
    false,
    "Merge requests into the branch that are open, drafts included.",
))
.merged(Merge::Sum);

/// Drafts.
pub static DRAFT_COUNT: Gauge<TargetBranchLabels> = Gauge::new(spec(
    "age_mr_draft_count",
    "",
    false,
    "Open merge requests into the branch that are marked as draft.",
))
.merged(Merge::Sum);

/// Conflicts.
pub static CONFLICT_COUNT: Gauge<TargetBranchLabels> = Gauge::new(spec(
    "age_mr_conflict_count",
    "",
    false,
    "Open merge requests into the branch that cannot be merged because of conflicts.",
))
.merged(Merge::Sum);

/// Age of the oldest.
pub static OLDEST_OPEN_AGE: Gauge<TargetBranchLabels> = Gauge::new(spec(
    "age_mr_oldest_open_age_seconds",
    "s",
    false,
    "Time since the oldest open merge request into the branch was created.",
))
.merged(Merge::Largest);

/// Merges, by commits.
pub static COMMITS: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_commits_count",
        "",
        false,
        "Commits of merged merge requests.",
    ),
    Buckets::Fixed(&[1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0]),
);

/// Merges, by files.
pub static FILES_CHANGED: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_files_changed_count",
        "",
        false,
        "Files that merged merge requests changed.",
    ),
    Buckets::Fixed(&[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]),
);

/// Merges, by approvals.
pub static APPROVALS: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_approvals_count",
        "",
        false,
        "Approvals of merge requests at the time of the merge.",
    ),
    Buckets::Fixed(&[0.0, 1.0, 2.0, 3.0, 5.0]),
);

/// Merge requests, by wait for the first approval.
pub static TIME_TO_APPROVE: Histogram<TargetBranchLabels> = Histogram::new(
    spec(
        "age_mr_time_to_approve_seconds",
        "s",
        false,
        "Time from creation to the first approval by a person who is neither the author nor a bot; \
         observed once, when it happens.",
    ),
    Buckets::Configured,
);

/// Merge requests created.
pub static CREATED: Counter<TargetBranchLabels> = Counter::new(spec(
    "age_mr_created_total",
    "",
    false,
    "Merge requests created, each counted once.",
));

/// Merge requests closed.
pub static CLOSED: Counter<TargetBranchLabels> = Counter::new(spec(
    "age_mr_closed_total",
    "",
    false,
    "Merge requests closed without being merged; closing it again after a reopen counts again.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &TIME_TO_MERGE.desc,
    &TIME_TO_FIRST_REVIEW.desc,
    &REVIEW_CYCLES.desc,
    &CHANGES.desc,
    &STATUS.desc,
    &THROUGHPUT.desc,
    &NOTES.desc,
    &OPEN_DURATION.desc,
    &OPEN_COUNT.desc,
    &DRAFT_COUNT.desc,
    &CONFLICT_COUNT.desc,
    &OLDEST_OPEN_AGE.desc,
    &COMMITS.desc,
    &FILES_CHANGED.desc,
    &APPROVALS.desc,
    &TIME_TO_APPROVE.desc,
    &CREATED.desc,
    &CLOSED.desc,
];
