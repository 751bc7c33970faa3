//! Ten alerts and recordings as people write them, before and after.

use super::*;
use crate::migrate::promql::assert_ours;

/// Alert rules on the metrics of the old program.
const RULES: &str = r#"# Alerts of the CI team
groups:
  - name: ci
    rules:
      - alert: MainBroken          # 1
        expr: gitlab_ci_pipeline_status{ref="main", status="failed"} == 1
        for: 5m
        annotations:
          summary: 'pipeline of {{ $labels.project }} failed'
      - alert: PipelineStuck # 2
        expr: |
          # older than two hours
          time() - gitlab_ci_pipeline_timestamp > 7200
          and on (project, kind, ref)
          gitlab_ci_pipeline_status{status="running"} == 1
        labels: {severity: warning}
      - alert: JobQueue # 3
        expr: >-
          max by (project, job_name, tag_list)
          (gitlab_ci_pipeline_job_queued_duration_seconds) > 600
        annotations:
          summary: "{{ $labels.job_name }} waits for {{ $labels.tag_list }}"
      - {alert: Coverage, expr: 'gitlab_ci_pipeline_coverage{kind="branch"} < 80'} # 4
      - alert: Tests # 5
        expr: "sum by (project, test_suite_name) (gitlab_ci_pipeline_test_suite_failed_count) > 0"
        annotations:
          summary: "suite {{ $labels.test_suite_name }} of {{ $labels.project }}"
      - alert: ProductionBehind # 6
        expr: gitlab_ci_environment_behind_commits_count{environment="production"} > 20
      - alert: DeployedCommit # 7
        expr: gitlab_ci_environment_information{current_commit_short_id="abc"}
      - alert: NoRuns # 8
        expr: increase(gitlab_ci_pipeline_run_count{ref="main"}[1d]) == 0
      - record: gitlab_ci_failures:count # 9
        expr: count by (project) (gitlab_ci_pipeline_job_status{status="failed"} == 1)
      - alert: ManyFailures # 10
        expr: gitlab_ci_failures:count > 10
      - alert: ExporterDown
        expr: up{job="gcpe"} == 0
"#;

#[test]
fn ten_rules_are_rewritten_and_everything_else_stays() {
    let names = Names {
        recorded: recorded_names("r.yml", RULES)
            .unwrap()
            .into_iter()
            .collect(),
    };
    let (new, report) = rules("r.yml", RULES, &names).unwrap();
    let expected = RULES
        .replace(
            "gitlab_ci_pipeline_status{ref=\"main\", status=\"failed\"} == 1",
            "'age_pipeline_status{ref=\"main\",status=\"failed\"} == 1'",
        )
        .replace(
            r#"|
          # older than two hours
          time() - gitlab_ci_pipeline_timestamp > 7200
          and on (project, kind, ref)
          gitlab_ci_pipeline_status{status="running"} == 1"#,
            "'time() - age_pipeline_updated_timestamp > 7200 and on (project, kind, ref) \
             age_pipeline_status{status=\"running\"} == 1'",
        )
        .replace(
            r#">-
          max by (project, job_name, tag_list)
          (gitlab_ci_pipeline_job_queued_duration_seconds) > 600"#,
            "'max by (project, job_name) (age_job_last_run_queued_duration_seconds) > 600'",
        )
        .replace("gitlab_ci_pipeline_coverage", "age_pipeline_coverage")
        .replace(
            "\"sum by (project, test_suite_name) (gitlab_ci_pipeline_test_suite_failed_count) > 0\"",
            "'sum by (project, suite_name) (age_test_suite_failed_count) > 0'",
        )
        .replace(
            "\"suite {{ $labels.test_suite_name }} of {{ $labels.project }}\"",
            "'suite {{ $labels.suite_name }} of {{ $labels.project }}'",
        )
        .replace(
            "gitlab_ci_environment_behind_commits_count{environment=\"production\"} > 20",
            "'age_environment_behind_commits{environment=\"production\"} > 20'",
        )
        .replace(
            "gitlab_ci_environment_information{current_commit_short_id=\"abc\"}",
            "'age_environment_info{commit=\"abc\"}'",
        )
        .replace(
            "increase(gitlab_ci_pipeline_run_count{ref=\"main\"}[1d]) == 0",
            "'increase(age_pipeline_run_count{ref=\"main\"}[1d]) == 0'",
        )
        .replace(
            "count by (project) (gitlab_ci_pipeline_job_status{status=\"failed\"} == 1)",
            "'count by (project) (age_job_status{status=\"failed\"} == 1)'",
        );
    assert_eq!(new, expected);
    assert_eq!(report.migrated, 9);
    let left: Vec<String> = report
        .of(NoteKind::Left)
        .map(|note| note.place.clone())
        .collect();
    assert_eq!(left, Vec::<String>::new());
    let said = report.to_string();
    for part in [
        "r.yml:19: alert JobQueue: tag_list has no counterpart, and was removed from by()",
        "r.yml:19: alert JobQueue: its text shows the label tag_list, which has no counterpart",
        "alert ProductionBehind: age_environment_behind_commits: compares with the default branch",
        "alert NoRuns: age_pipeline_run_count: counts",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    for map in yaml_text::maps("new", &new).unwrap() {
        if let Some(expr) = map.text("expr").filter(|expr| expr.value.contains("age_")) {
            assert_ours(&expr.value);
        }
    }
}

#[test]
fn rules_of_kubernetes_and_several_documents_are_found() {
    let text = "kind: PrometheusRule\nspec:\n  groups:\n  - rules:\n    - alert: A\n      expr: gitlab_ci_pipeline_id > 0\n---\n\
                groups:\n- rules:\n  - expr: |-\n      gitlab_ci_pipeline_id\n      == 0\n    record: b\n";
    let (new, report) = rules("r.yml", text, &Names::default()).unwrap();
    assert_eq!(report.migrated, 2);
    assert!(
        new.contains("      expr: 'age_pipeline_id > 0'\n---\n"),
        "{new}"
    );
    assert!(
        new.ends_with("  - expr: 'age_pipeline_id == 0'\n    record: b\n"),
        "{new}"
    );
}

#[test]
fn other_files_are_refused() {
    let said = |text: &str| {
        rules("r.yml", text, &Names::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        said("a: 1"),
        "r.yml holds no rules, so there is nothing to rewrite; name a file that does"
    );
    assert!(
        said("a: [").starts_with("r.yml:2: not valid YAML"),
        "{}",
        said("a: [")
    );
}

proptest::proptest! {
    /// Whatever stands around an expression, it stays valid YAML with the same texts.
    #[test]
    fn what_stands_around_stays(
        before in "[a-zäé# ]{0,12}",
        after in "[a-zäé:# ]{0,12}",
        style in 0..4_usize,
    ) {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let expr = match style {
            0 => "gitlab_ci_pipeline_id > 0".to_owned(),
            1 => "|\n    gitlab_ci_pipeline_id\n    > 0\n\n".to_owned(),
            2 => ">+\n    gitlab_ci_pipeline_id\n    > 0".to_owned(),
            _ => "'gitlab_ci_pipeline_id\n    > 0' # é".to_owned(),
        };
        let text = format!("- a: {}\n  expr: {expr}\n  b: {}\n- c: ü\n", quoted(&before), quoted(&after));
        let (new, _) = rules("r.yml", &text, &Names::default()).unwrap();
        let maps = yaml_text::maps("r.yml", &new).unwrap();
        proptest::prop_assert_eq!(maps.len(), 2);
        proptest::prop_assert_eq!(&maps[0].text("a").unwrap().value, &before);
        proptest::prop_assert_eq!(&maps[0].text("b").unwrap().value, &after);
        proptest::prop_assert_eq!(&maps[0].text("expr").unwrap().value, "age_pipeline_id > 0");
        proptest::prop_assert_eq!(&maps[1].text("c").unwrap().value, "ü");
    }
}
