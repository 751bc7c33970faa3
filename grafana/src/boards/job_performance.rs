use serde_json::json;

use super::{areas, bar_chart, bars, matrix, pie, table};
use crate::{Dashboard, Unit, Variable};

/// Which jobs are slow, wait, fail, and why.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "job-performance",
        "Job performance",
        "Which jobs are slow, which wait for runners, which fail and why. A run is a job that \
         started and ended; each retry is a run of its own.",
        r#"project=~"$project", ref=~"$ref", stage=~"$stage", job_name=~"$job_name""#,
    )
    .variable(Variable::project("age_job_run_count"))
    .variable(label("ref", r#"age_job_run_count{project=~"$project"}"#))
    .variable(label(
        "stage",
        r#"age_job_run_count{project=~"$project", ref=~"$ref"}"#,
    ))
    .variable(label(
        "job_name",
        r#"age_job_run_count{project=~"$project", ref=~"$ref", stage=~"$stage"}"#,
    ))
    .variable(Variable::gitlab_url())
    .row(
        "Duration",
        [
            matrix(
                "Median duration by stage and job",
                "One cell for each job and the stage it runs in: half of its runs in the time range \
                 took at most that long. From blue for short to purple for long.",
            )
            .sized(12, 12)
            .unit(Unit::Seconds)
            .query(
                "histogram_quantile(0.5, sum by (le, stage, job_name) \
                 (increase(age_job_duration_seconds_bucket{..}[$__range]))) >= 0",
                "",
            )
            .transformed("groupingToMatrix", json!({
                "columnField": "stage", "rowField": "job_name", "valueField": "Value", "emptyValue": "null",
            }))
            .transformed("organize", json!({
                "excludeByName": {}, "includeByName": {}, "indexByName": {},
                "renameByName": {"job_name\\stage": "Job"},
            }))
            .transformed("sortBy", json!({"fields": {}, "sort": [{"field": "Job"}]}))
            .row_names("Job", 180),
            bar_chart(
                "Slowest jobs",
                "The twenty jobs with the longest P95 in the time range: 95 % of their runs took at \
                 most that long.",
            )
            .sized(12, 12)
            .unit(Unit::Seconds)
            .from_zero()
            .beside()
            .label("job", "Job")
            .column(
                "P95",
                Unit::Seconds,
                "sort_desc(topk(20, max by (job) (label_join(histogram_quantile(0.95, \
                 sum by (le, project, job_name) (increase(age_job_duration_seconds_bucket{..}[$__range]))) >= 0, \
                 \"job\", \" \", \"project\", \"job_name\"))))",
            ),
            bars(
                "Time by stage",
                "Seconds that jobs of the stages ran, in each interval.",
            )
            .unit(Unit::Seconds)
            .from_zero()
            .at_least_every("1h")
            .query(
                "sum by (stage) (increase(age_job_duration_seconds_sum{..}[$__rate_interval]))",
                "{{stage}}",
            ),
            pie(
                "Runner time by type",
                "Seconds that jobs spent on instance, group and project runners in the time range. \
                 Unknown where the token's role hides the runner.",
            )
            .unit(Unit::Seconds)
            .query(
                "sum by (runner_type) (increase(age_job_duration_seconds_sum{..}[$__range])) > 0",
                "{{runner_type}}",
            ),
        ],
    )
    .row(
        "Waiting for a runner",
        [
            bar_chart(
                "Queue time by stage",
                "The spread of the wait for a runner in the time range, as boxes one upon the other: \
                 up to P25, then from there to the median, to P75 and to P95. A tall top box means \
                 that some jobs wait much longer than most.",
            )
            .unit(Unit::Seconds)
            .from_zero()
            .label("stage", "Stage")
            .column("up to P25", Unit::Seconds, queue("0.25", None))
            .column("P25 to P50", Unit::Seconds, queue("0.5", Some("0.25")))
            .column("P50 to P75", Unit::Seconds, queue("0.75", Some("0.5")))
            .column("P75 to P95", Unit::Seconds, queue("0.95", Some("0.75")))
            .override_of("up to P25", &[
                ("color", json!({"mode": "fixed", "fixedColor": "transparent"})),
                ("custom.fillOpacity", json!(0)),
            ]),
            areas(
                "Artifact size",
                "What the artifacts of the newest jobs take, by stage.",
            )
            .unit(Unit::Bytes)
            .from_zero()
            .when_empty("No job keeps artifacts")
            .query(
                "sum by (stage) (max by (project, ref, stage, job_name) (age_job_artifact_size_bytes{..}))",
                "{{stage}}",
            ),
        ],
    )
    .row(
        "Failures",
        [
            table(
                "Failure rate",
                "Share of a job's runs that failed. Each point of the line looks back over a time as \
                 long as the dashboard's range; the number is the rate over the range that is shown.",
            )
            .sized(24, 9)
            .sorted_by("Failed")
            .points(40)
            .label("project", "Project")
            .linked("${gitlab_url:raw}/${__data.fields.project}/-/jobs")
            .label("stage", "Stage")
            .label("job_name", "Job")
            .sparkline(
                "Failed",
                Unit::Share,
                format!(
                    "sum by ({JOB}) (increase(age_job_duration_seconds_count{{.., status=\"failed\"}}[$__range])) \
                     / on ({JOB}) (sum by ({JOB}) (increase(age_job_duration_seconds_count{{..}}[$__range])) > 0)"
                ),
            )
            .sparkline(
                "Runs",
                Unit::Count,
                format!("sum by ({JOB}) (increase(age_job_duration_seconds_count{{..}}[$__range])) > 0"),
            ),
            table(
                "Failures by reason",
                "Jobs that ended failed in the time range, by GitLab's reason. Failures of the system \
                 (runner_system_failure, stuck_or_timeout_failure) are not the code's.",
            )
            .sized(24, 9)
            .when_empty("No job failed in this time range")
            .label("project", "Project")
            .linked("${gitlab_url:raw}/${__data.fields.project}/-/jobs?statuses=FAILED")
            .label("stage", "Stage")
            .label("job_name", "Job")
            .label("failure_reason", "Reason")
            .column("Failures", Unit::Count, format!(
                "sort_desc(sum by ({JOB}, failure_reason) (increase(age_job_failures_total{{..}}[$__range])) > 0)"
            )),
        ],
    )
}

/// What a job is known by across refs.
const JOB: &str = "project, stage, job_name";

fn label(name: &'static str, of: &'static str) -> Variable {
    Variable::Label {
        name,
        label: name,
        of,
    }
}

/// A quantile of the queue time by stage, or how far it is above a lower one.
fn queue(share: &str, above: Option<&str>) -> String {
    let quantile = |share: &str| {
        format!(
            "histogram_quantile({share}, sum by (le, stage) \
             (increase(age_job_queued_duration_seconds_bucket{{..}}[$__range])))"
        )
    };
    match above {
        None => format!("{} >= 0", quantile(share)),
        Some(lower) => format!("{} - {} >= 0", quantile(share), quantile(lower)),
    }
}
