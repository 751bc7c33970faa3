//! What an exporter must have counted of merge requests and deployments, from the world's own ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitlab_simulator::time::Millis;
use gitlab_simulator::world::reviews::is_bot;
use gitlab_simulator::world::{Entry, Event};

use super::expected::Counts;

/// Metrics that count events of merge requests and their reviews.
pub const COUNTED: &[&str] = &[
    "age_mr_created_total",
    "age_mr_throughput_count",
    "age_mr_closed_total",
    "age_mr_time_to_merge_seconds",
    "age_mr_open_duration_seconds",
    "age_mr_review_cycles_count",
    "age_mr_notes_count",
    "age_mr_approvals_count",
    "age_mr_time_to_first_review_seconds",
    "age_mr_time_to_approve_seconds",
    "age_review_turnaround_seconds",
    "age_review_approval_count",
    "age_review_requested_count",
    "age_review_comments_total",
];

/// Metrics of merge requests that only GraphQL gives.
pub const GRAPHQL_ONLY: &[&str] = &[
    "age_mr_changes_count",
    "age_mr_files_changed_count",
    "age_mr_commits_count",
];

/// Metrics that count deployments.
pub const DEPLOYMENTS: &[&str] = &[
    "age_environment_deployment_count",
    "age_environment_deployment_duration_seconds",
];

/// A merge request, as far as its events depend on earlier ones.
#[derive(Default)]
struct Review {
    created: bool,
    reviewed: bool,
    approved: bool,
    asked: BTreeSet<Arc<str>>,
}

/// Every event of the ledger that is no history for an exporter that first looked at `first_look`.
pub fn counts(entries: &[Entry], first_look: Millis) -> Counts {
    let mut counts = Counts::new();
    let mut reviews: BTreeMap<(u64, u64), Review> = BTreeMap::new();
    for entry in entries {
        let new = entry.at > first_look;
        let mut add = |metric: &str, project: &str, label: (&str, &str)| {
            if new {
                let labels = [("project", project), label];
                let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
                *counts
                    .entry((metric.to_owned(), labels.into()))
                    .or_default() += 1.0;
            }
        };
        match &entry.event {
            Event::MergeRequestChanged {
                project_id,
                project_path,
                iid,
                state,
                target_branch,
            } => {
                let review = reviews.entry((*project_id, *iid)).or_default();
                let mut count = |metric: &str| {
                    add(metric, project_path, ("target_branch", target_branch));
                };
                let ended = [
                    "age_mr_open_duration_seconds",
                    "age_mr_review_cycles_count",
                    "age_mr_notes_count",
                ];
                match *state {
                    "opened" if !std::mem::replace(&mut review.created, true) => {
                        count("age_mr_created_total");
                    }
                    "closed" => {
                        count("age_mr_closed_total");
                        ended.into_iter().for_each(count);
                    }
                    "merged" => {
                        count("age_mr_throughput_count");
                        count("age_mr_time_to_merge_seconds");
                        count("age_mr_approvals_count");
                        GRAPHQL_ONLY.iter().for_each(|metric| count(metric));
                        ended.into_iter().for_each(count);
                    }
                    _ => {}
                }
            }
            Event::Reviewed {
                project_id,
                project_path,
                iid,
                target_branch,
                author,
                user,
                act,
            } if author != user && !is_bot(user) => {
                let review = reviews.entry((*project_id, *iid)).or_default();
                let branch = ("target_branch", &**target_branch);
                let reviewer = ("reviewer", &**user);
                match *act {
                    "asked" => {
                        review.asked.insert(user.clone());
                        add("age_review_requested_count", project_path, reviewer);
                    }
                    "released" => {
                        review.asked.remove(user);
                    }
                    "commented" | "approved" | "reviewed" | "requested_changes" => {
                        if !std::mem::replace(&mut review.reviewed, true) {
                            add("age_mr_time_to_first_review_seconds", project_path, branch);
                        }
                        if review.asked.remove(user) {
                            add("age_review_turnaround_seconds", project_path, reviewer);
                        }
                        if *act == "commented" {
                            add("age_review_comments_total", project_path, reviewer);
                        }
                        if *act == "approved" {
                            add("age_review_approval_count", project_path, reviewer);
                            if !std::mem::replace(&mut review.approved, true) {
                                add("age_mr_time_to_approve_seconds", project_path, branch);
                            }
                        }
                    }
                    _ => {}
                }
            }
            Event::DeploymentStarted {
                project_path,
                environment,
                ..
            } => add(DEPLOYMENTS[0], project_path, ("environment", environment)),
            Event::DeploymentFinished {
                project_path,
                environment,
                duration: Some(_),
                ..
            } => add(DEPLOYMENTS[1], project_path, ("environment", environment)),
            _ => {}
        }
    }
    counts
}
