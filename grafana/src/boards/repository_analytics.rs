use serde_json::{Map, Value, json};

use super::{areas, bar_chart, bars, lines, matrix, pie, table};
use crate::{Dashboard, Unit, Variable};

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
                "Coverage that the newest pipeline of the default branch reports, by project.",
            )
            .sized(8, 9)
            .unit(Unit::Percent)
            .between(0.0, 100.0)
            .when_empty("No pipeline reports a coverage")
            .query("max by (project) (age_repository_coverage{..})", "{{project}}"),
            areas(
                "Repository size",
                "Size of the Git repositories without LFS objects. GitLab refreshes it with a delay.",
            )
            .sized(8, 9)
            .unit(Unit::Bytes)
            .from_zero()
            .when_empty("Sizes need the role Reporter")
            .query("max by (project) (age_repository_size_bytes{..})", "{{project}}"),
        ],
    )
    .row(
        "Commits to default branches",
        [
            bars("Commits per week", "Commits that came to the default branches in the seven days before each bar.")
                .sized(24, 8)
                .from_zero()
                .at_least_every("7d")
                .when_empty("Counting commits needs the role Reporter")
                .query("sum by (project) (increase(age_repository_commit_count{..}[7d]))", "{{project}}"),
            matrix(
                "Commits by weekday and hour",
                "When commits came to the default branches in the time range: a column for each hour \
                 in which the exporter saw them, in UTC. From blue for few to purple for many.",
            )
            .sized(24, 9)
            .at_least_every("1h")
            .when_empty("Counting commits needs the role Reporter")
            .words(&[(0.0, 0.49, "", "transparent")])
            .over_time()
            .query("sum(increase(age_repository_commit_count{..}[1h]))", "Commits")
            .query("hour(vector(time() - 1))", "Hour")
            .query("(day_of_week(vector(time() - 1)) + 6) % 7", "Day")
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
            .when_empty("Nobody committed in this time range")
            .label("author", "Author")
            .column("Commits", Unit::Count, by_author("age_contributor_commits_count", " > 0"))
            .column("Lines added", Unit::Count, by_author("age_contributor_additions", ""))
            .column("Lines deleted", Unit::Count, by_author("age_contributor_deletions", ""))
            .sorted_by("Commits"),
            bar_chart(
                "Lines by contributor",
                "Lines that commits to the default branches added and deleted in the time range, of \
                 the fifteen authors with the most.",
            )
            .sized(12, 10)
            .from_zero()
            .when_empty("Nobody committed in this time range")
            .label("author", "Author")
            .column("Added", Unit::Count, top_lines("age_contributor_additions"))
            .column("Deleted", Unit::Count, top_lines("age_contributor_deletions"))
            .override_of("Added", &[("color", json!({"mode": "fixed", "fixedColor": "green"}))])
            .override_of("Deleted", &[("color", json!({"mode": "fixed", "fixedColor": "red"}))]),
        ],
    )
}

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

fn by_author(metric: &str, filter: &str) -> String {
    format!("sum by (author) (increase({metric}{{..}}[$__range])){filter}")
}

/// Lines of the authors with the most added and deleted ones together.
fn top_lines(metric: &str) -> String {
    format!(
        "sum by (author) (increase({metric}{{..}}[$__range])) and on (author) topk(15, \
         sum by (author) (increase(age_contributor_additions{{..}}[$__range])) \
         + on (author) sum by (author) (increase(age_contributor_deletions{{..}}[$__range])) > 0)"
    )
}
