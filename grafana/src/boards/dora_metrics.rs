use super::{NO_DAY, bar_chart, bars, lines, stat, table};
use crate::{Dashboard, Panel, Unit, Variable};

/// The four figures, their course, and what they add up to.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "dora-metrics",
        "DORA metrics",
        "The four DORA figures, each over the last 30 days. GitLab Ultimate gives them itself; \
         elsewhere they are computed by its definitions. Environments with the tier production count \
         for restoring service and for failures.",
        r#"project=~"$project", environment_tier=~"$environment_tier""#,
    )
    .since("now-30d")
    .variable(Variable::project("age_dora_deployment_frequency"))
    .variable(Variable::Label {
        name: "environment_tier",
        label: "environment_tier",
        of: r#"age_dora_deployment_frequency{project=~"$project"}"#,
    })
    .variable(Variable::Window {
        title: "Smooth over",
        default: "1d",
        choices: &["1h", "6h", "1d", "7d", "30d"],
    })
    .row(
        "Last 30 days (GitLab Ultimate: GitLab's own values; other tiers: computed from deployments, \
         merge requests and incidents)",
        [
            now(stat(
                "Deployment frequency",
                "Successful deployments per day over the last 30 days, of all chosen projects \
                 together. At least one a day is elite, one a week high, one a month medium.",
            ))
            .unit(Unit::PerDay)
            .steps("red", &[(1.0 / 30.0, "orange"), (1.0 / 7.0, "yellow"), (1.0, "green")])
            .query(FREQUENCY, "Deployments"),
            now(stat(
                "Lead time for changes",
                "Hours from merge to the deployment that shipped it: the median of the projects' \
                 medians. Up to a day is elite, a week high, a month medium.",
            ))
            .unit(Unit::Hours)
            .steps("green", &[(24.0, "yellow"), (168.0, "orange"), (720.0, "red")])
            .query(format!("{LEAD_TIME} / 3600"), "Lead time"),
            now(stat(
                "Time to restore service",
                "Hours from an incident's creation to its closing: the median of the projects' \
                 medians. Up to an hour is elite, a day high, a week medium.",
            ))
            .unit(Unit::Hours)
            .steps("green", &[(1.0, "yellow"), (24.0, "orange"), (168.0, "red")])
            .query(format!("{RESTORE} / 3600"), "Time to restore"),
            now(stat(
                "Change failure rate",
                "Incidents per deployment to production; projects weigh by their deployments. Up to \
                 5 % is elite, 10 % high, 15 % medium.",
            ))
            .unit(Unit::Share)
            .steps("green", &[(0.05, "yellow"), (0.1, "orange"), (0.15, "red")])
            .query(FAILURE_RATE, "Failure rate"),
            stat(
                "DORA level",
                "The mean of the four figures' levels (elite 3, high 2, medium 1, low 0), rounded. A \
                 figure without data is left out.",
            )
            .sized(4, 4)
            .when_empty("No deployments yet")
            .words(&[
                (0.0, 0.4999, "Low", "red"),
                (0.5, 1.4999, "Medium", "orange"),
                (1.5, 2.4999, "High", "yellow"),
                (2.5, 3.0, "Elite", "green"),
            ])
            .query(level(), "Level"),
        ],
    )
    .row(
        "Course",
        [
            trend("Deployment frequency over time", "Deployments per day over the 30 days before each point.")
                .unit(Unit::PerDay)
                .query(smoothed(FREQUENCY), "Deployments per day"),
            trend("Lead time over time", "Median lead time over the 30 days before each point, in hours.")
                .unit(Unit::Hours)
                .query(format!("{} / 3600", smoothed(LEAD_TIME)), "Lead time"),
            trend("Time to restore over time", "Median time to restore service over the 30 days before each point, in hours.")
                .unit(Unit::Hours)
                .query(format!("{} / 3600", smoothed(RESTORE)), "Time to restore"),
            trend("Change failure rate over time", "Incidents per deployment over the 30 days before each point.")
                .unit(Unit::Share)
                .query(smoothed(FAILURE_RATE), "Failure rate"),
        ],
    )
    .row(
        "Month by month",
        [
            months(),
            bars(
                "Deployment frequency by environment tier",
                "Deployments per day over the 30 days before each bar, by the tier of the \
                 environment.",
            )
            .sized(16, 8)
            .unit(Unit::PerDay)
            .from_zero()
            .for_each("1d", "90d")
            .when_empty(NO_DAY)
            .query(
                "sum by (environment_tier) (max by (project, environment_tier) \
                 (age_dora_deployment_frequency{..}))",
                "{{environment_tier}}",
            ),
            bar_chart(
                "Source of the figures",
                "Projects whose figures are GitLab's own (gitlab, needs Ultimate), and whose figures are \
                 computed by its definitions (computed).",
            )
            .sized(8, 8)
            .from_zero()
            .when_empty("No figures yet")
            .label("source", "Source")
            .column(
                "Projects",
                Unit::Count,
                "count by (source) (max by (project, source) (age_dora_source{project=~\"$project\"}))",
            ),
        ],
    )
    .row("Value stream", value_stream())
}

/// How long items take from stage to stage.
fn value_stream() -> [Panel; 3] {
    let project = |title, description| {
        lines(title, description)
            .sized(8, 8)
            .unit(Unit::Seconds)
            .from_zero()
            .at_least_every("5m")
    };
    [
        bar_chart(
            "Time by stage",
            "Median time that items spent in each stage of the value stream over the last 30 days: the \
             median of the projects' medians.",
        )
        .sized(8, 8)
        .unit(Unit::Seconds)
        .from_zero()
        .beside()
        .when_empty("No item has left a stage in 30 days")
        .label("stage_name", "Stage")
        .column(
            "Median",
            Unit::Seconds,
            "quantile by (stage_name) (0.5, max by (project, stage_name) \
             (age_value_stream_stage_duration_seconds{project=~\"$project\"}))",
        ),
        project(
            "Cycle time",
            "Median time from an issue's first mention in a commit to its closing, over the 30 days before \
             each point, by project. Needs GitLab Premium.",
        )
        .when_empty("No issue was closed in 30 days, or GitLab is not Premium")
        .query(
            "max by (project) (age_value_stream_cycle_time_seconds{project=~\"$project\"})",
            "{{project}}",
        ),
        project(
            "Lead time of issues",
            "Median time from an issue's creation to its closing, over the 30 days before each point, by \
             project. Needs GitLab Premium.",
        )
        .when_empty("No issue was closed in 30 days, or GitLab is not Premium")
        .query(
            "max by (project) (age_value_stream_lead_time_seconds{project=~\"$project\"})",
            "{{project}}",
        ),
    ]
}

const FREQUENCY: &str =
    "sum(max by (project, environment_tier) (age_dora_deployment_frequency{..}))";
const LEAD_TIME: &str = "quantile(0.5, max by (project, environment_tier) (age_dora_lead_time_for_changes_seconds{..}))";
const RESTORE: &str = "quantile(0.5, max by (project, environment_tier) (age_dora_time_to_restore_service_seconds{..}))";
/// Projects weigh by their deployments: failures of all by deployments of all.
const FAILURE_RATE: &str = "sum(max by (project, environment_tier) (age_dora_change_failure_rate{..}) \
     * on (project, environment_tier) max by (project, environment_tier) (age_dora_deployment_frequency{..})) \
     / (sum(max by (project, environment_tier) (age_dora_deployment_frequency{..}) \
     and on (project, environment_tier) age_dora_change_failure_rate{..}) > 0)";

fn now(panel: Panel) -> Panel {
    panel.sized(5, 4).when_empty("None in 30 days")
}

fn trend(title: &'static str, description: &'static str) -> Panel {
    lines(title, description)
        .from_zero()
        .at_least_every("5m")
        .when_empty("No data in the last 30 days")
}

/// The mean over the chosen window, so that a day without data tears no hole.
fn smoothed(expr: &str) -> String {
    format!("avg_over_time(({expr})[$time_range:$__interval])")
}

/// How many of the bounds a figure keeps: 0 is low, 3 is elite.
fn level() -> String {
    let figure = |name: &str, expr: &str, op: &str, bounds: [&str; 3]| {
        let kept = bounds.map(|bound| format!("(({expr}) {op} bool {bound})"));
        format!(
            "label_replace({}, \"figure\", \"{name}\", \"\", \"\")",
            kept.join(" + ")
        )
    };
    let all = [
        figure(
            "deployment frequency",
            FREQUENCY,
            ">=",
            ["1", "1 / 7", "1 / 30"],
        ),
        figure("lead time", LEAD_TIME, "<=", ["86400", "604800", "2592000"]),
        figure(
            "time to restore",
            RESTORE,
            "<=",
            ["3600", "86400", "604800"],
        ),
        figure("failure rate", FAILURE_RATE, "<=", ["0.05", "0.1", "0.15"]),
    ];
    format!("avg({})", all.join(" or "))
}

/// A row for each project: the figures now and 30 days ago.
fn months() -> Panel {
    let by_project = |aggregate: &str, metric: &str, offset: &str| {
        format!(
            "{aggregate} by (project) (max by (project, environment_tier) ({metric}{{..}}{offset}))"
        )
    };
    let mut panel = table(
        "Month by month",
        "The values of the last 30 days compared with the 30 days before, by project: deployments per \
         day, lead time, time to restore service, change failure rate. The worst of the chosen tiers; the \
         columns *before* fill after a month of collecting.",
    )
    .sized(24, 9)
    .when_empty("No deployments yet")
    .label("project", "Project");
    for (heading, earlier, unit, aggregate, metric, scale) in [
        (
            "Per day",
            "Per day before",
            Unit::PerDay,
            "sum",
            "age_dora_deployment_frequency",
            "",
        ),
        (
            "Lead time",
            "Lead time before",
            Unit::Hours,
            "max",
            "age_dora_lead_time_for_changes_seconds",
            " / 3600",
        ),
        (
            "Restore",
            "Restore before",
            Unit::Hours,
            "max",
            "age_dora_time_to_restore_service_seconds",
            " / 3600",
        ),
        (
            "Failures",
            "Failures before",
            Unit::Share,
            "max",
            "age_dora_change_failure_rate",
            "",
        ),
    ] {
        panel = panel
            .column(heading, unit, by_project(aggregate, metric, "") + scale)
            .column(
                earlier,
                unit,
                by_project(aggregate, metric, " offset 30d") + scale,
            );
    }
    panel
}
