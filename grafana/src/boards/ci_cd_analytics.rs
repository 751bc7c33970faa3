use super::{DAY, areas, bars, lines, stat};
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
    .variable(Variable::project("age_pipeline_run_count"))
    .variable(Variable::Label {
        name: "ref",
        label: "ref",
        of: r#"age_pipeline_run_count{project=~"$project"}"#,
    })
    .row(
        "In the time range",
        [
            stat("Pipeline runs", "Pipelines created in the time range, child pipelines included.")
                .query("sum(increase(age_pipeline_run_count{..}[$__range]))", "Runs"),
            stat("Median duration", "Half of the runs that ended in the time range took at most that long.")
                .unit(Unit::Seconds)
                .query(
                    "histogram_quantile(0.5, sum by (le) (increase(age_pipeline_duration_seconds_bucket{..}[$__range]))) >= 0",
                    "Median",
                ),
            stat("Success rate", "Of the runs that ended in the time range, the share that succeeded.")
                .unit(Unit::Share)
                .between(0.0, 1.0)
                .steps("red", &[(0.8, "yellow"), (0.95, "green")])
                .query(share("success"), "Success"),
            stat("Failure rate", "Of the runs that ended in the time range, the share that failed. Canceled runs are in neither rate.")
                .unit(Unit::Share)
                .between(0.0, 1.0)
                .steps("green", &[(0.05, "yellow"), (0.2, "red")])
                .query(share("failed"), "Failure"),
        ],
    )
    .row(
        "Over time",
        [
            areas("Runs by status", "Runs that ended in each interval, by how they ended.")
                .from_zero()
                .at_least_every("1h")
                .status_colours()
                .query(
                    "sum by (status) (increase(age_pipeline_duration_seconds_count{..}[$__rate_interval]))",
                    "{{status}}",
                ),
            lines("Duration", "Half of the runs took at most P50, 95 % at most P95.")
                .unit(Unit::Seconds)
                .from_zero()
                .at_least_every("15m")
                .query(quantile("0.5"), "P50")
                .query(quantile("0.95"), "P95"),
            bars("Pipelines per day", "Pipelines created in the 24 hours before each bar.")
                .sized(24, 8)
                .from_zero()
                .at_least_every(DAY)
                .query("sum(increase(age_pipeline_run_count{..}[1d]))", "Pipelines"),
        ],
    )
}

/// The share of finished runs that ended so; 0 where others did and none so.
fn share(status: &str) -> String {
    format!(
        "sum(increase(age_pipeline_duration_seconds_count{{.., status=\"{status}\"}}[$__range]) or \
         0 * increase(age_pipeline_duration_seconds_count{{..}}[$__range])) \
         / (sum(increase(age_pipeline_duration_seconds_count{{..}}[$__range])) > 0)"
    )
}

fn quantile(share: &str) -> String {
    format!(
        "histogram_quantile({share}, sum by (le) (rate(age_pipeline_duration_seconds_bucket{{..}}[$__rate_interval]))) >= 0"
    )
}
