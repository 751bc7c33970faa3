//! Every metric of the old program, and what it is here.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::labels::LabelNow;
use crate::catalogue::{Desc, FamilyId};

/// A metric of the old program.
#[derive(Debug)]
pub struct Family {
    /// Its name there.
    pub old: &'static str,
    /// Its type there, as Prometheus names it.
    pub kind: &'static str,
    /// Its labels there.
    pub labels: &'static [&'static str],
    /// What it is here.
    pub new: New,
    /// What is different; empty where nothing is.
    pub change: &'static str,
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.old == other.old
    }
}

impl Eq for Family {}

/// What a metric is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum New {
    /// A metric.
    Metric(&'static str),
    /// The sum of a metric.
    SumOf(&'static str),
    /// The number of a metric's series.
    CountOf(&'static str),
    /// Nothing, and why.
    Nothing(&'static str),
}

impl Family {
    /// The metric here, in the catalogue.
    pub(super) fn desc(&self) -> Option<&'static Desc> {
        match self.new {
            New::Metric(name) | New::SumOf(name) | New::CountOf(name) => {
                FamilyId::by_name(name).map(FamilyId::desc)
            }
            New::Nothing(_) => None,
        }
    }

    /// What a label of the old metric is here.
    pub(in crate::migrate) fn label(&self, old: &str) -> LabelNow {
        if !self.labels.contains(&old) {
            // Of the scrape: job, instance and the like.
            return LabelNow::Same;
        }
        let has = |name: &str| self.desc().is_some_and(|desc| desc.labels.contains(&name));
        let renamed = match old {
            "test_suite_name" => ["suite_name", "suite"].into_iter().find(|name| has(name)),
            "test_case_name" => has("case_name").then_some("case_name"),
            "available" => has("state").then_some("state"),
            "current_commit_short_id" => has("commit").then_some("commit"),
            "latest_commit_short_id" => has("latest_commit").then_some("latest_commit"),
            "username" => has("user").then_some("user"),
            _ => None,
        };
        match renamed {
            Some(name) => LabelNow::Renamed(name),
            None if has(old) => LabelNow::Same,
            None if old == "topics" => LabelNow::Empty,
            None => LabelNow::Nothing,
        }
    }
}

/// Labels of the old program that have no counterpart in any metric, under names that mean nothing else.
pub(in crate::migrate) const GONE: [&str; 7] = [
    "latest_commit_short_id",
    "current_commit_short_id",
    "runner_description",
    "tag_list",
    "test_suite_name",
    "test_case_name",
    "test_case_classname",
];

const PIPELINE: &[&str] = &["project", "topics", "kind", "ref", "source", "variables"];
const PIPELINE_STATUS: &[&str] = &[
    "project",
    "topics",
    "kind",
    "ref",
    "source",
    "variables",
    "status",
];
const JOB: &[&str] = &[
    "project",
    "topics",
    "kind",
    "ref",
    "source",
    "variables",
    "stage",
    "job_name",
    "runner_description",
    "tag_list",
    "failure_reason",
];
const JOB_STATUS: &[&str] = &[
    "project",
    "topics",
    "kind",
    "ref",
    "source",
    "variables",
    "stage",
    "job_name",
    "runner_description",
    "tag_list",
    "failure_reason",
    "status",
];
const SUITE: &[&str] = &[
    "project",
    "topics",
    "kind",
    "ref",
    "source",
    "variables",
    "test_suite_name",
];
const CASE: &[&str] = &[
    "project",
    "topics",
    "kind",
    "ref",
    "source",
    "variables",
    "test_suite_name",
    "test_case_name",
    "test_case_classname",
];
const CASE_STATUS: &[&str] = &[
    "project",
    "topics",
    "kind",
    "ref",
    "source",
    "variables",
    "test_suite_name",
    "test_case_name",
    "test_case_classname",
    "status",
];
const ENVIRONMENT: &[&str] = &["project", "environment"];
const ENVIRONMENT_STATUS: &[&str] = &["project", "environment", "status"];
const ENVIRONMENT_INFO: &[&str] = &[
    "project",
    "environment",
    "environment_id",
    "external_url",
    "kind",
    "ref",
    "latest_commit_short_id",
    "current_commit_short_id",
    "available",
    "username",
];

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

const fn family(
    old: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    new: New,
    change: &'static str,
) -> Family {
    Family {
        old,
        kind,
        labels,
        new,
        change,
    }
}

const COUNTED_ONCE: &str =
    "counts every pipeline or job once, and so more or fewer than before: check thresholds";
const TEST: &str = "of the newest finished pipeline of the ref, canceled ones included";

use New::{CountOf, Metric, Nothing, SumOf};

/// Every metric of the old program, in the order of its documents.
static FAMILIES: &[Family] = &[
    family(
        "gitlab_ci_pipeline_id",
        GAUGE,
        PIPELINE,
        Metric("age_pipeline_id"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_status",
        GAUGE,
        PIPELINE_STATUS,
        Metric("age_pipeline_status"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_duration_seconds",
        GAUGE,
        PIPELINE,
        Metric("age_pipeline_last_run_duration_seconds"),
        "absent while the pipeline runs, instead of 0",
    ),
    family(
        "gitlab_ci_pipeline_queued_duration_seconds",
        GAUGE,
        PIPELINE,
        Metric("age_pipeline_last_run_queued_duration_seconds"),
        "absent until the pipeline starts, instead of 0",
    ),
    family(
        "gitlab_ci_pipeline_coverage",
        GAUGE,
        PIPELINE,
        Metric("age_pipeline_coverage"),
        "absent if no job reports a coverage, instead of 0: averages and minima differ",
    ),
    family(
        "gitlab_ci_pipeline_timestamp",
        GAUGE,
        PIPELINE,
        Metric("age_pipeline_updated_timestamp"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_run_count",
        COUNTER,
        PIPELINE,
        Metric("age_pipeline_run_count"),
        COUNTED_ONCE,
    ),
    family(
        "gitlab_ci_pipeline_job_id",
        GAUGE,
        JOB,
        Metric("age_job_id"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_job_status",
        GAUGE,
        JOB_STATUS,
        Metric("age_job_status"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_job_duration_seconds",
        GAUGE,
        JOB,
        Metric("age_job_last_run_duration_seconds"),
        "absent while the job runs, instead of counting up: for running jobs use time() - \
         age_job_running_since_timestamp",
    ),
    family(
        "gitlab_ci_pipeline_job_queued_duration_seconds",
        GAUGE,
        JOB,
        Metric("age_job_last_run_queued_duration_seconds"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_job_timestamp",
        GAUGE,
        JOB,
        Metric("age_job_created_timestamp"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_job_artifact_size_bytes",
        GAUGE,
        JOB,
        Metric("age_job_artifact_size_bytes"),
        "",
    ),
    family(
        "gitlab_ci_pipeline_job_run_count",
        COUNTER,
        JOB,
        Metric("age_job_run_count"),
        COUNTED_ONCE,
    ),
    family(
        "gitlab_ci_pipeline_test_report_total_time",
        GAUGE,
        PIPELINE,
        Metric("age_test_report_total_time_seconds"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_report_total_count",
        GAUGE,
        PIPELINE,
        Metric("age_test_report_total_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_report_success_count",
        GAUGE,
        PIPELINE,
        Metric("age_test_report_success_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_report_failed_count",
        GAUGE,
        PIPELINE,
        Metric("age_test_report_failed_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_report_skipped_count",
        GAUGE,
        PIPELINE,
        Metric("age_test_report_skipped_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_report_error_count",
        GAUGE,
        PIPELINE,
        Metric("age_test_report_error_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_suite_total_time",
        GAUGE,
        SUITE,
        Metric("age_test_suite_duration_seconds"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_suite_total_count",
        GAUGE,
        SUITE,
        Metric("age_test_suite_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_suite_success_count",
        GAUGE,
        SUITE,
        Metric("age_test_suite_success_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_suite_failed_count",
        GAUGE,
        SUITE,
        Metric("age_test_suite_failed_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_suite_skipped_count",
        GAUGE,
        SUITE,
        Metric("age_test_suite_skipped_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_suite_error_count",
        GAUGE,
        SUITE,
        Metric("age_test_suite_error_count"),
        TEST,
    ),
    family(
        "gitlab_ci_pipeline_test_case_execution_time",
        GAUGE,
        CASE,
        Metric("age_test_case_last_duration_seconds"),
        "of the newest finished pipeline of the ref, canceled ones included; absent if the case was skipped",
    ),
    family(
        "gitlab_ci_pipeline_test_case_status",
        GAUGE,
        CASE_STATUS,
        Metric("age_test_case_status"),
        TEST,
    ),
    family(
        "gitlab_ci_environment_information",
        GAUGE,
        ENVIRONMENT_INFO,
        Metric("age_environment_info"),
        "latest_commit is the newest commit of the default branch, not of the deployed one",
    ),
    family(
        "gitlab_ci_environment_behind_commits_count",
        GAUGE,
        ENVIRONMENT,
        Metric("age_environment_behind_commits"),
        "compares with the default branch, not with the branch that was deployed: check thresholds",
    ),
    family(
        "gitlab_ci_environment_behind_duration_seconds",
        GAUGE,
        ENVIRONMENT,
        Metric("age_environment_behind_duration_seconds"),
        "the time since the last successful deployment ended, which grows until the next one: another value \
         under the same name, check thresholds",
    ),
    family(
        "gitlab_ci_environment_deployment_count",
        COUNTER,
        ENVIRONMENT,
        Metric("age_environment_deployment_count"),
        "counts every started deployment, not only successful ones",
    ),
    family(
        "gitlab_ci_environment_deployment_duration_seconds",
        GAUGE,
        ENVIRONMENT,
        Metric("age_environment_last_deployment_duration_seconds"),
        "",
    ),
    family(
        "gitlab_ci_environment_deployment_job_id",
        GAUGE,
        ENVIRONMENT,
        Nothing(
            "the job of the last successful deployment is the label job_id of age_environment_info, not a value",
        ),
        "",
    ),
    family(
        "gitlab_ci_environment_deployment_status",
        GAUGE,
        ENVIRONMENT_STATUS,
        Metric("age_environment_deployment_status"),
        "of the last started deployment, not of the job of the last successful one",
    ),
    family(
        "gitlab_ci_environment_deployment_timestamp",
        GAUGE,
        ENVIRONMENT,
        Metric("age_environment_last_deployment_timestamp"),
        "the end of the last successful deployment, not its creation; absent without one, instead of 0",
    ),
    family(
        "gcpe_projects_count",
        GAUGE,
        &[],
        Metric("age_projects_tracked"),
        "",
    ),
    family(
        "gcpe_gitlab_api_requests_count",
        GAUGE,
        &[],
        SumOf("age_api_requests_total"),
        "a counter by endpoint, method and status, with each retry",
    ),
    family(
        "gcpe_gitlab_api_requests_remaining",
        GAUGE,
        &[],
        Metric("age_api_rate_limit_remaining"),
        "absent if GitLab reports no limit, instead of 0",
    ),
    family(
        "gcpe_gitlab_api_requests_limit",
        GAUGE,
        &[],
        Metric("age_api_rate_limit_limit"),
        "absent if GitLab reports no limit, instead of 0",
    ),
    family(
        "gcpe_currently_queued_tasks_count",
        GAUGE,
        &[],
        Metric("age_tasks_queued"),
        "tasks of another scheduler: check thresholds",
    ),
    family("gcpe_metrics_count", GAUGE, &[], SumOf("age_series"), ""),
    family(
        "gcpe_environments_count",
        GAUGE,
        &[],
        CountOf("age_environment_info"),
        "",
    ),
    family(
        "gcpe_refs_count",
        GAUGE,
        &[],
        CountOf("age_pipeline_id"),
        "refs without a pipeline are not counted",
    ),
    family(
        "gcpe_executed_tasks_count",
        GAUGE,
        &[],
        Nothing(
            "executed tasks are not exported; age_collection_last_success_timestamp shows what works",
        ),
        "",
    ),
];

/// Every metric of the old program.
#[must_use]
pub fn families() -> &'static [Family] {
    FAMILIES
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Family>> =
    LazyLock::new(|| FAMILIES.iter().map(|family| (family.old, family)).collect());

/// The metric of a name.
pub(in crate::migrate) fn family_of(name: &str) -> Option<&'static Family> {
    BY_NAME.get(name).copied()
}

/// Every metric as a table in Markdown, for the documents.
#[must_use]
pub fn mapping_table() -> String {
    let mut text =
        String::from("| gitlab-ci-pipelines-exporter | here | different |\n|---|---|---|\n");
    for family in FAMILIES {
        let new = match family.new {
            Metric(name) => format!("`{name}`"),
            SumOf(name) => format!("`sum({name})`"),
            CountOf(name) => format!("`count({name})`"),
            Nothing(_) => "—".to_owned(),
        };
        let different = match family.new {
            Nothing(why) => why,
            _ => family.change,
        };
        text.push_str(&format!("| `{}` | {new} | {different} |\n", family.old));
    }
    text
}
