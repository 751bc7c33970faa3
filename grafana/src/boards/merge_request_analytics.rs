use super::{NO_DAY, bar_chart, bars, distribution, lines, table};
use crate::{Dashboard, Panel, Unit, Variable};

/// How long merge requests take, how they are reviewed, and which are getting old.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "merge-request-analytics",
        "Merge request analytics",
        "How long merge requests take, how big they are, how they are reviewed, and which are \
         getting old. Works on every tier.",
        r#"project=~"$project", target_branch=~"$target_branch""#,
    )
    .since("now-30d")
    .variable(Variable::project("age_mr_status"))
    .variable(Variable::Label {
        name: "target_branch",
        label: "target_branch",
        of: r#"age_mr_status{project=~"$project"}"#,
    })
    .variable(Variable::gitlab_url())
    .row("Open now", open_now())
    .row("Speed", speed())
    .row("Reviews", reviews())
    .row("Size", size())
}

fn open_now() -> [Panel; 2] {
    [
        table(
            "Open merge requests",
            "What is open now by target branch, the oldest first: how many, how many of them are \
             drafts or have conflicts, and when the oldest was created.",
        )
        .sized(16, 9)
        .when_empty("Nothing is open")
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/merge_requests?state=opened&sort=created_asc")
        .label("target_branch", "Target branch")
        .column("Open", Unit::Count, format!("max by ({BRANCH}) (age_mr_open_count{{..}}) > 0"))
        .column("Drafts", Unit::Count, open_only("age_mr_draft_count"))
        .column("Conflicts", Unit::Count, open_only("age_mr_conflict_count"))
        .column("Oldest", Unit::Seconds, open_only("age_mr_oldest_open_age_seconds"))
        .sorted_by("Oldest"),
        bar_chart(
            "Merge requests by state",
            "Current state of all merge requests into the selected branches.",
        )
        .sized(8, 9)
        .from_zero()
        .when_empty("No merge request yet")
        .label("state", "State")
        .coloured_by("State")
        .column(
            "Merge requests",
            Unit::Count,
            "sum by (state) (max by (project, target_branch, state) (age_mr_status{..}))",
        ),
    ]
}

fn speed() -> [Panel; 6] {
    let per_day =
        |metric: &str, by: &str| format!("sum{by} (increase({metric}{{..}}[1d] offset -1d))");
    [
        distribution(
            "Time to merge",
            "Merge requests merged in the time range, by the time from creation to merge. Each \
             bar is a bucket, named by its upper end.",
            "age_mr_time_to_merge_seconds",
        )
        .duration_buckets(DURATIONS),
        distribution(
            "Time to first review",
            "Merge requests first reviewed in the time range, by the time from creation to the \
             first note, approval or review action of a person who is neither author nor bot.",
            "age_mr_time_to_first_review_seconds",
        )
        .duration_buckets(DURATIONS),
        distribution(
            "Time to approve",
            "Merge requests first approved in the time range, by the time from creation to the first \
             approval of a person who is neither author nor bot.",
            "age_mr_time_to_approve_seconds",
        )
        .duration_buckets(DURATIONS),
        distribution(
            "Time open",
            "Merge requests merged or closed in the time range, by the time since creation.",
            "age_mr_open_duration_seconds",
        )
        .duration_buckets(DURATIONS),
        bars(
            "Created, merged and closed per day",
            "Merge requests that were created, merged, and closed without a merge on each day.",
        )
        .from_zero()
        .for_each("1d", "30d")
        .when_empty(NO_DAY)
        .beside()
        .query(per_day("age_mr_created_total", ""), "Created")
        .query(per_day("age_mr_throughput_count", ""), "Merged")
        .query(per_day("age_mr_closed_total", ""), "Closed"),
        lines(
            "Velocity by target branch",
            "Merge requests merged per day, over the seven days before each point.",
        )
        .unit(Unit::PerDay)
        .from_zero()
        .at_least_every("1h")
        .query(
            "sum by (target_branch) (increase(age_mr_throughput_count{..}[7d])) / 7",
            "{{target_branch}}",
        ),
    ]
}

fn reviews() -> [Panel; 4] {
    let of_reviewer =
        |metric: &str| format!("sum by (reviewer) (increase({metric}{{{PROJECT}}}[$__range])) > 0");
    [
        bar_chart(
            "Top reviewers",
            "Review requests that the reviewer answered in the time range, the fifteen busiest. \
             Not limited to the target branch. Names are what labels.people makes of them.",
        )
        .sized(8, 9)
        .from_zero()
        .beside()
        .when_empty("No review request was answered in this time range")
        .label("reviewer", "Reviewer")
        .column(
            "Reviews",
            Unit::Count,
            format!("sort_desc(topk(15, {}))", of_reviewer("age_review_turnaround_seconds_count")),
        ),
        table(
            "Reviewers",
            "Reviews that each reviewer was asked for, approvals and comments in the time range. Not \
             limited to the target branch.",
        )
        .sized(8, 9)
        .when_empty("No review in this time range")
        .label("reviewer", "Reviewer")
        .column("Asked", Unit::Count, of_reviewer("age_review_requested_count"))
        .column("Approvals", Unit::Count, of_reviewer("age_review_approval_count"))
        .column("Comments", Unit::Count, of_reviewer("age_review_comments_total"))
        .sorted_by("Asked"),
        table(
            "Waiting for a review",
            "Open merge requests with a reviewer who has not reviewed yet, by project.",
        )
        .sized(8, 9)
        .when_empty("No merge request is waiting for a review")
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/merge_requests?state=opened")
        .column(
            "Waiting",
            Unit::Count,
            format!("sort_desc(max by (project) (age_review_pending_count{{{PROJECT}}}) > 0)"),
        ),
        distribution(
            "Review cycles",
            "Merge requests ended in the time range, by how often changes were pushed after a \
             review and then reviewed again.",
            "age_mr_review_cycles_count",
        )
        .sized(24, 8),
    ]
}

fn size() -> [Panel; 5] {
    let third = |panel: Panel| panel.sized(8, 8);
    [
        distribution(
            "Size",
            "Merge requests merged in the time range, by lines added plus lines deleted.",
            "age_mr_changes_count",
        ),
        distribution(
            "Files changed",
            "Merge requests merged in the time range, by the number of changed files.",
            "age_mr_files_changed_count",
        ),
        third(distribution(
            "Commits",
            "Merge requests merged in the time range, by the number of commits.",
            "age_mr_commits_count",
        )),
        third(distribution(
            "Comments",
            "Merge requests merged or closed in the time range, by the number of comments.",
            "age_mr_notes_count",
        )),
        third(distribution(
            "Approvals",
            "Merge requests merged in the time range, by the number of approvals.",
            "age_mr_approvals_count",
        )),
    ]
}

const BRANCH: &str = "project, target_branch";
/// What is selected where there is no target branch.
const PROJECT: &str = r#"project=~"$project""#;

/// Names of the default buckets of durations.
const DURATIONS: &[(&str, &str)] = &[
    ("900", "15 min"),
    ("1800", "30 min"),
    ("3600", "1 h"),
    ("7200", "2 h"),
    ("14400", "4 h"),
    ("28800", "8 h"),
    ("43200", "12 h"),
    ("86400", "1 d"),
    ("172800", "2 d"),
    ("259200", "3 d"),
    ("604800", "7 d"),
    ("1209600", "14 d"),
    ("2592000", "30 d"),
    ("+Inf", "longer"),
];

/// A number of branches into which something is open.
fn open_only(metric: &str) -> String {
    format!(
        "max by ({BRANCH}) ({metric}{{..}}) and on ({BRANCH}) (max by ({BRANCH}) \
         (age_mr_open_count{{..}}) > 0)"
    )
}
