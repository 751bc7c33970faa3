//! GitLab's complexity of a query, computed as GitLab does (GitLab 19.3: `types/base_field.rb`,
//! `resolvers/base_resolver.rb`), to hold the batch sizes against its limit.

use std::collections::HashMap;

use graphql_parser::query::{
    Definition, Document, Field, OperationDefinition, Selection, SelectionSet, Value, parse_query,
};
use serde_json::Value as Json;

/// Points a query may cost with a token that is not an administrator's.
const LIMIT: u64 = 250;
/// Points that our largest may cost: a field more is a point more for each connection around it.
const MOST: u64 = 230;
/// Items of a page where `first` says nothing or more.
const PAGE: i64 = 100;

/// How a field counts.
#[derive(Clone, Copy)]
enum Cost {
    /// One point and its children.
    Plain,
    /// A resolver that returns one thing: points on top of its children.
    Resolver(i64),
    /// A resolver that returns a page: points on top of its children, then 1 % per item.
    Page(i64),
}

/// The fields of our queries that GitLab resolves by resolvers. `sort` has a default in
/// `mergeRequests`, which costs a point; `pipeline` is ten points cheaper.
fn cost(field: &str) -> Cost {
    match field {
        "projects" => Cost::Page(1),
        "mergeRequests" | "releases" | "pipelines" | "pipelineSchedules" | "issues" => {
            Cost::Page(2)
        }
        "notes" => Cost::Page(1),
        "mergedAt" | "closedAt" | "reviewers" => Cost::Resolver(5),
        "diffStatsSummary" => Cost::Resolver(2),
        "jobs" | "runners" | "managers" | "valueStreams" => Cost::Page(1),
        "stages" | "vulnerabilitySeveritiesCount" | "cycleTime" => Cost::Resolver(1),
        "languages" | "forksCount" | "rootRef" | "branchCount" | "tagCount" => Cost::Resolver(2),
        "pipeline" => Cost::Resolver(-8),
        "project" | "deployment" => Cost::Resolver(1),
        "tree" => Cost::Resolver(2),
        // Its own price; what it asks Gitaly for may come on top.
        "lastCommit" => Cost::Resolver(12),
        "testReportSummary" => Cost::Resolver(1),
        "metrics" | "leadTime" | "flowMetrics" | "licensedFeatureAvailability" => Cost::Resolver(1),
        _ => Cost::Plain,
    }
}

struct Calculation<'a> {
    document: &'a Document<'a, String>,
    variables: &'a HashMap<&'a str, Json>,
}

/// The complexity of the only operation in `query` with these variables.
pub(super) fn complexity(query: &str, variables: &HashMap<&str, Json>) -> u64 {
    let document = parse_query::<String>(query).unwrap();
    let calculation = Calculation {
        document: &document,
        variables,
    };
    let operation = document
        .definitions
        .iter()
        .find_map(|definition| match definition {
            Definition::Operation(OperationDefinition::Query(query)) => Some(query),
            _ => None,
        });
    calculation.set(&operation.unwrap().selection_set)
}

impl Calculation<'_> {
    fn set(&self, set: &SelectionSet<'_, String>) -> u64 {
        set.items
            .iter()
            .map(|selection| self.selection(selection))
            .sum()
    }

    fn selection(&self, selection: &Selection<'_, String>) -> u64 {
        match selection {
            Selection::Field(field) if self.included(field) => self.field(field),
            Selection::Field(_) => 0,
            Selection::FragmentSpread(spread) => {
                let fragment =
                    self.document
                        .definitions
                        .iter()
                        .find_map(|definition| match definition {
                            Definition::Fragment(fragment)
                                if fragment.name == spread.fragment_name =>
                            {
                                Some(fragment)
                            }
                            _ => None,
                        });
                self.set(&fragment.unwrap().selection_set)
            }
            Selection::InlineFragment(fragment) => self.set(&fragment.selection_set),
        }
    }

    fn included(&self, field: &Field<'_, String>) -> bool {
        field.directives.iter().all(|directive| {
            assert_eq!(directive.name, "include");
            self.value(&directive.arguments[0].1) == Json::Bool(true)
        })
    }

    fn field(&self, field: &Field<'_, String>) -> u64 {
        let children = self.set(&field.selection_set);
        let plus = |points: i64| children.saturating_add_signed(points);
        match cost(&field.name) {
            Cost::Plain => children + 1,
            Cost::Resolver(points) => plus(points),
            Cost::Page(points) => {
                let first = field
                    .arguments
                    .iter()
                    .find(|(name, _)| name == "first")
                    .and_then(|(_, value)| self.value(value).as_i64());
                let first = first.unwrap_or(PAGE).min(PAGE);
                plus(points) * 100_u64.saturating_add_signed(first) / 100
            }
        }
    }

    fn value(&self, value: &Value<'_, String>) -> Json {
        match value {
            Value::Variable(name) => self
                .variables
                .get(name.as_str())
                .cloned()
                .unwrap_or_default(),
            Value::Int(number) => number.as_i64().into(),
            Value::Boolean(flag) => (*flag).into(),
            _ => Json::Null,
        }
    }
}

mod tests {
    use super::*;
    use crate::gitlab::GitLab;
    use crate::gitlab::graphql::gaps::{Stripped, strip};
    use crate::gitlab::testing::truth;

    static DORA_TIERS: [&str; 5] = ["production", "staging", "testing", "development", "other"];

    /// The scores that a running GitLab gave our documents.
    #[test]
    fn gitlabs_own_scores_come_out() {
        let mut compared = 0;
        for recorded in ["recorded/19.3-ce", "recorded/19.3-ee"] {
            let Some(answers) = truth(&format!("{recorded}/graphql.jsonl")) else {
                return;
            };
            let answers = std::fs::read_to_string(answers).unwrap();
            for line in answers.lines() {
                let line: Json = serde_json::from_str(line).unwrap();
                let score = line["body"]["data"]["queryComplexity"]["score"].as_u64();
                let file = line["query"].as_str();
                // Those that begin with x_ ask for fields that ours do not have.
                let file = file.filter(|file| !file.starts_with("x_"));
                let (Some(score), Some(file)) = (score, file) else {
                    continue;
                };
                let file = truth(&format!("{recorded}/queries/{file}")).unwrap();
                let query = std::fs::read_to_string(file).unwrap();
                let variables = line["variables"].as_object().unwrap();
                let variables = variables
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.clone()));
                let ours = complexity(&query, &variables.collect());
                assert_eq!(ours, score, "line {}", line["id"]);
                compared += 1;
            }
        }
        assert!(compared > 200, "{compared}");
    }

    /// Everything that is asked of a pipeline.
    const WHOLE: [&str; 5] = ["jobs", "stages", "artifacts", "coverage", "bridges"];

    #[test]
    fn every_query_at_its_largest_stays_well_below_the_limit() {
        let changes = include_str!("queries/project_changes.graphql");
        let jobs = include_str!("queries/pipeline_jobs.graphql");
        let count = |n: usize| Json::from(n);
        let flags = |names: &'static [&'static str]| names.iter().map(|&name| (name, true.into()));
        let projects = |n: usize, pipelines: u32| {
            [
                ("projects", count(n)),
                ("pipelines", pipelines.into()),
                ("page", PAGE.into()),
                ("bridgesPage", GitLab::BRIDGES_PAGE.into()),
            ]
        };
        let cases: Vec<(&str, &'static str, HashMap<&str, Json>)> = vec![
            (
                "change feed, whole batch",
                changes,
                projects(GitLab::CHANGES_PROJECTS, GitLab::CHANGES_PIPELINES)
                    .into_iter()
                    .chain(flags(&["moved", "children"]))
                    .collect(),
            ),
            (
                "change feed, with jobs of active pipelines",
                changes,
                projects(GitLab::ACTIVE_PROJECTS, GitLab::CHANGES_PIPELINES)
                    .into_iter()
                    .chain(flags(&["moved", "children", "active", "activeChildren"]))
                    .chain([
                        ("activePipelines", count(GitLab::PIPELINE_IDS)),
                        ("jobsPage", GitLab::ACTIVE_JOBS.into()),
                    ])
                    .collect(),
            ),
            (
                "change feed, first poll",
                changes,
                projects(GitLab::FIRST_POLL_PROJECTS, GitLab::FIRST_POLL_PIPELINES)
                    .into_iter()
                    .chain(flags(&["moved", "children"]))
                    .collect(),
            ),
            (
                "change feed, next page of one project",
                changes,
                projects(1, 100)
                    .into_iter()
                    .chain(flags(&["moved"]))
                    .collect(),
            ),
            (
                "jobs, whole batch",
                jobs,
                projects(GitLab::JOBS_PROJECTS, GitLab::JOBS_PIPELINES)
                    .into_iter()
                    .chain(flags(&["moved", "children"]))
                    .chain(flags(&WHOLE))
                    .collect(),
            ),
            (
                "jobs, by ids",
                jobs,
                projects(GitLab::PIPELINE_IDS, 20)
                    .into_iter()
                    .chain(flags(&["moved"]))
                    .chain(flags(&WHOLE))
                    .collect(),
            ),
            (
                "jobs, next page of one project",
                jobs,
                projects(1, GitLab::JOBS_LIST)
                    .into_iter()
                    .chain(flags(&["moved"]))
                    .chain(flags(&WHOLE))
                    .collect(),
            ),
            (
                "jobs, one pipeline",
                jobs,
                projects(1, 1)
                    .into_iter()
                    .chain(flags(&["one"]))
                    .chain(flags(&WHOLE))
                    .collect(),
            ),
            (
                "tiers by licence",
                include_str!("queries/licensed_features.graphql"),
                projects(GitLab::TIER_PROJECTS, 0).into(),
            ),
            (
                "tiers by probing",
                include_str!("queries/feature_probe.graphql"),
                projects(GitLab::TIER_PROJECTS, 0).into(),
            ),
            (
                "projects of a group",
                include_str!("queries/project_list.graphql"),
                HashMap::from([
                    ("first", count(100)),
                    ("ofGroup", Json::Bool(true)),
                    ("branch", Json::Bool(true)),
                ]),
            ),
            (
                "permissions",
                include_str!("queries/project_permissions.graphql"),
                projects(GitLab::PERMISSION_PROJECTS, 0).into(),
            ),
            (
                "test reports",
                include_str!("queries/test_reports.graphql"),
                projects(GitLab::REPORT_PROJECTS, GitLab::REPORT_PIPELINES)
                    .into_iter()
                    .chain([("suites", count(100))])
                    .collect(),
            ),
            (
                "schedules",
                include_str!("queries/pipeline_schedules.graphql"),
                projects(GitLab::SCHEDULE_PROJECTS, 0)
                    .into_iter()
                    .chain([("schedules", count(100))])
                    .collect(),
            ),
            (
                "runners of projects",
                include_str!("queries/runners.graphql"),
                projects(GitLab::RUNNER_PROJECTS, 0)
                    .into_iter()
                    .chain([
                        ("some", Json::Bool(true)),
                        ("runners", count(100)),
                        ("managers", count(100)),
                    ])
                    .collect(),
            ),
            (
                "runners of the instance",
                include_str!("queries/runners.graphql"),
                HashMap::from([
                    ("all", Json::Bool(true)),
                    ("runners", count(100)),
                    ("managers", count(100)),
                ]),
            ),
            (
                "repositories",
                include_str!("queries/repositories.graphql"),
                HashMap::from([
                    ("projects", count(GitLab::REPOSITORIES)),
                    ("releases", count(10)),
                ]),
            ),
            (
                "tips of branches",
                include_str!("queries/branch_tips.graphql"),
                projects(GitLab::TIP_PROJECTS, 0)
                    .into_iter()
                    .chain(flags(&["names", "commits"]))
                    .collect(),
            ),
            (
                "incidents",
                include_str!("queries/incidents.graphql"),
                HashMap::from([
                    ("projects", count(GitLab::INCIDENT_PROJECTS)),
                    ("first", count(50)),
                ]),
            ),
            (
                "value streams",
                include_str!("queries/value_streams.graphql"),
                HashMap::from([
                    ("projects", count(GitLab::VALUE_STREAMS)),
                    ("streams", count(5)),
                ]),
            ),
            (
                "DORA",
                include_str!("queries/dora_metrics.graphql"),
                projects(GitLab::DORA_PROJECTS, 0)
                    .into_iter()
                    .chain(flags(&DORA_TIERS))
                    .collect(),
            ),
            (
                "merge requests with notes",
                include_str!("queries/merge_request_reviews.graphql"),
                HashMap::from([
                    ("projects", count(GitLab::REVIEWS_PROJECTS)),
                    ("first", GitLab::REVIEWS_PAGE.into()),
                    ("notes", count(100)),
                ]),
            ),
            (
                "census of merge requests",
                include_str!("queries/merge_request_census.graphql"),
                HashMap::from([
                    ("projects", count(GitLab::REVIEWS_PROJECTS)),
                    ("first", GitLab::CENSUS_PAGE.into()),
                ]),
            ),
        ];
        let places = [
            (
                "what deployments shipped",
                include_str!("queries/deployment_merge_requests.graphql"),
            ),
            (
                "deployments by number",
                include_str!("queries/deployments.graphql"),
            ),
            (
                "keys of variables",
                include_str!("queries/pipeline_variables.graphql"),
            ),
        ];
        let places = places.map(|(name, query)| {
            // Every place is filled.
            let flags = query.lines().filter(|line| line.ends_with(": Boolean!"));
            let flags = flags.filter_map(|line| line.trim().strip_prefix('$')?.split(':').next());
            let filled = flags.map(|flag| (flag, Json::from(true)));
            let filled = filled.chain([("first", count(20))]);
            (name, query, filled.collect())
        });
        for (name, query, variables) in cases.into_iter().chain(places) {
            let Stripped::Text(query) = strip(query, &[]) else {
                panic!("{name} is not sent");
            };
            let score = complexity(&query, &variables);
            println!("{name}: {score} of {LIMIT}, {} characters", query.len());
            assert!(score <= MOST, "{name}: {score}");
            assert!(query.len() < 10_000, "{name} is longer than GitLab reads");
        }
    }
}
