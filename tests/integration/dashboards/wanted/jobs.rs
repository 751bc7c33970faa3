use super::super::facts::{Answer, Facts, above_zero, fewer, joined, times};
use super::Want::{self, In, Near};
use super::{most, total};

const DURATIONS: &str = "age_job_duration_seconds";
const JOB: [&str; 3] = ["project", "stage", "job_name"];

/// Mean durations by labels.
fn means(f: &Facts, by: &[&str]) -> Answer {
    let counts = above_zero(f.sum(&format!("{DURATIONS}_count"), by));
    joined(
        f.sum(&format!("{DURATIONS}_sum"), by),
        &counts,
        |sum, count| sum / count,
    )
}

pub fn performance(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let risen = |name| Near(above_zero(f.sum(name, &JOB)));
    let seconds = format!("{DURATIONS}_sum");
    Some(match panel {
        "Failure rate" => {
            let counts = format!("{DURATIONS}_count");
            let failed = above_zero(f.sum_of(&counts, &[("status", "failed")], &JOB));
            let all = joined(f.sum(&counts, &JOB), &failed, |all, _| all);
            vec![
                Near(joined(failed, &all, |failed, all| failed / all)),
                Near(all),
            ]
        }
        "Failures by reason" => {
            let reason = ["project", "stage", "job_name", "failure_reason"];
            vec![Near(above_zero(f.sum("age_job_failures_total", &reason)))]
        }
        "Flaky, retried and allowed to fail" => vec![
            risen("age_job_flaky_total"),
            risen("age_job_retries_total"),
            risen("age_job_allowed_failures_total"),
        ],
        "Mean duration by stage and job" => vec![Near(means(f, &["stage", "job_name"]))],
        "Slowest jobs" => {
            let mut all = Answer::new();
            for (labels, mean) in means(f, &["project", "job_name"]) {
                let name = format!("{} {}", labels["project"], labels["job_name"]);
                all.insert([("job".to_owned(), name)].into(), mean);
            }
            vec![Near(all)]
        }
        "Time by stage" => vec![Near(f.sum(&seconds, &["stage"]))],
        "Runner time by type" => vec![Near(above_zero(f.sum(&seconds, &["runner_type"])))],
        "Compute time per day" => {
            vec![Near(
                f.sum("age_job_compute_seconds_total", &["runner_type"]),
            )]
        }
        "Waiting and running jobs" => vec![
            total(&f.sum("age_jobs_pending", &[])),
            total(&f.sum("age_jobs_running", &[])),
        ],
        "Queue time by stage" => [0.25, 0.5, 0.75, 0.95]
            .map(|share| In(f.quantile(share, "age_job_queued_duration_seconds", &["stage"])))
            .into(),
        "Artifact size" => vec![Near(f.sum("age_job_artifact_size_bytes", &["stage"]))],
        "Test reports" => [
            "total_count",
            "success_count",
            "failed_count",
            "error_count",
            "skipped_count",
            "total_time_seconds",
        ]
        .map(|part| most(f, &format!("age_test_report_{part}"), &["project", "ref"]))
        .into(),
        "Test suites" => [
            "count",
            "success_count",
            "failed_count",
            "error_count",
            "skipped_count",
            "duration_seconds",
        ]
        .map(|part| {
            most(
                f,
                &format!("age_test_suite_{part}"),
                &["project", "ref", "suite_name"],
            )
        })
        .into(),
        "Failed test cases" => {
            let case = ["project", "ref", "suite", "case_name", "status"];
            let mut failed = Answer::new();
            for status in ["failed", "error"] {
                failed.extend(f.sum_of("age_test_case_status", &[("status", status)], &case));
            }
            let case = ["project", "ref", "suite", "case_name"];
            let all = f.max("age_test_case_last_duration_seconds", &case);
            let took = failed.keys().filter_map(|labels| {
                let took = all.get(&fewer(labels, &case))?;
                Some((labels.clone(), *took))
            });
            let took = took.collect();
            vec![Near(failed), Near(took)]
        }
        "Coverage" => {
            let not_merge_requests = |answer: Answer| {
                let kept = answer.into_iter();
                kept.filter(|(labels, _)| !labels["ref"].starts_with("merge-requests/"))
                    .collect()
            };
            vec![
                Near(not_merge_requests(
                    f.max("age_pipeline_coverage", &["project", "ref"]),
                )),
                Near(not_merge_requests(
                    f.max("age_job_coverage", &["project", "ref", "job_name"]),
                )),
            ]
        }
        "Runners and tags of jobs" => {
            let job = [
                "project",
                "ref",
                "stage",
                "job_name",
                "runner_description",
                "tags",
            ];
            vec![most(f, "age_job_runner_info", &job)]
        }
        "Runners" => {
            let runner = ["runner_id", "description", "runner_type"];
            let with_version = [
                "runner_id",
                "description",
                "runner_type",
                "version",
                "platform",
                "architecture",
            ];
            vec![
                most(f, "age_runner_online", &runner),
                most(f, "age_runner_paused", &runner),
                Near(times(
                    f.max("age_runner_contacted_timestamp", &runner),
                    1000.0,
                )),
                most(f, "age_runner_info", &with_version),
            ]
        }
        _ => return None,
    })
}
