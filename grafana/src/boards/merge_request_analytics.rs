use super::{DAY, bar_chart, bars, distribution, lines, table};
use crate::{Dashboard, Unit, Variable};

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
    .variable(Variable::project("age_mr_throughput_count"))
    .variable(Variable::Label {
        name: "target_branch",
        label: "target_branch",
        of: r#"age_mr_throughput_count{project=~"$project"}"#,
    })
    .variable(Variable::gitlab_url())
    .row(
        "Speed",
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
            bars(
                "Merged per day",
                "Merge requests merged in the 24 hours before each bar.",
            )
            .from_zero()
            .at_least_every(DAY)
            .query("sum by (project) (increase(age_mr_throughput_count{..}[1d]))", "{{project}}"),
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
        ],
    )
    .row(
        "Reviews",
        [
            distribution(
                "Review cycles",
                "Merge requests ended in the time range, by how often changes were pushed after a \
                 review and then reviewed again.",
                "age_mr_review_cycles_count",
            ),
            bar_chart(
                "Top reviewers",
                "Review requests that the reviewer answered in the time range, the fifteen busiest. \
                 Not limited to the target branch. Names are what labels.people makes of them.",
            )
            .from_zero()
            .beside()
            .when_empty("No review request was answered in this time range")
            .label("reviewer", "Reviewer")
            .column(
                "Reviews",
                Unit::Count,
                "sort_desc(topk(15, sum by (reviewer) \
                 (increase(age_review_turnaround_seconds_count{project=~\"$project\"}[$__range])) > 0))",
            ),
        ],
    )
    .row(
        "Size and age",
        [
            distribution(
                "Size",
                "Merge requests merged in the time range, by lines added plus lines deleted.",
                "age_mr_changes_count",
            ),
            table(
                "Open merge requests",
                "What is open now by target branch, the oldest first: how many, how many of them are \
                 drafts or have conflicts, and when the oldest was created.",
            )
            .when_empty("Nothing is open")
            .label("project", "Project")
            .linked("${gitlab_url:raw}/${__data.fields.project}/-/merge_requests?state=opened&sort=created_asc")
            .label("target_branch", "Target branch")
            .column("Open", Unit::Count, format!("max by ({BRANCH}) (age_mr_open_count{{..}}) > 0"))
            .column("Drafts", Unit::Count, open_only("age_mr_draft_count"))
            .column("Conflicts", Unit::Count, open_only("age_mr_conflict_count"))
            .column("Oldest", Unit::Seconds, format!("max by ({BRANCH}) (age_mr_oldest_open_age_seconds{{..}})"))
            .sorted_by("Oldest"),
        ],
    )
}

const BRANCH: &str = "project, target_branch";

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
        "max by ({BRANCH}) ({metric}{{..}}) and on ({BRANCH}) (max by ({BRANCH}) (age_mr_open_count{{..}}) > 0)"
    )
}
