//! The queries of the three public dashboards of the old program, in our words: pipelines, jobs, and
//! environments with their deployments.

use serde_json::json;

use super::*;
use crate::migrate::promql::assert_ours;

fn target(expr: &str, legend: &str) -> Value {
    json!({"refId": "A", "expr": expr, "legendFormat": legend})
}

fn panel(title: &str, targets: &[Value]) -> Value {
    json!({"title": title, "gridPos": {}, "targets": targets})
}

fn variable(name: &str, query: &str) -> Value {
    json!({"name": name, "type": "query", "definition": query, "query": {"query": query, "refId": "V"}})
}

/// Expressions of a dashboard, as they stand in it.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if EXPRESSIONS.contains(&key.as_str()) => {
                        found.push(text.clone())
                    }
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

fn migrated(board: &Value) -> (Value, Report) {
    let (text, report) = dashboard("d.json", &board.to_string(), &Names::default()).unwrap();
    let new: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    expressions(&new, &mut found);
    for text in found.iter().filter(|text| text.contains("age_")) {
        match function(text) {
            Some(Call::LabelValues { metric, .. } | Call::QueryResult(metric)) => {
                assert_ours(metric)
            }
            _ => assert_ours(text),
        }
    }
    (new, report)
}

fn left(report: &Report) -> Vec<String> {
    report
        .of(NoteKind::Left)
        .map(|note| format!("{}: {}", note.place, note.sentence))
        .collect()
}

#[test]
fn pipelines() {
    let selector = "{project=~\"$project\",ref=~\"$ref\",kind=~\"$kind\"}";
    let now = "{kind=~\"$kind\",project=~\"$project\",ref=~\"$ref\"}";
    let old = |name: &str| format!("gitlab_ci_pipeline_{name}{selector}");
    let board = json!({
        "title": "pipelines",
        "templating": {"list": [
            variable("project", "label_values(gitlab_ci_pipeline_id, project)"),
            variable("ref", "label_values(gitlab_ci_pipeline_id{project=~\"$project\"}, ref)"),
        ]},
        "panels": [
            panel("Projects", &[target(&format!("count(count by (project) ({}))", old("id")), "")]),
            panel("Failing", &[target(
                &format!("sum(gitlab_ci_pipeline_status{{status=~\"failed|canceled\",{})", &selector[1..]), "x")]),
            panel("Duration", &[target(&format!("avg by (project, ref) ({})", old("duration_seconds")), "{{project}} {{ ref }}")]),
            panel("Age", &[target(&format!("time() - max by (project, ref, kind) ({})", old("timestamp")), "")]),
            panel("Runs", &[target(&format!("sum(increase({}[$__range]))", old("run_count")), "")]),
            {"type": "row", "title": "more", "gridPos": {}, "panels": [
                panel("Table", &[
                    target(&format!("max by (project, ref, kind) ({})", old("id")), ""),
                    target(&format!("max by (project, ref, kind, status) ({} > 0)", old("status")), ""),
                    target(&format!("max by (project, ref, kind) ({})", old("coverage")), ""),
                ])
            ]},
        ],
    });
    let (new, report) = migrated(&board);
    assert_eq!(left(&report), Vec::<String>::new());
    assert_eq!(
        new["panels"][0]["targets"][0]["expr"],
        format!("count(count by (project) (age_pipeline_id{now}))")
    );
    assert_eq!(
        new["panels"][4]["targets"][0]["expr"],
        format!("sum(increase(age_pipeline_run_count{now}[$__range]))")
    );
    assert_eq!(
        new["panels"][5]["panels"][0]["targets"][1]["expr"],
        format!("max by (project, ref, kind, status) (age_pipeline_status{now} > 0)")
    );
    assert_eq!(
        new["templating"]["list"][1]["query"]["query"],
        "label_values(age_pipeline_id{project=~\"$project\"}, ref)"
    );
    assert_eq!(
        new["templating"]["list"][0]["definition"],
        "label_values(age_pipeline_id, project)"
    );
    let places: Vec<&str> = report
        .of(NoteKind::Changed)
        .map(|note| note.place.as_str())
        .collect();
    assert!(places.contains(&"d.json: panel \"Runs\""), "{places:?}");
}

#[test]
fn jobs() {
    let selector = "{project=~\"$project\",ref=~\"$ref\",job_name=~\"$job_name\"}";
    let now = "{job_name=~\"$job_name\",project=~\"$project\",ref=~\"(tags/)?(?:$ref)\"}";
    let old = |name: &str| format!("gitlab_ci_pipeline_job_{name}{selector}");
    let by = "project, ref, kind, job_name";
    let board = json!({
        "templating": {"list": [variable("job_name", "label_values(gitlab_ci_pipeline_job_id, job_name)")]},
        "panels": [
            panel("Count", &[target(&format!("count({})", old("id")), "")]),
            panel("Failed", &[target(&format!("sum by ({by}) (gitlab_ci_pipeline_job_status{{status=\"failed\",{})", &selector[1..]), "")]),
            panel("Duration", &[target(&format!("max by ({by}) ({})", old("duration_seconds")), "{{job_name}} on {{runner_description}}")]),
            panel("Size", &[target(&format!("sum({})", old("artifact_size_bytes")), "")]),
            panel("Age", &[target(&format!("time() - max by ({by}) ({})", old("timestamp")), "")]),
            panel("Runs", &[target(&format!("sum by (job_name) (increase({}[$__interval]))", old("run_count")), "")]),
        ],
    });
    let (new, report) = migrated(&board);
    assert_eq!(left(&report), Vec::<String>::new());
    let expr = |place: usize| new["panels"][place]["targets"][0]["expr"].as_str().unwrap();
    assert_eq!(expr(0), format!("count(age_job_id{now})"));
    assert_eq!(
        expr(4),
        format!("time() - max by (project, ref, job_name) (age_job_created_timestamp{now})")
    );
    assert_eq!(
        expr(5),
        format!("sum by (job_name) (increase(age_job_run_count{now}[$__interval]))")
    );
    let said = report.to_string();
    for part in [
        "panel \"Duration\": kind has no counterpart, and was removed from by()",
        "panel \"Duration\": its legend shows the label runner_description, which has no counterpart",
        "panel \"Failed\": status failed includes jobs with allow_failure",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn environments() {
    let selector = "{project=~\"$project\",environment=~\"$environment\"}";
    let old = |name: &str| format!("gitlab_ci_environment_{name}{selector}");
    let board = json!({
        "templating": {"list": [
            variable("environment", "label_values(gitlab_ci_environment_information, environment)"),
            variable("commit", "label_values(gitlab_ci_environment_information, current_commit_short_id)"),
        ]},
        "annotations": {"list": [{"name": "deployments", "enable": true,
            "expr": "changes(gitlab_ci_environment_deployment_timestamp[1m]) > 0"}]},
        "panels": [
            panel("Deployments", &[target(&format!("sum(increase({}[1d]))", old("deployment_count")), "")]),
            panel("Status", &[target("gitlab_ci_environment_deployment_status{status=\"failed\"} == 1", "{{environment}}")]),
            panel("Since", &[target(&format!("time() - {}", old("deployment_timestamp")), "")]),
            panel("Duration", &[target(&old("deployment_duration_seconds"), "")]),
            panel("Job", &[target(&old("deployment_job_id"), "")]),
            panel("Behind", &[target(&format!("max by (project, environment) ({})", old("behind_commits_count")), "")]),
            {"title": "Commits", "gridPos": {}, "targets": [target(&old("information"), "")],
             "transformations": [{"id": "organize", "options": {"renameByName": {"latest_commit_short_id": "latest"}}}],
             "links": [{"url": "https://gitlab/environments/${__data.fields.environment_id}"}]},
            panel("Joined", &[target(
                "gitlab_ci_environment_behind_commits_count * on (project, environment) group_left (ref) \
                 gitlab_ci_environment_information", "")]),
        ],
    });
    let (new, report) = migrated(&board);
    let left = left(&report);
    let has = |part: &str| {
        assert!(
            left.iter().any(|note| note.contains(part)),
            "{part}\n{left:#?}"
        )
    };
    has("panel \"Job\": gitlab_ci_environment_deployment_job_id has no counterpart");
    has("panel \"Commits\": it names the label latest_commit_short_id outside of an expression");
    assert_eq!(left.len(), 2, "{left:#?}");
    assert_eq!(
        new["panels"][7]["targets"][0]["expr"],
        "age_environment_behind_commits * on (project, environment) group_left (ref) age_environment_info"
    );
    assert_eq!(new["panels"][4], board["panels"][4]);
    assert_eq!(
        new["panels"][6]["targets"][0]["expr"],
        "age_environment_info{environment=~\"$environment\",project=~\"$project\"}"
    );
    assert_eq!(
        new["annotations"]["list"][0]["expr"],
        "changes(age_environment_last_deployment_timestamp[1m]) > 0"
    );
    let commit = new["templating"]["list"][1].to_string();
    assert!(
        commit.contains("label_values(age_environment_info, commit)"),
        "{commit}"
    );
}

#[test]
fn the_form_of_the_api_is_known_and_other_files_are_refused() {
    let board = json!({"meta": {}, "dashboard": {"panels": [panel("a", &[target("gitlab_ci_pipeline_id", "")])]}});
    let (new, _) = migrated(&board);
    assert_eq!(
        new["dashboard"]["panels"][0]["targets"][0]["expr"],
        "age_pipeline_id"
    );
    let said = |text: &str| {
        dashboard("d.json", text, &Names::default())
            .unwrap_err()
            .to_string()
    };
    assert!(
        said("{").starts_with("d.json: not valid JSON ("),
        "{}",
        said("{")
    );
    assert_eq!(
        said("{}"),
        "d.json holds no dashboard with panels, so there is nothing to rewrite; name a file that does"
    );
    assert!(said("[1]").contains("no dashboard"));
}
