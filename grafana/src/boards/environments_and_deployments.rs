use super::{NO_DAY, bar_chart, bars, lines, stat, table};
use crate::recorded::increase;
use crate::{Dashboard, Panel, Unit, Variable};

/// What is deployed where, what failed, how far it is behind, and how often it is deployed.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "environments-and-deployments",
        "Environments and deployments",
        "What is deployed where, which deployments failed, how far environments are behind their default branch, when and how \
         often they are deployed, and how long that takes. Needs the collector environments.",
        r#"project=~"$project", environment=~"$environment""#,
    )
    .variable(Variable::project("age_environment_info"))
    .variable(Variable::Label {
        name: "tier",
        label: "tier",
        of: r#"age_environment_info{project=~"$project"}"#,
    })
    .variable(Variable::Label {
        name: "environment",
        label: "environment",
        of: r#"age_environment_info{project=~"$project", tier=~"$tier"}"#,
    })
    .variable(Variable::gitlab_url())
    .row("Now", tiles())
    .row("Environments", [environments(), waiting()])
    .row("Frequency", frequency())
    .row("Duration and delay", delay())
}

fn tiles() -> [Panel; 6] {
    let tile = |title, description| stat(title, description).sized(4, 4).when_empty(NONE);
    let all = format!("0 * count({ENVIRONMENTS})");
    let deployments = chosen(&format!(
        "sum by ({ENVIRONMENT}) (increase(age_environment_deployment_count{{..}}[$__range]))"
    ));
    [
        tile(
            "Number of environments",
            "Environments of the selected projects and tiers that are not stopped.",
        )
        .steps("text", &[])
        .query(format!("count({ENVIRONMENTS})"), "Environments"),
        tile("Failed", "Environments whose last deployment failed.")
            .steps("green", &[(1.0, "red")])
            .query(
                format!("count({}) or {all}", with_status("failed")),
                "Failed",
            ),
        tile("Running", "Environments with a running deployment.")
            .steps("blue", &[])
            .query(
                format!("count({}) or {all}", with_status("running")),
                "Running",
            ),
        tile(
            "Behind",
            "Environments without the latest commits of the default branch.",
        )
        .steps("green", &[(1.0, "yellow")])
        .query(
            format!(
                "count({}) or {all}",
                chosen(&format!("{} > 0", of("age_environment_behind_commits")))
            ),
            "Behind",
        ),
        tile("Deployments", "Deployments that started in the time range.")
            .steps("text", &[])
            .query(format!("sum({deployments}) or {all}"), "Deployments"),
        tile(
            "Median duration",
            "Median duration of the deployments in the time range.",
        )
        .unit(Unit::Seconds)
        .steps("text", &[])
        .when_empty("No deployment ended")
        .query(quantile("0.5", ""), "Median"),
    ]
}

fn environments() -> Panel {
    table(
        "Environments",
        "What each environment has: its tier, the ref and commit of the last successful deployment, how the \
         deployment that started last stands, when the last successful one ended and how long it took, and \
         how many commits of the default branch are not in it.",
    )
    .sized(24, 11)
    .when_empty(NONE)
    .label("project", "Project")
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/environments")
    .label("environment", "Environment")
    .label("tier", "Tier")
    .label("ref", "Ref")
    .label("commit", "Commit")
    .label("status", "Status")
    .column(
        "Deployed",
        Unit::Ago,
        format!("1000 * ({})", chosen(&of("age_environment_last_deployment_timestamp"))),
    )
    .column("Took", Unit::Seconds, chosen(&of("age_environment_last_deployment_duration_seconds")))
    .column("Commits behind", Unit::Count, chosen(&of("age_environment_behind_commits")))
    .column("Since", Unit::Seconds, chosen(&of("age_environment_behind_duration_seconds")))
    .query(VERSIONS, "Tier")
    .query(
        chosen(&format!(
            "max by ({ENVIRONMENT}, status) (age_environment_deployment_status{{..}} == 1)"
        )),
        "Status",
    )
    .sorted_by("Commits behind")
}

fn waiting() -> Panel {
    table(
        "Deployments that wait",
        "Deployments that were created after the one that started last and have not started: created and \
         blocked ones wait for their job, skipped ones no more.",
    )
    .sized(24, 7)
    .when_empty("No deployment waits")
    .label("project", "Project")
    .linked("${gitlab_url:raw}/${__data.fields.project}/-/environments")
    .label("environment", "Environment")
    .label("status", "Status")
    .column(
        "Deployments",
        Unit::Count,
        format!(
            "sort_desc({})",
            chosen(&format!(
                "max by ({ENVIRONMENT}, status) (age_environment_deployments_waiting{{..}}) > 0"
            ))
        ),
    )
}

fn frequency() -> [Panel; 2] {
    [
        bars("Deployments per day", "Deployments that started on each day, by tier.")
            .sized(16, 8)
            .from_zero()
            .for_each("1d", "30d")
            .when_empty(NO_DAY)
            .query(
                format!(
                    "sum by (tier) (sum by ({ENVIRONMENT}) \
                     (increase(age_environment_deployment_count{{..}}[1d] offset -1d)) \
                     * on ({ENVIRONMENT}) group_left (tier) {ENVIRONMENTS})"
                ),
                "{{tier}}",
            ),
        bar_chart(
            "Deployments by project",
            "The twenty projects with the most deployments in the time range.",
        )
        .sized(8, 8)
        .from_zero()
        .beside()
        .when_empty("No deployment in this time range")
        .label("project", "Project")
        .column(
            "Deployments",
            Unit::Count,
            format!(
                "sort_desc(topk(20, sum by (project) ({}) > 0))",
                chosen(&format!(
                    "sum by ({ENVIRONMENT}) (increase(age_environment_deployment_count{{..}}[$__range]))"
                ))
            ),
        ),
    ]
}

fn delay() -> [Panel; 2] {
    [
        lines(
            "Duration of deployments",
            "Half of an environment's deployments took at most that long. Each point looks back over a \
             time as long as the dashboard's range.",
        )
        .unit(Unit::Seconds)
        .from_zero()
        .points(super::POINTS)
        .when_empty("No deployment ended")
        .query(quantile("0.5", "environment"), "{{environment}}"),
        lines(
            "Commits behind by tier",
            "Commits of the default branches that are not in the environments, of all environments of a \
             tier together.",
        )
        .from_zero()
        .when_empty(NONE)
        .query(
            format!(
                "sum by (tier) ({} * on ({ENVIRONMENT}) group_left (tier) {ENVIRONMENTS})",
                of("age_environment_behind_commits")
            ),
            "{{tier}}",
        ),
    ]
}

/// What an environment is known by.
const ENVIRONMENT: &str = "project, environment";
/// The chosen environments that are not stopped, with their tiers.
const ENVIRONMENTS: &str = "max by (project, environment, tier) \
     (age_environment_info{.., tier=~\"$tier\", state!=\"stopped\"})";
/// The same with what was deployed to them last.
const VERSIONS: &str = "max by (project, environment, tier, ref, commit) \
     (age_environment_info{.., tier=~\"$tier\", state!=\"stopped\"})";
const NONE: &str = "No environment, or the collector environments is disabled";

fn of(metric: &str) -> String {
    format!("max by ({ENVIRONMENT}) ({metric}{{..}})")
}

/// Figures of the chosen tiers' environments.
fn chosen(figures: &str) -> String {
    format!("{figures} and on ({ENVIRONMENT}) {ENVIRONMENTS}")
}

/// Environments whose last deployment has this status.
fn with_status(status: &str) -> String {
    chosen(&format!(
        "max by ({ENVIRONMENT}) (age_environment_deployment_status{{.., status=\"{status}\"}} == 1)"
    ))
}

fn quantile(share: &str, by: &str) -> String {
    let buckets = increase(
        "age_environment_deployment_duration_seconds_bucket",
        "..",
        "$__range",
    );
    let of_le = chosen(&format!("sum by (le, {ENVIRONMENT}) ({buckets})"));
    let labels = if by.is_empty() {
        "le".to_owned()
    } else {
        format!("le, {by}")
    };
    format!("histogram_quantile({share}, sum by ({labels}) ({of_le})) >= 0")
}
