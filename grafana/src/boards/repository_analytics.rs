use serde_json::{Map, Value, json};

use super::{areas, bar_chart, bars, lines, matrix, pie, table};
use crate::recorded::increase;
use crate::{Dashboard, Panel, Unit, Variable};

/// What repositories are made of, how they grow, and who works on them when.
pub fn dashboard() -> Dashboard {
    Dashboard::new(
        "repository-analytics",
        "Repositories and contributors",
        "What repositories are made of, how they grow, how well they are tested, and who works on \
         them when. Works on every tier; sizes and commits need the role Reporter.",
        r#"project=~"$project""#,
    )
    .since("now-30d")
    .variable(Variable::project("age_repository_info"))
    .variable(Variable::gitlab_url())
    .row(
        "Repositories",
        [
            pie(
                "Languages",
                "Share of each language in the default branches, as GitLab detects it; every \
                 repository weighs the same.",
            )
            .sized(8, 9)
            .unit(Unit::Share)
            .when_empty("No language detected")
            .query(
                "sum by (language) (max by (project, language) (age_repository_language_percentage{..})) \
                 / on () group_left () sum(max by (project, language) (age_repository_language_percentage{..}))",
                "{{language}}",
            ),
            lines(
                "Test coverage",
                "Coverage of the newest pipeline of the default branch, by project.",
            )
            .sized(8, 9)
            .unit(Unit::Percent)
            .between(0.0, 100.0)
            .when_empty("No pipeline reports a coverage")
            .query("max by (project) (age_repository_coverage{..})", "{{project}}"),
            areas(
                "Repository size",
                "Size of the Git repositories without LFS objects. GitLab updates it with a delay.",
            )
            .sized(8, 9)
            .unit(Unit::Bytes)
            .from_zero()
            .when_empty("No sizes available; they need the role Reporter")
            .query("max by (project) (age_repository_size_bytes{..})", "{{project}}"),
        ],
    )
    .row(
        "Commits to default branches",
        [
            bars("Commits per week", "Commits added to the default branches in the seven days that begin at each bar.")
                .sized(24, 8)
                .from_zero()
                .for_each("7d", "90d")
                .when_empty(NO_WEEK)
                .query("sum by (project) (increase(age_repository_commit_count{..}[7d] offset -7d))", "{{project}}"),
            matrix(
                "Commits by weekday and hour",
                "When commits came to the default branches in the time range: a column for each hour \
                 in which the exporter saw them, in UTC. From blue for few to purple for many.",
            )
            .sized(24, 9)
            .at_least_every("1h")
            .when_empty(NO_COMMITS)
            .words(&[(0.0, 0.49, "", "transparent")])
            .over_time()
            .query("sum(increase(age_repository_commit_count{..}[1h]))", "Commits")
            .query(format!("hour(vector(time() - 1)) {WHERE_COUNTED}"), "Hour")
            .query(format!("(day_of_week(vector(time() - 1)) + 6) % 7 {WHERE_COUNTED}"), "Day")
            .transformed("joinByField", json!({"byField": "Time", "mode": "inner"}))
            .transformed("groupBy", json!({"fields": {
                "Day": {"operation": "groupby", "aggregations": []},
                "Hour": {"operation": "groupby", "aggregations": []},
                "Commits": {"operation": "aggregate", "aggregations": ["sum"]},
            }}))
            .transformed("groupingToMatrix", json!({
                "columnField": "Hour", "rowField": "Day", "valueField": "Commits (sum)", "emptyValue": "null",
            }))
            .transformed("organize", json!({
                "excludeByName": {}, "includeByName": {}, "renameByName": {},
                "indexByName": order(),
            }))
            .transformed("sortBy", json!({"fields": {}, "sort": [{"field": "Day"}]}))
            .row_names("Day", 70)
            .override_of("Day", &[("mappings", json!([{"type": "value", "options": day_names()}]))]),
        ],
    )
    .row(
        "Contributors",
        [
            table(
                "Top contributors",
                "Authors of commits to the default branches in the time range, merge commits left \
                 out. Names are what labels.people makes of them.",
            )
            .sized(12, 10)
            .when_empty("No commits in this time range")
            .label("author", "Author")
            .column("Commits", Unit::Count, by_author("age_contributor_commits_count"))
            .column("Lines added", Unit::Count, by_author("age_contributor_additions"))
            .column("Lines deleted", Unit::Count, by_author("age_contributor_deletions"))
            .sorted_by("Commits"),
            bar_chart(
                "Lines by contributor",
                "Lines that commits to the default branches added and deleted in the time range, of \
                 the fifteen authors with the most.",
            )
            .sized(12, 10)
            .from_zero()
            .when_empty("No commits in this time range")
            .label("author", "Author")
            .column("Added", Unit::Count, top_lines("age_contributor_additions"))
            .column("Deleted", Unit::Count, top_lines("age_contributor_deletions"))
            .override_of("Added", &[("color", json!({"mode": "fixed", "fixedColor": "green"}))])
            .override_of("Deleted", &[("color", json!({"mode": "fixed", "fixedColor": "red"}))]),
        ],
    )
    .row("Projects", overview())
    .row("Security", security())
}

/// Where there are hours and days: where commits are counted.
const WHERE_COUNTED: &str = "and on () sum(increase(age_repository_commit_count{..}[1h]))";
const NO_COMMITS: &str = "No commits; the count needs the role Reporter";
const NO_WEEK: &str =
    "Nothing yet. A bar stands for seven days: choose two weeks or more. Needs the role Reporter";

/// The rows of a week.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Their names instead of their numbers.
fn day_names() -> Map<String, Value> {
    let names = DAYS.iter().enumerate();
    names
        .map(|(index, day)| (index.to_string(), json!({"text": day, "index": index})))
        .collect()
}

/// The columns of a row in their order: the day, then its hours.
fn order() -> Value {
    let hours = (0..24).map(|hour| (hour.to_string(), json!(hour + 1)));
    let mut order: Map<String, Value> = hours.collect();
    order.insert("Day".to_owned(), json!(0));
    Value::Object(order)
}

fn by_author(metric: &str) -> String {
    format!("sum by (author) ({})", increase(metric, "..", "$__range"))
}

/// Lines of the authors with the most added and deleted ones together.
fn top_lines(metric: &str) -> String {
    let either = ["age_contributor_additions", "age_contributor_deletions"]
        .map(|metric| increase(metric, "..", "$__range"));
    format!(
        "{} and on (author) topk(15, sum by (author) ({} or label_replace({}, \"lines\", \"deleted\", \
         \"\", \"\")) > 0)",
        by_author(metric),
        either[0],
        either[1]
    )
}

/// A number of each project, and its sum.
fn of_project(metric: &str) -> String {
    format!("max by (project) ({metric}{{..}})")
}

fn overview() -> [Panel; 2] {
    [
        table(
            "Projects",
            "Branches, tags, open issues, stars and forks of each project, its releases, and when anybody \
             was last active in it.",
        )
        .sized(24, 9)
        .when_empty("No project yet")
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}")
        .column("Branches", Unit::Count, of_project("age_repository_branch_count"))
        .column("Tags", Unit::Count, of_project("age_repository_tag_count"))
        .column("Open issues", Unit::Count, of_project("age_repository_open_issues_count"))
        .column("Stars", Unit::Count, of_project("age_repository_star_count"))
        .column("Forks", Unit::Count, of_project("age_repository_fork_count"))
        .column("Releases", Unit::Count, of_project("age_release_count"))
        .column(
            "Last release",
            Unit::Ago,
            format!("1000 * {}", of_project("age_release_latest_timestamp")),
        )
        .column(
            "Last active",
            Unit::Ago,
            format!("1000 * {}", of_project("age_repository_last_activity_timestamp")),
        )
        .sorted_by("Last active"),
        table(
            "Storage",
            "Storage of each project other than its Git repository. Needs the role Reporter.",
        )
        .sized(24, 9)
        .when_empty("No sizes available; they need the role Reporter")
        .label("project", "Project")
        .column("Repository", Unit::Bytes, of_project("age_repository_size_bytes"))
        .column("LFS", Unit::Bytes, of_project("age_repository_lfs_size_bytes"))
        .column("Artifacts", Unit::Bytes, of_project("age_repository_artifacts_size_bytes"))
        .column("Packages", Unit::Bytes, of_project("age_repository_packages_size_bytes"))
        .column("Images", Unit::Bytes, of_project("age_repository_container_registry_size_bytes"))
        .column("Wiki", Unit::Bytes, of_project("age_repository_wiki_size_bytes"))
        .sorted_by("Artifacts"),
    ]
}

fn security() -> [Panel; 2] {
    const NONE: &str = "No vulnerability, or the collector security is disabled (GitLab Ultimate)";
    let found = "max by (project, severity) (age_vulnerability_count{..})";
    [
        bar_chart(
            "Vulnerabilities by severity",
            "Vulnerabilities of the default branches that are detected or confirmed.",
        )
        .sized(8, 8)
        .from_zero()
        .when_empty(NONE)
        .label("severity", "Severity")
        .coloured_by("Severity")
        .column(
            "Vulnerabilities",
            Unit::Count,
            format!("sum by (severity) ({found})"),
        ),
        table(
            "Vulnerabilities by project",
            "Vulnerabilities of each project's default branch that are detected or confirmed.",
        )
        .sized(16, 8)
        .when_empty(NONE)
        .label("project", "Project")
        .linked("${gitlab_url:raw}/${__data.fields.project}/-/security/vulnerability_report")
        .label("severity", "Severity")
        .column(
            "Vulnerabilities",
            Unit::Count,
            format!("sort_desc({found} > 0)"),
        ),
    ]
}
