//! Reviews of merge requests, by reviewer.

use super::labels::{ProjectLabels, ReviewerLabels};
use super::{Buckets, Collector, CollectorDesc, Counter, Desc, Gauge, Histogram, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Code review",
    about: "\
The time of a review is from the review request to the first note, approval or review action of the
reviewer. Reviewers assigned at the creation of the merge request are requested then. Reviews are
read together with merge requests, at the shorter of the two intervals.

`reviewer` is the username, or according to `labels.people` (see [people](people.md)). A reviewer's
series are removed 90 days after the last review.",
    role: "Reporter",
    tier: "Free",
    requests: "in the same query, at the shorter of both intervals",
    queries: &[Query::MergeRequests],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::CodeReview,
        tier: Tier::Free,
        plan,
    }
}

/// Reviews, by time since they were asked for.
pub static TURNAROUND: Histogram<ReviewerLabels> = Histogram::new(
    spec(
        "age_review_turnaround_seconds",
        "s",
        true,
        "Time from a review request to the reviewer's first note, approval or review action; one \
         observation per answered request.",
    ),
    Buckets::Fixed(&[
        900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172_800.0, 604_800.0,
    ]),
);

/// Approvals.
pub static APPROVAL_COUNT: Counter<ReviewerLabels> = Counter::new(spec(
    "age_review_approval_count",
    "",
    true,
    "Approvals by the reviewer; a revoked approval that is given again counts again.",
));

/// Merge requests that wait.
pub static PENDING_COUNT: Gauge<ProjectLabels> = Gauge::new(spec(
    "age_review_pending_count",
    "",
    true,
    "Open merge requests with a reviewer who has not reviewed yet.",
));

/// Requests.
pub static REQUESTED_COUNT: Counter<ReviewerLabels> = Counter::new(spec(
    "age_review_requested_count",
    "",
    true,
    "Reviews requested from the reviewer; each new request counts.",
));

/// Comments.
pub static COMMENTS: Counter<ReviewerLabels> = Counter::new(spec(
    "age_review_comments_total",
    "",
    false,
    "Comments by the reviewer on merge requests of other authors.",
));

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &TURNAROUND.desc,
    &APPROVAL_COUNT.desc,
    &PENDING_COUNT.desc,
    &REQUESTED_COUNT.desc,
    &COMMENTS.desc,
];
