use super::super::facts::{Answer, Facts, above_zero, counted, joined, times};
use super::Want::{self, In, Near, Nothing};
use super::{among, one, shares_of, total};

const PIPELINES: &str = "age_pipeline_duration_seconds";
const FINISHED: &str = "age_pipeline_finished_total";
const PIPELINE: [&str; 4] = ["project", "ref", "kind", "source"];
const REF: [&str; 3] = ["project", "ref", "kind"];

/// Finished pipelines that succeeded or failed, by labels.
fn decided(f: &Facts, by: &[&str]) -> Answer {
    let mut both = f.sum_of(FINISHED, &[("status", "success")], by);
    for (labels, value) in f.sum_of(FINISHED, &[("status", "failed")], by) {
        *both.entry(labels).or_default() += value;
    }
    both
}

/// The share of a status in the pipelines that succeeded or failed.
fn share(f: &Facts, status: &str) -> Want {
    let part = f.sum_of(FINISHED, &[("status", status)], &[]);
    Near(shares_of(&part, &decided(f, &[])))
}

/// Refs whose newest pipeline failed, with this fact of theirs.
fn failed(f: &Facts, name: &str) -> Answer {
    let failed = f.sum_of("age_pipeline_status", &[("status", "failed")], &PIPELINE);
    let facts = f.max(name, &REF);
    let found = failed.into_keys().filter_map(|labels| {
        let fact = facts.get(&super::fewer(&labels, &REF))?;
        Some((labels, *fact))
    });
    found.collect()
}

/// Jobs that failed in newest pipelines, with this fact of theirs.
fn failed_jobs(f: &Facts, name: &str) -> Answer {
    let job = ["project", "ref", "stage", "job_name"];
    let with_reason = ["project", "ref", "stage", "job_name", "failure_reason"];
    let failed = f.sum_of("age_job_status", &[("status", "failed")], &with_reason);
    let facts = f.max(name, &job);
    let found = failed.into_keys().filter_map(|labels| {
        let fact = *facts.get(&super::fewer(&labels, &job))?;
        Some((labels, fact))
    });
    found.collect()
}

/// Default branches, under the labels of refs.
fn default_branches(f: &Facts) -> Answer {
    let infos = f.max("age_repository_info", &["project", "default_branch"]);
    let known = infos.into_iter().filter_map(|(mut labels, value)| {
        let branch = labels.remove("default_branch")?;
        labels.insert("ref".to_owned(), branch);
        labels.insert("kind".to_owned(), "branch".to_owned());
        Some((labels, value))
    });
    known.collect()
}

fn median_and_p95(f: &Facts) -> Vec<Want> {
    vec![
        In(f.quantile(0.5, PIPELINES, &[])),
        In(f.quantile(0.95, PIPELINES, &[])),
    ]
}

pub fn overview(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let bridge = ["parent_project", "bridge_name", "project"];
    let downstream = "age_child_pipeline_duration_seconds";
    let waited = "age_child_pipeline_queued_duration_seconds";
    Some(match panel {
        "Red default branches" => {
            let failed = f.sum_of("age_pipeline_status", &[("status", "failed")], &REF);
            let red = among(failed, &default_branches(f), &REF);
            vec![one(counted(&red, &[]).values().sum())]
        }
        "Success rate" => vec![share(f, "success")],
        "Running pipelines" => {
            let running = [("status", "running")];
            vec![total(&f.sum_of("age_pipelines_active", &running, &[]))]
        }
        "Waiting jobs" => vec![total(&f.sum("age_jobs_pending", &[]))],
        "Median duration" => vec![In(f.quantile(0.5, PIPELINES, &[]))],
        "P95 duration" => vec![In(f.quantile(0.95, PIPELINES, &[]))],
        "Success rate over time" => {
            let all: f64 = decided(f, &[]).values().sum();
            vec![Near(times(decided(f, &["status"]), 1.0 / all))]
        }
        "Refs by status" => {
            let all = ["project", "ref", "kind", "source", "status"];
            let refs = f.max("age_pipeline_status", &all);
            vec![Near(counted(&refs, &["status"]))]
        }
        "Duration" => median_and_p95(f),
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
            In(f.quantile(0.5, waited, &bridge)),
            Near(f.sum_of(
                "age_child_pipeline_status",
                &[("status", "failed")],
                &bridge,
            )),
        ],
        "Failed pipelines" => {
            let failed_ones = f.sum_of("age_pipeline_status", &[("status", "failed")], &PIPELINE);
            let last = |name| {
                let all = f.max(name, &PIPELINE);
                Near(joined(all, &failed_ones, |last, _| last))
            };
            vec![
                Near(failed(f, "age_pipeline_id")),
                Near(times(failed(f, "age_pipeline_finished_timestamp"), 1000.0)),
                Near(times(failed(f, "age_pipeline_updated_timestamp"), 1000.0)),
                last("age_pipeline_last_run_queued_duration_seconds"),
                last("age_pipeline_last_run_duration_seconds"),
            ]
        }
        "Failed jobs" => {
            let of = |name| Near(failed_jobs(f, name));
            vec![of("age_job_id"), of("age_job_last_run_duration_seconds")]
        }
        "Failed jobs of child pipelines" => {
            let labels = [
                "project",
                "ref",
                "bridge_name",
                "stage",
                "job_name",
                "failure_reason",
            ];
            let failed = [("status", "failed")];
            let failed = f.sum_of("age_child_pipeline_job_status", &failed, &labels);
            vec![Near(failed)]
        }
        // At rest nothing runs.
        "Longest running pipelines" | "Longest running jobs" => vec![Nothing],
        "Passed with warnings" => {
            let warned = above_zero(f.max("age_pipeline_warnings", &REF));
            vec![Near(joined(
                f.max("age_pipeline_id", &REF),
                &warned,
                |id, _| id,
            ))]
        }
        "Schedules" => {
            let schedule = ["project", "ref", "schedule"];
            let next = f.max("age_pipeline_schedule_next_run_timestamp", &schedule);
            vec![
                super::most(f, "age_pipeline_schedule_active", &schedule),
                Near(times(next, 1000.0)),
                Near(f.max(
                    "age_pipeline_schedule_last_run_status",
                    &["project", "ref", "schedule", "status"],
                )),
            ]
        }
        _ => return None,
    })
}

pub fn ci_cd(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let created = || total(&f.sum("age_pipeline_run_count", &[]));
    Some(match panel {
        "Pipeline runs" | "Pipelines per day" => vec![created()],
        "Median duration" => vec![In(f.quantile(0.5, PIPELINES, &[]))],
        "Success rate" => vec![share(f, "success")],
        "Failure rate" => vec![share(f, "failed")],
        "Runs by status" => vec![Near(f.sum(FINISHED, &["status"]))],
        "Duration" => median_and_p95(f),
        _ => return None,
    })
}
