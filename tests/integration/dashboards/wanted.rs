//! What each query of each panel must come to, out of the facts.

use std::collections::BTreeMap;

use super::facts::{Answer, Bucket, Facts, above_zero, counted, greatest, joined, times};
use crate::support::series::Labels;

/// What a query must come to.
#[derive(Debug)]
pub enum Want {
    /// Figures that Prometheus reckons out of scrapes: equal but for its extrapolation.
    Near(Answer),
    /// Values that lie in these buckets, for exactly these labels.
    In(BTreeMap<Labels, Bucket>),
    /// Differences of two quantiles: at least 0 and at most this much.
    UpTo(BTreeMap<Labels, f64>),
    /// Something that moves on while one looks; present and a number.
    Living,
    /// Nothing, because nothing of the kind happened.
    Nothing,
}

use Want::{In, Living, Near, Nothing, UpTo};

/// What the queries of a panel must come to, in their order.
pub fn wanted(f: &Facts, board: &str, panel: &str) -> Option<Vec<Want>> {
    match board {
        "pipeline-overview" => pipeline_overview(f, panel),
        "job-performance" => job_performance(f, panel),
        "merge-request-analytics" => merge_requests(f, panel),
        "dora-metrics" => dora(f, panel),
        "ci-cd-analytics" => ci_cd(f, panel),
        "repository-analytics" => repository(f, panel),
        "exporter-health" => health(f, panel),
        _ => None,
    }
}

const PIPELINES: &str = "age_pipeline_duration_seconds";
const PIPELINE: [&str; 4] = ["project", "ref", "kind", "source"];

/// Shares of each value of a label in all.
fn shares(f: &Facts, name: &str, label: &str) -> Answer {
    let all: f64 = f.sum(name, &[]).values().sum();
    times(f.sum(name, &[label]), 1.0 / all)
}

/// Refs whose newest pipeline failed, with this fact of theirs.
fn failed(f: &Facts, name: &str) -> Answer {
    let failed = f.sum_of("age_pipeline_status", &[("status", "failed")], &PIPELINE);
    let facts = f.max(name, &["project", "ref", "kind"]);
    let found = failed.into_keys().filter_map(|labels| {
        let mut fewer = labels.clone();
        fewer.remove("source");
        Some((labels, *facts.get(&fewer)?))
    });
    found.collect()
}

fn pipeline_overview(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let bridge = ["parent_project", "bridge_name", "project"];
    let downstream = "age_child_pipeline_duration_seconds";
    Some(match panel {
        "Success rate" => vec![Near(shares(f, &format!("{PIPELINES}_count"), "status"))],
        "Refs by status" => {
            let all = ["project", "ref", "kind", "source", "status"];
            vec![Near(counted(
                &f.max("age_pipeline_status", &all),
                &["status"],
            ))]
        }
        "Duration" => vec![
            In(f.quantile(0.5, PIPELINES, &[])),
            In(f.quantile(0.95, PIPELINES, &[])),
        ],
        "Queue time and run time" => vec![
            In(f.quantile(0.5, PIPELINES, &[])),
            In(f.quantile(0.5, "age_pipeline_queued_duration_seconds", &[])),
        ],
        "Pipelines by source" => {
            vec![Near(above_zero(
                f.sum("age_pipeline_run_count", &["source"]),
            ))]
        }
        "Downstream pipelines" => vec![
            Near(above_zero(f.sum("age_child_pipeline_run_count", &bridge))),
            In(f.quantile(0.5, downstream, &bridge)),
            In(f.quantile(0.95, downstream, &bridge)),
            Near(f.sum_of(
                "age_child_pipeline_status",
                &[("status", "failed")],
                &bridge,
            )),
        ],
        "Failed pipelines" => {
            let failed_ones = f.sum_of("age_pipeline_status", &[("status", "failed")], &PIPELINE);
            let durations = f.max("age_pipeline_last_run_duration_seconds", &PIPELINE);
            vec![
                Near(failed(f, "age_pipeline_id")),
                Near(times(failed(f, "age_pipeline_finished_timestamp"), 1000.0)),
                Near(joined(durations, &failed_ones, |duration, _| duration)),
            ]
        }
        _ => return None,
    })
}

fn job_performance(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let durations = "age_job_duration_seconds";
    let job = ["project", "stage", "job_name"];
    Some(match panel {
        "Median duration by stage and job" => {
            vec![In(f.quantile(0.5, durations, &["stage", "job_name"]))]
        }
        // Which twenty, depends on interpolation: see `answers`.
        "Slowest jobs" => {
            let mut all = BTreeMap::new();
            for (labels, bucket) in f.quantile(0.95, durations, &["project", "job_name"]) {
                let name = format!("{} {}", labels["project"], labels["job_name"]);
                all.insert([("job".to_owned(), name)].into(), bucket);
            }
            vec![In(all)]
        }
        "Time by stage" => vec![Near(f.sum(&format!("{durations}_sum"), &["stage"]))],
        "Runner time by type" => {
            let all = f.sum(&format!("{durations}_sum"), &["runner_type"]);
            vec![Near(above_zero(all))]
        }
        "Queue time by stage" => {
            let queue = |share| f.quantile(share, "age_job_queued_duration_seconds", &["stage"]);
            let up_to = |share| {
                let highs = queue(share).into_iter();
                UpTo(highs.map(|(labels, (_, high))| (labels, high)).collect())
            };
            vec![In(queue(0.25)), up_to(0.5), up_to(0.75), up_to(0.95)]
        }
        "Artifact size" => vec![Near(f.sum("age_job_artifact_size_bytes", &["stage"]))],
        "Failure rate" => {
            let counts = format!("{durations}_count");
            let failed = f.sum_of(&counts, &[("status", "failed")], &job);
            let all = above_zero(f.sum(&counts, &job));
            vec![
                Near(joined(failed, &all, |failed, all| failed / all)),
                Near(all),
            ]
        }
        "Failures by reason" => {
            let reason = ["project", "stage", "job_name", "failure_reason"];
            vec![Near(above_zero(f.sum("age_job_failures_total", &reason)))]
        }
        _ => return None,
    })
}

/// All buckets of a histogram.
fn buckets(f: &Facts, histogram: &str) -> Vec<Want> {
    vec![Near(f.sum(&format!("{histogram}_bucket"), &["le"]))]
}

fn merge_requests(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let branch = ["project", "target_branch"];
    Some(match panel {
        "Time to merge" => buckets(f, "age_mr_time_to_merge_seconds"),
        "Time to first review" => buckets(f, "age_mr_time_to_first_review_seconds"),
        "Review cycles" => buckets(f, "age_mr_review_cycles_count"),
        "Size" => buckets(f, "age_mr_changes_count"),
        "Merged per day" => vec![Near(f.sum("age_mr_throughput_count", &["project"]))],
        "Velocity by target branch" => {
            let merged = f.sum("age_mr_throughput_count", &["target_branch"]);
            vec![Near(times(merged, 1.0 / 7.0))]
        }
        "Top reviewers" => {
            let reviews = f.sum("age_review_turnaround_seconds_count", &["reviewer"]);
            vec![Near(greatest(above_zero(reviews), 15))]
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
        _ => return None,
    })
}

fn one(value: f64) -> Want {
    Near([(Labels::new(), value)].into())
}

/// The middle of values, as `quantile(0.5, …)` gives it.
fn median(answer: &Answer) -> f64 {
    let mut values: Vec<f64> = answer.values().copied().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// How many of three bounds a figure keeps.
fn level(value: f64, bounds: [f64; 3], keeps: impl Fn(f64, f64) -> bool) -> f64 {
    let kept = bounds.into_iter().filter(|bound| keeps(value, *bound));
    kept.map(|_| 1.0).sum()
}

fn dora(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let tier = ["project", "environment_tier"];
    let per_day = f.max("age_dora_deployment_frequency", &tier);
    let frequency: f64 = per_day.values().sum();
    let lead_time = median(&f.max("age_dora_lead_time_for_changes_seconds", &tier));
    let restore = median(&f.max("age_dora_time_to_restore_service_seconds", &tier));
    let rates = f.max("age_dora_change_failure_rate", &tier);
    let failures: f64 = joined(rates.clone(), &per_day, |rate, per_day| rate * per_day)
        .values()
        .sum();
    let deployments: f64 = joined(rates, &per_day, |_, per_day| per_day).values().sum();
    let failure_rate = failures / deployments;
    Some(match panel {
        "Deployment frequency" => vec![one(frequency)],
        "Lead time for changes" => vec![one(lead_time / 3600.0)],
        "Time to restore service" => vec![one(restore / 3600.0)],
        "Change failure rate" => vec![one(failure_rate)],
        "DORA level" => {
            let at_least = |value: f64, bound: f64| value >= bound;
            let at_most = |value: f64, bound: f64| value <= bound;
            let levels = [
                level(frequency, [1.0, 1.0 / 7.0, 1.0 / 30.0], at_least),
                level(lead_time, [86_400.0, 604_800.0, 2_592_000.0], at_most),
                level(restore, [3600.0, 86_400.0, 604_800.0], at_most),
                level(failure_rate, [0.05, 0.1, 0.15], at_most),
            ];
            vec![one(levels.iter().sum::<f64>() / 4.0)]
        }
        "Deployment frequency over time"
        | "Lead time over time"
        | "Time to restore over time"
        | "Change failure rate over time" => vec![Living],
        "Month by month" => {
            let most = |name, scale| {
                let by_tier = f.max(name, &["project"]);
                Near(times(by_tier, scale))
            };
            let mut all_day = Answer::new();
            for (labels, value) in per_day {
                let labels = super::facts::fewer(&labels, &["project"]);
                *all_day.entry(labels).or_default() += value;
            }
            // Every second one looks 30 days back.
            vec![
                Near(all_day),
                Nothing,
                most("age_dora_lead_time_for_changes_seconds", 1.0 / 3600.0),
                Nothing,
                most("age_dora_time_to_restore_service_seconds", 1.0 / 3600.0),
                Nothing,
                most("age_dora_change_failure_rate", 1.0),
                Nothing,
            ]
        }
        "Deployment frequency by environment tier" => {
            let mut by_tier = Answer::new();
            for (labels, value) in per_day {
                let labels = super::facts::fewer(&labels, &["environment_tier"]);
                *by_tier.entry(labels).or_default() += value;
            }
            vec![Near(by_tier)]
        }
        _ => return None,
    })
}

fn ci_cd(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let counts = format!("{PIPELINES}_count");
    let created = || Near(f.sum("age_pipeline_run_count", &[]));
    Some(match panel {
        "Pipeline runs" | "Pipelines per day" => vec![created()],
        "Median duration" => vec![In(f.quantile(0.5, PIPELINES, &[]))],
        "Success rate" => vec![Near(f.share(&counts, &[("status", "success")], &[]))],
        "Failure rate" => vec![Near(f.share(&counts, &[("status", "failed")], &[]))],
        "Runs by status" => vec![Near(f.sum(&counts, &["status"]))],
        "Duration" => vec![
            In(f.quantile(0.5, PIPELINES, &[])),
            In(f.quantile(0.95, PIPELINES, &[])),
        ],
        _ => return None,
    })
}

fn repository(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let by_author = |name| f.sum(name, &["author"]);
    let (additions, deletions) = ("age_contributor_additions", "age_contributor_deletions");
    Some(match panel {
        "Languages" => {
            let shares = "age_repository_language_percentage";
            let all: f64 = f.sum(shares, &[]).values().sum();
            vec![Near(times(f.sum(shares, &["language"]), 1.0 / all))]
        }
        "Test coverage" => vec![Near(f.max("age_repository_coverage", &["project"]))],
        "Repository size" => vec![Near(f.max("age_repository_size_bytes", &["project"]))],
        "Commits per week" => vec![Near(f.sum("age_repository_commit_count", &["project"]))],
        "Commits by weekday and hour" => {
            vec![
                Near(f.sum("age_repository_commit_count", &[])),
                Living,
                Living,
            ]
        }
        "Top contributors" => vec![
            Near(above_zero(by_author("age_contributor_commits_count"))),
            Near(by_author(additions)),
            Near(by_author(deletions)),
        ],
        "Lines by contributor" => {
            let lines = joined(by_author(additions), &by_author(deletions), |one, two| {
                one + two
            });
            let top = greatest(above_zero(lines), 15);
            vec![
                Near(joined(by_author(additions), &top, |lines, _| lines)),
                Near(joined(by_author(deletions), &top, |lines, _| lines)),
            ]
        }
        _ => return None,
    })
}

fn health(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    Some(match panel {
        "Initial sync" => vec![one(1.0)],
        "Projects" => vec![Near(f.sum("age_projects_tracked", &[]))],
        "Token expires" => vec![Near(times(
            f.max("age_token_expiry_timestamp", &[]),
            1000.0,
        ))],
        "Last success"
        | "Requests in the last hour"
        | "Rate limit left"
        | "Calls"
        | "GitLab's time"
        | "Answers that are no success"
        | "Lag"
        | "Errors"
        | "Duration of runs"
        | "OTLP messages" => vec![Living],
        "Latency" => vec![Living, Living, Living],
        "Waiting and retries"
        | "Tasks"
        | "Memory and processor"
        | "Time per request and concurrency" => vec![Living, Living],
        "Series" => vec![Living, Nothing],
        _ => return None,
    })
}
