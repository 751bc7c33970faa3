use serde_json::json;

use super::{NO_DAY, areas, bar_chart, bars, lines, matrix, pie, table};
use crate::recorded::{ARTIFACT_SIZE, increase};
use crate::{Dashboard, Panel, Unit, Variable};

/// Which jobs are slow, wait, fail, and why; what tests report; the runners.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "job-performance",
        "Job performance",
        "Which jobs are slow, which wait for runners, which fail and why, what their tests report, and \
         how the runners are. A run is a job that started and ended; each retry is a run of its own.",
        r#"project=~"$project", ref=~"$ref", stage=~"$stage", job_name=~"$job_name""#,
    )
    .variable(Variable::project("age_project_last_success_timestamp"))
    .variable(label("ref", r#"age_job_status{project=~"$project", ref!~"merge-requests/.+"}"#))
    .variable(label(
        "stage",
        r#"age_job_status{project=~"$project", ref=~"$ref"}"#,
    ))
    .variable(label(
        "job_name",
        r#"age_job_status{project=~"$project", ref=~"$ref", stage=~"$stage"}"#,
    ))
    .variable(Variable::gitlab_url())
    .row("Failures", failures())
    .row("Duration", duration())
    .row("Waiting for a runner", waiting())
    .row("Tests", tests())
    .row("Runners", runners())
}

fn failures() -> [Panel; 3] {
    let runs = |status: &str, at: &str| {
        let matchers = format!("..{status}");
        let window = format!("$__range]{at}");
        increase("age_job_duration_seconds_count", &matchers, &window)
    };
    let failed = ", status=\"failed\"";
    // The jobs that failed most often by the end of the time range, at each of its points.
    let most = format!(
        "and on ({JOB}) topk(30, sum by ({JOB}) ({}) > 0)",
        runs(failed, " @ end()")
    );
    [
        table(
            "Failure rate",
            "Share of a job's runs that failed, of the thirty jobs with the most failures. Each point of \
             the line looks back over a time as long as the dashboard's range; the number is the rate \
             over the range that is shown.",
        )
        .sized(24, 9)
        .sorted_by("Failed")
        .points(30)
        .when_empty("No job failed in this time range")
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/jobs")
        .label("stage", "Stage")
        .label("job_name", "Job")
        .sparkline(
            "Failed",
            Unit::Share,
            format!(
                "(sum by ({JOB}) ({}) or 0 * sum by ({JOB}) ({})) / on ({JOB}) (sum by ({JOB}) ({}) > \
                 0) {most}",
                runs(failed, ""),
                runs("", ""),
                runs("", "")
            ),
        )
        .sparkline(
            "Runs",
            Unit::Count,
            format!("sum by ({JOB}) ({}) > 0 {most}", runs("", "")),
        ),
        table(
            "Failures by reason",
            "Jobs that failed in the time range, by GitLab's reason; those that are allowed to fail are \
             not in it. Failures of the system (runner_system_failure, stuck_or_timeout_failure) are not \
             the code's.",
        )
        .sized(12, 9)
        .when_empty("No job failed in this time range")
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/jobs?statuses=FAILED")
        .label("stage", "Stage")
        .label("job_name", "Job")
        .label("failure_reason", "Reason")
        .column(
            "Failures",
            Unit::Count,
            format!("sort_desc(sum by ({JOB}, failure_reason) (increase(age_job_failures_total{{..}}[$__range])) > 0)"),
        ),
        table(
            "Flaky, retried and allowed to fail",
            "Jobs in the time range that failed and then succeeded in the same pipeline, that were run \
             again, and that failed although they are allowed to.",
        )
        .sized(12, 9)
        .when_empty("No job was flaky, retried or failed although allowed to")
        .label("project", "Project")
        .label("stage", "Stage")
        .label("job_name", "Job")
        .column("Flaky", Unit::Count, rose("age_job_flaky_total"))
        .column("Retried", Unit::Count, rose("age_job_retries_total"))
        .column("Allowed", Unit::Count, rose("age_job_allowed_failures_total"))
        .sorted_by("Flaky"),
    ]
}

fn duration() -> [Panel; 5] {
    let sum = |window: &str| increase("age_job_duration_seconds_sum", "..", window);
    let count = increase("age_job_duration_seconds_count", "..", "$__range");
    let mean = |by: &str| {
        format!(
            "sum by ({by}) ({}) / on ({by}) (sum by ({by}) ({count}) > 0)",
            sum("$__range")
        )
    };
    [
        matrix(
            "Mean duration by stage and job",
            "One cell for each job and the stage it runs in: the mean of its runs in the time range. From \
             blue for short to purple for long.",
        )
        .sized(12, 12)
        .unit(Unit::Seconds)
        .query(mean("stage, job_name"), "")
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
            "The twenty jobs with the longest mean duration in the time range.",
        )
        .sized(12, 12)
        .unit(Unit::Seconds)
        .from_zero()
        .beside()
        .label("job", "Job")
        .column(
            "Mean",
            Unit::Seconds,
            format!(
                "sort_desc(topk(20, max by (job) (label_join({}, \"job\", \" \", \"project\", \
                 \"job_name\"))))",
                mean("project, job_name")
            ),
        ),
        bars("Time by stage", "Total duration of the jobs of each stage, per interval.")
            .unit(Unit::Seconds)
            .from_zero()
            .bars_from_begin("1h")
            .query(
                format!("sum by (stage) ({})", sum("$__interval] offset -$__interval")),
                "{{stage}}",
            ),
        pie(
            "Runner time by type",
            "Seconds that jobs spent on instance, group and project runners in the time range. Unknown \
             where the token's role hides the runner.",
        )
        .sized(6, 8)
        .unit(Unit::Seconds)
        .query(format!("sum by (runner_type) ({}) > 0", sum("$__range")), "{{runner_type}}"),
        bars(
            "Compute time per day",
            "Seconds that ended jobs spent on runners on each day, by type of runner; all jobs of the \
             chosen projects.",
        )
        .sized(6, 8)
        .unit(Unit::Seconds)
        .from_zero()
        .for_each("1d", "30d")
        .when_empty(NO_DAY)
        .query(
            "sum by (runner_type) (increase(age_job_compute_seconds_total{project=~\"$project\"}[1d] \
             offset -1d))",
            "{{runner_type}}",
        ),
    ]
}

fn waiting() -> [Panel; 3] {
    [
        lines(
            "Waiting and running jobs",
            "Waiting and running jobs of the selected projects.",
        )
        .sized(8, 8)
        .from_zero()
        .query("sum(max by (project) (age_jobs_pending{project=~\"$project\"}))", "Waiting")
        .query("sum(max by (project) (age_jobs_running{project=~\"$project\"}))", "Running"),
        bar_chart(
            "Queue time by stage",
            "The spread of the wait for a runner in the time range: a quarter of the jobs waited at most \
             P25, half at most P50, and so on. A long P95 with a short P50 means that some jobs wait much \
             longer than most. All jobs of the chosen stages.",
        )
        .sized(8, 8)
        .unit(Unit::Seconds)
        .from_zero()
        .beside()
        .label("stage", "Stage")
        .column("P25", Unit::Seconds, queue("0.25"))
        .column("P50", Unit::Seconds, queue("0.5"))
        .column("P75", Unit::Seconds, queue("0.75"))
        .column("P95", Unit::Seconds, queue("0.95")),
        areas(
            "Artifact size",
            "Size of the artifacts of the newest jobs, by stage; all jobs of the selected stages.",
        )
        .sized(8, 8)
        .unit(Unit::Bytes)
        .from_zero()
        .when_empty("No job keeps artifacts")
        .query(
            format!("sum by (stage) ({}{{{STAGE}}})", ARTIFACT_SIZE.0),
            "{{stage}}",
        ),
    ]
}

fn tests() -> [Panel; 4] {
    const NONE: &str = "No tests are reported, or the collector test_reports is disabled";
    let of_ref = |metric: &str| format!("max by (project, ref) ({metric}{{{REF}}})");
    let suite = "project, ref, suite_name";
    let of_suite = |metric: &str| format!("max by ({suite}) ({metric}{{{REF}}})");
    [
        table(
            "Test reports",
            "Tests of the newest finished pipeline of each ref by result, and their total duration.",
        )
        .when_empty(NONE)
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines")
        .label("ref", "Ref")
        .column("Tests", Unit::Count, of_ref("age_test_report_total_count"))
        .column("Passed", Unit::Count, of_ref("age_test_report_success_count"))
        .column("Failed", Unit::Count, of_ref("age_test_report_failed_count"))
        .column("Errors", Unit::Count, of_ref("age_test_report_error_count"))
        .column("Skipped", Unit::Count, of_ref("age_test_report_skipped_count"))
        .column("Time", Unit::Seconds, of_ref("age_test_report_total_time_seconds"))
        .sorted_by("Failed"),
        table(
            "Test suites",
            "Tests of the newest ended pipeline of each ref by suite and result, and how long each suite \
             took.",
        )
        .when_empty(NONE)
        .label("ref", "Ref")
        .label("suite_name", "Suite")
        .told_apart_by(&["project"])
        .column("Tests", Unit::Count, of_suite("age_test_suite_count"))
        .column("Passed", Unit::Count, of_suite("age_test_suite_success_count"))
        .column("Failed", Unit::Count, of_suite("age_test_suite_failed_count"))
        .column("Errors", Unit::Count, of_suite("age_test_suite_error_count"))
        .column("Skipped", Unit::Count, of_suite("age_test_suite_skipped_count"))
        .column("Time", Unit::Seconds, of_suite("age_test_suite_duration_seconds"))
        .sorted_by("Time"),
        table(
            "Failed test cases",
            "Test cases that failed or ended with an error in the newest finished pipeline of each ref.",
        )
        .when_empty("No test case failed, or include_test_cases is off")
        .label("project", "Project")
        .label("ref", "Ref")
        .label("suite", "Suite")
        .label("case_name", "Test case")
        .label("status", "Result")
        .column(
            "Refs",
            Unit::Count,
            format!(
                "max by (project, ref, suite, case_name, status) \
                 (age_test_case_status{{{REF}, status=~\"failed|error\"}} == 1)"
            ),
        )
        .column(
            "Time",
            Unit::Seconds,
            format!(
                "max by (project, ref, suite, case_name, status) \
                 (age_test_case_status{{{REF}, status=~\"failed|error\"}} == 1) \
                 * on (project, ref, suite, case_name) group_left () \
                 max by (project, ref, suite, case_name) (age_test_case_last_duration_seconds{{{REF}}})"
            ),
        ),
        table(
            "Coverage",
            "Coverage of the newest pipelines of branches and tags, and of each of their jobs.",
        )
        .when_empty("No job reports a coverage")
        .label("project", "Project")
        .label("ref", "Ref")
        .label("job_name", "Job")
        .column(
            "Pipeline",
            Unit::Percent,
            format!("max by (project, ref) (age_pipeline_coverage{{{REF}, kind!=\"merge-request\"}})"),
        )
        .column(
            "By job",
            Unit::Percent,
            "max by (project, ref, job_name) (age_job_coverage{.., ref!~\"merge-requests/.+\"})",
        )
        .sorted_by("Pipeline"),
    ]
}

fn runners() -> [Panel; 2] {
    let by = "runner_id, description, runner_type";
    let of = |metric: &str| format!("max by ({by}) ({metric})");
    [table(
        "Runners",
        "Every runner that the token sees, whatever is chosen above: whether it has contacted GitLab \
         within two hours, whether it is paused, and its versions.",
    )
    .sized(24, 8)
    .when_empty("No runner is visible, or the collector runners is disabled")
    .label("description", "Runner")
    .label("runner_type", "Type")
    .label("version", "Version")
    .label("platform", "Platform")
    .label("architecture", "Architecture")
    .told_apart_by(&["runner_id"])
    .column("Online", Unit::YesNo, of("age_runner_online"))
    .column("Paused", Unit::YesNo, of("age_runner_paused"))
    .column("Last contact", Unit::Ago, format!("1000 * {}", of("age_runner_contacted_timestamp")))
    .query(format!("max by ({by}, version, platform, architecture) (age_runner_info)"), "Version"),
    table(
        "Runners and tags of jobs",
        "Which runner took the newest job of each name, and the tags that the job asks for.",
    )
    .sized(24, 8)
    .when_empty("Neither runner_description_regexp nor tags_regexp of the collector jobs is set")
    .label("project", "Project")
    .label("ref", "Ref")
    .label("job_name", "Job")
    .label("runner_description", "Runner")
    .label("tags", "Tags")
    .told_apart_by(&["stage"])
    .column(
        "Jobs",
        Unit::Count,
        format!(
            "max by (project, ref, stage, job_name, runner_description, tags) (age_job_runner_info{{{REF}}})"
        ),
    )]
}

/// What a job is known by across refs.
const JOB: &str = "project, stage, job_name";
/// What test reports are selected by: they have no stage and no job.
const REF: &str = r#"project=~"$project", ref=~"$ref""#;

/// What whole stages are selected by.
const STAGE: &str = r#"project=~"$project", ref=~"$ref", stage=~"$stage""#;

fn label(name: &'static str, of: &'static str) -> Variable {
    Variable::Label {
        name,
        label: name,
        of,
    }
}

fn rose(metric: &str) -> String {
    format!("sum by ({JOB}) (increase({metric}{{..}}[$__range])) > 0")
}

/// A quantile of the queue time by stage.
fn queue(share: &str) -> String {
    let buckets = increase("age_job_queued_duration_seconds_bucket", STAGE, "$__range");
    format!("histogram_quantile({share}, sum by (le, stage) ({buckets})) >= 0")
}
