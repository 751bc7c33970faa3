use super::{
    DEFAULT_BRANCHES, POINTS, areas, bar_chart, finished, lines, quantile, share_of, stat, table,
};
use crate::recorded::increase;
use crate::{Dashboard, Panel, Unit, Variable};

/// A wall: what is red now, how many pipelines succeed, what runs and waits; below it how that came.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "pipeline-overview",
        "Pipeline overview",
        "Made for a wall: which default branches are red now, how many pipelines succeed, what runs and \
         what waits; below that, how pipelines end, how long they take, and what starts them. Refs of \
         merge requests are counted under merge-requests/<target branch>.",
        r#"project=~"$project", ref=~"$ref""#,
    )
    .variable(Variable::project("age_project_last_success_timestamp"))
    .variable(Variable::Label {
        name: "ref",
        label: "ref",
        of: r#"age_pipeline_status{project=~"$project", kind!="merge-request"}"#,
    })
    .variable(Variable::Choice {
        name: "all_refs",
        title: "Red now",
        of: &[("Default branches", "0"), ("All refs", "1")],
    })
    .variable(Variable::Window {
        title: "Rate over",
        default: "1d",
        choices: &["1h", "6h", "1d", "7d", "30d"],
    })
    .variable(Variable::gitlab_url())
    .row("Now", tiles())
    .row("Red now", [failed_pipelines(), failed_jobs(), failed_child_jobs()])
    .row("Trends", trends())
    .row("Running now", running())
    .row("What starts pipelines", [sources(), downstream()])
    .row("Warnings and schedules", [warnings(), schedules()])
}

fn tiles() -> [Panel; 6] {
    let tile = |title, description| stat(title, description).sized(4, 4);
    [
        tile(
            "Red default branches",
            "Projects with a failed newest pipeline on the default branch.",
        )
        .steps("green", &[(1.0, "red")])
        .when_empty("Needs the collector repository")
        .query(
            format!(
                "count(max by (project, ref, kind) (age_pipeline_status{{.., status=\"failed\"}} == 1) \
                 and on (project, ref, kind) {DEFAULT_BRANCHES}) \
                 or 0 * count(max by (project) (age_repository_info{{project=~\"$project\"}}))"
            ),
            "Red",
        ),
        tile(
            "Success rate",
            "Share of the pipelines that succeeded among those that succeeded or failed in the time \
             range. Canceled and skipped ones do not count.",
        )
        .unit(Unit::Share)
        .steps("red", &[(0.8, "yellow"), (0.95, "green")])
        .when_empty("No pipeline ended")
        .query(share_of("success", "$__range"), "Success"),
        tile("Running pipelines", "Running pipelines of the selected refs.")
            .steps("blue", &[])
            .when_empty("Nothing was read yet")
            .query(
                "sum(max by (project, status) (age_pipelines_active{project=~\"$project\", status=\"running\"})) \
                 or 0 * count(max by (project) (age_project_last_success_timestamp{project=~\"$project\"}))",
                "Running",
            ),
        tile("Waiting jobs", "Jobs of the selected refs that are waiting for a runner.")
            .steps("green", &[(10.0, "yellow"), (50.0, "orange")])
            .when_empty("Nothing was read yet")
            .query("sum(max by (project) (age_jobs_pending{project=~\"$project\"}))", "Waiting"),
        tile(
            "Median duration",
            "Median duration of the pipelines that finished in the time range.",
        )
        .unit(Unit::Seconds)
        .steps("text", &[])
        .when_empty("No pipeline ended")
        .query(quantile("0.5", "age_pipeline_duration_seconds", &[]), "Median"),
        tile(
            "P95 duration",
            "95 % of the pipelines that ended in the time range took at most that long.",
        )
        .unit(Unit::Seconds)
        .steps("text", &[])
        .when_empty("No pipeline ended")
        .query(quantile("0.95", "age_pipeline_duration_seconds", &[]), "P95"),
    ]
}

fn failed_pipelines() -> Panel {
    table(
        "Failed pipelines",
        "Refs whose newest pipeline failed, the latest first; default branches alone or all refs, as \
         chosen above. The number opens the pipeline in GitLab.",
    )
    .sized(14, 10)
    .when_empty("Nothing is red")
    .label("project", "Project")
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines?status=failed")
    .label("ref", "Ref")
    .label("source", "Source")
    .told_apart_by(&["kind"])
    .column("Pipeline", Unit::Id, failed("age_pipeline_id"))
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines/${__data.fields[\"Value #A\"].numeric}")
    .column("Ended", Unit::Ago, format!("1000 * ({})", failed("age_pipeline_finished_timestamp")))
    .column("Changed", Unit::Ago, format!("1000 * ({})", failed("age_pipeline_updated_timestamp")))
    .column("Waited", Unit::Seconds, failed_alone("age_pipeline_last_run_queued_duration_seconds"))
    .column("Duration", Unit::Seconds, failed_alone("age_pipeline_last_run_duration_seconds"))
    .sorted_by("Ended")
}

fn failed_jobs() -> Panel {
    table(
        "Failed jobs",
        "Jobs and trigger jobs that failed in the newest pipelines of the same refs, and GitLab's reason. \
         The number opens the job in GitLab.",
    )
    .sized(10, 10)
    .when_empty("No job is red")
    .label("project", "Project")
    .label("ref", "Ref")
    .label("job_name", "Job")
    .label("failure_reason", "Reason")
    .column("Log", Unit::Id, failed_job("age_job_id"))
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/jobs/${__data.fields[\"Value #A\"].numeric}")
    .column("Took", Unit::Seconds, failed_job("age_job_last_run_duration_seconds"))
    .told_apart_by(&["stage"])
}

fn failed_child_jobs() -> Panel {
    table(
        "Failed jobs of child pipelines",
        "Jobs that failed in the newest child pipelines of the same refs, the trigger job that started the \
         pipeline, and GitLab's reason.",
    )
    .sized(24, 6)
    .when_empty("No job of a child pipeline is red")
    .label("project", "Project")
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines?status=failed&source=parent_pipeline")
    .label("ref", "Ref")
    .label("bridge_name", "Trigger job")
    .label("stage", "Stage")
    .label("job_name", "Job")
    .label("failure_reason", "Reason")
    .column(
        "Failed",
        Unit::Count,
        chosen(
            "max by (project, ref, bridge_name, stage, job_name, failure_reason) \
             (age_child_pipeline_job_status{.., status=\"failed\"} == 1)",
            "project, ref",
        ),
    )
}

fn trends() -> [Panel; 4] {
    let both = "success|failed";
    [
        areas(
            "Success rate over time",
            "Share of the pipelines that succeeded and that failed, of both together; each point looks \
             back over the chosen window. A retried pipeline counts each time it ends.",
        )
        .sized(16, 8)
        .unit(Unit::Share)
        .between(0.0, 1.0)
        .at_least_every("5m")
        .query(
            format!(
                "sum by (status) ({}) / on () group_left () (sum({}) > 0)",
                finished(both, "$time_range"),
                finished(both, "$time_range")
            ),
            "{{status}}",
        ),
        bar_chart(
            "Refs by status",
            "Status of the newest pipeline of each ref, without child pipelines.",
        )
        .sized(8, 8)
        .from_zero()
        .when_empty("No pipeline yet")
        .label("status", "Status")
        .coloured_by("Status")
        .column(
            "Refs",
            Unit::Count,
            "count by (status) (max by (project, ref, kind, source, status) (age_pipeline_status{..}) == 1)",
        ),
        lines(
            "Duration",
            "Half of the pipelines took at most P50, 95 % at most P95. Each point looks back over a time \
             as long as the dashboard's range. GitLab's duration: the time in which jobs ran, those of \
             downstream pipelines included, waiting left out.",
        )
        .unit(Unit::Seconds)
        .from_zero()
        .points(POINTS)
        .query(quantile("0.5", "age_pipeline_duration_seconds", &[]), "P50")
        .query(quantile("0.95", "age_pipeline_duration_seconds", &[]), "P95"),
        lines(
            "Queue time and run time",
            "Medians over a time as long as the dashboard's range: the wait from creation to the first \
             job's start (right axis) against the duration (left axis). Rising queue time with steady run \
             time means too few runners.",
        )
        .unit(Unit::Seconds)
        .from_zero()
        .points(POINTS)
        .query(quantile("0.5", "age_pipeline_duration_seconds", &[]), "Run time")
        .query(quantile("0.5", "age_pipeline_queued_duration_seconds", &[]), "Queue time")
        .on_the_right("Queue time"),
    ]
}

fn running() -> [Panel; 2] {
    [
        table(
            "Longest running pipelines",
            "Running newest pipelines of refs, by running time.",
        )
        .when_empty("No pipeline runs")
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines?status=running")
        .label("ref", "Ref")
        .told_apart_by(&["kind"])
        .column(
            "Running for",
            Unit::Seconds,
            "sort_desc(time() - max by (project, ref, kind) (age_pipeline_running_since_timestamp{..}))",
        )
        .sorted_by("Running for"),
        table(
            "Longest running jobs",
            "Running jobs of the newest pipelines, by running time.",
        )
        .when_empty("No job runs")
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/jobs?statuses=RUNNING")
        .label("ref", "Ref")
        .label("job_name", "Job")
        .told_apart_by(&["stage"])
        .column(
            "Running for",
            Unit::Seconds,
            "sort_desc(time() - max by (project, ref, stage, job_name) \
             (age_job_running_since_timestamp{..}))",
        )
        .sorted_by("Running for"),
    ]
}

fn sources() -> Panel {
    let created = increase("age_pipeline_run_count", "..", "$__range");
    bar_chart(
        "Pipelines by source",
        "Pipelines created in the time range, by what started them: a push, a merge request, a schedule, \
         a trigger, a parent pipeline.",
    )
    .sized(8, 9)
    .from_zero()
    .beside()
    .label("source", "Source")
    .column(
        "Pipelines",
        Unit::Count,
        format!("sort_desc(sum by (source) ({created}) > 0)"),
    )
}

fn downstream() -> Panel {
    table(
        "Downstream pipelines",
        "Child and multi-project pipelines of the chosen projects and refs, by the trigger job (bridge) \
         that started them, over the time range.",
    )
    .sized(16, 9)
    .when_empty("No downstream pipelines in this time range")
    .label("parent_project", "Parent")
    .linked("${gitlab_url:raw}/${__data.fields.parent_project}/-/pipelines")
    .label("bridge_name", "Bridge")
    .label("project", "Project")
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines")
    .column(
        "Started",
        Unit::Count,
        format!("sum by ({BRIDGE}) (increase(age_child_pipeline_run_count{PARENT}[$__range])) > 0"),
    )
    .column("P50", Unit::Seconds, downstream_quantile("0.5", "duration"))
    .column("P95", Unit::Seconds, downstream_quantile("0.95", "duration"))
    .column("Queue P50", Unit::Seconds, downstream_quantile("0.5", "queued_duration"))
    .column(
        "Failed now",
        Unit::Count,
        format!(
            "sum by ({BRIDGE}) (max by ({BRIDGE}, ref, parent_ref) \
             (age_child_pipeline_status{{parent_project=~\"$project\", parent_ref=~\"$ref\", status=\"failed\"}}))"
        ),
    )
}

fn warnings() -> Panel {
    table(
        "Passed with warnings",
        "Refs whose newest pipeline succeeded although jobs that are allowed to fail failed. The number \
         opens it in GitLab.",
    )
    .when_empty("No pipeline passed with warnings")
    .label("project", "Project")
    .label("ref", "Ref")
    .told_apart_by(&["kind"])
    .column(
        "Pipeline",
        Unit::Id,
        "max by (project, ref, kind) (age_pipeline_id{..}) and on (project, ref, kind) \
         (max by (project, ref, kind) (age_pipeline_warnings{..}) == 1)",
    )
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines/${__data.fields[\"Value #A\"].numeric}")
}

fn schedules() -> Panel {
    let by = "project, ref, schedule";
    table(
        "Schedules",
        "Pipeline schedules with their next run and the status of their newest pipeline.",
    )
    .when_empty("No schedule, or the collector schedules is disabled")
    .label("project", "Project")
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipeline_schedules")
    .label("schedule", "Schedule")
    .label("status", "Last status")
    .told_apart_by(&["ref"])
    .column(
        "Active",
        Unit::YesNo,
        format!("max by ({by}) (age_pipeline_schedule_active{{..}})"),
    )
    .column(
        "Next run",
        Unit::Ago,
        format!("1000 * max by ({by}) (age_pipeline_schedule_next_run_timestamp{{..}})"),
    )
    .query(
        format!("max by ({by}, status) (age_pipeline_schedule_last_run_status{{..}} == 1)"),
        "Last status",
    )
}

/// What a bridge is known by.
const BRIDGE: &str = "parent_project, bridge_name, project";
const PARENT: &str = r#"{parent_project=~"$project", parent_ref=~"$ref"}"#;

fn downstream_quantile(share: &str, what: &str) -> String {
    format!(
        "histogram_quantile({share}, sum by (le, {BRIDGE}) \
         (increase(age_child_pipeline_{what}_seconds_bucket{PARENT}[$__range]))) >= 0"
    )
}

/// Of the refs' figures those that are chosen: of default branches, or all.
fn chosen(figures: &str, on: &str) -> String {
    format!(
        "({figures}) and on ({on}) {DEFAULT_BRANCHES} or ({figures}) and on () (vector($all_refs) == 1)"
    )
}

/// A fact of refs whose newest pipeline failed, with what started it.
fn failed(metric: &str) -> String {
    chosen(
        &format!(
            "max by (project, ref, kind) ({metric}{{..}}) * on (project, ref, kind) group_right () \
             max by (project, ref, kind, source) (age_pipeline_status{{.., status=\"failed\"}} == 1)"
        ),
        "project, ref, kind",
    )
}

/// The same of a fact that knows the source itself.
fn failed_alone(metric: &str) -> String {
    chosen(
        &format!(
            "max by (project, ref, kind, source) ({metric}{{..}}) and on (project, ref, kind, source) \
             (age_pipeline_status{{.., status=\"failed\"}} == 1)"
        ),
        "project, ref, kind",
    )
}

/// A fact of jobs that failed in the newest pipelines, with the reason.
fn failed_job(metric: &str) -> String {
    chosen(
        &format!(
            "max by (project, ref, stage, job_name) ({metric}{{..}}) \
             * on (project, ref, stage, job_name) group_right () \
             max by (project, ref, stage, job_name, failure_reason) (age_job_status{{.., status=\"failed\"}} == 1)"
        ),
        "project, ref",
    )
}
