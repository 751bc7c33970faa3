//! Expressions before and after.

use std::collections::BTreeSet;

use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

use super::*;
use crate::catalogue::FamilyId;
use families::New;

fn outcome(text: &str) -> Outcome {
    expression(text, &Names::default())
}

pub(in crate::migrate) fn rewritten(text: &str) -> String {
    match outcome(text) {
        Outcome::Rewritten { text, .. } => text,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> String {
    match outcome(text) {
        Outcome::Refused(reason) => reason,
        other => panic!("{text}: {other:?}"),
    }
}

fn changes(text: &str) -> String {
    match outcome(text) {
        Outcome::Rewritten { changes, .. } => changes.join("\n"),
        other => panic!("{text}: {other:?}"),
    }
}

/// Checks that every metric of an expression is in the catalogue and has the labels it is selected by.
pub(in crate::migrate) fn assert_ours(text: &str) {
    struct Selectors;
    impl ExprVisitor for Selectors {
        type Error = String;
        fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
            let of = |selector: &VectorSelector| {
                let name = selector.name.clone().unwrap_or_default();
                let Some(id) = FamilyId::by_name(&name) else {
                    return Err(format!("{name} is not in the catalogue"));
                };
                for matcher in &selector.matchers.matchers {
                    let known = ["job", "instance"].contains(&matcher.name.as_str());
                    if !known && !id.desc().labels.contains(&matcher.name.as_str()) {
                        return Err(format!("{name} has no label {}", matcher.name));
                    }
                }
                Ok(())
            };
            match expr {
                Expr::VectorSelector(selector) => of(selector)?,
                Expr::MatrixSelector(selector) => of(&selector.vs)?,
                _ => {}
            }
            Ok(true)
        }
    }
    let parsed = variables::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    walk_expr(&mut Selectors, &parsed.expression).unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[test]
fn expressions_are_rewritten() {
    for (old, new) in [
        // The table of the facts.
        (
            "gitlab_ci_pipeline_status{status=\"failed\"} == 1",
            "age_pipeline_status{status=\"failed\"} == 1",
        ),
        (
            "time() - gitlab_ci_pipeline_timestamp",
            "time() - age_pipeline_updated_timestamp",
        ),
        (
            "increase(gitlab_ci_pipeline_run_count[1h])",
            "increase(age_pipeline_run_count[1h])",
        ),
        (
            "avg(gitlab_ci_pipeline_duration_seconds)",
            "avg(age_pipeline_last_run_duration_seconds)",
        ),
        (
            "time() - gitlab_ci_environment_deployment_timestamp",
            "time() - age_environment_last_deployment_timestamp",
        ),
        // Merge requests, tags and kinds.
        (
            "gitlab_ci_pipeline_id{kind=\"merge-request\",ref=~\"\\\\d+\"}",
            "age_pipeline_id{kind=\"merge-request\",ref=~\"merge-requests/.*\"}",
        ),
        (
            "gitlab_ci_pipeline_id{ref=\"42\"}",
            "age_pipeline_id{ref=\"merge-requests/42\"}",
        ),
        (
            "gitlab_ci_pipeline_id{kind=\"branch\",ref=\"42\"}",
            "age_pipeline_id{kind=\"branch\",ref=\"42\"}",
        ),
        (
            "gitlab_ci_pipeline_job_status{kind=\"branch\",status=\"failed\"}",
            "age_job_status{ref!~\"(tags|merge-requests)/.*\",status=\"failed\"}",
        ),
        (
            "gitlab_ci_pipeline_job_id{kind=\"tag\",ref=\"v1.0\"}",
            "age_job_id{ref=\"tags/v1.0\"}",
        ),
        (
            "gitlab_ci_pipeline_job_id{kind=\"merge-request\",ref=\"42\"}",
            "age_job_id{ref=\"merge-requests/42\"}",
        ),
        (
            "gitlab_ci_pipeline_job_id{kind=~\"branch|tag\"}",
            "age_job_id{ref!~\"merge-requests/.*\"}",
        ),
        (
            "gitlab_ci_pipeline_job_id{ref=~\"main|v.*\"}",
            "age_job_id{ref=~\"(tags/)?(?:main|v.*)\"}",
        ),
        (
            "gitlab_ci_pipeline_job_id{ref=~\".*\"}",
            "age_job_id{ref=~\".*\"}",
        ),
        (
            "gitlab_ci_pipeline_job_run_count{kind=\"merge-request\"}",
            "age_job_run_count{ref=~\"merge-requests/.*\"}",
        ),
        // Statuses.
        (
            "gitlab_ci_pipeline_status{status=\"success_with_warnings\",project=\"a\"} == 1",
            "age_pipeline_warnings{project=\"a\"} == 1",
        ),
        (
            "gitlab_ci_pipeline_status{status=~\"success|success_with_warnings\"}",
            "age_pipeline_status{status=~\"success|success_with_warnings\"}",
        ),
        // Labels with other names, and those that were always empty or match all.
        (
            "sum by (test_suite_name, topics) (gitlab_ci_pipeline_test_suite_failed_count{test_suite_name=\"a\"})",
            "sum by (suite_name) (age_test_suite_failed_count{suite_name=\"a\"})",
        ),
        (
            "gitlab_ci_pipeline_test_case_status{test_suite_name=\"a\",test_case_name=\"b\",status=\"failed\"}",
            "age_test_case_status{case_name=\"b\",status=\"failed\",suite=\"a\"}",
        ),
        (
            "gitlab_ci_pipeline_id{topics=~\".*\",source=~\".+\"}",
            "age_pipeline_id",
        ),
        (
            "gitlab_ci_environment_information{available=\"true\"}",
            "age_environment_info{state=\"available\"}",
        ),
        (
            "gitlab_ci_environment_information{available=\"false\"}",
            "age_environment_info{state!=\"available\"}",
        ),
        (
            "max by (ref, tag_list) (gitlab_ci_pipeline_job_timestamp)",
            "max by (ref) (age_job_created_timestamp)",
        ),
        (
            "label_replace(gitlab_ci_pipeline_test_suite_total_time, \"s\", \"$1\", \"test_suite_name\", \"(.*)\")",
            "label_replace(age_test_suite_duration_seconds, \"s\", \"$1\", \"suite_name\", \"(.*)\")",
        ),
        // The exporter itself.
        ("gcpe_projects_count > 0", "age_projects_tracked > 0"),
        (
            "rate(gcpe_gitlab_api_requests_count[5m])",
            "rate(age_api_requests_total[5m])",
        ),
        ("gcpe_metrics_count", "sum(age_series)"),
        (
            "gcpe_refs_count / gcpe_projects_count",
            "count(age_pipeline_id) / age_projects_tracked",
        ),
        // How vectors are matched.
        (
            "gitlab_ci_pipeline_timestamp and on(project, ref) gitlab_ci_pipeline_status{status=\"failed\"}",
            "age_pipeline_updated_timestamp and on (project, ref) age_pipeline_status{status=\"failed\"}",
        ),
        (
            "gitlab_ci_pipeline_id and ignoring(status) gitlab_ci_pipeline_status",
            "age_pipeline_id and on (kind, project, ref) age_pipeline_status",
        ),
        (
            "gitlab_ci_pipeline_coverage / gitlab_ci_pipeline_duration_seconds",
            "age_pipeline_coverage / on (kind, project, ref) age_pipeline_last_run_duration_seconds",
        ),
        (
            "up * on(project, topics) group_left(ref) gitlab_ci_pipeline_id",
            "up * on (project) group_left (ref) age_pipeline_id",
        ),
        // By name as a matcher; ranges, offsets, subqueries.
        (
            "{__name__=\"gitlab_ci_pipeline_id\",project=\"a\"}",
            "age_pipeline_id{project=\"a\"}",
        ),
        (
            "max_over_time(gitlab_ci_pipeline_coverage[1d:1h] offset 2d)",
            "max_over_time(age_pipeline_coverage[1d:1h] offset 2d)",
        ),
        // Variables of dashboards.
        (
            "topk($n, increase(gitlab_ci_pipeline_run_count{project=~\"$project\",ref=~\"$ref\"}[$__range]))",
            "topk($n, increase(age_pipeline_run_count{project=~\"$project\",ref=~\"$ref\"}[$__range]))",
        ),
        (
            "gitlab_ci_pipeline_job_duration_seconds{ref=~\"$ref\",job_name=~\"${job:regex}\"}",
            "age_job_last_run_duration_seconds{job_name=~\"${job:regex}\",ref=~\"(tags/)?(?:$ref)\"}",
        ),
    ] {
        assert_eq!(rewritten(old), new);
        if !new.starts_with("up ") {
            assert_ours(new);
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused_with_the_reason() {
    for (old, reason) in [
        ("gitlab_ci_pipeline_id{", "it is not valid PromQL ("),
        (
            "gitlab_ci_pipeline_nonsense",
            "gitlab_ci_pipeline_nonsense is no metric of",
        ),
        (
            "gitlab_ci_pipeline_id{source=\"push\"}",
            "selects by source, which age_pipeline_id does not have",
        ),
        (
            "gitlab_ci_pipeline_status{variables=~\".*A:b.*\"}",
            "age_pipeline_variable_info",
        ),
        (
            "gitlab_ci_pipeline_job_id{runner_description=\"r\"}",
            "age_job_runner_info",
        ),
        (
            "gitlab_ci_pipeline_job_id{kind=~\"$kind\"}",
            "kind is a dashboard variable",
        ),
        (
            "gitlab_ci_pipeline_run_count{ref=\"42\"}",
            "count_ref to iid",
        ),
        (
            "gitlab_ci_environment_deployment_job_id",
            "the label job_id of age_environment_info",
        ),
        (
            "gitlab_ci_pipeline_job_status{status=\"success_with_warnings\"}",
            "age_job_allowed_failures_total",
        ),
        (
            "gitlab_ci_pipeline_status{status=\"success_with_warnings\",source=\"push\"}",
            "neither source",
        ),
        (
            "{__name__=~\"gitlab_ci_pipeline_.*\"}",
            "by an expression for their names",
        ),
        (
            "gitlab_ci_environment_behind_commits_count * on(project, environment) \
             group_left(test_case_classname) gitlab_ci_pipeline_test_case_status",
            "takes the label test_case_classname",
        ),
        (
            "label_replace(gitlab_ci_pipeline_job_id, \"r\", \"$1\", \"runner_description\", \"(.*)\")",
            "reads the label runner_description",
        ),
        ("increase(gcpe_refs_count[1h])", "needs a subquery"),
        ("gitlab_ci_pipeline_id{topics=\"a\"}", "always empty"),
        (
            "gitlab_ci_pipeline_test_suite_total_count or gitlab_ci_pipeline_test_case_status",
            "",
        ),
    ] {
        match outcome(old) {
            Outcome::Refused(said) if !reason.is_empty() => {
                assert!(said.contains(reason), "{old}: {said}")
            }
            other if !reason.is_empty() => panic!("{old}: {other:?}"),
            _ => {}
        }
    }
    let mixed = "sum by (test_suite_name) ({__name__=\"gitlab_ci_pipeline_test_suite_total_count\"} or on(ref) \
                 gitlab_ci_pipeline_test_case_status)";
    assert!(refused(mixed).contains("several names here (suite, suite_name)"));
}

#[test]
fn long_and_nested_expressions_end() {
    let nested = |depth| {
        format!(
            "{}gitlab_ci_pipeline_id{}",
            "(".repeat(depth),
            ")".repeat(depth)
        )
    };
    assert!(refused(&nested(5_001)).contains("longer than 10000 bytes"));
    assert_eq!(
        rewritten(&nested(100)),
        nested(100).replace("gitlab_ci_", "age_")
    );
    let negative = format!("{}gitlab_ci_pipeline_id", "-".repeat(9_000));
    let sum = format!("gitlab_ci_pipeline_id{}", "-a".repeat(4_000));
    for text in [nested(4_900), negative, sum] {
        assert_ne!(outcome(&text), Outcome::Unchanged);
    }
}

#[test]
fn what_is_different_is_said() {
    for (old, part) in [
        (
            "gitlab_ci_environment_behind_duration_seconds > 3600",
            "another value under the same name",
        ),
        ("gitlab_ci_pipeline_coverage < 50", "instead of 0"),
        (
            "gitlab_ci_pipeline_status{status=\"success\"}",
            "age_pipeline_warnings is 1 for these",
        ),
        (
            "gitlab_ci_pipeline_job_status{status=\"failed\"}",
            "jobs with allow_failure",
        ),
        (
            "sum by (runner_description) (gitlab_ci_pipeline_job_id)",
            "removed from by()",
        ),
        (
            "gitlab_ci_pipeline_id{job=\"gcpe\"}",
            "selects the scrape of the old exporter",
        ),
        (
            "gitlab_ci_pipeline_id and ignoring(status) gitlab_ci_pipeline_status",
            "different labels here",
        ),
        (
            "gitlab_ci_pipeline_job_duration_seconds > 60",
            "age_job_running_since_timestamp",
        ),
    ] {
        assert!(changes(old).contains(part), "{old}: {}", changes(old));
    }
    assert_eq!(changes("gitlab_ci_pipeline_id"), "");
}

#[test]
fn what_is_not_of_the_old_program_stays() {
    let recorded = Names {
        recorded: BTreeSet::from(["gitlab_ci_failures:rate1h".to_owned()]),
    };
    for text in ["up == 0", "sum(", "gitlab_ci_failures:rate1h > 3"] {
        assert_eq!(expression(text, &recorded), Outcome::Unchanged, "{text}");
    }
    // The name stands in a text only.
    let text = "label_replace(up, \"a\", \"gitlab_ci_pipeline_id\", \"b\", \"\")";
    assert_eq!(outcome(text), Outcome::Unchanged);
}

/// Every metric by itself: it becomes one of the catalogue, or is refused with what the table says.
#[test]
fn every_metric_of_the_old_program_has_an_answer() {
    assert_eq!(families().len(), 45);
    for family in families() {
        match (outcome(family.old), family.new) {
            (Outcome::Rewritten { text, .. }, New::Metric(name)) => {
                assert_eq!(text, name);
                assert_ours(&text);
            }
            (Outcome::Rewritten { text, .. }, New::SumOf(_) | New::CountOf(_)) => {
                assert_ours(&text)
            }
            (Outcome::Refused(reason), New::Nothing(why)) => assert!(reason.contains(why)),
            (other, _) => panic!("{}: {other:?}", family.old),
        }
        if let New::Nothing(why) = family.new {
            for name in why
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| word.starts_with("age_"))
            {
                let name = name.trim_end_matches("_sum").trim_end_matches("_count");
                assert!(FamilyId::by_name(name).is_some(), "{name}");
            }
        }
    }
    assert!(mapping_table().contains("| `gitlab_ci_pipeline_id` | `age_pipeline_id` |  |"));
}

/// Groupings by every label of every metric keep only labels that are there.
#[test]
fn groupings_have_only_labels_that_exist() {
    for family in families()
        .iter()
        .filter(|family| matches!(family.new, New::Metric(_)))
    {
        let text = format!("sum by ({}) ({})", family.labels.join(", "), family.old);
        let Expr::Aggregate(aggregate) = parser::parse(&rewritten(&text)).unwrap() else {
            panic!("{text}")
        };
        let Some(LabelModifier::Include(labels)) = aggregate.modifier else {
            continue;
        };
        let desc = family.desc().unwrap();
        for label in &labels.labels {
            assert!(
                desc.labels.contains(&label.as_str()),
                "{}: {label}",
                family.old
            );
        }
    }
}
