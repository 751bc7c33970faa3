use super::{NO_DAY, POINTS, THAT_DAY, bars, finished, lines, quantile, share_of, stat};
use crate::recorded::increase;
use crate::{Dashboard, Unit, Variable};

/// GitLab's own page CI/CD analytics, for many projects at once.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "ci-cd-analytics",
        "CI/CD analytics",
        "What GitLab's page CI/CD analytics shows, for any choice of projects and refs, and beyond \
         the time that GitLab keeps.",
        r#"project=~"$project", ref=~"$ref""#,
    )
    .variable(Variable::project("age_project_last_success_timestamp"))
    .variable(Variable::Label {
        name: "ref",
        label: "ref",
        of: r#"age_pipeline_status{project=~"$project", kind!="merge-request"}"#,
    })
    .row(
        "In the time range",
        [
            stat("Pipeline runs", "Pipelines created in the time range, child pipelines included.")
                .steps("text", &[])
                .query(format!("sum({})", created("$__range")), "Runs"),
            stat("Median duration", "Median duration of the pipelines that finished in the time range.")
                .unit(Unit::Seconds)
                .steps("text", &[])
                .query(quantile("0.5", "age_pipeline_duration_seconds", &[]), "Median"),
            stat(
                "Success rate",
                "Share of the pipelines that succeeded among those that succeeded or failed in the time \
                 range. Canceled and skipped ones do not count.",
            )
            .unit(Unit::Share)
            .steps("red", &[(0.8, "yellow"), (0.95, "green")])
            .query(share_of("success", "$__range"), "Success"),
            stat(
                "Failure rate",
                "Share of the pipelines that failed among those that succeeded or failed in the time \
                 range. With the success rate it makes 100 %.",
            )
            .unit(Unit::Share)
            .steps("green", &[(0.05, "yellow"), (0.2, "red")])
            .query(share_of("failed", "$__range"), "Failure"),
        ],
    )
    .row(
        "Over time",
        [
            bars("Runs by status", "Finished pipelines per interval, by status.")
                .from_zero()
                .bars_from_begin("1h")
                .query(
                    format!("sum by (status) ({})", finished(".+", "$__interval] offset -$__interval")),
                    "{{status}}",
                ),
            lines(
                "Duration",
                "Half of the pipelines took at most P50, 95 % at most P95. Each point looks back over a \
                 time as long as the dashboard's range.",
            )
            .unit(Unit::Seconds)
            .from_zero()
            .points(POINTS)
            .query(quantile("0.5", "age_pipeline_duration_seconds", &[]), "P50")
            .query(quantile("0.95", "age_pipeline_duration_seconds", &[]), "P95"),
            bars("Pipelines per day", "Pipelines created on each day.")
                .sized(24, 8)
                .from_zero()
                .for_each("1d", "30d")
                .when_empty(NO_DAY)
                .query(format!("sum({})", created(THAT_DAY)), "Pipelines"),
        ],
    )
}

fn created(window: &str) -> String {
    increase("age_pipeline_run_count", "..", window)
}
