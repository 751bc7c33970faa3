//! The metrics of gitlab-ci-pipelines-exporter, for the time of change: names, types and labels are its.
//!
//! They are part of no collector's list and of no document of ours, and exist only with
//! `compat.gitlab_ci_metrics`.

use super::labels::{
    EnvironmentLabels, EnvironmentStatusLabels, OldCaseLabels, OldCaseStatusLabels,
    OldEnvironmentInfoLabels, OldJobLabels, OldJobStatusLabels, OldPipelineLabels,
    OldPipelineStatusLabels, OldSuiteLabels,
};
use super::{Collector, Counter, Desc, Gauge, Spec};
use crate::types::Tier;

const fn spec(name: &'static str, unit: &'static str, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::Compat,
        tier: Tier::Free,
        plan: false,
    }
}

/// Declares metrics and their list, in the order of `/metrics`.
macro_rules! metrics {
    ($($id:ident: $kind:ident<$labels:ty> = $name:literal, $unit:literal, $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub static $id: $kind<$labels> = $kind::new(spec($name, $unit, $help));
        )*

        /// This file's entries, in the order of `/metrics`.
        pub static ENTRIES: &[&Desc] = &[$(&$id.desc),*];
    };
}

metrics! {
    PIPELINE_ID: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_id", "", "Id of the newest pipeline";
    PIPELINE_STATUS: Gauge<OldPipelineStatusLabels> =
        "gitlab_ci_pipeline_status", "", "Status of the newest pipeline";
    PIPELINE_DURATION: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_duration_seconds", "s", "Duration of the newest pipeline in seconds";
    PIPELINE_QUEUED: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_queued_duration_seconds", "s",
        "Time that the newest pipeline waited before it started, in seconds";
    PIPELINE_COVERAGE: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_coverage", "%", "Coverage of the newest pipeline in percent";
    PIPELINE_TIMESTAMP: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_timestamp", "s", "When the newest pipeline last changed, in seconds since the Unix epoch";
    PIPELINE_RUN_COUNT: Counter<OldPipelineLabels> =
        "gitlab_ci_pipeline_run_count", "", "Pipelines created";
    JOB_ID: Gauge<OldJobLabels> =
        "gitlab_ci_pipeline_job_id", "", "Id of the newest job";
    JOB_STATUS: Gauge<OldJobStatusLabels> =
        "gitlab_ci_pipeline_job_status", "", "Status of the newest job";
    JOB_DURATION: Gauge<OldJobLabels> =
        "gitlab_ci_pipeline_job_duration_seconds", "s", "Duration of the newest job in seconds";
    JOB_QUEUED: Gauge<OldJobLabels> =
        "gitlab_ci_pipeline_job_queued_duration_seconds", "s",
        "Time that the newest job waited before it started, in seconds";
    JOB_TIMESTAMP: Gauge<OldJobLabels> =
        "gitlab_ci_pipeline_job_timestamp", "s", "When the newest job was created, in seconds since the Unix epoch";
    JOB_ARTIFACT_SIZE: Gauge<OldJobLabels> =
        "gitlab_ci_pipeline_job_artifact_size_bytes", "By", "Size of the artifacts of the newest job in bytes";
    JOB_RUN_COUNT: Counter<OldJobLabels> =
        "gitlab_ci_pipeline_job_run_count", "", "Finished runs of the job";
    REPORT_TOTAL_TIME: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_test_report_total_time", "s", "Duration of all tests of the newest finished pipeline";
    REPORT_TOTAL_COUNT: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_test_report_total_count", "", "Tests of the newest finished pipeline";
    REPORT_SUCCESS_COUNT: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_test_report_success_count", "", "Passed tests of the newest finished pipeline";
    REPORT_FAILED_COUNT: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_test_report_failed_count", "", "Failed tests of the newest finished pipeline";
    REPORT_SKIPPED_COUNT: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_test_report_skipped_count", "", "Skipped tests of the newest finished pipeline";
    REPORT_ERROR_COUNT: Gauge<OldPipelineLabels> =
        "gitlab_ci_pipeline_test_report_error_count", "", "Broken tests of the newest finished pipeline";
    SUITE_TOTAL_TIME: Gauge<OldSuiteLabels> =
        "gitlab_ci_pipeline_test_suite_total_time", "s", "Duration of the tests of the suite";
    SUITE_TOTAL_COUNT: Gauge<OldSuiteLabels> =
        "gitlab_ci_pipeline_test_suite_total_count", "", "Tests of the suite";
    SUITE_SUCCESS_COUNT: Gauge<OldSuiteLabels> =
        "gitlab_ci_pipeline_test_suite_success_count", "", "Passed tests of the suite";
    SUITE_FAILED_COUNT: Gauge<OldSuiteLabels> =
        "gitlab_ci_pipeline_test_suite_failed_count", "", "Failed tests of the suite";
    SUITE_SKIPPED_COUNT: Gauge<OldSuiteLabels> =
        "gitlab_ci_pipeline_test_suite_skipped_count", "", "Skipped tests of the suite";
    SUITE_ERROR_COUNT: Gauge<OldSuiteLabels> =
        "gitlab_ci_pipeline_test_suite_error_count", "", "Broken tests of the suite";
    CASE_TIME: Gauge<OldCaseLabels> =
        "gitlab_ci_pipeline_test_case_execution_time", "s", "Duration of the test case in seconds";
    CASE_STATUS: Gauge<OldCaseStatusLabels> =
        "gitlab_ci_pipeline_test_case_status", "", "Result of the test case";
    ENVIRONMENT_INFORMATION: Gauge<OldEnvironmentInfoLabels> =
        "gitlab_ci_environment_information", "", "Always 1; the labels describe the environment";
    ENVIRONMENT_BEHIND_COMMITS: Gauge<EnvironmentLabels> =
        "gitlab_ci_environment_behind_commits_count", "", "Commits that are not deployed to the environment";
    ENVIRONMENT_BEHIND_DURATION: Gauge<EnvironmentLabels> =
        "gitlab_ci_environment_behind_duration_seconds", "s",
        "How long the environment is behind, in seconds; 0 if it has every commit";
    ENVIRONMENT_DEPLOYMENT_COUNT: Counter<EnvironmentLabels> =
        "gitlab_ci_environment_deployment_count", "", "Successful deployments";
    ENVIRONMENT_DEPLOYMENT_DURATION: Gauge<EnvironmentLabels> =
        "gitlab_ci_environment_deployment_duration_seconds", "s", "Duration of the last successful deployment";
    ENVIRONMENT_DEPLOYMENT_JOB_ID: Gauge<EnvironmentLabels> =
        "gitlab_ci_environment_deployment_job_id", "", "Id of the job of the last successful deployment";
    ENVIRONMENT_DEPLOYMENT_STATUS: Gauge<EnvironmentStatusLabels> =
        "gitlab_ci_environment_deployment_status", "", "Status of the last successful deployment";
    ENVIRONMENT_DEPLOYMENT_TIMESTAMP: Gauge<EnvironmentLabels> =
        "gitlab_ci_environment_deployment_timestamp", "s",
        "When the last successful deployment started, in seconds since the Unix epoch";
}

/// The statuses of pipelines and jobs there.
pub const STATUSES: [&str; 13] = [
    "created",
    "waiting_for_resource",
    "preparing",
    "pending",
    "running",
    "success",
    "failed",
    "canceled",
    "skipped",
    "manual",
    "scheduled",
    "error",
    "success_with_warnings",
];
