//! Labels that are rewritten or dropped.

use super::*;

#[test]
fn labels_that_no_rule_merges_are_not_dropped() {
    let said = |text: &str| problems_of(&format!("labels: {{{text}}}")).join("\n");
    for text in [
        "drop: {age_job_duration_seconds: [ref, stage], age_job_status: [failure_reason]}",
        "drop: {age_environment_info: [latest_commit], age_pipelines_active: [status]}",
        "job_name: {regexp: '-[0-9a-f]+$'}, ref: {regexp: ^f, replacement: g}",
    ] {
        assert_eq!(said(text), "", "{text}");
    }
    for (text, sentence) in [
        (
            "drop: {age_jobs_run_count: [ref]}",
            "labels.drop.age_jobs_run_count is not a metric; did you mean age_job_run_count?",
        ),
        (
            "drop: {age_build_info: [version]}",
            "labels.drop.age_build_info is not a metric of data from GitLab; remove it",
        ),
        (
            "drop: {age_job_run_count: [status]}",
            "labels.drop.age_job_run_count[0] \"status\" is not a label of age_job_run_count, which has job_name, \
             project, ref, stage",
        ),
        (
            "drop: {age_job_run_count: [stage, project]}",
            "labels.drop.age_job_run_count[1] \"project\" cannot be dropped: series belong to their project",
        ),
        (
            "drop: {age_dora_lead_time_for_changes_seconds: [environment_tier]}",
            "no rule merges several values of age_dora_lead_time_for_changes_seconds",
        ),
        (
            "drop: {age_job_status: [status]}",
            "the value alone does not say which status it is",
        ),
        (
            "ref: {replacement: x}",
            "labels.ref.replacement needs labels.ref.regexp",
        ),
    ] {
        let problems = said(text);
        assert!(problems.contains(sentence), "{text}\n{problems}");
    }
}
