use super::{areas, bar_chart, lines, table};
use crate::{Dashboard, Unit, Variable};

/// How pipelines end, how long they take, what starts them, and what is red now.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "pipeline-overview",
        "Pipeline overview",
        "How pipelines end, how long they take and wait, what starts them, and which refs are red \
         now. Refs of merge requests are counted under merge-requests/<target branch>.",
        r#"project=~"$project", ref=~"$ref""#,
    )
    .variable(Variable::project("age_pipeline_run_count"))
    .variable(Variable::Label {
        name: "ref",
        label: "ref",
        of: r#"age_pipeline_run_count{project=~"$project"}"#,
    })
    .variable(Variable::Window {
        title: "Rate over",
        default: "1d",
        choices: &["1h", "6h", "1d", "7d", "30d"],
    })
    .variable(Variable::gitlab_url())
    .row(
        "Outcome",
        [
            areas(
                "Success rate",
                "Share of finished runs by how they ended; each point looks back over the chosen \
                 window. A retried pipeline counts each time it ends.",
            )
            .sized(16, 8)
            .unit(Unit::Share)
            .between(0.0, 1.0)
            .status_colours()
            .query(
                "sum by (status) (increase(age_pipeline_duration_seconds_count{..}[$time_range])) \
                 / on () group_left () (sum(increase(age_pipeline_duration_seconds_count{..}[$time_range])) > 0)",
                "{{status}}",
            ),
            bar_chart(
                "Refs by status",
                "How the newest pipeline of each ref stands now. Child pipelines are not in it.",
            )
            .sized(8, 8)
            .from_zero()
            .when_empty("No pipeline yet")
            .label("status", "Status")
            .status_colours_of("Status")
            .column(
                "Refs",
                Unit::Count,
                "count by (status) (max by (project, ref, kind, source, status) (age_pipeline_status{..}) == 1)",
            ),
        ],
    )
    .row(
        "Time",
        [
            lines(
                "Duration",
                "Half of the runs took at most P50, 95 % at most P95. GitLab's duration: the time in \
                 which jobs ran, those of downstream pipelines included, waiting left out.",
            )
            .unit(Unit::Seconds)
            .from_zero()
            .at_least_every("15m")
            .query(quantile("0.5", "age_pipeline_duration_seconds"), "P50")
            .query(quantile("0.95", "age_pipeline_duration_seconds"), "P95"),
            lines(
                "Queue time and run time",
                "Medians: the wait from creation to the first job's start (right axis) against the \
                 duration (left axis). Rising queue time with steady run time means too few runners.",
            )
            .unit(Unit::Seconds)
            .from_zero()
            .at_least_every("15m")
            .query(quantile("0.5", "age_pipeline_duration_seconds"), "Run time")
            .query(quantile("0.5", "age_pipeline_queued_duration_seconds"), "Queue time")
            .on_the_right("Queue time"),
        ],
    )
    .row(
        "What starts pipelines",
        [
            bar_chart(
                "Pipelines by source",
                "Pipelines created in the time range, by what started them: a push, a merge request, \
                 a schedule, a trigger, a parent pipeline.",
            )
            .sized(8, 9)
            .from_zero()
            .beside()
            .label("source", "Source")
            .column(
                "Pipelines",
                Unit::Count,
                "sort_desc(sum by (source) (increase(age_pipeline_run_count{..}[$__range])) > 0)",
            ),
            table(
                "Downstream pipelines",
                "Child and multi-project pipelines of the chosen projects and refs, by the trigger \
                 job (bridge) that started them, over the time range.",
            )
            .sized(16, 9)
            .when_empty("No downstream pipelines in this time range")
            .label("parent_project", "Parent")
            .linked("${gitlab_url:raw}/${__data.fields.parent_project}/-/pipelines")
            .label("bridge_name", "Bridge")
            .label("project", "Project")
            .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines")
            .column("Pipelines", Unit::Count, format!(
                "sum by ({BRIDGE}) (increase(age_child_pipeline_run_count{PARENT}[$__range])) > 0"
            ))
            .column("P50", Unit::Seconds, downstream_quantile("0.5"))
            .column("P95", Unit::Seconds, downstream_quantile("0.95"))
            .column("Failed now", Unit::Count, format!(
                "sum by ({BRIDGE}) (max by ({BRIDGE}, ref, parent_ref) \
                 (age_child_pipeline_status{{parent_project=~\"$project\", parent_ref=~\"$ref\", status=\"failed\"}}))"
            )),
        ],
    )
    .row(
        "Red now",
        [
            table(
                "Failed pipelines",
                "Refs whose newest pipeline failed, the latest first. The number opens it in GitLab.",
            )
            .sized(24, 10)
            .when_empty("Nothing is red")
            .label("project", "Project")
            .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines?status=failed")
            .label("ref", "Ref")
            .label("source", "Source")
            .column("Pipeline", Unit::Id, failed("age_pipeline_id"))
            .linked("${gitlab_url:raw}/${__data.fields.project}/-/pipelines/${__data.fields[\"Value #A\"].numeric}")
            .column("Ended", Unit::Ago, format!("1000 * ({})", failed("age_pipeline_finished_timestamp")))
            .column("Duration", Unit::Seconds, failed_alone("age_pipeline_last_run_duration_seconds"))
            .sorted_by("Ended"),
        ],
    )
}

/// What a bridge is known by.
const BRIDGE: &str = "parent_project, bridge_name, project";
const PARENT: &str = r#"{parent_project=~"$project", parent_ref=~"$ref"}"#;

fn quantile(share: &str, histogram: &str) -> String {
    format!(
        "histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{..}}[$__rate_interval]))) >= 0"
    )
}

fn downstream_quantile(share: &str) -> String {
    format!(
        "histogram_quantile({share}, sum by (le, {BRIDGE}) \
         (increase(age_child_pipeline_duration_seconds_bucket{PARENT}[$__range]))) >= 0"
    )
}

/// A fact of refs whose newest pipeline failed, with what started it.
fn failed(metric: &str) -> String {
    format!(
        "max by (project, ref, kind) ({metric}{{..}}) * on (project, ref, kind) group_right () \
         max by (project, ref, kind, source) (age_pipeline_status{{.., status=\"failed\"}} == 1)"
    )
}

/// The same of a fact that knows the source itself.
fn failed_alone(metric: &str) -> String {
    format!(
        "max by (project, ref, kind, source) ({metric}{{..}}) and on (project, ref, kind, source) \
         (age_pipeline_status{{.., status=\"failed\"}} == 1)"
    )
}
