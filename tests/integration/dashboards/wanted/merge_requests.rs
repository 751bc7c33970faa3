use super::super::facts::{Facts, above_zero, greatest, joined, times};
use super::Want::{self, Living, Near};
use super::total;

/// Histograms that a panel shows as they are, bucket by bucket.
const DISTRIBUTIONS: [(&str, &str); 10] = [
    ("Time to merge", "age_mr_time_to_merge_seconds"),
    (
        "Time to first review",
        "age_mr_time_to_first_review_seconds",
    ),
    ("Time to approve", "age_mr_time_to_approve_seconds"),
    ("Time open", "age_mr_open_duration_seconds"),
    ("Review cycles", "age_mr_review_cycles_count"),
    ("Size", "age_mr_changes_count"),
    ("Files changed", "age_mr_files_changed_count"),
    ("Commits", "age_mr_commits_count"),
    ("Comments", "age_mr_notes_count"),
    ("Approvals", "age_mr_approvals_count"),
];

pub fn analytics(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    if let Some((_, histogram)) = DISTRIBUTIONS.iter().find(|(title, _)| *title == panel) {
        return Some(vec![Near(f.sum(&format!("{histogram}_bucket"), &["le"]))]);
    }
    let branch = ["project", "target_branch"];
    let of_reviewer = |name| above_zero(f.sum(name, &["reviewer"]));
    Some(match panel {
        "Created, merged and closed per day" => [
            "age_mr_created_total",
            "age_mr_throughput_count",
            "age_mr_closed_total",
        ]
        .map(|name| total(&f.sum(name, &[])))
        .into(),
        "Velocity by target branch" => {
            let merged = f.sum("age_mr_throughput_count", &["target_branch"]);
            vec![Near(times(merged, 1.0 / 7.0))]
        }
        "Top reviewers" => {
            let reviews = of_reviewer("age_review_turnaround_seconds_count");
            vec![Near(greatest(reviews, 15))]
        }
        "Reviewers" => vec![
            Near(of_reviewer("age_review_requested_count")),
            Near(of_reviewer("age_review_approval_count")),
            Near(of_reviewer("age_review_comments_total")),
        ],
        "Waiting for a review" => {
            vec![Near(above_zero(
                f.max("age_review_pending_count", &["project"]),
            ))]
        }
        "Open merge requests" => {
            let open = above_zero(f.max("age_mr_open_count", &branch));
            let of_open = |name| Near(joined(f.max(name, &branch), &open, |value, _| value));
            vec![
                Near(open.clone()),
                of_open("age_mr_draft_count"),
                of_open("age_mr_conflict_count"),
                Living,
            ]
        }
        "Merge requests by state" => vec![Near(f.sum("age_mr_status", &["state"]))],
        _ => return None,
    })
}
