//! Test reports of the newest pipeline of each ref.

use super::labels::{CaseLabels, CaseStatusLabels, ProjectRefLabels, SuiteLabels};
use super::{Buckets, Collector, CollectorDesc, Desc, Gauge, Histogram, Merge, Spec};
use crate::types::{Query, Tier};

/// The collector.
pub static COLLECTOR: CollectorDesc = CollectorDesc {
    title: "Test reports",
    about: "\
Counts and times of the newest finished pipeline of each ref, from the reports that its jobs
uploaded, including child pipelines in the same project.",
    role: "Reporter",
    tier: "Free",
    requests: "one query per 50 projects with finished pipelines; with `include_test_cases` one REST request per such pipeline",
    queries: &[Query::TestReports],
    entries: ENTRIES,
};

const fn spec(name: &'static str, unit: &'static str, plan: bool, help: &'static str) -> Spec {
    Spec {
        name,
        unit,
        help,
        collector: Collector::TestReports,
        tier: Tier::Free,
        plan,
    }
}

/// Time of all tests.
pub static TOTAL_TIME: Gauge<ProjectRefLabels> = Gauge::new(spec(
    "age_test_report_total_time_seconds",
    "s",
    true,
    "Total duration of the tests of the newest finished pipeline of the ref, as computed by GitLab \
     from the reports of each job's latest run, including child pipelines of the same project that \
     finished within three minutes. Absent if no job reported tests. Running, blocked and skipped \
     pipelines are not finished. Needs collectors.pipelines.",
))
.merged(Merge::Sum);

/// All tests.
pub static TOTAL_COUNT: Gauge<ProjectRefLabels> = Gauge::new(spec(
    "age_test_report_total_count",
    "",
    true,
    "Tests reported by the newest finished pipeline of the ref, with any result; each job's latest \
     run counts. Absent if no job reported tests.",
))
.merged(Merge::Sum);

/// Passed tests.
pub static SUCCESS_COUNT: Gauge<ProjectRefLabels> = Gauge::new(spec(
    "age_test_report_success_count",
    "",
    true,
    "Tests of the newest finished pipeline of the ref that passed.",
))
.merged(Merge::Sum);

/// Failed tests.
pub static FAILED_COUNT: Gauge<ProjectRefLabels> = Gauge::new(spec(
    "age_test_report_failed_count",
    "",
    true,
    "Tests of the newest finished pipeline of the ref that failed.",
))
.merged(Merge::Sum);

/// Skipped tests.
pub static SKIPPED_COUNT: Gauge<ProjectRefLabels> = Gauge::new(spec(
    "age_test_report_skipped_count",
    "",
    true,
    "Tests of the newest finished pipeline of the ref that were skipped.",
))
.merged(Merge::Sum);

/// Broken tests.
pub static ERROR_COUNT: Gauge<ProjectRefLabels> = Gauge::new(spec(
    "age_test_report_error_count",
    "",
    true,
    "Tests of the newest finished pipeline of the ref that ended with an error. A \
     suite whose report GitLab cannot read counts nothing.",
))
.merged(Merge::Sum);

/// Time of a suite.
pub static SUITE_DURATION: Gauge<SuiteLabels> = Gauge::new(spec(
    "age_test_suite_duration_seconds",
    "s",
    true,
    "Total duration of the tests of the suite in the newest finished pipeline of the ref.",
))
.merged(Merge::Sum);

/// Tests of a suite.
pub static SUITE_COUNT: Gauge<SuiteLabels> = Gauge::new(spec(
    "age_test_suite_count",
    "",
    true,
    "Tests in the suite in the newest finished pipeline of the ref.",
))
.merged(Merge::Sum);

/// Passed tests of a suite.
pub static SUITE_SUCCESS_COUNT: Gauge<SuiteLabels> = Gauge::new(spec(
    "age_test_suite_success_count",
    "",
    false,
    "Tests of the suite that passed in the newest finished pipeline of the ref.",
))
.merged(Merge::Sum);

/// Failed tests of a suite.
pub static SUITE_FAILED_COUNT: Gauge<SuiteLabels> = Gauge::new(spec(
    "age_test_suite_failed_count",
    "",
    false,
    "Tests of the suite that failed in the newest finished pipeline of the ref.",
))
.merged(Merge::Sum);

/// Skipped tests of a suite.
pub static SUITE_SKIPPED_COUNT: Gauge<SuiteLabels> = Gauge::new(spec(
    "age_test_suite_skipped_count",
    "",
    false,
    "Tests of the suite that were skipped in the newest finished pipeline of the ref.",
))
.merged(Merge::Sum);

/// Broken tests of a suite.
pub static SUITE_ERROR_COUNT: Gauge<SuiteLabels> = Gauge::new(spec(
    "age_test_suite_error_count",
    "",
    false,
    "Tests of the suite that ended with an error in the newest finished pipeline \
     of the ref.",
))
.merged(Merge::Sum);

/// Runs of a test case, by duration.
pub static CASE_DURATION: Histogram<CaseLabels> = Histogram::new(
    spec(
        "age_test_case_duration_seconds",
        "s",
        true,
        "Duration of a test case from GitLab's test report, observed once per finished pipeline among \
         those kept per ref (max_pipelines_per_ref), not for pipelines that finished before the \
         project's first poll; skipped cases are excluded. Merge requests are labeled by number. Only \
         with collectors.test_reports.include_test_cases.",
    ),
    Buckets::Fixed(&[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0]),
);

/// Result of a test case.
pub static CASE_STATUS: Gauge<CaseStatusLabels> = Gauge::new(spec(
    "age_test_case_status",
    "",
    true,
    "Result of the test case in the newest finished pipeline of the ref: 1 for the current status \
     (success, failed, skipped, error); the others are absent, or 0 with \
     output_sparse_status_metrics off. Only with collectors.test_reports.include_test_cases.",
))
.merged(Merge::Worst);

/// Duration of a test case.
pub static CASE_LAST_DURATION: Gauge<CaseLabels> = Gauge::new(spec(
    "age_test_case_last_duration_seconds",
    "s",
    false,
    "Duration of the test case in the newest finished pipeline of the ref; absent if it was skipped. For \
     percentiles see age_test_case_duration_seconds. Only with collectors.test_reports.include_test_cases.",
))
.merged(Merge::Largest);

/// This file's entries, in the order of `/metrics`.
pub static ENTRIES: &[&Desc] = &[
    &TOTAL_TIME.desc,
    &TOTAL_COUNT.desc,
    &SUCCESS_COUNT.desc,
    &FAILED_COUNT.desc,
    &SKIPPED_COUNT.desc,
    &ERROR_COUNT.desc,
    &SUITE_DURATION.desc,
    &SUITE_COUNT.desc,
    &SUITE_SUCCESS_COUNT.desc,
    &SUITE_FAILED_COUNT.desc,
    &SUITE_SKIPPED_COUNT.desc,
    &SUITE_ERROR_COUNT.desc,
    &CASE_DURATION.desc,
    &CASE_STATUS.desc,
    &CASE_LAST_DURATION.desc,
];
